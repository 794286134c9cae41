//! Sockets on which something urgent need not wait behind much that is not.
//!
//! Many streams share a connection, and what the kernel has taken can't be overtaken. Left to itself it takes megabytes more than
//! the network carries, so that a small answer beside a download waits for all of them. Told to take little beyond what is under
//! way, it leaves the rest with us, where streams have their turns.

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that may wait in the kernel beyond what is under way: two messages of the tunnel, so that there is always a next one.
const WAITING: u32 = 128 << 10;

/// Has `socket` send at once what it is given, and take no more than it can send soon.
pub fn prompt(socket: &TcpStream) {
    // Only speed-ups: a socket without them still works.
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(WAITING);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_takes_little_that_it_cannot_send_yet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Room for all of it in the kernel, and for almost nothing under way: the other end has a small window and doesn't read.
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.set_recv_buffer_size(4096).unwrap();
        let _other = other.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        SockRef::from(&socket).set_send_buffer_size(4 << 20).unwrap();
        prompt(&socket);
        let mut taken = 0;
        // Ends because nothing more is taken, not because of the time.
        while let Ok(Ok(more)) =
            tokio::time::timeout(Duration::from_millis(200), socket.write(&[0; 16 << 10])).await
        {
            taken += more;
        }
        assert!(taken < 512 << 10, "{taken} bytes wait");
        assert!(socket.nodelay().unwrap());
    }
}
