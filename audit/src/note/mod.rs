//! C2SP signed notes with Ed25519 (c2sp.org/signed-note, version 1.0.0).
//!
//! The form in which transparency logs sign what they state, so that anybody's tool can check ours. Text,
//! an empty line, and signature lines `— name base64(key id ‖ signature)`. A signature by a key which is
//! not known proves nothing and is passed over; one by a known key must be right, or the note is refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

mod cosignature;
mod key;

pub use cosignature::{CosignerKey, ML_DSA_44_KEY_BYTES, ML_DSA_44_SIGNATURE_BYTES};
pub use key::{KeyError, MAX_NAME_BYTES, PublicKey};

/// The longest note that is read, in bytes; room for sixteen post-quantum signatures.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;

/// The most signature lines that are read.
const MAX_SIGNATURES: usize = 64;

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
        let line = NoteSignature { name: key.name().to_owned(), id: key.id(), signature: signature.to_vec() };
        Self { text, signatures: vec![line] }
    }

    /// Adds a signature line.
    pub fn add(&mut self, line: NoteSignature) {
        self.signatures.push(line);
    }

    /// The same text under this one line alone.
    #[cfg(feature = "witnesses")]
    pub(crate) fn with_only(&self, line: NoteSignature) -> Self {
        Self { text: self.text.clone(), signatures: vec![line] }
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
        self.signatures.iter().any(|line| line.name == key.name() && line.id == key.id())
    }

    /// Checks that `key` signed this text.
    pub fn verify(&self, key: &PublicKey) -> Result<(), NoteError> {
        let mut found = false;
        for line in self.signatures.iter().filter(|line| line.name == key.name() && line.id == key.id()) {
            let signature = line.signature.as_slice().try_into();
            if !signature.is_ok_and(|signature| key.verify(self.text.as_bytes(), signature)) {
                return Err(NoteError::BadSignature { name: key.name().to_owned() });
            }
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::OtherKey { signers: self.signers() }) }
    }

    /// Checks that this text is signed by one of `keys`, and by none of them falsely.
    ///
    /// Without any key nothing is checked: the caller must say so where it matters.
    pub fn verify_any(&self, keys: &[PublicKey]) -> Result<(), NoteError> {
        let mut found = keys.is_empty();
        for key in keys {
            match self.verify(key) {
                Ok(()) => found = true,
                Err(NoteError::OtherKey { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if found { Ok(()) } else { Err(NoteError::OtherKey { signers: self.signers() }) }
    }

    /// The same text with one signature line for each of `keys` that signed it, and no others.
    #[must_use]
    pub fn keeping(&self, keys: &[PublicKey]) -> Self {
        let line = |key: &PublicKey| {
            self.signatures.iter().find(|line| line.name == key.name() && line.id == key.id()).cloned()
        };
        Self { text: self.text.clone(), signatures: keys.iter().filter_map(line).collect() }
    }

    /// The keys that are named, for messages.
    pub fn signers(&self) -> String {
        let names: Vec<_> = self
            .signatures
            .iter()
            .map(|line| format!("{}+{}", line.name, const_hex::encode(line.id)))
            .collect();
        names.join(", ")
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.id.as_slice(), &self.signature].concat();
        write!(f, "\u{2014} {} {}", self.name, STANDARD.encode(blob))
    }
}

fn parse_line(line: &str) -> Result<NoteSignature, NoteError> {
    let form = || NoteError::Form("a signature line is not of the form `\u{2014} name base64`");
    let (name, encoded) =
        line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or_else(form)?;
    key::check_name(name).map_err(|_| form())?;
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
    #[error("it is not signed by a given key, but by {signers}")]
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
    fn nothing_stands_around_a_key_or_it_would_have_two_spellings() {
        let (_, public) = key(1, "example.org/ledger");
        for around in [" ", "\n", "\t", "\u{3000}"] {
            assert!(PublicKey::parse(&format!("{around}{public}")).is_err(), "{around:?} before");
            assert!(PublicKey::parse(&format!("{public}{around}")).is_err(), "{around:?} behind");
        }
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
