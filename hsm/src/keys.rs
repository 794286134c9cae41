//! [`Keys`]: the handle through which the rest of Sallyport uses its keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{broadcast, oneshot, watch};

use crate::abilities::Ability;
use crate::config::{ProviderConfig, Tuning};
use crate::crew::{Crew, Job, spawn};
use crate::envelope::{DATA_KEY_LEN, Envelope};
use crate::error::KeyError;
use crate::handle::KeyHandle;
use crate::health::Health;
use crate::info::{KeyInfo, ProviderInfo};
use crate::locked::{LockedMemory, Secret, locked_memory};
use crate::pace::Latency;
use crate::pkcs11::Token;
use crate::provider::{Provider, Store};
use crate::public::PublicKey;
use crate::pulse::Turn;
use crate::role::{Role, Term};
use crate::software::Keystore;
use crate::used::Used;
use crate::worker::{Limits, Remote, WorkerStatus};

/// Binds a wrapped data key to its use.
const DATA_KEY: &str = "data key";

/// The keys of one provider. Cloning is cheap; dropping the last clone ends its threads and sessions.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    crew: Crew,
    /// After the crew, whose threads must be out of it first.
    store: Arc<dyn Store>,
    tuning: Tuning,
    provider: ProviderInfo,
    public: RwLock<BTreeMap<Role, PublicKey>>,
    used: Used,
}

impl Keys {
    /// Opens a provider and checks the keys that are there. Blocks; presents the PIN once.
    pub fn open(config: &ProviderConfig) -> Result<Self, KeyError> {
        Self::open_with(config, Tuning::default())
    }

    /// As [`Keys::open`], with other bounds.
    pub fn open_with(config: &ProviderConfig, tuning: Tuning) -> Result<Self, KeyError> {
        // In a thread of its own: a module that hangs while it is initialised must not hang the program.
        let (config, (sender, opened)) = (config.clone(), mpsc::sync_channel(1));
        let limits = Limits {
            sign: tuning.sign_timeout,
            admin: tuning.admin_timeout,
            open: tuning.open_timeout,
            pause: tuning.recover_every,
        };
        spawn("keys-open", move || {
            let opened: Result<Arc<dyn Store>, KeyError> = match &config {
                ProviderConfig::InWorker { program, provider } => {
                    Remote::open(program, provider, limits).map(|store| Arc::new(store) as Arc<dyn Store>)
                }
                here => open_store(here),
            };
            let _caller_left = sender.try_send(opened);
        })?;
        let store = opened.recv_timeout(tuning.open_timeout).map_err(|error| match error {
            RecvTimeoutError::Timeout => KeyError::Stuck,
            RecvTimeoutError::Disconnected => KeyError::Closed,
        })??;
        Self::with_store(store, tuning)
    }

    fn with_store(store: Arc<dyn Store>, tuning: Tuning) -> Result<Self, KeyError> {
        let provider = store.describe();
        if !provider.is_token() {
            tracing::warn!("{provider}");
        }
        let crew = Crew::start(Arc::clone(&store), &tuning)?;
        Ok(Self(Arc::new(Inner {
            crew,
            store,
            tuning,
            provider,
            public: RwLock::default(),
            used: Used::default(),
        })))
    }

    /// What holds the keys.
    pub fn describe(&self) -> &ProviderInfo {
        &self.0.provider
    }

    /// The keys that are there, in the order of [`Role::ALL`]. Blocks.
    pub fn inventory(&self) -> Result<Vec<KeyInfo>, KeyError> {
        let mut keys = self.call(self.0.tuning.admin_timeout, |provider| provider.list())?;
        keys.sort_by_key(|key| key.role);
        Ok(keys)
    }

    /// Makes the keys that are missing and that every gateway has, and returns those that were made. Blocks.
    pub fn generate_missing(&self) -> Result<Vec<KeyInfo>, KeyError> {
        self.generate_missing_of(|role| !role.is_optional())
    }

    /// Makes the key of a role that is optional, if it is missing. Blocks.
    pub fn generate_optional(&self, role: Role) -> Result<Vec<KeyInfo>, KeyError> {
        self.generate_missing_of(|other| other == role)
    }

