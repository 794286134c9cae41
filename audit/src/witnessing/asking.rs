//! Asks one witness to cosign one head.
//!
//! The request names the head that the witness cosigned last and proves that the new one contains it. If the witness
//! remembers another one than we do, it says its size and is asked again from there; a few times, not for ever.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, Reply, Trouble, judge};
use crate::checkpoint::Checkpoint;
use crate::note::{CosignerKey, NoteSignature, SignedNote};
use crate::snapshot::{Snapshot, SnapshotError};
use crate::witness::Request;

/// How often one witness is asked for one head: once, once more with the size that it answered, and once more if it
/// cosigned another head in between.
const ATTEMPTS: usize = 3;

/// Takes a request to a witness and brings its answer back. The shell around this makes it HTTPS.
pub trait Courier: Send + Sync + 'static {
    /// Posts the body of `add-checkpoint`. Reads at most [`super::MAX_ANSWER_BYTES`] of the answer, or fails, in words.
    fn add_checkpoint(
        &self,
        body: String,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, String>> + Send + '_>>;
}

/// A witness that is to cosign our heads.
#[derive(Clone)]
pub struct Witness {
    /// What the operator calls it.
    pub name: String,
    /// Its public key.
    pub key: CosignerKey,
    /// The way to it.
    pub courier: Arc<dyn Courier>,
}

/// A head that witnesses are asked to cosign.
#[derive(Clone)]
pub(super) struct Head {
    snapshot: Snapshot,
    pub(super) checkpoint: Checkpoint,
    pub(super) note: SignedNote,
}

impl Head {
    pub(super) fn new(snapshot: Snapshot) -> Result<Self, SnapshotError> {
        let (checkpoint, note) = Checkpoint::from_note(snapshot.note())?;
        Ok(Self { snapshot, checkpoint, note })
    }

    /// The body of the request with a proof from `old` records. Reads the journal.
    async fn request(&self, old: u64) -> Result<String, Trouble> {
        let snapshot = self.snapshot.clone();
        let proof = tokio::task::spawn_blocking(move || snapshot.consistency(old)).await;
        let proof = proof.map_err(|error| Trouble::NoProof(error.to_string()))?;
        let proof = proof.map_err(|error| Trouble::NoProof(error.to_string()))?;
        Ok(Request { old, proof, note: self.note.to_string() }.to_string())
    }
}

/// A cosignature of the head that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) line: NoteSignature,
    pub(super) time: u64,
}

impl Witness {
    /// Asks for a cosignature of `head`, beginning at `old` records. Ends within `patience` for each attempt.
    pub(super) async fn ask(
        &self,
        head: &Head,
        old: u64,
        patience: Duration,
        now: fn() -> u64,
    ) -> Result<Seen, Trouble> {
        let mut old = old.min(head.checkpoint.size);
        for _ in 0..ATTEMPTS {
            let body = head.request(old).await?;
            let reply = tokio::time::timeout(patience, self.courier.add_checkpoint(body)).await;
            let reply = reply.map_err(|_| Trouble::Unreachable("no answer in time".to_owned()))?;
            let reply = reply.map_err(Trouble::Unreachable)?;
            match judge(&reply, &self.key, (&head.checkpoint, &head.note), old, now())? {
                Answer::Cosigned { line, time } => return Ok(Seen { line, time }),
                Answer::Conflict { size } => old = size,
            }
        }
        Err(Trouble::NeverSettles)
    }
}
