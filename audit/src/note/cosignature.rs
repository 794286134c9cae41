//! Cosignatures of checkpoints (c2sp.org/tlog-cosignature): that somebody has seen this head, and when.
//!
//! Two kinds. Ed25519 (type 0x04) is what witnesses give today. ML-DSA-44 (type 0x06) holds against a
//! quantum computer, too: the ledger adds one to its own heads at intervals, so that history which was
//! signed in time cannot be rewritten when Ed25519 has fallen.
//!
//! ML-DSA is verified by the crate `ml-dsa` of the Rust Crypto project, which is pure Rust: an auditor can build the verifier without
//! a C compiler, and it does not share code with the provider that signs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use ml_dsa::MlDsa44;

use super::key::{KeyError, check_name};
use super::{NoteError, NoteSignature, PublicKey, SignedNote};
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;

/// The signature type of an Ed25519 cosignature.
const ED25519: u8 = 0x04;

/// The signature type of an ML-DSA-44 cosignature.
const ML_DSA_44: u8 = 0x06;

/// The length of an ML-DSA-44 public key in bytes (FIPS 204, table 2).
pub const ML_DSA_44_KEY_BYTES: usize = 1312;

/// The length of an ML-DSA-44 signature in bytes (FIPS 204, table 2).
pub const ML_DSA_44_SIGNATURE_BYTES: usize = 2420;

/// A cosigner's public key with its name, as in `name+hash+base64`.
#[derive(Clone)]
pub struct CosignerKey {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Ed25519(VerifyingKey),
    MlDsa44(Box<ml_dsa::VerifyingKey<MlDsa44>>),
}

impl CosignerKey {
    /// An Ed25519 key of 32 bytes. Weak keys are refused.
    pub fn ed25519(name: &str, bytes: &[u8; 32]) -> Result<Self, KeyError> {
        // The same checks as for a ledger's key.
        PublicKey::new(name, bytes)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        Ok(Self {
            name: name.to_owned(),
            id: id(name, ED25519, bytes),
            bytes: bytes.to_vec(),
            key: Key::Ed25519(key),
        })
    }

    /// An ML-DSA-44 key of 1,312 bytes.
    pub fn ml_dsa_44(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        check_name(name)?;
        let encoded = bytes.try_into().map_err(|_| KeyError::Form)?;
        let key = Key::MlDsa44(Box::new(ml_dsa::VerifyingKey::decode(encoded)));
        Ok(Self { name: name.to_owned(), id: id(name, ML_DSA_44, bytes), bytes: bytes.to_vec(), key })
    }

    /// Reads `name+hash+base64`; the hash must be that of name and key, and nothing stands around it: a key has one spelling.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
        let key = match bytes.split_first() {
            Some((&ED25519, bytes)) => Self::ed25519(name, bytes.try_into().map_err(|_| KeyError::Form)?)?,
            Some((&ML_DSA_44, bytes)) => Self::ml_dsa_44(name, bytes)?,
            Some((&found, _)) => return Err(KeyError::Cosigner { found }),
            None => return Err(KeyError::Form),
        };
        if hash != const_hex::encode(key.id) {
            return Err(KeyError::Hash { found: hash.to_owned(), expected: const_hex::encode(key.id) });
        }
        Ok(key)
    }

    /// The name it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the same key, whatever it is called.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// What must be signed to say that `checkpoint` was seen at `time`, a POSIX time in seconds.
    pub fn message(&self, checkpoint: &Checkpoint, time: u64) -> Vec<u8> {
        match self.key {
            Key::Ed25519(_) => ed25519_message(checkpoint, time),
            Key::MlDsa44(_) => ml_dsa_44_message(&self.name, checkpoint, time),
        }
    }

    /// The line for a note, from a signature over [`CosignerKey::message`].
    pub fn line(&self, time: u64, signature: &[u8]) -> NoteSignature {
        let signature = [&time.to_be_bytes(), signature].concat();
        NoteSignature { name: self.name.clone(), id: self.id, signature }
    }

    /// When this cosigner saw the checkpoint that stands in `note`, by its clock and as a POSIX time in
    /// seconds: the latest, if it says so more than once. `None` if it does not say so at all.
    ///
    /// # Errors
    ///
    /// [`NoteError::BadSignature`] if any line under its name and id is false.
    pub fn verify(&self, checkpoint: &Checkpoint, note: &SignedNote) -> Result<Option<u64>, NoteError> {
        let mut latest = None;
        let lines = note.signatures().iter().filter(|line| line.name == self.name && line.id == self.id);
        for line in lines {
            let time = self.verify_line(checkpoint, &line.signature);
            let time = time.ok_or_else(|| NoteError::BadSignature { name: self.name.clone() })?;
            latest = latest.max(Some(time));
        }
        Ok(latest)
    }

    /// Whether this key has signed these very bytes, as it signs messages of its own. Only for texts that begin like no
    /// checkpoint's.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::Ed25519(key) => signature.try_into().is_ok_and(|bytes| {
                key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(bytes)).is_ok()
            }),
            Key::MlDsa44(key) => signature
                .try_into()
                .ok()
                .and_then(ml_dsa::Signature::<MlDsa44>::decode)
                // The context of FIPS 204 is empty.
                .is_some_and(|signature| key.verify_with_context(message, &[], &signature)),
        }
    }

    fn verify_line(&self, checkpoint: &Checkpoint, line: &[u8]) -> Option<u64> {
        let (time, signature) = line.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        i64::try_from(time).ok()?;
        let message = self.message(checkpoint, time);
        self.has_signed(&message, signature).then_some(time)
    }
}

/// The text which an Ed25519 cosigner signs.
fn ed25519_message(checkpoint: &Checkpoint, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{}", checkpoint.text()).into_bytes()
}

