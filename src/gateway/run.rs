//! The gateway's life: start everything, say so, wait for a signal, stop in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::sink::SyslogSink;
use sallyport_audit::{Digest, Draft, Kind, Ledger, Outcome};
use sallyport_hsm::Health;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::adapters::ProviderIdentity;
use super::config::Config;
use super::parts::{GatewayError, Parts, key_record, open_keys};
use super::tls::Certificates;
use super::{heartbeat, sinks};
use crate::access::Tenant;
use crate::clock;
use crate::console;
use crate::edge::{Attempts, Bounds, Edge, Listener, Parts as EdgeParts, TcpPorts, TcpRange};
use crate::session::{Broker, Readiness, Routes};

/// Time for publishers to hear the goodbye, and for sinks to catch up.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs the gateway until SIGTERM or SIGINT. `ready` is called with the address when it serves.
pub async fn run(config: Config, ready: impl FnOnce(std::net::SocketAddr)) -> Result<(), GatewayError> {
    // Bound first: a port that is taken is found out before a token is logged in to or a ledger is locked.
    let provider_config = config.clone();
    let keys = tokio::task::spawn_blocking(move || open_keys(&provider_config))
        .await
        .map_err(|error| GatewayError::Stopped(error.to_string()))??;
    let certificates = Certificates::open(
        &keys,
        &config.tls.certificate_file,
        &config.tls.root_file,
        &config.gateway.domain,
    )?;
    let listener = Listener::bind(config.gateway.listen, certificates.server()?).await?;
    let address = listener.local_addr().map_err(|source| GatewayError::File {
        what: "read the address of",
        path: config.gateway.listen.to_string().into(),
        source,
    })?;
    let Parts { keys, ledger, access, .. } = Parts::open(&config, keys, &[]).await?;
    record_start(&config, &ledger, &keys).await?;

    let identity = Arc::new(ProviderIdentity::new(
        &keys,
        &config.gateway.organisation,
        &config.gateway.domain,
        u64::try_from(clock::now().as_second()).unwrap_or(0),
    )?);
    let broker = Broker::new(ledger.clone(), config.limits.idle);
    let routes = Routes::new(config.tunnels.reconnect_grace);
    let readiness = Readiness::new(ledger.status(), keys.health());
    let tcp = TcpPorts::new(TcpRange {
        address: config.tunnels.tcp_address,
        ports: config.tunnels.tcp_ports.clone(),
    });
    let tenant: Tenant = config
        .access
        .tenant
        .parse()
        .map_err(|error: crate::access::names::NameError| GatewayError::Stopped(error.to_string()))?;
    let attempts = Arc::new(Attempts::default());
    let publishers = TaskTracker::new();
    let edge = Edge::new(EdgeParts {
        domain: config.gateway.domain.clone(),
        port: address.port(),
        tenant,
        access: access.clone(),
        broker: broker.clone(),
        routes: routes.clone(),
        ledger: ledger.clone(),
        readiness: readiness.clone(),
        identity,
        certificates,
        publishers: publishers.clone(),
        tcp: tcp.clone(),
        attempts: Arc::clone(&attempts),
        bounds: bounds(&config),
    });
    let sinks = sinks::start(&config, &ledger).await?;
    let console = console::router(console::Parts {
        access: access.clone(),
        broker: broker.clone(),
        routes: routes.clone(),
        ledger: ledger.clone(),
        keys: keys.clone(),
        readiness,
        sinks: sinks.iter().map(SyslogSink::status).collect(),
        attempts,
        token_life: config.access.token_life,
        domain: config.gateway.domain.clone(),
    });

    let stop = CancellationToken::new();
    let serving = tokio::spawn(listener.serve(edge.clone(), edge.router().merge(console), stop.clone()));
    let beating = tokio::spawn(heartbeat::beat(
        ledger.clone(),
        broker.clone(),
        routes.clone(),
        config.ledger.heartbeat,
        stop.clone(),
    ));
    let watching = tokio::spawn(watch_keys(keys.clone(), ledger.clone(), stop.clone()));
    ready(address);
    wait_for_signal().await;

    info!("stopping: no new connections, open sessions may finish");
    stop.cancel();
    tcp.close_all();
    routes.farewell(config.gateway.drain);
    broker.drain(config.gateway.drain).await;
    if tokio::time::timeout(GOODBYE, serving).await.is_err() {
        warn!("some connections did not end in time and are dropped");
    }
    publishers.close();
    if tokio::time::timeout(GOODBYE, publishers.wait()).await.is_err() {
        warn!("some publishers did not hear the goodbye in time");
    }
    for task in [beating, watching] {
        task.abort();
    }
    access.close().await;
    if let Err(error) = ledger.append(Draft::new(Kind::GatewayStopped, Outcome::Success)).await {
        warn!(%error, "the stop could not be recorded");
    }
    sinks::stop(sinks, GOODBYE).await;
    ledger.close().await?;
    info!("stopped, the ledger is closed");
    Ok(())
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections: config.limits.connections,
        connections_per_address: config.limits.connections_per_address,
        tls_handshake: config.limits.tls_handshake,
        header: config.limits.header,
        header_bytes: config.limits.header_bytes,
        request: config.limits.request,
        tunnels_per_user: config.tunnels.max_per_user,
        heartbeat: config.tunnels.heartbeat,
        heartbeat_timeout: config.tunnels.heartbeat_timeout,
    }
}

