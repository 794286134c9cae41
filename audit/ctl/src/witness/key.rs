//! The witness's two keys: Ed25519, which everybody reads today, and ML-DSA-44.
//!
//! They lie in one file that only its owner may read, as two seeds of 32 bytes. They are cleared from
//! memory when they are no longer needed, and are never shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use ml_dsa::{ExpandedSigningKey, MlDsa44};
use sallyport_audit::Checkpoint;
use sallyport_audit::note::{CosignerKey, KeyError, NoteSignature};
use zeroize::Zeroizing;

/// The first line of a key file.
const HEADER: &str = "sallyport witness key 1";

type Seed = Zeroizing<[u8; 32]>;

/// Signs for a witness.
pub(super) struct WitnessKey {
    name: String,
    seeds: [Seed; 2],
    classic: ed25519_dalek::SigningKey,
    post_quantum: ExpandedSigningKey<MlDsa44>,
    public: [CosignerKey; 2],
}

impl WitnessKey {
    /// From two seeds of good randomness.
    pub(super) fn new(name: &str, seeds: [Seed; 2]) -> Result<Self, KeyError> {
        let [first, second] = &seeds;
        let classic = ed25519_dalek::SigningKey::from_bytes(first);
        let post_quantum = ExpandedSigningKey::<MlDsa44>::from_seed(&(**second).into());
        let public = [
            CosignerKey::ed25519(name, &classic.verifying_key().to_bytes())?,
            CosignerKey::ml_dsa_44(name, &post_quantum.verifying_key().encode())?,
        ];
        Ok(Self { name: name.to_owned(), seeds, classic, post_quantum, public })
    }

    /// Reads what [`WitnessKey::expose_to_file`] gave; `None` if it is not that.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == HEADER).then_some(())?;
        let name = lines.next()?;
        let mut seed = || {
            let bytes = Zeroizing::new(STANDARD.decode(lines.next()?).ok()?);
            Some(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?))
        };
        Self::new(name, [seed()?, seed()?]).ok()
    }

    /// The secret text for the key file.
    pub(super) fn expose_to_file(&self) -> Zeroizing<String> {
        let [first, second] = &self.seeds;
        let (first, second) =
            (Zeroizing::new(STANDARD.encode(**first)), Zeroizing::new(STANDARD.encode(**second)));
        Zeroizing::new(format!("{HEADER}\n{}\n{}\n{}\n", self.name, *first, *second))
    }

    /// The public halves.
    pub(super) fn public(&self) -> &[CosignerKey; 2] {
        &self.public
    }

    /// The cosignature lines for a head seen at `time`, a POSIX time in seconds.
    pub(super) fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> Option<[NoteSignature; 2]> {
        let [classic, post_quantum] = &self.public;
        let first = self.classic.sign(&classic.message(checkpoint, time)).to_bytes();
        let second =
            self.post_quantum.sign_deterministic(&post_quantum.message(checkpoint, time), &[]).ok()?;
        Some([classic.line(time, &first), post_quantum.line(time, &second.encode())])
    }
}