    fn generate_missing_of(&self, wanted: impl Fn(Role) -> bool) -> Result<Vec<KeyInfo>, KeyError> {
        let present: Vec<Role> = self.inventory()?.into_iter().map(|key| key.role).collect();
        let missing = Role::ALL.into_iter().filter(|role| wanted(*role) && !present.contains(role));
        missing
            .map(|role| {
                self.call(self.0.tuning.admin_timeout, move |provider| {
                    // Asked again after a fault: it may have been made, and only the answer lost.
                    match provider.list()?.into_iter().find(|key| key.role == role) {
                        Some(key) => Ok(key),
                        None => provider.generate(role, Term::Present),
                    }
                })
            })
            .collect()
    }

    /// The public half of a role's key. Blocks the first time; later it is remembered.
    pub fn public_key(&self, role: Role) -> Result<PublicKey, KeyError> {
        let remembered = self.0.public.read().unwrap_or_else(PoisonError::into_inner).get(&role).cloned();
        if let Some(key) = remembered {
            return Ok(key);
        }
        let key =
            self.call(self.0.tuning.admin_timeout, move |provider| provider.public_key(role, Term::Present))?;
        self.0.public.write().unwrap_or_else(PoisonError::into_inner).insert(role, key.clone());
        Ok(key)
    }

    /// What the token can do, each thing tried; empty for a provider without a token. Blocks.
    pub fn abilities(&self) -> Result<Vec<Ability>, KeyError> {
        self.call(self.0.tuning.admin_timeout, |provider| provider.abilities())
    }

    /// The key that follows a role's key: made, if none waits yet. Blocks.
    ///
    /// It signs as [`Keys::waiting`] and is used for nothing else until [`Keys::promote`]; but a KEK seals whatever
    /// is sealed from now on, and [`Keys::rewrap_seeds`] and [`Keyring::rewrap`](crate::Keyring::rewrap) bring over
    /// what the one before it sealed. Until then both open.
    pub fn prepare_successor(&self, role: Role) -> Result<KeyInfo, KeyError> {
        self.call(self.0.tuning.admin_timeout, move |provider| match provider.successor(role)? {
            Some(key) => Ok(key),
            None => provider.generate(role, Term::Next),
        })
    }

    /// The key that waits to follow a role's key, if there is one. Blocks.
    pub fn successor(&self, role: Role) -> Result<Option<KeyInfo>, KeyError> {
        self.call(self.0.tuning.admin_timeout, move |provider| provider.successor(role))
    }

    /// The key that a role has now, as itself. Blocks.
    pub fn present(&self, role: Role) -> Result<KeyHandle, KeyError> {
        self.handle(role, Term::Present)
    }

    /// The key that waits to follow a role's key, as itself. Blocks.
    pub fn waiting(&self, role: Role) -> Result<KeyHandle, KeyError> {
        self.handle(role, Term::Next)
    }

    fn handle(&self, role: Role, term: Term) -> Result<KeyHandle, KeyError> {
        let found = self.call(self.0.tuning.admin_timeout, move |provider| {
            let info = match term {
                Term::Present => provider.list()?.into_iter().find(|key| key.role == role),
                Term::Next => provider.successor(role)?,
            };
            let public = provider.public_key(role, term)?;
            Ok(info.map(|info| (info, public)))
        })?;
        let missing = || match term {
            Term::Present => KeyError::KeyMissing { role, place: self.0.provider.to_string() },
            Term::Next => KeyError::NoSuccessor { role },
        };
        let (info, public) = found.ok_or_else(missing)?;
        // Another may have taken its place between the two questions.
        if info.fingerprint.as_ref() != Some(&public.fingerprint()) {
            return Err(missing());
        }
        Ok(KeyHandle::new(self.clone(), info, public))
    }

    /// Signs with one key of a role. Blocks as [`Keys::sign_blocking`] does.
    pub(crate) fn sign_by_blocking(&self, role: Role, id: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (id, message) = (id.to_owned(), message.to_vec());
        self.0.used.now(role);
        self.call(self.0.tuning.sign_timeout, move |provider| provider.sign_by(role, &id, &message))
    }

