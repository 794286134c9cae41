//! Whether the keys can be used: a state machine, pure, so that every order of events is tested.
//!
//! `Up` → `Suspect` (a call failed; the token is asked) → `Down` → `Recovering` → `Up`. What only a person can
//! mend, a PIN that is wrong or locked, is `NeedsOperator`: nothing is tried there until that person has acted,
//! for a loop of wrong PINs locks a real token. Late reports of an outage that is known change nothing but its words.

use jiff::Timestamp;
use serde::Serialize;

use crate::error::KeyError;

/// The provider's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// Keys can be used.
    Up,
    /// A call failed and the provider is being asked whether it is well; keys can still be used.
    Suspect,
    /// Keys cannot be used; the next attempt to recover is a pause away.
    Down(Outage),
    /// Keys cannot be used; an attempt to recover is under way.
    Recovering(Outage),
    /// Keys cannot be used, and nothing is tried until somebody corrects the PIN.
    NeedsOperator(Outage),
}

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Since when.
    pub since: Timestamp,
    /// What kind of trouble was seen last.
    pub cause: Cause,
    /// The same in words, for who may read the log.
    pub reason: String,
    /// How many rounds of recovery have begun.
    pub attempts: u32,
}

/// Kinds of trouble, told apart because somebody would do something else about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// No token with our label.
    TokenAbsent,
    /// Another token with our label, or ours after it was initialised anew.
    TokenExchanged,
    /// The PIN is wrong.
    PinRefused,
    /// The PIN is locked, expired or not set.
    PinLocked,
    /// The PIN cannot be read from its file.
    PinUnreadable,
    /// A call does not end.
    NotAnswering,
    /// A key is gone.
    KeyMissing,
    /// The module does not start.
    ModuleRefuses,
    /// The token answers with an error.
    Fault,
}

impl Cause {
    pub(crate) fn of(error: &KeyError) -> Self {
        match error {
            KeyError::TokenAbsent { .. } | KeyError::TokenAmbiguous { .. } => Self::TokenAbsent,
            KeyError::TokenExchanged { .. } => Self::TokenExchanged,
            KeyError::WrongPin { .. } => Self::PinRefused,
            KeyError::PinLocked { .. } => Self::PinLocked,
            KeyError::PinFile { .. } => Self::PinUnreadable,
            KeyError::TimedOut { .. } | KeyError::Stuck => Self::NotAnswering,
            KeyError::KeyMissing { .. } | KeyError::AbilityLost { .. } => Self::KeyMissing,
            KeyError::ModuleMissing { .. }
            | KeyError::NotAModule { .. }
            | KeyError::ConfigurationMissing { .. } => Self::ModuleRefuses,
            _ => Self::Fault,
        }
    }

    /// Whether trying again by ourselves can only make it worse.
    pub(crate) const fn needs_operator(self) -> bool {
        matches!(self, Self::PinRefused | Self::PinLocked)
    }

    /// The word in status and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenAbsent => "token-absent",
            Self::TokenExchanged => "token-exchanged",
            Self::PinRefused => "pin-refused",
            Self::PinLocked => "pin-locked",
            Self::PinUnreadable => "pin-unreadable",
            Self::NotAnswering => "not-answering",
            Self::KeyMissing => "key-missing",
            Self::ModuleRefuses => "module-refuses",
            Self::Fault => "fault",
        }
    }
}

/// What was seen of the provider.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A call failed in a way that may be the provider's.
    Doubted,
    /// Asked after a doubt, it answers.
    Cleared,
    /// The provider itself fails.
    Failed(Cause, String),
    /// A round of recovery begins.
    Trying,
    /// A person has acted on what only a person can mend.
    Resumed,
    /// Recovery found it well.
    Recovered,
}

impl Health {
    /// The outage, if keys cannot be used.
    pub const fn outage(&self) -> Option<&Outage> {
        match self {
            Self::Up | Self::Suspect => None,
            Self::Down(outage) | Self::Recovering(outage) | Self::NeedsOperator(outage) => Some(outage),
        }
    }

    /// The word in status.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down(_) => "down",
            Self::Recovering(_) => "recovering",
            Self::NeedsOperator(_) => "needs-operator",
        }
    }

    /// The state after `event`; `None` if it changes nothing.
    pub(crate) fn after(&self, event: &Event, now: Timestamp) -> Option<Self> {
        match (self, event) {
            (Self::Up, Event::Doubted) => Some(Self::Suspect),
            (Self::Suspect, Event::Cleared | Event::Recovered) => Some(Self::Up),
            (_, Event::Recovered) if self.outage().is_some() => Some(Self::Up),
            (Self::NeedsOperator(outage), Event::Resumed) | (Self::Down(outage), Event::Trying) => {
                Some(Self::Recovering(outage.again()))
            }
            // Who reports late must not hide what the operator has to do.
            (Self::NeedsOperator(_), Event::Failed(..)) => None,
            (Self::Down(known), Event::Failed(cause, reason))
                if (known.cause, &known.reason) == (*cause, reason) =>
            {
                None
            }
            (_, Event::Failed(cause, reason)) => {
                let (since, attempts) =
                    self.outage().map_or((now, 0), |outage| (outage.since, outage.attempts));
                let outage = Outage { since, cause: *cause, reason: reason.clone(), attempts };
                Some(if cause.needs_operator() { Self::NeedsOperator(outage) } else { Self::Down(outage) })
            }
            _ => None,
        }
    }
}

impl Outage {
    fn again(&self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
