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

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::kind::Kind;
use crate::record::Seq;

mod resumed;

pub use resumed::{Cause, Resumed};

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

    /// Goes on through segments whose headers alone were looked at; `None` if they cannot be those of this ledger.
    pub fn through<'a>(self, headers: impl IntoIterator<Item = (&'a str, Seq)>) -> Option<Self> {
        let mut epochs = self;
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

    /// Whether these are the bytes of a record that [`Self::loose_record`] must see. Cheap for all others.
    pub fn may_be_in(seq: Seq, record: &[u8]) -> bool {
        seq == Seq::ZERO || memchr::memmem::find(record, b"\"kind\":\"ledger.resumed\"").is_some()
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

#[cfg(test)]
mod tests;