    /// As [`Keys::sign_by_blocking`], for async workers.
    pub(crate) async fn sign_by(
        &self,
        role: Role,
        id: String,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, KeyError> {
        self.0.used.now(role);
        self.submit(move |provider| provider.sign_by(role, &id, &message)).await
    }

    /// Seals the seeds that lie in files under the KEK that seals now, and says how many another had sealed. Blocks.
    pub fn rewrap_seeds(&self) -> Result<usize, KeyError> {
        self.call(self.0.tuning.admin_timeout, |provider| provider.rewrap_seeds())
    }

    /// The id of the KEK that seals now. Blocks.
    pub(crate) fn wrapping_key(&self) -> Result<String, KeyError> {
        self.call(self.0.tuning.admin_timeout, |provider| provider.wrapping_key())
    }

    /// When this program last used a role's key to sign; `None` if it has not. To seal is not told.
    pub fn last_used(&self, role: Role) -> Option<Timestamp> {
        self.0.used.last(role)
    }

    /// Puts the key that waits in the place of a role's key, which is destroyed. `wanted` is the one that
    /// [`Keys::prepare_successor`] gave; to be called again if it is not known whether it was done. Blocks.
    pub fn promote(&self, wanted: &KeyInfo) -> Result<(), KeyError> {
        let (role, id) = (wanted.role, wanted.id.clone());
        let done = self.call(self.0.tuning.admin_timeout, move |provider| provider.promote(role, &id));
        self.0.public.write().unwrap_or_else(PoisonError::into_inner).remove(&role);
        done
    }

    /// Signs; the form of the signature is said at [`Algorithm`](crate::Algorithm). Blocks for at most
    /// [`Tuning::sign_timeout`]; not for async workers.
    pub fn sign_blocking(&self, role: Role, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let message = message.to_vec();
        self.0.used.now(role);
        self.call(self.0.tuning.sign_timeout, move |provider| provider.sign(role, Term::Present, &message))
    }

    /// As [`Keys::sign_blocking`], for async workers.
    pub async fn sign(&self, role: Role, message: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        self.0.used.now(role);
        self.submit(move |provider| provider.sign(role, Term::Present, &message)).await
    }

    /// Has a signature made, and waits for it without a thread.
    async fn submit(
        &self,
        operation: impl Fn(&mut dyn Provider) -> Result<Vec<u8>, KeyError> + Send + 'static,
    ) -> Result<Vec<u8>, KeyError> {
        let (sender, receiver) = oneshot::channel();
        let ticket = Arc::new(Ticket::default());
        // Dropped with this future: whoever stops waiting takes the job off the queue.
        let _leaving = Leaving(Arc::clone(&ticket));
        self.0.crew.submit(Box::new(Task {
            operation,
            value: None,
            patience: self.0.tuning.sign_timeout,
            reply: move |outcome| {
                let _caller_left = sender.send(outcome);
            },
            ticket: Arc::clone(&ticket),
        }))?;
        match tokio::time::timeout(self.0.tuning.sign_timeout, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(KeyError::Closed),
            Err(_) => Err(self.overdue(&ticket, self.0.tuning.sign_timeout)),
        }
    }

    /// The provider's health, now and whenever it changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.crew.pulse().subscribe()
    }

    /// Each beginning and end of an outage from now on.
    pub fn turns(&self) -> broadcast::Receiver<Turn> {
        self.0.crew.pulse().turns()
    }

    /// Presents the PIN again although the same was refused: somebody has mended the token. Only for a person's word.
    pub fn retry_pin(&self) {
        self.0.crew.pulse().retry_pin();
    }

    /// How the provider is, for status.
    pub fn vitals(&self) -> Vitals {
        let crew = &self.0.crew;
        Vitals {
            health: crew.pulse().subscribe().borrow().clone(),
            outages: crew.pulse().outages(),
            latency: crew.pace().latency(),
            stuck_calls: crew.lost(),
            memory: locked_memory(),
            worker: self.0.store.worker(),
        }
    }

    /// A data key sealed under the KEK for one purpose: a new one, or the one `wrapped` earlier. Returns what to
    /// store; to open it again, pass that with the same purpose. Blocks.
    pub fn envelope(&self, purpose: &str, wrapped: Option<&[u8]>) -> Result<(Envelope, Vec<u8>), KeyError> {
        let (secret, stored) = self.secret(purpose, wrapped)?;
        Ok((Envelope::new(secret)?, stored))
    }

    /// The 32 secret bytes of such a data key, and what to store.
    pub(crate) fn secret(
        &self,
        purpose: &str,
        wrapped: Option<&[u8]>,
    ) -> Result<(Secret, Vec<u8>), KeyError> {
        let timeout = self.0.tuning.admin_timeout;
        let purpose = format!("{DATA_KEY} {purpose}");
        if let Some(stored) = wrapped {
            let stored = stored.to_vec();
            let blob = stored.clone();
            return Ok((self.call(timeout, move |provider| provider.unwrap(&purpose, &blob))?, stored));
        }
        let secret = Arc::new(Secret::random(DATA_KEY_LEN)?);
        let shared = Arc::clone(&secret);
        let stored = self.call(timeout, move |provider| provider.wrap(&purpose, shared.expose()))?;
        let secret = match Arc::try_unwrap(secret) {
            Ok(secret) => secret,
            // The worker has answered, and not yet dropped the job.
            Err(shared) => Secret::copy_of(shared.expose())?,
        };
        Ok((secret, stored))
    }

