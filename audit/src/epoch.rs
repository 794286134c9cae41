//! Epochs: how a ledger goes on after some of it was lost, without a fork.
//!
//! A ledger from whose end records are missing must not simply go on: witnesses and auditors have seen heads over
//! what is lost, and a second history under the same name looks like a forgery, because it is made like one. So
//! it goes on under a new name, `ORIGIN#2` and then `#3` and so on: same tree, same numbers, another log for
//! everybody who watches. Its first record, `ledger.resumed`, says what is missing and which later head is known.
//!
//! Promised: a change of origin is found wherever it was not declared by such a record in its right place; so is
//! a declaration that contradicts what it stands on. Not promised: that a declaration is true. It is the
//! operator's word, under the ledger's signature, and an auditor has to accept it.
//!
//! Start with [`Epochs`], which both the verifier and the gateway move along the journal.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::kind::Kind;
use crate::note::SignedNote;
use crate::record::{Draft, Outcome, Record, Seq};

/// The ledger's name in its first epoch, and the number of the epoch that `origin` names.
pub fn split(origin: &str) -> (&str, u64) {
    let named = origin.rsplit_once('#').and_then(|(base, digits)| {
        let number: u64 = digits.parse().ok()?;
        (number >= 2 && number.to_string() == digits).then_some((base, number))
    });
    named.unwrap_or((origin, 1))
}

/// The ledger's name in epoch `number`.
pub fn name(base: &str, number: u64) -> String {
    if number <= 1 { base.to_owned() } else { format!("{base}#{number}") }
}

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
        match &self.lost_head {
            Some(note) => draft.detail("lost_head", note.as_str()),
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
        })
    }

    /// The head that was lost, if one is known.
    pub fn lost(&self) -> Option<(Checkpoint, SignedNote)> {
        self.lost_head.as_deref().and_then(|note| Checkpoint::from_note(note).ok())
    }

    /// Whether it can begin an epoch at record `first`, after `current`.
    fn fits(&self, first: u64, current: &str) -> Result<(), String> {
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

/// One epoch of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u64,
    /// The ledger's name in it.
    pub origin: String,
    /// The first record under this name.
    pub start: u64,
    /// What was declared when it began; `None` for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// The leaf hash of the record that declared it, if that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<Digest>,
}

impl Epoch {
    /// What an auditor accepts: `N:FIRST:LEAFHASH` of the declaring record. The hash stands for all that it says, and,
    /// by its link, for all declarations before it; the number alone would stand for any that somebody may write.
    pub fn declaration(&self) -> Option<String> {
        let (resumed, leaf) = (self.resumed.as_ref()?, self.leaf.as_ref()?);
        Some(format!("{}:{}:{leaf}", self.number, resumed.first))
    }

    /// How many records of earlier epochs stand before it.
    pub fn kept(&self) -> u64 {
        self.resumed.as_ref().map_or(0, |resumed| resumed.first)
    }
}

/// The epochs of a ledger, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    list: Vec<Epoch>,
    /// A segment has begun under this name; its first record must declare it.
    announced: Option<String>,
}

impl Epochs {
    /// Goes on behind epochs that were read earlier.
    pub fn resume(list: Vec<Epoch>) -> Self {
        Self { list, announced: None }
    }

