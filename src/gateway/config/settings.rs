//! The settings as types that cannot be wrong. `keys.rs` says what each means; nothing after this asks whether it makes sense.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use sallyport_audit::ledger::OnStall;
use sallyport_audit::retention::Policy;
use sallyport_audit::{Digest, Lending};

use super::archive::ArchivePlace;
use super::identity::Identity;
use super::notify::Notify;
use super::reports::Reports;
use super::sinks::SinkSettings;
use super::tls::Tls;
use super::tunnel_rules::TunnelBlock;
use super::witnesses::Witnesses;
use crate::access::PolicyChange;
use crate::console::Hours;
use crate::edge::ForeignHeader;
use crate::session::{BreakerRules, Recording};

/// A configuration that passed every check.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every setting with its value, as an admin may see it.
    pub shown: Vec<(String, String)>,
    /// Folder against which relative paths were resolved.
    pub state_directory: PathBuf,
    /// Who we are and where we listen.
    pub gateway: Gateway,
    /// Certificates.
    pub tls: Tls,
    /// Where keys live.
    pub keys: Keys,
    /// Where records live.
    pub ledger: Ledger,
    /// For how long records stay.
    pub retention: Retention,
    /// Packs that the gateway makes by itself.
    pub reports: Reports,
    /// Policy and tokens.
    pub access: Access,
    /// Who else vouches for people.
    pub identity: Identity,
    /// Who is told what.
    pub notify: Notify,
    /// Publishers.
    pub tunnels: Tunnels,
    /// Bounds on what peers may do.
    pub limits: Limits,
    /// What is looked for in records.
    pub detections: Detections,
    /// Logs for operators.
    pub log: Log,
    /// SIEM receivers.
    pub sinks: Vec<SinkSettings>,
    /// SHA-256 of the settings in force, for the ledger; the same whatever layer a value came from.
    pub digest: Digest,
}

/// Section `[gateway]`.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Public domain; tunnels are its first labels.
    pub domain: String,
    /// Organisation named in the identity certificate.
    pub organisation: String,
    /// Listening address.
    pub listen: SocketAddr,
    /// Whose word is taken for where a visitor comes from.
    pub fronts: Vec<IpNet>,
    /// Whether publishers may come there by QUIC.
    pub quic: bool,
    /// Whether visitors may come there by HTTP/3.
    pub http3: bool,
    /// The port that people type, if it is another.
    pub public_port: Option<u16>,
    /// Grace for open sessions at shutdown.
    pub drain: Duration,
    /// Where health is told without TLS.
    pub health_listen: Option<SocketAddr>,
    /// Where metrics are told without a token.
    pub metrics_listen: Option<SocketAddr>,
    /// Hosts that sinks may send to; any, if none are named.
    pub sink_hosts: Vec<String>,
}

/// Section `[detections]`.
#[derive(Debug, Clone)]
pub struct Detections {
    /// Whether rules look at records at all.
    pub on: bool,
    /// The rules; those that are built in, if none are named.
    pub rules_file: Option<PathBuf>,
}

/// Section `[keys]`.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Token or sealed file.
    pub provider: Provider,
    /// Wrapped seeds and data keys.
    pub directory: PathBuf,
    /// Longest wait for one operation.
    pub timeout: Duration,
    /// At which age keys are to be replaced.
    pub max_age: MaxAge,
    /// How keys follow each other.
    pub succession: Succession,
    /// What becomes of open sessions while the provider is down.
    pub on_down: OnDown,
    /// Whether the provider is in a process of its own.
    pub worker: bool,
    /// Whether this process's memory may be dumped.
    pub core_dumps: bool,
}

/// How keys follow each other.
#[derive(Debug, Clone, Copy)]
pub struct Succession {
    /// For how long a new identity is vouched for by the one before it.
    pub identity_overlap: Duration,
    /// Whether keys that nobody else has to know of are replaced when they are due.
    pub automatic: bool,
}

/// What becomes of open sessions while the key provider is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDown {
    /// They go on; what they do is recorded when it can be signed.
    Keep,
    /// They are ended.
    End,
}

/// At which age the keys of a role are to be replaced; `None` is never.
#[derive(Debug, Clone, Copy, Default)]
pub struct MaxAge {
    /// Role `tls`.
    pub tls: Option<Duration>,
    /// Roles `identity` and `identity-pq`.
    pub identity: Option<Duration>,
    /// Roles `ledger` and `ledger-pq`.
    pub ledger: Option<Duration>,
    /// Role `token-signing`.
    pub token_signing: Option<Duration>,
    /// Role `certificate-authority`.
    pub root: Option<Duration>,
}

