//! Who may sign the ledger's heads, from the first record to the last.
//!
//! A ledger outlives its keys. So the records themselves say which key signs: record 0 names the first, a
//! rotation the next one, under a head that both have signed, and a delegation lends signing to a
//! short-lived key within bounds. An auditor who knows one of the ledger's own keys can follow the others:
//! forwards, because a head of the known key covers the record that names its successor; backwards, because
//! its heads cover the whole tree, whoever signed before.
//!
//! Pure: records and heads in their order go in, a verdict about each head comes out.
//!
//! Trusted: the keys that are given. Whoever holds a retired key can still make a ledger that ends before
//! the rotation; only a later head, or not giving the retired key any more, tells it from the true one.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::note::{NoteError, PublicKey, SignedNote};
use crate::record::RecordView;

mod cosigners;
mod news;
#[cfg(test)]
mod tests;

pub use cosigners::{COSIGNER_ROLE, CosignerHandover, CosignerHandovers};
pub use news::{Delegation, LEDGER_ROLE, LONGEST_DELEGATION, News, Rotation};

/// What a delegated key's name has behind the name of the key that lends it.
pub const DELEGATE_SUFFIX: &str = "/delegate";

/// A key, and the heads that it may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenure {
    /// The key.
    pub key: PublicKey,
    /// It may sign heads over more than this many records.
    pub after: u64,
    /// And over at most this many; `None` while it is in office.
    pub until: Option<u64>,
}

/// The key that signs at this moment in the place of the ledger's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lent {
    key: PublicKey,
    not_after: Timestamp,
    heads_left: u64,
}

/// How much the ledger's own key signed itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Heads under the ledger's own key.
    pub own: u64,
    /// Heads under delegated keys alone.
    pub delegated: u64,
    /// The most delegated heads in a row.
    pub longest_heads: u64,
    /// The longest time between two heads of the ledger's own key with delegated ones in between, in seconds.
    pub longest_secs: i64,
    /// Delegated heads since the last one of the ledger's own key.
    pub behind: u64,
    last_own: Option<Timestamp>,
}

/// Who signed a head that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The ledger's own key.
    Own,
    /// A delegated key.
    Delegate,
}

/// Follows the ledger's keys from head to head.
#[derive(Clone, Debug)]
pub struct Signers {
    given: Vec<PublicKey>,
    own: Vec<Tenure>,
    lent: Option<Lent>,
    delegates: Vec<Tenure>,
    /// Whether a given key signed a head in its time.
    anchored: bool,
    share: Share,
    cosigners: CosignerHandovers,
}

/// What of the keys is kept between two checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignersState {
    own: Vec<Tenure>,
    lent: Option<Lent>,
    share: Share,
    #[serde(default)]
    cosigners: CosignerHandovers,
}

impl Signers {
    /// Nothing is known but the keys that were given.
    pub fn new(given: &[PublicKey]) -> Self {
        Self {
            given: given.to_vec(),
            own: Vec::new(),
            lent: None,
            delegates: Vec::new(),
            anchored: false,
            share: Share::default(),
            cosigners: CosignerHandovers::default(),
        }
    }

    /// A ledger whose head by `key`, the only one that is known, was checked before.
    pub fn in_office(key: &PublicKey) -> Self {
        let own = vec![Tenure { key: key.clone(), after: 0, until: None }];
        Self { own, anchored: true, ..Self::new(std::slice::from_ref(key)) }
    }

    /// Judges the head over the first `size` records, the last of which brought `news`, and takes the news in
    /// if it is good.
    ///
    /// # Errors
    ///
    /// Why this head must not be believed. It is no error that no given key is among the ledger's own yet:
    /// ask [`Signers::is_anchored`] at the end.
    pub fn head(&mut self, size: u64, note: &SignedNote, news: &News) -> Result<By, Refused> {
        self.judge(size, note, news, SignedNote::verify)
    }

    /// As [`Signers::head`], but only the names of the signers are looked at. For whoever checks the
    /// signature of the last head, which covers all before it.
    ///
    /// # Errors
    ///
    /// As for [`Signers::head`].
    pub fn head_by_name(&mut self, size: u64, note: &SignedNote, news: &News) -> Result<By, Refused> {
        self.judge(size, note, news, |note, key| {
            if note.names(key) { Ok(()) } else { Err(NoteError::OtherKey { signers: note.signers() }) }
        })
    }

