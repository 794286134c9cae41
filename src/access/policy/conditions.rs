//! Named conditions: under which circumstances a rule speaks.
//!
//! A row stays readable if it names its conditions instead of spelling them out. `conditions.toml` says what each name
//! means: a window of time, networks, a device, a transport, a tunnel's own handshake. All that one condition asks for must hold together. The
//! last field of a row joins names by `+`; `!` before a name turns it round.
//!
//! casbin never sees a condition: it says which rows match, which doesn't change with time, and the guard then looks
//! at the circumstances afresh for every decision. What can't be told never helps anybody: an allow rule doesn't speak
//! then, and a deny rule does.

mod file;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::faults::Place;
use super::window::Window;
use crate::access::device::DeviceId;
use crate::access::names::{NameError, is_label};
use crate::access::transport::TunnelFacts;

pub(super) use file::{header_line, parse};

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

/// Reads a file and holds what it says against some moments; for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(in crate::access) fn exercise(text: &str) {
    let mut faults = super::faults::PolicyFaults::default();
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
