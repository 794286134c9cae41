//! C2SP signed notes with Ed25519 (c2sp.org/signed-note, version 1.0.0).
//!
//! The form in which transparency logs sign what they state, so that anybody's tool can check ours. Text,
//! an empty line, and signature lines `— name base64(key id ‖ signature)`. A signature by a key which is
//! not known proves nothing and is passed over; one by a known key must be right, or the note is refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::digest::Digest;

/// The signature type of plain Ed25519 in the signed-note specification.
const ED25519: u8 = 0x01;

/// The longest note that is read, in bytes; room for sixteen post-quantum signatures.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;

/// The most signature lines that are read.
const MAX_SIGNATURES: usize = 64;

/// The longest key name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A public key with the name it signs under, as in `name+hash+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl PublicKey {
    /// A key of 32 bytes under `name`. Weak keys, for which signatures prove nothing, are refused.
    pub fn new(name: &str, bytes: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { name: name.to_owned(), id: key_id(name, bytes), key })
    }

    /// Reads `name+hash+base64`; the hash must be that of name and key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(hash), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
        let (&kind, bytes) = bytes.split_first().ok_or(KeyError::Form)?;
        if kind != ED25519 {
            return Err(KeyError::Type { found: kind });
        }
        let key = Self::new(name, bytes.try_into().map_err(|_| KeyError::Form)?)?;
        if hash != hex::encode(key.id) {
            return Err(KeyError::Hash { found: hash.to_owned(), expected: hex::encode(key.id) });
        }
        Ok(key)
    }

    /// The name it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes that stand before its signatures.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The key itself.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Whether `signature` over `message` is by this key, in the strict sense of RFC 8032 with small-order
    /// points refused.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    /// `name+hash+base64`, the form that verifiers take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(bad) {
        return Err(KeyError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// The first four bytes of SHA-256(name ‖ newline ‖ type ‖ key).
fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = *Digest::of(&[name.as_bytes(), b"\n", &[ED25519], key]).as_bytes();
    [a, b, c, d]
}

/// Why a text is not a key that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not of the form `name+hash+base64`.
    #[error("the key is not of the form name+hash+base64")]
    Form,
    /// A key name with blanks, a plus sign, or none.
    #[error(
        "{name:?} cannot be a key's name: it must be 1 to {MAX_NAME_BYTES} bytes without blanks and plus signs"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Another signature algorithm.
    #[error("the key is of type {found:#04x}, and only Ed25519 (0x01) is read here")]
    Type {
        /// The type byte.
        found: u8,
    },
    /// The hash is not that of the name and key, so one of them was mistyped.
    #[error("the key's hash is {found}, but its name and bytes give {expected}")]
    Hash {
        /// The hash in the text.
        found: String,
        /// The hash that follows from name and key.
        expected: String,
    },
    /// Not a point of the curve.
    #[error("the key's bytes are not an Ed25519 public key")]
    NotAPoint,
    /// A key of small order: anybody can make signatures that fit it.
    #[error("the key is weak (of small order): signatures under it prove nothing")]
    Weak,
}

impl KeyError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Weak => "do not use this ledger as evidence; ask its owner how this key came to be",
            Self::Hash { .. } => "copy the key again, whole, from where its owner published it",
            _ => {
                "give the ledger's public key as its owner published it, such as \
                  `example.org/ledger+1a2b3c4d+AQ…`"
            }
        }
    }
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The four bytes that tell keys of one name apart.
    pub id: [u8; 4],
    /// The signature itself.
    pub signature: Vec<u8>,
}

/// A text with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Puts one Ed25519 signature under `text`, which must end in a newline.
    pub fn new(text: String, key: &PublicKey, signature: &[u8; 64]) -> Self {
        let line = NoteSignature { name: key.name.clone(), id: key.id, signature: signature.to_vec() };
        Self { text, signatures: vec![line] }
    }

    /// Reads a note, without deciding whom to trust.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { bytes: note.len() });
        }
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::Form("it has control characters"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Form("no empty line stands before its signatures"))?;
        let (text, lines) = (note.get(..=at), note.get(at + 2..));
        let (Some(text), Some(lines)) = (text, lines) else { return Err(NoteError::Form("it is cut off")) };
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form("its last line does not end"))?;
        let signatures = lines.split('\n').map(parse_line).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Form("it has too many signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Whether a line names this key; says nothing about the signature.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.signatures.iter().any(|line| line.name == key.name && line.id == key.id)
    }

    /// Checks that `key` signed this text.
    pub fn verify(&self, key: &PublicKey) -> Result<(), NoteError> {
        let mut found = false;
        for line in self.signatures.iter().filter(|line| line.name == key.name && line.id == key.id) {
            let signature = line.signature.as_slice().try_into();
            if !signature.is_ok_and(|signature| key.verify(self.text.as_bytes(), signature)) {
                return Err(NoteError::BadSignature { name: key.name.clone() });
            }
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::OtherKey { signers: self.signers() }) }
    }

    /// The keys that are named, for messages.
    pub fn signers(&self) -> String {
        let names: Vec<_> =
            self.signatures.iter().map(|line| format!("{}+{}", line.name, hex::encode(line.id))).collect();
        names.join(", ")
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let blob = [line.id.as_slice(), &line.signature].concat();
            writeln!(f, "\u{2014} {} {}", line.name, STANDARD.encode(blob))?;
        }
        Ok(())
    }
}