/// Which kind of provider holds the keys.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A token behind a PKCS#11 module.
    Pkcs11 {
        /// The maker's shared library.
        module: PathBuf,
        /// Label of the token.
        token: String,
        /// File with the user PIN.
        pin_file: PathBuf,
    },
    /// A keystore sealed under a passphrase.
    Software {
        /// File with the passphrase.
        passphrase_file: PathBuf,
    },
}

/// Section `[ledger]`.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Folder of journal, head file and store.
    pub directory: PathBuf,
    /// Size at which a file of the journal is closed, in bytes.
    pub segment_bytes: u64,
    /// Interval of heartbeat records.
    pub heartbeat: Duration,
    /// Interval of post-quantum cosignatures.
    pub cosign_every: Duration,
    /// Whether and how a key in memory signs heads in between.
    pub lending: Option<Lending>,
    /// What a record does while the signer is away.
    pub on_stall: OnStall,
    /// Interval of scrubs.
    pub scrub_every: Duration,
    /// How fast the journal is read for them.
    pub scrub_bytes_per_second: u64,
    /// Who else is to cosign the ledger's heads.
    pub witnesses: Witnesses,
}

/// Section `[retention]`.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Minimum ages.
    pub policy: Policy,
    /// Where copies of pruned segments go.
    pub archive: Option<ArchivePlace>,
}

/// Section `[access]`.
#[derive(Debug, Clone)]
pub struct Access {
    /// Folder of model, policy and approvals.
    pub policy_directory: PathBuf,
    /// Whether one admin changes the policy, or two.
    pub policy_change: PolicyChange,
    /// Whether whoever publishes a tunnel first owns it.
    pub first_publisher_owns: bool,
    /// Tenant of this gateway's tunnels.
    pub tenant: String,
    /// Default life of an issued token.
    pub token_life: Duration,
    /// When people usually ask for leave.
    pub usual_hours: Hours,
    /// Interval of canary controls; `None` is never.
    pub canaries: Option<Duration>,
}

/// Section `[tunnels]`.
#[derive(Debug, Clone)]
pub struct Tunnels {
    /// Tunnels a user may publish at once.
    pub max_per_user: usize,
    /// Interval of the mutual ping.
    pub heartbeat: Duration,
    /// How long an answer may take.
    pub heartbeat_timeout: Duration,
    /// Cipher suites that publishers may use.
    pub suites: &'static [crate::tunnel::Suite],
    /// How long a lost publisher keeps its name.
    pub reconnect_grace: Duration,
    /// How long a visitor waits for it.
    pub queue: Duration,
    /// Address of TCP tunnels.
    pub tcp_address: IpAddr,
    /// Ports of TCP tunnels.
    pub tcp_ports: RangeInclusive<u16>,
    /// How long a flow of UDP may be silent.
    pub udp_idle: Duration,
    /// What becomes of PROXY headers of whoever is not believed, where no block says otherwise.
    pub foreign_header: ForeignHeader,
    /// When records of requests must be durable, where no block says otherwise.
    pub recording: Recording,
    /// Whether TLS may go through to apps that end it.
    pub pass_through: bool,
    /// Requests that one app gets at once; 0 is any number.
    pub at_once: usize,
    /// Requests that may wait for it.
    pub line: usize,
    /// When an app that fails is left alone.
    pub breaker: BreakerRules,
    /// What is laid down for single tunnels.
    pub blocks: Vec<TunnelBlock>,
}

/// Section `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_address: usize,
    /// Sessions of one user.
    pub sessions_per_user: usize,
    /// How long an address is locked out that has failed to prove somebody too often.
    pub lockout: Duration,
    /// API calls of one user in a minute; `None` is any number.
    pub api_per_user: Option<NonZeroU32>,
    /// API calls from one address in a minute; `None` is any number.
    pub api_per_address: Option<NonZeroU32>,
    /// Requests of one user through tunnels in a minute; `None` is any number.
    pub requests_per_user: Option<NonZeroU32>,
    /// Requests from one address through tunnels in a minute; `None` is any number.
    pub requests_per_address: Option<NonZeroU32>,
    /// Time for TLS.
    pub tls_handshake: Duration,
    /// Time for a request head.
    pub header: Duration,
    /// Time between two requests on one connection.
    pub keep_alive: Duration,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Time until a publisher's answer begins.
    pub request: Duration,
    /// Time without a byte.
    pub idle: Duration,
    /// How long a byte stream waits for its publisher; zero is not at all.
    pub resume: Duration,
}

/// Section `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Filter directives.
    pub level: String,
    /// JSON lines in place of text.
    pub json: bool,
    /// Receiver of traces.
    pub traces_to: Option<String>,
}