    fn judge(
        &mut self,
        size: u64,
        note: &SignedNote,
        news: &News,
        verify: impl Fn(&SignedNote, &PublicKey) -> Result<(), NoteError>,
    ) -> Result<By, Refused> {
        let signed = |key: &PublicKey| match verify(note, key) {
            Ok(()) => Ok(true),
            Err(NoteError::OtherKey { .. }) => Ok(false),
            Err(error) => Err(Refused::Signature(error)),
        };
        // A false line of a known key spoils a note, whoever else signed it.
        for key in &self.given {
            signed(key)?;
        }
        let office = self.office(note, news, &signed)?;
        let by_own = signed(&office)?;
        self.check_news(&office, by_own, news)?;
        if !by_own {
            self.check_delegate(note, news, &signed)?;
        }
        if let Some(rotation) = &news.rotation
            && !signed(&rotation.new)?
        {
            return Err(Refused::RotationHalfSigned { key: name(&rotation.new) });
        }
        Ok(self.take(size, office, by_own, news))
    }

    /// The key in office, or for the first head the one that record 0 names, or else a given one.
    fn office(
        &self,
        note: &SignedNote,
        news: &News,
        signed: &impl Fn(&PublicKey) -> Result<bool, Refused>,
    ) -> Result<PublicKey, Refused> {
        if let Some(tenure) = self.own.last() {
            return Ok(tenure.key.clone());
        }
        for key in news.began_with.iter().chain(&self.given) {
            if signed(key)? {
                return Ok(key.clone());
            }
        }
        Err(Refused::Signature(NoteError::OtherKey { signers: note.signers() }))
    }

    fn check_delegate(
        &self,
        note: &SignedNote,
        news: &News,
        signed: &impl Fn(&PublicKey) -> Result<bool, Refused>,
    ) -> Result<(), Refused> {
        if let Some(lent) = &self.lent
            && signed(&lent.key)?
        {
            let key = name(&lent.key);
            if lent.heads_left == 0 {
                return Err(Refused::Overused { key });
            }
            return match news.last_time {
                Some(time) if time <= lent.not_after => Ok(()),
                _ => Err(Refused::Expired { key, not_after: lent.not_after }),
            };
        }
        let mut former = self.own.iter().chain(&self.delegates).rev();
        if let Some(tenure) = former.find(|tenure| tenure.until.is_some() && note.names(&tenure.key)) {
            let until = tenure.until.unwrap_or_default();
            return Err(Refused::Retired { key: name(&tenure.key), until });
        }
        Err(Refused::Signature(NoteError::OtherKey { signers: note.signers() }))
    }

    fn check_news(&self, office: &PublicKey, by_own: bool, news: &News) -> Result<(), Refused> {
        if let Some(rotation) = &news.rotation {
            if !by_own {
                return Err(Refused::RotationHalfSigned { key: name(office) });
            }
            if rotation.old != *office {
                return Err(Refused::RotationOfAnother { named: name(&rotation.old), office: name(office) });
            }
            if self.own.iter().any(|tenure| tenure.key == rotation.new) || rotation.new == *office {
                return Err(Refused::Reused { key: name(&rotation.new) });
            }
        }
        if news.resumed && !by_own {
            return Err(Refused::ResumedNotOwn);
        }
        match &news.delegation {
            Some(_) if !by_own => Err(Refused::DelegationNotOwn),
            Some(lent) if lent.key.name() != format!("{}{DELEGATE_SUFFIX}", office.name()) => {
                Err(Refused::DelegateName { key: name(&lent.key) })
            }
            _ => news.fault.map_or(Ok(()), |fault| Err(Refused::Fault(fault))),
        }
    }

    /// Takes in a head that was found good.
    fn take(&mut self, size: u64, office: PublicKey, by_own: bool, news: &News) -> By {
        let by = if by_own { By::Own } else { By::Delegate };
        self.anchored |= by_own && self.given.contains(&office);
        if self.own.is_empty() {
            self.own.push(Tenure { key: office, after: 0, until: None });
        }
        self.share.count(by, news.last_time);
        self.cosigners.extend(news.cosigners.iter().cloned());
        if let (By::Delegate, Some(lent)) = (by, &mut self.lent) {
            lent.heads_left = lent.heads_left.saturating_sub(1);
        }
        // Its time is over for good: a clock that is set back afterwards does not bring it back.
        if let (Some(lent), Some(time)) = (&self.lent, news.last_time)
            && time > lent.not_after
        {
            self.end_delegate(size);
        }
        if let Some(delegation) = &news.delegation {
            self.end_delegate(size);
            let Delegation { key, not_after, heads } = delegation.clone();
            self.delegates.push(Tenure { key: key.clone(), after: size, until: None });
            self.lent = Some(Lent { key, not_after, heads_left: heads });
        }
        if let Some(Rotation { new, .. }) = &news.rotation {
            self.end_delegate(size);
            self.anchored |= self.given.contains(new);
            if let Some(tenure) = self.own.last_mut() {
                tenure.until = Some(size);
            }
            // It signed the head over the rotation itself, too.
            self.own.push(Tenure { key: new.clone(), after: size.saturating_sub(1), until: None });
        }
        by
    }

