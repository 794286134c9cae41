//! Syslog over UDP (RFC 5426): one datagram a message, and nobody learns what was lost.
//!
//! For a laboratory, or a receiver on the same host. Status and records say `nothing` where other sinks say what is known of
//! a delivery.

use std::time::Duration;

use tokio::{net::UdpSocket, time::timeout};

use super::{
    super::{options::Address, parcel::Parcel, transport::TransportError},
    Answer, LinkError,
};

/// After so many octets the sender waits a moment, so that it does not overrun the receiver's buffer by itself.
const BURST: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(5);

pub(in crate::sink) struct UdpLink {
    socket: UdpSocket,
    burst: usize,
}

impl UdpLink {
    pub(super) async fn open(address: &Address, waited: Duration) -> Result<Self, LinkError> {
        let opening = async {
            let mut addresses = tokio::net::lookup_host((address.host(), address.port())).await?;
            let receiver = addresses.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            let any = if receiver.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(receiver).await?;
            Ok::<_, std::io::Error>(socket)
        };
        let late = |_| TransportError::Timeout { address: address.clone(), waited };
        let refused = |source| TransportError::Connect { address: address.clone(), source };
        let socket = timeout(waited, opening).await.map_err(late)?.map_err(refused)?;
        Ok(Self { socket, burst: 0 })
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        for item in &parcel.items {
            self.burst += item.bytes.len();
            if self.burst > BURST {
                self.burst = 0;
                tokio::time::sleep(PAUSE).await;
            }
            self.socket.send(&item.bytes).await.map_err(|source| LinkError::Datagram { source })?;
        }
        Ok(Answer::Taken)
    }
}
