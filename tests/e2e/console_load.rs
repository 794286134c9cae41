//! The console under load: how long the gateway takes over each page with many open sessions and a long ledger.
//!
//! Measured at the client, from the request to the whole answer on a connection that stands, without a browser's own work: what is
//! left beside the gateway's time is the loopback's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use sallyport::tunnel::client::{TlsRoots, tls_config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::app::RUNTIME;
use super::console::told;
use super::crowd::Stage;
use super::world::World;

/// What there is at full size.
const SESSIONS: usize = 999;
const RECORDS: u64 = 1_000_000;
/// The aim, for each page.
const AIM_MS: f64 = 200.0;
/// The aim for a page that can be used, on a processor that is four times as slow.
const SLOW_LAPTOP_AIM_MS: f64 = 1_000.0;

/// Connections that make records, and requests that are under way on each.
const CONNECTIONS: u64 = 8;
const DEPTH: u64 = 32;

/// Requests that the app answers at once, until so many were made: each leaves a record.
fn requests(world: &World, count: u64) {
    let config = tls_config(&TlsRoots::File(world.root())).unwrap();
    let each = count.div_ceil(CONNECTIONS);
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (config, port, token) = (Arc::clone(&config), world.port(), world.token("visitor"));
            RUNTIME.spawn(async move {
                let host = "open-web.localhost";
                let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let name = ServerName::try_from(host).unwrap();
                let mut stream = TlsConnector::from(config).connect(name, tcp).await.unwrap();
                let request =
                    format!("GET / HTTP/1.1\r\nhost: {host}:{port}\r\nsallyport-token: {token}\r\n\r\n");
                let (mut left, mut piece) = (each, vec![0; 1 << 16]);
                while left > 0 {
                    let batch = left.min(DEPTH);
                    stream
                        .write_all(request.repeat(usize::try_from(batch).unwrap()).as_bytes())
                        .await
                        .unwrap();
                    let (mut answers, mut text) = (0, Vec::new());
                    while answers < batch {
                        let length = stream.read(&mut piece).await.unwrap();
                        assert!(length > 0, "the connection broke: {}", String::from_utf8_lossy(&text));
                        text.extend_from_slice(&piece[..length]);
                        // The app knows no such path, and says so without a body.
                        answers = text.windows(12).filter(|window| window == b"HTTP/1.1 404").count() as u64;
                    }
                    left -= batch;
                }
            })
        })
        .collect();
    RUNTIME.block_on(async {
        for connection in connections {
            connection.await.unwrap();
        }
    });
}

/// The pages' times with so many sessions and records, as JSON.
fn pages_under_load(sessions: usize, records: u64) -> Value {
    let world = World::with()
        .set("limits.connections=20000")
        .set("limits.connections_per_address=20000")
        .set("limits.sessions_per_user=20000")
        .set("limits.api_per_user=0")
        .set("limits.api_per_address=0")
        .start();
    let stage = Stage::open(&world, "open-web", "open-tcp");
    let began = Instant::now();
    requests(&world, records);
    let making = began.elapsed();
    let _crowd = stage.fill(&world, &world.token("visitor"), sessions / 3);
    let status = world.ask("admin", &["status"]);
    assert!(status["ledger"]["records"].as_u64().unwrap() >= records, "{status}");
    let times = told(&world, "load");
    let times: Value = serde_json::from_str(times.lines().last().unwrap()).unwrap();
    let most = |name: &str| {
        times.as_object().unwrap().values().map(|page| page[name].as_f64().unwrap()).fold(0.0, f64::max)
    };
    let (slowest, slow_laptop) = (most("p95_ms"), most("slow_laptop_ms"));
    json!({
        "live_sessions": status["sessions"], "records": status["ledger"]["records"],
        "records_made_in_seconds": making.as_secs(),
        "pages": times, "slowest_p95_ms": slowest, "aim_ms": AIM_MS, "met": slowest < AIM_MS,
        "slow_laptop_slowest_ms": slow_laptop, "slow_laptop_aim_ms": SLOW_LAPTOP_AIM_MS,
        "slow_laptop_met": slow_laptop < SLOW_LAPTOP_AIM_MS,
    })
}

#[test]
fn every_page_answers_while_sessions_are_open_and_records_are_many() {
    let figures = pages_under_load(9, 2_000);
    assert_eq!(figures["live_sessions"], 9, "{figures}");
    assert!(figures["pages"].as_object().unwrap().len() > 6, "{figures}");
    assert!(figures["slow_laptop_slowest_ms"].as_f64().unwrap() > 0.0, "{figures}");
}

#[test]
#[ignore = "a measurement, for `make bench-console`"]
fn pages_with_a_thousand_sessions_and_a_million_records() {
    let scale: u64 =
        std::env::var("SALLYPORT_BENCH_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let began = Instant::now();
    let figures = pages_under_load(SESSIONS / usize::try_from(scale).unwrap(), RECORDS / scale);
    let took: Duration = began.elapsed();
    eprintln!("{} s in all", took.as_secs());
    println!("{figures}");
}
