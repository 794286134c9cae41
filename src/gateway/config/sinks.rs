//! From the blocks `[[sinks]]` to what a sink must be told.

use std::path::Path;
use std::time::Duration;

use sallyport_audit::sink::options::LEAST_MAX_MESSAGE;
use sallyport_audit::sink::{
    Address, ClientIdentity, Facility, FileTarget, Filter, HttpTarget, HttpUrl, PersonalView, Protocol,
    Shape, SinkName, SinkOptions, Target, TlsOptions, Transport,
};

use super::keys::SINK_KEYS;
use super::read::{path, required};
use super::reader::{Problems, Reader};

/// One sink, and what the gateway does when it is dead.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// What the sink must be told.
    pub options: SinkOptions,
    /// Whether the ledger's key signs its requests.
    pub is_signed_by_ledger_key: bool,
    /// What follows from its death.
    pub when_dead: WhenDead,
    /// After how long without any delivery it counts as dead.
    pub dead_after: Duration,
}

/// What the gateway does while a sink delivers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDead {
    /// Nothing but to show it.
    GoOn,
    /// It says that it is not ready, and serves.
    Degrade,
    /// No session begins.
    StopSessions,
}

pub(super) fn read_sinks(
    value: Option<toml::Value>,
    state: &Path,
    problems: &mut Problems,
) -> Vec<SinkSettings> {
    let entries = match value {
        None => return Vec::new(),
        Some(toml::Value::Array(entries)) => entries,
        Some(_) => {
            problems.add("sinks", "write each sink as a block [[sinks]]");
            return Vec::new();
        }
    };
    let mut sinks: Vec<SinkSettings> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let prefix = format!("sinks[{index}].");
        let toml::Value::Table(table) = entry else {
            problems.add(&prefix, "write each sink as a block [[sinks]]");
            continue;
        };
        let mut reader = Reader::new(table, SINK_KEYS, &prefix, problems);
        let Some(sink) = read_sink(&mut reader, state) else { continue };
        if sinks.iter().any(|other| other.options.name == sink.options.name) {
            reader.fault("name", format!("two sinks are called `{}`", sink.options.name));
        }
        sinks.push(sink);
    }
    sinks
}

/// What the word after `transport` means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Tls,
    Tcp,
    Udp,
    File,
    Splunk,
    Elastic,
    Otlp,
    Webhook,
}

const WAYS: &[(&str, Way)] = &[
    ("tls", Way::Tls),
    ("tcp", Way::Tcp),
    ("udp", Way::Udp),
    ("file", Way::File),
    ("splunk-hec", Way::Splunk),
    ("elastic-bulk", Way::Elastic),
    ("otlp-http", Way::Otlp),
    ("webhook", Way::Webhook),
];

const DEATHS: &[(&str, WhenDead)] =
    &[("go-on", WhenDead::GoOn), ("degrade", WhenDead::Degrade), ("stop-sessions", WhenDead::StopSessions)];

fn read_sink(reader: &mut Reader<'_>, state: &Path) -> Option<SinkSettings> {
    let name = required(reader, "name", |text| SinkName::parse(&text).map_err(|error| error.to_string()));
    let way = reader.word("transport", WAYS);
    let target = way.and_then(|way| read_target(reader, state, way));
    let is_signed_by_ledger_key = reader.take::<bool>("signed_by_ledger_key");
    if is_signed_by_ledger_key == Some(true) && way.is_some_and(|way| way != Way::Webhook) {
        reader.fault("signed_by_ledger_key", "only requests of transport `webhook` can be signed so");
    }
    let shape = reader.parse("format", |text: String| Shape::parse(&text).map_err(|error| error.to_string()));
    let filter =
        reader.parse("filter", |text: String| Filter::parse(&text).map_err(|error| error.to_string()));
    let words = [("values", PersonalView::Values), ("commitments", PersonalView::Commitments)];
    let personal = reader.word("personal", &words);
    let facility =
        reader.parse("facility", |code: u8| Facility::parse(code).map_err(|error| error.to_string()));
    let enterprise =
        reader.number("enterprise", 1, u64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok());
    let mut seconds = |key, least, most| reader.number(key, least, most).map(Duration::from_secs);
    let settle = seconds("settle_secs", 1, 3600);
    let receipts = seconds("receipt_secs", 1, 86_400);
    let late_after = seconds("late_secs", 10, 604_800);
    let dead_after = seconds("dead_secs", 10, 604_800);
    if let (Some(settle), Some(late), Some(Way::Tls | Way::Tcp)) = (settle, late_after, way)
        && late <= settle
    {
        // What is sent counts as delivered `settle_secs` later: such a sink would always be late.
        reader.fault("late_secs", "must be more than settle_secs");
    }
    let when_dead = reader.word("when_dead", DEATHS);
    let most = reader.number("max_message_bytes", LEAST_MAX_MESSAGE as u64, 16 << 20);
    let mut options = SinkOptions::new(name?, target?, state.join("sinks"));
    if let Some(shape) = shape {
        options.shape = shape;
    }
    options.filter = filter?;
    options.facility = facility?;
    options.enterprise = enterprise?;
    options.personal = personal?;
    options.process = Some(std::process::id());
    options.settle = settle?;
    options.receipts = receipts?;
    options.late_after = late_after?;
    options.max_message = usize::try_from(most?).ok()?;
    let is_signed_by_ledger_key = is_signed_by_ledger_key?;
    Some(SinkSettings { options, is_signed_by_ledger_key, when_dead: when_dead?, dead_after: dead_after? })
}

