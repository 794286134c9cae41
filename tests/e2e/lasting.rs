//! Byte streams that outlive the connection of their publisher: without a byte lost where it comes back in time, and broken where
//! it doesn't, or where anything ended their session meanwhile.

use std::io::ErrorKind;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::app::{App, RUNTIME, random, sha256};
use super::connections::Relay;
use super::patience::{PATIENCE, eventually};
use super::process::Process;
use super::socket::websocket;
use super::world::World;

const LARGE: usize = 8 << 20;
/// More than all buffers between app and visitor hold.
const LARGER: usize = 32 << 20;
const PIECE: usize = 1 << 20;

fn publish(world: &World, relay: &Relay, what: &[&str]) -> Process {
    let mut command = world.client("publisher");
    command.env("SALLYPORT_GATEWAY", format!("https://localhost:{}", relay.port()));
    command.arg("publish").args(what).args(["--json", "--give-up-after", "0"]);
    let mut process =
        Process::start(&format!("publisher-{}", super::world::next()), world.directory(), &mut command);
    process.line("that its tunnel is open", |line| line.contains("\"registered\"").then_some(()));
    process
}

fn publish_db(world: &World, relay: &Relay, app: SocketAddr) -> Process {
    let port = world.tcp_ports().1.to_string();
    publish(world, relay, &["tcp", &app.to_string(), "--name", "public-db", "--port", &port])
}

/// A publisher keeps its end for as long as the gateway may need to see a loss.
fn seeing_losses_soon(setting: &str) -> World {
    World::with().set(setting).set("tunnels.heartbeat_secs=2").set("tunnels.heartbeat_timeout_secs=2").start()
}

async fn visitor(world: &World) -> TcpStream {
    TcpStream::connect(("127.0.0.1", world.tcp_ports().1)).await.unwrap()
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have happened by now")
}

/// A visitor and the app, who have heard of each other.
fn joined(world: &World, app: &TcpListener) -> (TcpStream, TcpStream) {
    RUNTIME.block_on(soon(async {
        let mut visitor = visitor(world).await;
        let (mut service, _) = app.accept().await.unwrap();
        service.write_all(b"welcome").await.unwrap();
        visitor.read_exact(&mut [0; 7]).await.unwrap();
        (visitor, service)
    }))
}

/// A question and its answer.
async fn echo(stream: &mut TcpStream) {
    soon(async {
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    })
    .await;
}