    /// Takes in what a record says about the ledger's own keys when only one head, over it and all that
    /// follow, vouches for it.
    pub fn covered(&mut self, record: &RecordView<'_>) {
        let mut news = News::default();
        news.read(record);
        let size = record.seq.next().get();
        self.cosigners.extend(news.cosigners);
        if let Some(key) = news.began_with {
            self.own = vec![Tenure { key, after: 0, until: None }];
        }
        if let (Some(Rotation { old, new }), Some(tenure)) = (news.rotation, self.own.last_mut())
            && tenure.key == old
        {
            tenure.until = Some(size);
            self.own.push(Tenure { key: new, after: size.saturating_sub(1), until: None });
            self.end_delegate(size);
        }
        // Which heads it signed stands nowhere here; that it was lent to is what makes them heads of this ledger.
        let office = self.own.last().map(|tenure| format!("{}{DELEGATE_SUFFIX}", tenure.key.name()));
        if let Some(Delegation { key, not_after, heads }) = news.delegation
            && office.is_some_and(|name| key.name() == name)
        {
            self.end_delegate(size);
            self.delegates.push(Tenure { key: key.clone(), after: size, until: None });
            self.lent = Some(Lent { key, not_after, heads_left: heads });
        } else if self.lent.as_ref().is_some_and(|lent| record.time > lent.not_after) {
            self.end_delegate(size);
        }
    }

    /// Judges the one head over records that were taken in with [`Signers::covered`]. A given key must have
    /// signed it, and be the one in office: nothing shows that an earlier one agreed.
    ///
    /// # Errors
    ///
    /// Why this head must not be believed.
    pub fn head_over_all(&mut self, note: &SignedNote) -> Result<(), NoteError> {
        let office = self.own.last().map(|tenure| &tenure.key).filter(|key| self.given.contains(key));
        match office {
            Some(key) => note.verify(key).map(|()| self.anchored = true),
            None => note.verify_any(&self.given),
        }
    }

    /// Heads were pruned before the next one: nobody knows any more who signed them. Of a lent key only those
    /// count that are there.
    pub fn after_gap(&mut self) {
        self.share.behind = 0;
        self.share.last_own = None;
    }

    fn end_delegate(&mut self, size: u64) {
        if self.lent.take().is_some()
            && let Some(tenure) = self.delegates.last_mut()
        {
            tenure.until = Some(size);
        }
    }

    /// Checks that a head over `size` records that lies elsewhere is signed by a key that may have signed it,
    /// and by no known key falsely.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn statement(&self, size: u64, note: &SignedNote) -> Result<(), NoteError> {
        self.in_its_time(size, note, self.anchored)
    }

    /// The same, and whether the keys that the ledger names count.
    pub(crate) fn in_its_time(&self, size: u64, note: &SignedNote, named: bool) -> Result<(), NoteError> {
        if self.given.is_empty() {
            return Ok(());
        }
        let in_office =
            |tenure: &&Tenure| size > tenure.after && tenure.until.is_none_or(|until| size <= until);
        let retired = |key: &&PublicKey| {
            let ended = |tenure: &Tenure| tenure.key == **key && !in_office(&tenure);
            self.own.iter().any(ended)
        };
        let mut keys: Vec<_> = self.given.iter().filter(|key| !retired(key)).cloned().collect();
        if named {
            let known = self.own.iter().chain(&self.delegates).filter(in_office);
            keys.extend(known.map(|tenure| tenure.key.clone()));
        }
        if keys.is_empty() {
            return Err(NoteError::OtherKey { signers: note.signers() });
        }
        note.verify_any(&keys)
    }

    /// Whether the time of the last record under this head matters: the own key has not signed it.
    pub fn needs_time(&self, note: &SignedNote) -> bool {
        self.own.last().is_some_and(|tenure| !note.names(&tenure.key))
    }

    /// Whether a given key is among the ledger's own, so that all heads found good are to be believed.
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// The ledger's own keys with the heads that each may sign, oldest first.
    pub fn own(&self) -> &[Tenure] {
        &self.own
    }

    /// The given keys that the ledger has not named.
    pub fn unused(&self) -> impl Iterator<Item = &PublicKey> {
        self.given.iter().filter(|key| self.own.iter().all(|tenure| tenure.key != **key))
    }

    /// How much the ledger's own key signed itself.
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Which cosigning keys the ledger says have taken others' places.
    pub fn cosigners(&self) -> &CosignerHandovers {
        &self.cosigners
    }

    /// What is to be kept for the next check.
    pub fn state(&self) -> SignersState {
        SignersState {
            own: self.own.clone(),
            lent: self.lent.clone(),
            share: self.share.clone(),
            cosigners: self.cosigners.clone(),
        }
    }

    /// Goes on from what an earlier check kept, over `size` records.
    pub fn resume(given: &[PublicKey], state: &SignersState, size: u64) -> Self {
        let SignersState { own, lent, share, cosigners } = state.clone();
        let anchored = own.iter().any(|tenure| given.contains(&tenure.key));
        let delegates = lent
            .iter()
            // Nobody asks for heads older than those that were checked.
            .map(|lent| Tenure { key: lent.key.clone(), after: size.saturating_sub(1), until: None })
            .collect();
        Self { given: given.to_vec(), own, lent, delegates, anchored, share, cosigners }
    }
}

