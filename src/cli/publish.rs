//! `sallyport publish`: puts a local service behind the gateway and stays until Ctrl-C.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use sallyport_hsm::RootBundle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::demo_app;
use super::device_file;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::{Connection, Profile};
use crate::traces::Traces;
use crate::tunnel::client::{
    Backoff, DialError, Event, GatewayAddress, HealthCheck, KnownGateways, Probe, ProxyVersion, Publication,
    PublishError, Publisher, PublisherOptions, Target, TlsRoots, Transport, app_tls_config,
};
use crate::tunnel::{Offer, RefusalCode, RootKey, Secret, TunnelKind, TunnelName};

/// Events that may wait for a slow terminal.
const EVENTS: usize = 256;
/// How long the last of them may take to be shown, once the publisher has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Put a local service behind the gateway
#[derive(Debug, Subcommand)]
pub(super) enum Publish {
    /// A web app: requests are routed by host name
    Http {
        /// Where the app listens: PORT, HOST:PORT, or http://, https://, h2c:// or h2:// before one of these
        target: String,
        /// Root certificates (PEM) that the app's own certificate must lead to; those of the system if not given
        #[arg(long, value_name = "FILE")]
        app_ca_file: Option<PathBuf>,
        /// Connections to the app to have ready before they are needed (0 to 64); none to an app of HTTP/2, of which one is enough
        #[arg(long, value_name = "N", default_value_t = 0, env = "SALLYPORT_WARM", value_parser = clap::value_parser!(u8).range(0..=64))]
        warm: u8,
        #[command(flatten)]
        how: How,
    },
    /// Any TCP service
    Tcp {
        /// Where the service listens: PORT or HOST:PORT
        target: String,
        /// Public port that you would like
        #[arg(long)]
        port: Option<u16>,
        /// Tell the service each visitor's address by a PROXY header, which it must expect
        #[arg(long, value_name = "VERSION", value_parser = ["v1", "v2"])]
        proxy_protocol: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// A service that ends its visitors' TLS itself: the gateway reads the name that they ask for, and no more
    Tls {
        /// Where the service listens: PORT or HOST:PORT
        target: String,
        /// Tell the service each visitor's address by a PROXY header, which it must expect
        #[arg(long, value_name = "VERSION", value_parser = ["v1", "v2"])]
        proxy_protocol: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Any UDP service
    Udp {
        /// Where the service listens: PORT or HOST:PORT
        target: String,
        /// Public port that you would like
        #[arg(long)]
        port: Option<u16>,
        #[command(flatten)]
        how: How,
    },
    /// The built-in demo app
    Demo {
        #[command(flatten)]
        how: How,
    },
}

/// How to publish.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Name of the tunnel: lower-case letters, digits, hyphens
    #[arg(long)]
    pub name: String,
    /// Prove yourself by this device's keys instead of a token
    #[arg(long, env = "SALLYPORT_DEVICE_FILE", value_name = "FILE")]
    pub device_file: Option<PathBuf>,
    /// Share the name with other publishers of yours that say so too: visitors are spread over them
    #[arg(long)]
    pub join: bool,
    /// Look whether the service is well: `tcp` (it takes a connection) or a path that it must answer
    #[arg(long, value_name = "tcp|/PATH")]
    pub health_check: Option<String>,
    /// Seconds between two looks, and for one
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub health_secs: u64,
    /// Bad looks in a row until it counts as unwell
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub health_failures: u32,
    /// Good looks in a row until it counts as well again
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub health_successes: u32,
    /// Send a span of each request to this receiver (OTLP over HTTP), under the gateway's trace
    #[arg(long, env = "SALLYPORT_TRACES_TO", value_name = "URL")]
    pub traces_to: Option<String>,
    /// Another gateway that may serve first just as well, with its weight (1, if none is given); may be given several times: one of
    /// them all is drawn
    #[arg(
        long = "equal-gateway",
        env = "SALLYPORT_EQUAL_GATEWAYS",
        value_delimiter = ',',
        value_name = "URL=WEIGHT"
    )]
    pub equal_gateways: Vec<String>,
    /// The weight of the profile's gateway among its equals; 0: only when no other is there
    #[arg(long, env = "SALLYPORT_GATEWAY_WEIGHT", default_value_t = 1, value_name = "WEIGHT")]
    pub gateway_weight: u32,
    /// Another gateway that serves while the first is away; may be given several times, the best first
    #[arg(
        long = "backup-gateway",
        env = "SALLYPORT_BACKUP_GATEWAYS",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub backup_gateways: Vec<String>,
    /// What carries the tunnel: `quic`, `tls` or `websocket`, or several of them in the order in which they are tried, with
    /// commas between; `auto` is `tls,websocket`
    #[arg(long, default_value = "auto", env = "SALLYPORT_TRANSPORT", value_name = "ORDER")]
    pub transport: String,
    /// Connections to have at the same time: requests take turns on them, and losing one loses no tunnel (1 to 8)
    #[arg(long, default_value_t = 1, env = "SALLYPORT_CONNECTIONS", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub connections: u8,
    /// Seconds after which the first gateway is looked for while another serves
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub look_back_secs: u64,
    /// Give up after so many failures in a row; 0 never gives up
    #[arg(long, default_value_t = 10)]
    pub give_up_after: u32,
    /// Show every request, and what becomes of connections to the app
    #[arg(long, short)]
    pub verbose: bool,
}

