//! What the records of one group say about the ledger's signing keys.
//!
//! Only three kinds of records matter here: `ledger.created` names the first key, `key.rotated` with the role
//! `ledger` names the next one, `key.delegated` lends signing to a short-lived key. Other records of these
//! kinds (another role, a refused attempt) say nothing about heads.

use jiff::{SignedDuration, Timestamp};

use crate::kind::Kind;
use crate::note::PublicKey;
use crate::record::{Draft, Outcome, Record};

/// How long a key may be lent at most. A longer one would hide that the token is no longer used.
pub const LONGEST_DELEGATION: SignedDuration = SignedDuration::from_hours(24);

/// The role that a rotation or delegation of the ledger's own key names.
pub const LEDGER_ROLE: &str = "ledger";

/// The ledger's key was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The key that signed until now.
    pub old: PublicKey,
    /// The key that signs from the next head on.
    pub new: PublicKey,
}

/// A short-lived key may sign heads in the place of the ledger's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The short-lived key.
    pub key: PublicKey,
    /// The latest time that a record under its heads may have.
    pub not_after: Timestamp,
    /// The most heads that it may sign.
    pub heads: u64,
}

/// What a group's records say about keys.
#[derive(Clone, Debug, Default)]
pub struct News {
    pub(super) began_with: Option<PublicKey>,
    pub(super) rotation: Option<Rotation>,
    pub(super) delegation: Option<Delegation>,
    pub(super) last_time: Option<Timestamp>,
    /// The first thing that no honest writer writes.
    pub(super) fault: Option<&'static str>,
}

impl Rotation {
    /// The record that says so. It must be the last of its group.
    pub fn draft(&self) -> Draft {
        Draft::new(Kind::KeyRotated, Outcome::Success)
            .object("key:ledger")
            .detail("role", LEDGER_ROLE)
            .detail("old", self.old.to_string())
            .detail("new", self.new.to_string())
    }

    fn read(record: &Record) -> Option<Self> {
        Some(Self { old: key(record, "old")?, new: key(record, "new")? })
    }
}

impl Delegation {
    /// The record that says so.
    pub fn draft(&self) -> Draft {
        Draft::new(Kind::KeyDelegated, Outcome::Success)
            .object("key:ledger")
            .detail("role", LEDGER_ROLE)
            .detail("key", self.key.to_string())
            .detail("not_after", crate::record::time_text(self.not_after))
            .detail("heads", self.heads)
    }

    fn read(record: &Record) -> Option<Self> {
        let not_after = record.details.get("not_after")?.as_str()?.parse().ok()?;
        let heads = record.details.get("heads")?.as_u64().filter(|heads| *heads > 0)?;
        Some(Self { key: key(record, "key")?, not_after, heads })
    }
}

impl News {
    /// Takes the next record of the group.
    pub fn read(&mut self, record: &Record) {
        self.last_time = Some(record.time);
        if self.rotation.is_some() {
            self.fault("a record follows in the same group, and a rotation must close its group");
        }
        if record.kind == Kind::LedgerCreated && record.seq.get() == 0 {
            self.began_with = key(record, "key");
        }
        match record.kind {
            Kind::KeyRotated if concerns_ledger(record) => match Rotation::read(record) {
                Some(rotation) => self.rotation = Some(rotation),
                None => self.fault("its rotation does not name the old and the new key"),
            },
            Kind::KeyDelegated if concerns_ledger(record) => self.delegated(record),
            _ => {}
        }
    }

    fn delegated(&mut self, record: &Record) {
        let Some(delegation) = Delegation::read(record) else {
            return self.fault("its delegation does not name a key, an end and a number of heads");
        };
        let life = delegation.not_after.duration_since(record.time);
        if life.is_negative() || life > LONGEST_DELEGATION {
            return self.fault("its delegation is not for 24 hours or less");
        }
        self.delegation = Some(delegation);
    }

    /// The time of the group's last record, for whoever has not read all of them.
    pub fn set_last_time(&mut self, time: Option<Timestamp>) {
        self.last_time = time;
    }

    /// Whether there is anything about keys in it.
    pub fn is_empty(&self) -> bool {
        self.began_with.is_none()
            && self.rotation.is_none()
            && self.delegation.is_none()
            && self.fault.is_none()
    }

    fn fault(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }
}

/// Whether something was really done to the ledger's own key.
fn concerns_ledger(record: &Record) -> bool {
    record.result == Outcome::Success
        && record.details.get("role").and_then(|role| role.as_str()) == Some(LEDGER_ROLE)
}

fn key(record: &Record, name: &str) -> Option<PublicKey> {
    PublicKey::parse(record.details.get(name)?.as_str()?).ok()
}