    /// Such a data key's secret, sealed under the KEK that seals now. Blocks.
    pub(crate) fn rewrapped(&self, purpose: &str, stored: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (secret, _) = self.secret(purpose, Some(stored))?;
        let purpose = format!("{DATA_KEY} {purpose}");
        self.call(self.0.tuning.admin_timeout, move |provider| provider.wrap(&purpose, secret.expose()))
    }

    /// The TLS key for rustls. It signs with `ecdsa_secp256r1_sha256` and nothing else. Blocks.
    pub fn tls_signing_key(&self) -> Result<Arc<dyn rustls::sign::SigningKey>, KeyError> {
        Ok(self.present(Role::Tls)?.for_tls())
    }

    /// Runs an operation on a worker thread and waits for it.
    fn call<T: Send + 'static>(
        &self,
        timeout: Duration,
        operation: impl Fn(&mut dyn Provider) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let ticket = Arc::new(Ticket::default());
        self.0.crew.submit(Box::new(Task {
            operation,
            value: None,
            patience: timeout,
            reply: move |outcome| {
                let _caller_left = sender.try_send(outcome);
            },
            ticket: Arc::clone(&ticket),
        }))?;
        receiver.recv_timeout(timeout).unwrap_or_else(|error| match error {
            RecvTimeoutError::Disconnected => Err(KeyError::Closed),
            RecvTimeoutError::Timeout => Err(self.overdue(&ticket, timeout)),
        })
    }

    /// What an expired wait means: a stuck token if the token was at it, else a long queue.
    fn overdue(&self, ticket: &Ticket, after: Duration) -> KeyError {
        ticket.abandoned.store(true, Ordering::Relaxed);
        let error = KeyError::TimedOut { after };
        if ticket.begun.load(Ordering::Relaxed) {
            self.0.crew.pulse().down(&error);
            error
        } else {
            KeyError::Busy
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.provider).finish()
    }
}

/// How a provider is.
#[derive(Clone, Debug, Serialize)]
pub struct Vitals {
    /// Its state, and why.
    #[serde(flatten)]
    pub health: Health,
    /// Outages since the start that are over.
    pub outages: u64,
    /// How long calls take.
    pub latency: Latency,
    /// Calls that did not end in time and have not ended since.
    pub stuck_calls: usize,
    /// Where secrets lie that no token holds.
    pub memory: LockedMemory,
    /// The process that holds the provider, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStatus>,
}

/// Opens the place where keys live, in this process.
pub(crate) fn open_store(config: &ProviderConfig) -> Result<Arc<dyn Store>, KeyError> {
    Ok(match config {
        ProviderConfig::Pkcs11 { module, token, pin_file, directory } => {
            Arc::new(Token::open(module, token, pin_file, directory)?)
        }
        ProviderConfig::Software { directory, passphrase_file } => {
            Arc::new(Keystore::open(directory, passphrase_file)?)
        }
        // A worker in a worker isolates nothing more.
        ProviderConfig::InWorker { provider, .. } => open_store(provider)?,
    })
}

/// What caller and worker know of each other.
#[derive(Default)]
struct Ticket {
    begun: AtomicBool,
    abandoned: AtomicBool,
}

struct Leaving(Arc<Ticket>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

/// An operation, its value once it is there, and the way back to the caller.
struct Task<T, F, R> {
    operation: F,
    value: Option<T>,
    patience: Duration,
    reply: R,
    ticket: Arc<Ticket>,
}

impl<T, F, R> Job for Task<T, F, R>
where
    T: Send,
    F: Fn(&mut dyn Provider) -> Result<T, KeyError> + Send,
    R: FnOnce(Result<T, KeyError>) + Send,
{
    fn patience(&self) -> Duration {
        self.patience
    }

    fn is_abandoned(&self) -> bool {
        self.ticket.abandoned.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.ticket.begun.store(true, Ordering::Relaxed);
    }

    fn attempt(&mut self, provider: &mut dyn Provider) -> Result<(), KeyError> {
        self.value = Some((self.operation)(provider)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), KeyError>) {
        let Self { value, reply, .. } = *self;
        reply(outcome.and_then(|()| value.ok_or(KeyError::Closed)));
    }
}

#[cfg(test)]
mod tests;
