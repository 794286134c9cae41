//! How many bytes of a connection the other side's host has not acknowledged, by our own kernel's count.
//!
//! Why: syslog over TCP has no acknowledgement of its own, but TCP has, and only the kernel sees it. With its count a sink knows
//! what may have been lost with a connection, instead of taking all that was written lately for lost.
//!
//! The one file of this package with `unsafe` in it: the count is told by an `ioctl` alone, and for that no library has a safe call.

#![expect(unsafe_code, reason = "an ioctl; all of it is in this file")]

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use tokio::net::TcpStream;

use super::window::Outstanding;

/// Sees what a connection's kernel holds. Holds the socket too: dropped with the connection.
pub(super) struct Unacknowledged {
    socket: OwnedFd,
    /// A connection on which nothing is acknowledged breaks after so long.
    breaks_after: Duration,
}

impl Unacknowledged {
    /// Of this connection, which breaks if nothing is acknowledged for `patience`.
    pub(super) fn of(stream: &TcpStream, patience: Duration) -> io::Result<Self> {
        let socket = stream.as_fd().try_clone_to_owned()?;
        Ok(Self { socket, breaks_after: patience + Duration::from_secs(1) })
    }

    /// What was written and is not acknowledged, now.
    pub(super) fn now(&self) -> Outstanding {
        count(&self.socket).map_or(Outstanding::Within(self.breaks_after), Outstanding::Octets)
    }
}

/// `SIOCOUTQ` of tcp(7): what is in the send queue, sent or not. Its number is this one on most architectures, not on all.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn count(socket: &OwnedFd) -> Option<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    const SIOCOUTQ: Opcode = 0x5411;
    // SAFETY: the number is `SIOCOUTQ` here, for which the kernel writes one `int`.
    let getter = unsafe { Getter::<SIOCOUTQ, std::ffi::c_int>::new() };
    // SAFETY: as above; it changes nothing about the socket.
    let asked = unsafe { ioctl(socket, getter) };
    asked.ok().and_then(|octets| u64::try_from(octets).ok())
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn count(_socket: &OwnedFd) -> Option<u64> {
    None
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
