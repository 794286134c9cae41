//! How a publisher speaks to its gateway: straight on TLS, through a WebSocket, or on QUIC.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::Socket;
use crate::tunnel::handshake::{Exporter, channel_binding};
use crate::tunnel::transport::MessageSocket;
use crate::tunnel::{BareSocket, QuicStream, quic_channel_binding};

/// What a publisher may speak, in the order in which it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// On QUIC.
    Quic,
    /// Straight on TLS, if the gateway's end of it takes that.
    Tls,
    /// A WebSocket on TLS, which passes everywhere.
    WebSocket,
}

impl Transport {
    /// What is tried if nobody says otherwise: QUIC costs almost three times as much of a processor, and many networks drop it.
    pub const USUAL: [Self; 2] = [Self::Tls, Self::WebSocket];

    /// The word for it in settings, events and records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
        }
    }

    /// Reads an order such as `quic,tls,websocket`; `auto` is the usual one.
    pub fn parse_order(text: &str) -> Option<Vec<Self>> {
        if text == "auto" {
            return Some(Self::USUAL.to_vec());
        }
        let mut order = Vec::new();
        for word in text.split(',').map(str::trim) {
            let one = [Self::Quic, Self::Tls, Self::WebSocket].into_iter().find(|one| one.word() == word)?;
            if order.contains(&one) {
                return None;
            }
            order.push(one);
        }
        Some(order)
    }
}

/// What it speaks.
pub(super) enum GatewaySocket {
    /// On QUIC.
    Quic(Box<BareSocket<QuicStream>>),
    /// Straight on TLS.
    Bare(Box<BareSocket<TlsStream<TcpStream>>>),
    /// Through a WebSocket.
    WebSocket(Box<Socket>),
}

impl GatewaySocket {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Bare(_) => Transport::Tls,
            Self::WebSocket(_) => Transport::WebSocket,
        }
    }

    /// What names the connection below, if nothing ended its TLS in between.
    pub(super) fn exporter(&self) -> Option<Exporter> {
        match self {
            Self::Quic(socket) => quic_channel_binding(socket.get_ref().connection()),
            Self::Bare(socket) => channel_binding(socket.get_ref().get_ref().1),
            Self::WebSocket(socket) => channel_binding(socket.get_ref().get_ref().1),
        }
    }

    fn inner(&mut self) -> &mut dyn MessageSocket {
        match self {
            Self::Quic(socket) => socket.as_mut(),
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

    fn datagrams(&self) -> Option<crate::tunnel::DatagramPath> {
        match self {
            Self::Quic(socket) => socket.datagrams(),
            Self::Bare(_) | Self::WebSocket(_) => None,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_transports_names_each_once() {
        let read =
            |text| Transport::parse_order(text).map(|order| order.iter().map(|one| one.word()).collect());
        assert_eq!(read("auto"), Some(vec!["tls", "websocket"]));
        assert_eq!(read("quic, websocket"), Some(vec!["quic", "websocket"]));
        for bad in ["", "quic,quic", "tcp", "auto,quic", "quic,"] {
            assert_eq!(read(bad), None::<Vec<&str>>, "{bad}");
        }
    }
}