fn parse_line(line: &str) -> Result<NoteSignature, NoteError> {
    let form = || NoteError::Form("a signature line is not of the form `\u{2014} name base64`");
    let (name, encoded) =
        line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or_else(form)?;
    check_name(name).map_err(|_| form())?;
    let blob = STANDARD.decode(encoded).map_err(|_| form())?;
    let (id, signature) = blob.split_first_chunk::<4>().ok_or_else(form)?;
    if signature.is_empty() {
        return Err(form());
    }
    Ok(NoteSignature { name: name.to_owned(), id: *id, signature: signature.to_vec() })
}

/// Why a text is not a note, or not one to believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not in the form of a signed note.
    #[error("it is not a signed note: {0}")]
    Form(&'static str),
    /// Too long to be read.
    #[error("the note has {bytes} bytes, and at most {MAX_NOTE_BYTES} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// No line is by the key that was asked for.
    #[error("it is not signed by the given key, but by {signers}")]
    OtherKey {
        /// Who signed it.
        signers: String,
    },
    /// A line names the key, and the signature does not fit.
    #[error("the signature under the name {name} is false")]
    BadSignature {
        /// The key's name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8, name: &str) -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::new(name, &secret.verifying_key().to_bytes()).unwrap();
        (secret, public)
    }

    fn signed(secret: &SigningKey, public: &PublicKey, text: &str) -> SignedNote {
        SignedNote::new(text.to_owned(), public, &secret.sign(text.as_bytes()).to_bytes())
    }

    #[test]
    fn the_example_of_the_go_implementation_is_read_and_verified() {
        // The key and note of the documentation of golang.org/x/mod/sumdb/note.
        let key =
            PublicKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let note = SignedNote::parse(note).unwrap();
        assert_eq!(note.verify(&key), Ok(()));
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    }

    #[test]
    fn a_note_by_another_key_of_the_same_name_is_not_believed() {
        let (secret, public) = key(1, "example.org/ledger");
        let (_, other) = key(2, "example.org/ledger");
        let note = signed(&secret, &public, "text\n");
        assert!(matches!(note.verify(&other), Err(NoteError::OtherKey { .. })));
    }

    #[test]
    fn a_changed_text_or_signature_is_false() {
        let (secret, public) = key(1, "example.org/ledger");
        let note = signed(&secret, &public, "text\n").to_string();
        let changed = SignedNote::parse(&note.replace("text", "test")).unwrap();
        assert!(matches!(changed.verify(&public), Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn a_false_line_under_a_known_name_spoils_a_note_that_has_a_right_one() {
        let (secret, public) = key(1, "example.org/ledger");
        let mut note = signed(&secret, &public, "text\n");
        let mut false_line = note.signatures[0].clone();
        false_line.signature[0] ^= 1;
        note.signatures.push(false_line);
        assert!(matches!(note.verify(&public), Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn lines_of_unknown_keys_are_passed_over() {
        let (secret, public) = key(1, "example.org/ledger");
        let (other_secret, other) = key(2, "witness.example.net");
        let mut note = signed(&other_secret, &other, "text\n");
        note.signatures.extend(signed(&secret, &public, "text\n").signatures);
        assert_eq!(SignedNote::parse(&note.to_string()).unwrap().verify(&public), Ok(()));
    }

    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0_u8; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::new("weak", &identity), Err(KeyError::Weak));
        assert_eq!(PublicKey::new("weak", &[0; 32]), Err(KeyError::Weak));
    }

    #[test]
    fn a_mistyped_key_is_refused_by_its_hash() {
        let (_, public) = key(1, "example.org/ledger");
        let mistyped = public.to_string().replace("ledger+", "ledgers+");
        assert!(matches!(PublicKey::parse(&mistyped), Err(KeyError::Hash { .. })));
        for bad in ["", "a", "a+b", "a+b+c", "a b+00000000+AQ=="] {
            assert!(PublicKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        let (secret, public) = key(1, "k");
        let good = signed(&secret, &public, "text\n").to_string();
        for bad in [
            String::new(),
            "text\n".to_owned(),
            "text\n\n".to_owned(),
            good.trim_end().to_owned(),
            good.replace('\u{2014}', "-"),
            good.replace("text", "te\txt"),
            good.replace(" k ", " k  "),
        ] {
            assert!(SignedNote::parse(&bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_note_reader_panic(text in "(?s).{0,200}") {
            let _ = SignedNote::parse(&text);
            let _ = PublicKey::parse(&text);
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "[a-z \n]{0,60}", seed in 1_u8..9) {
            let (secret, public) = key(seed, "example.org/ledger");
            let note = signed(&secret, &public, &format!("{text}\n"));
            prop_assert_eq!(SignedNote::parse(&note.to_string()).unwrap(), note);
        }
    }
}
