//! Whether a new session could be recorded and signed right now.

use sallyport_audit::LedgerStatus;
use sallyport_hsm::Health;
use tokio::sync::watch;

/// Watches ledger and HSM.
#[derive(Clone)]
pub struct Readiness {
    ledger: watch::Receiver<LedgerStatus>,
    hsm: watch::Receiver<Health>,
}

/// What stands in the way of new sessions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// The ledger takes no records.
    #[error("the ledger cannot take records: {0}")]
    Ledger(String),
    /// The key provider does not sign.
    #[error("the HSM does not answer: {0}")]
    Hsm(String),
}

impl Unready {
    /// What a peer is told: that it is so, and not what stands in our logs.
    pub fn in_public(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "the gateway's ledger takes no records now",
            Self::Hsm(_) => "the gateway's keys do not answer now",
        }
    }

    /// Stable code, listed in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "ledger-down",
            Self::Hsm(_) => "hsm-down",
        }
    }
}

impl Readiness {
    /// Follows the two.
    pub fn new(ledger: watch::Receiver<LedgerStatus>, hsm: watch::Receiver<Health>) -> Self {
        Self { ledger, hsm }
    }

    /// `Ok` if a session could be opened now. The HSM comes first: a ledger that stalls for want of signatures is its
    /// consequence.
    pub fn check(&self) -> Result<(), Unready> {
        if let Health::Down { reason, .. } = &*self.hsm.borrow() {
            return Err(Unready::Hsm(reason.clone()));
        }
        match &*self.ledger.borrow() {
            LedgerStatus::Open { .. } => Ok(()),
            LedgerStatus::Closed => Err(Unready::Ledger("it is closed".to_owned())),
            LedgerStatus::Stalled { reason } | LedgerStatus::Failed { reason } => {
                Err(Unready::Ledger(reason.clone()))
            }
        }
    }
}
