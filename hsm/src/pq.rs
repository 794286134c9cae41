//! Post-quantum keys for tokens that have none: ML-DSA seeds, sealed by the token, opened in memory.
//!
//! A token that offers ML-DSA (PKCS#11 3.2) holds these keys itself, and a mark in the directory says so: such a token
//! that stops offering it is an error, and never the reason to make a seed.
//!
//! A key is expanded from a 32-byte seed (FIPS 204 §5.1). The seed comes from the token's random generator
//! into zeroed memory, is sealed by AES-256-GCM *in the token* under a KEK that cannot leave it, and is
//! stored as JSON in `<directory>/<role>.json`, mode 0600. Role, algorithm and key id are authenticated with
//! it, so that no file can stand in another's place.
//!
//! Why not the token's key-wrap mechanism (`CKM_AES_KEY_WRAP`), which measured as well? It has no associated
//! data; it would need the seed as an extractable object in the token and, at each start, as a readable one,
//! which every session of this process can see; and the KEK would need the right to unwrap, with which it
//! could import keys. So the KEK may encrypt and decrypt, and neither wrap nor unwrap.
//!
//! In use the seed is in this process's memory, in pages that are locked and not dumped ([`crate::locked`]): whoever
//! can read those has it. It is expanded for each signature, and AWS-LC zeroes that when it is freed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::durable;
use crate::error::{Fault, KeyError};
use crate::info::{Home, KeyInfo, created};
use crate::locked::Secret;
use crate::provider::Provider;
use crate::public::PublicKey;
use crate::role::{Algorithm, Role, Term};
use crate::wrapped;

/// Length of an ML-DSA seed (FIPS 204, ξ).
pub(crate) const SEED_LEN: usize = 32;

/// What the file says that marks a key as being in the token.
const MARK: &[u8] = b"The key of this role is in the token. No sealed seed may stand in for it.\n";

/// A seed file is about 400 bytes.
const MAX_FILE: u64 = 4096;

/// An ML-DSA key: its seed, expanded for each signature.
pub(crate) struct PqKey {
    role: Role,
    id: Uuid,
    seed: Secret,
    public: PublicKey,
}

impl PqKey {
    pub(crate) fn from_seed(role: Role, id: Uuid, seed: Secret) -> Result<Self, KeyError> {
        let public = public(role, &expand(role, &seed)?);
        Ok(Self { role, id, seed, public })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // A third more than with a key that is kept expanded, which could not be kept in locked memory.
        self::sign(&expand(self.role, &self.seed)?, message)
    }

    pub(crate) fn seed(&self) -> &Secret {
        &self.seed
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn info(&self, home: Home) -> KeyInfo {
        KeyInfo {
            role: self.role,
            algorithm: self.role.algorithm(),
            id: self.id.simple().to_string(),
            created: created(self.id.as_bytes()),
            home,
            attestation: None,
            fingerprint: Some(self.public.fingerprint()),
        }
    }
}

/// Expands a seed (FIPS 204 §5.1); what is made is zeroed by AWS-LC when it is dropped.
pub(crate) fn expand(role: Role, seed: &Secret) -> Result<PqdsaKeyPair, KeyError> {
    let algorithm: &'static PqdsaSigningAlgorithm = match role.algorithm() {
        Algorithm::MlDsa44 => &ML_DSA_44_SIGNING,
        Algorithm::MlDsa65 => &ML_DSA_65_SIGNING,
        _ => return Err(KeyError::WrongUse { role, wanted: "be made from a seed".into() }),
    };
    PqdsaKeyPair::from_seed(algorithm, seed.expose())
        .map_err(|error| KeyError::operation("expand an ML-DSA seed", Fault::new(error.to_string())))
}

pub(crate) fn public(role: Role, pair: &PqdsaKeyPair) -> PublicKey {
    let raw = pair.public_key().as_ref().to_vec();
    match role.algorithm() {
        Algorithm::MlDsa44 => PublicKey::MlDsa44(raw),
        _ => PublicKey::MlDsa65(raw),
    }
}

pub(crate) fn sign(pair: &PqdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut signature = vec![0; pair.algorithm().signature_len()];
    let written = pair
        .sign(message, &mut signature)
        .map_err(|_| KeyError::operation("sign with ML-DSA", Fault::new("AWS-LC refused")))?;
    signature.truncate(written);
    Ok(signature)
}