async fn is_reset(mut stream: TcpStream) -> bool {
    let read = soon(stream.read(&mut [0; 16])).await;
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Lets go of the publisher's connections, and waits until it is back.
fn cut(world: &World, relay: &Relay) {
    let before = world.records_of("tunnel.registered").len();
    relay.cut_all();
    eventually("the publisher is back", || {
        (world.records_of("tunnel.registered").len() > before).then_some(())
    });
}

/// Waits until streams of a tunnel have gone on so many times.
fn resumes(world: &World, tunnel: &str, times: usize) {
    let line = format!("sallyport_streams_resumed_total{{tunnel=\"{tunnel}\"}} {times}\n");
    eventually("the stream goes on", || {
        world.curl("/metrics").by(world, "admin").run().text().contains(&line).then_some(())
    });
}

fn closed(world: &World) -> Value {
    world.record("session.closed", |_| true)
}

#[test]
fn eight_mebibytes_pass_both_ways_while_the_connection_breaks_and_half_close_is_kept() {
    let world = World::with().set("limits.resume_secs=30").start();
    let (up, down) = (random(LARGE), random(LARGER));
    let app = App::that_answers_at_the_end(down.clone());
    let relay = Relay::to(world.port());
    let publisher = publish_db(&world, &relay, app.address());
    let mut stream = RUNTIME.block_on(visitor(&world));
    for (at, piece) in up.chunks(PIECE).enumerate() {
        RUNTIME.block_on(soon(stream.write_all(piece))).unwrap();
        if at % 4 == 1 {
            cut(&world, &relay);
            resumes(&world, "public-db", 1 + at / 4);
        }
    }
    RUNTIME.block_on(stream.shutdown()).unwrap();
    let mut hash = vec![0; 32];
    RUNTIME.block_on(soon(stream.read_exact(&mut hash))).unwrap();
    assert_eq!(hash, sha256(&up));
    let mut came = vec![0; 2 * PIECE];
    RUNTIME.block_on(soon(stream.read_exact(&mut came))).unwrap();
    cut(&world, &relay);
    resumes(&world, "public-db", 3);
    RUNTIME.block_on(soon(stream.read_to_end(&mut came))).unwrap();
    assert!(came == down, "{} bytes came back", came.len());

    let closed = closed(&world);
    let details = &closed["details"];
    assert_eq!(details["bytes_up"], LARGE, "{closed}");
    assert_eq!(details["bytes_down"], LARGER + hash.len(), "{closed}");
    assert_eq!(details["resumed"], 3, "{closed}");
    let opened = world.record("session.opened", |_| true);
    assert_ne!(details["tunnel_id"], opened["details"]["tunnel_id"], "it is on the last registration");
    let last = world.records_of("tunnel.registered").last().unwrap()["details"]["tunnel_id"].clone();
    assert_eq!(details["tunnel_id"], last);
    assert!(publisher.out().contains("\"RESUMED\""), "{}", publisher.out());
}

#[test]
fn a_websocket_goes_on_where_it_was() {
    let world = World::with().set("limits.resume_secs=30").start();
    let app = App::for_transfers(random(0));
    let relay = Relay::to(world.port());
    let _publisher = publish(&world, &relay, &["http", &app.address().to_string(), "--name", "open-chat"]);
    RUNTIME.block_on(async {
        let mut socket = websocket(&world, "open-chat.localhost", "/echo", Some("visitor")).await;
        for round in 0..3 {
            let message = Message::text(format!("message {round}"));
            socket.send(message.clone()).await.unwrap();
            assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
            tokio::task::block_in_place(|| cut(&world, &relay));
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = soon(socket.next()).await {}
    });
    assert!(closed(&world)["details"]["resumed"].as_u64() >= Some(2));
}

#[test]
fn a_stream_of_several_connections_goes_on_over_another_at_once() {
    let world = World::with().set("limits.resume_secs=30").start();
    let app = App::that_echoes();
    let relay = Relay::to(world.port());
    let port = world.tcp_ports().1.to_string();
    let address = app.address().to_string();
    let what = ["tcp", &address, "--name", "public-db", "--port", &port, "--connections", "2"];
    let mut publisher = publish(&world, &relay, &what);
    publisher.line("that both are up", |line| line.contains("\"widened\"").then_some(()));
    let mut streams = RUNTIME.block_on(async { [visitor(&world).await, visitor(&world).await] });
    for stream in &mut streams {
        RUNTIME.block_on(echo(stream));
    }
    relay.cut(0);
    for stream in &mut streams {
        RUNTIME.block_on(echo(stream));
    }
    assert_eq!(world.records_of("tunnel.registered").len(), 1, "the publisher was never away");
    drop(streams);
    eventually("both are closed", || (world.records_of("session.closed").len() == 2).then_some(()));
    let resumed = world.records_of("session.closed");
    let resumed = resumed.iter().filter(|closed| closed["details"]["resumed"] == 1);
    assert_eq!(resumed.count(), 1, "they took turns");
}

#[test]
fn a_publisher_that_does_not_come_back_in_time_breaks_the_stream_at_both_ends() {
    let world = seeing_losses_soon("limits.resume_secs=1");
    let app = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let relay = Relay::to(world.port());
    let mut publisher = publish_db(&world, &relay, app.local_addr().unwrap());
    let (visitor, service) = joined(&world, &app);
    // It is there, and says nothing, while nothing comes through.
    publisher.signal("STOP");
    relay.cut_all();
    assert!(RUNTIME.block_on(is_reset(visitor)));
    assert_eq!(closed(&world)["details"]["reason"], "publisher-closed");
    publisher.signal("CONT");
    assert!(RUNTIME.block_on(is_reset(service)));
    let metrics = world.curl("/metrics").by(&world, "admin").run().text();
    assert!(metrics.contains("sallyport_streams_resume_failed_total{tunnel=\"public-db\"} 1"), "{metrics}");
}

#[test]
fn a_session_that_an_admin_kills_while_its_publisher_is_away_ends_at_once_and_is_not_brought_back() {
    let world = seeing_losses_soon("limits.resume_secs=5");
    let app = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let relay = Relay::to(world.port());
    let mut publisher = publish_db(&world, &relay, app.local_addr().unwrap());
    let (visitor, mut service) = joined(&world, &app);
    publisher.signal("STOP");
    relay.cut_all();
    world.record("tunnel.lost", |_| true);
    let id = world.ask("admin", &["sessions", "list"])[0]["id"].as_str().unwrap().to_owned();
    world.ask("admin", &["sessions", "kill", &id, "--reason", "unusual hours"]);
    assert!(RUNTIME.block_on(is_reset(visitor)));
    let closed = closed(&world);
    assert_eq!(closed["details"]["reason"], "killed", "{closed}");
    assert!(closed["details"]["resumed"].is_null(), "{closed}");
    publisher.signal("CONT");
    RUNTIME.block_on(async {
        service.write_all(b"is anybody there?").await.unwrap();
        assert!(is_reset(service).await, "the app hears of it in time");
    });
}

/// A visitor's stream that has gone on once, and the publisher that came back.
fn resumed(world: &World, relay: &Relay, app: &App) -> (Process, TcpStream) {
    let publisher = publish_db(world, relay, app.address());
    let stream = RUNTIME.block_on(async {
        let mut stream = visitor(world).await;
        echo(&mut stream).await;
        stream
    });
    cut(world, relay);
    let mut stream = stream;
    RUNTIME.block_on(echo(&mut stream));
    (publisher, stream)
}

#[test]
fn a_stream_that_went_on_ends_with_all_that_ends_one_of_the_new_registration() {
    type Deed = fn(&World);
    let deeds: [(&str, &str, Deed); 3] = [
        ("tunnel-ended", "tunnel-deleted", |world| {
            world.ask("admin", &["tunnels", "delete", "public-db", "--reason", "a test"]);
        }),
        ("tunnel-ended", "owner-removed", |world| {
            world.ask("admin", &["lock", "user:publisher", "--reason", "a test"]);
        }),
        ("killed", "killed", |world| {
            let id = world.ask("admin", &["sessions", "list"])[0]["id"].as_str().unwrap().to_owned();
            world.ask("admin", &["sessions", "kill", &id, "--reason", "a test"]);
        }),
    ];
    for (reason, cause, deed) in deeds {
        let world = World::with()
            .set("limits.resume_secs=30")
            .policy("p, role:admin, main, tunnel:*, delete, allow, -")
            .start();
        let app = App::that_echoes();
        let relay = Relay::to(world.port());
        let (_publisher, stream) = resumed(&world, &relay, &app);
        deed(&world);
        assert!(RUNTIME.block_on(is_reset(stream)), "{cause}");
        let closed = closed(&world);
        assert_eq!(
            (&closed["details"]["reason"], &closed["details"]["cause"]),
            (&reason.into(), &cause.into())
        );
        assert_eq!(closed["details"]["resumed"], 1, "{closed}");
    }
}

#[test]
fn a_publisher_that_stops_after_it_came_back_takes_its_streams_with_it() {
    let world = World::with().set("limits.resume_secs=30").start();
    let app = App::that_echoes();
    let relay = Relay::to(world.port());
    let (mut publisher, stream) = resumed(&world, &relay, &app);
    publisher.signal("TERM");
    assert!(RUNTIME.block_on(is_reset(stream)));
    assert!(publisher.wait().success(), "{}", publisher.err());
    assert_eq!(closed(&world)["details"]["reason"], "publisher-closed");
}

#[test]
fn another_publisher_of_the_same_user_gets_none_of_the_streams() {
    let world = World::with().set("limits.resume_secs=30").start();
    let (app, other) = (App::that_echoes(), App::that_echoes());
    let relay = Relay::to(world.port());
    let mut publisher = publish_db(&world, &relay, app.address());
    let stream = RUNTIME.block_on(async {
        let mut stream = visitor(&world).await;
        echo(&mut stream).await;
        stream
    });
    publisher.kill();
    world.record("tunnel.lost", |_| true);
    // It takes the name, and has not been this one.
    let _other = publish_db(&world, &relay, other.address());
    assert!(RUNTIME.block_on(is_reset(stream)));
    assert!(closed(&world)["details"]["resumed"].is_null());
}

#[test]
fn where_streams_are_not_to_wait_they_break_with_the_connection() {
    for grace in [None, Some("tunnels.reconnect_grace_secs=0")] {
        let plan = World::with();
        let world = match grace {
            None => plan,
            Some(none) => plan.set("limits.resume_secs=30").set(none),
        };
        let world = world.start();
        let app = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let relay = Relay::to(world.port());
        let _publisher = publish_db(&world, &relay, app.local_addr().unwrap());
        let (visitor, service) = joined(&world, &app);
        relay.cut_all();
        let (visitor, service) =
            RUNTIME.block_on(async { tokio::join!(is_reset(visitor), is_reset(service)) });
        assert!(visitor && service, "{grace:?}");
        assert!(closed(&world)["details"]["resumed"].is_null());
    }
}
