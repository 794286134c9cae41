//! Signs the ledger's heads: with its own key, with one that it has lent signing to, or with two when the
//! ledger is handed over.
//!
//! A slow token would bound how many groups a second can be signed. With [`Lending`] the token signs a record
//! that names a short-lived Ed25519 key in this process's memory, that key signs heads within the bounds of the
//! record, and the token signs again at an interval and at the end. Whoever takes this process's memory can
//! sign heads until the bounds are reached, and the verdict of an audit says how much was lent.
//!
//! A lent key is made here, never written anywhere, and zeroed when it ends. What a key signed is checked
//! before it is believed.

use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};

use crate::keys::HeadSigner;
use crate::note::{KeyError, PublicKey, SignedNote};
use crate::record::Draft;
use crate::signers::{DELEGATE_SUFFIX, Delegation, LONGEST_DELEGATION, Rotation};

/// Lets a key in memory sign heads between those that the ledger's own key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lending {
    /// How long one key in memory is used; at most 24 hours.
    pub lifetime: Duration,
    /// How many heads one key in memory may sign.
    pub heads: u64,
    /// The ledger's own key signs a head at least this often, if there is anything to sign.
    pub own_every: Duration,
}

/// The ledger's own key, and what may sign beside it.
pub(super) struct Signing {
    own: Own,
    successor: Option<Own>,
    lending: Option<Lending>,
    /// Named by a record in the group that is being made.
    promised: Option<Lent>,
    lent: Option<Lent>,
    /// When the own key signed last, in the time of records.
    last_own: Option<Timestamp>,
}

struct Own {
    signer: Box<dyn HeadSigner>,
    key: PublicKey,
}

struct Lent {
    secret: SigningKey,
    delegation: Delegation,
    heads_left: u64,
}

impl Signing {
    pub(super) fn new(signer: Box<dyn HeadSigner>, key: PublicKey, lending: Option<Lending>) -> Self {
        let own = Own { signer, key };
        Self { own, successor: None, lending, promised: None, lent: None, last_own: None }
    }

    /// What must be the first record of the next group, if the own key is to sign and lends anew.
    pub(super) fn first_record(&mut self, now: Timestamp) -> Result<Option<Draft>, String> {
        self.promised = None;
        let Some(lending) = &self.lending else { return Ok(None) };
        if self.successor.is_some() || !self.lent_ends_soon(now) {
            return Ok(None);
        }
        let lent = Lent::make(&self.own.key, lending, now)?;
        let draft = lent.delegation.draft();
        self.promised = Some(lent);
        Ok(Some(draft))
    }

    /// The signed note over a head whose last record is of `time`.
    pub(super) fn sign(&mut self, text: &str, time: Timestamp) -> Result<String, String> {
        if let Some(note) = self.sign_lent(text, time) {
            return Ok(note);
        }
        let mut note = self.own.sign(text)?;
        if let Some(successor) = &mut self.successor {
            successor.sign(text)?.signatures().iter().for_each(|line| note.add(line.clone()));
        }
        self.last_own = Some(time);
        if let Some(lent) = self.promised.take() {
            self.lent = Some(lent);
        }
        Ok(note.to_string())
    }

    /// The note by the own key over a head that a lent key has signed; `None` if the own key signed it.
    pub(super) fn sign_at_end(&mut self, text: &str, note: &str) -> Result<Option<String>, String> {
        let own = SignedNote::parse(note).is_ok_and(|note| note.names(&self.own.key));
        if own || note.is_empty() {
            return Ok(None);
        }
        self.own.sign(text).map(|note| Some(note.to_string()))
    }

    /// Has `signer` sign the next head, too. Gives the record that must close the group under it.
    pub(super) fn begin_handover(&mut self, signer: Box<dyn HeadSigner>) -> Result<Draft, KeyError> {
        let key = PublicKey::new(signer.origin_key_name(), &signer.public_key())?;
        let rotation = Rotation { old: self.own.key.clone(), new: key.clone() };
        self.successor = Some(Own { signer, key });
        Ok(rotation.draft())
    }

    /// The head over the handover is durable, or was not signed.
    pub(super) fn end_handover(&mut self, durable: bool) {
        if let Some(successor) = self.successor.take()
            && durable
        {
            self.own = successor;
            self.lent = None;
        }
    }

    fn sign_lent(&mut self, text: &str, time: Timestamp) -> Option<String> {
        let every = SignedDuration::try_from(self.lending.as_ref()?.own_every).ok()?;
        let since_own = time.duration_since(self.last_own?);
        let own_is_due = self.promised.is_some()
            || self.successor.is_some()
            || since_own >= every
            || since_own.is_negative();
        let lent = self.lent.as_mut().filter(|lent| lent.heads_left > 0 && time <= lent.delegation.not_after);
        let lent = lent.filter(|_| !own_is_due)?;
        lent.heads_left -= 1;
        let signature = lent.secret.sign(text.as_bytes()).to_bytes();
        Some(SignedNote::new(text.to_owned(), &lent.delegation.key, &signature).to_string())
    }

    /// Whether a tenth of the lent key's time or heads is left, or less.
    fn lent_ends_soon(&self, now: Timestamp) -> bool {
        let (Some(lending), Some(lent)) = (&self.lending, &self.lent) else { return true };
        let remaining = lent.delegation.not_after.duration_since(now);
        let life = SignedDuration::try_from(lending.lifetime).unwrap_or(LONGEST_DELEGATION);
        remaining <= life / 10 || lent.heads_left <= lending.heads / 10
    }
}

impl Own {
    /// Believes the provider only after checking what it signed.
    fn sign(&mut self, text: &str) -> Result<SignedNote, String> {
        let signature = self.signer.sign(text.as_bytes()).map_err(|error| error.to_string())?;
        if !self.key.verify(text.as_bytes(), &signature) {
            return Err("the key provider returned a false signature".to_owned());
        }
        Ok(SignedNote::new(text.to_owned(), &self.key, &signature))
    }
}

impl Lent {
    fn make(own: &PublicKey, lending: &Lending, now: Timestamp) -> Result<Self, String> {
        let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *seed).map_err(|error| format!("no key can be drawn: {error}"))?;
        let secret = SigningKey::from_bytes(&seed);
        let name = format!("{}{DELEGATE_SUFFIX}", own.name());
        let key = PublicKey::new(&name, &secret.verifying_key().to_bytes()).map_err(|e| e.to_string())?;
        let life = SignedDuration::try_from(lending.lifetime).unwrap_or(LONGEST_DELEGATION);
        let not_after = now
            .checked_add(life.min(LONGEST_DELEGATION))
            .map_err(|error| format!("the clock is at its end: {error}"))?;
        let heads = lending.heads.clamp(1, crate::record::MAX_INTEGER.unsigned_abs());
        Ok(Self { secret, delegation: Delegation { key, not_after, heads }, heads_left: heads })
    }
}
