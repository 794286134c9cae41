//! The keystore's file: JSON, sealed with AES-256-GCM under a key that Argon2id makes of the passphrase.
//!
//! ```json
//! { "version": 1,
//!   "kdf": { "name": "argon2id", "memory_kib": 65536, "passes": 3, "lanes": 4, "salt": "base64, 16 bytes" },
//!   "nonce": "base64, 12 bytes", "sealed": "base64" }
//! ```
//!
//! The costs are RFC 9106 §4's second choice (64 MiB, 3 passes, 4 lanes). They are authenticated with the
//! content, and bounded when read: a file that was put there must not take the machine's memory.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::durable;
use crate::error::{Fault, KeyError};
use crate::locked::Secret;
use crate::role::{Role, Term};
use crate::wrapped::{self, NONCE_LEN};

use super::key::Entry;

const SALT_LEN: usize = 16;
/// Eight keys take about 3 kB.
const MAX_FILE: u64 = 64 * 1024;
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u8,
    kdf: Kdf,
    nonce: String,
    sealed: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

/// The sealed content. Its strings hold secrets, and are zeroed when dropped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    #[zeroize(skip)]
    role: Role,
    #[zeroize(skip)]
    id: Uuid,
    /// It waits to follow the role's key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    next: bool,
    secret: String,
}

/// What opens and closes one keystore: the derived key and how it was derived.
pub(super) struct Seal {
    /// In locked memory; expanded for each use.
    key: Secret,
    kdf: Kdf,
}

impl Seal {
    /// Opens the keystore at `path`; without one, derives the key for a new one.
    pub(super) fn open_or_new(
        path: &Path,
        passphrase: &SecretString,
    ) -> Result<(Self, Vec<Entry>), KeyError> {
        let Some(bytes) = durable::read(path, MAX_FILE)? else {
            let mut salt = [0; SALT_LEN];
            wrapped::random(&mut salt)?;
            let kdf = Kdf {
                name: "argon2id".to_owned(),
                memory_kib: 64 * 1024,
                passes: 3,
                lanes: 4,
                salt: BASE64.encode(salt),
            };
            let key = kdf.derive(passphrase).map_err(|why| unusable(path, why))?;
            return Ok((Self { key, kdf }, Vec::new()));
        };
        let file: File = serde_json::from_slice(&bytes).map_err(|error| unusable(path, error.to_string()))?;
        if file.version != 1 {
            return Err(unusable(path, format!("version {} is not known to this program", file.version)));
        }
        let seal =
            Self { key: file.kdf.derive(passphrase).map_err(|why| unusable(path, why))?, kdf: file.kdf };
        let decode = |text: &str| BASE64.decode(text).map_err(|error| unusable(path, error.to_string()));
        let nonce: [u8; NONCE_LEN] = decode(&file.nonce)?
            .try_into()
            .map_err(|_| unusable(path, format!("its nonce has not {NONCE_LEN} bytes")))?;
        let mut content = Zeroizing::new(decode(&file.sealed)?);
        let opened = seal
            .key()
            .map_err(|why| unusable(path, why))?
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(seal.kdf.associated_data()),
                &mut content,
            )
            .map_err(|_| KeyError::WrongPassphrase { path: path.to_owned() })?;
        let content: Content =
            serde_json::from_slice(opened).map_err(|error| unusable(path, error.to_string()))?;
        let entries = content
            .keys
            .iter()
            .map(|key| {
                let secret = Secret::copy_of(&Zeroizing::new(decode(&key.secret)?))?;
                let term = if key.next { Term::Next } else { Term::Present };
                Ok(Entry { role: key.role, term, id: key.id, secret })
            })
            .collect::<Result<_, KeyError>>()?;
        Ok((seal, entries))
    }

    /// Replaces the keystore at `path`.
    pub(super) fn write<'a>(
        &self,
        path: &Path,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Result<(), KeyError> {
        let refused = |why: String| KeyError::operation("seal the keystore", Fault::new(why));
        let stored = entries.map(|entry| StoredKey {
            role: entry.role,
            id: entry.id,
            next: entry.term == Term::Next,
            secret: BASE64.encode(entry.secret.expose()),
        });
        let content = Content { keys: stored.collect() };
        // Enough room from the start: a growing buffer would leave copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, &content).map_err(|error| refused(error.to_string()))?;
        let nonce = wrapped::nonce()?;
        self.key()
            .map_err(&refused)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.kdf.associated_data()),
                &mut *bytes,
            )
            .map_err(|_| refused("AWS-LC refused".to_owned()))?;
        let file = File {
            version: 1,
            kdf: self.kdf.clone(),
            nonce: BASE64.encode(nonce),
            sealed: BASE64.encode(&*bytes),
        };
        let text = serde_json::to_vec_pretty(&file).map_err(|error| refused(error.to_string()))?;
        durable::replace(path, &text)
    }
}

impl Seal {
    fn key(&self) -> Result<LessSafeKey, String> {
        let key = UnboundKey::new(&AES_256_GCM, self.key.expose()).map_err(|error| error.to_string())?;
        Ok(LessSafeKey::new(key))
    }
}

impl Kdf {
    fn derive(&self, passphrase: &SecretString) -> Result<Secret, String> {
        if self.name != "argon2id" {
            return Err(format!("key derivation {:?} is not known to this program", self.name));
        }
        if self.memory_kib > MAX_MEMORY_KIB || self.passes > MAX_PASSES || self.lanes > MAX_LANES {
            return Err(format!(
                "its key derivation asks for more than {MAX_MEMORY_KIB} KiB, {MAX_PASSES} passes or {MAX_LANES} lanes"
            ));
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|error| error.to_string())?;
        let salt = BASE64.decode(&self.salt).map_err(|error| error.to_string())?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let derived = Secret::new(32, |key| {
            argon
                .hash_password_into(passphrase.expose_secret().as_bytes(), &salt, key)
                .map_err(|error| KeyError::operation("derive a key", Fault::new(error.to_string())))
        });
        derived.map_err(|error| error.to_string())
    }

    fn associated_data(&self) -> Vec<u8> {
        let Self { name, memory_kib, passes, lanes, salt } = self;
        format!("sallyport keystore v1\n{name}\n{memory_kib}\n{passes}\n{lanes}\n{salt}").into_bytes()
    }
}

fn unusable(path: &Path, why: String) -> KeyError {
    KeyError::KeyFile { path: path.to_owned(), source: Fault::new(why) }
}
