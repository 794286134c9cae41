//! A ring of data keys, one for each owner: what is sealed under a key is gone when the key is.
//!
//! An owner is any text, such as a person's name. Each has a random AES-256 key in a file of its own, wrapped by
//! the provider's KEK. Destroying that file (and the copy in memory) erases all that the key ever sealed.
//!
//! Promised:
//! - Before anything sealed under a new key is given out, the key's file is durable.
//! - The files tell nobody whose they are: their names are random, and the owner stands in them only as a hash
//!   under a secret which the KEK wraps. When a key is erased that hash goes with it; the name that remains
//!   leads to nobody.
//! - Erased is told apart from lost. A tombstone, which only who has the provider can make, stays behind; and each
//!   sealed text carries a voucher, so that nothing else can be passed off as sealed under an erased key.
//! - An erasure that was broken off is completed when the ring is opened again.
//! - The provider is asked once for each key while it is among the [`OPEN_KEYS`] used last; keys that leave
//!   memory are zeroed.
//!
//! Not trusted: the directory. Whoever can write there can make values unreadable, but neither readable nor
//! "erased". Whoever kept a copy of a key file from before its erasure still needs the provider to use it.

mod files;
mod recent;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;

use crate::envelope::Envelope;
use crate::error::KeyError;
use crate::keys::Keys;
use crate::locked::Secret;
use crate::wrapped;
use files::{Files, KeyFile};
use recent::Recent;

/// How many opened keys are kept in memory. An opened key takes 64 bytes of locked memory, and some more beside it.
pub const OPEN_KEYS: usize = 4096;

/// Binds the ring's own secret to its use.
const SECRET: &str = "of the ring's own secret";

/// Length of a voucher, in bytes: half of an HMAC-SHA256.
const VOUCHER_LEN: usize = 16;

/// The name of a data key: random, and leads to nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataKeyId(pub [u8; 16]);

impl fmt::Display for DataKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DataKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whose a key is, as it stands in its file: a hash under the ring's secret.
type OwnerHash = [u8; 32];

/// Why sealed data does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its key was destroyed by [`Keyring::erase`].
    #[error("its data key was erased")]
    Erased,
    /// Anything else.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The data keys in one directory.
pub struct Keyring {
    keys: Keys,
    files: Files,
    secret: Secret,
    state: Mutex<State>,
    /// Held while a key is made or destroyed: an owner never gets two.
    changing: Mutex<()>,
}

struct State {
    owners: BTreeMap<OwnerHash, DataKeyId>,
    erased: BTreeSet<DataKeyId>,
    open: Recent<DataKeyId, Arc<Envelope>>,
    /// Whose keys were asked for lately, so that the secret is not needed each time; at most [`OPEN_KEYS`], and only in
    /// memory.
    known: HashMap<Box<str>, DataKeyId>,
}

impl Keyring {
    /// Opens the ring in `directory`, or makes one, and completes erasures that were broken off. Blocks.
    pub fn open(keys: &Keys, directory: &Path) -> Result<Self, KeyError> {
        let files = Files::open(directory)?;
        let stored = files.secret()?;
        let (secret, wrapped) = keys.secret(SECRET, stored.as_deref())?;
        if stored.is_none() {
            files.write_secret(&wrapped)?;
        }
        let voucher_key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let mut state = State {
            owners: BTreeMap::new(),
            erased: BTreeSet::new(),
            open: Recent::new(OPEN_KEYS),
            known: HashMap::new(),
        };
        for (id, tombstone) in files.tombstones()? {
            if hmac::verify(&voucher_key, &tombstone_text(id), &tombstone).is_ok() {
                state.erased.insert(id);
            } else {
                tracing::warn!(key = %id, "a tombstone that the key provider did not make is passed over");
            }
        }
        for (id, owner) in files.owners()? {
            if state.erased.contains(&id) {
                tracing::warn!(key = %id, "completing the erasure of a data key");
                files.destroy(id)?;
            } else {
                state.owners.insert(owner, id);
            }
        }
        let (state, changing) = (Mutex::new(state), Mutex::new(()));
        Ok(Self { keys: keys.clone(), files, secret, state, changing })
    }

    /// Whether sealing for this owner needs neither disk nor provider.
    pub fn is_ready(&self, owner: &str) -> bool {
        self.known(owner).is_some() || self.at_hand(owner, &self.owner_hash(owner)).is_some()
    }