fn read_target(reader: &mut Reader<'_>, state: &Path, way: Way) -> Option<Target> {
    match way {
        Way::Tls | Way::Tcp | Way::Udp => {
            let address =
                required(reader, "address", |text| Address::parse(&text).map_err(|error| error.to_string()));
            let transport = match way {
                Way::Tcp => Transport::Tcp,
                Way::Udp => Transport::Udp,
                _ => Transport::Tls(read_tls(reader, state)?),
            };
            Some(Target::Syslog { address: address?, transport })
        }
        Way::File => {
            let path = required(reader, "path", |text| match text.as_str() {
                "" => Err("must not be empty".to_owned()),
                text => Ok(state.join(text)),
            });
            let size = reader.number("max_file_mebibytes", 1, 1 << 20);
            let keep = reader.number("keep_files", 0, 9999).and_then(|number| u32::try_from(number).ok());
            Some(Target::File(FileTarget { path: path?, max_bytes: size? << 20, keep: keep? }))
        }
        Way::Splunk | Way::Elastic | Way::Otlp | Way::Webhook => read_http(reader, state, way),
    }
}

fn read_http(reader: &mut Reader<'_>, state: &Path, way: Way) -> Option<Target> {
    let url = required(reader, "url", |text| HttpUrl::parse(&text).map_err(|error| error.to_string()));
    let index = reader.parse("index", |text: String| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if (1..=255).contains(&text.len()) && text.chars().all(fits) {
            Ok(text)
        } else {
            Err(format!("`{text}` is not an index: lower-case letters, digits, dashes, dots and low lines"))
        }
    });
    let acknowledge = reader.number("acknowledge_secs", 0, 3600);
    let records = reader.number("batch_records", 1, 10_000);
    let octets = reader.number("batch_kibibytes", 16, 65_536);
    let credential = path(reader, "credential_file", state);
    let protocol = match way {
        Way::Splunk => {
            let acknowledge = Some(acknowledge?).filter(|seconds| *seconds > 0).map(Duration::from_secs);
            Protocol::SplunkHec { acknowledge, index }
        }
        Way::Elastic => {
            if index.is_none() {
                reader.fault("index", "transport `elastic-bulk` needs an index, alias or data stream");
            }
            Protocol::ElasticBulk { index: index? }
        }
        Way::Otlp => Protocol::OtlpHttp,
        _ => Protocol::Webhook,
    };
    let url = url?;
    let tls = if url.is_tls() { Some(read_tls(reader, state)?) } else { None };
    let mut target = HttpTarget::new(url, protocol);
    target.tls = tls;
    target.credential = credential;
    target.batch_records = usize::try_from(records?).ok()?;
    target.batch_bytes = usize::try_from(octets?).ok()? << 10;
    Some(Target::Http(target))
}

fn read_tls(reader: &mut Reader<'_>, state: &Path) -> Option<TlsOptions> {
    let roots = path(reader, "root_file", state);
    let server_name = reader.take::<String>("server_name");
    let certificate = path(reader, "client_certificate_file", state);
    let key = path(reader, "client_key_file", state);
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientIdentity { certificate, key }),
        (None, None) => None,
        _ => {
            reader
                .fault("client_certificate_file", "needs client_key_file beside it, and the other way round");
            None
        }
    };
    if roots.is_none() {
        reader.fault("root_file", "TLS needs the roots that the receiver's certificate leads to");
    }
    Some(TlsOptions { roots: roots?, server_name, client })
}

/// Hosts that sinks may talk to, if the operator names any: `siem.example.com`, `*.example.com`.
pub(super) fn refuse_other_hosts(allowed: &[String], sinks: &[SinkSettings], problems: &mut Problems) {
    if allowed.is_empty() {
        return;
    }
    for (place, sink) in sinks.iter().enumerate() {
        let Some(host) = sink.options.target.host() else { continue };
        if !allowed.iter().any(|pattern| fits(pattern, host)) {
            let key = match sink.options.target {
                Target::Http(_) => "url",
                _ => "address",
            };
            problems.add(
                &format!("sinks[{place}].{key}"),
                format!("`{host}` is not among the hosts of gateway.sink_hosts"),
            );
        }
    }
}

/// A star stands for one label or more.
fn fits(pattern: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_host_is_allowed_by_its_name_or_by_its_domain() {
        assert!(fits("siem.example.com", "SIEM.example.com"));
        assert!(fits("*.example.com", "a.siem.example.com"));
        for other in ["example.com", "badexample.com", ".example.com", "siem.example.com.evil.net"] {
            assert!(!fits("*.example.com", other), "{other}");
        }
    }
}
