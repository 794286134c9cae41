//! Finds out what is left of a ledger, and what is known of what is not.
//!
//! What is kept must pass the verifier: the journal is cut in front of the first piece that does not, and looked
//! at again, until all that is left is whole under a head that a given key signed. Only reads.

use crate::checkpoint::Checkpoint;
use crate::epoch::{self, Cause, Resumed};
use crate::journal::Files;
use crate::journal::head::{self, HeadFile};
use crate::note::{PublicKey, SignedNote};

use super::{Kept, Move, PLAN_VERSION, Plan, RecoveryError};

mod heads;
mod prefix;

use heads::{Heads, Known};
use prefix::Prefix;

/// What the operator brings along.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The ledger's public keys.
    pub keys: Vec<PublicKey>,
    /// Checkpoints of this ledger that were kept elsewhere, as signed notes.
    pub checkpoints: Vec<String>,
    /// An older copy was put back, although nothing in the directory shows it.
    pub restored: bool,
    /// The gateway's key of the ledger, which replaced another by a record that is lost.
    pub handed_over_to: Option<PublicKey>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The ledger's name in its first epoch.
    pub base: String,
    /// What can be kept.
    pub kept: Kept,
    /// Why a new epoch is needed; `None` when the gateway can go on by itself.
    pub cause: Option<Cause>,
    /// What was found, a sentence each.
    pub findings: Vec<String>,
    /// The largest head that is known of what is lost, and where it was found.
    pub lost: Option<(Checkpoint, String, String)>,
    /// The number of the last epoch that is known of.
    pub epoch: u64,
    /// The ledger's key from the next epoch on, if the record that names it is lost.
    pub key: Option<PublicKey>,
    moves: Vec<Move>,
}

/// Looks at the ledger. The gateway must be stopped: whoever calls holds the lock.
pub fn survey(files: &Files, evidence: &Evidence) -> Result<Survey, RecoveryError> {
    let prefix = Prefix::find(files, &evidence.keys)?;
    let mut findings = prefix.findings.clone();
    let mut heads = Heads::new(&evidence.keys, &prefix);
    let (mut behind, mut groups_follow) = (0, false);
    prefix.surplus(&mut |bytes| {
        behind += bytes.len();
        groups_follow |= heads::has_group(bytes);
        heads.surplus(bytes);
    })?;
    if behind > 0 {
        findings.push(format!(
            "Behind what is whole, {behind} bytes of the journal are damaged or hang in the air."
        ));
    }
    let head_state = read_head(files, &mut heads, &mut findings)?;
    heads.beside(files)?;
    heads.earlier_plan(files)?;
    for (number, note) in evidence.checkpoints.iter().enumerate() {
        heads.given(number + 1, note)?;
    }
    let base =
        heads.base().ok_or_else(|| RecoveryError::Unknown { directory: files.directory().to_owned() })?;
    heads.compare(files, prefix.kept.records)?;
    findings.append(&mut heads.findings);

    let (kept_epoch, seen) = (prefix.epoch(), heads.epoch());
    let epoch = kept_epoch.max(seen);
    let (beyond, contradicting) = (heads.beyond(), heads.contradicting());
    let cause = if behind > 0 && (beyond.is_some() || groups_follow) {
        Some(Cause::Damaged)
    } else if beyond.is_some() {
        Some(Cause::EndMissing)
    } else if contradicting.is_some() {
        Some(Cause::Forked)
    } else if head_state != HeadState::There && !prefix.is_new() {
        Some(Cause::HeadLost)
    } else {
        (evidence.restored || evidence.handed_over_to.is_some()).then_some(Cause::Restored)
    };
    let before = epoch::name(&base, epoch);
    let lost = heads.lost(&before, epoch > kept_epoch);
    for known in [beyond, contradicting].into_iter().flatten() {
        findings.push(known.sentence(prefix.kept.records));
    }
    let key = handed_over(evidence, &prefix.kept)?;
    if key.is_none()
        && let Some(by) =
            lost.as_ref().and_then(|(_, note, _)| stranger_to(note, &prefix.kept, &evidence.keys))
    {
        findings.push(format!(
            "The best known lost head is signed by {by}, and what is kept is not: if that is the gateway's key now, the record \
             that says so is lost, and --handed-over-to names it."
        ));
    }
    let mut moves = prefix.moves();
    if head_state != HeadState::Missing {
        moves.push(Move::Aside("head".to_owned()));
    }
    moves.extend(heads.surplus_files().map(|name| Move::Aside(name.to_owned())));
    Ok(Survey { base, kept: prefix.kept, cause, findings, lost, epoch, key, moves })
}