/// What is in a seed file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedFile {
    version: u8,
    role: Role,
    algorithm: String,
    id: Uuid,
    /// Id of the KEK, for people; the one that counts is inside `sealed`.
    wrapping_key: String,
    /// Base64 of a sealed secret (`wrapped`).
    sealed: String,
}

/// An opened key, and where its seed lies.
pub(crate) type OpenKey = Arc<(PqKey, Home)>;

/// The seeds of one token, opened at most once and shared by all threads.
pub(crate) struct SeedStore {
    directory: PathBuf,
    open: RwLock<BTreeMap<(Role, Term), OpenKey>>,
}

impl SeedStore {
    pub(crate) fn new(directory: &Path) -> Result<Self, KeyError> {
        durable::ensure_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), open: RwLock::default() })
    }

    /// The key of a role, opened by `provider` when it is needed first; `None` if it was never made.
    pub(crate) fn get(
        &self,
        role: Role,
        term: Term,
        provider: &mut dyn Provider,
    ) -> Result<Option<OpenKey>, KeyError> {
        if let Some(found) = self.opened(role, term) {
            return Ok(Some(found));
        }
        let path = self.path(role, term);
        let Some(file) = read_file(&path, role)? else { return Ok(None) };
        let seed = open_seed(&path, role, &file, provider)?;
        let key = PqKey::from_seed(role, file.id, seed)?;
        Ok(Some(self.keep((role, term), key, file.wrapping_key)))
    }

    /// The one key of a role that has this id, if it was opened before.
    pub(crate) fn opened_with_id(&self, role: Role, id: &str) -> Option<OpenKey> {
        [Term::Present, Term::Next]
            .into_iter()
            .find_map(|term| self.opened(role, term).filter(|key| key.0.id.simple().to_string() == id))
    }

    /// The one key of a role that has this id, in use or waiting.
    pub(crate) fn with_id(
        &self,
        role: Role,
        id: &str,
        provider: &mut dyn Provider,
    ) -> Result<Option<OpenKey>, KeyError> {
        // Twice: between the two looks of the first round it may have gone from one term to the other.
        for _ in 0..2 {
            for term in [Term::Present, Term::Next] {
                let found = self.get(role, term, provider)?;
                if let Some(key) = found.filter(|key| key.0.id.simple().to_string() == id) {
                    return Ok(Some(key));
                }
            }
            self.open.write().unwrap_or_else(PoisonError::into_inner).retain(|(open, _), _| *open != role);
        }
        Ok(None)
    }

    /// Seals every seed that another KEK than `wrapping` has sealed under that one, and says how many. Each file is
    /// the old one or the new one at every moment, and both open while both KEKs are there.
    pub(crate) fn rewrap(&self, wrapping: &str, provider: &mut dyn Provider) -> Result<usize, KeyError> {
        let mut done = 0;
        for role in Role::ALL.into_iter().filter(|role| role.algorithm().is_post_quantum()) {
            for term in [Term::Present, Term::Next] {
                let path = self.path(role, term);
                let Some(mut file) = read_file(&path, role)? else { continue };
                let unusable =
                    |why: String| KeyError::KeyFile { path: path.clone(), source: Fault::new(why) };
                let sealed = BASE64.decode(&file.sealed).map_err(|error| unusable(error.to_string()))?;
                if sealed_by(&sealed) == wrapping {
                    continue;
                }
                let seed = open_seed(&path, role, &file, provider)?;
                let sealed = provider.wrap(&purpose(role, file.id), seed.expose())?;
                file.wrapping_key = sealed_by(&sealed);
                file.sealed = BASE64.encode(sealed);
                self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&(role, term));
                write_file(&path, &file)?;
                done += 1;
            }
        }
        Ok(done)
    }

    /// Seals a new seed, stores it, and only then uses it.
    pub(crate) fn create(
        &self,
        role: Role,
        term: Term,
        seed: Secret,
        provider: &mut dyn Provider,
    ) -> Result<OpenKey, KeyError> {
        let id = Uuid::now_v7();
        let key = PqKey::from_seed(role, id, seed)?;
        let sealed = provider.wrap(&purpose(role, id), key.seed().expose())?;
        let wrapping_key = sealed_by(&sealed);
        let file = SeedFile {
            version: 1,
            role,
            algorithm: role.algorithm().name().to_owned(),
            id,
            wrapping_key: wrapping_key.clone(),
            sealed: BASE64.encode(sealed),
        };
        let path = self.path(role, term);
        if fs::exists(&path).unwrap_or(true) {
            let source = Fault::new("it exists already, and is not replaced");
            return Err(KeyError::KeyFile { path, source });
        }
        write_file(&path, &file)?;
        Ok(self.keep((role, term), key, wrapping_key))
    }

    /// The key of a role, if it was opened before.
    pub(crate) fn opened(&self, role: Role, term: Term) -> Option<OpenKey> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&(role, term)).cloned()
    }

    /// Notes that a role's key is in the token, so that its absence there is never taken for a key not made yet.
    pub(crate) fn mark(&self, role: Role, term: Term) -> Result<(), KeyError> {
        if self.is_marked(role, term) {
            return Ok(());
        }
        durable::replace(&self.mark_path(role, term), MARK)
    }

    pub(crate) fn is_marked(&self, role: Role, term: Term) -> bool {
        // A directory that cannot be read is no proof of anything: then it counts as marked.
        fs::exists(self.mark_path(role, term)).unwrap_or(true)
    }

    /// The role's key is in the token from now on; a seed that it had is destroyed.
    pub(crate) fn yield_to_token(&self, role: Role) -> Result<(), KeyError> {
        self.mark(role, Term::Present)?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).retain(|(open, _), _| *open != role);
        durable::destroy(&self.path(role, Term::Present))?;
        durable::destroy(&self.mark_path(role, Term::Next))
    }

    /// Puts the seed that waits in the place of a role's seed, which is gone with that.
    pub(crate) fn promote(&self, role: Role) -> Result<(), KeyError> {
        let (next, present) = (self.path(role, Term::Next), self.path(role, Term::Present));
        // Forgotten first: whatever happens now, the next use reads what is there then.
        self.open.write().unwrap_or_else(PoisonError::into_inner).retain(|(open, _), _| *open != role);
        durable::rename(&next, &present)
    }

    fn keep(&self, (role, term): (Role, Term), key: PqKey, wrapping_key: String) -> OpenKey {
        let home = Home::WrappedByToken { file: self.path(role, term), wrapping_key };
        let key = Arc::new((key, home));
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert((role, term), Arc::clone(&key));
        key
    }

    fn path(&self, role: Role, term: Term) -> PathBuf {
        self.directory.join(format!("{}.json", role.name_in(term)))
    }

    fn mark_path(&self, role: Role, term: Term) -> PathBuf {
        self.directory.join(format!("{}.in-token", role.name_in(term)))
    }
}

