//! One thread's session with the token, and its cached key handles.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::abilities::Ability;
use crate::error::{Fault, KeyError};
use crate::info::{Home, KeyInfo, created};
use crate::locked::Secret;
use crate::pq::{OpenKey, SEED_LEN, SeedStore};
use crate::provider::{self, Provider};
use crate::public::PublicKey;
use crate::role::{Algorithm, Role, Term};
use crate::wrapped::{self, Wrapped};

use super::abilities;
use super::module::Module;
use super::objects::{self, Found};
use super::template;
use super::token::Known;

/// Which of a role's keys is meant.
#[derive(Clone, Copy)]
enum Which<'a> {
    /// The one of this term.
    Term(Term),
    /// The one with this `CKA_ID`, in whichever term.
    Id(&'a [u8]),
    /// The one that seals: that which waits, once there is one.
    Sealing,
}

/// A session of one generation of the module.
pub(super) struct TokenSession {
    pub(super) module: Arc<Module>,
    pub(super) generation: u64,
    pub(super) slot: Slot,
    /// Opened so that dropping it closes nothing; `None` only while being dropped.
    pub(super) session: Option<Session>,
    pub(super) found: BTreeMap<(Role, Term), Found>,
    /// How many keys had taken another's place when `found` was begun.
    pub(super) successions: u64,
    pub(super) known: Arc<Known>,
    pub(super) seeds: Arc<SeedStore>,
    pub(super) home: Home,
}

impl TokenSession {
    pub(super) fn session(&self) -> Result<&Session, KeyError> {
        self.session.as_ref().ok_or(KeyError::Closed)
    }

    /// Where the key of a role is, looked up once per session.
    fn locate(&mut self, role: Role, term: Term) -> Result<Found, KeyError> {
        let successions = self.known.successions();
        if self.successions != successions {
            self.found.clear();
            self.successions = successions;
        }
        if let Some(found) = self.found.get(&(role, term)) {
            return Ok(found.clone());
        }
        let found = objects::find(self.session()?, role, term)?
            .ok_or_else(|| KeyError::KeyMissing { role, place: self.home.to_string() })?;
        if term == Term::Present {
            self.known.insert(role);
        }
        self.found.insert((role, term), found.clone());
        Ok(found)
    }

    /// Runs `operation` with a key of a role. A stale handle is found again, once.
    fn with_key<T>(
        &mut self,
        role: Role,
        which: Which<'_>,
        action: &'static str,
        operation: impl Fn(&Session, &Found) -> Result<T, Error>,
    ) -> Result<T, KeyError> {
        let module = Arc::clone(&self.module);
        let _lease = module.lease_of(self.generation)?;
        let found = self.seek(role, which)?;
        let outcome = match operation(self.session()?, &found) {
            Err(Error::Pkcs11(RvError::ObjectHandleInvalid | RvError::KeyHandleInvalid, _)) => {
                self.found.retain(|(found, _), _| *found != role);
                let found = self.seek(role, which)?;
                operation(self.session()?, &found)
            }
            other => other,
        };
        outcome.map_err(|error| KeyError::operation(action, error))
    }

