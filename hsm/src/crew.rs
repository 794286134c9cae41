//! The threads that use the provider: workers with a session each, and the watch that recovers it.
//!
//! Calls into a token block, sometimes for long, so they never run on an async worker. A job waits in a
//! bounded queue; its caller waits for a bounded time, and a job whose caller has left is not done. A fault
//! is first blamed on the session (which is replaced, and the job tried once more) and then on the token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::Tuning;
use crate::error::{Fault, KeyError};
use crate::health::Pulse;
use crate::provider::{Provider, Store};
use crate::recovery::{Action, Recovery};

/// How long dropping the crew waits for calls that are in the token.
const GRACE: Duration = Duration::from_secs(5);

/// Something to be done with a provider.
pub(crate) trait Job: Send {
    /// Whether the caller has stopped waiting.
    fn is_abandoned(&self) -> bool;
    /// Tells the caller that its time no longer passes in the queue.
    fn begin(&self);
    /// Does it; may be called again after a fault.
    fn attempt(&mut self, provider: &mut dyn Provider) -> Result<(), KeyError>;
    /// Answers the caller.
    fn answer(self: Box<Self>, outcome: Result<(), KeyError>);
}

/// The threads of one store.
pub(crate) struct Crew {
    queue: Option<SyncSender<Box<dyn Job>>>,
    pulse: Pulse,
    closing: Arc<AtomicBool>,
    /// Each thread holds a sender; when all are gone, so are the threads.
    gone: Mutex<Receiver<()>>,
}

impl Crew {
    /// Starts the threads of a store that is open and answers.
    pub(crate) fn start(store: Arc<dyn Store>, tuning: &Tuning) -> Result<Self, KeyError> {
        let (queue, jobs) = mpsc::sync_channel(tuning.queue.max(1));
        let (bell, rung) = mpsc::sync_channel(1);
        let (alive, gone) = mpsc::channel();
        let crew = Self {
            queue: Some(queue),
            pulse: Pulse::new(bell),
            closing: Arc::new(AtomicBool::new(false)),
            gone: Mutex::new(gone),
        };
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..tuning.workers.max(1) {
            let worker = Worker { store: Arc::clone(&store), provider: None, pulse: crew.pulse.clone() };
            let (jobs, alive) = (Arc::clone(&jobs), alive.clone());
            spawn(format!("keys-{number}"), move || {
                worker.run(&jobs);
                drop(alive);
            })?;
        }
        let watch = Watch {
            store,
            provider: None,
            pulse: crew.pulse.clone(),
            closing: Arc::clone(&crew.closing),
            rung,
            tuning: tuning.clone(),
        };
        spawn("keys-watch".to_owned(), move || {
            watch.run();
            drop(alive);
        })?;
        Ok(crew)
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Queues a job; refused at once while the provider is down or the queue is full.
    pub(crate) fn submit(&self, job: Box<dyn Job>) -> Result<(), KeyError> {
        self.pulse.check()?;
        let queue = self.queue.as_ref().ok_or(KeyError::Closed)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => KeyError::Busy,
            TrySendError::Disconnected(_) => KeyError::Closed,
        })
    }
}

impl Drop for Crew {
    /// Waits until no thread is in the module: its exit handlers must not run beside a call.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        self.queue = None;
        self.pulse.ring();
        let gone = self.gone.get_mut().unwrap_or_else(PoisonError::into_inner);
        if gone.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a call into the key provider did not end; leaving it behind");
        }
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<(), KeyError> {
    thread::Builder::new()
        .name(name)
        .spawn(body)
        .map(drop)
        .map_err(|error| KeyError::operation("start a thread for the key provider", Fault::from(error)))
}

struct Worker {
    store: Arc<dyn Store>,
    provider: Option<Box<dyn Provider>>,
    pulse: Pulse,
}

impl Worker {
    fn run(mut self, jobs: &Mutex<Receiver<Box<dyn Job>>>) {
        loop {
            // One worker waits in `recv` and the others for the lock: the same queue, in order.
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(mut job) = next else { return };
            if job.is_abandoned() {
                continue;
            }
            if let Err(down) = self.pulse.check() {
                self.provider = None;
                job.answer(Err(down));
                continue;
            }
            job.begin();
            let outcome = self.serve(job.as_mut());
            job.answer(outcome);
        }
    }

    /// Does a job. After a fault it is tried once more over a new session, if the token answers there.
    fn serve(&mut self, job: &mut dyn Job) -> Result<(), KeyError> {
        let mut tried_again = false;
        loop {
            let outage = self.pulse.outages();
            let error = match self.connected().and_then(|provider| job.attempt(provider)) {
                Err(error) if error.is_fault() => error,
                outcome => return outcome,
            };
            // Perhaps only this session died: idle for too long, or its module re-initialised.
            self.provider = None;
            match self.connected().and_then(Provider::probe) {
                Ok(()) if tried_again => return Err(error), // the token is well: the fault is this request's
                Ok(()) => {}
                Err(trouble) => {
                    self.provider = None;
                    self.pulse.down_during(outage, &trouble);
                    self.pulse.check()?;
                    // An outage that ended while we looked at it.
                    if tried_again {
                        return Err(error);
                    }
                }
            }
            tried_again = true;
        }
    }

    fn connected(&mut self) -> Result<&mut (dyn Provider + 'static), KeyError> {
        if self.provider.is_none() {
            self.provider = Some(self.store.connect()?);
        }
        self.provider.as_deref_mut().ok_or(KeyError::Closed)
    }
}

struct Watch {
    store: Arc<dyn Store>,
    provider: Option<Box<dyn Provider>>,
    pulse: Pulse,
    closing: Arc<AtomicBool>,
    rung: Receiver<()>,
    tuning: Tuning,
}

impl Watch {
    fn run(mut self) {
        loop {
            let _rung_or_time = self.rung.recv_timeout(self.tuning.probe_every);
            if self.is_closing() {
                return;
            }
            match self.probe() {
                Ok(()) => self.pulse.up(),
                Err(error) => {
                    self.pulse.down(&error);
                    self.recover();
                }
            }
        }
    }

    fn recover(&mut self) {
        let mut recovery = Recovery::new(self.tuning.recover_every);
        let mut last = None;
        while !self.is_closing() {
            match recovery.advance() {
                Action::Wait(pause) => {
                    // One report a round, and of the harshest step: what is wrong when nothing helps.
                    if let Some(error) = last.take() {
                        self.pulse.down(&error);
                    }
                    // Our own reports ring too: a ring that is waiting must not cut the pause short.
                    while self.rung.try_recv().is_ok() {}
                    let _rung_or_time = self.rung.recv_timeout(pause);
                }
                Action::Try(step) => {
                    self.provider = None;
                    match self.store.recover(step).and_then(|()| self.probe()) {
                        Ok(()) => {
                            tracing::info!(?step, "the key provider answers again");
                            self.pulse.up();
                            return;
                        }
                        Err(error) => {
                            tracing::debug!(?step, %error, "a step of recovery failed");
                            last = Some(error);
                        }
                    }
                }
            }
        }
    }

    fn probe(&mut self) -> Result<(), KeyError> {
        if let Some(provider) = &mut self.provider
            && provider.probe().is_ok()
        {
            return Ok(());
        }
        let provider = self.provider.insert(self.store.connect()?);
        provider.probe()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
