//! TCP tunnels: by `sallyport connect` for known people, by a port for everybody.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::{App, RUNTIME, exchange, random, sha256};
use super::process::Process;
use super::world::World;

const LARGE: usize = 8 << 20;

/// `sallyport connect`, and the local address at which the tunnel is.
pub(crate) fn connect(world: &World, person: &str, tunnel: &str) -> (Process, SocketAddr) {
    connect_by(world, person, &[tunnel])
}

/// The same, with more to say.
pub(crate) fn connect_by(world: &World, person: &str, arguments: &[&str]) -> (Process, SocketAddr) {
    let mut command = world.client(person);
    command.arg("connect").args(arguments);
    let mut process =
        Process::start(&format!("connect-{}", super::world::next()), world.directory(), &mut command);
    let address = process.line("where the tunnel is", |line| {
        line.split(' ').find_map(|word| word.trim_end_matches(';').parse().ok())
    });
    (process, address)
}

#[test]
fn eight_mebibytes_pass_both_ways_through_connect_and_half_close_is_kept() {
    let world = World::start();
    let (up, down) = (random(LARGE), random(LARGE));
    let app = App::that_answers_at_the_end(down.clone());
    let _publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let (_connect, address) = connect(&world, "visitor", "open-db");
    let (hash, rest) =
        RUNTIME.block_on(async { exchange(TcpStream::connect(address).await.unwrap(), &up).await });
    assert_eq!(hash, sha256(&up));
    assert!(rest == down, "{} bytes came back", rest.len());

    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["bytes_up"], LARGE);
    assert_eq!(closed["details"]["bytes_down"], LARGE + hash.len());
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["details"]["protocol"], "tcp");
    assert_eq!(opened["values"]["subject"], "user:visitor");
}

#[test]
fn connect_joins_standard_input_and_output_as_ssh_wants_it() {
    let world = World::start();
    let app = App::that_answers_at_the_end(random(0));
    let _publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let mut command = world.client("visitor");
    command.args(["connect", "open-db", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let block = random(100_000);
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &block).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, sha256(&block));
}

#[test]
fn a_public_port_serves_anybody_when_policy_says_so() {
    let world = World::start();
    let app = App::that_answers_at_the_end(random(1000));
    let port = world.tcp_ports().1;
    let mut publisher = world.publish_as(
        "publisher",
        "public-db",
        &["tcp", &app.address().to_string(), "--port", &port.to_string()],
    );
    publisher.line("the port", |line| line.contains(&format!("tcp://localhost:{port}")).then_some(()));
    let block = random(50_000);
    let (hash, rest) = RUNTIME
        .block_on(async { exchange(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), &block).await });
    assert_eq!((hash, rest.len()), (sha256(&block), 1000));
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["values"]["subject"], "user:anonymous");

    // The port goes with its publisher.
    assert!(publisher.stop().success());
    super::patience::eventually("the port is closed", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).err()
    });
}

#[test]
fn a_private_port_closes_on_whoever_is_not_known_and_leaves_a_record() {
    let world = World::start();
    let app = App::that_echoes();
    let port = world.tcp_ports().0;
    let _publisher = world.publish_as(
        "publisher",
        "open-db",
        &["tcp", &app.address().to_string(), "--port", &port.to_string()],
    );
    RUNTIME.block_on(async {
        let mut stranger = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _refused_already = stranger.write_all(b"hello").await;
        let mut got = Vec::new();
        let _reset = stranger.read_to_end(&mut got).await;
        assert_eq!(got, b"", "a stranger got bytes");
    });
    let decided = world.record("access.decided", |record| record["object"] == "tunnel:open-db");
    assert_eq!(
        (&decided["result"], &decided["values"]["subject"]),
        (&"denied".into(), &"user:anonymous".into())
    );
    assert_eq!(world.records_of("session.opened").len(), 0);
}

#[test]
fn connect_tells_a_visitor_without_leave_why_and_how_to_ask() {
    let world =
        World::with().policy("p, role:visitor, main, tunnel:vault, connect, allow, owner-approves").start();
    let app = App::that_echoes();
    let _publisher = world.publish_as("publisher", "vault", &["tcp", &app.address().to_string()]);
    let refused = world.cli("visitor", &["connect", "vault", "--stdio"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("needs leave to use `vault`"), "{}", refused.err);
    assert!(refused.err.contains("hint: ask for it: sallyport request vault"), "{}", refused.err);
    let unknown = world.cli("visitor", &["connect", "nothing", "--stdio"]);
    assert_eq!(unknown.code, 1, "{}", unknown.err);
    assert!(unknown.err.contains("404: no tunnel is published as `nothing`"), "{}", unknown.err);
    assert!(unknown.err.contains("hint: check the name, or ask its owner"), "{}", unknown.err);
}

#[test]
fn a_tcp_tunnel_that_is_visited_by_a_browser_says_how_to_reach_it() {
    let world = World::start();
    let app = App::that_echoes();
    let _publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let answer = world.visit("open-db", "/").by(&world, "visitor").run();
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-http"));
    assert!(answer.json()["hint"].as_str().unwrap().contains("sallyport connect open-db"));
}

#[test]
fn a_revocation_cuts_a_byte_stream_too() {
    let world =
        World::with().policy("p, role:visitor, main, tunnel:vault, connect, allow, owner-approves").start();
    let app = App::that_echoes();
    let _publisher = world.publish_as("publisher", "vault", &["tcp", &app.address().to_string()]);
    let grant = world.grant("vault");
    let (_connect, address) = connect(&world, "visitor", "vault");
    RUNTIME.block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        world.ask("admin", &["grants", "revoke", &grant, "--reason", "enough"]);
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    });
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["cause"], "grant-revoked");
    assert_eq!(closed["details"]["bytes_up"], 5);
}

#[test]
fn a_port_that_cannot_be_had_is_refused_with_the_range() {
    let world = World::start();
    let refused = world.cli("publisher", &["publish", "tcp", "1", "--name", "db", "--port", "9"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    let (first, last) = world.tcp_ports();
    assert!(
        refused.err.contains(&format!("{first}-{last}")) && refused.err.contains("hint:"),
        "{}",
        refused.err
    );
}

#[test]
fn a_session_on_which_nothing_moves_is_closed() {
    let world = World::with().set("limits.idle_secs=1").start();
    let app = App::that_echoes();
    let _publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let (_connect, address) = connect(&world, "visitor", "open-db");
    RUNTIME.block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut all = Vec::new();
        let _reset = stream.read_to_end(&mut all).await;
        assert_eq!(all, b"hello");
    });
    assert_eq!(world.record("session.closed", |_| true)["details"]["reason"], "idle");
}

#[test]
fn a_visitor_who_breaks_off_is_recorded_as_the_one_who_ended_it() {
    let world = World::start();
    let app = App::that_echoes();
    let tunnel = world.tcp_ports().0;
    let _publisher = world.publish_as(
        "publisher",
        "public-echo",
        &["tcp", &app.address().to_string(), "--port", &tunnel.to_string()],
    );
    RUNTIME.block_on(async {
        let mut visitor = TcpStream::connect(("127.0.0.1", tunnel)).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        visitor.read_exact(&mut [0; 5]).await.unwrap();
        // A reset, not an end.
        visitor.set_zero_linger().unwrap();
    });
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["reason"], "visitor-closed", "{closed}");
}
