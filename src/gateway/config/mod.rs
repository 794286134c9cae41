//! The gateway's configuration: read once, turned into types that cannot be wrong, never asked again whether it makes sense.
//!
//! Promised: unknown settings are refused; every fault is reported at once, each with its key; secrets come from files
//! alone. Trusted: whoever may write the configuration file may do anything the gateway may do.

mod keys;
mod layers;
mod reader;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sallyport_audit::Digest;
use toml::Table;

pub use keys::{KEYS, Key, SINK_KEYS, commented_file};
pub use reader::{Problem, Problems};
use reader::Reader;

/// A configuration that passed every check.
#[derive(Debug, Clone)]
pub struct Config {
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
    /// Policy and tokens.
    pub access: Access,
    /// Publishers.
    pub tunnels: Tunnels,
    /// Bounds on what peers may do.
    pub limits: Limits,
    /// Logs for operators.
    pub log: Log,
    /// SIEM receivers.
    pub sinks: Vec<Sink>,
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
    /// Grace for open sessions at shutdown.
    pub drain: Duration,
}

/// Section `[tls]`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Chain for the key with role `tls`.
    pub certificate_file: PathBuf,
    /// The organisation's root.
    pub root_file: PathBuf,
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
    /// Interval of heartbeat records.
    pub heartbeat: Duration,
}

/// Section `[access]`.
#[derive(Debug, Clone)]
pub struct Access {
    /// Folder of model, policy and approvals.
    pub policy_directory: PathBuf,
    /// Tenant of this gateway's tunnels.
    pub tenant: String,
    /// Default life of an issued token.
    pub token_life: Duration,
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
    /// How long a lost publisher keeps its name.
    pub reconnect_grace: Duration,
    /// Address of TCP tunnels.
    pub tcp_address: IpAddr,
    /// Ports of TCP tunnels.
    pub tcp_ports: RangeInclusive<u16>,
}

/// Section `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_address: usize,
    /// Time for TLS.
    pub tls_handshake: Duration,
    /// Time for a request head.
    pub header: Duration,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Time until a publisher's answer begins.
    pub request: Duration,
    /// Time without a byte.
    pub idle: Duration,
}

/// Section `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Filter directives.
    pub level: String,
    /// JSON lines in place of text.
    pub json: bool,
}

/// One entry of `[[sinks]]`.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Name of sink and cursor.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// TLS settings; `None` is plain TCP.
    pub tls: Option<SinkTls>,
    /// Whether personal values are sent in clear.
    pub personal_values: bool,
}

/// TLS settings of a sink.
#[derive(Debug, Clone)]
pub struct SinkTls {
    /// Roots that the receiver must lead to.
    pub root_file: PathBuf,
    /// Client certificate chain and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// Some settings are wrong; all of them are listed.
    #[error("{}", List(.0))]
    Faults(Vec<Problem>),
}

struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {} {plural}:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl ConfigError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "run `sallyportd init` to make one, or name it with --config",
            Self::Syntax { .. } => "mend the line that is named; docs/configuration.md shows each setting",
            Self::Faults(_) => "mend the settings that are named; docs/configuration.md lists all of them",
        }
    }
}

impl Config {
    /// Reads `file`, lays environment and `--set` flags over it, and checks everything. Relative paths are taken from the
    /// folder of `file`, which is the state directory.
    pub fn load(
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { path: file.to_owned(), source })?;
        let state_directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let table: Table = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: file.to_owned(),
            message: error.to_string(),
        })?;
        Self::from_layers(table, environment, flags, &state_directory)
    }

    fn from_layers(
        mut table: Table,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
        state_directory: &Path,
    ) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        layers::overlay_environment(&mut table, environment, &mut problems);
        layers::overlay_flags(&mut table, flags, &mut problems);
        let sinks = read_sinks(table.remove("sinks"), state_directory, &mut problems);
        let mut reader = Reader::new(table, KEYS, "", &mut problems);
        let config = read(&mut reader, state_directory, sinks);
        let problems = problems.into_vec();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Faults(problems)),
        }
    }
}

