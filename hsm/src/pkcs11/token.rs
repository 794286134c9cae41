//! The token as a place: found by its label, logged in once, held open by an anchor session.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use parking_lot::{Mutex, MutexGuard};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Fault, KeyError};
use crate::info::{Home, ProviderInfo};
use crate::pq::SeedStore;
use crate::provider::{self, Provider, Store};
use crate::recovery::Step;
use crate::role::{Role, Term};
use crate::secret_file;

use super::module::{Lease, Module, PATIENCE};
use super::objects;
use super::session::TokenSession;

/// What all sessions know of the token's keys.
#[derive(Default)]
pub(super) struct Known {
    /// Roles whose key was seen: if one of them is missing later, the token may be in trouble.
    seen: Mutex<BTreeSet<Role>>,
    /// Goes up with each key that takes another's place: what a session found before may be another key now.
    successions: AtomicU64,
}

impl Known {
    pub(super) fn insert(&self, role: Role) {
        self.seen.lock().insert(role);
    }

    pub(super) fn roles(&self) -> BTreeSet<Role> {
        self.seen.lock().clone()
    }

    fn forget(&self, role: Role) {
        self.seen.lock().remove(&role);
    }

    pub(super) fn successions(&self) -> u64 {
        self.successions.load(Ordering::SeqCst)
    }

    pub(super) fn succeeded(&self) {
        self.successions.fetch_add(1, Ordering::SeqCst);
    }
}

/// A token, logged in.
pub(crate) struct Token {
    module: Arc<Module>,
    label: String,
    pin_file: PathBuf,
    seeds: Arc<SeedStore>,
    known: Arc<Known>,
    /// As it was when it was opened.
    first: TokenInfo,
    anchor: Mutex<Anchor>,
}

/// What keeps us logged in.
struct Anchor {
    generation: u64,
    slot: Slot,
    info: TokenInfo,
    /// Closing the last session would log this process out and make every handle invalid for good.
    session: Option<Session>,
    /// A PIN that the token refused. It is not presented again: tokens count, and lock.
    refused: Option<SecretString>,
}

impl Token {
    /// Finds the token, logs in, and checks the keys that are there.
    pub(crate) fn open(
        module: &Path,
        label: &str,
        pin_file: &Path,
        directory: &Path,
    ) -> Result<Self, KeyError> {
        let module = Module::load(module)?;
        let lease = module.lease()?;
        let (slot, info) = find_slot(lease.pkcs11, label)?;
        let mut anchor = Anchor { generation: lease.generation, slot, info, session: None, refused: None };
        anchor.attach(&lease)?;
        anchor.log_in(label, pin_file)?;
        drop(lease);
        let token = Self {
            module,
            label: label.to_owned(),
            pin_file: pin_file.to_owned(),
            seeds: Arc::new(SeedStore::new(directory)?),
            known: Arc::default(),
            first: anchor.info.clone(),
            anchor: Mutex::new(anchor),
        };
        // Now, rather than at the first visitor: an unprotected key, a seed that does not open.
        let mut provider = token.connect()?;
        for key in provider.list()? {
            provider::check(provider.as_mut(), &key, Term::Present)?;
        }
        Ok(token)
    }

    /// A call that does not end may hold it: nobody waits for that without end.
    fn anchor(&self) -> Result<MutexGuard<'_, Anchor>, KeyError> {
        self.anchor.try_lock_for(PATIENCE).ok_or(KeyError::Stuck)
    }

    /// Forgets keys that a module which has just read its token anew does not find: they are gone, and their
    /// absence is no longer a sign of trouble with the others.
    fn take_stock(&self, anchor: &Anchor) -> Result<(), KeyError> {
        let session = anchor.session.as_ref().ok_or(KeyError::Closed)?;
        for role in self.known.roles() {
            if objects::find(session, role, Term::Present)?.is_none() {
                tracing::error!(%role, token = self.label, "a key is no longer in the token");
                self.known.forget(role);
            }
        }
        Ok(())
    }

    /// Finds the token in the module's present generation, and attaches to it.
    fn attach<'a>(&'a self, anchor: &mut Anchor) -> Result<Lease<'a>, KeyError> {
        let lease = self.module.lease()?;
        let (slot, info) = find_slot(lease.pkcs11, &self.label)?;
        if info.serial_number() != anchor.info.serial_number() {
            return Err(KeyError::TokenExchanged {
                label: self.label.clone(),
                expected: anchor.info.serial_number().to_owned(),
                found: info.serial_number().to_owned(),
            });
        }
        let alive = anchor.generation == lease.generation
            && anchor.slot == slot
            && anchor.session.as_ref().is_some_and(|session| session.get_session_info().is_ok());
        anchor.slot = slot;
        anchor.info = info;
        if !alive {
            anchor.generation = lease.generation;
            anchor.attach(&lease)?;
        }
        Ok(lease)
    }
}

impl Store for Token {
    fn describe(&self) -> ProviderInfo {
        ProviderInfo::Pkcs11 {
            module: self.module.path().to_owned(),
            token: self.label.clone(),
            serial: self.first.serial_number().to_owned(),
            manufacturer: self.first.manufacturer_id().to_owned(),
            model: self.first.model().to_owned(),
        }
    }