/// Which program, with which settings and which keys, has started.
async fn record_start(
    config: &Config,
    ledger: &Ledger,
    keys: &sallyport_hsm::Keys,
) -> Result<(), GatewayError> {
    let binary = tokio::task::spawn_blocking(binary_digest).await.unwrap_or_default();
    let started = Draft::new(Kind::GatewayStarted, Outcome::Success)
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("binary_sha256", binary)
        .detail("domain", config.gateway.domain.as_str());
    ledger.append(started).await?;
    let loaded = Draft::new(Kind::ConfigLoaded, Outcome::Success).detail("sha256", config.digest.to_string());
    ledger.append(loaded).await?;
    let provider = keys.clone();
    let inventory = tokio::task::spawn_blocking(move || provider.inventory())
        .await
        .map_err(|error| GatewayError::Stopped(error.to_string()))??;
    for key in &inventory {
        ledger.append(key_record(Kind::KeyLoaded, key)).await?;
    }
    Ok(())
}

fn binary_digest() -> String {
    let read = std::env::current_exe().and_then(|path: std::path::PathBuf| hash_file(&path));
    read.unwrap_or_else(|error| format!("unknown: {error}"))
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    Ok(Digest::of(&[&std::fs::read(path)?]).to_string())
}

/// Records when the provider goes down and comes back. While it is down the ledger cannot sign, so that word of it waits
/// until it is up again; the times in both records tell how long it was.
async fn watch_keys(keys: sallyport_hsm::Keys, ledger: Ledger, stop: CancellationToken) {
    let mut health = keys.health();
    loop {
        let draft = match &*health.borrow_and_update() {
            Health::Up => Draft::new(Kind::HsmUp, Outcome::Success),
            Health::Down { since, reason } => Draft::new(Kind::HsmDown, Outcome::Failure)
                .detail("since", since.to_string())
                .detail("reason", reason.as_str()),
        };
        let went_down = draft.kind == Kind::HsmDown;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
        }
        if went_down && matches!(&*health.borrow(), Health::Up) {
            let up = Draft::new(Kind::HsmUp, Outcome::Success);
            for draft in [draft, up] {
                if let Err(error) = ledger.append(draft).await {
                    warn!(%error, "the HSM's outage could not be recorded");
                }
            }
        }
    }
}

async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the system ends the process on a signal; there is nothing better to wait for.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
