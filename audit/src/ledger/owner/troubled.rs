//! What the owner does while nothing can be written: it refuses whoever waits, keeps what was only enqueued, and goes on
//! when the files were opened again.

use std::collections::VecDeque;

use super::super::numbering::Numbering;
use super::super::trouble::Trouble;
use super::super::{AppendError, LedgerError};
use super::{Handover, Owner, Pending, answer, describe};

impl Owner {
    /// A group was not written: nothing is, until the files were opened again.
    pub(super) fn unwritten(&mut self, drafts: impl IntoIterator<Item = Pending>, reason: String) {
        self.gathering.failed();
        let error = AppendError::Recovering { reason: reason.clone() };
        let pause = self.options.retry_interval;
        let trouble = self.trouble.get_or_insert_with(|| Trouble::new(reason, pause));
        trouble.unwritten.extend(enqueued(drafts, &error));
        self.refuse_in_trouble();
    }

    /// While nothing can be written whoever waits is told; what was only enqueued is kept until something can.
    pub(super) fn refuse_in_trouble(&mut self) {
        let Some(trouble) = &self.trouble else { return };
        let error = AppendError::Recovering { reason: trouble.reason.clone() };
        let open = self.numbering.close().into_iter().flat_map(|unsigned| unsigned.waiting);
        let open: Vec<_> = open.map(|(pending, _)| pending).collect();
        self.held.extend(enqueued(open.into_iter().chain(self.waiting.drain(..)), &error));
        if let Some(Handover { reply, .. }) = self.handover.take() {
            let _ = reply.send(Err(error));
        }
    }

    /// The files are as they were acknowledged, and can be written: numbering goes on there.
    pub(super) fn recovered(&mut self, numbering: Numbering) {
        (self.signing, self.again) = (false, true);
        self.numbering = numbering;
        if let Some(mut trouble) = self.trouble.take() {
            trouble.unwritten.append(&mut self.held);
            self.held = trouble.unwritten;
        }
        // Only now, so that whoever sees it and appends is not refused.
        self.publisher.recovered();
    }

    /// The files could not be opened again: later, or never.
    pub(super) fn unrecovered(&mut self, error: &LedgerError) -> Result<(), String> {
        self.signing = false;
        let reason = describe(error);
        if !error.may_pass() {
            let reason = format!("{reason} ({})", error.hint());
            self.publisher.failed(&reason);
            return Err(reason);
        }
        self.publisher.recovering(&reason);
        if let Some(trouble) = &mut self.trouble {
            trouble.again(reason);
        }
        Ok(())
    }
}

/// Whoever waits for a draft is told; the others are given back.
pub(super) fn enqueued(drafts: impl IntoIterator<Item = Pending>, error: &AppendError) -> VecDeque<Pending> {
    let mut enqueued = VecDeque::new();
    for pending in drafts {
        if pending.reply.is_some() {
            answer(pending, error.clone());
        } else {
            enqueued.push_back(pending);
        }
    }
    enqueued
}