impl How {
    fn traces(&self) -> Result<Traces, Failure> {
        let Some(address) = &self.traces_to else { return Ok(Traces::default()) };
        let tls = app_tls_config(&TlsRoots::System).map_err(|error| dial_failure(&error))?;
        Traces::to(address, "sallyport", tls.as_ref().clone())
            .map_err(|error| Failure::caused(ExitCode::Usage, &error, error.hint()))
    }

    fn health_check(&self) -> Result<Option<HealthCheck>, Failure> {
        let Some(text) = &self.health_check else { return Ok(None) };
        let probe = if text == "tcp" {
            Probe::Connect
        } else {
            let path = text.parse().ok().filter(|_| text.starts_with('/'));
            Probe::Get(path.ok_or_else(|| {
                let message = format!("`{text}` is nothing to look at");
                Failure::new(ExitCode::Usage, message, "write tcp, or a path such as /healthz")
            })?)
        };
        Ok(Some(HealthCheck {
            probe,
            every: Duration::from_secs(self.health_secs),
            failures: self.health_failures,
            successes: self.health_successes,
        }))
    }
}

/// Runs it.
pub(super) async fn run(connection: &Connection, command: &Publish) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let (mut app_roots, mut ahead) = (TlsRoots::System, 0);
    let (how, kind, target) = match command {
        Publish::Http { target, app_ca_file, warm, how } => {
            ahead = usize::from(*warm);
            if let Some(file) = app_ca_file {
                app_roots = TlsRoots::File(file.clone());
            }
            (how, TunnelKind::Http, parse_target(target)?)
        }
        Publish::Tcp { target, port, proxy_protocol, how } => {
            let target = parse_target(target)?.told_by(proxy_version(proxy_protocol.as_deref()));
            (how, TunnelKind::Tcp { port: *port }, target)
        }
        Publish::Tls { target, proxy_protocol, how } => {
            let target = parse_target(target)?.told_by(proxy_version(proxy_protocol.as_deref()));
            (how, TunnelKind::Tls, target)
        }
        Publish::Udp { target, port, how } => (how, TunnelKind::Udp { port: *port }, parse_target(target)?),
        Publish::Demo { how } => {
            let address = demo_app::start().await.map_err(|error| {
                Failure::new(ExitCode::Failed, format!("the demo app cannot start: {error}"), "")
            })?;
            (how, TunnelKind::Http, parse_target(&address.to_string())?)
        }
    };
    let name = TunnelName::parse(&how.name)
        .map_err(|error| Failure::new(ExitCode::Usage, error.to_string(), error.hint()))?;
    let publication =
        Publication { offer: Offer { name, kind, join: how.join }, target, health: how.health_check()? };
    let secret = match &how.device_file {
        Some(file) => Secret::Device(Arc::new(device_file::read(file)?)),
        None => profile.token_if_needed()?.map_or(Secret::Certificate, Secret::Token),
    };
    let equals = how.equal_gateways.iter().map(|text| parse_weighted(text)).collect::<Result<Vec<_>, _>>()?;
    let backups = how.backup_gateways.iter().map(|url| parse_gateway(url)).collect::<Result<Vec<_>, _>>()?;
    let transports = Transport::parse_order(&how.transport).ok_or_else(|| {
        Failure::new(
            ExitCode::Usage,
            format!("`{}` is no order of transports", how.transport),
            "write auto, or some of quic, tls and websocket with commas between, each once",
        )
    })?;
    let traces = how.traces()?;
    let publisher = publisher(&profile, secret, vec![publication], |options| {
        options.traces = traces.clone();
        options.tells_requests = how.verbose || connection.json;
        options.app_roots = app_roots;
        options.warm = ahead;
        options.weight = how.gateway_weight;
        options.equals = equals;
        options.backups = backups;
        options.transports = transports;
        options.connections = usize::from(how.connections);
        options.look_back = Duration::from_secs(how.look_back_secs);
        options.backoff = Backoff {
            give_up_after: (how.give_up_after > 0).then_some(how.give_up_after),
            longest: Duration::from_secs(5),
            ..Backoff::default()
        };
    })?;

    let (events, inbox) = mpsc::channel(EVENTS);
    let (json, verbose) = (connection.json, how.verbose);
    // On a thread of its own: whoever reads what is printed may stop to do so, which must hold up nothing else.
    let printing = tokio::task::spawn_blocking(move || print(inbox, json, verbose));
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_signal.cancel();
        }
    });
    let terminated = stop.clone();
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::spawn(async move {
            terminate.recv().await;
            terminated.cancel();
        });
    }
    let result = Box::pin(publisher.run(events, stop)).await;
    // Whatever comes of it, the tunnel is gone.
    let _sent = tokio::task::spawn_blocking(move || traces.finish()).await;
    // The printer ends with the channel. A panic in it is no reason to lose the result, nor is a reader who does not read.
    let _ = tokio::time::timeout(LAST_WORDS, printing).await;
    result.map_err(|error| publish_failure(&error))
}

