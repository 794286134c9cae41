//! Named conditions: under which circumstances a rule speaks.
//!
//! A row stays readable if it names its conditions instead of spelling them out. `conditions.toml` says what each name
//! means: a window of time, networks, a device, a transport, a tunnel's own handshake. All that one condition asks for must hold together. The
//! last field of a row joins names by `+`; `!` before a name turns it round.
//!
//! casbin never sees a condition: it says which rows match, which doesn't change with time, and the guard then looks
//! at the circumstances afresh for every decision. What can't be told never helps anybody: an allow rule doesn't speak
//! then, and a deny rule does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::faults::{Place, PolicyFaults};
use super::window::{RawWindow, Window};
use crate::access::device::DeviceId;
use crate::access::names::{NameError, is_label};
use crate::access::transport::TunnelFacts;

/// Name of the file in the policy directory; a policy without conditions needs none.
pub const CONDITIONS_FILE: &str = "conditions.toml";
/// Most conditions in the file.
pub const MAX_CONDITIONS: usize = 1_000;
/// Most networks, devices, suites or groups in one condition.
pub const MAX_LIST: usize = 256;
/// Most conditions of one row.
pub const MAX_OF_RULE: usize = 8;

/// The name of a condition: 1 to 63 of a-z 0-9 -.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConditionName(Arc<str>);

impl ConditionName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConditionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) {
            Ok(Self(text.into()))
        } else {
            let rule = "it is 1 to 63 of a-z 0-9 - and begins and ends with a letter or a digit";
            Err(NameError::new(text, "a condition's name", rule))
        }
    }
}

impl fmt::Display for ConditionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ConditionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A condition as a row names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// Which.
    pub name: ConditionName,
    /// Whether it must not hold.
    pub turned: bool,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.turned { "!" } else { "" }, self.name)
    }
}

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Wanted {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('!') {
            Some(name) => Ok(Self { name: name.parse()?, turned: true }),
            None => Ok(Self { name: text.parse()?, turned: false }),
        }
    }
}

/// What TLS agreed with the visitor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transport {
    /// The key exchange, as rustls names it: `X25519MLKEM768`.
    pub group: Arc<str>,
    /// The cipher suite, as rustls names it: `TLS13_AES_256_GCM_SHA384`.
    pub suite: Arc<str>,
}

impl Transport {
    /// Whether the key exchange holds against a quantum computer, too.
    pub fn is_post_quantum(&self) -> bool {
        self.group.to_ascii_uppercase().contains("MLKEM")
    }
}

/// What the handshake of the tunnel agreed that is used, or is to be published.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Through {
    /// The suite's name: `x25519-mlkem768/ed25519-mldsa65/aes256gcm`.
    pub suite: Arc<str>,
    /// Whether its bytes hold against a quantum computer on the whole way between gateway and publisher.
    pub post_quantum: bool,
}

impl Through {
    /// A tunnel of this suite, for questions about what would be: that its way holds is taken from the suite's name.
    pub fn of_suite(suite: &str) -> Self {
        Self { suite: suite.into(), post_quantum: suite.contains("mlkem") }
    }
}

impl From<TunnelFacts> for Through {
    fn from(facts: TunnelFacts) -> Self {
        Self { suite: facts.suite.into(), post_quantum: facts.post_quantum }
    }
}

/// What a condition is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The time.
    pub now: Timestamp,
    /// Where the visitor comes from, if that is known.
    pub source: Option<IpAddr>,
    /// The device whose keys proved who the visitor is; `None`: no device did.
    pub device: Option<DeviceId>,
    /// What TLS agreed, if that is known.
    pub transport: Option<Transport>,
    /// What the tunnel's own handshake agreed, if a tunnel is meant and it is there.
    pub tunnel: Option<Through>,
}

impl Circumstances {
    /// At this time, from nowhere that is known.
    pub fn at(now: Timestamp) -> Self {
        Self { now, source: None, device: None, transport: None, tunnel: None }
    }
}

/// Whether something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    Holds,
    /// It doesn't, and why not.
    Fails(String),
    /// It can't be told, and why not.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DeviceNeed {
    Enrolled,
    OneOf(BTreeSet<DeviceId>),
}

/// One condition; all of its parts must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its name.
    pub name: ConditionName,
    /// One line for people.
    pub description: String,
    /// Where it stands.
    pub place: Place,
    window: Option<Window>,
    networks: Vec<IpNet>,
    device: Option<DeviceNeed>,
    post_quantum: bool,
    groups: BTreeSet<String>,
    suites: BTreeSet<String>,
    tunnel_post_quantum: bool,
    tunnel_suites: BTreeSet<String>,
}

impl Condition {
    /// Whether it holds. Pure.
    pub fn holds(&self, at: &Circumstances) -> Truth {
        let parts = [
            self.time_holds(at),
            self.network_holds(at),
            self.device_holds(at),
            self.transport_holds(at),
            self.tunnel_holds(at),
        ];
        // What certainly fails outweighs what can't be told.
        let mut unknown = None;
        for part in parts {
            match part {
                Truth::Fails(_) => return part,
                Truth::Unknown(_) => unknown = unknown.or(Some(part)),
                Truth::Holds => {}
            }
        }
        unknown.unwrap_or(Truth::Holds)
    }

