//! A byte stream that is cut never looks like one that came to its end: not to the visitor, and not to the app. A TCP stream has no
//! other sign of being whole.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::app::{App, RUNTIME};
use super::patience::PATIENCE;
use super::process::Process;
use super::tcp::connect;
use super::world::World;

/// Whoever may come back is not waited for long.
fn short() -> World {
    World::with().set("limits.resume_secs=1").start()
}

fn publish(world: &World, app: SocketAddr) -> Process {
    let port = world.tcp_ports().1.to_string();
    world.publish_as("publisher", "public-db", &["tcp", &app.to_string(), "--port", &port])
}

/// A visitor that has said something.
fn visitor(address: SocketAddr) -> TcpStream {
    RUNTIME.block_on(async {
        let mut visitor = TcpStream::connect(address).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        visitor
    })
}

/// Reads what was said.
fn heard(stream: &mut TcpStream) {
    RUNTIME.block_on(async {
        let mut said = [0; 5];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("it comes").unwrap();
        assert_eq!(&said, b"hello");
    });
}

/// How it goes on: by an orderly end, or by an error.
fn end(mut stream: TcpStream) -> Result<(), ErrorKind> {
    RUNTIME.block_on(async {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("it ends");
        read.map(|length| assert_eq!(length, 0, "more came")).map_err(|error| error.kind())
    })
}

const BROKE: Result<(), ErrorKind> = Err(ErrorKind::ConnectionReset);

#[test]
fn a_visitor_sees_its_stream_break_when_publisher_or_gateway_die_in_the_middle() {
    let mut world = short();
    let app = App::that_echoes();
    let port = SocketAddr::from(([127, 0, 0, 1], world.tcp_ports().1));
    let visitors = |local: SocketAddr| {
        [port, local].map(|address| {
            let mut visitor = visitor(address);
            heard(&mut visitor);
            visitor
        })
    };
    let (mut publisher, (_connect, local)) =
        (publish(&world, app.address()), connect(&world, "visitor", "public-db"));
    let there = visitors(local);
    publisher.kill();
    assert_eq!(there.map(end), [BROKE; 2], "the publisher died");

    let _publisher = publish(&world, app.address());
    let there = visitors(local);
    world.kill_gateway();
    assert_eq!(there.map(end), [BROKE; 2], "the gateway died");
}

#[test]
fn an_app_sees_an_upload_break_when_visitor_publisher_or_gateway_die_in_the_middle() {
    let mut world = short();
    let app = Arc::new(RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap());
    let address = app.local_addr().unwrap();
    let port = SocketAddr::from(([127, 0, 0, 1], world.tcp_ports().1));
    let begin = || {
        let visitor = visitor(port);
        let (mut upload, _) = RUNTIME.block_on(app.accept()).unwrap();
        heard(&mut upload);
        (visitor, upload)
    };
    let mut publisher = publish(&world, address);
    let (visitor, upload) = begin();
    visitor.set_zero_linger().unwrap();
    drop(visitor);
    assert_eq!(end(upload), BROKE, "the visitor broke off");

    let (_visitor, upload) = begin();
    publisher.kill();
    assert_eq!(end(upload), BROKE, "the publisher died");

    let _publisher = publish(&world, address);
    let (_visitor, upload) = begin();
    world.kill_gateway();
    assert_eq!(end(upload), BROKE, "the gateway died");
}

#[test]
fn a_visitor_whom_a_port_refuses_does_not_take_it_for_an_empty_answer() {
    let world = World::start();
    let app = App::that_echoes();
    let port = world.tcp_ports().1;
    let _publisher = world.publish_as(
        "publisher",
        "open-db",
        &["tcp", &app.address().to_string(), "--port", &port.to_string()],
    );
    let refused = RUNTIME.block_on(TcpStream::connect(("127.0.0.1", port))).unwrap();
    assert_eq!(end(refused), BROKE);
}

#[test]
fn connect_ends_with_an_error_when_what_it_took_may_not_be_all() {
    let world = short();
    let app = App::that_echoes();
    let mut publisher = publish(&world, app.address());
    let mut command = world.client("visitor");
    command.args(["connect", "public-db", "--stdio"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    input.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    output.read_exact(&mut echo).unwrap();
    publisher.kill();
    // Its input stays open, as a script's does.
    let ended = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("`public-db` broke off") && said.contains("may not be all"), "{said}");
}

#[test]
fn an_app_sees_an_upload_break_when_the_gateway_falls_silent() {
    let mut world = World::with()
        .set("limits.resume_secs=1")
        .set("tunnels.heartbeat_secs=1")
        .set("tunnels.heartbeat_timeout_secs=1")
        .start();
    let app = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let _publisher = publish(&world, app.local_addr().unwrap());
    let _visitor = visitor(SocketAddr::from(([127, 0, 0, 1], world.tcp_ports().1)));
    let (mut upload, _) = RUNTIME.block_on(app.accept()).unwrap();
    heard(&mut upload);
    world.gateway().signal("STOP");
    assert_eq!(end(upload), BROKE);
}
