//! UDP tunnels, with a real name server (dnsmasq) behind them: by a public port, and by `sallyport connect --udp`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::patience::eventually;
use super::process::Process;
use super::tcp::connect_by;
use super::world::World;

const NAME: &str = "answer.test";
const ADDRESS: [u8; 4] = [192, 0, 2, 7];

/// A name server that knows one name.
pub(super) struct NameServer {
    _process: Process,
    address: SocketAddr,
}

impl NameServer {
    pub(super) fn start(world: &World) -> Self {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--no-daemon",
        ]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="]);
        command.arg(format!("--port={free}")).arg(format!("--address=/{NAME}/192.0.2.7"));
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        let process = Process::start("dnsmasq", world.directory(), &mut command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free));
        eventually("the name server answers", || ask(address, 1));
        Self { _process: process, address }
    }
}

/// A question for the address of [`NAME`] (RFC 1035 section 4).
fn question(id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in NAME.split('.') {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

pub(super) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

pub(super) fn ask_from(socket: &UdpSocket, server: SocketAddr, id: u16) -> Option<()> {
    socket.send_to(&question(id), server).unwrap();
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    let answer = &buffer[..length];
    (from == server && answer.starts_with(&id.to_be_bytes()) && answer.ends_with(&ADDRESS)).then_some(())
}

fn ask(server: SocketAddr, id: u16) -> Option<()> {
    ask_from(&socket(), server, id)
}

pub(super) fn publish(
    world: &World,
    name: &str,
    server: &NameServer,
    more: &[&str],
) -> (Process, SocketAddr) {
    let port = world.tcp_ports().0.to_string();
    let target = server.address.to_string();
    let mut publisher = world.publish_as(
        "publisher",
        name,
        &[&["udp", target.as_str(), "--port", port.as_str()], more].concat(),
    );
    let url = publisher.line("where it is", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["url"].as_str().map(str::to_owned)
    });
    assert_eq!(url, format!("udp://localhost:{port}"));
    (publisher, SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap())))
}

