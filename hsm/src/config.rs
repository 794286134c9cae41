//! Which provider holds the keys, and the bounds under which it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the keys live.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProviderConfig {
    /// A PKCS#11 token.
    Pkcs11 {
        /// The vendor's library, such as `/usr/lib/softhsm/libsofthsm2.so`.
        module: PathBuf,
        /// The token's label (never a slot number: those change).
        token: String,
        /// A file with the user PIN and nothing else.
        pin_file: PathBuf,
        /// For seeds that the token wraps because it cannot hold their keys. Made if absent, mode 0700.
        directory: PathBuf,
    },
    /// One sealed file. For machines without a token; shown as such in every listing.
    Software {
        /// For the sealed file. Made if absent, mode 0700.
        directory: PathBuf,
        /// A file with the passphrase and nothing else.
        passphrase_file: PathBuf,
    },
    /// One of the others, in a child process: what crashes there is an outage here.
    InWorker {
        /// The program, which serves keys when its argument is [`crate::worker::ARGUMENT`].
        program: PathBuf,
        /// What the child opens.
        provider: Box<Self>,
    },
}

impl ProviderConfig {
    /// The file with what opens the provider: the PIN or the passphrase.
    pub(crate) fn secret_file(&self) -> &Path {
        match self {
            Self::Pkcs11 { pin_file, .. } => pin_file,
            Self::Software { passphrase_file, .. } => passphrase_file,
            Self::InWorker { provider, .. } => provider.secret_file(),
        }
    }
}

/// Bounds on the use of a provider. The defaults suit SoftHSM and network tokens of up to 50 ms a call.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Threads, each with a session of its own. More than the token has cores does not help it.
    pub workers: usize,
    /// Operations that may wait. Past that, [`KeyError::Busy`](crate::KeyError::Busy) tells the caller at once.
    pub queue: usize,
    /// How long a caller waits for a signature.
    pub sign_timeout: Duration,
    /// How long a caller waits for a new key or a listing; a token writes new keys to disk.
    pub admin_timeout: Duration,
    /// How often an idle token is asked whether it still answers.
    pub probe_every: Duration,
    /// The longest pause between two attempts to recover.
    pub recover_every: Duration,
    /// How long opening may take: a module may hang when it is initialised.
    pub open_timeout: Duration,
    /// How many threads are left behind in calls that do not end, and replaced.
    pub most_lost: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        Self {
            workers: cores.clamp(2, 8),
            // At 4,000 signatures a second (Ed25519 in SoftHSM) this is a quarter of a second of work.
            queue: 1024,
            sign_timeout: Duration::from_secs(5),
            admin_timeout: Duration::from_secs(30),
            probe_every: Duration::from_secs(5),
            recover_every: Duration::from_secs(5),
            open_timeout: Duration::from_mins(1),
            // Enough for every session of a busy gateway to hang once; then the module is stuck as a whole.
            most_lost: 16,
        }
    }
}
