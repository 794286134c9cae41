//! What a lock can be on: a person, everyone of a role, one device, one tunnel, or a whole tenant.
//!
//! A lock on a person, a role or a device says who may not: they are nobody to the gateway while it holds. A lock on a
//! tunnel or a tenant says what may not be used: whoever runs the gateway can still look into it, and lift the lock.
//!
//! Promised: each has one spelling, so that a lock and what lifts it can't miss each other.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::device::DeviceId;
use super::names::{NameError, Principal, Role, Subject, Tenant};
use super::object::Object;

const LOCK_RULE: &str = "write `user:NAME`, `role:NAME`, `device:dev-…`, `tunnel:NAME` or `tenant:NAME`";

/// What a lock is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockTarget {
    /// One person.
    Person(Subject),
    /// Everyone who has the role.
    Role(Role),
    /// One device.
    Device(DeviceId),
    /// One tunnel; never a part of the gateway.
    Tunnel(Object),
    /// All tunnels of a tenant; the gateway itself can still be run.
    Tenant(Tenant),
}

impl LockTarget {
    /// The person, if it is one: what a record may not name in plain.
    pub fn person(&self) -> Option<&Subject> {
        if let Self::Person(person) = self { Some(person) } else { None }
    }
}

impl FromStr for LockTarget {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("user", _)) => text.parse().map(Self::Person),
            Some(("role", _)) => text.parse().map(Self::Role),
            Some(("device", id)) => id.parse().map(Self::Device),
            Some(("tunnel", name)) => Object::tunnel(name).map(Self::Tunnel),
            Some(("tenant", name)) => name.parse().map(Self::Tenant),
            _ => Err(NameError::new(text, "what a lock can be on", LOCK_RULE)),
        }
    }
}

impl fmt::Display for LockTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(person) => write!(f, "{person}"),
            Self::Role(role) => write!(f, "{role}"),
            Self::Device(device) => write!(f, "device:{device}"),
            Self::Tunnel(tunnel) => write!(f, "{tunnel}"),
            Self::Tenant(tenant) => write!(f, "tenant:{tenant}"),
        }
    }
}

impl Serialize for LockTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<Subject> for LockTarget {
    fn from(person: Subject) -> Self {
        Self::Person(person)
    }
}

impl From<Role> for LockTarget {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

impl From<Principal> for LockTarget {
    fn from(principal: Principal) -> Self {
        match principal {
            Principal::Person(person) => Self::Person(person),
            Principal::Role(role) => Self::Role(role),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lock_is_on_has_one_spelling_and_is_read_back_as_shown() {
        let device = format!("device:dev-{}", "0a".repeat(16));
        for text in ["user:alice", "role:visitor", device.as_str(), "tunnel:demo", "tenant:main"] {
            assert_eq!(text.parse::<LockTarget>().unwrap().to_string(), text);
        }
        for bad in [
            "alice",
            "user:",
            "tenant:Main",
            "tunnel:*",
            "gateway:tokens",
            "device:demo",
            "dev-00",
            "tunnel:a.b",
            "user:alice ",
            "",
        ] {
            assert!(bad.parse::<LockTarget>().is_err(), "{bad:?}");
        }
    }
}
