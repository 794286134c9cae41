//! An app that speaks HTTP/2: one connection for all requests, made anew when it is gone.
//!
//! One is enough: HTTP/2 carries as many requests on it as the app allows, and gRPC expects it so. Whoever comes while the
//! connection is being made waits for that one; nobody makes a second.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::app::AppError;
use super::origin::CONNECT_TIMEOUT;
use super::target::Target;
use super::upload::UploadBody;
use crate::tunnel::link::chain;

/// What visitors may have under way towards the app, and it towards them.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// An app that hangs is noticed, even if nobody asks it for anything.
const PING: Duration = Duration::from_secs(20);

/// The way to one app.
pub(super) struct Http2App {
    target: Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    connection: Mutex<Option<SendRequest<UploadBody>>>,
}

impl Http2App {
    pub(super) fn new(target: Target, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self { target, tls, connection: Mutex::default() }
    }

    pub(super) async fn request(&self, request: Request<UploadBody>) -> Result<Response<Incoming>, AppError> {
        let mut sender = self.sender().await.map_err(AppError::Unreachable)?;
        sender.send_request(request).await.map_err(|error| AppError::Broken(chain(&error)))
    }

    async fn sender(&self) -> Result<SendRequest<UploadBody>, String> {
        let mut held = self.connection.lock().await;
        if let Some(sender) = held.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let sender = connecting.unwrap_or_else(|_| Err("it did not accept in time".to_owned()))?;
        *held = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<SendRequest<UploadBody>, String> {
        let tell = |error: std::io::Error| error.to_string();
        let tcp = TcpStream::connect(self.target.authority.as_str()).await.map_err(tell)?;
        tcp.set_nodelay(true).map_err(tell)?;
        let Some(tls) = &self.tls else { return begin(tcp).await };
        let name = self.target.server_name().map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(tell)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
            return Err("it does not speak HTTP/2".to_owned());
        }
        begin(stream).await
    }
}

async fn begin<S>(stream: S) -> Result<SendRequest<UploadBody>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to an app ended");
        }
    });
    Ok(sender)
}
