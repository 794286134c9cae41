//! The thread that has groups signed, one at a time, and hands them on to be written.
//!
//! A signature is believed only after it was checked. When the key provider does not sign, the group goes back
//! to the owner, which takes its numbers back; there is never a second group here by then.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::numbering::Unsigned;
use super::owner::{Message, Messages, Pending, refuse};
use super::publisher::Publisher;
use super::{AppendError, Receipt};
use crate::chain::Chain;
use crate::journal::Group;
use crate::keys::HeadSigner;
use crate::note::{PublicKey, SignedNote};

/// What the thread is asked to do.
pub(super) enum Order {
    /// Have this group signed.
    Sign(Unsigned),
    /// Find out whether signing works again.
    Probe,
}

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
    Stalled(Unsigned, String),
    /// A fault in the program.
    Failed(Vec<(Pending, Receipt)>, String),
}

impl Signing {
    /// Has the group signed.
    pub(super) fn sign(&mut self, unsigned: Unsigned) -> Result<Signed, Unable> {
        let note: Arc<str> = match self.head(&unsigned.chain) {
            Ok(note) => note.into(),
            Err(reason) => return Err(Unable::Stalled(unsigned, reason)),
        };
        let Unsigned { chain, group, waiting, .. } = unsigned;
        self.chain = chain.clone();
        match group.finish(&note) {
            Some(group) => Ok(Signed { chain, note, group, waiting }),
            None => Err(Unable::Failed(waiting, "a group grew too long".to_owned())),
        }
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

    /// Works until the owner is gone.
    pub(super) fn run(
        mut self,
        orders: &Receiver<Order>,
        writer: &SyncSender<Signed>,
        owner: &Messages,
        publisher: &Publisher,
    ) {
        for order in orders {
            let stalled = match order {
                Order::Probe => {
                    // The head that is already signed, once more.
                    let chain = self.chain.clone();
                    self.head(&chain).err().map(|reason| (None, reason))
                }
                Order::Sign(unsigned) => match self.sign(unsigned) {
                    Ok(signed) => {
                        publisher.signing();
                        // Waits while one group is being written and another waits for that.
                        if let Err(refused) = writer.send(signed) {
                            let reason = "the thread that writes the journal is gone".to_owned();
                            refuse(refused.0.waiting, &AppendError::Failed { reason: reason.clone() });
                            owner.tell(Message::Broken(reason));
                            return;
                        }
                        None
                    }
                    Err(Unable::Stalled(unsigned, reason)) => Some((Some(unsigned), reason)),
                    Err(Unable::Failed(waiting, reason)) => {
                        publisher.failed(&reason);
                        refuse(waiting, &AppendError::Failed { reason: reason.clone() });
                        owner.tell(Message::Broken(reason));
                        return;
                    }
                },
            };
            owner.tell(match stalled {
                None => {
                    publisher.signing();
                    Message::Free
                }
                Some((unsigned, reason)) => Message::Stalled(unsigned.map(Box::new), reason),
            });
        }
    }
}
