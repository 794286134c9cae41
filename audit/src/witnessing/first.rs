//! Asks the witnesses before anything is added to a ledger: is this the one which they have seen?
//!
//! A restored backup is a good ledger, but for the end that is missing; nothing on this host can tell when the head file
//! was restored with it. A witness can: it remembers a larger head, or another one of the same size.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::answer::Trouble;
use super::asking::{Head, Witness};
use crate::journal::Files;
use crate::snapshot::{Snapshot, SnapshotError};

/// A witness has seen another history of this ledger than the one in its directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is not the one that was witnessed: the witness `{witness}` {trouble}")]
pub struct SeenElsewhere {
    /// Which witness, as the operator calls it.
    pub witness: String,
    /// What it said.
    pub trouble: Trouble,
}

/// What the witnesses said of the ledger as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstWord {
    /// There is no head yet that could be shown to them.
    NothingToShow,
    /// They were asked: how many know it, and what was wrong with the others, by name.
    Asked {
        /// How many cosigned the last head.
        agree: usize,
        /// Who did not answer or not well; none of them disputes the ledger.
        silent: Vec<(String, Trouble)>,
    },
}

/// Asks all witnesses at once about the last head in `directory`, each for at most a few times `patience`.
///
/// Whoever cannot be reached cannot object; what follows from that is for the policy in force. A journal that cannot be
/// read is for the opening to explain.
pub async fn ask_first(
    directory: &Path,
    witnesses: &[Witness],
    patience: Duration,
) -> Result<FirstWord, SeenElsewhere> {
    let files = Files::new(directory);
    let latest = tokio::task::spawn_blocking(move || Snapshot::latest(files)).await;
    let head = latest.map_err(|_| SnapshotError::Empty).and_then(|latest| Head::new(latest?));
    let Ok(head) = head else { return Ok(FirstWord::NothingToShow) };
    let mut asked = JoinSet::new();
    for witness in witnesses.iter().cloned() {
        let head = head.clone();
        asked.spawn(async move {
            let said = witness.ask(&head, head.checkpoint.size, patience, super::unix_time).await;
            (witness.name, said)
        });
    }
    let (mut agree, mut silent) = (0, Vec::new());
    for (witness, said) in asked.join_all().await {
        match said {
            Ok(_) => agree += 1,
            Err(trouble) if trouble.is_dispute() => return Err(SeenElsewhere { witness, trouble }),
            Err(trouble) => silent.push((witness, trouble)),
        }
    }
    Ok(FirstWord::Asked { agree, silent })
}
