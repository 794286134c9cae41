//! Which keys there are, and what became of keys in the period.
//!
//! A fold over all records up to the period's end: a gateway records each key that it makes, each that it finds at a start,
//! and each that it replaces or destroys. What a token attests is shown as the token said it, and nothing is filled in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::{Digest, Kind, Personal, Record};
use serde::Serialize;
use serde_json::Value;

use super::{ROWS, text};
use crate::period::Period;
use crate::tally::{Sum, Tally};

/// Keys that are remembered; a ledger has some dozens.
const MOST: usize = 10_000;

/// The keys, as they were last recorded before the period's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Which records it rests on, in words.
    pub query: String,
    /// How many, from where to where.
    #[serde(flatten)]
    pub sum: Sum,
    /// The keys, by role. Destroyed ones are not among them.
    pub keys: Vec<Key>,
    /// How many more there are.
    pub more: u64,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// What it is for.
    pub role: String,
    /// What it computes.
    pub algorithm: String,
    /// SHA-256 over its public key; a sealing key has none, and its id stands here.
    pub name: String,
    /// Where it lives.
    pub home: String,
    /// Whether it can leave, as the token attests it.
    pub extractable: String,
    /// When it was made, as its id tells.
    pub created: Option<String>,
    /// When it is to be replaced.
    pub due: Option<String>,
    /// Whether it is in use.
    pub state: KeyState,
    /// The record that told of it last.
    pub seq: u64,
}

/// Whether a key is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Found at the last start, or put in another's place since.
    InUse,
    /// Made; not yet found at a start or put in another's place.
    Made,
    /// In use before; the last start did not find it.
    NotFound,
}

impl KeyState {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in use",
            Self::Made => "made, waits",
            Self::NotFound => "not found at the last start",
        }
    }
}

/// What became of keys in the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Which records, in words.
    pub query: String,
    /// How many, from where to where.
    #[serde(flatten)]
    pub sum: Sum,
    /// How many keys were replaced.
    pub rotations: u64,
    /// The first of the records.
    pub rows: Vec<Change>,
    /// How many more there are.
    pub more: u64,
}

/// One record about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What happened.
    pub kind: &'static str,
    /// To the key of which role.
    pub role: String,
    /// The key that went, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The key that is meant or that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// By whose order. People are named in the sealed part of the record alone.
    pub by: &'static str,
    /// The record's leaf hash.
    pub leaf: Digest,
}

#[derive(Debug, Default)]
pub(super) struct Gathering {
    keys: BTreeMap<(String, String), Key>,
    beyond: u64,
    known: Tally,
    changed: Tally,
    rotations: u64,
    rows: Vec<Change>,
}

impl Gathering {
    pub(super) fn take(&mut self, record: &Record, leaf: Digest, inside: bool) {
        match record.kind {
            Kind::GatewayStarted => {
                for key in self.keys.values_mut().filter(|key| key.state == KeyState::InUse) {
                    key.state = KeyState::NotFound;
                }
                return;
            }
            Kind::KeyCreated => self.tell(record, KeyState::Made),
            Kind::KeyLoaded => self.tell(record, KeyState::InUse),
            Kind::KeyRotated => self.rotated(record),
            Kind::KeyRetired => self.retired(record),
            Kind::KeyDue => {}
            _ => return,
        }
        // That a key is due changes nothing about it, and is no part of what the time before left behind.
        if record.kind != Kind::KeyDue {
            self.known.take(record, leaf);
        }
        if inside && record.kind != Kind::KeyLoaded {
            self.changed.take(record, leaf);
            self.rotations = self.rotations.saturating_add(u64::from(record.kind == Kind::KeyRotated));
            if self.rows.len() < ROWS {
                self.rows.push(Change::of(record, leaf));
            }
        }
    }

    fn tell(&mut self, record: &Record, state: KeyState) {
        let Some(mut key) = Key::of(record, state) else { return };
        let place = (key.role.clone(), key.name.clone());
        match self.keys.get(&place) {
            // Recorded twice, as after a rotation that was broken off.
            Some(known) if state == KeyState::Made && known.state == KeyState::InUse => {
                key.state = known.state;
            }
            None if self.keys.len() >= MOST => {
                self.beyond = self.beyond.saturating_add(1);
                return;
            }
            _ => {}
        }
        self.keys.insert(place, key);
    }

    /// The identity and the ledger have two keys each; a record of the identity's rotation names both.
    fn rotated(&mut self, record: &Record) {
        for name in ["new", "new_pq"].into_iter().filter_map(|field| text(record, field)) {
            for key in self.keys.values_mut().filter(|key| key.name == name) {
                (key.state, key.seq) = (KeyState::InUse, record.seq.get());
            }
        }
    }

