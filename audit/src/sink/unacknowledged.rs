//! How many bytes of a connection the other side's host has not acknowledged, by our own kernel's count.
//!
//! Why: syslog over TCP has no acknowledgement of its own, but TCP has, and only the kernel sees it. With its count a sink knows
//! what may have been lost with a connection, instead of taking all that was written lately for lost.
//!
//! The kernel is asked by netlink (`sock_diag(7)`), as `ss` asks it: a question of some 10 µs about one socket. Where it does not
//! answer (another system, a container that forbids it), only time tells.

use std::{io, time::Duration};

use tokio::net::TcpStream;

use super::window::Outstanding;

/// Asks about one connection.
pub(super) struct Unacknowledged {
    #[cfg(target_os = "linux")]
    kernel: Option<kernel::Question>,
    /// A connection on which nothing is acknowledged breaks after so long.
    breaks_after: Duration,
}

impl Unacknowledged {
    /// Of this connection, which breaks if nothing is acknowledged for `patience`.
    pub(super) fn of(stream: &TcpStream, patience: Duration) -> io::Result<Self> {
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        #[cfg(target_os = "linux")]
        let kernel = kernel::Question::new(local, peer)
            .inspect_err(|error| tracing::debug!(%error, "the kernel can't be asked what was acknowledged"))
            .ok();
        #[cfg(not(target_os = "linux"))]
        let _asked_by_nobody = (local, peer);
        Ok(Self {
            #[cfg(target_os = "linux")]
            kernel,
            breaks_after: patience + Duration::from_secs(1),
        })
    }

    /// What was written and is not acknowledged, now.
    pub(super) fn now(&self) -> Outstanding {
        #[cfg(target_os = "linux")]
        if let Some(octets) = self.kernel.as_ref().and_then(kernel::Question::ask) {
            return Outstanding::Octets(octets);
        }
        Outstanding::Within(self.breaks_after)
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::{io, net::SocketAddr};

    use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_sock_diag::{
        SockDiagMessage,
        constants::{AF_INET, AF_INET6, IPPROTO_TCP},
        inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
    };
    use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};

    /// "Any socket with these addresses": a connection's four numbers name one.
    const ANY_COOKIE: [u8; 8] = [0xff; 8];

    pub(super) struct Question {
        kernel: Socket,
        bytes: Vec<u8>,
    }

    impl Question {
        pub(super) fn new(local: SocketAddr, peer: SocketAddr) -> io::Result<Self> {
            let kernel = Socket::new(NETLINK_SOCK_DIAG)?;
            // The answer is there when the question was taken; nobody is waited for.
            kernel.set_non_blocking(true)?;
            kernel.connect(&NetlinkAddress::new(0, 0))?;
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST;
            let request = InetRequest {
                family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::empty(),
                states: StateFlags::all(),
                socket_id: SocketId {
                    source_port: local.port(),
                    destination_port: peer.port(),
                    source_address: local.ip(),
                    destination_address: peer.ip(),
                    interface_id: 0,
                    cookie: ANY_COOKIE,
                },
            };
            let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
            message.finalize();
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            let question = Self { kernel, bytes };
            question.ask().map(|_octets| question).ok_or_else(|| io::ErrorKind::Unsupported.into())
        }

        /// Octets in the send queue, sent or not; `None` if there was no answer.
        pub(super) fn ask(&self) -> Option<u64> {
            self.kernel.send(&self.bytes, 0).ok()?;
            let (answer, _) = self.kernel.recv_from_full().ok()?;
            match NetlinkMessage::<SockDiagMessage>::deserialize(&answer).ok()?.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
                    Some(found.header.send_queue.into())
                }
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_the_other_side_has_no_room_for_is_counted_until_it_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let seen = Unacknowledged::of(&stream, Duration::from_secs(15)).unwrap();
        assert!(matches!(seen.now(), Outstanding::Octets(0)), "{:?}", seen.now());
        // Far more than both kernels take.
        let written = tokio::spawn(async move {
            stream.write_all(&vec![0; 64 << 20]).await.unwrap();
            stream
        });
        let counted = |count: &dyn Fn(u64) -> bool| matches!(seen.now(), Outstanding::Octets(n) if count(n));
        while !counted(&|octets| octets > 0) {
            tokio::task::yield_now().await;
        }
        let mut read = vec![0; 1 << 20];
        let mut left: usize = 64 << 20;
        while left > 0 {
            left -= other.read(&mut read).await.unwrap();
        }
        let _stream = written.await.unwrap();
        while !counted(&|octets| octets == 0) {
            tokio::task::yield_now().await;
        }
    }
}
