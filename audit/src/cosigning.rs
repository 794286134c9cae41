//! Keeps a head with a post-quantum cosignature beside the ledger.
//!
//! Ed25519 will not hold for as long as audit records must be kept. An ML-DSA-44 cosignature over a head
//! covers, by the tree, every record up to it; so one is made at intervals and when the ledger is closed,
//! and the last one is enough. It is made apart from the writing of records: a slow key provider delays no
//! record, and one that fails is asked again at the next interval.
//!
//! The file `cosigned` holds the head with the ledger's own signature and the cosignature. It is replaced
//! whole, so a reader finds the old or the new one. Not trusted: the file, like every other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::journal::Files;
use crate::journal::files::replace;
use crate::keys::{Cosigner, SignError};
use crate::ledger::Reader;
use crate::note::{CosignerKey, KeyError, NoteError};

/// How far cosigning has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cosigned {
    /// How many records the last cosigned head covers.
    pub records: u64,
    /// Why the last attempt failed, if it did.
    pub trouble: Option<String>,
}

/// A thread that cosigns the ledger's heads.
pub struct Cosigning {
    orders: mpsc::Sender<Told>,
    thread: JoinHandle<()>,
    status: watch::Receiver<Cosigned>,
}

/// What can be told to the thread that cosigns. It answers with how many records the head covers that it cosigned then.
enum Told {
    Finish(oneshot::Sender<Result<u64, CosignError>>),
    TakeOver(Box<dyn Cosigner>, oneshot::Sender<Result<u64, CosignError>>),
}

/// Where the cosigner sits: another may take its place.
#[derive(Clone)]
pub struct Seat(mpsc::Sender<Told>);

impl Seat {
    /// Has heads cosigned by `next` from now on, the present one at once. Returns when that was tried; if it failed, it is
    /// tried again at the next interval.
    ///
    /// # Errors
    ///
    /// If the key is none, or cosigning does not run any more.
    pub async fn take_over(&self, next: Box<dyn Cosigner>) -> Result<u64, CosignError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Told::TakeOver(next, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> CosignError {
    CosignError::Thread(io::Error::other("the thread that cosigns ended unexpectedly"))
}

impl Cosigning {
    /// Where the cosigner sits.
    pub fn seat(&self) -> Seat {
        Seat(self.orders.clone())
    }

    /// Begins: the present head is cosigned at once, and later ones at every `interval`.
    pub fn start(
        reader: Reader,
        directory: &Path,
        cosigner: Box<dyn Cosigner>,
        interval: Duration,
    ) -> Result<Self, CosignError> {
        let key = CosignerKey::ml_dsa_44(cosigner.name(), cosigner.public_key())?;
        let file = Files::new(directory).cosigned();
        let (orders, told) = mpsc::channel();
        let (tell, status) = watch::channel(Cosigned::default());
        let mut work = Work { reader, file, cosigner, key, done: 0 };
        let run = move || {
            loop {
                let result = work.cosign(unix_time());
                tell.send_modify(|status| match &result {
                    Ok(records) => *status = Cosigned { records: *records, trouble: None },
                    Err(error) => {
                        tracing::warn!(%error, "the ledger's head was not cosigned");
                        status.trouble = Some(error.to_string());
                    }
                });
                match told.recv_timeout(interval) {
                    Ok(Told::Finish(reply)) => {
                        // Whoever asked may have gone; nothing is lost by that.
                        let _ = reply.send(work.cosign(unix_time()));
                        return;
                    }
                    Ok(Told::TakeOver(next, reply)) => {
                        let _ = reply.send(work.take_over(next).and_then(|()| work.cosign(unix_time())));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("ledger-cosign".to_owned()).spawn(run);
        Ok(Self { orders, thread: thread.map_err(CosignError::Thread)?, status })
    }

    /// Follows how far it has come.
    pub fn status(&self) -> watch::Receiver<Cosigned> {
        self.status.clone()
    }

    /// Cosigns the last head and ends. To be called when the ledger is closed; gives how many records the
    /// cosigned head covers.
    pub async fn finish(self) -> Result<u64, CosignError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Told::Finish(reply)).map_err(|_| gone())?;
        let result = answer.await.map_err(|_| gone())?;
        // The thread answers as its very last act, so this does not wait.
        self.thread.join().map_err(|_| gone())?;
        result
    }
}

#[expect(clippy::disallowed_methods, reason = "a cosignature says when it was made; this is the shell")]
fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

struct Work {
    reader: Reader,
    file: PathBuf,
    cosigner: Box<dyn Cosigner>,
    key: CosignerKey,
    /// How many records the last cosigned head covers.
    done: u64,
}

impl Work {
    fn take_over(&mut self, next: Box<dyn Cosigner>) -> Result<(), CosignError> {
        self.key = CosignerKey::ml_dsa_44(next.name(), next.public_key())?;
        self.cosigner = next;
        // The head that the one before it cosigned is to have this one's, too.
        self.done = 0;
        Ok(())
    }

    fn cosign(&mut self, time: u64) -> Result<u64, CosignError> {
        let (checkpoint, mut note) = Checkpoint::from_note(&self.reader.checkpoint())?;
        if checkpoint.size == self.done {
            return Ok(self.done);
        }
        let signature = self.cosigner.sign(&self.key.message(&checkpoint, time))?;
        note.add(self.key.line(time, &signature));
        // A provider that signs wrongly must not replace what verifies.
        self.key.verify(&checkpoint, &note)?;
        replace(&self.file, &note.to_string())
            .map_err(|source| CosignError::Write { path: self.file.clone(), source })?;
        self.done = checkpoint.size;
        Ok(self.done)
    }
}

/// Why a head was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// The key cannot be used.
    #[error("the cosigning key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// There is no head, or not one.
    #[error("the head cannot be cosigned: {0}")]
    Head(#[from] CheckpointError),
    /// The key provider did not sign.
    #[error("the key provider did not cosign: {0}")]
    Sign(#[from] SignError),
    /// The key provider's signature is false.
    #[error("the key provider gave a false cosignature: {0}")]
    False(#[from] NoteError),
    /// The file could not be replaced.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread could not be started, or is gone.
    #[error("cosigning does not run: {0}")]
    Thread(#[source] io::Error),
}

impl CosignError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Key(_) => "look at the key of role `ledger-pq` with `sallyport keys`; it must be ML-DSA-44",
            Self::Head(_) | Self::Thread(_) => "restart the gateway, and report this with its log",
            Self::Sign(_) | Self::False(_) => {
                "look at the key provider; records are signed with Ed25519 as before, and cosigning is tried again"
            }
            Self::Write { .. } => "check the room on the disk, and who may write there",
        }
    }
}

#[cfg(test)]
mod tests;
