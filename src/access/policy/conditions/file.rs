//! `conditions.toml`, read: every fault is told with its line, and a key that isn't known is one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use super::{CONDITIONS_FILE, Condition, ConditionName, DeviceNeed, MAX_CONDITIONS, MAX_LIST};
use crate::access::policy::faults::{Place, PolicyFaults};
use crate::access::policy::window::RawWindow;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    condition: BTreeMap<String, RawCondition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    #[serde(default)]
    description: String,
    time_zone: Option<String>,
    days: Option<Vec<String>>,
    from: Option<String>,
    until: Option<String>,
    after: Option<String>,
    before: Option<String>,
    networks: Option<Vec<String>>,
    device: Option<String>,
    devices: Option<Vec<String>>,
    transport: Option<String>,
    groups: Option<Vec<String>>,
    suites: Option<Vec<String>>,
    tunnel: Option<String>,
    tunnel_suites: Option<Vec<String>>,
}

/// Reads the file; every fault is told with the line on which its condition begins.
pub(in crate::access::policy) fn parse(
    text: &str,
    faults: &mut PolicyFaults,
) -> BTreeMap<ConditionName, Arc<Condition>> {
    let raw: RawFile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let line = error.span().map_or(0, |span| line_at(text, span.start));
            faults.add(place(line), error.message().to_owned());
            return BTreeMap::new();
        }
    };
    if raw.condition.len() > MAX_CONDITIONS {
        faults.about(CONDITIONS_FILE, format!("there are more than {MAX_CONDITIONS} conditions"));
        return BTreeMap::new();
    }
    let mut conditions = BTreeMap::new();
    for (name, raw) in raw.condition {
        let place = place(header_line(text, "condition", &name));
        let mut note = |what: String| faults.add(place.clone(), what);
        let parsed = name.parse::<ConditionName>().map_err(|error| note(error.to_string())).ok();
        let condition = raw.read(parsed, &place, &mut note);
        if let Some(condition) = condition {
            conditions.insert(condition.name.clone(), Arc::new(condition));
        }
    }
    conditions
}

impl RawCondition {
    fn read(
        self,
        name: Option<ConditionName>,
        place: &Place,
        note: &mut impl FnMut(String),
    ) -> Option<Condition> {
        if self.description.chars().count() > 200 || self.description.chars().any(char::is_control) {
            note("description: it must be one line of at most 200 characters".to_owned());
        }
        let window = RawWindow {
            time_zone: self.time_zone,
            days: self.days,
            from: self.from,
            until: self.until,
            after: self.after,
            before: self.before,
        };
        let window = window.read(note);
        let networks = list::<IpNet>("networks", self.networks, note);
        for network in &networks {
            if network.trunc() != *network {
                note(format!("networks: {network} has bits behind its prefix; write {}", network.trunc()));
            }
        }
        let device = match (self.device.as_deref(), self.devices) {
            (None, None) => None,
            (Some("enrolled"), None) => Some(DeviceNeed::Enrolled),
            (None, devices) => Some(DeviceNeed::OneOf(list("devices", devices, note).into_iter().collect())),
            (Some(_), _) => {
                note(
                    "device: write `device = \"enrolled\"` for any enrolled device, or a list of `devices`"
                        .to_owned(),
                );
                None
            }
        };
        let post_quantum = is_post_quantum("transport", self.transport.as_deref(), note);
        let tunnel_post_quantum = is_post_quantum("tunnel", self.tunnel.as_deref(), note);
        let groups = list::<AlgorithmName>("groups", self.groups, note);
        let suites = list::<AlgorithmName>("suites", self.suites, note);
        let tunnel_suites = list::<TunnelSuiteName>("tunnel_suites", self.tunnel_suites, note);
        let says_nothing = window.is_none()
            && networks.is_empty()
            && device.is_none()
            && !post_quantum
            && groups.is_empty()
            && suites.is_empty()
            && !tunnel_post_quantum
            && tunnel_suites.is_empty();
        if says_nothing {
            note("it asks for nothing: name a time, networks, a device, a transport or a tunnel".to_owned());
        }
        Some(Condition {
            name: name?,
            description: self.description,
            place: place.clone(),
            window,
            networks,
            device,
            post_quantum,
            groups: groups.into_iter().map(|name| name.0).collect(),
            suites: suites.into_iter().map(|name| name.0).collect(),
            tunnel_post_quantum,
            tunnel_suites: tunnel_suites.into_iter().map(|name| name.0).collect(),
        })
    }
}

/// A name as rustls spells it; a typing error would be a condition that never holds.
struct AlgorithmName(String);

impl FromStr for AlgorithmName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("write it as TLS libraries do, such as X25519MLKEM768 or TLS13_AES_256_GCM_SHA384".to_owned())
        }
    }
}

/// A name as the tunnel handshake spells it: key exchange, signatures and cipher.
struct TunnelSuiteName(String);

impl FromStr for TunnelSuiteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !part.is_empty() && part.bytes().all(fits)
        };
        if text.len() <= 128 && text.split('/').count() == 3 && text.split('/').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err("write it as the records do, such as x25519-mlkem768/ed25519-mldsa65/aes256gcm".to_owned())
        }
    }
}

fn is_post_quantum(key: &str, value: Option<&str>, note: &mut impl FnMut(String)) -> bool {
    match value {
        None => false,
        Some("post-quantum") => true,
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            note(format!("{key}: {other:?} must be exactly `post-quantum`"));
            false
        }
    }
}

fn list<T: FromStr>(key: &str, values: Option<Vec<String>>, note: &mut impl FnMut(String)) -> Vec<T>
where
    T::Err: fmt::Display,
{
    let Some(values) = values else { return Vec::new() };
    if values.is_empty() || values.len() > MAX_LIST {
        note(format!("{key}: it holds {} entries; 1 to {MAX_LIST} are possible", values.len()));
        return Vec::new();
    }
    let mut parsed = Vec::with_capacity(values.len());
    for value in values {
        match value.parse() {
            Ok(value) => parsed.push(value),
            Err(error) => note(format!("{key}: {:?}: {error}", value.chars().take(80).collect::<String>())),
        }
    }
    parsed
}

fn place(line: u32) -> Place {
    Place { file: CONDITIONS_FILE.into(), line }
}

fn line_at(text: &str, offset: usize) -> u32 {
    let before = text.get(..offset).unwrap_or_default();
    u32::try_from(before.split('\n').count()).unwrap_or(0)
}

/// The line of `[TABLE.NAME]`, or 0 when it is written in some other way.
pub(in crate::access::policy) fn header_line(text: &str, table: &str, name: &str) -> u32 {
    let is_header = |line: &str| {
        let inner = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next());
        let key = inner.and_then(|inner| inner.trim().strip_prefix(table)).map(str::trim_start);
        key.and_then(|key| key.strip_prefix('.'))
            .is_some_and(|key| key.trim().trim_matches(['"', '\'']) == name)
    };
    (1u32..).zip(text.lines()).find(|(_, line)| is_header(line)).map_or(0, |(number, _)| number)
}
