//! Byte streams whose connection breaks in the middle, over real loopback TLS: both ends together, and a relay between them that lets
//! go of what it carries.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::bed::{Door, Organisation, Running, everything, name, publication, soon, tcp};
use super::hostile_peer::{Socket, door, gateway, knock};
use crate::tunnel::arriving::Arriving;
use crate::tunnel::client::{Event, GatewayAddress, PublisherOptions};
use crate::tunnel::handshake::Session;
use crate::tunnel::resumable::{Allowances, Keeper, Loss, Resumable, Shared, StreamId, Under};
use crate::tunnel::sending::Sending;
use crate::tunnel::stream::{Coming, is_lost, outgoing};
use crate::tunnel::transport::{MessageStream, receive};
use crate::tunnel::window::Windows;
use crate::tunnel::{
    Acceptance, ByteStream, Farewell, FarewellCode, Lasting, Limits, Link, LinkError, TunnelStream, Way,
};

/// Longer than any test waits: what goes on does so because somebody came back.
const LONG: Duration = Duration::from_mins(10);
const LARGE: usize = 4 << 20;

/// Passes TCP on to a door, and can let go of all that it passes, or keep it to itself.
struct Relay {
    port: u16,
    frozen: CancellationToken,
    passing: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Relay {
    async fn before(door: &Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), door.address);
        let passing: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (kept, frozen) = (Arc::clone(&passing), CancellationToken::new());
        let first = frozen.clone();
        tokio::spawn(async move {
            let mut freezes = Some(first);
            while let Ok((mut near, _)) = listener.accept().await {
                let freezes = freezes.take().unwrap_or_default();
                let task = tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let copying = tokio::io::copy_bidirectional(&mut near, &mut far);
                    if freezes.run_until_cancelled(copying).await.is_none() {
                        std::future::pending::<()>().await;
                    }
                });
                kept.lock().unwrap().push(task);
            }
        });
        Self { port, frozen, passing }
    }

    fn cut(&self) {
        self.passing.lock().unwrap().drain(..).for_each(|task| task.abort());
    }

    /// From here on nothing passes on the first connection, which stands.
    fn freeze_the_first(&self) {
        self.frozen.cancel();
    }

    /// Cuts the connection that came as number `at`.
    fn cut_one(&self, at: usize) {
        self.passing.lock().unwrap()[at].abort();
    }
}

