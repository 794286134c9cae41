//! What the record says with which an epoch begins: the declared gap.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{name, split};
use crate::checkpoint::Checkpoint;
use crate::kind::Kind;
use crate::note::{PublicKey, SignedNote};
use crate::record::{Draft, Outcome, Record};

/// Why a new epoch was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A head is known over more records than there are.
    EndMissing,
    /// A piece of the journal is damaged or missing, and what follows it hangs in the air.
    Damaged,
    /// The head file was lost, so nobody can tell whether the end is missing.
    HeadLost,
    /// A signed head is known which tells of another history.
    Forked,
    /// The operator put back an older copy.
    Restored,
}

impl Cause {
    const ALL: [Self; 5] = [Self::EndMissing, Self::Damaged, Self::HeadLost, Self::Forked, Self::Restored];

    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndMissing => "end-missing",
            Self::Damaged => "damaged",
            Self::HeadLost => "head-lost",
            Self::Forked => "forked",
            Self::Restored => "restored",
        }
    }

    /// Reads the word of a record.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    /// What it means, in words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::EndMissing => "a signed head is known over more records than there were",
            Self::Damaged => "a piece of the journal was damaged or missing",
            Self::HeadLost => "the head file was lost, so nobody can tell whether the end is missing",
            Self::Forked => "a signed head is known that tells of another history",
            Self::Restored => "an older copy was put back",
        }
    }
}

/// What `ledger.resumed` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resumed {
    /// The number of the epoch that begins.
    pub epoch: u64,
    /// The ledger's name from here on.
    pub origin: String,
    /// Its name in the epoch before.
    pub origin_before: String,
    /// Why.
    pub cause: Cause,
    /// The first record that is missing; everything before it was kept.
    pub first: u64,
    /// How many are known to be missing; there may have been more.
    pub at_least: u64,
    /// The largest head that is known of what was lost, as a signed note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_head: Option<String>,
    /// Where what was damaged or surplus lies now, below the ledger's directory.
    pub set_aside: String,
    /// Whether the operator keeps the tokens that were issued before.
    pub tokens_kept: bool,
    /// The ledger's key from here on, if it was replaced and the record of that is among the lost ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
}

impl Resumed {
    /// The record to be written.
    pub fn draft(&self) -> Draft {
        let draft = Draft::new(Kind::LedgerResumed, Outcome::Success)
            .detail("epoch", self.epoch)
            .detail("origin", self.origin.as_str())
            .detail("origin_before", self.origin_before.as_str())
            .detail("cause", self.cause.as_str())
            .detail("missing", serde_json::json!({ "at_least": self.at_least, "first": self.first }))
            .detail("set_aside", self.set_aside.as_str())
            .detail("tokens", if self.tokens_kept { "kept" } else { "ended" });
        let draft = match &self.lost_head {
            Some(note) => draft.detail("lost_head", note.as_str()),
            None => draft,
        };
        match &self.key {
            Some(key) => draft.detail("key", key.to_string()),
            None => draft,
        }
    }

    /// Reads a record of kind `ledger.resumed`.
    pub fn of(record: &Record) -> Option<Self> {
        (record.kind == Kind::LedgerResumed).then(|| Self::read(&record.details)).flatten()
    }

    /// Reads the details of such a record.
    pub fn read(details: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| details.get(key)?.as_str().map(str::to_owned);
        let missing = |key: &str| details.get("missing")?.get(key)?.as_u64();
        Some(Self {
            epoch: details.get("epoch")?.as_u64()?,
            origin: text("origin")?,
            origin_before: text("origin_before")?,
            cause: Cause::parse(&text("cause")?)?,
            first: missing("first")?,
            at_least: missing("at_least")?,
            lost_head: match details.get("lost_head") {
                None => None,
                Some(Value::String(note)) => Some(note.clone()),
                Some(_) => return None,
            },
            set_aside: text("set_aside")?,
            tokens_kept: match text("tokens")?.as_str() {
                "kept" => true,
                "ended" => false,
                _ => return None,
            },
            key: match details.get("key") {
                None => None,
                Some(Value::String(text)) => {
                    Some(PublicKey::parse(text).ok().filter(|key| key.to_string() == *text)?)
                }
                Some(_) => return None,
            },
        })
    }

    /// The head that was lost, if one is known.
    pub fn lost(&self) -> Option<(Checkpoint, SignedNote)> {
        self.lost_head.as_deref().and_then(|note| Checkpoint::from_note(note).ok())
    }

    /// Whether it can begin an epoch at record `first`, after `current`.
    pub(super) fn fits(&self, first: u64, current: &str) -> Result<(), String> {
        let ((base, before), (_, now)) = (split(&self.origin_before), split(current));
        if base != split(current).0 || self.origin != name(base, self.epoch) {
            return Err(format!("it goes from {:?} to {:?}", self.origin_before, self.origin));
        }
        if before.checked_add(1) != Some(self.epoch) || before < now {
            return Err(format!("it begins epoch {} after epoch {before}, within epoch {now}", self.epoch));
        }
        if self.first != first {
            return Err(format!("it says that record {} is the first that is missing", self.first));
        }
        let lost = self.lost();
        if self.lost_head.is_some() && lost.is_none() {
            return Err("the lost head that it names cannot be read".to_owned());
        }
        let size = lost.as_ref().map_or(0, |(head, _)| head.size);
        if self.at_least != size.saturating_sub(self.first) {
            return Err(
                "the lost head that it names does not fit the range that it says is missing".to_owned()
            );
        }
        match &lost {
            Some((head, _)) if head.origin != self.origin_before => {
                Err(format!("the lost head that it names is of {:?}", head.origin))
            }
            // Whoever skips an epoch has to show that there was one.
            None if before > now => Err(format!("it skips from epoch {now} to epoch {}", self.epoch)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Resumed {
    /// The declared gap, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch {} begins after a declared gap ({}): ", self.epoch, self.cause.meaning())?;
        match self.at_least {
            0 => write!(f, "an unknown number of records from {} on may be missing", self.first),
            1 => write!(f, "record {} is missing, and perhaps more after it", self.first),
            n => write!(
                f,
                "records {} to {} are missing, and perhaps more after them",
                self.first,
                self.first.saturating_add(n - 1)
            ),
        }?;
        match &self.key {
            Some(key) => write!(
                f,
                "; the record that made {}+{} the ledger's key is among them, and nothing but its own heads vouches for that key",
                key.name(),
                const_hex::encode(key.id())
            ),
            None => Ok(()),
        }
    }
}
