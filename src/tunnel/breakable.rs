//! TCP connections whose end says whether it was one.
//!
//! A TCP stream has no length: whoever reads it takes the other end's FIN for the end of what there was. The kernel sends one for
//! every socket that is closed, also for those of a process that dies, so a dump that was cut in the middle would look complete.
//! Here a connection is reset when it goes, unless it was ended in order before.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::transport::{MessageSocket, MessageStream};

/// One end of a byte stream that somebody outside reads.
pub trait Breakable: AsyncRead + AsyncWrite + Unpin {
    /// From now on the other end sees it break when it is dropped, or when this process ends.
    fn breaks(&self);
    /// Both directions have ended in order: what is still to be sent is sent, and then the end.
    fn ended(&self);
}

impl Breakable for TcpStream {
    fn breaks(&self) {
        // Fails only on a socket that is dead already.
        let _dead = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn ended(&self) {
        let _dead = SockRef::from(self).set_linger(None);
    }
}

impl Breakable for Box<TlsStream<TcpStream>> {
    fn breaks(&self) {
        self.get_ref().0.breaks();
    }

    fn ended(&self) {
        self.get_ref().0.ended();
    }
}

/// The end of each direction is a message of its own here; without it, an end is an error.
impl<M: MessageSocket> Breakable for MessageStream<M> {
    fn breaks(&self) {}

    fn ended(&self) {}
}