    /// When time next changes the answer; `None` if it doesn't.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.window.as_ref().and_then(|window| window.next_change(now))
    }

    /// Whether time has a say.
    pub fn is_timed(&self) -> bool {
        self.window.is_some()
    }

    /// Whether it asks which device proved who somebody is.
    pub fn asks_device(&self) -> bool {
        self.device.is_some()
    }

    /// Whether it asks what the tunnel's own handshake agreed.
    pub fn asks_tunnel(&self) -> bool {
        self.tunnel_post_quantum || !self.tunnel_suites.is_empty()
    }

    /// Whether its time is over for good.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.window.as_ref().is_some_and(|window| window.is_over(now))
    }

    /// What it asks for, without where it stands and how it is described: equal if it means the same.
    pub(super) fn meaning(&self) -> Self {
        let place = Place { file: CONDITIONS_FILE.into(), line: 0 };
        Self { description: String::new(), place, ..self.clone() }
    }

    fn time_holds(&self, at: &Circumstances) -> Truth {
        match &self.window {
            Some(window) if !window.contains(at.now) => Truth::Fails(window.miss(at.now)),
            _ => Truth::Holds,
        }
    }

    fn network_holds(&self, at: &Circumstances) -> Truth {
        if self.networks.is_empty() {
            return Truth::Holds;
        }
        let Some(source) = at.source else {
            return Truth::Unknown("the source address isn't known".to_owned());
        };
        // An IPv4 visitor on a socket for both families is still an IPv4 visitor.
        let source = source.to_canonical();
        if self.networks.iter().any(|network| network.contains(&source)) {
            Truth::Holds
        } else {
            Truth::Fails(format!("{source} is in none of its networks"))
        }
    }

    fn device_holds(&self, at: &Circumstances) -> Truth {
        match (&self.device, at.device) {
            (None, _) | (Some(DeviceNeed::Enrolled), Some(_)) => Truth::Holds,
            (Some(DeviceNeed::OneOf(devices)), Some(device)) if devices.contains(&device) => Truth::Holds,
            (Some(_), None) => Truth::Fails("no enrolled device showed its keys".to_owned()),
            (Some(_), Some(device)) => Truth::Fails(format!("{device} is none of its devices")),
        }
    }

    fn transport_holds(&self, at: &Circumstances) -> Truth {
        if !self.post_quantum && self.groups.is_empty() && self.suites.is_empty() {
            return Truth::Holds;
        }
        let Some(transport) = &at.transport else {
            return Truth::Unknown("what TLS agreed isn't known".to_owned());
        };
        if self.post_quantum && !transport.is_post_quantum() {
            return Truth::Fails(format!("the key exchange {} isn't post-quantum", transport.group));
        }
        if !self.groups.is_empty() && !self.groups.contains(&*transport.group) {
            return Truth::Fails(format!("the key exchange {} isn't one of its", transport.group));
        }
        if !self.suites.is_empty() && !self.suites.contains(&*transport.suite) {
            return Truth::Fails(format!("the cipher suite {} isn't one of its", transport.suite));
        }
        Truth::Holds
    }

    fn tunnel_holds(&self, at: &Circumstances) -> Truth {
        if !self.asks_tunnel() {
            return Truth::Holds;
        }
        let Some(tunnel) = &at.tunnel else {
            return Truth::Unknown("what the tunnel's handshake agreed isn't known".to_owned());
        };
        if self.tunnel_post_quantum && !tunnel.post_quantum {
            return Truth::Fails("the way between gateway and publisher isn't post-quantum".to_owned());
        }
        if !self.tunnel_suites.is_empty() && !self.tunnel_suites.contains(&*tunnel.suite) {
            return Truth::Fails(format!("the tunnel's suite {} isn't one of its", tunnel.suite));
        }
        Truth::Holds
    }
}

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
pub(super) fn parse(text: &str, faults: &mut PolicyFaults) -> BTreeMap<ConditionName, Arc<Condition>> {
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
pub(super) fn header_line(text: &str, table: &str, name: &str) -> u32 {
    let is_header = |line: &str| {
        let inner = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next());
        let key = inner.and_then(|inner| inner.trim().strip_prefix(table)).map(str::trim_start);
        key.and_then(|key| key.strip_prefix('.'))
            .is_some_and(|key| key.trim().trim_matches(['"', '\'']) == name)
    };
    (1u32..).zip(text.lines()).find(|(_, line)| is_header(line)).map_or(0, |(number, _)| number)
}

/// Reads a file and holds what it says against some moments; for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(in crate::access) fn exercise(text: &str) {
    let mut faults = PolicyFaults::default();
    for condition in parse(text, &mut faults).values() {
        for second in [0, 1_796_083_200, 1_792_891_800, -2_000_000_000] {
            let Ok(now) = Timestamp::from_second(second) else { continue };
            let _either = condition.holds(&Circumstances::at(now));
            let _some = condition.next_change(now);
        }
    }
}

#[cfg(test)]
mod tests;
