//! One port for everybody: what speaks TLS goes on, what does not is told what to do, each by its real client.

use std::io::{Read as _, Write as _};
use std::process::Command;

use super::curl::Curl;
use super::world::{World, finish};

#[test]
fn http_without_tls_is_sent_on_to_https_where_that_does_no_harm() {
    let world = World::start();
    let url = format!("http://open-demo.localhost:{}/a?b=c", world.port());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = Curl::to(&world, &url).args(&[version]).run();
        assert_eq!(answer.status, 308, "{version}: {}", answer.complaint);
        let to = format!("https://open-demo.localhost:{}/a?b=c", world.port());
        assert_eq!(answer.header("location"), Some(to), "{version}");
    }
    let posted = Curl::to(&world, &url).args(&["--data", "x"]).run();
    assert_eq!((posted.status, posted.problem().as_str()), (400, "not-tls"));
    // Not to wherever the request says.
    let elsewhere = Curl::to(&world, &url).args(&["--http1.1", "--header", "Host: evil.example"]).run();
    assert_eq!((elsewhere.status, elsewhere.problem().as_str()), (400, "not-tls"));
    assert_eq!(elsewhere.header("location"), None);
    // Nor to a host that only seems to be one of the gateway's.
    let seeming = Curl::to(&world, &url)
        .args(&["--http1.1", "--header", "Host: open-demo.localhost:1@evil.example"])
        .run();
    assert_eq!((seeming.status, seeming.problem().as_str()), (400, "bad-host"));
    assert_eq!(seeming.header("location"), None);
}

#[test]
fn a_token_that_was_sent_in_clear_is_refused_and_recorded_and_leads_nowhere() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let url = format!("http://open-demo.localhost:{}/", world.port());
    let answer = Curl::to(&world, &url).by(&world, "visitor").run();
    assert_eq!((answer.status, answer.problem().as_str()), (400, "sent-in-clear"));
    world.record("connection.refused", |record| record["details"]["reason"] == "sent-in-clear");
    assert_eq!(world.records_of("session.opened").len(), 0);
}

#[test]
fn ssh_is_told_in_its_own_words_how_to_go_on() {
    let world = World::start();
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/dev/null"]).args([
        "-o",
        "StrictHostKeyChecking=no",
        "-p",
        &world.port().to_string(),
        "nobody@127.0.0.1",
        "true",
    ]);
    let run = finish(&mut ssh);
    assert_eq!(run.code, 255, "{}", run.err);
    assert!(run.err.contains("Received disconnect"), "{}", run.err);
    assert!(run.err.contains("sallyport connect NAME --stdio"), "{}", run.err);
}

#[test]
fn openssl_speaks_tls_with_it_as_ever() {
    let world = World::start();
    let mut openssl = Command::new("openssl");
    openssl
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", world.port()), "-servername", "localhost"])
        .args(["-verify_return_error", "-CAfile"])
        .arg(world.root());
    let run = finish(&mut openssl);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("TLSv1.3") && run.out.contains("Verify return code: 0"), "{}", run.out);
}

#[test]
fn nothing_and_nonsense_are_let_go_of() {
    let world = World::with().set("limits.tls_handshake_secs=1").start();
    for bytes in
        [&b""[..], b"SSH", b"PROXY TCP4 1.2", b"\r\n\r\n\0", b"{\"id\":1}\r\n", b"\x80\x2e\x01\x00\x02"]
    {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", world.port())).unwrap();
        socket.write_all(bytes).unwrap();
        let mut got = Vec::new();
        let _reset = socket.read_to_end(&mut got);
        assert_eq!(got, b"", "{}", bytes.escape_ascii());
    }
    assert_eq!(world.curl("/healthz").run().status, 200);
}

#[test]
fn first_bytes_that_come_one_by_one_are_understood() {
    let world = World::start();
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", world.port())).unwrap();
    socket.set_nodelay(true).unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        socket.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}
