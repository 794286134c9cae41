//! The seam between [`Keys`](crate::Keys) and what holds the keys.
//!
//! A [`Store`] is the place, shared by all threads; a [`Provider`] is one thread's connection to it. Another
//! kind of place is another pair of these; the one in a process of its own is in [`crate::worker`].

use std::borrow::Cow;

use crate::abilities::Ability;
use crate::error::KeyError;
use crate::info::{Attestation, KeyInfo, ProviderInfo};
use crate::locked::Secret;
use crate::public::PublicKey;
use crate::recovery::Step;
use crate::role::{Role, Term};
use crate::worker::WorkerStatus;
use crate::wrapped;

/// The place where keys live.
pub(crate) trait Store: Send + Sync + 'static {
    /// What it is, for status and records.
    fn describe(&self) -> ProviderInfo;

    /// Connects a thread. Never logs in: only [`Store::recover`] may present a PIN.
    fn connect(&self) -> Result<Box<dyn Provider>, KeyError>;

    /// Takes one step to bring the place back after a fault.
    fn recover(&self, step: Step) -> Result<(), KeyError>;

    /// Whether a login would present something else than what was refused last; `told` says that a person wants it
    /// presented again in any case.
    fn may_log_in(&self, told: bool) -> bool;

    /// The process that it is in, if that is another one.
    fn worker(&self) -> Option<WorkerStatus> {
        None
    }
}

/// One thread's connection. Calls may block for as long as the place takes.
pub(crate) trait Provider: Send {
    /// The keys that are there.
    fn list(&mut self) -> Result<Vec<KeyInfo>, KeyError>;

    /// Makes the key of a role which has none for this term.
    fn generate(&mut self, role: Role, term: Term) -> Result<KeyInfo, KeyError>;

    /// The key that waits to follow a role's key.
    fn successor(&mut self, role: Role) -> Result<Option<KeyInfo>, KeyError>;

    /// Puts the key that waits in the place of a role's key, which is destroyed. Nothing is done if `wanted` (the
    /// id of the one that waited) is in that place already.
    fn promote(&mut self, role: Role, wanted: &str) -> Result<(), KeyError>;

    /// The public half of a role's key.
    fn public_key(&mut self, role: Role, term: Term) -> Result<PublicKey, KeyError>;

    /// Signs with a role's key; forms as at [`Algorithm`](crate::Algorithm).
    fn sign(&mut self, role: Role, term: Term, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Signs with the one key of a role that has this id, whether it is in use or waits; never with another in its
    /// place.
    fn sign_by(&mut self, role: Role, id: &str, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The id of the KEK under which secrets are sealed now: of the one that waits, once there is one.
    fn wrapping_key(&mut self) -> Result<String, KeyError>;

    /// Seals every seed that lies in a file under the KEK that seals now, and says how many were sealed by another.
    fn rewrap_seeds(&mut self) -> Result<usize, KeyError>;

    /// Seals a small secret under the KEK, bound to a purpose.
    fn wrap(&mut self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Opens what [`Provider::wrap`] sealed for the same purpose, under the KEK in use or the one that waits.
    fn unwrap(&mut self, purpose: &str, wrapped: &[u8]) -> Result<Secret, KeyError>;

    /// What the place can do, found out by doing it; empty where there is no token to ask.
    fn abilities(&mut self) -> Result<Vec<Ability>, KeyError>;

    /// Asks the place to use a key, without making a signature of it.
    fn probe(&mut self) -> Result<(), KeyError>;
}

/// Refuses a key that the provider would give away, or whose public half belongs to another key.
///
/// Public objects in a token are not protected as private ones are, and a module may sign wrongly without a
/// word. So each key signs once at start, over a text that begins like nothing else that it signs.
pub(crate) fn check(provider: &mut dyn Provider, key: &KeyInfo, term: Term) -> Result<(), KeyError> {
    let unfit = |weakness| KeyError::WeakKey {
        role: key.role,
        place: key.home.to_string(),
        weakness: Cow::Borrowed(weakness),
    };
    if let Some(weakness) = key.attestation.and_then(Attestation::weakness) {
        return Err(unfit(weakness));
    }
    if key.role == Role::Kek {
        return Ok(());
    }
    let mut salt = [0; 16];
    wrapped::random(&mut salt)?;
    let text = format!("sallyport pairwise check v1\n{}\n{}\n", key.role, hex::encode(salt));
    let signature = provider.sign(key.role, term, text.as_bytes())?;
    let public = provider.public_key(key.role, term)?;
    public
        .verify(text.as_bytes(), &signature)
        .map_err(|_| unfit("its signatures do not verify with its public half"))
}