    fn retired(&mut self, record: &Record) {
        let Some(gone) = Key::of(record, KeyState::Made) else { return };
        let role = gone.role.clone();
        self.keys.remove(&(gone.role, gone.name));
        // The ledger's keys are named otherwise in the record that hands over; but nothing is destroyed that nothing follows.
        let mut left = self.keys.values_mut().filter(|key| key.role == role);
        if let (Some(only), None) = (left.next(), left.next()) {
            (only.state, only.seq) = (KeyState::InUse, record.seq.get());
        }
    }

    pub(super) fn finish(self, period: Period) -> (Inventory, Changes) {
        let mut keys: Vec<Key> = self.keys.into_values().collect();
        let more = self.beyond.saturating_add(keys.len().saturating_sub(ROWS) as u64);
        keys.truncate(ROWS);
        let inventory = Inventory {
            query: format!(
                "kind is key.created or key.loaded or key.rotated or key.retired; time is before {}",
                period.to
            ),
            sum: self.known.sum(),
            keys,
            more,
        };
        let sum = self.changed.sum();
        let changes = Changes {
            query: "kind is key.created or key.rotated or key.retired or key.due".to_owned(),
            more: sum.count.saturating_sub(self.rows.len() as u64),
            sum,
            rotations: self.rotations,
            rows: self.rows,
        };
        (inventory, changes)
    }
}

impl Key {
    /// `None` for a record that tells of no key; so was none ever written by a gateway.
    fn of(record: &Record, state: KeyState) -> Option<Self> {
        let owned = |name| text(record, name).map(str::to_owned);
        let home = record.details.get("home");
        Some(Self {
            role: owned("role")?,
            algorithm: owned("algorithm").unwrap_or_else(|| "not told".to_owned()),
            name: owned("fingerprint").or_else(|| owned("id"))?,
            home: home_in_words(home),
            extractable: extractable(home, record.details.get("attestation")),
            created: owned("created"),
            due: owned("due"),
            state,
            seq: record.seq.get(),
        })
    }
}

impl Change {
    fn of(record: &Record, leaf: Digest) -> Self {
        let owned = |name| text(record, name).map(str::to_owned);
        let by = match text(record, "by") {
            Some("operator") => "operator",
            Some("schedule") => "schedule",
            _ if record.personal.contains_key(&Personal::Subject) => "a person, named in the record",
            _ => "not told",
        };
        Self {
            seq: record.seq.get(),
            time: record.time,
            kind: record.kind.as_str(),
            role: owned("role").unwrap_or_else(|| "not told".to_owned()),
            old: owned("old"),
            new: owned("new").or_else(|| owned("fingerprint")).or_else(|| owned("id")),
            by,
            leaf,
        }
    }
}

fn home_in_words(home: Option<&Value>) -> String {
    let part = |name: &str| home.and_then(|home| home.get(name)).and_then(Value::as_str);
    match part("kind") {
        Some("token") => format!(
            "token {} (serial {})",
            part("label").unwrap_or("not told"),
            part("serial").unwrap_or("not told")
        ),
        Some("wrapped-by-token") => "file, sealed by a key in the token".to_owned(),
        Some("software") => "SOFTWARE: sealed file, no token".to_owned(),
        _ => "not told".to_owned(),
    }
}

/// What the token says, and no more.
fn extractable(home: Option<&Value>, attestation: Option<&Value>) -> String {
    let Some(said) = attestation else {
        return match home.and_then(|home| home.get("kind")).and_then(Value::as_str) {
            Some("wrapped-by-token") => "its seed is opened in this host's memory".to_owned(),
            Some("software") => "yes: whoever has file and passphrase has it".to_owned(),
            _ => "not told".to_owned(),
        };
    };
    let says = |name: &str| said.get(name).and_then(Value::as_bool);
    let mut words = match (says("extractable"), says("sensitive")) {
        (Some(false), Some(true)) => "no, as the token attests".to_owned(),
        (Some(true), _) => "YES, as the token attests".to_owned(),
        _ => "the token does not say".to_owned(),
    };
    for (name, yes, no) in
        [("never_extractable", "never was", "was at some time"), ("local", "made in it", "brought into it")]
    {
        words.push_str("; ");
        words.push_str(match says(name) {
            Some(true) => yes,
            Some(false) => no,
            None => "it does not say more",
        });
    }
    words
}
