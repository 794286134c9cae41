//! What a gateway costs: requests per second and latency through one HTTP tunnel against the app directly, and durable
//! records per second of its ledger with the head signed in the token. One run on one machine; the ratios are what counts.
//!
//! `make bench` prepares the state directory (SoftHSM token, keys, certificates) and runs this.

#![expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sallyport::gateway::config::Config;
use sallyport::gateway::{Parts, open_keys};
use sallyport::tunnel::client::{TlsRoots, tls_config};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

const RUN: Duration = Duration::from_secs(4);
const BODY: usize = 1024;

fn main() -> Result<()> {
    let state =
        PathBuf::from(std::env::var("SALLYPORT_BENCH_STATE").context("run this through `make bench`")?);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&state))
}

async fn run(state: &Path) -> Result<()> {
    let records = ledger(state).await?;
    let app = start_app().await?;
    let gateway = Gateway::start(state, app).await?;
    let mut rows = Vec::new();
    for connections in [1_usize, 16, 64] {
        let direct = load(connections, || connect_plain(app)).await?;
        let tunnel = load(connections, || gateway.connect()).await?;
        println!(
            "{connections:>3} connections: direct {:>7.0}/s p50 {:>5} us p99 {:>6} us · tunnel {:>7.0}/s p50 {:>5} us p99 {:>6} us · ratio {:.2}",
            direct.rate,
            direct.p50,
            direct.p99,
            tunnel.rate,
            tunnel.p50,
            tunnel.p99,
            tunnel.rate / direct.rate
        );
        rows.push(json!({
            "connections": connections,
            "direct_per_second": direct.rate.round(), "direct_p50_us": direct.p50, "direct_p99_us": direct.p99,
            "tunnel_per_second": tunnel.rate.round(), "tunnel_p50_us": tunnel.p50, "tunnel_p99_us": tunnel.p99,
            "added_p50_us": tunnel.p50.saturating_sub(direct.p50),
        }));
    }
    drop(gateway);
    println!(
        "{}",
        json!({ "bench": "gateway", "body_bytes": BODY, "http": rows, "durable_records": records })
    );
    Ok(())
}

/// Durable records per second for 1, 16, 64 and 256 writers that each wait for their record, beside a plain file that is
/// appended to and synced for every record by one writer.
async fn ledger(state: &Path) -> Result<Vec<serde_json::Value>> {
    let config = Config::load(&state.join("sallyport.toml"), std::env::vars(), &[])?;
    let keys = tokio::task::block_in_place(|| open_keys(&config))?;
    let parts = Parts::open(&config, keys, &[]).await?;
    let plain = tokio::task::block_in_place(|| plain_file(state))?;
    println!("plain file, one fdatasync a record: {plain:.0}/s");
    let mut rows = Vec::new();
    for writers in [1_u32, 16, 64, 256] {
        let count = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..writers {
            let (ledger, count) = (parts.ledger.clone(), Arc::clone(&count));
            tasks.spawn(async move {
                while began.elapsed() < RUN {
                    let draft = Draft::new(Kind::HttpRequest, Outcome::Success)
                        .subject("user:bench")
                        .object("tunnel:bench")
                        .path("/a/path/of/usual/length?with=query")
                        .detail("status", 200_u64);
                    if ledger.append(draft).await.is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        let rate = count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        println!("ledger, {writers:>3} writers: {rate:.0} durable signed records/s");
        rows.push(
            json!({ "writers": writers, "per_second": rate.round(), "plain_file_one_writer": plain.round() }),
        );
    }
    parts.access.close().await;
    parts.ledger.close().await?;
    Ok(rows)
}

fn plain_file(state: &Path) -> Result<f64> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(state.join("plain"))?;
    let (record, began, mut count) = ([b'x'; 700], Instant::now(), 0_u64);
    while began.elapsed() < RUN / 2 {
        file.write_all(&record)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

async fn start_app() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let body = Bytes::from(vec![b'a'; BODY]);
    let app = Router::new().route("/", get(move || async move { body }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

struct Gateway {
    children: Vec<Child>,
    port: u16,
    tls: Arc<rustls::ClientConfig>,
}

impl Gateway {
    /// The real programs, with a policy that lets the anonymous visitor reach `public-bench`.
    async fn start(state: &Path, app: std::net::SocketAddr) -> Result<Self> {
        let daemon = env!("CARGO_BIN_EXE_sallyportd");
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let gateway = Command::new(daemon)
            .args(["run", "--config"])
            .arg(state.join("sallyport.toml"))
            .args(["--set", &format!("gateway.listen=127.0.0.1:{port}"), "--set", "log.level=warn"])
            .stdout(Stdio::null())
            .spawn()?;
        let mut started = Self {
            children: vec![gateway],
            port,
            tls: tls_config(&TlsRoots::File(state.join("tls/root.pem")))?,
        };
        wait_for(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await?;
        let publisher = Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .args(["publish", "http", &app.to_string(), "--name", "public-bench"])
            .env("SALLYPORT_GATEWAY", format!("https://localhost:{port}"))
            .env("SALLYPORT_CA_FILE", state.join("tls/root.pem"))
            .env("SALLYPORT_TOKEN_FILE", state.join("tokens/publisher.token"))
            .env("SALLYPORT_HOME", state.join("client"))
            .stdout(Stdio::null())
            .spawn()?;
        started.children.push(publisher);
        wait_for(async || match started.connect().await {
            Ok(mut sender) => once(&mut sender).await.is_ok(),
            Err(_) => false,
        })
        .await?;
        Ok(started)
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("public-bench.localhost")?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Publisher first, then the gateway; both by their own ids.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn wait_for(ready: impl AsyncFn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready().await {
        if Instant::now() > deadline {
            bail!("the gateway or the publisher is not ready after 30 s");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn connect_plain(app: std::net::SocketAddr) -> Result<SendRequest<Empty<Bytes>>> {
    let tcp = TcpStream::connect(app).await?;
    tcp.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn once(sender: &mut SendRequest<Empty<Bytes>>) -> Result<()> {
    let request = Request::builder().uri("/").header("host", "public-bench.localhost").body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status.as_u16() != 200 || body.len() != BODY {
        bail!("status {status}, {} bytes", body.len());
    }
    Ok(())
}

struct Measured {
    rate: f64,
    p50: u64,
    p99: u64,
}

/// Closed loop: each connection sends its next request when it has the answer to the last.
async fn load<F: Future<Output = Result<SendRequest<Empty<Bytes>>>>>(
    connections: usize,
    connect: impl Fn() -> F,
) -> Result<Measured> {
    let mut senders = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut sender = connect().await?;
        once(&mut sender).await?;
        senders.push(sender);
    }
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut sender in senders {
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(100_000);
            while began.elapsed() < RUN {
                let sent = Instant::now();
                once(&mut sender).await?;
                latencies.push(u64::try_from(sent.elapsed().as_micros())?);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let elapsed = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: usize| {
        latencies.get((latencies.len() * share / 100).min(latencies.len().saturating_sub(1))).copied()
    };
    Ok(Measured {
        rate: latencies.len() as f64 / elapsed,
        p50: at(50).unwrap_or(0),
        p99: at(99).unwrap_or(0),
    })
}