/// A publisher that knows the gateway by the profile's root, or by the file of known gateways.
pub(super) fn publisher(
    profile: &Profile,
    secret: Secret,
    publications: Vec<Publication>,
    more: impl FnOnce(&mut PublisherOptions),
) -> Result<Publisher, Failure> {
    let gateway = gateway(profile)?;
    let known = KnownGateways::new(profile.home.join("known_gateways"));
    let mut options = PublisherOptions::new(gateway, secret, known, publications);
    options.roots = roots(profile);
    options.proxies = profile.proxies.clone();
    options.certificate.clone_from(&profile.certificate);
    options.organisation_roots = profile.ca_file.as_deref().map(root_keys).unwrap_or_default();
    options.pin = profile.pin;
    more(&mut options);
    Publisher::new(options).map_err(|error| dial_failure(&error))
}

/// The gateway's address out of a profile.
pub(super) fn gateway(profile: &Profile) -> Result<GatewayAddress, Failure> {
    let host = &profile.host;
    let authority =
        if host.contains(':') { format!("[{host}]:{}", profile.port) } else { profile.authority() };
    parse_gateway(&authority)
}

/// `URL=WEIGHT`, or `URL` alone.
fn parse_weighted(text: &str) -> Result<(GatewayAddress, u32), Failure> {
    let Some((url, weight)) = text.rsplit_once('=') else { return Ok((parse_gateway(text)?, 1)) };
    let weight = weight.parse().map_err(|_| {
        let message = format!("`{weight}` is not the weight of a gateway");
        Failure::new(ExitCode::Usage, message, "write a number, such as https://gateway.example=3")
    })?;
    Ok((parse_gateway(url)?, weight))
}

fn parse_gateway(text: &str) -> Result<GatewayAddress, Failure> {
    GatewayAddress::parse(text).ok_or_else(|| {
        let message = format!("`{text}` is not the address of a gateway");
        Failure::new(ExitCode::Usage, message, "write https://HOST:PORT")
    })
}

/// Who may vouch for the gateway's certificate.
pub(super) fn roots(profile: &Profile) -> TlsRoots {
    match &profile.ca_file {
        Some(file) => TlsRoots::File(file.clone()),
        None => TlsRoots::System,
    }
}

/// The organisation's keys, if the root file is that of a Sallyport organisation: two while it replaces its root. Any other root
/// vouches for TLS alone, and the gateway's identity is pinned at the first meeting.
fn root_keys(file: &Path) -> Vec<RootKey> {
    let pem = std::fs::read_to_string(file).unwrap_or_default();
    let roots = RootBundle::leading(&pem);
    let keys = roots.iter().filter_map(|root| match root.public_key() {
        sallyport_hsm::PublicKey::P256(point) => Some(RootKey::from_point(*point)),
        _ => None,
    });
    keys.collect()
}

