//! Faults that SoftHSM cannot be made to have: a stand-in for the token, with the real threads around it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::*;
use crate::error::Fault;
use crate::health::Cause;
use crate::recovery::Step;

const PATIENCE: Duration = Duration::from_mins(1);

/// A token that does as it is told. A session of an older generation than the token's is dead.
#[derive(Default)]
struct StandIn {
    /// Held by a test, it makes every call into the token hang.
    gate: Mutex<()>,
    generation: AtomicU32,
    refuses: AtomicBool,
    /// Only the next call hangs.
    hangs_once: AtomicBool,
    hung: AtomicBool,
    waiting: AtomicU32,
    signatures: AtomicU32,
    connections: AtomicU32,
    steps: Mutex<Vec<Step>>,
}

impl StandIn {
    fn hang(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap()
    }
}

struct Session(Arc<StandIn>, u32);

impl Session {
    fn call(&self) -> Result<(), KeyError> {
        let spared = self.0.hung.swap(true, Ordering::SeqCst) && self.0.hangs_once.load(Ordering::SeqCst);
        if !spared {
            self.0.waiting.fetch_add(1, Ordering::SeqCst);
            drop(self.0.hang());
            self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        if self.1 == self.0.generation.load(Ordering::SeqCst) { Ok(()) } else { Err(fault()) }
    }
}

fn fault() -> KeyError {
    KeyError::operation("use the stand-in", Fault::new("CKR_DEVICE_ERROR"))
}

/// The store is the token behind an `Arc` of its own, so that a test can hold the token too.
struct Place(Arc<StandIn>);

impl Store for Place {
    fn describe(&self) -> ProviderInfo {
        ProviderInfo::Software { file: "stand-in".into() }
    }

    fn connect(&self) -> Result<Box<dyn Provider>, KeyError> {
        let generation = self.0.generation.load(Ordering::SeqCst);
        if generation == GONE {
            return Err(fault());
        }
        self.0.connections.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Session(Arc::clone(&self.0), generation)))
    }

    fn recover(&self, step: Step) -> Result<(), KeyError> {
        self.0.steps.lock().unwrap().push(step);
        if step == Step::Reinitialise {
            self.0.generation.store(7, Ordering::SeqCst);
            return Ok(());
        }
        Err(fault())
    }

    fn may_log_in(&self, told: bool) -> bool {
        told
    }
}

/// The generation of a token that only a re-initialisation brings back.
const GONE: u32 = u32::MAX;

impl Provider for Session {
    fn list(&mut self) -> Result<Vec<KeyInfo>, KeyError> {
        Ok(Vec::new())
    }

    fn generate(&mut self, role: Role, _: Term) -> Result<KeyInfo, KeyError> {
        Err(KeyError::WrongUse { role, wanted: "be made in a stand-in".into() })
    }

    fn successor(&mut self, _: Role) -> Result<Option<KeyInfo>, KeyError> {
        Ok(None)
    }

    fn abilities(&mut self) -> Result<Vec<Ability>, KeyError> {
        Ok(Vec::new())
    }

    fn promote(&mut self, role: Role, _: &str) -> Result<(), KeyError> {
        Err(KeyError::NoSuccessor { role })
    }

    fn public_key(&mut self, role: Role, _: Term) -> Result<PublicKey, KeyError> {
        Err(KeyError::WrongUse { role, wanted: "be shown by a stand-in".into() })
    }

    fn sign(&mut self, _role: Role, _: Term, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.call()?;
        if self.0.refuses.load(Ordering::SeqCst) {
            return Err(fault());
        }
        self.0.signatures.fetch_add(1, Ordering::SeqCst);
        Ok(message.to_vec())
    }

    fn sign_by(&mut self, role: Role, _: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign(role, Term::Present, message)
    }

    fn wrapping_key(&mut self) -> Result<String, KeyError> {
        Ok(String::new())
    }

    fn rewrap_seeds(&mut self) -> Result<usize, KeyError> {
        Ok(0)
    }

    fn wrap(&mut self, _purpose: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(secret.to_vec())
    }

    fn unwrap(&mut self, _purpose: &str, wrapped: &[u8]) -> Result<Secret, KeyError> {
        Secret::copy_of(wrapped)
    }

    fn probe(&mut self) -> Result<(), KeyError> {
        self.call()
    }
}

fn keys(tuning: Tuning) -> (Arc<StandIn>, Keys) {
    let token = Arc::new(StandIn::default());
    let keys = Keys::with_store(Arc::new(Place(Arc::clone(&token))), tuning).unwrap();
    (token, keys)
}

fn quick() -> Tuning {
    Tuning {
        workers: 1,
        sign_timeout: Duration::from_millis(100),
        probe_every: Duration::from_millis(10),
        recover_every: Duration::from_millis(10),
        ..Tuning::default()
    }
}

fn wait_for(keys: &Keys, wanted: impl FnMut(&Health) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut health = keys.health();
        tokio::time::timeout(PATIENCE, health.wait_for(wanted)).await.unwrap().unwrap();
    });
}

#[test]
fn a_token_that_hangs_is_down_for_everybody_until_it_answers() {
    let (token, keys) = keys(quick());
    let hanging = token.hang();
    assert!(matches!(keys.sign_blocking(Role::Tls, b"first"), Err(KeyError::TimedOut { .. })));
    assert!(matches!(keys.sign_blocking(Role::Tls, b"second"), Err(KeyError::Down { .. })));
    drop(hanging);
    wait_for(&keys, |health| *health == Health::Up);
    assert_eq!(keys.sign_blocking(Role::Tls, b"third").unwrap(), b"third");
}

