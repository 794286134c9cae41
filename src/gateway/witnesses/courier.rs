//! Takes a request to a witness over HTTPS.
//!
//! Trusted: the roots that were configured, for the way; for the content nothing, since only what a witness's key signs
//! counts. The host is the one in the configuration: no redirect is followed. What is read is bounded; the time is bounded
//! by whoever asks.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use sallyport_audit::witnessing::{Courier, MAX_ANSWER_BYTES, Reply};

use crate::gateway::config::WitnessSettings;
use crate::gateway::server::Server;
use crate::tunnel::client::DialError;

/// The way to one witness.
pub(super) struct HttpCourier {
    server: Server,
}

impl HttpCourier {
    /// Reads the roots.
    pub(super) fn new(witness: &WitnessSettings) -> Result<Self, DialError> {
        Ok(Self { server: Server::new(witness.url.clone(), witness.root_file.as_deref())? })
    }

    async fn post(&self, body: String) -> Result<Reply, String> {
        let stream = self.server.connect().await.map_err(|error| error.to_string())?;
        self.exchange(TokioIo::new(stream), body).await
    }

    async fn exchange(
        &self,
        stream: impl Read + Write + Unpin + Send + 'static,
        body: String,
    ) -> Result<Reply, String> {
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
        let asking = async {
            let request = Request::post(format!("{}/add-checkpoint", self.server.url().path))
                .header(HOST, &self.server.url().authority)
                .header(CONTENT_TYPE, "text/plain; charset=utf-8")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| error.to_string())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| format!("its answer broke off: {error}"))?;
            Ok(Reply { status, body: body.to_bytes().to_vec() })
        };
        // Both in this future: whoever stops waiting drops the connection with it.
        tokio::pin!(asking);
        tokio::select! {
            reply = &mut asking => reply,
            ended = connection => match ended {
                Ok(()) => asking.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

impl Courier for HttpCourier {
    fn add_checkpoint(
        &self,
        body: String,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, String>> + Send + '_>> {
        Box::pin(self.post(body))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::gateway::config::ServerUrl;

    /// Asks a server that reads a request and then writes `answer`, and keeps the connection open.
    async fn asked(answer: Vec<u8>) -> Result<Reply, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            // The peer may stop reading in the middle.
            let _ = stream.write_all(&answer).await;
            let _ = stream.read(&mut [0; 1]).await;
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let url = ServerUrl::parse(&format!("http://{address}/w")).unwrap();
        let courier = HttpCourier { server: Server::new(url, None).unwrap() };
        let reply =
            tokio::time::timeout(Duration::from_secs(30), courier.add_checkpoint("old 0\n\nx".to_owned()));
        let reply = reply.await.expect("an answer of any kind");
        let request = serving.await.unwrap();
        assert!(request.starts_with("POST /w/add-checkpoint HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
        reply
    }

    #[tokio::test]
    async fn an_answer_comes_back_with_status_and_body_and_a_redirect_is_not_followed() {
        let reply = asked(b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n7\n".to_vec()).await.unwrap();
        assert_eq!(reply, Reply { status: 409, body: b"7\n".to_vec() });
        let moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(asked(moved.to_vec()).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn a_huge_or_broken_answer_is_an_error_and_not_kept_in_memory() {
        let mut huge = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n".to_vec();
        huge.resize(1 << 20, b'x');
        assert!(asked(huge).await.is_err());
        assert!(asked(b"nonsense\r\n\r\n".to_vec()).await.is_err());
    }
}