    /// The epochs of a journal whose headers alone were looked at; `None` if they cannot be those of one ledger.
    pub fn through<'a>(headers: impl IntoIterator<Item = (&'a str, Seq)>) -> Option<Self> {
        let mut epochs = Self::default();
        for (origin, first) in headers {
            let (base, number) = split(origin);
            match epochs.list.last() {
                Some(last) if last.origin == origin => continue,
                Some(last) if split(&last.origin).0 != base || last.number >= number => return None,
                _ => {}
            }
            epochs.list.push(Epoch {
                number,
                origin: origin.to_owned(),
                start: first.get(),
                resumed: None,
                leaf: None,
            });
        }
        Some(epochs)
    }

    /// All of them, in order.
    pub fn all(&self) -> &[Epoch] {
        &self.list
    }

    /// The ledger's name where it was read to.
    pub fn origin(&self) -> Option<&str> {
        self.list.last().map(|epoch| epoch.origin.as_str())
    }

    /// A name under which a segment has begun that no record declares yet.
    pub fn announced(&self) -> Option<&str> {
        self.announced.as_deref()
    }

    /// The epoch of the head over `size` records.
    pub fn at(&self, size: u64) -> Option<&Epoch> {
        self.list.iter().rev().find(|epoch| epoch.start < size).or(self.list.first())
    }

    /// Takes the origin in the header of a segment that begins with record `next`.
    pub fn header(&mut self, origin: &str, next: Seq) -> Result<(), String> {
        let Some(current) = self.origin() else {
            self.list.push(Epoch {
                number: split(origin).1,
                origin: origin.to_owned(),
                start: next.get(),
                resumed: None,
                leaf: None,
            });
            return Ok(());
        };
        if let Some(announced) = &self.announced {
            return Err(format!("the segment before it begins {announced:?} and has no record"));
        }
        if origin == current {
            return Ok(());
        }
        let ((base, number), (known, now)) = (split(origin), split(current));
        if base != known || number <= now {
            return Err(foreign(origin, current));
        }
        self.announced = Some(origin.to_owned());
        Ok(())
    }

    /// Whether [`Self::record`] must see the record `seq` although it may be of any kind.
    pub fn awaits(&self, seq: Seq) -> bool {
        let undeclared = self.list.first().is_some_and(|first| first.number > 1 && first.resumed.is_none());
        self.announced.is_some() || (undeclared && seq == Seq::new(1))
    }

    /// Takes a record in its right place; what is no declaration where none is due changes nothing. `details` are
    /// asked for only if it is one.
    pub fn record(
        &mut self,
        seq: Seq,
        kind: Kind,
        details: impl FnOnce() -> Map<String, Value>,
    ) -> Result<(), String> {
        let due = self.awaits(seq);
        if kind != Kind::LedgerResumed {
            return if due { Err(self.undeclared()) } else { Ok(()) };
        }
        let resumed = Resumed::read(&details()).ok_or("it does not say what a resumed ledger must say")?;
        let Some(current) = self.list.last_mut() else {
            return Err("nothing stands before it".to_owned());
        };
        if let Some(announced) = self.announced.take() {
            resumed.fits(seq.get(), &current.origin)?;
            if resumed.origin != announced {
                return Err(format!("it stands in a segment of {announced:?}"));
            }
            let (number, start) = (resumed.epoch, seq.get());
            self.list.push(Epoch { number, origin: announced, start, resumed: Some(resumed), leaf: None });
        } else if due {
            // Nothing at all was kept: a new beginning, which still says that it is none.
            if resumed.origin != current.origin {
                return Err(format!("it stands in a ledger of {:?}", current.origin));
            }
            resumed.fits(0, &resumed.origin_before)?;
            current.resumed = Some(resumed);
        } else {
            return Err("no new epoch begins there".to_owned());
        }
        Ok(())
    }

    /// Takes a record that stands in no segment, as in tiles: there every declaration begins its epoch, and record 0
    /// says the first origin.
    pub fn loose_record(
        &mut self,
        seq: Seq,
        kind: Kind,
        details: impl FnOnce() -> Map<String, Value>,
    ) -> Result<(), String> {
        if seq != Seq::ZERO && kind != Kind::LedgerResumed {
            return self.record(seq, kind, details);
        }
        let details = details();
        let begins = (seq == Seq::ZERO || kind == Kind::LedgerResumed) && !self.awaits(seq);
        if let Some(origin) = details.get("origin").and_then(Value::as_str).filter(|_| begins) {
            self.header(origin, seq)?;
        }
        self.record(seq, kind, || details)
    }

    /// Takes the leaf hash of the declaration that was just read.
    pub fn declared_by(&mut self, leaf: Digest) {
        if let Some(epoch) = self.list.last_mut() {
            epoch.leaf = Some(leaf);
        }
    }

    /// Records that stand in no segment end here: an epoch that they begin must have been declared among them.
    pub fn end_of_loose(&self) -> Result<(), String> {
        match self.list.first() {
            Some(first) if first.number > 1 && first.resumed.is_none() => Err(self.undeclared()),
            _ => Ok(()),
        }
    }

    /// Takes the origin of the head over a group.
    pub fn head(&self, origin: &str) -> Result<(), String> {
        match self.origin() {
            Some(current) if current != origin => Err(foreign(origin, current)),
            _ => Ok(()),
        }
    }

    fn undeclared(&self) -> String {
        let origin = self.announced.as_deref().or(self.origin()).unwrap_or_default();
        format!("the ledger goes on as {origin:?}, and no record declares that")
    }
}

fn foreign(origin: &str, known: &str) -> String {
    format!("it belongs to the ledger {origin:?}, and those before it to {known:?}")
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
        }
    }
}

#[cfg(test)]
mod tests;
