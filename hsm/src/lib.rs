//! Where Sallyport's keys live, and the only way to use them.
//!
//! "Keys live in an HSM" must be literally true: whoever owns this process, its memory dumps or its disk
//! must not be able to walk away with a key. So private keys are made inside a PKCS#11 token, are sensitive
//! and cannot be extracted, and every use of one is a call into the token.
//!
//! Promised:
//! - A key never leaves its provider. What the token cannot hold (ML-DSA, on most tokens) is a 32-byte seed
//!   sealed under an AES-256 key which the token holds; [`Keys::inventory`] says for each key where it lives
//!   and what the token attests about it. There is no silent fallback from a token to software.
//! - A token that fails is noticed, shown ([`Keys::health`]) and recovered from without a restart; while it is
//!   down every use is refused at once. A wrong PIN is never tried twice: a loop would lock a real token.
//! - No call blocks an async worker: the token is used from threads of its own, and each wait has an end.
//!
//! Trusted: the PKCS#11 module (in our process a crash in it is ours; [`worker`] loads it in another), the token
//! behind it, and the PIN file. Not trusted: the files in the key directory. Whoever can write them can make a key
//! unavailable, but cannot read one, nor put one in the place of another.
//!
//! `SOFTHSM2_CONF` (and its like in other modules) is read when the module is initialised: it must be in the
//! environment before the process starts. This crate never changes the environment.
//!
//! Start with [`Keys`]; [`authority`] makes certificates with it.

mod abilities;
pub mod authority;
mod bundle;
pub mod certificate;
mod config;
mod crew;
mod durable;
mod envelope;
mod error;
mod handle;
mod health;
mod info;
pub mod keyring;
mod keys;
mod locked;
mod pace;
mod pkcs11;
mod pq;
mod provider;
mod public;
mod pulse;
mod recovery;
mod role;
mod seat;
mod secret_file;
mod software;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod used;
mod watch;
pub mod worker;
mod wrapped;

pub use abilities::Ability;
pub use bundle::RootBundle;
pub use config::{ProviderConfig, Tuning};
pub use envelope::Envelope;
pub use error::{Fault, KeyError};
pub use handle::KeyHandle;
pub use health::{Cause, Health, Outage};
pub use info::{Attestation, Home, KeyInfo, ProviderInfo};
pub use keyring::{DataKeyId, Keyring};
pub use keys::{Keys, Vitals};
pub use locked::{LockedMemory, forbid_dumps, locked_memory};
pub use pace::Latency;
pub use pkcs11::{find_softhsm, init_token};
pub use public::PublicKey;
pub use pulse::Turn;
pub use role::{Algorithm, Role};
