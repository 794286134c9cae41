//! Has groups signed, one at a time.
//!
//! A signature is believed only after it was checked. When the key provider does not sign, the group is given
//! back, so that its numbers can be taken back; there is never a second group here by then.

use std::sync::Arc;

use super::Receipt;
use super::numbering::Unsigned;
use super::owner::Pending;
use crate::chain::Chain;
use crate::journal::Group;
use crate::keys::HeadSigner;
use crate::note::{PublicKey, SignedNote};

/// A group that is ready to be written.
pub(super) struct Signed {
    pub(super) chain: Chain,
    pub(super) note: Arc<str>,
    pub(super) group: Group<Vec<u8>>,
    pub(super) waiting: Vec<(Pending, Receipt)>,
}

/// Signs heads.
pub(super) struct Signing {
    pub(super) signer: Box<dyn HeadSigner>,
    pub(super) key: PublicKey,
    pub(super) origin: String,
    /// Where the ledger stands with all that was signed.
    pub(super) chain: Chain,
}

/// Why a group is not signed.
pub(super) enum Unable {
    /// The key provider did not do its part; here is the group again.
    Stalled(Box<Unsigned>, String),
    /// A fault in the program.
    Failed(Vec<(Pending, Receipt)>, String),
}

impl Signing {
    /// Has the group signed.
    pub(super) fn sign(&mut self, unsigned: Box<Unsigned>) -> Result<Signed, Unable> {
        let note: Arc<str> = match self.head(&unsigned.chain) {
            Ok(note) => note.into(),
            Err(reason) => return Err(Unable::Stalled(unsigned, reason)),
        };
        let Unsigned { chain, group, waiting, .. } = *unsigned;
        self.chain = chain.clone();
        match group.finish(&note) {
            Some(group) => Ok(Signed { chain, note, group, waiting }),
            None => Err(Unable::Failed(waiting, "a group grew too long".to_owned())),
        }
    }

    /// Asks whether signing works, by signing the head that is already signed.
    pub(super) fn probe(&mut self) -> Result<(), String> {
        let chain = self.chain.clone();
        self.head(&chain).map(drop)
    }

    /// The signed head over `chain`.
    fn head(&mut self, chain: &Chain) -> Result<String, String> {
        let text = chain.checkpoint(&self.origin).text();
        let signature = self.signer.sign(text.as_bytes()).map_err(|error| error.to_string())?;
        if !self.key.verify(text.as_bytes(), &signature) {
            return Err("the key provider returned a false signature".to_owned());
        }
        Ok(SignedNote::new(text, &self.key, &signature).to_string())
    }
}