fn proxy_version(word: Option<&str>) -> Option<ProxyVersion> {
    word.map(|word| if word == "v1" { ProxyVersion::V1 } else { ProxyVersion::V2 })
}

fn parse_target(text: &str) -> Result<Target, Failure> {
    Target::parse(text).ok_or_else(|| {
        Failure::new(
            ExitCode::Usage,
            format!("`{text}` is not where a service listens"),
            "write PORT or HOST:PORT; for a web app also https://, h2c:// (gRPC) or h2:// before it",
        )
    })
}

/// A failed dial as a failure of the command.
pub(super) fn dial_failure(error: &DialError) -> Failure {
    let code = match error {
        DialError::Status { status: 401 | 403, .. } => ExitCode::Refused,
        // An answer with a hint is a gateway's own: it was reached.
        DialError::Status { hint, .. } if !hint.is_empty() => ExitCode::Failed,
        _ if error.refusal().is_some() => match error.refusal() {
            Some(RefusalCode::Unavailable | RefusalCode::Draining) => ExitCode::Failed,
            _ => ExitCode::Refused,
        },
        DialError::Roots { .. } | DialError::Certificate { .. } => ExitCode::Usage,
        _ if error.is_final() => ExitCode::Refused,
        _ => ExitCode::Unreachable,
    };
    Failure::caused(code, error, error.hint())
}

/// A publisher's end as a failure of the command.
pub(super) fn publish_failure(error: &PublishError) -> Failure {
    match error {
        PublishError::Refused(dial) => dial_failure(dial),
        PublishError::Dismissed(_) => Failure::caused(ExitCode::Refused, error, error.hint()),
        PublishError::GaveUp { .. } => Failure::caused(ExitCode::Unreachable, error, error.hint()),
    }
}

fn print(mut inbox: mpsc::Receiver<Event>, json: bool, verbose: bool) {
    while let Some(event) = inbox.blocking_recv() {
        if json {
            if let Ok(line) = serde_json::to_string(&event) {
                say(format_args!("{line}"));
            }
        } else if let Some(line) = line(&event, verbose) {
            say(format_args!("{line}"));
        }
    }
}

/// One line for people. A refusal is told once, by the command's own failure.
fn line(event: &Event, verbose: bool) -> Option<String> {
    Some(match event {
        Event::Connecting { gateway } => format!("connecting to {gateway}"),
        Event::Fallback { from, reason, hint } => {
            format!("{from} does not come up, the next transport is tried: {reason}\n  hint: {hint}")
        }
        Event::Connected { identity, fingerprint, trust, suite, mode, transport, proxy, .. } => {
            let proxy = proxy.as_ref().map(|proxy| format!(" through {proxy}")).unwrap_or_default();
            let (trust, suite) = (trust.word(), suite.name());
            format!(
                "connected: {identity} ({fingerprint}, {trust}), {suite}, {mode:?}, over {transport}{proxy}"
            )
        }
        Event::Widened { transport, connections } => {
            format!("one more connection over {transport}: {connections} now")
        }
        Event::NotWidened { reason, hint } => {
            format!("one more connection did not come up: {reason}\n  hint: {hint}")
        }
        Event::Narrowed { reason, left } => format!("a connection ended, {left} left: {reason}"),
        Event::Registered { name, url, .. } => format!("published: {name} at {url}"),
        Event::Failed { reason, hint } => format!("failed: {reason}\n  hint: {hint}"),
        Event::Maintenance { at, reason } => format!("the gateway will be away from {at} on: {reason}"),
        Event::Draining => "the gateway is going away for a while: what is under way may finish".to_owned(),
        Event::Disconnected { reason } => format!("disconnected: {reason}"),
        Event::Retrying { after, failures } => {
            format!("trying again in {:.1} s (attempt {})", after.as_secs_f32(), failures + 1)
        }
        Event::Request { tunnel, method, path, status, took } => {
            if !verbose {
                return None;
            }
            format!("{tunnel}: {method} {path} {status} {} ms", took.as_millis())
        }
        Event::AppConnection { tunnel, turn, reason } => {
            if !verbose {
                return None;
            }
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("{tunnel}: connection to the app {}{reason}", turn.word())
        }
        Event::Refused { .. } | Event::GaveUp { .. } => return None,
    })
}