/// Where a stream goes on in these tests: over whichever link is the last.
#[derive(Clone)]
struct Last {
    link: watch::Receiver<Link>,
    open: Arc<AtomicBool>,
    resumed: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Way for Last {
    fn onward(&self) -> Pin<Box<dyn Future<Output = Option<Link>> + Send + '_>> {
        let mut link = self.link.clone();
        Box::pin(async move { link.wait_for(Link::is_open).await.ok().map(|link| link.clone()) })
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) && !self.link.borrow().is_parting()
    }

    fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::SeqCst);
    }

    fn failed(&self) {
        self.failed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A publisher of an app behind a relay, and the gateway's end.
struct Bed {
    door: Door,
    relay: Relay,
    publisher: Running,
    link: watch::Sender<Link>,
    /// Those that are lost: whoever has streams on one holds it, as a gateway does.
    before: Vec<Link>,
    way: Last,
    app: TcpListener,
}

impl Bed {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Losses are seen soon: so the publisher's end waits hardly longer than the gateway's.
    async fn quick(change: impl FnOnce(&mut PublisherOptions)) -> Self {
        let beat = Duration::from_millis(500);
        Self::within(
            Limits { heartbeat_interval: beat, heartbeat_timeout: beat, ..Limits::default() },
            change,
        )
        .await
    }

    async fn with(change: impl FnOnce(&mut PublisherOptions)) -> Self {
        Self::within(Limits::default(), change).await
    }

    async fn within(limits: Limits, change: impl FnOnce(&mut PublisherOptions)) -> Self {
        let mut door = Door::open(Organisation::new().gateway(1), limits).await;
        let relay = Relay::before(&door).await;
        let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = door.options(vec![publication(tcp("demo"), app.local_addr().unwrap())]);
        options.gateway = GatewayAddress::parse(&format!("localhost:{}", relay.port)).unwrap();
        options.backoff.give_up_after = None;
        change(&mut options);
        let publisher = Running::start(options);
        let first = door.link().await;
        let (link, told) = watch::channel(first);
        let way = Last {
            link: told,
            open: Arc::new(AtomicBool::new(true)),
            resumed: Arc::default(),
            failed: Arc::default(),
        };
        Self { door, relay, publisher, link, before: Vec::new(), way, app }
    }

    async fn open(&self, within: Duration) -> Result<ByteStream, LinkError> {
        let lasting = Lasting { within, way: Box::new(self.way.clone()) };
        let link = self.link.borrow().clone();
        soon(link.connect_lasting("somebody", &name("demo"), (None, None), Some(lasting))).await
    }

    /// A stream, and the app's end of it.
    async fn stream(&self, within: Duration) -> (ByteStream, TcpStream) {
        let (stream, accepted) = tokio::join!(self.open(within), soon(self.app.accept()));
        let stream = stream.unwrap();
        assert!(matches!(stream, ByteStream::Resumable(_)), "it is a plain one");
        (stream, accepted.unwrap().0)
    }

    /// The publisher comes back, and is known again.
    async fn comes_back(&mut self) {
        let link = self.door.link().await;
        self.before.push(self.link.send_replace(link));
    }

    /// Waits until a stream has gone on so many times.
    async fn resumed(&self, times: usize) {
        soon(async {
            while self.counted().0 < times {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn counted(&self) -> (usize, usize) {
        (self.way.resumed.load(Ordering::SeqCst), self.way.failed.load(Ordering::SeqCst))
    }
}

fn block(seed: usize) -> Vec<u8> {
    (0..LARGE).map(|at| u8::try_from((at * 31 + at / 251 + seed) % 256).unwrap()).collect()
}

async fn is_broken(mut end: impl tokio::io::AsyncRead + Unpin) -> bool {
    soon(end.read_to_end(&mut Vec::new())).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_connection_breaks_again_and_again_carries_all_both_ways_and_keeps_its_half_close() {
    let mut bed = Bed::new().await;
    let (visitor, app) = bed.stream(LONG).await;
    let (up, down) = (block(1), block(2));
    let (mut visitor_reads, mut visitor_writes) = tokio::io::split(visitor);
    let (mut app_reads, mut app_writes) = app.into_split();
    let (sent_up, sent_down) = (up.clone(), down.clone());
    // The app's bytes go as fast as they are taken; the visitor's only when it has seen as much.
    let (seen, pace) = watch::channel(0);
    let visiting = tokio::spawn(async move {
        let mut pace = pace;
        for (at, piece) in sent_up.chunks(LARGE / 8).enumerate() {
            pace.wait_for(|seen| *seen >= at * (LARGE / 8)).await.unwrap();
            visitor_writes.write_all(piece).await.unwrap();
        }
        visitor_writes.shutdown().await.unwrap();
        visitor_writes
    });
    let serving = tokio::spawn(async move {
        let mut all = Vec::new();
        let receiving = app_reads.read_to_end(&mut all);
        let (received, ()) = tokio::join!(receiving, async {
            app_writes.write_all(&sent_down).await.unwrap();
        });
        received.unwrap();
        // The visitor has ended its direction; this one still goes.
        app_writes.write_all(b"the end").await.unwrap();
        app_writes.shutdown().await.unwrap();
        all
    });
    let mut came = Vec::new();
    for round in 1..=4 {
        let until = round * LARGE / 5;
        let mut piece = vec![0; until - came.len()];
        soon(visitor_reads.read_exact(&mut piece)).await.unwrap();
        came.extend_from_slice(&piece);
        seen.send_replace(came.len() + LARGE / 8);
        bed.relay.cut();
        bed.comes_back().await;
        bed.resumed(round).await;
    }
    seen.send_replace(usize::MAX);
    soon(visitor_reads.read_to_end(&mut came)).await.unwrap();
    assert!(soon(serving).await.unwrap() == up, "the visitor's bytes changed on the way");
    assert!(came == [down.as_slice(), b"the end"].concat(), "the app's bytes changed on the way");
    soon(visiting).await.unwrap();
    assert_eq!(bed.counted(), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_at_once_over_another_connection_of_its_publisher() {
    let mut bed = Bed::with(|options| options.connections = 2).await;
    let registration = bed.door.registration().await;
    let link = bed.link.borrow().clone();
    let _joined = soon(registration.join(&link)).await.unwrap();
    bed.publisher.event(|event| matches!(event, Event::Widened { .. })).await;
    let (mut one, mut one_app) = bed.stream(LONG).await;
    let (mut two, mut two_app) = bed.stream(LONG).await;
    // They take turns, so one of the two was on it.
    bed.relay.cut_one(0);
    for (visitor, app) in [(&mut one, &mut one_app), (&mut two, &mut two_app)] {
        for _ in 0..3 {
            soon(visitor.write_all(b"ping")).await.unwrap();
            let mut heard = [0; 4];
            soon(app.read_exact(&mut heard)).await.unwrap();
            soon(app.write_all(b"pong")).await.unwrap();
            soon(visitor.read_exact(&mut heard)).await.unwrap();
            assert_eq!(&heard, b"pong");
        }
    }
    assert_eq!(bed.counted(), (1, 0));
    assert!(bed.link.borrow().is_open(), "the other connection is up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_connection_falls_silent_goes_on_when_the_heartbeat_has_found_that_out() {
    let beat = Duration::from_millis(500);
    let limits = Limits { heartbeat_interval: beat, heartbeat_timeout: beat, ..Limits::default() };
    let mut bed = Bed::within(limits, |_| {}).await;
    let (mut visitor, mut app) = bed.stream(LONG).await;
    bed.relay.freeze_the_first();
    visitor.write_all(b"into the silence").await.unwrap();
    app.write_all(b"and out of it").await.unwrap();
    let (mut heard, mut answer) = ([0; 16], [0; 13]);
    let hearing = async {
        soon(app.read_exact(&mut heard)).await.unwrap();
        soon(visitor.read_exact(&mut answer)).await.unwrap();
    };
    // Again and again: on a loaded machine a heartbeat is late for a connection that is well.
    let coming_back = async {
        loop {
            bed.comes_back().await;
        }
    };
    tokio::select! {
        biased;
        () = hearing => {}
        () = coming_back => {}
    }
    assert_eq!((&heard, &answer), (b"into the silence", b"and out of it"));
    assert_eq!(bed.counted().1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_end_breaks_off_breaks_at_the_other_at_once_and_waits_for_nobody() {
    let bed = Bed::new().await;
    let (visitor, app) = bed.stream(LONG).await;
    app.set_zero_linger().unwrap();
    drop(app);
    assert!(is_broken(visitor).await, "the app broke off");
    let (visitor, app) = bed.stream(LONG).await;
    drop(visitor);
    assert!(is_broken(app).await, "the visitor broke off");
    assert_eq!(bed.counted(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_ends_breaks_at_once_and_does_not_go_on_when_the_publisher_is_back() {
    for code in [FarewellCode::Draining, FarewellCode::Revoked] {
        let bed = Bed::new().await;
        let (visitor, app) = bed.stream(LONG).await;
        bed.link.borrow().close(Farewell { code, grace: Duration::ZERO });
        assert!(is_broken(visitor).await && is_broken(app).await, "{code:?}");
        assert_eq!(bed.counted(), (0, 0), "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_on_a_connection_that_is_left_goes_on_there_and_breaks_with_it() {
    let mut bed = Bed::new().await;
    let (mut visitor, mut app) = bed.stream(LONG).await;
    bed.link.borrow().close(Farewell { code: FarewellCode::Draining, grace: LONG });
    // The publisher is there again, by another connection.
    bed.comes_back().await;
    for _ in 0..3 {
        soon(visitor.write_all(b"ping")).await.unwrap();
        soon(app.read_exact(&mut [0; 4])).await.unwrap();
        soon(app.write_all(b"pong")).await.unwrap();
        soon(visitor.read_exact(&mut [0; 4])).await.unwrap();
    }
    bed.relay.cut();
    assert!(is_broken(app).await, "the gateway had said goodbye");
    drop(visitor);
    assert_eq!(bed.counted().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_publisher_that_comes_back_in_time_both_ends_break() {
    let bed = Bed::quick(|options| options.backoff.first = LONG).await;
    let (visitor, app) = bed.stream(Duration::from_millis(300)).await;
    let broken = visitor.broken();
    bed.relay.cut();
    // Told also to whoever does not read.
    soon(broken.cancelled()).await;
    assert!(is_broken(visitor).await && is_broken(app).await);
    assert_eq!(bed.counted(), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_know_the_publisher_again_gets_none_of_its_streams() {
    let mut bed = Bed::new().await;
    let (visitor, app) = bed.stream(LONG).await;
    bed.relay.cut();
    let registration = bed.door.registration().await;
    let acceptance = Acceptance { resume: b"another".to_vec(), ..everything(&registration) };
    let link = soon(registration.accept(acceptance)).await.unwrap();
    assert!(is_broken(app).await, "at once");
    bed.link.send_replace(link);
    assert!(is_broken(visitor).await, "the publisher says that it does not know the stream");
    assert_eq!(bed.counted(), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_session_ended_meanwhile_does_not_go_on() {
    let mut bed = Bed::quick(|_| {}).await;
    let (visitor, mut app) = bed.stream(Duration::from_secs(1)).await;
    let link = bed.link.borrow().clone();
    bed.relay.cut();
    // By now the stream waits for another connection.
    soon(link.closed()).await;
    bed.way.open.store(false, Ordering::SeqCst);
    bed.comes_back().await;
    assert!(is_broken(visitor).await);
    // The publisher hears nothing of it any more.
    app.write_all(b"hello").await.unwrap();
    assert!(is_broken(app).await);
    assert_eq!(bed.counted(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_goes_on_too() {
    let mut bed = Bed::new().await;
    let (mut visitor, mut app) = bed.stream(LONG).await;
    let down = block(3);
    let sent = down.clone();
    let serving = tokio::spawn(async move {
        app.write_all(&sent).await.unwrap();
        app.shutdown().await.unwrap();
        app
    });
    soon(visitor.read_exact(&mut [0; 1])).await.unwrap();
    // Nobody reads or writes it from here on.
    bed.relay.cut();
    bed.comes_back().await;
    bed.resumed(1).await;
    let mut rest = Vec::new();
    soon(visitor.read_to_end(&mut rest)).await.unwrap();
    assert!(rest == down[1..], "the app's bytes changed on the way");
    drop(soon(serving).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_much_and_reads_nothing_is_taken_all_the_same_and_what_stands_aside_for_it_is_counted() {
    let bed = Bed::new().await;
    let (mut visitor, mut app) = bed.stream(LONG).await;
    let (unread, up) = (vec![7; 1 << 20], block(4).repeat(3));
    app.write_all(&unread).await.unwrap();
    let sent = up.clone();
    let serving = tokio::spawn(async move {
        let mut all = vec![0; sent.len()];
        app.read_exact(&mut all).await.unwrap();
        assert!(all == sent, "the visitor's bytes changed on the way");
        app.shutdown().await.unwrap();
    });
    // More than may be under way, and what says that it arrived stands behind what nobody reads.
    soon(visitor.write_all(&up)).await.unwrap();
    soon(visitor.flush()).await.unwrap();
    let ByteStream::Resumable(stream) = &visitor else { unreachable!() };
    let shared = Arc::clone(stream.shared());
    assert!((1..=unread.len() as u64 + 1).contains(&shared.stands_aside()), "{}", shared.stands_aside());
    let mut rest = Vec::new();
    soon(visitor.read_to_end(&mut rest)).await.unwrap();
    assert!(rest == unread);
    assert_eq!(shared.stands_aside(), 0, "it was read");
    soon(serving).await.unwrap();
}

/// What a gateway's end has under a stream; `said` comes over it, and then the connection is gone.
async fn carried(said: &'static [u8]) -> Under {
    let (near, far) = duplex(1 << 20);
    let (sender, connection) = h2::client::handshake(near).await.unwrap();
    let driving = tokio::spawn(connection);
    let serving = tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(bytes::Bytes::from_static(said), false).unwrap();
        let _sent = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
    });
    let request = http::Request::post("http://demo/").body(()).unwrap();
    let (answer, _question) = sender.ready().await.unwrap().send_request(request, true).unwrap();
    let body = soon(answer).await.unwrap().into_body();
    soon(serving).await.unwrap();
    let _gone = soon(driving).await.unwrap();
    let answer = Arriving::new(body, None, Windows::of(1 << 20).enter(), Sending::nothing().go_on());
    Under { stream: Box::new(TunnelStream::join(Coming::Answer(answer), outgoing().0)), carrier: None }
}

/// Notes what it is told.
#[derive(Clone, Default)]
struct Noting {
    losses: Arc<Mutex<Vec<Loss>>>,
    resumed: Arc<AtomicUsize>,
    allowances: Allowances,
}

impl Keeper for Noting {
    fn lost(&self, _stream: &Arc<Shared>, loss: Loss) -> Option<AbortHandle> {
        self.losses.lock().unwrap().push(loss);
        Some(tokio::spawn(std::future::pending::<()>()).abort_handle())
    }

    fn resumed(&self, _stream: &Shared) {
        self.resumed.fetch_add(1, Ordering::SeqCst);
    }

    fn allowances(&self) -> &Allowances {
        &self.allowances
    }

    fn over(&self, _stream: &Shared, _finished: bool) {}
}

#[tokio::test]
async fn the_time_without_a_connection_does_not_begin_anew_with_one_over_which_nothing_is_heard() {
    let noted = Noting::default();
    let (id, nothing) = (StreamId::new([7; 16]), carried(b"").await);
    let stream = Resumable::new(id, name("demo"), nothing, Box::new(noted.clone()));
    let losses = async |count: usize| {
        soon(async {
            while noted.losses.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    losses(1).await;
    for attempt in 1..=2 {
        let _received = stream.shared().attach(carried(b"").await, (0, attempt), || true);
        losses(usize::try_from(attempt).unwrap() + 1).await;
    }
    assert_eq!(noted.resumed.load(Ordering::SeqCst), 0, "nothing was heard");
    // The acknowledgement of nothing.
    let _received = stream.shared().attach(carried(&[1, 0, 0, 0, 0, 0, 0, 0, 0]).await, (0, 3), || true);
    losses(4).await;
    let noted_losses = noted.losses.lock().unwrap().clone();
    let since: Vec<_> = noted_losses.iter().map(|loss| loss.since).collect();
    assert!(since[0] == since[1] && since[1] == since[2] && since[2] < since[3], "{since:?}");
    assert_eq!(noted.resumed.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_to_outlive_its_connection_does_not() {
    let bed = Bed::new().await;
    let link = bed.link.borrow().clone();
    let demo = name("demo");
    let connecting = link.connect_lasting("somebody", &demo, (None, None), None);
    let (visitor, app) = tokio::join!(soon(connecting), soon(bed.app.accept()));
    let visitor = visitor.unwrap();
    assert!(matches!(visitor, ByteStream::Plain(_)));
    bed.relay.cut();
    assert!(is_broken(visitor).await && is_broken(app.unwrap().0).await);
}

/// A program of before serves the streams: it knows nothing of headers that it does not know.
async fn serve_as_before(socket: Socket, session: Session) {
    let service = service_fn(async |request: http::Request<Incoming>| {
        Ok::<_, Infallible>(http::Response::new(request.into_body()))
    });
    let stream = MessageStream::after_handshake(socket, session).unwrap();
    let _ended =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

#[tokio::test]
async fn a_publishers_program_of_before_gets_a_plain_stream_that_works_and_breaks_with_its_connection() {
    let (mut client, accepting) = door(gateway(), Limits::default()).await;
    let awaiting = knock(&mut client).await;
    let registration = soon(accepting).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    let acceptance = everything(&registration);
    let accepted = tokio::spawn(registration.accept(acceptance));
    let (_, session) = awaiting.receive_answer(&soon(receive(&mut client)).await.unwrap()).unwrap();
    let serving = tokio::spawn(serve_as_before(client, session));
    let link = soon(accepted).await.unwrap().unwrap();
    let (_keep, told) = watch::channel(link.clone());
    let (resumed, failed) = (Arc::default(), Arc::default());
    let way = Last { link: told, open: Arc::new(AtomicBool::new(true)), resumed, failed };
    let lasting = Lasting { within: LONG, way: Box::new(way.clone()) };
    let demo = name("demo");
    let connecting = link.connect_lasting("somebody", &demo, (None, None), Some(lasting));
    let mut stream = soon(connecting).await.unwrap();
    assert!(matches!(stream, ByteStream::Plain(_)));
    soon(stream.write_all(b"hello")).await.unwrap();
    let mut heard = [0; 5];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"hello");
    serving.abort();
    assert!(is_broken(stream).await);
    assert_eq!(way.failed.load(Ordering::SeqCst), 0);
}

/// How a byte stream ends, of which the other end has seen the request.
enum Ends {
    Reset(h2::Reason),
    Gone,
}

/// What the reader of such a stream is told: a publisher by its library, or a gateway by its own.
async fn told_of(ends: Ends, at_the_gateway: bool) -> std::io::Error {
    let (near, far) = duplex(1 << 20);
    let other = tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(bytes::Bytes::from_static(b"hello"), false).unwrap();
        // The reader has it before anything ends.
        let _sent = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
        match ends {
            Ends::Reset(reason) => body.send_reset(reason),
            Ends::Gone => return,
        }
        while connection.accept().await.is_some() {}
    });
    let (outgoing, body) = outgoing();
    let coming = if at_the_gateway {
        let (sender, connection) = h2::client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://demo/").body(()).unwrap();
        let (answer, _question) = sender.ready().await.unwrap().send_request(request, true).unwrap();
        let answer = soon(answer).await.unwrap().into_body();
        Coming::Answer(Arriving::new(answer, None, Windows::of(1 << 20).enter(), Sending::nothing().go_on()))
    } else {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://demo/").body(body).unwrap();
        Coming::Question(soon(sender.send_request(request)).await.unwrap().into_body())
    };
    let mut stream = TunnelStream::join(coming, outgoing);
    let error = soon(stream.read_to_end(&mut Vec::new())).await.unwrap_err();
    other.abort();
    error
}

#[tokio::test]
async fn a_connection_that_is_gone_is_a_loss_and_what_either_end_has_said_is_none() {
    for at_the_gateway in [false, true] {
        assert!(is_lost(&told_of(Ends::Gone, at_the_gateway).await), "{at_the_gateway}");
        for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::ENHANCE_YOUR_CALM, h2::Reason::REFUSED_STREAM]
        {
            assert!(
                !is_lost(&told_of(Ends::Reset(reason), at_the_gateway).await),
                "{at_the_gateway}, {reason}"
            );
        }
    }
}

/// The type of each frame of HTTP/2 that is whole in `bytes`, behind the client's preface (RFC 9113 section 4.1).
fn frame_types(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut types) = (bytes.get(24..).unwrap_or_default(), Vec::new());
    while let [a, b, c, kind, _, _, _, _, _, payload @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(next) = payload.get(length..) else { break };
        types.push(*kind);
        rest = next;
    }
    types
}

#[tokio::test]
async fn a_connection_that_this_end_must_end_for_what_came_on_it_is_no_loss() {
    let (near, mut far) = duplex(1 << 20);
    let (sender, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://demo/").body(()).unwrap();
    let (answer, _question) = sender.ready().await.unwrap().send_request(request, true).unwrap();
    let mut asked = Vec::new();
    while !frame_types(&asked).contains(&1) {
        assert!(soon(far.read_buf(&mut asked)).await.unwrap() > 0);
    }
    let (settings, status_200) = ([0, 0, 0, 4, 0, 0, 0, 0, 0], [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]);
    far.write_all(&[settings.as_slice(), &status_200].concat()).await.unwrap();
    let answer = soon(answer).await.unwrap().into_body();
    // Data on the stream that has none (section 6.1).
    far.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 7]).await.unwrap();
    let coming =
        Coming::Answer(Arriving::new(answer, None, Windows::of(1 << 20).enter(), Sending::nothing().go_on()));
    let mut stream = TunnelStream::join(coming, outgoing().0);
    let error = soon(stream.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert!(!is_lost(&error), "{error:?}");
}
