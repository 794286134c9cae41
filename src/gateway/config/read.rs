//! From a table of values to [`Config`]: each setting is read and checked before the first fault ends anything, so that all
//! faults are found in one go.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use sallyport_audit::ledger::OnStall;
use sallyport_audit::retention::{Framework, Policy, PolicyError};
use sallyport_audit::{Digest, Lending};

use super::archive::read_archive;
use super::identity::{IssuerSettings, read_identity};
use super::notify::{NotifyWay, read_notify};
use super::reader::Reader;
use super::reports::read_reports;
use super::settings::{
    Access, Config, Detections, Gateway, Keys, Ledger, Limits, Log, MaxAge, OnDown, Provider, Retention,
    Succession, Tunnels,
};
use super::sinks::{SinkSettings, refuse_other_hosts};
use super::tls::{NamedCertificate, read_tls};
use super::tunnel_rules::{PROXY_HEADERS, RECORDING, TunnelBlock};
use super::witnesses::{WitnessSettings, read_witnessing};
use crate::access::PolicyChange;
use crate::session::BreakerRules;
use crate::tunnel::{MOST_OF_A_VISITOR, Suite};

/// How many sessions and other records may wait for a signer that is away: some seconds of a busy gateway.
const STALL_PLACES: usize = 1024;

/// What stands in blocks of its own, read already.
pub(super) struct Blocks {
    pub(super) sinks: Vec<SinkSettings>,
    pub(super) witnesses: Vec<WitnessSettings>,
    pub(super) certificates: Vec<NamedCertificate>,
    pub(super) issuers: Vec<IssuerSettings>,
    pub(super) ways: Vec<NotifyWay>,
    pub(super) tunnels: Vec<TunnelBlock>,
}