/// The structure `cosigned_message` which an ML-DSA-44 cosigner signs.
fn ml_dsa_44_message(name: &str, checkpoint: &Checkpoint, time: u64) -> Vec<u8> {
    // Names and origins have at most 255 bytes, by their own checks.
    let length = |text: &str| [u8::try_from(text.len()).unwrap_or(u8::MAX)];
    [
        b"subtree/v1\n\0".as_slice(),
        &length(name),
        name.as_bytes(),
        &time.to_be_bytes(),
        &length(&checkpoint.origin),
        checkpoint.origin.as_bytes(),
        &0_u64.to_be_bytes(),
        &checkpoint.size.to_be_bytes(),
        checkpoint.root.as_bytes(),
    ]
    .concat()
}

/// The first four bytes of SHA-256(name ‖ newline ‖ type ‖ key).
fn id(name: &str, kind: u8, key: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *Digest::of(&[name.as_bytes(), b"\n", &[kind], key]).as_bytes();
    [a, b, c, d]
}

impl fmt::Display for CosignerKey {
    /// `name+hash+base64`, the form that verifiers take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.key {
            Key::Ed25519(_) => ED25519,
            Key::MlDsa44(_) => ML_DSA_44,
        };
        let bytes = [&[kind], self.bytes.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, const_hex::encode(self.id), STANDARD.encode(bytes))
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use ml_dsa::ExpandedSigningKey;

    use super::*;
    use crate::testing::SoftwareSigner;

    const NAME: &str = "witness.example.net/w1";

    fn checkpoint(size: u64) -> Checkpoint {
        Checkpoint { origin: "example.org/ledger".to_owned(), size, root: Digest::leaf(b"r") }
    }

    type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

    /// Both kinds of key, each with what signs under it.
    fn cosigners() -> Vec<(CosignerKey, Sign)> {
        let secret = SigningKey::from_bytes(&[3; 32]);
        let classic = CosignerKey::ed25519(NAME, &secret.verifying_key().to_bytes()).unwrap();
        let pq = ExpandedSigningKey::<MlDsa44>::from_seed(&[4; 32].into());
        let post = CosignerKey::ml_dsa_44(NAME, &pq.verifying_key().encode()).unwrap();
        vec![
            (classic, Box::new(move |message| secret.sign(message).to_bytes().to_vec())),
            (post, Box::new(move |message| pq.sign_deterministic(message, &[]).unwrap().encode().to_vec())),
        ]
    }

    fn head(size: u64) -> SignedNote {
        SoftwareSigner::new("example.org/ledger", [1; 32]).sign_checkpoint(&checkpoint(size))
    }

    #[test]
    fn a_cosigned_head_says_who_saw_it_and_when_and_is_still_signed_by_the_ledger() {
        for (key, sign) in cosigners() {
            let mut note = head(7);
            assert_eq!(key.verify(&checkpoint(7), &note), Ok(None));
            for time in [2000, 1000] {
                note.add(key.line(time, &sign(&key.message(&checkpoint(7), time))));
            }
            let note = SignedNote::parse(&note.to_string()).unwrap();
            assert_eq!(key.verify(&checkpoint(7), &note), Ok(Some(2000)));
            let ledger = SoftwareSigner::new("example.org/ledger", [1; 32]).verifier();
            assert_eq!(note.verify(&ledger), Ok(()));
        }
    }

    #[test]
    fn a_cosignature_of_another_head_time_or_name_is_false() {
        for (key, sign) in cosigners() {
            let signed = sign(&key.message(&checkpoint(7), 1000));
            let with = |size, line| {
                let mut note = head(size);
                note.add(line);
                key.verify(&checkpoint(size), &note)
            };
            let bad = Err(NoteError::BadSignature { name: NAME.to_owned() });
            assert_eq!(with(8, key.line(1000, &signed)), bad);
            assert_eq!(with(7, key.line(1001, &signed)), bad);
            assert_eq!(with(7, key.line(1000, &signed[1..])), bad);
            assert_eq!(with(7, key.line(u64::MAX, &sign(&key.message(&checkpoint(7), u64::MAX)))), bad);
            let other = NoteSignature { name: "other".to_owned(), ..key.line(1000, &signed) };
            assert_eq!(with(7, other), Ok(None));
        }
    }

    #[test]
    fn keys_read_back_and_are_not_mistaken_for_each_other() {
        for (key, _) in cosigners() {
            let text = key.to_string();
            assert_eq!(CosignerKey::parse(&text).unwrap().to_string(), text);
            assert!(PublicKey::parse(&text).is_err(), "a cosigner's key is not a ledger's");
            assert!(CosignerKey::parse(&text.replace("w1+", "w2+")).is_err());
        }
        let ledger = SoftwareSigner::new("example.org/ledger", [1; 32]).verifier().to_string();
        assert!(matches!(CosignerKey::parse(&ledger), Err(KeyError::Cosigner { found: 1 })));
        assert!(CosignerKey::ed25519(NAME, &[0; 32]).is_err(), "weak keys are refused");
    }

    #[test]
    fn messages_are_those_of_the_specification() {
        let [(classic, _), (post, _)] = cosigners().try_into().ok().unwrap();
        let text = String::from_utf8(classic.message(&checkpoint(7), 1_679_315_147)).unwrap();
        assert!(text.starts_with("cosignature/v1\ntime 1679315147\nexample.org/ledger\n7\n"), "{text}");
        let (message, root) = (post.message(&checkpoint(7), 1), checkpoint(7).root);
        let expected = [
            b"subtree/v1\n\0\x16witness.example.net/w1\0\0\0\0\0\0\0\x01\x12example.org/ledger".as_slice(),
            &[0; 8],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            root.as_bytes(),
        ];
        assert_eq!(message, expected.concat());
    }
}
