//! The vendor's library: loaded and initialised once per process, whoever asks.
//!
//! Re-initialising ends every session that anybody in this process has, and the numbers of new sessions start
//! again from the old ones: a stale session that is used, or even closed, would hit somebody's new one. So
//! every call into the module happens under a [`Lease`] of the generation its session was opened in, and a
//! re-initialisation waits for all leases and starts a new generation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::error::{Fault, KeyError};

/// Modules are never unloaded: their threads and exit handlers may still need their code.
static LOADED: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// How long one call waits for others to leave the module. Past that one of them is stuck: nobody waits with it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A loaded PKCS#11 module.
pub(super) struct Module {
    path: PathBuf,
    context: Pkcs11,
    state: RwLock<State>,
}

struct State {
    initialised: bool,
    generation: u64,
}

/// Leave to call the module; while it lives, the module is not re-initialised.
pub(super) struct Lease<'a> {
    pub(super) pkcs11: &'a Pkcs11,
    pub(super) generation: u64,
    _state: RwLockReadGuard<'a, State>,
}

impl Module {
    /// Loads and initialises the module at `path`, unless this process has done so before.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, KeyError> {
        let key = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // Held throughout: initialising from two threads at once has crashed real modules.
        let mut loaded = LOADED.try_lock_for(PATIENCE).ok_or(KeyError::Stuck)?;
        if let Some(module) = loaded.get(&key) {
            module.ensure_initialised()?;
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(path).map_err(|error| {
            let source = Fault::from(error);
            // The loader's error is the same for a missing file and for a file that is no library.
            if path.exists() {
                KeyError::NotAModule { path: path.to_owned(), source }
            } else {
                KeyError::ModuleMissing { path: path.to_owned(), source }
            }
        })?;
        let state = RwLock::new(State { initialised: false, generation: 0 });
        let module = Arc::new(Self { path: path.to_owned(), context, state });
        module.ensure_initialised()?;
        loaded.insert(key, Arc::clone(&module));
        Ok(module)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leave to open new sessions.
    pub(super) fn lease(&self) -> Result<Lease<'_>, KeyError> {
        let state = self.state.try_read_for(PATIENCE).ok_or(KeyError::Stuck)?;
        if !state.initialised {
            return Err(KeyError::operation("use the token", Fault::new("its module is not initialised")));
        }
        Ok(Lease { pkcs11: &self.context, generation: state.generation, _state: state })
    }

    /// Leave to use a session of `generation`.
    pub(super) fn lease_of(&self, generation: u64) -> Result<Lease<'_>, KeyError> {
        let lease = self.lease()?;
        if lease.generation != generation {
            return Err(KeyError::operation("use the token", Fault::new("its module was re-initialised")));
        }
        Ok(lease)
    }

    /// Finalises and initialises the module, unless somebody did so since `seen`. Returns its generation.
    pub(super) fn reinitialise(&self, seen: u64) -> Result<u64, KeyError> {
        let mut state = self.state.try_write_for(PATIENCE).ok_or(KeyError::Stuck)?;
        if state.initialised && state.generation != seen {
            return Ok(state.generation);
        }
        if state.initialised {
            state.initialised = false;
            if let Err(error) = self.context.clone().finalize() {
                // Initialising decides whether this mattered.
                tracing::debug!(%error, "the PKCS#11 module did not finalise cleanly");
            }
        }
        self.initialise(&mut state)?;
        Ok(state.generation)
    }

    fn ensure_initialised(&self) -> Result<(), KeyError> {
        let mut state = self.state.try_write_for(PATIENCE).ok_or(KeyError::Stuck)?;
        if state.initialised { Ok(()) } else { self.initialise(&mut state) }
    }

    fn initialise(&self, state: &mut State) -> Result<(), KeyError> {
        match self.context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                state.initialised = true;
                state.generation += 1;
                Ok(())
            }
            // Modules give no better reason than CKR_GENERAL_ERROR for a missing configuration.
            Err(error) => Err(KeyError::ConfigurationMissing {
                path: self.path.clone(),
                configuration: self.configuration(),
                source: error.into(),
            }),
        }
    }

    /// What can be said about the module's configuration, for the error message.
    fn configuration(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        if !name.contains("softhsm") {
            return "see the vendor's documentation for its configuration file".to_owned();
        }
        match std::env::var_os("SOFTHSM2_CONF") {
            None => "SOFTHSM2_CONF is not set".to_owned(),
            Some(file) => match std::fs::metadata(&file) {
                Ok(_) => format!("SOFTHSM2_CONF is {}", file.display()),
                Err(error) => format!("SOFTHSM2_CONF is {}: {error}", file.display()),
            },
        }
    }
}