/// Reads every section before it gives up on any, so that all faults are found.
#[expect(
    clippy::too_many_lines,
    reason = "one line a section, and none may be skipped when another has a fault"
)]
pub(super) fn read(reader: &mut Reader<'_>, state: &Path, blocks: Blocks) -> Option<Config> {
    let Blocks { sinks, witnesses, certificates, issuers, ways, tunnels: blocks } = blocks;
    let seconds = |value: Option<u64>| value.map(Duration::from_secs);
    let count = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok());

    let domain = reader.parse("gateway.domain", parse_domain);
    let organisation = reader.parse("gateway.organisation", |text: String| match text.len() {
        1..=128 if !text.chars().any(char::is_control) => Ok(text),
        _ => Err("must be 1 to 128 bytes without control characters".to_owned()),
    });
    let listen = reader.parse("gateway.listen", |text: String| parse_listen(&text));
    let fronts = reader.parse("gateway.proxy_protocol_from", |text: String| parse_networks(&text));
    let quic = reader.word("gateway.quic", &[("off", false), ("on", true)]);
    let http3 = reader.word("gateway.http3", &[("off", false), ("on", true)]);
    let public_port =
        reader.number("gateway.public_port", 1, 65_535).and_then(|port| u16::try_from(port).ok());
    let health_listen = reader.parse("gateway.health_listen", |text: String| parse_listen(&text));
    let metrics_listen = reader.parse("gateway.metrics_listen", |text: String| parse_listen(&text));
    let sink_hosts = reader.take::<String>("gateway.sink_hosts").map(|text| {
        text.split([',', ' '])
            .filter(|host| !host.is_empty())
            .map(str::to_ascii_lowercase)
            .collect::<Vec<_>>()
    });
    if let Some(allowed) = &sink_hosts {
        refuse_other_hosts(allowed, &sinks, reader.problems);
    }
    let drain = seconds(reader.number("gateway.drain_secs", 0, 3600));
    let failure = reader.word("gateway.when_ledger_or_hsm_fails", &[("refuse", ())]);
    let tls = read_tls(reader, state, certificates);
    let provider = read_provider(reader, state);
    let key_directory = path(reader, "keys.directory", state);
    let key_timeout = reader.number("keys.timeout_ms", 100, 60_000).map(Duration::from_millis);
    let max_age = read_max_age(reader);
    let succession = read_succession(reader);
    let on_down = reader.word("keys.on_down", &[("keep", OnDown::Keep), ("end", OnDown::End)]);
    let worker = reader.parse("keys.worker", Ok::<bool, String>);
    let core_dumps = reader.parse("keys.core_dumps", Ok::<bool, String>);
    let lends = reader.word("ledger.delegate", &[("off", false), ("on", true)]);
    let lending = read_lending(reader);
    let ledger_directory = path(reader, "ledger.directory", state);
    let segment_bytes = reader.number("ledger.segment_mebibytes", 1, 512).map(|size| size << 20);
    let record_heartbeat = seconds(reader.number("ledger.heartbeat_secs", 1, 3600));
    let cosign_every = seconds(reader.number("ledger.cosign_secs", 1, 86_400));
    let retention = read_retention(reader, state);
    let queue = reader.word("ledger.on_stall", &[("refuse", false), ("queue", true)]);
    let stall_wait = seconds(reader.number("ledger.stall_wait_secs", 1, 300));
    let scrub_every =
        reader.number("ledger.scrub_hours", 1, 8760).map(|hours| Duration::from_secs(hours * 3600));
    let scrub_bytes = reader.number("ledger.scrub_mib_per_sec", 1, 10_000).map(|mib| mib << 20);
    let witnesses = read_witnessing(reader, witnesses);
    let reports = read_reports(reader, state);
    let access = read_access(reader, state);
    let identity = read_identity(reader, state, issuers);
    let notify = read_notify(reader, state, ways);
    let max_per_user = count(reader.number("tunnels.max_per_user", 1, 10_000));
    let heartbeat = seconds(reader.number("tunnels.heartbeat_secs", 1, 300));
    let heartbeat_timeout = seconds(reader.number("tunnels.heartbeat_timeout_secs", 1, 300));
    let reconnect_grace = seconds(reader.number("tunnels.reconnect_grace_secs", 0, 3600));
    let visitors_wait = seconds(reader.number("tunnels.queue_secs", 0, 300));
    let tcp_address = reader.parse("tunnels.tcp_address", |text: String| {
        text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an IP address"))
    });
    let udp_idle = seconds(reader.number("tunnels.udp_idle_secs", 1, 3600));
    let suites = reader.word("tunnels.suites", SUITES);
    let recording = reader.word("tunnels.audit", RECORDING);
    if let Some(domain) = &domain {
        refuse_domains_of_ours(reader, domain, &blocks);
    }
    let tcp_ports = reader.parse("tunnels.tcp_ports", |text: String| parse_ports(&text));
    let pass_through = reader.word("tunnels.pass_through", &[("refuse", false), ("allow", true)]);
    let foreign_header = reader.word("tunnels.proxy_headers", PROXY_HEADERS);
    let at_once = count(reader.number("tunnels.at_once", 0, 1_000_000));
    let line = count(reader.number("tunnels.line", 0, 100_000));
    let breaker_failures = reader.number("tunnels.breaker_failures", 0, 1000);
    let breaker_rest = seconds(reader.number("tunnels.breaker_secs", 1, 60));
    let connections = count(reader.number("limits.connections", 1, 1_000_000));
    let per_address = count(reader.number("limits.connections_per_address", 1, 1_000_000));
    let sessions_per_user = count(reader.number("limits.sessions_per_user", 1, 1_000_000));
    let lockout = seconds(reader.number("limits.lockout_secs", 1, 86_400));
    let mut per_minute = |path| {
        let number = reader.number(path, 0, 1_000_000)?;
        Some(u32::try_from(number).ok().and_then(NonZeroU32::new))
    };
    let api_per_user = per_minute("limits.api_per_user");
    let api_per_address = per_minute("limits.api_per_address");
    let requests_per_user = per_minute("limits.requests_per_user");
    let requests_per_address = per_minute("limits.requests_per_address");
    let tls_handshake = seconds(reader.number("limits.tls_handshake_secs", 1, 120));
    let header = seconds(reader.number("limits.header_secs", 1, 120));
    let keep_alive = seconds(reader.number("limits.keep_alive_secs", 1, 3600));
    let header_bytes = count(reader.number("limits.header_bytes", 8192, u64::from(MOST_OF_A_VISITOR)));
    let request = seconds(reader.number("limits.request_secs", 1, 3600));
    let idle = seconds(reader.number("limits.idle_secs", 1, 86_400));
    let resume = seconds(reader.number("limits.resume_secs", 0, 300));
    let detects = reader.word("detections.mode", &[("off", false), ("on", true)]);
    let rules_file = path(reader, "detections.rules_file", state);
    let level =
        reader.parse("log.level", |text: String| match text.parse::<tracing_subscriber::EnvFilter>() {
            Ok(_) if !text.trim().is_empty() => Ok(text),
            _ => Err(format!("`{text}` is not a log level or filter")),
        });
    let traces_to = reader.take::<String>("log.traces_to");
    let json = reader.word("log.format", &[("text", false), ("json", true)]);

    let () = failure?;
    let mut config = Config {
        // Made from the whole table, by whoever has it.
        shown: Vec::new(),
        state_directory: state.to_owned(),
        gateway: Gateway {
            domain: domain?,
            organisation: organisation?,
            listen: listen?,
            fronts: fronts?,
            quic: quic?,
            http3: http3?,
            public_port,
            drain: drain?,
            health_listen,
            metrics_listen,
            sink_hosts: sink_hosts?,
        },
        tls: tls?,
        keys: Keys {
            provider: provider?,
            directory: key_directory?,
            timeout: key_timeout?,
            max_age: max_age?,
            succession: succession?,
            on_down: on_down?,
            worker: worker?,
            core_dumps: core_dumps?,
        },
        ledger: Ledger {
            directory: ledger_directory?,
            segment_bytes: segment_bytes?,
            heartbeat: record_heartbeat?,
            cosign_every: cosign_every?,
            lending: lends?.then_some(lending?),
            on_stall: match (queue?, stall_wait?) {
                (false, _) => OnStall::Refuse,
                (true, patience) => OnStall::Queue { patience, places: STALL_PLACES },
            },
            scrub_every: scrub_every?,
            scrub_bytes_per_second: scrub_bytes?,
            witnesses: witnesses?,
        },
        retention: retention?,
        reports: reports?,
        access: access?,
        identity: identity?,
        notify: notify?,
        tunnels: Tunnels {
            max_per_user: max_per_user?,
            heartbeat: heartbeat?,
            heartbeat_timeout: heartbeat_timeout?,
            suites: suites?,
            reconnect_grace: reconnect_grace?,
            queue: visitors_wait?,
            tcp_address: tcp_address?,
            tcp_ports: tcp_ports?,
            pass_through: pass_through?,
            at_once: at_once?,
            line: line?,
            breaker: BreakerRules {
                failures: breaker_failures.and_then(|number| u32::try_from(number).ok())?,
                rest: breaker_rest?,
            },
            udp_idle: udp_idle?,
            foreign_header: foreign_header?,
            recording: recording?,
            blocks,
        },
        limits: Limits {
            connections: connections?,
            connections_per_address: per_address?,
            sessions_per_user: sessions_per_user?,
            lockout: lockout?,
            api_per_user: api_per_user?,
            api_per_address: api_per_address?,
            requests_per_user: requests_per_user?,
            requests_per_address: requests_per_address?,
            tls_handshake: tls_handshake?,
            header: header?,
            keep_alive: keep_alive?,
            header_bytes: header_bytes?,
            request: request?,
            idle: idle?,
            resume: resume?,
        },
        detections: Detections { on: detects?, rules_file },
        log: Log { level: level?, json: json?, traces_to },
        sinks,
        digest: Digest::of(&[]),
    };
    // The debug form names every setting in force and no secret, for those are in files.
    config.digest = Digest::of(&[format!("{config:?}").as_bytes()]);
    Some(config)
}