impl Survey {
    /// What would be done about it; `None` when there is nothing to do.
    pub fn plan(&self, files: &Files, by: &str, reason: &str, tokens_kept: bool) -> Option<Plan> {
        let cause = self.cause?;
        let epoch = self.epoch.checked_add(1)?;
        let lost_size = self.lost.as_ref().map_or(0, |(head, ..)| head.size);
        let resumed = Resumed {
            epoch,
            origin: epoch::name(&self.base, epoch),
            origin_before: epoch::name(&self.base, self.epoch),
            cause,
            first: self.kept.records,
            at_least: lost_size.saturating_sub(self.kept.records),
            lost_head: self.lost.as_ref().map(|(_, note, _)| note.clone()),
            set_aside: free_place(files, epoch),
            tokens_kept,
            key: self.key.clone(),
        };
        let (by, reason) = (by.to_owned(), reason.to_owned());
        Some(Plan {
            format: PLAN_VERSION,
            resumed,
            kept: self.kept.clone(),
            moves: self.moves.clone(),
            by,
            reason,
        })
    }
}

/// The key that the operator says the ledger was handed over to, if what is kept does not say so itself.
fn handed_over(evidence: &Evidence, kept: &Kept) -> Result<Option<PublicKey>, RecoveryError> {
    let Some(key) = &evidence.handed_over_to else { return Ok(None) };
    let unusable = |reason| RecoveryError::Key { key: key.to_string(), reason };
    if !evidence.keys.contains(key) {
        return Err(unusable("it is not among the given keys"));
    }
    let Ok(note) = SignedNote::parse(&kept.note) else {
        return Err(unusable("nothing is kept, so the ledger simply begins anew under it"));
    };
    if note.names(key) {
        return Err(unusable("what is kept is signed by it already"));
    }
    Ok(Some(key.clone()))
}

/// Who signed a lost head, if nobody of them signed what is kept.
fn stranger_to(lost: &str, kept: &Kept, keys: &[PublicKey]) -> Option<String> {
    let (lost, kept) = (SignedNote::parse(lost).ok()?, SignedNote::parse(&kept.note).ok()?);
    let by: Vec<_> = keys.iter().filter(|key| lost.names(key)).collect();
    // The name of a lent key is not that of the ledger's own.
    let own = |key: &&&PublicKey| !key.name().ends_with(crate::signers::DELEGATE_SUFFIX);
    let stranger = by.iter().find(own)?;
    by.iter().all(|key| !kept.names(key)).then(|| stranger.to_string())
}

/// A directory for what is moved that no earlier recovery has used.
fn free_place(files: &Files, epoch: u64) -> String {
    let name = |attempt: u32| match attempt {
        1 => format!("set-aside/epoch-{epoch}"),
        _ => format!("set-aside/epoch-{epoch}.{attempt}"),
    };
    (1..u32::MAX).map(name).find(|name| !files.directory().join(name).exists()).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HeadState {
    Missing,
    Lost,
    There,
}

fn read_head(
    files: &Files,
    heads: &mut Heads<'_>,
    findings: &mut Vec<String>,
) -> Result<HeadState, RecoveryError> {
    let bytes = files.read_head().or_else(|error| match error.kind() {
        // Longer than any head file: something else lies there.
        std::io::ErrorKind::FileTooLarge => Ok(Some(Vec::new())),
        _ => Err(RecoveryError::io("read", files.head())(error)),
    })?;
    let Some(bytes) = bytes else {
        findings.push("The head file is missing.".to_owned());
        return Ok(HeadState::Missing);
    };
    let lost = match head::read(&bytes) {
        HeadFile::Blank => "blank",
        HeadFile::Damaged => "unreadable",
        HeadFile::Head { note, .. } if heads.take("the head file", &note.to_string()) => {
            return Ok(HeadState::There);
        }
        HeadFile::Head { .. } => "of another ledger, or not signed by a given key",
    };
    findings.push(format!("The head file is {lost}."));
    Ok(HeadState::Lost)
}

impl Known {
    fn sentence(&self, kept: u64) -> String {
        let (size, found) = (self.checkpoint.size, &self.found);
        if size > kept {
            return format!(
                "A head over {size} records is known ({found}): {} more than there are.",
                size - kept
            );
        }
        format!("A head over {size} records is known ({found}) that tells of another history.")
    }
}