/// Reads every section before it gives up on any, so that all faults are found.
fn read(reader: &mut Reader<'_>, state: &Path, sinks: Vec<Sink>) -> Option<Config> {
    let seconds = |value: Option<u64>| value.map(Duration::from_secs);
    let count = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok());

    let domain = reader.parse("gateway.domain", parse_domain);
    let organisation = reader.parse("gateway.organisation", |text: String| match text.len() {
        1..=128 if !text.chars().any(char::is_control) => Ok(text),
        _ => Err("must be 1 to 128 bytes without control characters".to_owned()),
    });
    let listen = reader.parse("gateway.listen", |text: String| {
        text.parse::<SocketAddr>().map_err(|_| format!("`{text}` is not ADDRESS:PORT, such as 127.0.0.1:8443"))
    });
    let drain = seconds(reader.number("gateway.drain_secs", 0, 3600));
    let failure = reader.word("gateway.when_ledger_or_hsm_fails", &[("refuse", ())]);
    let certificate_file = path(reader, "tls.certificate_file", state);
    let root_file = path(reader, "tls.root_file", state);
    let provider = read_provider(reader, state);
    let key_directory = path(reader, "keys.directory", state);
    let key_timeout = reader.number("keys.timeout_ms", 100, 60_000).map(Duration::from_millis);
    let ledger_directory = path(reader, "ledger.directory", state);
    let record_heartbeat = seconds(reader.number("ledger.heartbeat_secs", 1, 3600));
    let policy_directory = path(reader, "access.policy_directory", state);
    let tenant = reader.parse("access.tenant", |text: String| parse_word(text, 64));
    let token_life = reader.number("access.token_hours", 1, 8760).map(|hours| Duration::from_secs(hours * 3600));
    let max_per_user = count(reader.number("tunnels.max_per_user", 1, 10_000));
    let heartbeat = seconds(reader.number("tunnels.heartbeat_secs", 1, 300));
    let heartbeat_timeout = seconds(reader.number("tunnels.heartbeat_timeout_secs", 1, 300));
    let reconnect_grace = seconds(reader.number("tunnels.reconnect_grace_secs", 0, 3600));
    let tcp_address = reader.parse("tunnels.tcp_address", |text: String| {
        text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an IP address"))
    });
    let tcp_ports = reader.parse("tunnels.tcp_ports", |text: String| parse_ports(&text));
    let connections = count(reader.number("limits.connections", 1, 1_000_000));
    let per_address = count(reader.number("limits.connections_per_address", 1, 1_000_000));
    let tls_handshake = seconds(reader.number("limits.tls_handshake_secs", 1, 120));
    let header = seconds(reader.number("limits.header_secs", 1, 120));
    let header_bytes = count(reader.number("limits.header_bytes", 8192, 1_048_576));
    let request = seconds(reader.number("limits.request_secs", 1, 3600));
    let idle = seconds(reader.number("limits.idle_secs", 1, 86_400));
    let level = reader.parse("log.level", |text: String| match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) if !text.trim().is_empty() => Ok(text),
        _ => Err(format!("`{text}` is not a log level or filter")),
    });
    let json = reader.word("log.format", &[("text", false), ("json", true)]);

    let () = failure?;
    let mut config = Config {
        state_directory: state.to_owned(),
        gateway: Gateway { domain: domain?, organisation: organisation?, listen: listen?, drain: drain? },
        tls: Tls { certificate_file: certificate_file?, root_file: root_file? },
        keys: Keys { provider: provider?, directory: key_directory?, timeout: key_timeout? },
        ledger: Ledger { directory: ledger_directory?, heartbeat: record_heartbeat? },
        access: Access { policy_directory: policy_directory?, tenant: tenant?, token_life: token_life? },
        tunnels: Tunnels {
            max_per_user: max_per_user?,
            heartbeat: heartbeat?,
            heartbeat_timeout: heartbeat_timeout?,
            reconnect_grace: reconnect_grace?,
            tcp_address: tcp_address?,
            tcp_ports: tcp_ports?,
        },
        limits: Limits {
            connections: connections?,
            connections_per_address: per_address?,
            tls_handshake: tls_handshake?,
            header: header?,
            header_bytes: header_bytes?,
            request: request?,
            idle: idle?,
        },
        log: Log { level: level?, json: json? },
        sinks,
        digest: Digest::of(&[]),
    };
    // The debug form names every setting in force and no secret, for those are in files.
    config.digest = Digest::of(&[format!("{config:?}").as_bytes()]);
    Some(config)
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

