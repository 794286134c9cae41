//! The gateway's life: start everything, say so, wait for a signal, stop in order.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::cosigning::Cosigning;
use sallyport_audit::detection::Detecting;
use sallyport_audit::ledger::{OnStall, ScrubOptions, Scrubbing, not_held};
use sallyport_audit::sink::Sink;
use sallyport_audit::witnessing::{Witnessed, Witnessing};
use sallyport_audit::{Draft, Kind, Outcome};
use sallyport_hsm::Keys;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::adapters::ProviderIdentity;
use super::aside::Aside;
use super::canaries::{self, Cage};
use super::config::{Config, WitnessPolicy};
use super::drain::drain;
use super::evidence::{record_start, watch_keys};
use super::for_edge::{bounds, house_rules, traces};
use super::holds::LegalHolds;
use super::issuers::{Outsiders, withdraw_others};
use super::parts::{GatewayError, Parts, cosign, open_keys};
use super::retention::Running;
use super::rotation::{self, Desk, Rotation, Shown, Watch, finish_root, finish_shown};
use super::signals::{Signals, retry_pin_when_told};
use super::tls::{Certificates, ClientAuthority};
use super::{detections, heartbeat, notify, quic_secret, reports, sinks, tls, witnesses};
use crate::access::Tenant;
use crate::clock;
use crate::console::{self, Idempotency, LogControl, LogDesk, Routers, Scrub, Watched};
use crate::edge::{
    Attempts, Edge, Fronts, HTTP3, Lines, Listener, Metrics, Parts as EdgeParts, QuicListener, Rates, Seats,
    SignIns, TcpPorts, TcpRange, TlsRefusals, UdpPorts, Waits, alternative,
};
use crate::session::{Broker, Deaths, Readiness, Routes};
use crate::tunnel::{ALPN, GatewayIdentity, Tickets};

/// Time for publishers to hear the goodbye, and for sinks to catch up.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long after the start the ledger is scrubbed first, at the latest.
const FIRST_SCRUB: Duration = Duration::from_hours(1);

