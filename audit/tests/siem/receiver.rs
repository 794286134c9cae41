//! Receivers that speak HTTP, built for these tests: they keep what they get and react as they are told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Which one it is, from 0.
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Asked {
    /// The records' numbers in the lines or objects of the body, however it is built.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        // Escaped, where the object stands in a string.
        let text = self.body.replace("\\\"", "\"");
        text.split("\"seq\":").skip(1).map(number_at).step_by(2).collect()
    }
}

fn number_at(text: &str) -> u64 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// What the receiver does with a request.
pub(crate) enum Reaction {
    Answer(u16, String),
    AnswerWith(u16, &'static str, String, String),
    /// Closes the connection without an answer.
    Cut,
}

impl Reaction {
    pub(crate) fn ok() -> Self {
        Self::Answer(200, String::new())
    }
}

/// A receiver on a free port of the loopback interface.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(react: impl Fn(&Asked) -> Reaction + Send + Sync + 'static) -> Self {
        Self::at(0, None, react).await
    }

    /// On this port (0: a free one), with TLS or without.
    pub(crate) async fn at(
        port: u16,
        tls: Option<TlsAcceptor>,
        react: impl Fn(&Asked) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (react, count) = (Arc::new(react), Arc::new(AtomicUsize::new(0)));
        let kept = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            // With its receiver every connection ends.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (react, kept, count) = (Arc::clone(&react), Arc::clone(&kept), Arc::clone(&count));
                let tls = tls.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (react, kept, count) =
                            (Arc::clone(&react), Arc::clone(&kept), Arc::clone(&count));
                        async move {
                            let asked = read(request, count.fetch_add(1, Ordering::SeqCst)).await;
                            let reaction = react(&asked);
                            kept.lock().unwrap().push(asked);
                            match reaction {
                                Reaction::Answer(status, body) => Ok(response(status, None, body)),
                                Reaction::AnswerWith(status, name, value, body) => {
                                    Ok(response(status, Some((name, value)), body))
                                }
                                // An error of the service ends the connection.
                                Reaction::Cut => Err("cut"),
                            }
                        }
                    });
                    let builder = http1::Builder::new();
                    let _cut = match tls {
                        None => builder.serve_connection(TokioIo::new(socket), service).await,
                        Some(tls) => {
                            let Ok(socket) = tls.accept(socket).await else { return };
                            builder.serve_connection(TokioIo::new(socket), service).await
                        }
                    };
                });
            }
        });
        Self { port, asked, serving }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn read(request: Request<Incoming>, number: usize) -> Asked {
    let path = request.uri().to_string();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Asked { number, path, headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

fn response(status: u16, header: Option<(&str, String)>, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(body))).unwrap()
}