fn read_sinks(value: Option<toml::Value>, state: &Path, problems: &mut Problems) -> Vec<Sink> {
    let entries = match value {
        None => return Vec::new(),
        Some(toml::Value::Array(entries)) => entries,
        Some(_) => {
            problems.add("sinks", "write each sink as a block [[sinks]]");
            return Vec::new();
        }
    };
    let mut sinks: Vec<Sink> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let prefix = format!("sinks[{index}].");
        let toml::Value::Table(table) = entry else {
            problems.add(&prefix, "write each sink as a block [[sinks]]");
            continue;
        };
        let mut reader = Reader::new(table, SINK_KEYS, &prefix, problems);
        let Some(sink) = read_sink(&mut reader, state) else { continue };
        if sinks.iter().any(|other| other.name == sink.name) {
            reader.fault("name", format!("two sinks are called `{}`", sink.name));
        }
        sinks.push(sink);
    }
    sinks
}

fn read_sink(reader: &mut Reader<'_>, state: &Path) -> Option<Sink> {
    let name = required(reader, "name", |text| parse_word(text, 32));
    let address = required(reader, "address", |text| match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text),
        _ => Err(format!("`{text}` is not HOST:PORT")),
    });
    let tls = reader.word("transport", &[("tls", true), ("tcp", false)]);
    let root_file = path(reader, "root_file", state);
    let certificate = path(reader, "client_certificate_file", state);
    let key = path(reader, "client_key_file", state);
    let personal_values = reader.word("personal", &[("values", true), ("commitments", false)]);
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            reader.fault("client_certificate_file", "needs client_key_file beside it, and the other way round");
            None
        }
    };
    let tls = if tls? {
        if root_file.is_none() {
            reader.fault("root_file", "transport `tls` needs the roots that the receiver's certificate leads to");
        }
        Some(SinkTls { root_file: root_file?, client })
    } else {
        None
    };
    Some(Sink { name: name?, address: address?, tls, personal_values: personal_values? })
}

fn required(
    reader: &mut Reader<'_>,
    path: &str,
    parse: impl FnOnce(String) -> Result<String, String>,
) -> Option<String> {
    let before = reader.problems.len();
    let value = reader.parse(path, parse);
    if value.is_none() && reader.problems.len() == before {
        reader.fault(path, "is needed");
    }
    value
}

fn path(reader: &mut Reader<'_>, key: &str, state: &Path) -> Option<PathBuf> {
    // `join` keeps an absolute path as it is.
    reader.parse(key, |text: String| match text.as_str() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(state.join(text)),
    })
}

fn parse_domain(text: String) -> Result<String, String> {
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

fn parse_word(text: String, most: usize) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=most).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text)
    } else {
        Err(format!("`{text}` must be 1 to {most} lower-case letters, digits or dashes"))
    }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    text.split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)))
        .filter(|(first, last)| 0 < *first && first <= last)
        .map(|(first, last)| first..=last)
        .ok_or_else(|| format!("`{text}` is not FIRST-LAST with ports from 1 to 65535"))
}

#[cfg(test)]
mod tests;
