//! Whether a new session could be recorded and signed right now, and, if the operator wants that, watched by others and sent to
//! the SIEM.

use sallyport_audit::LedgerStatus;
use sallyport_audit::witnessing::Witnessed;
use sallyport_hsm::Health;
use tokio::sync::watch;

/// Watches ledger and HSM, and the witnesses if no session may begin without them.
#[derive(Clone)]
pub struct Readiness {
    witnessed: Option<watch::Receiver<Witnessed>>,
    /// Sessions wait while nothing can be recorded.
    queueing: bool,
    ledger: watch::Receiver<LedgerStatus>,
    hsm: watch::Receiver<Health>,
    deaths: Option<watch::Receiver<Deaths>>,
}

/// Which sinks are dead, as far as anything follows from it: a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// No session begins for it.
    pub stopping: Option<String>,
    /// The gateway is said not to be ready, and serves.
    pub degrading: Option<String>,
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
    /// Too few witnesses have seen the ledger lately, and the policy is to fail closed.
    #[error("the ledger is {0}")]
    Unwitnessed(String),
    /// A sink delivers nothing, and the policy is to say so or to stop.
    #[error("{0}")]
    Undelivered(String),
}

impl Unready {
    /// What a peer is told: that it is so, and not what stands in our logs.
    pub fn in_public(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "the gateway's ledger takes no records now",
            Self::Hsm(_) => "the gateway's keys do not answer now",
            Self::Unwitnessed(_) => "the gateway's ledger is not witnessed now",
            Self::Undelivered(_) => "the gateway's records reach no monitoring now",
        }
    }

    /// Stable code, listed in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "ledger-down",
            Self::Hsm(_) => "hsm-down",
            Self::Unwitnessed(_) => "not-witnessed",
            Self::Undelivered(_) => "sink-dead",
        }
    }
}

impl Readiness {
    /// Follows the two.
    pub fn new(ledger: watch::Receiver<LedgerStatus>, hsm: watch::Receiver<Health>) -> Self {
        Self { ledger, hsm, witnessed: None, queueing: false, deaths: None }
    }

    /// Refuses also while too few witnesses have seen the ledger lately.
    #[must_use]
    pub fn and_witnessed(self, witnessed: watch::Receiver<Witnessed>) -> Self {
        Self { witnessed: Some(witnessed), ..self }
    }

    /// Refuses also while a sink is dead whose death stops sessions.
    #[must_use]
    pub fn and_delivered(self, deaths: watch::Receiver<Deaths>) -> Self {
        Self { deaths: Some(deaths), ..self }
    }

    /// Lets sessions wait while nothing can be recorded, because of keys or disk.
    #[must_use]
    pub fn and_queueing(self, queueing: bool) -> Self {
        Self { queueing, ..self }
    }

    /// `Ok` if a session may be begun now: it can be recorded, or may wait until it can.
    pub fn admits(&self) -> Result<(), Unready> {
        let stalled = self.ledger.borrow().may_pass();
        match self.check() {
            Err(Unready::Hsm(_)) if self.queueing => self.watched(),
            Err(Unready::Ledger(_)) if self.queueing && stalled => self.watched(),
            other => other,
        }
    }

    fn watched(&self) -> Result<(), Unready> {
        match self.witnessed.as_ref().map(watch::Receiver::borrow) {
            Some(witnessed) if !witnessed.fresh => return Err(Unready::Unwitnessed(witnessed.sentence())),
            _ => {}
        }
        let stopping = self.deaths.as_ref().and_then(|deaths| deaths.borrow().stopping.clone());
        stopping.map_or(Ok(()), |sentence| Err(Unready::Undelivered(sentence)))
    }

    /// What is told to whoever watches the gateway: also what stands in nobody's way.
    pub fn health(&self) -> Result<(), Unready> {
        self.check()?;
        let degrading = self.deaths.as_ref().and_then(|deaths| deaths.borrow().degrading.clone());
        degrading.map_or(Ok(()), |sentence| Err(Unready::Undelivered(sentence)))
    }

    /// `Ok` if a session could be opened now. The HSM comes first: a ledger that stalls for want of signatures is its
    /// consequence.
    pub fn check(&self) -> Result<(), Unready> {
        if let Some(outage) = self.hsm.borrow().outage() {
            return Err(Unready::Hsm(outage.reason.clone()));
        }
        match &*self.ledger.borrow() {
            LedgerStatus::Open { .. } => self.watched(),
            LedgerStatus::Closed => Err(Unready::Ledger("it is closed".to_owned())),
            LedgerStatus::Recovering { reason } => {
                Err(Unready::Ledger(format!("{reason}; it goes on by itself when it can be written")))
            }
            LedgerStatus::Stalled { reason } | LedgerStatus::Failed { reason } => {
                Err(Unready::Ledger(reason.clone()))
            }
        }
    }
}