/// A seed file, checked; `None` if there is none.
fn read_file(path: &Path, role: Role) -> Result<Option<SeedFile>, KeyError> {
    let Some(bytes) = durable::read(path, MAX_FILE)? else { return Ok(None) };
    let unusable = |why: String| KeyError::KeyFile { path: path.to_owned(), source: Fault::new(why) };
    let file: SeedFile = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
    if file.version != 1 {
        return Err(unusable(format!("version {} is not known to this program", file.version)));
    }
    if file.role != role || file.algorithm != role.algorithm().name() {
        return Err(unusable(format!("it is a {} key for {}", file.algorithm, file.role)));
    }
    Ok(Some(file))
}

fn write_file(path: &Path, file: &SeedFile) -> Result<(), KeyError> {
    let text = serde_json::to_vec_pretty(file)
        .map_err(|error| KeyError::operation("write a seed file", Fault::new(error.to_string())))?;
    durable::replace(path, &text)
}

fn open_seed(
    path: &Path,
    role: Role,
    file: &SeedFile,
    provider: &mut dyn Provider,
) -> Result<Secret, KeyError> {
    let unusable = |why: String| KeyError::KeyFile { path: path.to_owned(), source: Fault::new(why) };
    let sealed = BASE64.decode(&file.sealed).map_err(|error| unusable(error.to_string()))?;
    provider.unwrap(&purpose(role, file.id), &sealed).map_err(|error| match error {
        KeyError::NotAuthentic { .. } => unusable(error.to_string()),
        other => other,
    })
}

/// The id of the KEK that sealed this, in hexadecimal.
fn sealed_by(sealed: &[u8]) -> String {
    wrapped::sealed_by(sealed).unwrap_or_default()
}

/// Binds a sealed seed to what it is for.
fn purpose(role: Role, id: Uuid) -> String {
    format!("seed {role} {} {}", role.algorithm(), id.simple())
}
