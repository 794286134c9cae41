//! The child as the place where keys live: found, asked, and started again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use crate::config::ProviderConfig;
use crate::crew::now;
use crate::error::{Fault, KeyError};
use crate::health::Cause;
use crate::info::ProviderInfo;
use crate::provider::{Provider, Store};
use crate::recovery::Step;
use crate::secret_file;

use super::process::Process;
use super::session::{Connection, another};
use super::wire::{Answer, Request};
use super::{Limits, WorkerStatus};

/// Nobody waits longer for somebody who is starting the child.
const PATIENCE: Duration = Duration::from_secs(2);
/// A child that lived so long was well: the next one is started at once.
const WELL: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The provider in a child process.
pub(crate) struct Remote {
    program: PathBuf,
    provider: ProviderConfig,
    limits: Limits,
    first: ProviderInfo,
    /// Of mode 0700, for the socket alone.
    directory: TempDir,
    /// Where the child is, for whoever connects.
    place: RwLock<Option<Place>>,
    life: Mutex<Life>,
    status: RwLock<WorkerStatus>,
    silent: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Place {
    socket: PathBuf,
    pid: u32,
}

struct Life {
    process: Option<Process>,
    starts: u64,
    pause: Pause,
    /// A secret that the provider refused, and its words. A new child does not present it again.
    refused: Option<(SecretString, KeyError)>,
}

/// When a child that keeps ending is started again. Pure.
#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    /// How much of it is left.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// A child that lived for `life` is replaced `now`.
    fn begin(&mut self, life: Duration, longest: Duration, now: Instant) {
        self.length = match self.length {
            _ if life >= WELL => Duration::ZERO,
            Duration::ZERO => FIRST_PAUSE.min(longest),
            length => length.saturating_mul(2).min(longest),
        };
        self.until = now.checked_add(self.length);
    }
}

impl Remote {
    /// Starts the child and has it open its provider. Blocks.
    pub(crate) fn open(program: &Path, provider: &ProviderConfig, limits: Limits) -> Result<Self, KeyError> {
        let mode = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("sallyport-").permissions(mode).tempdir();
        let directory = directory.map_err(|error| {
            KeyError::operation("make a directory for the key worker", Fault::from(error))
        })?;
        let socket = directory.path().join("0");
        let (process, opened) = Process::start(program, provider, socket, limits.open)?;
        let place = Place { socket: process.socket.clone(), pid: process.pid() };
        Ok(Self {
            program: program.to_owned(),
            provider: provider.clone(),
            limits,
            first: opened.provider,
            directory,
            status: RwLock::new(WorkerStatus { pid: Some(place.pid), restarts: 0, memory: opened.memory }),
            place: RwLock::new(Some(place)),
            life: Mutex::new(Life {
                process: Some(process),
                starts: 1,
                pause: Pause::default(),
                refused: None,
            }),
            silent: Arc::default(),
        })
    }

    fn connection(&self) -> Result<Connection, KeyError> {
        let place = self.place.read().clone();
        let place = place.ok_or_else(|| {
            KeyError::operation("reach the key worker", Fault::new("its process has ended"))
        })?;
        Connection::open(&place.socket, place.pid, self.limits, Arc::clone(&self.silent))
    }