    fn seek(&mut self, role: Role, which: Which<'_>) -> Result<Found, KeyError> {
        let id = match which {
            Which::Term(term) => return self.locate(role, term),
            Which::Sealing => {
                return match self.locate(role, Term::Next) {
                    Err(KeyError::KeyMissing { .. }) => self.locate(role, Term::Present),
                    found => found,
                };
            }
            Which::Id(id) => id,
        };
        // Twice: between the two looks of the first round it may have gone from one term to the other.
        for _ in 0..2 {
            for term in [Term::Present, Term::Next] {
                match self.locate(role, term) {
                    Ok(found) if found.id == id => return Ok(found),
                    Ok(_) | Err(KeyError::KeyMissing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.found.retain(|(found, _), _| *found != role);
        }
        Err(KeyError::KeyMissing { role, place: format!("{} under the id {}", self.home, hex::encode(id)) })
    }

    pub(super) fn info(&mut self, role: Role, term: Term) -> Result<KeyInfo, KeyError> {
        self.found.remove(&(role, term));
        if let Some(key) = self.sealed(role, term)? {
            return Ok(key.0.info(key.1.clone()));
        }
        if role.algorithm().is_post_quantum() {
            if !self.offers_ml_dsa()? {
                return Err(KeyError::AbilityLost { role, place: self.home.to_string() });
            }
            self.seeds.mark(role, term)?;
        }
        let module = Arc::clone(&self.module);
        let _lease = module.lease_of(self.generation)?;
        let found = self.locate(role, term)?;
        let session = self.session()?;
        let fingerprint = match role.algorithm() {
            Algorithm::Aes256 => None,
            _ => Some(objects::public_key(session, role, &found.id)?.fingerprint()),
        };
        Ok(KeyInfo {
            role,
            algorithm: role.algorithm(),
            id: hex::encode(&found.id),
            created: created(&found.id),
            home: self.home.clone(),
            attestation: Some(objects::attest(session, found.handle)?),
            fingerprint,
        })
    }

    /// The sealed seed of a role's key; `None` if its key is in the token, as every key is that the token can hold.
    fn sealed(&mut self, role: Role, term: Term) -> Result<Option<OpenKey>, KeyError> {
        if !role.algorithm().is_post_quantum() || self.found.contains_key(&(role, term)) {
            return Ok(None);
        }
        let seeds = Arc::clone(&self.seeds);
        if let Some(key) = seeds.opened(role, term) {
            return Ok(Some(key));
        }
        if self.holds(role, term)? {
            return Ok(None);
        }
        if seeds.is_marked(role, term) {
            // It was made in the token: no seed may stand in for it, and none is made in its place.
            let place = self.home.to_string();
            return Err(if self.offers_ml_dsa()? {
                KeyError::KeyMissing { role, place }
            } else {
                KeyError::AbilityLost { role, place }
            });
        }
        let missing = self.missing_seed(role);
        seeds.get(role, term, self)?.ok_or(missing).map(Some)
    }

    fn missing_seed(&self, role: Role) -> KeyError {
        KeyError::KeyMissing { role, place: format!("{} or its key directory", self.home) }
    }

    /// Whether the key of a role is in the token.
    pub(super) fn holds(&mut self, role: Role, term: Term) -> Result<bool, KeyError> {
        let module = Arc::clone(&self.module);
        let _lease = module.lease_of(self.generation)?;
        Ok(objects::find(self.session()?, role, term)?.is_some())
    }

    /// Whether the token says that it makes ML-DSA keys and signs with them (PKCS #11 3.2).
    fn offers_ml_dsa(&self) -> Result<bool, KeyError> {
        let lease = self.module.lease_of(self.generation)?;
        let listed = lease.pkcs11.get_mechanism_list(self.slot);
        let listed = listed.map_err(|error| KeyError::operation("list the token's mechanisms", error))?;
        Ok([MechanismType::ML_DSA, MechanismType::ML_DSA_KEY_PAIR_GEN].iter().all(|one| listed.contains(one)))
    }

    fn generate_in_token(&mut self, role: Role, term: Term) -> Result<(), KeyError> {
        let module = Arc::clone(&self.module);
        let lease = module.lease_of(self.generation)?;
        let action = "make a key in the token";
        let fail = |error| KeyError::operation(action, error);
        let id = Uuid::now_v7();
        let id = id.as_bytes();
        // Token objects are made over a read-write session; those are scarce on some tokens, so not kept.
        let session = lease.pkcs11.open_rw_session(self.slot).map_err(fail)?;
        let pair = |mechanism| {
            session.generate_key_pair(
                &mechanism,
                &template::public(role, term, id),
                &template::private(role, term, id),
            )
        };
        match role.algorithm() {
            Algorithm::EcdsaP256 => pair(Mechanism::EccKeyPairGen).map(drop),
            Algorithm::Ed25519 => pair(Mechanism::EccEdwardsKeyPairGen).map(drop),
            Algorithm::Aes256 => {
                session.generate_key(&Mechanism::AesKeyGen, &template::sealing(role, term, id)).map(drop)
            }
            Algorithm::MlDsa44 | Algorithm::MlDsa65 => pair(Mechanism::MlDsaKeyPairGen).map(drop),
        }
        .map_err(fail)
    }

    fn sign_in_token(&mut self, role: Role, which: Which<'_>, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let action = "sign in the token";
        let signature = match role.algorithm() {
            Algorithm::Ed25519 => self.with_key(role, which, action, |session, key| {
                // Pure Ed25519 only: SoftHSM ignores the parameters of the other kinds and says nothing.
                let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                session.sign(&mechanism, key.handle, message)
            }),
            Algorithm::EcdsaP256 => {
                // Hashed here: CKM_ECDSA_SHA256 is missing in SoftHSM, and CKM_ECDSA is 3.5 times faster than
                // Ed25519 there. The token signs whatever length it is given, so the hash is made nowhere else.
                let hash = digest::digest(&digest::SHA256, message);
                self.with_key(role, which, action, |session, key| {
                    session.sign(&Mechanism::Ecdsa, key.handle, hash.as_ref())
                })
            }
            Algorithm::MlDsa44 | Algorithm::MlDsa65 => self.with_key(role, which, action, |session, key| {
                // With the empty context, as everywhere here; what is signed begins with its purpose.
                let mechanism = Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None));
                session.sign(&mechanism, key.handle, message)
            }),
            Algorithm::Aes256 => return Err(KeyError::WrongUse { role, wanted: "sign".into() }),
        }?;
        if signature.len() != role.algorithm().signature_len() {
            let source = Fault::new(format!("its signature has {} bytes", signature.len()));
            return Err(KeyError::operation(action, source));
        }
        Ok(signature)
    }

    fn seed(&mut self) -> Result<Secret, KeyError> {
        let _lease = self.module.lease_of(self.generation)?;
        let session = self.session()?;
        let seed = Secret::new(SEED_LEN, |seed| {
            session
                .generate_random_slice(seed)
                .map_err(|error| KeyError::operation("draw random bytes in the token", error))
        })?;
        // A token without a generator must not give us a key that everybody has.
        if seed.expose() == [0; SEED_LEN] {
            return Err(KeyError::operation(
                "draw random bytes in the token",
                Fault::new("it drew only zeros"),
            ));
        }
        Ok(seed)
    }
}

impl Provider for TokenSession {
    fn list(&mut self) -> Result<Vec<KeyInfo>, KeyError> {
        let mut keys = Vec::new();
        for role in Role::ALL {
            match self.info(role, Term::Present) {
                Ok(info) => keys.push(info),
                Err(KeyError::KeyMissing { role: missing, .. }) if missing == role => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    fn generate(&mut self, role: Role, term: Term) -> Result<KeyInfo, KeyError> {
        if !role.algorithm().is_post_quantum() || self.offers_ml_dsa()? {
            // A token that says it can and then cannot is an error: nothing falls back.
            self.generate_in_token(role, term)?;
        } else if self.seeds.is_marked(role, Term::Present) {
            return Err(KeyError::AbilityLost { role, place: self.home.to_string() });
        } else {
            let seed = self.seed()?;
            let seeds = Arc::clone(&self.seeds);
            seeds.create(role, term, seed, self)?;
        }
        let info = self.info(role, term)?;
        provider::check(self, &info, term)?;
        Ok(info)
    }

    fn successor(&mut self, role: Role) -> Result<Option<KeyInfo>, KeyError> {
        match self.info(role, Term::Next) {
            Ok(info) => Ok(Some(info)),
            Err(KeyError::KeyMissing { role: missing, .. }) if missing == role => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn abilities(&mut self) -> Result<Vec<Ability>, KeyError> {
        let module = Arc::clone(&self.module);
        let lease = module.lease_of(self.generation)?;
        let listed = lease.pkcs11.get_mechanism_list(self.slot);
        let listed = listed.map_err(|error| KeyError::operation("list the token's mechanisms", error))?;
        // A session of its own: what is made in it ends with it.
        let session = lease.pkcs11.open_ro_session(self.slot);
        let session = session.map_err(|error| KeyError::operation("open a session with the token", error))?;
        Ok(abilities::attempt_all(&session, &listed))
    }

    fn promote(&mut self, role: Role, wanted: &str) -> Result<(), KeyError> {
        self.put_in_place(role, wanted)
    }

    fn public_key(&mut self, role: Role, term: Term) -> Result<PublicKey, KeyError> {
        match role.algorithm() {
            Algorithm::Aes256 => Err(KeyError::WrongUse { role, wanted: "show a public key".into() }),
            _ => {
                if let Some(key) = self.sealed(role, term)? {
                    return Ok(key.0.public().clone());
                }
                let module = Arc::clone(&self.module);
                let _lease = module.lease_of(self.generation)?;
                let found = self.locate(role, term)?;
                objects::public_key(self.session()?, role, &found.id)
            }
        }
    }

    fn sign(&mut self, role: Role, term: Term, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if let Some(key) = self.sealed(role, term)? {
            return key.0.sign(message);
        }
        self.sign_in_token(role, Which::Term(term), message)
    }

    fn sign_by(&mut self, role: Role, id: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let raw = hex::decode(id).map_err(|_| KeyError::NoSuccessor { role })?;
        if !role.algorithm().is_post_quantum() {
            return self.sign_in_token(role, Which::Id(&raw), message);
        }
        if let Some(key) = self.seeds.opened_with_id(role, id) {
            return key.0.sign(message);
        }
        match self.sign_in_token(role, Which::Id(&raw), message) {
            Err(KeyError::KeyMissing { .. }) => {
                let seeds = Arc::clone(&self.seeds);
                let key = seeds.with_id(role, id, self)?.ok_or_else(|| self.missing_seed(role))?;
                key.0.sign(message)
            }
            outcome => outcome,
        }
    }

    fn wrapping_key(&mut self) -> Result<String, KeyError> {
        let module = Arc::clone(&self.module);
        let _lease = module.lease_of(self.generation)?;
        Ok(hex::encode(self.seek(Role::Kek, Which::Sealing)?.id))
    }

    fn rewrap_seeds(&mut self) -> Result<usize, KeyError> {
        let seeds = Arc::clone(&self.seeds);
        let wrapping = self.wrapping_key()?;
        seeds.rewrap(&wrapping, self)
    }

    fn wrap(&mut self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The token accepts the same nonce twice: that it is fresh is our promise.
        let nonce = wrapped::nonce()?;
        self.with_key(Role::Kek, Which::Sealing, "seal a secret in the token", |session, key| {
            let aad = wrapped::associated_data(purpose, &key.id);
            let sealed = gcm(nonce, &aad, |mechanism| session.encrypt(mechanism, key.handle, secret))?;
            Ok(Wrapped { key: key.id.clone(), nonce, sealed })
        })?
        .encode()
    }

    fn unwrap(&mut self, purpose: &str, wrapped: &[u8]) -> Result<Secret, KeyError> {
        let refused = || KeyError::NotAuthentic { what: "a secret sealed by the token".into() };
        let wrapped = Wrapped::decode(wrapped).ok_or_else(refused)?;
        let opened = self.with_key(
            Role::Kek,
            Which::Id(&wrapped.key),
            "open a secret in the token",
            |session, key| {
                let aad = wrapped::associated_data(purpose, &key.id);
                gcm(wrapped.nonce, &aad, |mechanism| session.decrypt(mechanism, key.handle, &wrapped.sealed))
                    .map(Zeroizing::new)
            },
        );
        match opened {
            // The binding gives it on the heap; from here on it is only in locked memory.
            Ok(secret) => Secret::copy_of(&secret),
            // A KEK is there, and this one is not it.
            Err(KeyError::KeyMissing { .. }) if self.wrapping_key().is_ok() => Err(refused()),
            // Tokens do not tell altered bytes from a fault of their own: one that still seals has no fault.
            Err(error) if error.is_fault() => match self.probe() {
                Ok(()) => Err(refused()),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn probe(&mut self) -> Result<(), KeyError> {
        let known = self.known.roles();
        {
            let lease = self.module.lease_of(self.generation)?;
            let asked = lease.pkcs11.get_token_info(self.slot).map(drop);
            asked.map_err(|error| KeyError::operation("ask the token for its state", error))?;
            // Measured: when SoftHSM's directory is gone for a moment, it forgets some keys and keeps others.
            for &role in &known {
                if objects::find(self.session()?, role, Term::Present)?.is_none() {
                    return Err(KeyError::KeyMissing { role, place: self.home.to_string() });
                }
            }
        }
        if known.contains(&Role::Kek) {
            // Sealing uses a private object, and cannot be mistaken for anybody's signature.
            self.wrap("probe", b"probe")?;
        }
        Ok(())
    }
}

impl Drop for TokenSession {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // In a later generation this session's number may be somebody else's: then it is left alone.
        if let Ok(_lease) = self.module.lease_of(self.generation) {
            let number = session.handle();
            if let Err(error) = session.close() {
                tracing::debug!(%error, number, "a token session did not close");
            }
        }
    }
}

fn gcm<T>(
    mut nonce: [u8; wrapped::NONCE_LEN],
    aad: &[u8],
    operation: impl Fn(&Mechanism<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let tag_bits = 128.into();
    operation(&Mechanism::AesGcm(GcmParams::new(&mut nonce, aad, tag_bits)?))
}
