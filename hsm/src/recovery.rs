//! How a token that failed is brought back: which step, and when. Pure, so that every case is tested.
//!
//! From the gentle to the harsh: find the keys again over a new session; log in again; finalise and
//! initialise the module again, which ends every session in the process. Measured: SoftHSM, once its token
//! directory went away and came back, recovers only by the last.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// A new session, and the key found in it.
    Refind,
    /// A new login, if the token has forgotten ours.
    Relogin,
    /// `C_Finalize` and `C_Initialize`.
    Reinitialise,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Try(Step),
    Wait(Duration),
}

/// The first pause; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// One outage, from the first failed probe to the first good one.
#[derive(Debug)]
pub(crate) struct Recovery {
    next: Action,
    pause: Duration,
    longest: Duration,
}

impl Recovery {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { next: Action::Try(Step::Refind), pause: FIRST_PAUSE.min(longest), longest }
    }

    /// After a person has acted on the PIN: the module reads the token anew before the PIN is presented. Measured: SoftHSM
    /// compares it with what it read earlier, and a token counts each refusal.
    pub(crate) fn anew(longest: Duration) -> Self {
        Self { next: Action::Try(Step::Reinitialise), ..Self::new(longest) }
    }

    /// The next action. It is taken to fail: after a success the outage is over and this value dropped.
    pub(crate) fn advance(&mut self) -> Action {
        let now = self.next;
        self.next = match now {
            Action::Try(Step::Refind) => Action::Try(Step::Relogin),
            Action::Try(Step::Relogin) => Action::Try(Step::Reinitialise),
            Action::Try(Step::Reinitialise) => Action::Wait(self.pause),
            Action::Wait(_) => {
                self.pause = self.pause.saturating_mul(2).min(self.longest);
                Action::Try(Step::Refind)
            }
        };
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gentle_steps_come_before_harsh_ones() {
        let mut recovery = Recovery::new(Duration::from_secs(5));
        let steps: Vec<_> = (0..3).map(|_| recovery.advance()).collect();
        assert_eq!(
            steps,
            [Action::Try(Step::Refind), Action::Try(Step::Relogin), Action::Try(Step::Reinitialise)]
        );
    }

    #[test]
    fn pauses_grow_up_to_their_bound_and_recovery_never_ends() {
        let mut recovery = Recovery::new(Duration::from_secs(2));
        let pauses: Vec<_> = (0..40)
            .filter_map(|_| match recovery.advance() {
                Action::Wait(pause) => Some(pause.as_millis()),
                Action::Try(_) => None,
            })
            .collect();
        assert_eq!(pauses[..5], [250, 500, 1000, 2000, 2000]);
        assert_eq!(pauses.len(), 10);
    }
}