    fn restart(&self, life: &mut Life) -> Result<(), KeyError> {
        if let Some((_, words)) = life.refused.as_ref().filter(|(refused, _)| self.same_secret(refused)) {
            return Err(words.clone());
        }
        let now = now();
        if let Some(left) = life.pause.left(now) {
            let text = format!("it keeps ending; the next start is in {} ms", left.as_millis());
            return Err(KeyError::operation("start the key worker", Fault::new(text)));
        }
        *self.place.write() = None;
        self.status.write().pid = None;
        let lived = life.process.as_ref().map_or(Duration::ZERO, |old| now.duration_since(old.began));
        life.pause.begin(lived, self.limits.pause, now);
        // Ended here if it was not yet: two children on one token would share its lock and its log.
        life.process = None;
        tracing::warn!(restarts = life.starts, "the key worker is started again");
        let socket = self.directory.path().join(life.starts.to_string());
        life.starts += 1;
        let secret = self.secret();
        let started = Process::start(&self.program, &self.provider, socket, self.limits.open);
        let (process, opened) = started.inspect_err(|error| {
            if let (true, Some(secret)) = (Cause::of(error).needs_operator(), secret) {
                life.refused = Some((secret, error.clone()));
            }
        })?;
        life.refused = None;
        self.is_ours(&opened.provider)?;
        let place = Place { socket: process.socket.clone(), pid: process.pid() };
        *self.status.write() =
            WorkerStatus { pid: Some(place.pid), restarts: life.starts - 1, memory: opened.memory };
        *self.place.write() = Some(place);
        life.process = Some(process);
        self.silent.store(false, Ordering::Release);
        Ok(())
    }

    /// The first child had opened one token; another with the same label is not ours.
    fn is_ours(&self, found: &ProviderInfo) -> Result<(), KeyError> {
        match (&self.first, found) {
            (ProviderInfo::Pkcs11 { serial: expected, token, .. }, ProviderInfo::Pkcs11 { serial, .. })
                if serial != expected =>
            {
                Err(KeyError::TokenExchanged {
                    label: token.clone(),
                    expected: expected.clone(),
                    found: serial.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn secret(&self) -> Option<SecretString> {
        secret_file::read(self.provider.secret_file()).ok()
    }

    fn same_secret(&self, refused: &SecretString) -> bool {
        // One that cannot be read is no other.
        self.secret().is_none_or(|secret| secret.expose_secret() == refused.expose_secret())
    }
}

impl Store for Remote {
    fn describe(&self) -> ProviderInfo {
        self.first.clone()
    }

    fn connect(&self) -> Result<Box<dyn Provider>, KeyError> {
        Ok(Box::new(self.connection()?))
    }

    fn recover(&self, step: Step) -> Result<(), KeyError> {
        let mut life = self.life.try_lock_for(PATIENCE).ok_or(KeyError::Stuck)?;
        let alive = life.process.as_mut().is_some_and(Process::is_alive);
        if alive && !self.silent.load(Ordering::Acquire) {
            let asked = self.connection()?.call(&Request::Recover(step), self.limits.admin);
            if !self.silent.load(Ordering::Acquire) {
                return asked.map(drop);
            }
        }
        self.restart(&mut life)
    }

    fn may_log_in(&self, told: bool) -> bool {
        let Some(mut life) = self.life.try_lock_for(PATIENCE) else { return false };
        if told {
            life.refused = None;
        }
        if let Some((refused, _)) = &life.refused {
            return !self.same_secret(refused);
        }
        match self.connection().map(|mut child| child.call(&Request::MayLogIn { told }, self.limits.sign)) {
            Ok(Ok(Answer::Yes(may))) => may,
            Ok(Ok(_)) => {
                tracing::warn!(error = %another(), "the key worker is not understood");
                false
            }
            // There is none, or it is silent: a new one presents what is in the file now.
            _ => true,
        }
    }

    fn worker(&self) -> Option<WorkerStatus> {
        Some(self.status.read().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_keeps_ending_is_started_ever_less_often_and_one_that_was_well_at_once() {
        let (mut pause, now, longest) = (Pause::default(), Instant::now(), Duration::from_secs(5));
        assert_eq!(pause.left(now), None);
        let mut lengths = Vec::new();
        for _ in 0..7 {
            pause.begin(Duration::from_millis(3), longest, now);
            lengths.push(pause.left(now).unwrap().as_millis());
        }
        assert_eq!(lengths, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause.left(now + longest), None);
        pause.begin(WELL, longest, now);
        assert_eq!(pause.left(now), None);
    }
}
