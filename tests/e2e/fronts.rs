//! A load balancer in front that says where visitors come from, and apps that want to know: real haproxy and nginx.

use std::net::IpAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::app::{App, RUNTIME};
use super::curl::Curl;
use super::patience::eventually;
use super::process::Process;
use super::world::{World, next};

/// Where haproxy comes from when it speaks to the gateway, and where visitors do. All of it is loopback.
const FRONT: &str = "127.0.0.2";
const VISITOR: &str = "127.0.0.9";

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn listens(what: &str, port: u16) {
    eventually(what, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
}

/// haproxy with these sections.
pub(crate) fn haproxy(world: &World, port: u16, sections: &str) -> Process {
    let file = world.path(&format!("haproxy-{}.cfg", next()));
    let defaults = "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
    std::fs::write(&file, format!("{defaults}{sections}\n")).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&file);
    let process = Process::start(&format!("haproxy-{}", next()), world.directory(), &mut command);
    listens("haproxy listens", port);
    process
}

/// haproxy on `port`, which sends everything to `to` with a PROXY header.
fn front(world: &World, port: u16, to: u16, how: &str) -> Process {
    let sections = format!(
        "listen front\n mode tcp\n bind 127.0.0.1:{port}\n source {FRONT}\n server gateway 127.0.0.1:{to} {how}\n"
    );
    haproxy(world, port, &sections)
}