#[test]
fn an_app_of_udp_that_its_publisher_finds_unwell_is_sent_nothing() {
    let world = World::start();
    let app = socket();
    let (target, port) = (app.local_addr().unwrap().to_string(), world.tcp_ports().0);
    let number = port.to_string();
    // Nothing listens there by TCP, at which it is looked.
    let looks = ["--health-check", "tcp", "--health-secs", "1", "--health-failures", "1"];
    let what = [&["udp", target.as_str(), "--port", number.as_str()], &looks[..]].concat();
    let _publisher = world.publish_as("publisher", "public-dns", &what);
    world.record("tunnel.health", |record| record["result"] == "failure");
    let visitor = socket();
    for id in 1..=3 {
        visitor.send_to(&question(id), (Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["reason"], "publisher-closed");
    assert!(app.recv_from(&mut [0; 512]).is_err(), "the app was sent something");
    // Nor is each datagram a session.
    assert_eq!(world.records_of("session.opened").len(), 1);
}

#[test]
fn each_address_that_sends_to_a_public_port_is_a_session_of_its_own_whose_datagrams_are_counted() {
    for transport in ["tls", "quic"] {
        let world = World::with().set("gateway.quic=on").set("tunnels.udp_idle_secs=1").start();
        let server = NameServer::start(&world);
        let (mut publisher, port) = publish(&world, "public-dns", &server, &["--transport", transport]);
        let (one, other) = (socket(), socket());
        for id in 1..=3 {
            eventually("the name server answers through the tunnel", || ask_from(&one, port, id));
        }
        eventually("and another", || ask_from(&other, port, 9));
        let closed = eventually("both flows are over", || {
            let closed = world.records_of("session.closed");
            (closed.len() >= 2).then_some(closed)
        });
        // On QUIC datagrams travel as datagrams; else on a stream of the tunnel.
        let method = if transport == "quic" { "DATAGRAMS" } else { "STREAM" };
        publisher.line("how the flow travels", |line| {
            (serde_json::from_str::<Value>(line).ok()?["method"] == method).then_some(())
        });
        let mine = one.local_addr().unwrap().to_string();
        let opened = world.record("session.opened", |record| record["values"]["source"] == mine.as_str());
        assert_eq!(opened["details"]["protocol"], "udp");
        let closed = closed.iter().find(|record| record["session"] == opened["session"]).unwrap();
        assert_eq!(closed["details"]["reason"], "idle", "{closed}");
        let sent = closed["details"]["datagrams_up"].as_u64().unwrap();
        assert!(sent >= 3, "{closed}");
        assert_eq!(
            closed["details"]["bytes_up"].as_u64().unwrap(),
            sent * question(0).len() as u64,
            "{closed}"
        );
        assert!(closed["details"]["datagrams_down"].as_u64() >= Some(3), "{closed}");
    }
}

#[test]
fn connect_udp_carries_a_known_person_and_a_revocation_ends_the_flow() {
    let world = World::start();
    let server = NameServer::start(&world);
    let (_publisher, port) = publish(&world, "open-dns", &server, &[]);
    let (_connect, local) = connect_by(&world, "visitor", &["open-dns", "--udp"]);
    let mine = socket();
    eventually("the name server answers through the tunnel", || ask_from(&mine, local, 7));
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["values"]["subject"], "user:visitor");
    // A bare port knows nobody, and policy lets nobody in that it does not know.
    assert_eq!(ask(port, 8), None);
    world.record("access.decided", |record| {
        record["object"] == "tunnel:open-dns" && record["result"] == "denied"
    });
    world.ask("admin", &["lock", "user:visitor", "--reason", "a test"]);
    let closed = world.record("session.closed", |record| record["session"] == opened["session"]);
    assert_eq!(closed["details"]["cause"], "locked", "{closed}");
    assert_eq!(ask_from(&mine, local, 9), None);
}

#[test]
fn a_tunnel_is_used_as_what_it_is_or_not_at_all() {
    let world = World::start();
    let server = NameServer::start(&world);
    let (_publisher, _) = publish(&world, "open-dns", &server, &[]);
    let by_browser = world.visit("open-dns", "/").by(&world, "visitor").run();
    assert_eq!((by_browser.status, by_browser.problem().as_str()), (404, "not-http"));
    assert!(by_browser.text().contains("connect open-dns --udp"), "{}", by_browser.text());
    let as_tcp = world.cli("visitor", &["connect", "open-dns", "--stdio"]);
    assert!(as_tcp.code != 0 && as_tcp.err.contains("is a UDP tunnel"), "{}", as_tcp.err);
    let tunnels = world.ask("admin", &["tunnels"]);
    assert_eq!(tunnels[0]["kind"], json!("udp"));
    let outside = world.cli("publisher", &["publish", "udp", "53", "--name", "open-other", "--port", "1"]);
    assert_eq!(outside.code, 4, "{}", outside.err);
    assert!(outside.err.contains("outside the range"), "{}", outside.err);
}

#[test]
fn a_datagram_that_no_packet_can_hold_passes_by_quic_all_the_same() {
    let world = World::with().set("gateway.quic=on").start();
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = echo.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        // Ends with the test's process: nothing else wakes it.
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _lost = echo.send_to(&buffer[..length], from);
        }
    });
    let port = world.tcp_ports().0;
    let what = ["udp", &target.to_string(), "--port", &port.to_string(), "--transport", "quic"];
    let _publisher = world.publish_as("publisher", "public-echo", &what);
    let mine = socket();
    for length in [0, 1, 1000, 1400, 9000, 60_000] {
        let sent = super::app::random(length);
        eventually("it comes back whole", || {
            mine.send_to(&sent, (Ipv4Addr::LOCALHOST, port)).unwrap();
            let mut buffer = vec![0; 65_536];
            let (got, _) = mine.recv_from(&mut buffer).ok()?;
            (buffer[..got] == sent[..]).then_some(())
        });
    }
}

#[test]
fn a_flow_that_was_refused_is_asked_again_though_it_never_falls_silent() {
    // Nobody waits for a publisher that is away: whoever comes then is refused.
    let world = World::with().set("tunnels.udp_idle_secs=1").set("tunnels.queue_secs=0").start();
    let server = NameServer::start(&world);
    let (mut publisher, port) = publish(&world, "public-dns", &server, &[]);
    publisher.kill();
    eventually("the gateway has seen the loss", || {
        (world.ask("admin", &["tunnels"])[0]["state"] == "away").then_some(())
    });
    let mine = socket();
    mine.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(ask_from(&mine, port, 1), None);
    let talking = mine.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    // Ten times in the time after which a silent flow is over.
    let talker = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            talking.send_to(&question(2), port).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let _publisher = publish(&world, "public-dns", &server, &[]);
    eventually("it is let in", || ask_from(&mine, port, 2));
    stop.store(true, Ordering::Relaxed);
    talker.join().unwrap();
}
