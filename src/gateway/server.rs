//! The way to a server that the configuration names: TCP, and TLS unless it is on this host.
//!
//! Trusted: the roots that were configured, for the way; for the content nothing. The time is bounded by whoever asks.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::config::ServerUrl;
use crate::tunnel::client::{DialError, TlsRoots, tls_config};

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A server and what its certificate must lead to.
pub(super) struct Server {
    url: ServerUrl,
    /// `None` for one on this host.
    tls: Option<TlsConnector>,
}

impl Server {
    /// Reads the roots: those of the system, if there is no file of one's own.
    pub(super) fn new(url: ServerUrl, root_file: Option<&Path>) -> Result<Self, DialError> {
        let roots = root_file.map_or(TlsRoots::System, |file| TlsRoots::File(file.to_owned()));
        let tls = if url.tls { Some(TlsConnector::from(Arc::clone(&tls_config(&roots)?))) } else { None };
        Ok(Self { url, tls })
    }

    /// Its address.
    pub(super) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Connects anew.
    pub(super) async fn connect(&self) -> io::Result<Pin<Box<dyn Stream>>> {
        let tcp = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
        let Some(tls) = &self.tls else { return Ok(Box::pin(tcp)) };
        let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
        Ok(Box::pin(tls.connect(name, tcp).await?))
    }
}
