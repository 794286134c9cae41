//! Has groups signed, one at a time: by the ledger's own key, by one that it lent to, or by two at a handover.
//!
//! A signature is believed only after it was checked. When the key provider does not sign, the group is given
//! back, so that its numbers can be taken back; there is never a second group here by then.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Receipt;
use super::lending::{Lending, Lent};
use super::numbering::{Change, Place, Unsigned};
use super::owner::Pending;
use crate::chain::Chain;
use crate::journal::Group;
use crate::keys::HeadSigner;
use crate::note::{KeyError, PublicKey, SignedNote};

/// A group that is ready to be written.
pub(super) struct Signed {
    /// Where the ledger stands behind it.
    pub(super) after: Place,
    pub(super) note: Arc<str>,
    pub(super) group: Group<Vec<u8>>,
    pub(super) waiting: Vec<(Pending, Receipt)>,
    pub(super) callers: usize,
}

/// A key of the ledger's own.
pub(super) struct Own {
    signer: Box<dyn HeadSigner>,
    pub(super) key: PublicKey,
}

/// Signs heads.
pub(super) struct Signing {
    own: Own,
    /// Keys that handed over: a handover that is not written has not happened.
    predecessors: Vec<Own>,
    lending: Option<Lending>,
    lent: Option<Lent>,
    /// When the own key signed last, in the time of records.
    last_own: Option<Timestamp>,
    origin: String,
    /// Where the ledger stands with all that was signed.
    chain: Chain,
}

/// Why a group is not signed.
pub(super) enum Unable {
    /// The key provider did not do its part; here is the group again.
    Stalled(Box<Unsigned>, String),
    /// A fault in the program.
    Failed(Vec<(Pending, Receipt)>, String),
}

impl Signing {
    pub(super) fn new(own: Own, lending: Option<Lending>, origin: String, chain: Chain) -> Self {
        Self { own, predecessors: Vec::new(), lending, lent: None, last_own: None, origin, chain }
    }

    /// Has the group signed.
    pub(super) fn sign(&mut self, mut unsigned: Box<Unsigned>) -> Result<Signed, Unable> {
        let note: Arc<str> = match self.group_head(&mut unsigned) {
            Ok(note) => note.to_string().into(),
            Err(reason) => return Err(Unable::Stalled(unsigned, reason)),
        };
        let Unsigned { after, group, waiting, callers, change, .. } = *unsigned;
        match change {
            Some(Change::Lend(lent)) => self.lent = Some(*lent),
            Some(Change::HandOver(successor)) => {
                self.predecessors.push(std::mem::replace(&mut self.own, *successor));
                self.lent = None;
            }
            None => {}
        }
        self.chain = after.chain.clone();
        match group.finish(&note) {
            Some(group) => Ok(Signed { after, note, group, waiting, callers }),
            None => Err(Unable::Failed(waiting, "a group grew too long".to_owned())),
        }
    }

    /// Goes back to `place`: what was signed behind it is not written, with all that it said about keys.
    pub(super) fn go_back(&mut self, place: &Place) {
        while self.own.key != place.key
            && let Some(predecessor) = self.predecessors.pop()
        {
            self.own = predecessor;
        }
        (self.lent, self.last_own) = (None, None);
        self.chain = place.chain.clone();
    }

    /// Asks whether signing works, by signing the head that is already signed.
    pub(super) fn probe(&mut self) -> Result<(), String> {
        let text = self.chain.checkpoint(&self.origin).text();
        self.own.sign(&text).map(drop)
    }

    /// The note by the own key over the last head, if `note` over it is by a lent one. A head over more than the
    /// `written` records is of a group that was not written: in the head file it would keep the ledger from opening.
    pub(super) fn sign_at_end(&mut self, note: &str, written: u64) -> Result<Option<Arc<str>>, String> {
        if self.chain.size() != written {
            return Ok(None);
        }
        if note.is_empty() || SignedNote::parse(note).is_ok_and(|note| note.names(&self.own.key)) {
            return Ok(None);
        }
        let text = self.chain.checkpoint(&self.origin).text();
        self.own.sign(&text).map(|note| Some(note.to_string().into()))
    }

    /// The signed head over a group. Keys that it changes are the own key's business.
    fn group_head(&mut self, unsigned: &mut Unsigned) -> Result<SignedNote, String> {
        let text = unsigned.after.chain.checkpoint(&self.origin).text();
        if unsigned.change.is_none()
            && !self.own_is_due(unsigned.time)
            && let Some(note) = self.lent.as_mut().and_then(|lent| lent.sign(&text, unsigned.time))
        {
            return Ok(note);
        }
        let mut note = self.own.sign(&text)?;
        self.last_own = Some(unsigned.time);
        if let Some(Change::HandOver(successor)) = &mut unsigned.change {
            successor.sign(&text)?.signatures().iter().for_each(|line| note.add(line.clone()));
        }
        Ok(note)
    }

    fn own_is_due(&self, time: Timestamp) -> bool {
        let (Some(lending), Some(last)) = (&self.lending, self.last_own) else { return true };
        let since = time.duration_since(last);
        since.is_negative() || SignedDuration::try_from(lending.own_every).is_ok_and(|every| since >= every)
    }
}

impl Own {
    pub(super) fn new(signer: Box<dyn HeadSigner>) -> Result<Self, KeyError> {
        let key = PublicKey::new(signer.origin_key_name(), &signer.public_key())?;
        Ok(Self { signer, key })
    }

    /// Believes the provider only after checking what it signed.
    fn sign(&mut self, text: &str) -> Result<SignedNote, String> {
        let signature = self.signer.sign(text.as_bytes()).map_err(|error| error.to_string())?;
        if !self.key.verify(text.as_bytes(), &signature) {
            return Err("the key provider returned a false signature".to_owned());
        }
        Ok(SignedNote::new(text.to_owned(), &self.key, &signature))
    }
}
