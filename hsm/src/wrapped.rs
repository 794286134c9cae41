//! The form of what the KEK seals: small secrets, each bound to its purpose and to the key that sealed it.
//!
//! ```text
//! 1 byte    version, 1
//! 1 byte    length of the key id
//! n bytes   id of the KEK (CKA_ID)
//! 12 bytes  nonce, random
//! rest      AES-256-GCM ciphertext and 16-byte tag (NIST SP 800-38D)
//! ```
//!
//! The purpose and the key id are authenticated with it, so that a blob which was moved to another place does
//! not open there. The KEK seals a handful of secrets in its life: random nonces do not meet.

use aws_lc_rs::rand;

use crate::error::KeyError;

pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;
const VERSION: u8 = 1;

/// A sealed secret, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrapped {
    pub(crate) key: Vec<u8>,
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) sealed: Vec<u8>,
}

impl Wrapped {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, KeyError> {
        let length =
            u8::try_from(self.key.len()).map_err(|_| KeyError::NotAuthentic { what: "a key id".into() })?;
        let mut bytes = Vec::with_capacity(2 + self.key.len() + NONCE_LEN + self.sealed.len());
        bytes.extend([VERSION, length]);
        bytes.extend(&self.key);
        bytes.extend(self.nonce);
        bytes.extend(&self.sealed);
        Ok(bytes)
    }

    /// `None` if the bytes cannot be a sealed secret.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, length], rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(length))?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        (version == VERSION && sealed.len() >= TAG_LEN).then(|| Self {
            key: key.to_vec(),
            nonce: *nonce,
            sealed: sealed.to_vec(),
        })
    }
}

/// The id of the KEK that sealed this, in hexadecimal; `None` if it is no sealed secret.
pub(crate) fn sealed_by(bytes: &[u8]) -> Option<String> {
    Wrapped::decode(bytes).map(|wrapped| hex::encode(wrapped.key))
}

/// What is authenticated with a sealed secret.
pub(crate) fn associated_data(purpose: &str, key: &[u8]) -> Vec<u8> {
    format!("sallyport wrapped v1\n{purpose}\n{}", hex::encode(key)).into_bytes()
}

/// A fresh random nonce.
pub(crate) fn nonce() -> Result<[u8; NONCE_LEN], KeyError> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    Ok(nonce)
}

/// Fills a buffer from the system's random generator.
pub(crate) fn random(buffer: &mut [u8]) -> Result<(), KeyError> {
    rand::fill(buffer).map_err(|_| {
        KeyError::operation("draw random bytes", crate::error::Fault::new("the system's generator failed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped() -> Wrapped {
        Wrapped { key: vec![7; 16], nonce: [1; NONCE_LEN], sealed: vec![9; 48] }
    }

    #[test]
    fn a_sealed_secret_is_read_back_as_it_was_written() {
        let bytes = wrapped().encode().unwrap();
        assert_eq!(Wrapped::decode(&bytes), Some(wrapped()));
    }

    #[test]
    fn a_sealed_secret_cut_short_is_not_one() {
        let bytes = wrapped().encode().unwrap();
        for length in 0..(bytes.len() - 48 + TAG_LEN) {
            assert_eq!(Wrapped::decode(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_sealed_secret_of_another_version_is_refused() {
        let mut bytes = wrapped().encode().unwrap();
        bytes[0] = 2;
        assert_eq!(Wrapped::decode(&bytes), None);
    }

    #[test]
    fn purpose_and_key_are_authenticated_apart() {
        assert_ne!(associated_data("seed tls", &[1]), associated_data("seed identity", &[1]));
        assert_ne!(associated_data("seed tls", &[1]), associated_data("seed tls", &[2]));
    }
}