/// An nginx that takes no connection without a PROXY header, and answers with what that says.
fn nginx_that_reads_headers(world: &World) -> (Process, u16) {
    let (home, port) = (world.path(&format!("nginx-{}", next())), free_port());
    std::fs::create_dir_all(&home).unwrap();
    let config = format!(
        "daemon off; master_process off; pid {0}/pid; events {{}}\n\
         http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;\n\
         uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
         server {{ listen 127.0.0.1:{port} proxy_protocol;\n\
         location / {{ return 200 \"$proxy_protocol_addr to $proxy_protocol_server_port\"; }} }} }}\n",
        home.display()
    );
    std::fs::write(home.join("nginx.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&home).arg("-e").arg(home.join("error.log")).arg("-c").arg(home.join("nginx.conf"));
    let process = Process::start(&format!("nginx-{}", next()), world.directory(), &mut command);
    listens("nginx listens", port);
    (process, port)
}

#[test]
fn behind_a_front_the_visitor_is_whom_the_front_names() {
    for how in ["send-proxy", "send-proxy-v2"] {
        let world = World::with().set(&format!("gateway.proxy_protocol_from={FRONT}")).start();
        let port = world.tcp_ports().1;
        let _front = front(&world, port, world.port(), how);
        let _publisher = world.publish_demo("open-demo");
        let url = format!("https://open-demo.localhost:{port}/headers");
        let answer = Curl::to(&world, &url).by(&world, "visitor").args(&["--interface", VISITOR]).run();
        assert_eq!(answer.status, 200, "{how}: {}", answer.complaint);
        assert!(answer.text().contains(&format!("x-forwarded-for: {VISITOR}")), "{how}: {}", answer.text());
        let opened = world.record("session.opened", |_| true);
        assert_eq!(opened["details"]["front"], FRONT);
        let source = opened["values"]["source"].as_str().unwrap();
        assert!(source.starts_with(&format!("{VISITOR}:")), "{how}: {source}");
    }
}

#[test]
fn limits_of_an_address_are_those_of_the_visitor_not_of_the_front() {
    let world = World::with()
        .set(&format!("gateway.proxy_protocol_from={FRONT}"))
        .set("limits.requests_per_address=1")
        .start();
    let port = world.tcp_ports().1;
    let _front = front(&world, port, world.port(), "send-proxy-v2");
    let _publisher = world.publish_demo("open-demo");
    let url = format!("https://open-demo.localhost:{port}/");
    let visit =
        |from: &str| Curl::to(&world, &url).by(&world, "visitor").args(&["--interface", from]).run().status;
    assert_eq!(visit(VISITOR), 200);
    assert_eq!(visit(VISITOR), 429);
    assert_eq!(visit("127.0.0.10"), 200);
}

#[test]
fn a_header_from_whoever_is_no_front_and_a_front_without_one_are_refused_and_recorded() {
    let world = World::with().set(&format!("gateway.proxy_protocol_from={FRONT}/32")).start();
    let liar = world.curl("/healthz").args(&["--haproxy-protocol"]).run();
    assert_eq!(liar.status, 0, "{}", liar.text());
    world.record("connection.refused", |record| record["details"]["reason"] == "proxy-header-untrusted");
    let silent = world.curl("/healthz").args(&["--interface", FRONT]).run();
    assert_eq!(silent.status, 0, "{}", silent.text());
    let refused =
        world.record("connection.refused", |record| record["details"]["reason"] == "proxy-header-missing");
    assert!(refused["values"]["source"].as_str().unwrap().starts_with(FRONT), "{refused}");
    // What is as it should be goes on: a front that tells, and anybody else who does not.
    assert_eq!(world.curl("/healthz").args(&["--interface", FRONT, "--haproxy-protocol"]).run().status, 200);
    assert_eq!(world.curl("/healthz").run().status, 200);
}

#[test]
fn a_front_that_says_nothing_in_time_or_too_much_is_refused() {
    let world = World::with()
        .set(&format!("gateway.proxy_protocol_from={FRONT}"))
        .set("limits.tls_handshake_secs=1")
        .start();
    let ended = |bytes: &[u8]| {
        RUNTIME.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((FRONT.parse::<IpAddr>().unwrap(), 0).into()).unwrap();
            let mut socket = socket.connect(([127, 0, 0, 1], world.port()).into()).await.unwrap();
            let _refused_already = socket.write_all(bytes).await;
            let mut got = Vec::new();
            let _reset = socket.read_to_end(&mut got).await;
            assert_eq!(got, b"");
        });
    };
    ended(b"");
    world.record("connection.refused", |record| record["details"]["reason"] == "proxy-header-missing");
    // A header of version 2 that announces 65,535 bytes, and brings them.
    ended(&[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(), &vec![0; 65_535]].concat());
    world.record("connection.refused", |record| record["details"]["reason"] == "proxy-header-malformed");
}

#[test]
fn an_app_behind_a_tcp_tunnel_is_told_the_visitors_address_through_a_front_as_well() {
    let world = World::with().set(&format!("gateway.proxy_protocol_from={FRONT}")).start();
    let (_nginx, app) = nginx_that_reads_headers(&world);
    let (tunnel, port) = world.tcp_ports();
    let _front = front(&world, port, tunnel, "send-proxy-v2");
    for version in ["v1", "v2"] {
        let mut publisher = world.publish_as(
            "publisher",
            "public-web",
            &["tcp", &app.to_string(), "--port", &tunnel.to_string(), "--proxy-protocol", version],
        );
        for (through, reached) in [(tunnel, tunnel), (port, port)] {
            let url = format!("http://localhost:{through}/");
            let answer = Curl::to(&world, &url).args(&["--interface", VISITOR]).run();
            assert_eq!(answer.text(), format!("{VISITOR} to {reached}"), "{version} {}", answer.complaint);
        }
        assert!(publisher.stop().success());
    }
    let sources: Vec<bool> = world
        .records_of("session.opened")
        .iter()
        .map(|opened| opened["values"]["source"].as_str().unwrap().starts_with(VISITOR))
        .collect();
    assert_eq!(sources, [true; 4]);
}

#[test]
fn haproxy_as_the_app_reads_the_header_too() {
    let world = World::start();
    let app = free_port();
    let sections = format!(
        "frontend app\n mode http\n bind 127.0.0.1:{app} accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \"%[src]\"\n"
    );
    let _haproxy = haproxy(&world, app, &sections);
    let tunnel = world.tcp_ports().0;
    let _publisher = world.publish_as(
        "publisher",
        "public-web",
        &["tcp", &app.to_string(), "--port", &tunnel.to_string(), "--proxy-protocol", "v2"],
    );
    let url = format!("http://localhost:{tunnel}/");
    let answer = Curl::to(&world, &url).args(&["--interface", VISITOR]).run();
    assert_eq!(answer.text(), VISITOR, "{}", answer.complaint);
}

#[test]
fn a_tunnel_that_was_not_asked_to_sends_no_header() {
    let world = World::start();
    let app = App::that_echoes();
    let tunnel = world.tcp_ports().0;
    let _publisher = world.publish_as(
        "publisher",
        "public-echo",
        &["tcp", &app.address().to_string(), "--port", &tunnel.to_string()],
    );
    let echo = RUNTIME.block_on(async {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", tunnel)).await.unwrap();
        socket.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        socket.read_exact(&mut echo).await.unwrap();
        echo
    });
    assert_eq!(&echo, b"hello");
}

#[test]
fn a_header_that_a_visitor_of_a_tcp_tunnel_makes_up_reaches_no_app_unless_the_operator_wants_it() {
    let headers = [b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".as_slice(), b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"];
    for how in ["refuse", "pass"] {
        let world = World::with().set(&format!("tunnels.proxy_headers={how}")).start();
        let app = App::that_echoes();
        let tunnel = world.tcp_ports().0;
        let _publisher = world.publish_as(
            "publisher",
            "public-echo",
            &["tcp", &app.address().to_string(), "--port", &tunnel.to_string()],
        );
        for header in headers {
            // Whole, and byte by byte.
            for cut in [header.len(), 1] {
                let echo = RUNTIME.block_on(async {
                    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", tunnel)).await.unwrap();
                    socket.set_nodelay(true).unwrap();
                    for piece in header.chunks(cut) {
                        let _cut = socket.write_all(piece).await;
                        tokio::task::yield_now().await;
                    }
                    let _reset = socket.shutdown().await;
                    let mut echo = Vec::new();
                    let _reset = socket.read_to_end(&mut echo).await;
                    echo
                });
                if how == "pass" {
                    assert_eq!(echo, header);
                } else {
                    assert!(echo.len() < 12 && header.starts_with(&echo), "{}", echo.escape_ascii());
                }
            }
        }
        let reasons = eventually("all are closed", || {
            let closed = world.records_of("session.closed");
            (closed.len() == 4)
                .then(|| closed.iter().map(|one| one["details"]["reason"].clone()).collect::<Vec<_>>())
        });
        let refused = reasons.iter().filter(|reason| **reason == "proxy-header-untrusted").count();
        assert_eq!(refused, if how == "refuse" { 4 } else { 0 }, "{reasons:?}");
    }
}
