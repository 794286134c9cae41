//! Envelopes: data sealed under a data key, and the data key sealed under the provider's KEK.
//!
//! The token is asked once, for the data key; sealing is then done here, at memory speed. Destroying the
//! stored, wrapped data key makes everything under it unreadable for good: that is how personal values are
//! erased.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::error::{Fault, KeyError};
use crate::locked::Secret;
use crate::wrapped::{self, NONCE_LEN, TAG_LEN};

/// Length of a data key, in bytes (AES-256).
pub(crate) const DATA_KEY_LEN: usize = 32;

/// With random 96-bit nonces, no more messages than this under one key (NIST SP 800-38D §8.3).
const MAX_MESSAGES: u64 = 1 << 32;

/// A data key, opened. Sealed bytes are `nonce (12) ‖ ciphertext ‖ tag (16)`.
pub struct Envelope {
    /// Expanded for each message: what is kept is in locked memory, and costs 64 bytes.
    key: Secret,
    /// Messages sealed by this value; a key that is opened again starts again, so leave room.
    sealed: AtomicU64,
}

impl Envelope {
    pub(crate) fn new(data_key: Secret) -> Result<Self, KeyError> {
        if data_key.expose().len() != DATA_KEY_LEN {
            return Err(KeyError::NotAuthentic { what: "a data key".into() });
        }
        Ok(Self { key: data_key, sealed: AtomicU64::new(0) })
    }

    fn key(&self) -> Result<LessSafeKey, KeyError> {
        UnboundKey::new(&AES_256_GCM, self.key.expose())
            .map(LessSafeKey::new)
            .map_err(|_| KeyError::NotAuthentic { what: "a data key".into() })
    }

    /// Seals `plaintext`, and binds it to `aad`, which is not stored with it.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, KeyError> {
        if self.sealed.fetch_add(1, Ordering::Relaxed) >= MAX_MESSAGES {
            return Err(KeyError::Exhausted);
        }
        let nonce = wrapped::nonce()?;
        let mut bytes = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
        bytes.extend(nonce);
        bytes.extend(plaintext);
        let body = bytes.get_mut(NONCE_LEN..).unwrap_or_default();
        let tag = self
            .key()?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .map_err(|_| KeyError::operation("seal data", Fault::new("AWS-LC refused")))?;
        bytes.extend(tag.as_ref());
        Ok(bytes)
    }

    /// Opens what [`Envelope::seal`] made with the same data key and the same `aad`.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAuthentic`] if a bit of it, or of `aad`, is another.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let refused = KeyError::NotAuthentic { what: "sealed data".into() };
        let Some((nonce, body)) = sealed.split_first_chunk::<NONCE_LEN>() else { return Err(refused) };
        let mut bytes = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let Ok(plaintext) = self.key()?.open_in_place(nonce, Aad::from(aad), &mut bytes) else {
            return Err(refused);
        };
        let length = plaintext.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope::new(Secret::copy_of(&[7; DATA_KEY_LEN]).unwrap()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_again_and_never_looks_the_same_twice() {
        let (a, b) = (envelope().seal(b"aad", b"alice").unwrap(), envelope().seal(b"aad", b"alice").unwrap());
        assert_ne!(a, b);
        assert_eq!(envelope().open(b"aad", &a).unwrap(), b"alice");
        assert_eq!(envelope().open(b"aad", &b).unwrap(), b"alice");
    }

    #[test]
    fn an_altered_bit_anywhere_does_not_open() {
        let sealed = envelope().seal(b"aad", b"alice").unwrap();
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert!(
                matches!(envelope().open(b"aad", &altered), Err(KeyError::NotAuthentic { .. })),
                "{index}"
            );
        }
        for length in 0..sealed.len() {
            assert!(envelope().open(b"aad", &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_own_context() {
        let sealed = envelope().seal(b"record 1", b"alice").unwrap();
        assert!(envelope().open(b"record 2", &sealed).is_err());
        assert!(
            Envelope::new(Secret::copy_of(&[8; DATA_KEY_LEN]).unwrap())
                .unwrap()
                .open(b"record 1", &sealed)
                .is_err()
        );
    }
}
