//! Hands the ledger over to another key, and lets its own key sign the end.
//!
//! The record that names old and new key closes a group of its own, the head over that group carries both
//! signatures, and every later head is by the new key alone. If the group does not become durable nothing has
//! happened: the old key stays.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::owner::{Handover, Message, Owner, Pending, Refusal};
use super::{AppendError, Ledger, Receipt};
use crate::keys::HeadSigner;
use crate::record::Prepared;

impl Ledger {
    /// Has every head from now on signed by `to`, after one that both keys sign over the record that says so.
    ///
    /// The receipt is that of the record. If the future is dropped it may happen all the same.
    pub async fn hand_over(&self, to: Box<dyn HeadSigner>) -> Result<Receipt, AppendError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.sender.send(Message::HandOver(Handover { to, reply }));
        sent.map_err(|mpsc::SendError(_)| self.gone())?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }
}

impl Owner {
    /// An error means that the ledger has stopped.
    pub(super) fn hand_over(&mut self, handover: Option<Handover>) -> Result<(), String> {
        let Some(Handover { to, reply }) = handover else { return Ok(()) };
        let (answer, ended) = match self.try_hand_over(to) {
            Ok(receipt) => (Ok(receipt), Ok(())),
            Err(Refusal::Stalled(reason)) => (Err(AppendError::SignerUnavailable { reason }), Ok(())),
            Err(Refusal::Failed(reason)) => {
                self.fail(&reason);
                (Err(AppendError::Failed { reason: reason.clone() }), Err(reason))
            }
        };
        // Whoever no longer waits does not need the answer.
        let _ = reply.send(answer);
        ended
    }

    fn try_hand_over(&mut self, to: Box<dyn HeadSigner>) -> Result<Receipt, Refusal> {
        let stalled = |error: &dyn std::fmt::Display| Refusal::Stalled(error.to_string());
        let draft = self.signing.begin_handover(to).map_err(|error| stalled(&error))?;
        let prepared = Prepared::new(draft, &self.options.node, [0; 32]).map_err(|error| stalled(&error));
        let committed =
            prepared.and_then(|prepared| self.commit(&[Pending { prepared, reply: None, permit: None }]));
        self.signing.end_handover(committed.is_ok());
        let receipt = committed?.first().copied();
        receipt.ok_or_else(|| Refusal::Failed("the handover has no receipt".to_owned()))
    }

    /// When a lent key signed the last head: the own key signs it too, into the head file.
    pub(super) fn sign_at_end(&mut self) {
        let text = self.chain.checkpoint(&self.options.origin).text();
        let signed = match self.signing.sign_at_end(&text, &self.note) {
            Ok(Some(note)) => self.head.write(&note).map_err(|error| error.to_string()),
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = signed {
            tracing::warn!(reason, "the ledger's own key could not sign the last head; a lent key has");
        }
    }
}