impl Share {
    fn count(&mut self, by: By, time: Option<Timestamp>) {
        let since = match (self.last_own, time) {
            (Some(before), Some(now)) => now.duration_since(before),
            _ => SignedDuration::ZERO,
        };
        match by {
            By::Own => {
                self.own += 1;
                if self.behind > 0 {
                    self.longest_secs = self.longest_secs.max(since.as_secs());
                }
                self.behind = 0;
                self.last_own = time.or(self.last_own);
            }
            By::Delegate => {
                self.delegated += 1;
                self.behind += 1;
                self.longest_heads = self.longest_heads.max(self.behind);
                self.longest_secs = self.longest_secs.max(since.as_secs());
            }
        }
    }
}

impl fmt::Display for Share {
    /// A sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, delegated, longest_heads, longest_secs, behind, .. } = self;
        let all = own + delegated;
        let percent = own.saturating_mul(100) / all.max(1);
        write!(
            f,
            "The ledger's own key signed {own} of {all} heads itself ({percent} %), delegated keys the others: at \
             most {longest_heads} in a row, over at most {longest_secs} s"
        )?;
        if *behind > 0 { write!(f, "; the last {behind} are delegated.") } else { f.write_str(".") }
    }
}

/// A key in sentences: name and hash.
fn name(key: &PublicKey) -> String {
    format!("{}+{}", key.name(), const_hex::encode(key.id()))
}

/// Why a head is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not by a key that may sign, or falsely.
    #[error("{0}")]
    Signature(#[from] NoteError),
    /// By a key that was replaced.
    #[error("it is signed by {key}, which was retired after {until} records")]
    Retired {
        /// Name and hash.
        key: String,
        /// How many records there were.
        until: u64,
    },
    /// A rotation needs both hands.
    #[error("it replaces the ledger's key, and {key} has not signed it: the old and the new key both must")]
    RotationHalfSigned {
        /// Name and hash.
        key: String,
    },
    /// The rotation is not about the key in office.
    #[error("it replaces {named}, but the ledger's key is {office}")]
    RotationOfAnother {
        /// Name and hash.
        named: String,
        /// Name and hash.
        office: String,
    },
    /// A key comes back.
    #[error("it makes {key} the ledger's key again: a key has one term of office")]
    Reused {
        /// Name and hash.
        key: String,
    },
    /// A delegated key lends on.
    #[error("it delegates signing, and the ledger's own key has not signed it")]
    DelegationNotOwn,
    /// A delegated key declares records as missing.
    #[error("it begins a new epoch, and the ledger's own key has not signed it")]
    ResumedNotOwn,
    /// A delegated key must be recognised by its name.
    #[error(
        "it delegates signing to {key}, whose name is not the ledger key's with `{DELEGATE_SUFFIX}` behind it"
    )]
    DelegateName {
        /// Name and hash.
        key: String,
    },
    /// After the end of a delegation.
    #[error("it is signed by the delegated key {key} after its end at {not_after}")]
    Expired {
        /// Name and hash.
        key: String,
        /// The end.
        not_after: Timestamp,
    },
    /// More heads than were allowed.
    #[error("it is one head more than the delegated key {key} may sign")]
    Overused {
        /// Name and hash.
        key: String,
    },
    /// A record about keys that no honest writer writes.
    #[error("{0}")]
    Fault(&'static str),
}
