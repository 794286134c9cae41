//! Where others see how far the ledger is, and whether it takes records.

use std::sync::Arc;

use tokio::sync::watch;

use super::LedgerStatus;

/// Written by the ledger's threads, followed by whoever likes.
pub(super) struct Publisher {
    pub(super) status: watch::Sender<LedgerStatus>,
    pub(super) heads: watch::Sender<u64>,
    pub(super) note: watch::Sender<Arc<str>>,
}

impl Publisher {
    /// So many records are durable, under this head.
    pub(super) fn durable(&self, records: u64, note: Arc<str>) {
        self.note.send_replace(note);
        self.heads.send_replace(records);
        self.status.send_if_modified(|status| match status {
            LedgerStatus::Open { records: known } => {
                *known = records;
                true
            }
            _ => false,
        });
    }

    /// The key provider signs.
    pub(super) fn signing(&self) {
        let records = *self.heads.borrow();
        self.status.send_if_modified(|status| {
            let stalled = matches!(status, LedgerStatus::Stalled { .. });
            if stalled {
                *status = LedgerStatus::Open { records };
            }
            stalled
        });
    }

    /// The key provider does not sign or seal.
    pub(super) fn stalled(&self, reason: &str) {
        tracing::warn!(reason, "the ledger cannot sign; nothing is recorded until it can");
        self.status.send_if_modified(|status| {
            let worse = matches!(status, LedgerStatus::Failed { .. } | LedgerStatus::Recovering { .. });
            if !worse {
                *status = LedgerStatus::Stalled { reason: reason.to_owned() };
            }
            !worse
        });
    }

    /// Writing failed, and is tried again.
    pub(super) fn recovering(&self, reason: &str) {
        let hint = "nothing is recorded until it can be written: make room or look at the disk; the ledger then goes on by itself, and what was acknowledged is kept";
        tracing::error!(reason, hint, "the ledger cannot be written");
        self.status.send_if_modified(|status| {
            let failed = matches!(status, LedgerStatus::Failed { .. });
            if !failed {
                *status = LedgerStatus::Recovering { reason: reason.to_owned() };
            }
            !failed
        });
    }

    /// Writing works again.
    pub(super) fn recovered(&self) {
        let records = *self.heads.borrow();
        tracing::warn!(records, "the ledger is written again; nothing acknowledged is missing");
        self.status.send_if_modified(|status| {
            let recovering = matches!(status, LedgerStatus::Recovering { .. });
            if recovering {
                *status = LedgerStatus::Open { records };
            }
            recovering
        });
    }

    /// The ledger has stopped for good.
    pub(super) fn failed(&self, reason: &str) {
        let hint = "no record is taken any more: read the reason, then restart the gateway; what was acknowledged is kept";
        tracing::error!(reason, hint, "the ledger has stopped");
        self.status.send_replace(LedgerStatus::Failed { reason: reason.to_owned() });
    }

    /// It was closed on purpose, unless it had failed before.
    pub(super) fn closed(&self) {
        self.status.send_if_modified(|status| {
            let failed = matches!(status, LedgerStatus::Failed { .. });
            if !failed {
                *status = LedgerStatus::Closed;
            }
            !failed
        });
    }
}