/// What `tunnels.suites` may say.
const SUITES: &[(&str, &[Suite])] = &[
    ("any", Suite::ALL),
    ("aes256gcm", &[Suite::XWingEd25519MlDsa65Aes256Gcm]),
    ("chacha20poly1305", &[Suite::XWingEd25519MlDsa65ChaCha20Poly1305]),
];

/// A name below the gateway's domain is a tunnel's by itself.
fn refuse_domains_of_ours(reader: &mut Reader<'_>, ours: &str, blocks: &[TunnelBlock]) {
    for domain in blocks.iter().flat_map(|block| &block.rules.domains) {
        if domain.strip_suffix(ours).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
            reader.fault(
                "tunnel",
                format!(
                    "`{domain}` is below the gateway's own domain, where names are tunnels by themselves"
                ),
            );
        }
    }
}

fn read_access(reader: &mut Reader<'_>, state: &Path) -> Option<Access> {
    let policy_directory = path(reader, "access.policy_directory", state);
    let words = [("reload", PolicyChange::Reload), ("second-person", PolicyChange::SecondPerson)];
    let policy_change = reader.word("access.policy_change", &words);
    let owners = [("policy", false), ("first-publisher", true)];
    let first_publisher_owns = reader.word("access.tunnel_owner", &owners);
    let tenant = reader.parse("access.tenant", |text: String| parse_word(text, 64));
    let token_life =
        reader.number("access.token_hours", 1, 8760).map(|hours| Duration::from_secs(hours * 3600));
    let usual_hours = reader.parse("access.usual_hours", |text: String| text.parse());
    let canaries = reader.number("access.canary_secs", 0, 2_592_000);
    Some(Access {
        policy_directory: policy_directory?,
        policy_change: policy_change?,
        first_publisher_owns: first_publisher_owns?,
        tenant: tenant?,
        token_life: token_life?,
        usual_hours: usual_hours?,
        canaries: canaries.map(|every| (every > 0).then(|| Duration::from_secs(every)))?,
    })
}