#[test]
fn a_session_that_died_is_replaced_and_nobody_sees_it() {
    let (token, keys) = keys(Tuning { probe_every: PATIENCE, sign_timeout: PATIENCE, ..quick() });
    keys.sign_blocking(Role::Tls, b"one").unwrap();
    token.generation.store(1, Ordering::SeqCst);
    keys.sign_blocking(Role::Tls, b"two").unwrap();
    assert_eq!(token.connections.load(Ordering::SeqCst), 2);
    assert!(token.steps.lock().unwrap().is_empty(), "nothing had to be recovered");
    assert_eq!(*keys.health().borrow(), Health::Up);
}

#[test]
fn a_request_that_the_token_refuses_is_not_an_outage() {
    let (token, keys) = keys(Tuning { sign_timeout: PATIENCE, ..quick() });
    token.refuses.store(true, Ordering::SeqCst);
    assert!(matches!(keys.sign_blocking(Role::Tls, b"refused"), Err(KeyError::Operation { .. })));
    assert_eq!(*keys.health().borrow(), Health::Up);
    token.refuses.store(false, Ordering::SeqCst);
    keys.sign_blocking(Role::Tls, b"accepted").unwrap();
}

#[test]
fn recovery_goes_from_the_gentle_step_to_the_harsh_one() {
    let (token, keys) = keys(Tuning { sign_timeout: PATIENCE, ..quick() });
    token.generation.store(GONE, Ordering::SeqCst);
    wait_for(&keys, |_| !token.steps.lock().unwrap().is_empty());
    wait_for(&keys, |health| *health == Health::Up);
    assert_eq!(*token.steps.lock().unwrap(), [Step::Refind, Step::Relogin, Step::Reinitialise]);
    keys.sign_blocking(Role::Tls, b"back").unwrap();
}

#[test]
#[expect(clippy::await_holding_lock, reason = "the token hangs on purpose, in its own thread")]
fn what_nobody_waits_for_any_more_is_not_signed() {
    let (token, keys) = keys(Tuning { sign_timeout: PATIENCE, probe_every: PATIENCE, ..quick() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hanging = token.hang();
        let mut first = Box::pin(keys.sign(Role::Tls, b"first".to_vec()));
        let mut second = Box::pin(keys.sign(Role::Tls, b"second".to_vec()));
        // Polled once each, so that both are queued.
        assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err());
        assert!(tokio::time::timeout(Duration::ZERO, &mut second).await.is_err());
        drop(second);
        drop(hanging);
        assert_eq!(first.await.unwrap(), b"first");
        assert_eq!(keys.sign(Role::Tls, b"third".to_vec()).await.unwrap(), b"third");
    });
    assert_eq!(token.signatures.load(Ordering::SeqCst), 2);
}

#[test]
#[expect(clippy::await_holding_lock, reason = "the token hangs on purpose, in its own thread")]
fn a_long_queue_is_told_as_such_and_not_as_a_broken_token() {
    // The only worker is not replaced, so that the queue stands still behind it.
    let (token, keys) = keys(Tuning {
        probe_every: PATIENCE,
        sign_timeout: Duration::from_millis(200),
        most_lost: 0,
        ..quick()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hanging = token.hang();
        // One is in the token and never times out: this caller has more patience than the bound allows.
        let mut first = Box::pin(keys.sign(Role::Tls, b"first".to_vec()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err());
        let second = keys.sign(Role::Tls, b"second".to_vec()).await;
        assert!(matches!(second, Err(KeyError::Busy)), "{second:?}");
        drop(hanging);
    });
}

#[test]
fn a_call_that_never_ends_costs_its_thread_and_no_more() {
    let (token, keys) = keys(Tuning { probe_every: PATIENCE, ..quick() });
    // One session hangs; new ones do not, as when a connection to a network token is lost.
    token.hangs_once.store(true, Ordering::SeqCst);
    let hanging = token.hang();
    assert!(matches!(keys.sign_blocking(Role::Tls, b"first"), Err(KeyError::TimedOut { .. })));
    wait_for(&keys, |health| *health == Health::Up);
    // The only worker is in that call; another has its seat.
    let signed = (0..100).find_map(|_| keys.sign_blocking(Role::Tls, b"second").ok());
    assert_eq!(signed.unwrap(), b"second");
    assert_eq!(keys.vitals().stuck_calls, 1);
    drop(hanging);
    while keys.vitals().stuck_calls > 0 {
        thread::yield_now();
    }
}

#[test]
fn a_module_that_hangs_costs_a_bounded_number_of_threads() {
    let (token, keys) = keys(Tuning { most_lost: 3, ..quick() });
    let hanging = token.hang();
    assert!(keys.sign_blocking(Role::Tls, b"first").is_err());
    while keys.vitals().stuck_calls < 3 {
        thread::yield_now();
    }
    let down = keys.vitals();
    assert_eq!(down.health.outage().unwrap().cause, Cause::NotAnswering, "{down:?}");
    // One worker, one watch, and each that replaced them: no more are made.
    let hung = token.waiting.load(Ordering::SeqCst);
    assert!(hung <= 3 + 2, "{hung}");
    drop(hanging);
    wait_for(&keys, |health| *health == Health::Up);
    while keys.vitals().stuck_calls > 0 {
        thread::yield_now();
    }
    assert_eq!(keys.sign_blocking(Role::Tls, b"third").unwrap(), b"third");
}

#[test]
fn status_says_how_long_calls_take() {
    let (_token, keys) = keys(quick());
    keys.sign_blocking(Role::Tls, b"one").unwrap();
    keys.sign_blocking(Role::Tls, b"two").unwrap();
    let told = serde_json::to_value(keys.vitals()).unwrap();
    assert_eq!((&told["state"], &told["latency"]["calls"]), (&"up".into(), &2.into()), "{told}");
}
