//! Keys in one sealed file, for machines without a token. Every listing says so.
//!
//! The file is safe at rest, as far as its passphrase is good. In use the keys are in this process's memory:
//! whoever can read that has them. That is what a token is for, and why this provider never stands in for one
//! unless the configuration names it.

mod key;
mod sealed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::abilities::Ability;
use crate::durable;
use crate::error::KeyError;
use crate::info::{Home, KeyInfo, ProviderInfo};
use crate::locked::Secret;
use crate::provider::{Provider, Store};
use crate::public::PublicKey;
use crate::recovery::Step;
use crate::role::{Role, Term};
use crate::secret_file;
use crate::wrapped::{self, Wrapped};

use key::{Entry, SoftKey};
use sealed::Seal;

/// The keystore, opened.
#[derive(Clone)]
pub(crate) struct Keystore(Arc<Shared>);

struct Shared {
    path: PathBuf,
    seal: Seal,
    keys: RwLock<BTreeMap<(Role, Term), Arc<SoftKey>>>,
    /// Held while the file is written, so that of two new keys neither is lost.
    writing: Mutex<()>,
}

impl Keystore {
    /// Opens `<directory>/keystore.json`, or prepares a new one that is written with its first key.
    pub(crate) fn open(directory: &Path, passphrase_file: &Path) -> Result<Self, KeyError> {
        let passphrase = secret_file::read(passphrase_file)
            .map_err(|source| KeyError::PassphraseFile { path: passphrase_file.to_owned(), source })?;
        durable::ensure_directory(directory)?;
        let path = directory.join("keystore.json");
        let (seal, entries) = Seal::open_or_new(&path, &passphrase)?;
        let mut keys = BTreeMap::new();
        for entry in entries {
            keys.insert((entry.role, entry.term), Arc::new(SoftKey::new(entry)?));
        }
        let shared = Shared { path, seal, keys: RwLock::new(keys), writing: Mutex::new(()) };
        Ok(Self(Arc::new(shared)))
    }

    fn home(&self) -> Home {
        Home::Software { file: self.0.path.clone() }
    }

    fn key(&self, role: Role, term: Term) -> Result<Arc<SoftKey>, KeyError> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(role, term))
            .cloned()
            .ok_or_else(|| KeyError::KeyMissing { role, place: self.0.path.display().to_string() })
    }

    /// The KEK that seals: the one that waits, once there is one.
    fn sealing(&self) -> Result<Arc<SoftKey>, KeyError> {
        self.key(Role::Kek, Term::Next).or_else(|_| self.key(Role::Kek, Term::Present))
    }

    /// The one key of a role that has this id.
    fn key_with(&self, role: Role, id: &str) -> Result<Arc<SoftKey>, KeyError> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.values().find(|key| {
            let entry = key.entry();
            entry.role == role && entry.id.simple().to_string() == id
        });
        found.cloned().ok_or_else(|| KeyError::KeyMissing { role, place: self.0.path.display().to_string() })
    }
}

impl Store for Keystore {
    fn describe(&self) -> ProviderInfo {
        ProviderInfo::Software { file: self.0.path.clone() }
    }

    fn connect(&self) -> Result<Box<dyn Provider>, KeyError> {
        Ok(Box::new(self.clone()))
    }

    fn recover(&self, _step: Step) -> Result<(), KeyError> {
        Ok(())
    }

    fn may_log_in(&self, _told: bool) -> bool {
        true
    }
}

impl Provider for Keystore {
    fn list(&mut self) -> Result<Vec<KeyInfo>, KeyError> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let present = keys.iter().filter(|((_, term), _)| *term == Term::Present);
        Ok(present.map(|(_, key)| key.info(self.home())).collect())
    }

    fn generate(&mut self, role: Role, term: Term) -> Result<KeyInfo, KeyError> {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::new(SoftKey::new(Entry::generate(role, term)?)?);
        let mut keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.insert((role, term), Arc::clone(&key));
        // On disk before it is used: a key that signed something must not be lost by a crash.
        self.0.seal.write(&self.0.path, keys.values().map(|key| key.entry()))?;
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(key.info(self.home()))
    }

    fn successor(&mut self, role: Role) -> Result<Option<KeyInfo>, KeyError> {
        Ok(self.key(role, Term::Next).ok().map(|key| key.info(self.home())))
    }

    fn abilities(&mut self) -> Result<Vec<Ability>, KeyError> {
        Ok(Vec::new())
    }

    fn promote(&mut self, role: Role, wanted: &str) -> Result<(), KeyError> {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_wanted = |key: &Arc<SoftKey>| key.entry().id.simple().to_string() == wanted;
        match keys.remove(&(role, Term::Next)).filter(is_wanted) {
            Some(key) => {
                let present = Arc::new(SoftKey::new(key.entry().in_term(Term::Present)?)?);
                keys.insert((role, Term::Present), present);
            }
            None if keys.get(&(role, Term::Present)).is_some_and(is_wanted) => return Ok(()),
            None => return Err(KeyError::NoSuccessor { role }),
        }
        self.0.seal.write(&self.0.path, keys.values().map(|key| key.entry()))?;
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn public_key(&mut self, role: Role, term: Term) -> Result<PublicKey, KeyError> {
        self.key(role, term)?
            .public()
            .cloned()
            .ok_or(KeyError::WrongUse { role, wanted: "show a public key".into() })
    }

    fn sign(&mut self, role: Role, term: Term, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key(role, term)?.sign(message)
    }

    fn sign_by(&mut self, role: Role, id: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key_with(role, id)?.sign(message)
    }

    fn wrapping_key(&mut self) -> Result<String, KeyError> {
        Ok(self.sealing()?.entry().id.simple().to_string())
    }

    fn rewrap_seeds(&mut self) -> Result<usize, KeyError> {
        // They lie in the keystore itself, under the passphrase.
        Ok(0)
    }

    fn wrap(&mut self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        let kek = self.sealing()?;
        let key = kek.entry().id.as_bytes().to_vec();
        let nonce = wrapped::nonce()?;
        let sealed = kek.seal(nonce, &wrapped::associated_data(purpose, &key), secret)?;
        Wrapped { key, nonce, sealed }.encode()
    }

    fn unwrap(&mut self, purpose: &str, wrapped: &[u8]) -> Result<Secret, KeyError> {
        let refused = || KeyError::NotAuthentic { what: "a secret sealed by the keystore".into() };
        let wrapped = Wrapped::decode(wrapped).ok_or_else(refused)?;
        let kek = self.key_with(Role::Kek, &hex::encode(&wrapped.key)).map_err(|_| refused())?;
        let aad = wrapped::associated_data(purpose, &wrapped.key);
        kek.open(wrapped.nonce, &aad, &wrapped.sealed)?.ok_or_else(refused)
    }

    fn probe(&mut self) -> Result<(), KeyError> {
        Ok(())
    }
}
