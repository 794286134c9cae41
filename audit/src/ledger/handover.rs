//! Hands the ledger over to another key.
//!
//! The record that names old and new key closes a group of its own, the head over that group carries both
//! signatures, and every later head is by the new key alone. If the group is not signed nothing has happened: the
//! old key stays.

use tokio::sync::oneshot;

use super::owner::{Handover, Message};
use super::signing::Own;
use super::{AppendError, Ledger, Receipt};
use crate::keys::HeadSigner;

impl Ledger {
    /// Has every head from now on signed by `to`, after one that both keys sign over the record that says so.
    ///
    /// The receipt is that of the record. If the future is dropped it may happen all the same.
    pub async fn hand_over(&self, to: Box<dyn HeadSigner>) -> Result<Receipt, AppendError> {
        let to =
            Own::new(to).map_err(|error| AppendError::SignerUnavailable { reason: error.to_string() })?;
        let (reply, answer) = oneshot::channel();
        self.shared.sender.tell(Message::HandOver(Handover { to, reply }));
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }
}