/// Runs the gateway until SIGTERM or SIGINT; a second signal ends the grace of open sessions. `ready` is called with the
/// address when it serves.
pub async fn run(
    config: Config,
    log: Arc<dyn LogDesk>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), GatewayError> {
    let mut signals = Signals::listen();
    if !config.keys.core_dumps
        && let Err(error) = sallyport_hsm::forbid_dumps()
    {
        warn!(%error, "this process's memory can be dumped");
    }
    let provider_config = config.clone();
    let keys = tokio::task::spawn_blocking(move || open_keys(&provider_config))
        .await
        .map_err(|error| GatewayError::Stopped(error.to_string()))??;
    let finished = {
        let (config, keys) = (config.clone(), keys.clone());
        tokio::task::spawn_blocking(move || {
            not_held(&config.ledger.directory)?;
            let mut finished = finish_root(&config, &keys)?;
            finished.extend(finish_shown(&config, &keys)?);
            Ok::<_, GatewayError>(finished)
        })
        .await
        .map_err(|error| GatewayError::Stopped(error.to_string()))??
    };
    let certificates = Certificates::open(&keys, &config.tls, &config.gateway.domain)?;
    let clients = config.tls.clients.as_ref().map(ClientAuthority::open).transpose()?;
    let settings = tls::server(&config.tls, &certificates, clients.as_ref())?;
    // Bound before the ledger is opened: a start that fails for a port that is taken leaves no record of a start.
    let listener = Listener::bind(config.gateway.listen, settings).await?;
    let quic = by_quic(&config, &listener, &keys, &certificates, clients.as_ref())?;
    let witnesses = witnesses::witnesses(&config)?;
    let ledger = config.ledger.directory.clone();
    let known = witnesses::known_to(&ledger, &witnesses, &config).await?;
    let parts = Parts::open(&config, keys, &[]).await?;
    for draft in finished {
        parts.ledger.append(draft).await?;
    }
    // A ledger that had no head yet has one now: one of this name may have been there before.
    if !known {
        witnesses::known_to(&ledger, &witnesses, &config).await?;
    }
    let witnessing = witnesses::start(&config, &parts.ledger, witnesses);

    let cosigning = match cosign(&config, &parts) {
        Ok(cosigning) => Some(cosigning),
        // Ed25519 signatures stand under every head all the same; what is missing shows in `auditctl verify --cosigner-file`.
        Err(error) => {
            warn!(%error, "no post-quantum cosignatures are made");
            None
        }
    };
    let scrubbing = Scrubbing::start(parts.ledger.clone(), scrub_options(&config));
    let watched = witnessing.as_ref().map(Witnessing::status);
    let (identity, shown_identity) = watch::channel(identity(&config, &parts.keys)?);
    let (verifier_key, shown_key) = watch::channel(parts.verifier_key.clone());
    let shown = Shown {
        certificates: Arc::clone(&certificates),
        clients: clients.clone(),
        identity,
        verifier_key,
        cosigner: cosigning.as_ref().map(Cosigning::seat),
        patience: config.limits.tls_handshake,
    };
    let rotation = Arc::new(Rotation::new(&config, &parts, Some(shown)));
    let replaced = (rotation, shown_identity, shown_key);
    let served = serve(
        &config,
        &parts,
        ((listener, quic), certificates, clients),
        replaced,
        &mut signals,
        (watched, &scrubbing, log),
        ready,
    )
    .await;
    scrubbing.stop().await;
    parts.access.close().await;
    let stopped = match &served {
        Ok(_) => Draft::new(Kind::GatewayStopped, Outcome::Success),
        Err(error) => Draft::new(Kind::GatewayStopped, Outcome::Failure).detail("reason", error.to_string()),
    };
    // Not through a handle that waits for a signer: a stop waits for nothing.
    if let Err(error) = parts.ledger.clone().on_stall(OnStall::Refuse).append(stopped).await {
        warn!(%error, "the stop could not be recorded");
    }
    let served = match served {
        Ok(running) => {
            sinks::stop(running, GOODBYE).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    if let Some(cosigning) = cosigning
        && let Err(error) = cosigning.finish().await
    {
        warn!(%error, "the last head was not cosigned");
    }
    if let Some(witnessing) = witnessing {
        info!(witnessed = witnessing.finish().await.sentence(), "the witnesses saw the last head");
    }
    parts.ledger.close().await?;
    info!("stopped, the ledger is closed");
    served
}

/// What must be well before a session begins.
fn readiness(config: &Config, parts: &Parts, watched: Option<&watch::Receiver<Witnessed>>) -> Readiness {
    let readiness = Readiness::new(parts.ledger.status(), parts.keys.health())
        .and_queueing(matches!(config.ledger.on_stall, OnStall::Queue { .. }));
    match (watched, config.ledger.witnesses.policy) {
        (Some(watched), WitnessPolicy::FailClosed) => readiness.and_witnessed(watched.clone()),
        _ => readiness,
    }
}

/// The door on UDP, if the configuration wants one.
fn by_quic(
    config: &Config,
    listener: &Listener,
    keys: &Keys,
    certificates: &Arc<Certificates>,
    clients: Option<&Arc<ClientAuthority>>,
) -> Result<Option<QuicListener>, GatewayError> {
    let protocols = [(config.gateway.quic, ALPN), (config.gateway.http3, HTTP3)];
    let protocols: Vec<Vec<u8>> =
        protocols.iter().filter(|(on, _)| *on).map(|(_, protocol)| protocol.to_vec()).collect();
    if protocols.is_empty() {
        return Ok(None);
    }
    let address = listener.local_addr().map_err(|error| GatewayError::Stopped(error.to_string()))?;
    // The provider unwraps a key: a few milliseconds, once.
    let secret = tokio::task::block_in_place(|| quic_secret::open(keys, &config.keys.directory))
        .map_err(|error| GatewayError::Stopped(format!("the system gives no randomness: {error}")))?;
    Ok(Some(QuicListener::bind(address, tls::for_quic(protocols, certificates, clients)?, &secret)?))
}

/// Where publishers and visitors come: on TCP, and on UDP if the configuration says so.
type Doors = (Listener, Option<QuicListener>);

/// Serves until a signal, and ends everything above the ledger. The sinks are given back, for they outlive the last record.
#[expect(
    clippy::too_many_lines,
    reason = "the wiring of all parts, in the order in which they begin and end"
)]
async fn serve(
    config: &Config,
    parts: &Parts,
    ((listener, quic), certificates, clients): (Doors, Arc<Certificates>, Option<Arc<ClientAuthority>>),
    (rotation, identity, verifier_key): (
        Arc<Rotation>,
        watch::Receiver<Arc<dyn GatewayIdentity>>,
        watch::Receiver<String>,
    ),
    signals: &mut Signals,
    (watched, scrubbing, log): (Option<watch::Receiver<Witnessed>>, &Scrubbing, Arc<dyn LogDesk>),
    ready: impl FnOnce(SocketAddr),
) -> Result<Vec<Sink>, GatewayError> {
    let Parts { keys, ledger, access, .. } = parts;
    let aside = Aside::bind(config).await?;
    let address = listener.local_addr().map_err(|error| GatewayError::Stopped(error.to_string()))?;
    record_start(config, parts).await?;
    let broker = Broker::new(ledger.clone(), config.limits.idle).at_most(config.limits.sessions_per_user);
    let routes = Routes::new(config.tunnels.reconnect_grace);
    let (deaths, dead) = watch::channel(Deaths::default());
    let readiness = readiness(config, parts, watched.as_ref()).and_delivered(dead);
    let range = TcpRange { address: config.tunnels.tcp_address, ports: config.tunnels.tcp_ports.clone() };
    let udp = UdpPorts::new(range.clone(), config.tunnels.udp_idle);
    let tcp = TcpPorts::new(range);
    let unfit = |error: crate::access::names::NameError| GatewayError::Stopped(error.to_string());
    let tenant: Tenant = config.access.tenant.parse().map_err(unfit)?;
    let (attempts, publishers) = (Arc::new(Attempts::new(config.limits.lockout)), TaskTracker::new());
    let (outside, no_more_asking) = (TaskTracker::new(), CancellationToken::new());
    let public_port = config.gateway.public_port.unwrap_or(address.port());
    let port = if public_port == 443 { String::new() } else { format!(":{public_port}") };
    let redirect = format!("https://{}{port}/oidc/callback", config.gateway.domain);
    let outsiders = Outsiders::open(&config.identity, &tenant, &redirect)?;
    match &outsiders {
        Some(outsiders) => outsiders.start(access, &outside, &no_more_asking).await?,
        None => withdraw_others(access, BTreeSet::new()).await?,
    }
    let traces = traces(config)?;
    let edge = Edge::new(EdgeParts {
        domain: config.gateway.domain.clone(),
        port: public_port,
        tenant: tenant.clone(),
        access: access.clone(),
        broker: broker.clone(),
        routes: routes.clone(),
        ledger: ledger.clone(),
        readiness: readiness.clone(),
        identity,
        tickets: Tickets::default(),
        certificates: certificates.clone(),
        clients: clients.clone().map(|clients| clients as Arc<dyn crate::edge::ClientCertificates>),
        tls_refusals: TlsRefusals::default(),
        waits: Waits::default(),
        publishers: publishers.clone(),
        tcp: tcp.clone(),
        fronts: Fronts::new(&config.gateway.fronts),
        udp: udp.clone(),
        seats: Seats::new(config.limits.connections, config.limits.connections_per_address),
        attempts: Arc::clone(&attempts),
        first_publisher_owns: config.access.first_publisher_owns,
        visits: Rates::new(config.limits.requests_per_user, config.limits.requests_per_address),
        providers: outsiders.as_ref().and_then(|outsiders| outsiders.desk()),
        sign_ins: SignIns::default(),
        lines: Lines::new(config.tunnels.at_once, config.tunnels.line),
        traces: traces.clone(),
        metrics: Metrics::default(),
        house_rules: house_rules(config),
        alternative: config.gateway.http3.then(|| alternative(public_port)).flatten(),
        bounds: bounds(config),
    });
    let sinks = sinks::start(config, ledger, &parts.keys).await?;
    let detecting = detections::start(config, ledger).await?;
    let mourning = tokio::spawn(sinks::watch(config.sinks.clone(), &sinks, deaths));
    let telling = notify::start(config, parts, &tenant, &port).await?;
    let stop = CancellationToken::new();
    let reports = Arc::new(reports::Desk::new(config, parts));
    let canary_tenant = tenant.clone();
    let revoking = (access.clone(), tenant.clone());
    let reloading = signals.hangup.take().map(|told| {
        let read = (Arc::clone(&certificates), clients.clone());
        tokio::spawn(tls::reload_when_told(told, config.tls.clone(), read, ledger.clone()))
    });
    let renewing =
        tokio::spawn(tls::renew(config.clone(), keys.clone(), certificates, clients, revoking, stop.clone()));
    let Routers { console, probes, metrics: scrapes } = console::routers(console::Parts {
        tenant,
        access: access.clone(),
        key_desk: Arc::new(Desk::new(config, Arc::clone(&rotation))),
        broker: broker.clone(),
        routes: routes.clone(),
        ledger: ledger.clone(),
        ledger_directory: config.ledger.directory.clone(),
        verifier_key,
        settings: config.shown.clone(),
        keys: keys.clone(),
        data_keys: parts.vault.clone(),
        holds: Arc::new(LegalHolds(ledger.reader())),
        reports: Arc::clone(&reports) as Arc<dyn console::ReportDesk>,
        retention: console::Retention::new(Arc::new(Running::new(config.clone()))),
        untold: console::Untold::default(),
        erasing: tokio::sync::Mutex::new(()),
        readers: tokio::sync::Semaphore::new(console::READERS),
        looks: console::Looks::default(),
        streams: console::Streams::default(),
        stop: stop.clone(),
        readiness,
        metrics: edge.metrics.clone(),
        lines: edge.lines.clone(),
        log: LogControl::new(log, config.log.level.clone()),
        sinks: sinks.iter().map(Sink::status).collect(),
        detections: detecting.as_ref().map(Detecting::status),
        scrub: Scrub { status: scrubbing.status(), now: scrubbing.now() },
        witnesses: watched.map(|status| Watched { policy: config.ledger.witnesses.policy.as_str(), status }),
        attempts,
        rates: Rates::new(config.limits.api_per_user, config.limits.api_per_address),
        idempotency: Idempotency::default(),
        makings: console::Makings::default(),
        site: console::site(&config.gateway.domain, &port),
        usual_hours: config.access.usual_hours.clone(),
        token_life: config.access.token_life,
        domain: config.gateway.domain.clone(),
    });

    let console = edge.router().merge(console);
    let by_quic = quic.map(|quic| tokio::spawn(quic.serve(edge.clone(), console.clone(), stop.clone())));
    let serving = tokio::spawn(listener.serve(edge.clone(), console, stop.clone()));
    let every = config.ledger.heartbeat;
    let beating =
        tokio::spawn(heartbeat::beat(ledger.clone(), broker.clone(), routes.clone(), every, stop.clone()));
    let watching = tokio::spawn(watch_keys(
        keys.turns(),
        config.keys.on_down,
        broker.clone(),
        ledger.clone(),
        stop.clone(),
    ));
    let canaries = config.access.canaries.map(|every| {
        let (access, ledger) = (access.clone(), ledger.clone().on_stall(OnStall::Refuse));
        let ledger_directory = config.ledger.directory.clone();
        let cage = Cage { access, ledger, ledger_directory, tenant: canary_tenant, every };
        tokio::spawn(canaries::watch(cage, stop.clone()))
    });
    let monthly = tokio::spawn(reports::at_the_end_of_each(Arc::clone(&reports), stop.clone()));
    let due = rotation::watch(Watch::new(config, rotation, stop.clone()));
    let due = tokio::spawn(due);
    let retrying = tokio::spawn(retry_pin_when_told(keys.clone()));
    let asides = aside.answer(probes, scrapes, &stop);
    ready(address);
    signals.next().await;

    info!("stopping: no new connections, open sessions may finish");
    stop.cancel();
    tcp.close_all();
    udp.close_all();
    routes.announce_farewell();
    tokio::select! {
        () = drain(&broker, &routes, config.gateway.drain) => {}
        () = signals.next() => {
            info!("a second signal: open sessions are cut now");
            routes.farewell(Duration::ZERO);
            broker.drain(Duration::ZERO).await;
        }
    }
    let done = async {
        let _joined = serving.await;
        if let Some(by_quic) = by_quic {
            let _joined = by_quic.await;
        }
    };
    if tokio::time::timeout(GOODBYE, done).await.is_err() {
        warn!("some connections did not end in time and are dropped");
    }
    // Not before: a request that was let in is still to be sent to its publisher.
    routes.farewell(GOODBYE);
    publishers.close();
    if tokio::time::timeout(GOODBYE, publishers.wait()).await.is_err() {
        warn!("some publishers did not hear the goodbye in time");
    }
    telling.stop(GOODBYE).await;
    no_more_asking.cancel();
    outside.close();
    if tokio::time::timeout(GOODBYE, outside.wait()).await.is_err() {
        warn!("an issuer is still being asked, and is not waited for");
    }
    let tasks = [beating, watching, due, renewing, retrying, mourning].into_iter();
    for task in tasks.chain(asides).chain(reloading).chain(canaries).chain([monthly]) {
        task.abort();
    }
    // What a receiver does not take in time is lost: a trace is evidence of nothing.
    let _sent = tokio::task::spawn_blocking(move || traces.finish()).await;
    Ok(sinks)
}

/// The first scrub does not wait for a whole interval: a gateway that is started anew each night would never have one.
fn scrub_options(config: &Config) -> ScrubOptions {
    ScrubOptions {
        directory: config.ledger.directory.clone(),
        interval: config.ledger.scrub_every,
        first: config.ledger.scrub_every.min(FIRST_SCRUB),
        bytes_per_second: config.ledger.scrub_bytes_per_second,
    }
}

fn identity(config: &Config, keys: &Keys) -> Result<Arc<dyn GatewayIdentity>, GatewayError> {
    let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
    let (organisation, domain) = (&config.gateway.organisation, &config.gateway.domain);
    // Signs with the token: a few milliseconds, once.
    let identity = tokio::task::block_in_place(|| ProviderIdentity::new(keys, organisation, domain, now))?;
    Ok(Arc::new(identity))
}
