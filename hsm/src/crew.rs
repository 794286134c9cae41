//! The threads that use the provider: workers with a session each, and the watch that recovers it.
//!
//! Calls into a token block, sometimes for long, so they never run on an async worker. A job waits in a
//! bounded queue; its caller waits for a bounded time, and a job whose caller has left is not done. A fault
//! is first blamed on the session (which is replaced, and the job tried once more) and then on the token.
//!
//! A call that does not end cannot be stopped. Its thread is left behind and replaced, up to a bound: past that
//! the module is taken to be stuck as a whole, and only its own return, or a restart, helps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Tuning;
use crate::error::{Fault, KeyError};
use crate::pace::Pace;
use crate::provider::{Provider, Store};
use crate::pulse::Pulse;
use crate::seat::Seat;
use crate::watch::Watch;

/// How long dropping the crew waits for calls that are in the token.
const GRACE: Duration = Duration::from_secs(5);

/// Something to be done with a provider.
pub(crate) trait Job: Send {
    /// How long the caller waits.
    fn patience(&self) -> Duration;
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
    pace: Arc<Pace>,
    lost: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
    /// Dropped, it ends the overseer.
    overseer: Option<SyncSender<()>>,
    /// Each thread holds a sender; when all are gone, so are the threads.
    gone: Mutex<Receiver<()>>,
}

/// What every thread has a copy of.
#[derive(Clone)]
pub(crate) struct Staff {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) pulse: Pulse,
    pub(crate) tuning: Tuning,
    pub(crate) closing: Arc<AtomicBool>,
    pub(crate) rung: Arc<Mutex<Receiver<()>>>,
    jobs: Arc<Mutex<Receiver<Box<dyn Job>>>>,
    pace: Arc<Pace>,
    /// Threads in calls that did not end in time.
    lost: Arc<AtomicUsize>,
    _alive: mpsc::Sender<()>,
}

/// What a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    Worker,
    Watch,
}

impl Crew {
    /// Starts the threads of a store that is open and answers.
    pub(crate) fn start(store: Arc<dyn Store>, tuning: &Tuning) -> Result<Self, KeyError> {
        let (queue, jobs) = mpsc::sync_channel(tuning.queue.max(1));
        let (bell, rung) = mpsc::sync_channel(1);
        let (overseer, ended) = mpsc::sync_channel(0);
        let (alive, gone) = mpsc::channel();
        let staff = Staff {
            store,
            pulse: Pulse::new(bell),
            tuning: tuning.clone(),
            closing: Arc::new(AtomicBool::new(false)),
            rung: Arc::new(Mutex::new(rung)),
            jobs: Arc::new(Mutex::new(jobs)),
            pace: Arc::default(),
            lost: Arc::default(),
            _alive: alive,
        };
        let crew = Self {
            queue: Some(queue),
            pulse: staff.pulse.clone(),
            pace: Arc::clone(&staff.pace),
            lost: Arc::clone(&staff.lost),
            closing: Arc::clone(&staff.closing),
            overseer: Some(overseer),
            gone: Mutex::new(gone),
        };
        let posts = std::iter::repeat_n(Post::Worker, tuning.workers.max(1)).chain([Post::Watch]);
        let seats = posts.map(|post| Ok((post, staff.seat(post)?))).collect::<Result<Vec<_>, KeyError>>()?;
        spawn("keys-overseer", move || oversee(&staff, seats, &ended))?;
        Ok(crew)
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// How many threads are in calls that did not end in time.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
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
        self.overseer = None;
        self.pulse.ring();
        let gone = self.gone.get_mut().unwrap_or_else(PoisonError::into_inner);
        if gone.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a call into the key provider did not end; leaving it behind");
        }
    }
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), KeyError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|error| KeyError::operation("start a thread for the key provider", Fault::from(error)))
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Staff {
    /// Starts a thread.
    fn seat(&self, post: Post) -> Result<Arc<Seat>, KeyError> {
        let (staff, seat) = (self.clone(), Arc::new(Seat::default()));
        let own = Arc::clone(&seat);
        match post {
            Post::Worker => spawn("keys-worker", move || Worker { staff, seat: own, provider: None }.run()),
            Post::Watch => spawn("keys-watch", move || Watch::new(staff, own).run()),
        }?;
        Ok(seat)
    }

    /// A thread whose seat was given away is out of its call at last.
    pub(crate) fn found(&self) {
        self.lost.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("a call into the key provider ended that had been given up");
    }
}

/// Replaces threads whose calls do not end. Never calls into the module itself.
fn oversee(staff: &Staff, mut seats: Vec<(Post, Arc<Seat>)>, ended: &Receiver<()>) {
    let every = staff.tuning.sign_timeout / 2;
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let now = now();
        for (post, seat) in &mut seats {
            if !seat.is_overdue(now) {
                continue;
            }
            if *post == Post::Watch {
                // Nobody else would tell: callers are refused, or there are none.
                staff.pulse.down(&KeyError::Stuck);
            }
            if staff.lost.load(Ordering::Relaxed) >= staff.tuning.most_lost {
                continue;
            }
            // Counted before it is given away: the thread that leaves counts itself out.
            staff.lost.fetch_add(1, Ordering::Relaxed);
            if !seat.give_away(now) {
                staff.lost.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            tracing::warn!(?post, "a call into the key provider does not end; its thread is replaced");
            match staff.seat(*post) {
                Ok(another) => *seat = another,
                Err(error) => tracing::error!(%error, "a thread of the key provider could not be replaced"),
            }
            staff.pulse.ring();
        }
    }
}

struct Worker {
    /// Dropped before the rest: `staff` tells that this thread is gone, and then the module's exit handlers may run.
    provider: Option<Box<dyn Provider>>,
    seat: Arc<Seat>,
    staff: Staff,
}

impl Worker {
    fn run(mut self) {
        loop {
            // One worker waits in `recv` and the others for the lock: the same queue, in order.
            let next = self.staff.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(mut job) = next else { return };
            if job.is_abandoned() {
                continue;
            }
            self.seat.enter(now(), job.patience());
            let outcome = match self.staff.pulse.check() {
                Ok(()) => {
                    job.begin();
                    self.serve(job.as_mut())
                }
                Err(down) => {
                    self.provider = None;
                    Err(down)
                }
            };
            job.answer(outcome);
            if !self.seat.leave() {
                self.provider = None;
                self.staff.found();
                return;
            }
        }
    }

    /// Does a job. After a fault it is tried once more over a new session, if the token answers there.
    fn serve(&mut self, job: &mut dyn Job) -> Result<(), KeyError> {
        let mut tried_again = false;
        loop {
            let outage = self.staff.pulse.outages();
            let began = now();
            let attempt = self.connected().and_then(|provider| job.attempt(provider));
            self.staff.pace.note(began.elapsed());
            let error = match attempt {
                Err(error) if error.is_fault() => error,
                outcome => return outcome,
            };
            // Perhaps only this session died: idle for too long, or its module re-initialised.
            self.staff.pulse.doubt();
            self.provider = None;
            match self.connected().and_then(Provider::probe) {
                Ok(()) => {
                    self.staff.pulse.clear();
                    if tried_again {
                        return Err(error); // the token is well: the fault is this request's
                    }
                }
                Err(trouble) => {
                    self.provider = None;
                    self.staff.pulse.down_during(outage, &trouble);
                    self.staff.pulse.check()?;
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
            self.provider = Some(self.staff.store.connect()?);
        }
        self.provider.as_deref_mut().ok_or(KeyError::Closed)
    }
}
