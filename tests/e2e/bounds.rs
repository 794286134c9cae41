//! Bounds on heads, bodies, frames and streams, through raw sockets: who is beyond by a little is told which bound it is, who is by
//! far is cut off in the words of its protocol.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::app::{App, RUNTIME, random};
use super::frames::{FRAME_SIZE_ERROR, GOAWAY, HEADERS, Http2, REFUSED_STREAM, RST_STREAM};
use super::patience::{PATIENCE, eventually};
use super::socket::tls;
use super::world::World;

/// Sends a request as it is, and reads the answer to its end.
fn send(world: &World, host: &str, request: &[u8]) -> (u16, Value) {
    RUNTIME.block_on(async {
        let mut stream = tls(world, host).await;
        let _cut = stream.write_all(request).await;
        let mut got = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await;
        let _closed_or_reset = read.expect("the gateway ends the connection");
        let text = String::from_utf8_lossy(&got).into_owned();
        let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    })
}

fn get(more: &str) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n").into_bytes()
}

#[test]
fn a_head_that_is_too_large_or_has_too_many_fields_is_told_so_with_a_code_of_its_own() {
    let world = World::with().set("limits.header_bytes=8192").start();
    let fields =
        |many: usize| (0..many).fold(String::new(), |text, number| format!("{text}X-{number}: 1\r\n"));
    let long = |bytes: usize| format!("X-Long: {}\r\n", "x".repeat(bytes));
    assert_eq!(send(&world, "localhost", &get(&fields(94))).0, 200);
    assert_eq!(send(&world, "localhost", &get(&long(8000))).0, 200);
    for (request, code) in [
        (get(&fields(95)), "too-many-fields"),
        (get(&long(8192)), "head-too-large"),
        (get(&long(20_000)), "head-too-large"),
    ] {
        let (status, problem) = send(&world, "localhost", &request);
        assert_eq!((status, problem["code"].as_str()), (431, Some(code)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(if code == "head-too-large" {
            "8192"
        } else {
            "96"
        }));
    }
    // By far: the library's own bare answer.
    for request in [get(&fields(200)), get(&long(40_000))] {
        let (status, problem) = send(&world, "localhost", &request);
        assert!(matches!((status, problem), (431 | 0, Value::Null)));
    }
    let by_http2 =
        world.curl("/healthz").header(&format!("X-Long: {}", "x".repeat(9000))).args(&["--http2"]).run();
    assert_eq!((by_http2.status, by_http2.problem().as_str()), (431, "head-too-large"));
    let metrics = world.curl("/metrics").by(&world, "admin").run().text();
    assert!(metrics.contains("sallyport_refusals_total{code=\"head-too-large\"} 3"), "{metrics}");
}

#[test]
fn a_body_beyond_the_bound_is_told_so_also_in_pieces_whose_number_nobody_announced() {
    let mut world = World::with().prepare();
    world.configure("[[tunnel]]\nname = \"open-files\"\nbody_bytes = 1000\n");
    world.start_gateway();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-files", app.address());
    let head = |how: &str| {
        format!(
            "PUT /hash HTTP/1.1\r\nHost: open-files.localhost\r\nSallyport-Token: {}\r\nConnection: close\r\n{how}\r\n\r\n",
            world.token("visitor")
        )
    };
    let pieces = |many: usize| {
        let piece = format!("64\r\n{}\r\n", "x".repeat(100));
        format!("{}{}0\r\n\r\n", head("Transfer-Encoding: chunked"), piece.repeat(many)).into_bytes()
    };
    assert_eq!(send(&world, "open-files.localhost", &pieces(10)).0, 200);
    let announced = format!("{}{}", head("Content-Length: 1001"), "x".repeat(1001)).into_bytes();
    for request in [pieces(11), announced] {
        let (status, problem) = send(&world, "open-files.localhost", &request);
        assert_eq!((status, problem["code"].as_str()), (413, Some("body-too-large")), "{problem}");
    }
}

#[test]
fn a_request_that_asks_for_an_upgrade_and_has_a_body_is_bounded_and_carried_as_any_other() {
    let mut world = World::with().prepare();
    world.configure("[[tunnel]]\nname = \"open-files\"\nbody_bytes = 1000\n");
    world.start_gateway();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-files", app.address());
    let put = |bytes: usize| {
        format!(
            "PUT /hash HTTP/1.1\r\nHost: open-files.localhost\r\nSallyport-Token: {}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
             Transfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n{}\r\n0\r\n\r\n",
            world.token("visitor"),
            "x".repeat(bytes)
        )
        .into_bytes()
    };
    assert_eq!(send(&world, "open-files.localhost", &put(1000)).0, 200);
    let (status, problem) = send(&world, "open-files.localhost", &put(1001));
    assert_eq!((status, problem["code"].as_str()), (413, Some("body-too-large")), "{problem}");
    let record = world.record("http.request", |record| record["details"]["status"] == 200);
    assert_eq!(record["action"], "PUT");
}

#[test]
fn a_visitor_who_does_not_send_what_it_announced_is_told_so_and_the_app_is_not_blamed() {
    let world = World::with().set("limits.request_secs=1").set("tunnels.breaker_failures=2").start();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-files", app.address());
    let head = format!(
        "PUT /hash HTTP/1.1\r\nHost: open-files.localhost\r\nSallyport-Token: {}\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
        world.token("visitor")
    );
    for body in ["", "x", "xxx"] {
        let (status, problem) = send(&world, "open-files.localhost", format!("{head}{body}").as_bytes());
        assert_eq!((status, problem["code"].as_str()), (408, Some("body-late")), "{problem}");
    }
    assert_eq!(world.ask("admin", &["tunnels"])[0]["state"], "live");
    assert_eq!(send(&world, "open-files.localhost", format!("{head}xxxxxxxxxx").as_bytes()).0, 200);
    assert!(world.records_of("tunnel.health").is_empty());
    let late = eventually("all are recorded", || {
        let requests = world.records_of("http.request");
        let late = requests.iter().filter(|record| record["details"]["status"] == 408).count();
        (requests.len() == 4).then_some(late)
    });
    assert_eq!(late, 3);
}

#[test]
fn a_frame_of_http_2_beyond_the_bound_ends_the_connection_at_its_announcement() {
    let world = World::start();
    RUNTIME.block_on(async {
        for length in [16_385, 1 << 20, (1 << 24) - 1] {
            let mut http2 = Http2::begin(&world, "localhost").await;
            http2.announce(HEADERS, 4, 1, length).await;
            assert_eq!(http2.error(GOAWAY).await.0, FRAME_SIZE_ERROR, "{length}");
        }
    });
    assert_eq!(world.curl("/readyz").run().status, 200);
}

#[test]
fn one_stream_of_http_2_more_than_a_connection_may_have_is_refused_and_the_others_go_on() {
    let world = World::start();
    // `POST /healthz` of `localhost`, in the table and in plain letters (RFC 7541), whose body never comes.
    let head = [&[0x83, 0x87, 0x04, 8][..], b"/healthz", &[0x01, 9], b"localhost"].concat();
    RUNTIME.block_on(async {
        let mut http2 = Http2::begin(&world, "localhost").await;
        for at in 0..251 {
            http2.frame(HEADERS, 4, 2 * at + 1, &head).await;
        }
        assert_eq!(http2.error(RST_STREAM).await, (REFUSED_STREAM, 501));
    });
    assert_eq!(world.curl("/readyz").run().status, 200);
}
