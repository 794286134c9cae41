//! Lends signing to a short-lived key in this process's memory.
//!
//! A slow token would bound how many groups a second can be signed. With [`Lending`] the token signs a record
//! that names a short-lived Ed25519 key in memory, that key signs heads within the bounds of the record, and the
//! token signs again at an interval and at the end. Whoever takes this process's memory can sign heads until the
//! bounds are reached, and the verdict of an audit says how much was lent.
//!
//! A lent key is made here, never written anywhere, and zeroed when it ends.

use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};

use crate::note::{PublicKey, SignedNote};
use crate::signers::{DELEGATE_SUFFIX, Delegation, LONGEST_DELEGATION};

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

/// What is left of the key that is lent to.
#[derive(Clone, Copy)]
pub(super) struct Left {
    not_after: Timestamp,
    heads: u64,
}

impl Left {
    /// One head less.
    pub(super) fn after_a_head(self) -> Self {
        Self { heads: self.heads.saturating_sub(1), ..self }
    }
}

impl Lending {
    /// Whether a tenth of the lent key's time or heads is left, or less, or there is none.
    pub(super) fn is_due(&self, left: Option<Left>, now: Timestamp) -> bool {
        let Some(left) = left else { return true };
        left.not_after.duration_since(now) <= self.life() / 10 || left.heads <= self.heads / 10
    }

    fn life(&self) -> SignedDuration {
        SignedDuration::try_from(self.lifetime).unwrap_or(LONGEST_DELEGATION).min(LONGEST_DELEGATION)
    }
}

/// A key that is lent to, with its bounds.
pub(super) struct Lent {
    secret: SigningKey,
    pub(super) delegation: Delegation,
    heads_left: u64,
}

impl Lent {
    pub(super) fn make(own: &PublicKey, lending: &Lending, now: Timestamp) -> Result<Self, String> {
        let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *seed).map_err(|error| format!("no key can be drawn: {error}"))?;
        let secret = SigningKey::from_bytes(&seed);
        let name = format!("{}{DELEGATE_SUFFIX}", own.name());
        let key = PublicKey::new(&name, &secret.verifying_key().to_bytes()).map_err(|e| e.to_string())?;
        let not_after =
            now.checked_add(lending.life()).map_err(|error| format!("the clock is at its end: {error}"))?;
        let heads = lending.heads.clamp(1, crate::record::MAX_INTEGER.unsigned_abs());
        Ok(Self { secret, delegation: Delegation { key, not_after, heads }, heads_left: heads })
    }

    /// What is left of it before its first head.
    pub(super) fn left(&self) -> Left {
        Left { not_after: self.delegation.not_after, heads: self.heads_left }
    }

    /// The signed note over a head whose last record is of `time`; `None` beyond its bounds.
    pub(super) fn sign(&mut self, text: &str, time: Timestamp) -> Option<SignedNote> {
        if self.heads_left == 0 || time > self.delegation.not_after {
            return None;
        }
        self.heads_left -= 1;
        let signature = self.secret.sign(text.as_bytes()).to_bytes();
        Some(SignedNote::new(text.to_owned(), &self.delegation.key, &signature))
    }
}
