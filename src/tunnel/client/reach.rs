//! The way to a host by TCP, whichever of its addresses answers.
//!
//! A host may have several, of which the first is dead: one that drops what is sent to it takes all the time there is, unless each has
//! its share. So they are tried in turn, and what one leaves over of its share the others have.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

/// Bytes that the system may keep of what a peer on this machine has sent and nobody has read yet; it takes twice as many. Left to
/// itself it makes it tens of megabytes for each, and a few hundred visitors who don't read use up what it has for all of TCP: then it
/// throws away what comes on every connection, that to the gateway too.
const UNREAD: u32 = 256 << 10;

/// A host that says nothing for so long is asked by the system, again and again, whether it is there. Below whatever is spoken: servers
/// of gRPC end a connection on which HTTP/2 pings come oftener than every five minutes.
const QUIET: Duration = Duration::from_secs(20);
/// How often.
const ASK: Duration = Duration::from_secs(5);

/// Connects to `host` within `patience`, which is for looking it up, too. Small writes leave at once.
pub(super) async fn reach(host: impl ToSocketAddrs, patience: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + patience;
    let found = timeout_at(deadline, lookup_host(host)).await.unwrap_or_else(|_| Err(late()))?;
    let reached = in_turn(found.collect(), deadline, connect).await;
    let stream = reached.unwrap_or_else(|| Err(late()))?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(ASK).with_retries(4))?;
    Ok(stream)
}

async fn connect(peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if peer.ip().to_canonical().is_loopback() {
        // So near that this is enough for any pace. How much a long way needs, the system finds out by itself.
        socket.set_recv_buffer_size(UNREAD)?;
    }
    socket.connect(peer).await
}

/// Dials one address after the other, each for its share of what is left until `deadline`, and tells what came of the first that
/// answered well, or else of the last that answered at all. `None`: none of them did.
pub(super) async fn in_turn<T, E, D: Future<Output = Result<T, E>>>(
    peers: Vec<SocketAddr>,
    deadline: Instant,
    dial: impl Fn(SocketAddr) -> D,
) -> Option<Result<T, E>> {
    let mut last = None;
    let mut left = u32::try_from(peers.len()).unwrap_or(u32::MAX);
    for peer in peers {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, dial(peer)).await {
            Ok(Ok(reached)) => return Some(Ok(reached)),
            Ok(Err(error)) => last = Some(Err(error)),
            Err(_) => {}
        }
    }
    last
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not accept in time")
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// An address that answers nothing: its listener takes no more, and the system drops who comes. What is given back keeps it so.
    async fn dead() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(taken) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            waiting.push(taken.unwrap());
        }
        (address, listener, waiting)
    }

    #[tokio::test]
    async fn what_an_app_on_this_machine_sends_and_nobody_reads_is_kept_within_a_bound() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let unread = reach(listener.local_addr().unwrap(), PATIENCE).await.unwrap();
        let (mut app, _) = listener.accept().await.unwrap();
        SockRef::from(&app).set_send_buffer_size(64 << 10).unwrap();
        let (mut sent, piece) = (0, vec![0; 64 << 10]);
        // The system makes its buffers larger for somebody who reads.
        let mut unread = unread;
        let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
        while read < 64 << 20 {
            tokio::select! {
                wrote = app.write(&piece) => drop(wrote.unwrap()),
                count = unread.read(&mut buffer) => read += count.unwrap(),
            }
        }
        while let Ok(wrote) = timeout(Duration::from_millis(500), app.write(&piece)).await {
            sent += wrote.unwrap();
        }
        assert!(sent < 2 << 20, "{sent} bytes are kept");
        drop(unread);
    }

    #[tokio::test]
    async fn a_host_whose_first_address_is_dead_is_reached_at_its_second() {
        let (dead, _listener, _waiting) = dead().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = listener.local_addr().unwrap();
        let (patience, began) = (Duration::from_secs(4), Instant::now());
        let stream = timeout(PATIENCE, reach(&[dead, second][..], patience)).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), second);
        assert!(began.elapsed() < patience, "the first had all the time: {:?}", began.elapsed());
        let error = timeout(PATIENCE, reach(dead, patience / 20)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_address_that_refuses_leaves_its_share_to_the_others_and_the_last_word_is_told() {
        let peers = vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
        let deadline = Instant::now() + PATIENCE;
        let told = in_turn(peers.clone(), deadline, async |peer| Err::<(), _>(peer.port())).await;
        assert_eq!(told, Some(Err(2)));
        // The first one refuses at once, so that the second has the whole time, of which half would not do.
        let began = Instant::now();
        let second = async |peer: SocketAddr| {
            if peer.port() == 2 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                return Ok(());
            }
            Err(peer.port())
        };
        let told = in_turn(peers, began + Duration::from_millis(500), second).await;
        assert_eq!(told, Some(Ok(())));
    }
}
