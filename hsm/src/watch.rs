//! The thread that asks an idle provider whether it is well, and brings it back when it is not.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::crew::{Staff, now};
use crate::error::KeyError;
use crate::health::Cause;
use crate::provider::Provider;
use crate::recovery::{Action, Recovery};
use crate::seat::Seat;

pub(crate) struct Watch {
    /// Dropped before the rest: `staff` tells that this thread is gone, and then the module's exit handlers may run.
    provider: Option<Box<dyn Provider>>,
    seat: Arc<Seat>,
    staff: Staff,
}

/// The seat was given to another thread while this one was in a call.
struct Replaced;

impl Watch {
    pub(crate) fn new(staff: Staff, seat: Arc<Seat>) -> Self {
        Self { staff, seat, provider: None }
    }

    pub(crate) fn run(mut self) {
        if let Err(Replaced) = self.keep_watch() {
            self.provider = None;
            self.staff.found();
        }
    }

    fn keep_watch(&mut self) -> Result<(), Replaced> {
        loop {
            self.rest(self.staff.tuning.probe_every);
            if self.is_closing() {
                return Ok(());
            }
            match self.call(self.staff.tuning.sign_timeout, Self::probe)? {
                Ok(()) => self.staff.pulse.up(),
                Err(error) => {
                    self.staff.pulse.down(&error);
                    self.recover()?;
                }
            }
        }
    }

    fn recover(&mut self) -> Result<(), Replaced> {
        let longest = self.staff.tuning.recover_every;
        let mut recovery = Recovery::new(longest);
        let mut last = None;
        while !self.is_closing() {
            match recovery.advance() {
                Action::Wait(pause) => {
                    // One report a round, and of the harshest step: what is wrong when nothing helps.
                    if let Some(error) = last.take() {
                        self.staff.pulse.down(&error);
                    }
                    // Our own reports ring too: a ring that is waiting must not cut the pause short.
                    while self.staff.rung.lock().unwrap_or_else(PoisonError::into_inner).try_recv().is_ok() {}
                    self.rest(pause);
                }
                Action::Try(step) => {
                    self.staff.pulse.trying();
                    let tried = self.call(self.staff.tuning.admin_timeout, |watch| {
                        watch.provider = None;
                        watch.staff.store.recover(step).and_then(|()| watch.probe())
                    })?;
                    match tried {
                        Ok(()) => {
                            tracing::info!(?step, "the key provider answers again");
                            self.staff.pulse.up();
                            return Ok(());
                        }
                        Err(error) if Cause::of(&error).needs_operator() => {
                            self.staff.pulse.down(&error);
                            self.await_operator()?;
                            (recovery, last) = (Recovery::anew(longest), None);
                        }
                        Err(error) => {
                            tracing::debug!(?step, %error, "a step of recovery failed");
                            last = Some(error);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns when somebody has corrected the PIN or says that they have. No PIN is presented here.
    fn await_operator(&mut self) -> Result<(), Replaced> {
        while !self.is_closing() {
            self.rest(self.staff.tuning.recover_every);
            let told = self.staff.pulse.was_told();
            let acted = self.call(self.staff.tuning.sign_timeout, |watch| {
                // It may be well without us: another handle in this process has logged in.
                watch.staff.store.may_log_in(told) || watch.probe().is_ok()
            })?;
            if acted {
                self.staff.pulse.resumed();
                return Ok(());
            }
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), KeyError> {
        if let Some(provider) = &mut self.provider
            && provider.probe().is_ok()
        {
            return Ok(());
        }
        let provider = self.provider.insert(self.staff.store.connect()?);
        provider.probe()
    }

    /// A call into the provider, which the overseer sees to.
    fn call<T>(&mut self, patience: Duration, call: impl FnOnce(&mut Self) -> T) -> Result<T, Replaced> {
        self.seat.enter(now(), patience);
        let outcome = call(self);
        if self.seat.leave() { Ok(outcome) } else { Err(Replaced) }
    }

    fn rest(&self, pause: Duration) {
        let rung = self.staff.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let _rung_or_time = rung.recv_timeout(pause);
    }

    fn is_closing(&self) -> bool {
        self.staff.closing.load(Ordering::Acquire)
    }
}