    /// Has the owner's key at hand, made and durable if there was none. Blocks.
    pub fn prepare(&self, owner: &str) -> Result<(), KeyError> {
        self.key_of(owner).map(drop)
    }

    /// Seals `plaintext` under the owner's key, and binds it to `aad`. Blocks only if the key is not at hand.
    pub fn seal(&self, owner: &str, aad: &[u8], plaintext: &[u8]) -> Result<(DataKeyId, Vec<u8>), KeyError> {
        let (id, key) = self.key_of(owner)?;
        let mut sealed = key.seal(aad, plaintext)?;
        sealed.extend_from_slice(&self.voucher(id, aad));
        Ok((id, sealed))
    }

    /// Opens what [`Keyring::seal`] made.
    pub fn unseal(&self, id: DataKeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let refused = || KeyError::NotAuthentic { what: "sealed data".into() };
        let (body, voucher) = sealed.split_last_chunk::<VOUCHER_LEN>().ok_or_else(refused)?;
        let known = {
            let mut state = self.state();
            if state.erased.contains(&id) {
                drop(state);
                let right = self.voucher(id, aad);
                aws_lc_rs::constant_time::verify_slices_are_equal(voucher, &right).map_err(|_| refused())?;
                return Err(OpenError::Erased);
            }
            state.open.get(&id).map(Arc::clone)
        };
        let key = match known {
            Some(key) => key,
            None => {
                let file = self
                    .files
                    .key(id)?
                    .ok_or(KeyError::NotAuthentic { what: "a data key that is missing".into() })?;
                self.opened(id, &file)?
            }
        };
        Ok(key.open(aad, body)?)
    }

    /// The key that the owner has now, if any.
    pub fn id_of(&self, owner: &str) -> Option<DataKeyId> {
        let owner = self.owner_hash(owner);
        let state = self.state();
        state.owners.get(&owner).copied().filter(|id| !state.erased.contains(id))
    }

    /// Destroys the owner's key, and tells which it was; `None` if they have none. From then on what it sealed
    /// is [`OpenError::Erased`]. Run it again if it fails.
    ///
    /// A key of theirs that was missing when another was made in its place, and was put back since, goes with it.
    pub fn erase(&self, owner: &str) -> Result<Option<DataKeyId>, KeyError> {
        let hash = self.owner_hash(owner);
        let present = self.state().owners.get(&hash).copied();
        let all = self.files.owners()?.into_iter();
        let others = all.filter(|(id, whose)| *whose == hash && Some(*id) != present).map(|(id, _)| id);
        let mut last = None;
        for id in others.chain(present) {
            self.erase_key(id)?;
            last = Some(id);
        }
        Ok(last)
    }

