//! How a publisher speaks to its gateway: straight on TLS, or through a WebSocket.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::Socket;
use crate::tunnel::BareSocket;
use crate::tunnel::transport::MessageSocket;

/// What a publisher is to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Straight on TLS if the gateway's end of it takes that, else a WebSocket.
    #[default]
    Auto,
    /// A WebSocket in any case.
    WebSocket,
}

/// What it speaks.
pub(super) enum GatewaySocket {
    /// Straight on TLS.
    Bare(Box<BareSocket<TlsStream<TcpStream>>>),
    /// Through a WebSocket.
    WebSocket(Box<Socket>),
}

impl GatewaySocket {
    pub(super) fn transport(&self) -> &'static str {
        match self {
            Self::Bare(_) => "tls",
            Self::WebSocket(_) => "websocket",
        }
    }

    pub(super) fn tls(&self) -> &rustls::ClientConnection {
        match self {
            Self::Bare(socket) => socket.get_ref().get_ref().1,
            Self::WebSocket(socket) => socket.get_ref().get_ref().1,
        }
    }

    fn inner(&mut self) -> &mut dyn MessageSocket {
        match self {
            Self::Bare(socket) => socket.as_mut(),
            Self::WebSocket(socket) => socket.as_mut(),
        }
    }
}

impl MessageSocket for GatewaySocket {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.inner().poll_receive(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_ready(cx)
    }

    fn start_send(&mut self, message: Bytes) -> io::Result<()> {
        self.inner().start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_close(cx)
    }
}
