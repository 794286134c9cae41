//! What the records of one group say about the ledger's signing keys.
//!
//! Only three kinds of records matter here: `ledger.created` names the first key, `key.rotated` with the role
//! `ledger` (or `ledger-pq`, for cosignatures) names the next one, `key.delegated` lends signing to a short-lived key. Other records of these
//! kinds (another role, a refused attempt) say nothing about heads.

use jiff::{SignedDuration, Timestamp};

use super::cosigners::{COSIGNER_ROLE, CosignerHandovers};
use crate::kind::Kind;
use crate::note::PublicKey;
use crate::record::{Draft, Outcome, Record, RecordView};

use serde_json::{Map, Value};

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
    /// Cosigning keys that took others' places.
    pub(super) cosigners: Vec<super::cosigners::Told>,
    /// A new epoch begins, and records are declared as missing.
    pub(super) resumed: bool,
    /// The key under which it goes on, and behind how many records, if the record of the handover is lost.
    pub(super) goes_on_under: Option<(PublicKey, u64)>,
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

    /// What a record says of the ledger's own key, if that is what it is about.
    pub fn of(record: &Record) -> Option<Self> {
        let about = record.details.get("role").and_then(Value::as_str) == Some(LEDGER_ROLE);
        let done = record.kind == Kind::KeyRotated && record.result == Outcome::Success;
        if about && done { Self::read(&record.details) } else { None }
    }

    fn read(details: &Map<String, Value>) -> Option<Self> {
        Some(Self { old: key(details, "old")?, new: key(details, "new")? })
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

    fn read(details: &Map<String, Value>) -> Option<Self> {
        let text = details.get("not_after")?.as_str()?;
        let not_after: Timestamp = text.parse().ok()?;
        // One spelling, that of a record's time.
        if crate::record::time_text(not_after) != text {
            return None;
        }
        let heads = details.get("heads")?.as_u64().filter(|heads| *heads > 0)?;
        Some(Self { key: key(details, "key")?, not_after, heads })
    }
}

impl News {
    /// Whether these are the bytes of a record that may say something about keys. Cheap for all others.
    pub fn may_be_in(record: &[u8]) -> bool {
        let text = std::str::from_utf8(record).unwrap_or_default();
        text.contains("\"kind\":\"key.") || text.contains("\"kind\":\"ledger.")
    }

    /// Takes the next record of the group.
    pub fn read(&mut self, record: &RecordView<'_>) {
        self.last_time = Some(record.time);
        if self.rotation.is_some() {
            self.fault("a record follows in the same group, and a rotation must close its group");
        }
        match record.kind {
            Kind::LedgerResumed => {
                self.resumed = true;
                let details = record.details();
                self.goes_on_under = key(&details, "key").map(|key| (key, record.seq.get()));
                if details.contains_key("key") && self.goes_on_under.is_none() {
                    self.fault("the key under which it goes on is not one");
                }
            }
            Kind::LedgerCreated if record.seq.get() == 0 => self.began_with = key(&record.details(), "key"),
            Kind::KeyRotated | Kind::KeyDelegated if record.result == Outcome::Success => {
                let details = record.details();
                match details.get("role").and_then(Value::as_str) {
                    Some(LEDGER_ROLE) => self.changed(record, &details),
                    Some(COSIGNER_ROLE) if record.kind == Kind::KeyRotated => {
                        self.cosigners.extend(CosignerHandovers::read(&details, record.seq.next().get()));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Something was really done to the ledger's own key.
    fn changed(&mut self, record: &RecordView<'_>, details: &Map<String, Value>) {
        if record.kind == Kind::KeyRotated {
            match Rotation::read(details) {
                Some(rotation) => self.rotation = Some(rotation),
                None => self.fault("its rotation does not name the old and the new key"),
            }
            return;
        }
        let Some(delegation) = Delegation::read(details) else {
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
            && !self.resumed
            && self.fault.is_none()
    }

    fn fault(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }
}

fn key(details: &Map<String, Value>, name: &str) -> Option<PublicKey> {
    let text = details.get(name)?.as_str()?;
    PublicKey::parse(text).ok().filter(|key| key.to_string() == text)
}