fn read_retention(reader: &mut Reader<'_>, state: &Path) -> Option<Retention> {
    let list = |text: String| -> Vec<String> {
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let frameworks = reader.parse("retention.frameworks", |text: String| {
        list(text).iter().map(|word| word.parse::<Framework>().map_err(|error| error.to_string())).collect()
    });
    let minimum =
        reader.number("retention.minimum_days", 0, 36_525).and_then(|days| u32::try_from(days).ok());
    let kinds = reader.take::<String>("retention.kind_days").map(list);
    let archive = read_archive(reader, state);
    let (frameworks, minimum, kinds): (Vec<Framework>, _, _) = (frameworks?, minimum?, kinds?);
    let archive = archive.ok()?;
    match Policy::new(frameworks, minimum, &kinds) {
        Ok(policy) => Some(Retention { policy, archive }),
        Err(error) => {
            let at = if matches!(error, PolicyError::Nothing) {
                "retention.frameworks"
            } else {
                "retention.kind_days"
            };
            reader.fault(at, error.to_string());
            None
        }
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not ADDRESS:PORT, such as 127.0.0.1:8443"))
}

fn read_succession(reader: &mut Reader<'_>) -> Option<Succession> {
    let days = reader.number("keys.identity_overlap_days", 1, 3650);
    let automatic = reader.take::<bool>("keys.rotate_automatically");
    Some(Succession { identity_overlap: Duration::from_hours(days? * 24), automatic: automatic? })
}

fn read_max_age(reader: &mut Reader<'_>) -> Option<MaxAge> {
    let mut days = |path: &str| {
        let days = reader.number(path, 0, 3650)?;
        Some((days > 0).then(|| Duration::from_hours(days * 24)))
    };
    let (tls, identity) = (days("keys.tls_max_age_days"), days("keys.identity_max_age_days"));
    let (ledger, token_signing) = (days("keys.ledger_max_age_days"), days("keys.token_signing_max_age_days"));
    let root = days("keys.root_max_age_days");
    Some(MaxAge {
        tls: tls?,
        identity: identity?,
        ledger: ledger?,
        token_signing: token_signing?,
        root: root?,
    })
}

/// Within which bounds the ledger's key lends its signing, if it does.
fn read_lending(reader: &mut Reader<'_>) -> Option<Lending> {
    let seconds = |value: Option<u64>| value.map(Duration::from_secs);
    let lifetime = seconds(reader.number("ledger.delegate_secs", 60, 86_400));
    let heads = reader.number("ledger.delegate_heads", 10, 1_000_000_000);
    let own_every = seconds(reader.number("ledger.delegate_own_secs", 1, 3600));
    Some(Lending { lifetime: lifetime?, heads: heads?, own_every: own_every? })
}

fn read_provider(reader: &mut Reader<'_>, state: &Path) -> Option<Provider> {
    let software = reader.word("keys.provider", &[("pkcs11", false), ("software", true)]);
    let module = path(reader, "keys.module", state);
    let token = reader.parse("keys.token", |text: String| match text.len() {
        1..=32 => Ok(text),
        _ => Err("a token label has 1 to 32 bytes".to_owned()),
    });
    let pin_file = path(reader, "keys.pin_file", state);
    let passphrase_file = path(reader, "keys.passphrase_file", state);
    Some(if software? {
        Provider::Software { passphrase_file: passphrase_file? }
    } else {
        Provider::Pkcs11 { module: module?, token: token?, pin_file: pin_file? }
    })
}

pub(super) fn required<T>(
    reader: &mut Reader<'_>,
    path: &str,
    parse: impl FnOnce(String) -> Result<T, String>,
) -> Option<T> {
    let before = reader.problems.len();
    let value = reader.parse(path, parse);
    if value.is_none() && reader.problems.len() == before {
        reader.fault(path, "is needed");
    }
    value
}

pub(super) fn path(reader: &mut Reader<'_>, key: &str, state: &Path) -> Option<PathBuf> {
    // `join` keeps an absolute path as it is.
    reader.parse(key, |text: String| match text.as_str() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(state.join(text)),
    })
}

pub(super) fn parse_domain(text: String) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if text.len() <= 190 && text.split('.').all(label) {
        Ok(text)
    } else {
        Err(format!("`{text}` is not a domain name in lower case"))
    }
}

pub(super) fn parse_word(text: String, most: usize) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=most).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text)
    } else {
        Err(format!("`{text}` must be 1 to {most} lower-case letters, digits or dashes"))
    }
}

/// Addresses and networks, separated by commas.
pub(super) fn parse_networks(text: &str) -> Result<Vec<IpNet>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| {
            let one = || word.parse::<IpAddr>().map(IpNet::from);
            word.parse()
                .or_else(|_| one())
                .map_err(|_| format!("`{word}` is neither an IP address nor a network, such as 10.0.0.0/8"))
        })
        .collect()
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    text.split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)))
        .filter(|(first, last)| 0 < *first && first <= last)
        .map(|(first, last)| first..=last)
        .ok_or_else(|| format!("`{text}` is not FIRST-LAST with ports from 1 to 65535"))
}