    /// Destroys a key by its name, such as one that an old backup brought back. Tells whether that changed
    /// anything.
    pub fn erase_key(&self, id: DataKeyId) -> Result<bool, KeyError> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !self.state().erased.contains(&id);
        if new {
            // First the tombstone: a crash from here on is completed when the ring is opened again.
            self.files.write_tombstone(id, hmac::sign(&self.key(), &tombstone_text(id)).as_ref())?;
        }
        {
            let mut state = self.state();
            state.erased.insert(id);
            state.open.remove(&id);
            state.known.retain(|_, other| *other != id);
        }
        let there = self.files.destroy(id)?;
        self.state().owners.retain(|_, other| *other != id);
        Ok(new || there)
    }

    /// Seals the ring's keys under the KEK that seals now, and says how many another had sealed. Each file is the
    /// old one or the new one at every moment. Keys that are made meanwhile are sealed under it at once. Blocks.
    ///
    /// # Errors
    ///
    /// If one does not open: what it sealed would be lost with the KEK before, so that one must stay.
    pub fn rewrap(&self) -> Result<usize, KeyError> {
        // Nobody makes a key or destroys one meanwhile: a key that is being made is in its file, or not begun.
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let wrapping = self.keys.wrapping_key()?;
        let mut done = 0;
        if let Some(stored) = self.files.secret()?
            && wrapped::sealed_by(&stored).as_ref() != Some(&wrapping)
        {
            self.files.write_secret(&self.keys.rewrapped(SECRET, &stored)?)?;
            done += 1;
        }
        for id in self.files.keys()? {
            let Some(KeyFile { owner, wrapped }) = self.files.key(id)? else { continue };
            if wrapped::sealed_by(&wrapped).as_ref() == Some(&wrapping) {
                continue;
            }
            let wrapped = self.keys.rewrapped(&purpose(id, &owner), &wrapped);
            let wrapped = wrapped.map_err(|error| self.files.unopened(id, error))?;
            self.files.write_key(id, &KeyFile { owner, wrapped })?;
            done += 1;
        }
        Ok(done)
    }

    /// Every key that was erased.
    pub fn erased(&self) -> Vec<DataKeyId> {
        self.state().erased.iter().copied().collect()
    }

    /// How many owners have a key.
    pub fn len(&self) -> usize {
        self.state().owners.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Made for each use, of what is kept in locked memory.
    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole at every point where a panic could happen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key_of(&self, owner: &str) -> Result<(DataKeyId, Arc<Envelope>), KeyError> {
        if let Some(found) = self.known(owner) {
            return Ok(found);
        }
        let hash = self.owner_hash(owner);
        if let Some(found) = self.at_hand(owner, &hash) {
            return Ok(found);
        }
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have made it meanwhile.
        if let Some(found) = self.at_hand(owner, &hash) {
            return Ok(found);
        }
        let id = {
            let state = self.state();
            state.owners.get(&hash).copied().filter(|id| !state.erased.contains(id))
        };
        match id {
            Some(id) => {
                let file = self.files.key(id)?;
                let missing = KeyError::NotAuthentic { what: "a data key that is missing".into() };
                let key = self.opened(id, &file.ok_or(missing)?)?;
                Ok((id, key))
            }
            None => self.made(hash),
        }
    }

    /// The key of an owner who was asked for lately.
    fn known(&self, owner: &str) -> Option<(DataKeyId, Arc<Envelope>)> {
        let mut state = self.state();
        let id = *state.known.get(owner)?;
        // An erased key is never in memory.
        state.open.get(&id).map(|key| (id, Arc::clone(key)))
    }

    fn at_hand(&self, owner: &str, hash: &OwnerHash) -> Option<(DataKeyId, Arc<Envelope>)> {
        let mut state = self.state();
        let id = *state.owners.get(hash)?;
        let key = state.open.get(&id).map(Arc::clone)?;
        if state.known.len() >= OPEN_KEYS {
            state.known.clear();
        }
        state.known.insert(owner.into(), id);
        Some((id, key))
    }

    fn made(&self, owner: OwnerHash) -> Result<(DataKeyId, Arc<Envelope>), KeyError> {
        let mut id = DataKeyId([0; 16]);
        wrapped::random(&mut id.0)?;
        let (envelope, wrapped) = self.keys.envelope(&purpose(id, &owner), None)?;
        self.files.write_key(id, &KeyFile { owner, wrapped })?;
        let envelope = Arc::new(envelope);
        let mut state = self.state();
        state.owners.insert(owner, id);
        state.open.put(id, Arc::clone(&envelope));
        Ok((id, envelope))
    }

    fn opened(&self, id: DataKeyId, file: &KeyFile) -> Result<Arc<Envelope>, KeyError> {
        let (envelope, _) = self.keys.envelope(&purpose(id, &file.owner), Some(&file.wrapped))?;
        let envelope = Arc::new(envelope);
        let mut state = self.state();
        // It may have been erased while the provider was asked.
        if !state.erased.contains(&id) {
            state.open.put(id, Arc::clone(&envelope));
        }
        Ok(envelope)
    }

    fn owner_hash(&self, owner: &str) -> OwnerHash {
        let mut context = hmac::Context::with_key(&self.key());
        context.update(b"owner\0");
        context.update(owner.as_bytes());
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    fn voucher(&self, id: DataKeyId, aad: &[u8]) -> [u8; VOUCHER_LEN] {
        let mut context = hmac::Context::with_key(&self.key());
        context.update(b"sealed\0");
        context.update(&id.0);
        context.update(aad);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.len())
    }
}

/// Binds a wrapped key to its name and its owner: a file that was renamed or altered does not open.
fn purpose(id: DataKeyId, owner: &OwnerHash) -> String {
    format!("{id} of {}", hex::encode(owner))
}

fn tombstone_text(id: DataKeyId) -> Vec<u8> {
    [b"erased\0".as_slice(), &id.0].concat()
}