    fn connect(&self) -> Result<Box<dyn Provider>, KeyError> {
        // Held while the session is opened: recovery, which holds it too, must not come in between.
        let anchor = self.anchor()?;
        let (slot, serial) = (anchor.slot, anchor.info.serial_number().to_owned());
        let lease = self.module.lease_of(anchor.generation)?;
        let session = lease
            .pkcs11
            .open_ro_session_no_drop(slot)
            .map_err(|error| KeyError::operation("open a session with the token", error))?;
        if !is_logged_in(&session) {
            let _closed = session.close();
            return Err(not_logged_in());
        }
        Ok(Box::new(TokenSession {
            module: Arc::clone(&self.module),
            generation: lease.generation,
            slot,
            found: BTreeMap::new(),
            successions: self.known.successions(),
            known: Arc::clone(&self.known),
            seeds: Arc::clone(&self.seeds),
            home: Home::Token { label: self.label.clone(), serial },
            session: Some(session),
        }))
    }

    fn recover(&self, step: Step) -> Result<(), KeyError> {
        let mut anchor = self.anchor()?;
        match step {
            Step::Refind => {
                let _lease = self.attach(&mut anchor)?;
                if anchor.session.as_ref().is_some_and(is_logged_in) { Ok(()) } else { Err(not_logged_in()) }
            }
            Step::Relogin => {
                let _lease = self.attach(&mut anchor)?;
                if anchor.session.as_ref().is_some_and(is_logged_in) {
                    // Whatever is wrong, it is not the login; presenting the PIN would only risk it.
                    return Err(KeyError::operation("log in again", Fault::new("the login still stands")));
                }
                anchor.log_in(&self.label, &self.pin_file)
            }
            Step::Reinitialise => {
                // Dropped unclosed: finalising ends it, and later its number is somebody else's.
                anchor.session = None;
                // Kept even if the token is not there yet: the next attempt must read it anew.
                anchor.generation = self.module.reinitialise(anchor.generation)?;
                let _lease = self.attach(&mut anchor)?;
                // Somebody else in this process may have re-initialised it and logged in.
                if !anchor.session.as_ref().is_some_and(is_logged_in) {
                    anchor.log_in(&self.label, &self.pin_file)?;
                }
                self.take_stock(&anchor)
            }
        }
    }

    fn may_log_in(&self, told: bool) -> bool {
        let Ok(mut anchor) = self.anchor() else { return false };
        if told {
            anchor.refused = None;
        }
        match (&anchor.refused, secret_file::read(&self.pin_file)) {
            (None, _) => true,
            (Some(refused), Ok(pin)) => refused.expose_secret() != pin.expose_secret(),
            (Some(_), Err(_)) => false,
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Ok(mut anchor) = self.anchor() else { return };
        let session = anchor.session.take();
        if let (Some(session), Ok(_lease)) = (session, self.module.lease_of(anchor.generation)) {
            let _closed = session.close();
        }
    }
}

impl Anchor {
    fn attach(&mut self, lease: &Lease<'_>) -> Result<(), KeyError> {
        let session = lease
            .pkcs11
            .open_ro_session_no_drop(self.slot)
            .map_err(|error| KeyError::operation("open a session with the token", error))?;
        self.session = Some(session);
        Ok(())
    }

    /// Presents the PIN, at most once for each content of the PIN file.
    fn log_in(&mut self, label: &str, pin_file: &Path) -> Result<(), KeyError> {
        let label = label.to_owned();
        let pin = secret_file::read(pin_file)
            .map_err(|source| KeyError::PinFile { path: pin_file.to_owned(), source })?;
        let last_try = self.info.user_pin_final_try();
        let same = |refused: &SecretString| refused.expose_secret() == pin.expose_secret();
        if self.refused.as_ref().is_some_and(same) {
            return Err(KeyError::WrongPin { label, last_try });
        }
        if self.info.user_pin_locked() {
            self.refused = Some(pin);
            return Err(KeyError::PinLocked { label, source: Fault::new("CKF_USER_PIN_LOCKED is set") });
        }
        let session = self.session.as_ref().ok_or(KeyError::Closed)?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                self.refused = None;
                Ok(())
            }
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                self.refused = Some(pin);
                Err(KeyError::WrongPin { label, last_try })
            }
            Err(
                error @ Error::Pkcs11(
                    RvError::PinLocked | RvError::PinExpired | RvError::UserPinNotInitialized,
                    _,
                ),
            ) => {
                self.refused = Some(pin);
                Err(KeyError::PinLocked { label, source: error.into() })
            }
            Err(error) => Err(KeyError::operation("log in to the token", error)),
        }
    }
}

fn is_logged_in(session: &Session) -> bool {
    session
        .get_session_info()
        .is_ok_and(|info| matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser))
}

fn not_logged_in() -> KeyError {
    KeyError::operation("use the token", Fault::new("it is not logged in"))
}

/// Finds the one token with this label.
pub(super) fn find_slot(pkcs11: &Pkcs11, label: &str) -> Result<(Slot, TokenInfo), KeyError> {
    let slots = pkcs11
        .get_slots_with_token()
        .map_err(|error| KeyError::operation("list the module's slots", error))?;
    // A slot whose token went away between the two calls is no reason to miss another.
    let tokens = slots.into_iter().filter_map(|slot| Some((slot, pkcs11.get_token_info(slot).ok()?)));
    let mut found = Vec::new();
    let mut matches = Vec::new();
    for (slot, info) in tokens.filter(|(_, info)| info.token_initialized()) {
        found.push(info.label().trim_end().to_owned());
        if info.label().trim_end() == label {
            matches.push((slot, info));
        }
    }
    let count = matches.len();
    match matches.pop() {
        Some(only) if count == 1 => Ok(only),
        Some(_) => Err(KeyError::TokenAmbiguous { label: label.to_owned(), count }),
        None => Err(KeyError::TokenAbsent { label: label.to_owned(), found }),
    }
}
