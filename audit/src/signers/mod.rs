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

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::note::{NoteError, PublicKey, SignedNote};

mod cosigners;
mod covered;
mod news;
mod refused;
mod share;
#[cfg(test)]
mod tests;

pub use cosigners::{COSIGNER_ROLE, CosignerHandover, CosignerHandovers};
pub use news::{Delegation, LEDGER_ROLE, LONGEST_DELEGATION, News, Rotation};
pub use refused::Refused;
use refused::name;
pub use share::Share;

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

/// Who signed a head that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The ledger's own key.
    Own,
    /// A delegated key.
    Delegate,
    /// A key that the records which were read do not name.
    Unread,
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
    /// Whether the records before the first head were not read.
    unread: bool,
    /// So many of the ledger's own keys stand before a handover whose record is lost: they vouch for none behind it.
    unvouched: usize,
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
    unvouched: usize,
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
            unread: false,
            unvouched: 0,
            share: Share::default(),
            cosigners: CosignerHandovers::default(),
        }
    }

    /// A ledger of which `key` signs the end, read from a later record on: keys that were replaced by it or lent to
    /// before that record are not known. Their heads stand under the root of the end, whoever signed them.
    ///
    /// Whoever reads so must check the signature of the last head, as [`Signers::statement`] does.
    pub fn behind(key: &PublicKey) -> Self {
        Self { unread: true, ..Self::new(std::slice::from_ref(key)) }
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
        if self.is_unread(note, &signed)? {
            return Ok(By::Unread);
        }
        if let Some(rotation) = news.rotation.as_ref().filter(|_| self.unread && self.own.is_empty())
            && self.given.contains(&rotation.new)
        {
            return self.comes_into_office(size, rotation, &signed);
        }
        if let Some((key, kept)) = &news.goes_on_under {
            return self.goes_on_under(key, *kept, news, &signed);
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

    /// Whether this head is by a key that records which were not read may have named, so that nothing can be said.
    fn is_unread(
        &self,
        note: &SignedNote,
        signed: &impl Fn(&PublicKey) -> Result<bool, Refused>,
    ) -> Result<bool, Refused> {
        if !self.unread {
            return Ok(false);
        }
        match self.own.last() {
            None => {
                let by_given: Vec<_> = self.given.iter().map(signed).collect::<Result<_, _>>()?;
                Ok(!by_given.contains(&true))
            }
            // It may have lent before; who was lent to stands in the first such record, and is known from there on.
            Some(office) if self.delegates.is_empty() && !signed(&office.key)? => {
                let name = format!("{}{DELEGATE_SUFFIX}", office.key.name());
                Ok(note.signatures().iter().any(|line| line.name == name))
            }
            Some(_) => Ok(false),
        }
    }

    /// An epoch begins under a key that no record before it names. None of the keys before vouches for it: it is believed
    /// if it, or one that it hands over to, was given.
    fn goes_on_under(
        &mut self,
        key: &PublicKey,
        kept: u64,
        news: &News,
        signed: &impl Fn(&PublicKey) -> Result<bool, Refused>,
    ) -> Result<By, Refused> {
        if !signed(key)? {
            return Err(Refused::ResumedNotOwn);
        }
        if self.own.is_empty() && !self.unread {
            return Err(Refused::Fault("nothing stands before it whose key was replaced"));
        }
        if self.own.iter().any(|tenure| tenure.key == *key) {
            return Err(Refused::Reused { key: name(key) });
        }
        if news.rotation.is_some() || news.delegation.is_some() {
            return Err(Refused::Fault("its keys change once more in the group that begins its epoch"));
        }
        if let Some(fault) = news.fault {
            return Err(Refused::Fault(fault));
        }
        self.end_delegate(kept);
        if let Some(tenure) = self.own.last_mut() {
            tenure.until = Some(kept);
        }
        self.unvouched = self.own.len();
        self.own.push(Tenure { key: key.clone(), after: kept, until: None });
        self.anchored = self.given.contains(key);
        self.share.count(By::Own, news.last_time);
        self.unread = false;
        Ok(By::Own)
    }

    /// The given key replaces one that is known only from this record.
    fn comes_into_office(
        &mut self,
        size: u64,
        rotation: &Rotation,
        signed: &impl Fn(&PublicKey) -> Result<bool, Refused>,
    ) -> Result<By, Refused> {
        for key in [&rotation.old, &rotation.new] {
            if !signed(key)? {
                return Err(Refused::RotationHalfSigned { key: name(key) });
            }
        }
        let former = Tenure { key: rotation.old.clone(), after: 0, until: Some(size) };
        let office = Tenure { key: rotation.new.clone(), after: size.saturating_sub(1), until: None };
        self.own = vec![former, office];
        self.anchored = true;
        // All that was lent before ended here.
        self.unread = false;
        Ok(By::Own)
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
            // What was lent before, by a record that was not read, ended with it.
            self.unread = false;
            self.anchored |= self.given.contains(new);
            if let Some(tenure) = self.own.last_mut() {
                tenure.until = Some(size);
            }
            // It signed the head over the rotation itself, too.
            self.own.push(Tenure { key: new.clone(), after: size.saturating_sub(1), until: None });
        }
        by
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

    /// Whether the time of the last record under the next head matters: it may be by a lent key, or end its time.
    pub fn needs_time(&self) -> bool {
        self.lent.is_some()
    }

    /// Whether a loan that began before the first record that was read may still last.
    pub fn knows_no_loan(&self) -> bool {
        self.unread && self.delegates.is_empty()
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
        let Self { own, lent, share, unvouched, cosigners, .. } = self.clone();
        SignersState { own, lent, share, unvouched, cosigners }
    }

    /// Goes on from what an earlier check kept, over `size` records.
    pub fn resume(given: &[PublicKey], state: &SignersState, size: u64) -> Self {
        let SignersState { own, lent, share, unvouched, cosigners } = state.clone();
        let anchored = own.iter().skip(unvouched).any(|tenure| given.contains(&tenure.key));
        let delegates = lent
            .iter()
            // Nobody asks for heads older than those that were checked.
            .map(|lent| Tenure { key: lent.key.clone(), after: size.saturating_sub(1), until: None })
            .collect();
        Self {
            given: given.to_vec(),
            own,
            lent,
            delegates,
            anchored,
            unread: false,
            unvouched,
            share,
            cosigners,
        }
    }
}
