//! The signature under a pack: by the ledger's Ed25519 key in the provider, under a name of its own.
//!
//! An auditor knows that key already. A signature over a pack cannot be taken for one over a head of the ledger: the key's
//! name is another one, and no checkpoint begins with the line that a pack's note begins with.

use std::sync::{Mutex, PoisonError};

use sallyport_audit::HeadSigner as _;
use sallyport_audit::note::PublicKey;
use sallyport_compliance::pack::Signer;
use sallyport_hsm::Keys;

use crate::gateway::adapters::LedgerSigner;

pub(super) struct PackSigner {
    key: PublicKey,
    signer: Mutex<LedgerSigner>,
}

impl PackSigner {
    pub(super) fn new(keys: &Keys, domain: &str) -> Result<Self, String> {
        let signer = LedgerSigner::new(keys, format!("{domain}/reports"));
        let signer = signer.map_err(|error| format!("{error}; {}", error.hint()))?;
        let key = PublicKey::parse(&signer.verifier_key()).map_err(|error| error.to_string())?;
        Ok(Self { key, signer: Mutex::new(signer) })
    }

    pub(super) fn text(&self) -> String {
        self.key.to_string()
    }
}

impl Signer for PackSigner {
    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let mut signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        signer.sign(message).map_err(|error| error.to_string())
    }
}
