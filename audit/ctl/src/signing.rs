//! A key to sign packs with, in the form that Go's note package and transparency logs use for theirs.
//!
//! `PRIVATE+KEY+name+hash+base64`: an algorithm byte (1, Ed25519) and a seed of 32 bytes. The seed is cleared from memory
//! when it is no longer needed, and never shown.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sallyport_audit::note::PublicKey;
use sallyport_compliance::pack::Signer;
use zeroize::Zeroizing;

use crate::Failure;
use crate::output::read_bounded;

/// Longer than any such key.
const MOST_BYTES: u64 = 4096;

/// An Ed25519 key from a file.
pub(crate) struct SigningKeyFile {
    public: PublicKey,
    key: SigningKey,
}

impl SigningKeyFile {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = Zeroizing::new(read_bounded(path, MOST_BYTES)?);
        let text = std::str::from_utf8(&bytes).ok().map(str::trim);
        text.and_then(Self::parse).ok_or_else(|| {
            Failure::usage(
                format!(
                    "--sign-key {}: it is no Ed25519 key of the form PRIVATE+KEY+name+hash+key",
                    path.display()
                ),
                "make one with a tool for signed notes, or leave --sign-key out",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
        let (name, hash, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let (&algorithm, seed) = bytes.split_first()?;
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok()?);
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey::new(name, &key.verifying_key().to_bytes()).ok()?;
        let id = public.id().iter().fold(String::new(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        });
        (algorithm == 1 && id == hash).then_some(Self { public, key })
    }
}

impl Signer for SigningKeyFile {
    fn key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        Ok(self.key.sign(message).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of Go's golang.org/x/mod/sumdb/note.
    const PETER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn a_key_of_others_is_read_as_they_read_it() {
        let key = SigningKeyFile::parse(PETER).unwrap();
        let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(key.public.to_string(), public);
    }

    #[test]
    fn what_is_no_such_key_is_refused() {
        for bad in [
            "",
            "PRIVATE+KEY+",
            "PeterNeumann+c74f20a3+AYEK",
            &PETER.replace("c74f", "c74e"),
            &PETER.replace("AYEK", "AoEK"),
        ] {
            assert!(SigningKeyFile::parse(bad).is_none(), "{bad}");
        }
    }
}
