//! One question to a server that the configuration names, and its answer: bounded in time and bytes, no redirect followed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::server::Server;

/// What is asked.
pub(super) struct Question<'q> {
    pub(super) method: Method,
    /// Path on the server.
    pub(super) path: &'q str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// With its media type.
    pub(super) body: Option<(&'static str, Bytes)>,
}

impl<'q> Question<'q> {
    /// For a document.
    pub(super) fn get(path: &'q str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: None }
    }
}

/// Why there is no answer. Holds nothing that the server sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("it did not answer in time")]
    Late,
    #[error("it can't be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("its answer is longer than {0} bytes, or broke off")]
    TooLong(usize),
    #[error("the question can't be sent")]
    Unsendable,
}

/// Asks once, on a connection of its own.
pub(super) async fn ask(
    server: &Server,
    question: &Question<'_>,
    most: usize,
    patience: Duration,
) -> Result<(StatusCode, Bytes), Unanswered> {
    tokio::time::timeout(patience, ask_now(server, question, most)).await.map_err(|_| Unanswered::Late)?
}

async fn ask_now(
    server: &Server,
    question: &Question<'_>,
    most: usize,
) -> Result<(StatusCode, Bytes), Unanswered> {
    let stream = server.connect().await.map_err(Unanswered::Unreachable)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Unanswered::Broken)?;
    let mut request = Request::builder()
        .method(&question.method)
        .uri(if question.path.is_empty() { "/" } else { question.path })
        .header(HOST, &server.url().authority)
        .header(ACCEPT, "application/json");
    for (name, value) in &question.headers {
        request = request.header(name, value);
    }
    let body = match &question.body {
        Some((media_type, body)) => {
            request = request.header(CONTENT_TYPE, *media_type);
            body.clone()
        }
        None => Bytes::new(),
    };
    let request = request.body(Full::new(body)).map_err(|_| Unanswered::Unsendable)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(Unanswered::Broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await;
        Ok((status, body.map_err(|_| Unanswered::TooLong(most))?.to_bytes()))
    };
    // Both in this future: whoever stops waiting drops the connection with it.
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => match ended {
            Ok(()) => asking.await,
            Err(error) => Err(Unanswered::Broken(error)),
        },
    }
}
