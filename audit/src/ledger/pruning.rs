//! Takes out of a ledger what may go, so that it can be interrupted anywhere.
//!
//! In this order: the copy of the segments is in the archive, and was read back; the new beginning lies
//! beside the journal as a draft, durable; a `retention.pruned` record declares it, durable and signed. Only
//! then does opening the ledger ([`complete`]) put the draft in its place and remove the segments. Before the
//! record nothing has changed; behind it every opening goes on until all is done. There is one path for both:
//! a pruning that was not interrupted is completed by the next opening, too.
//!
//! The query store is made anew from what is left, so that it does not keep what went.

use std::io;
use std::ops::ControlFlow;

use super::{AppendError, Ledger, LedgerError, Receipt};
use crate::archive::{Archive, ArchiveError, Manifest, store};
use crate::disk::Disk;
use crate::epoch;
use crate::index::Directories;
use crate::journal::files::{SegmentPath, read_header, read_segment};
use crate::journal::reading::read_segments;
use crate::journal::{Files, SegmentHeader};
use crate::kind::Kind;
use crate::prefix::{NAME, Prefix};
use crate::record::{Draft, Outcome, Seq};
use crate::retention::{Survey, SurveyError};

/// What pruning did; the next opening of the ledger completes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The record that declares it.
    pub receipt: Receipt,
    /// The name of the manifest in the archive.
    pub manifest: String,
}

/// Prunes `ledger`, whose files are `files`, as `survey` has found that it may be.
///
/// `who` is called with the record's draft, to say who wanted it. Blocks while it copies.
pub async fn prune(
    ledger: &Ledger,
    files: &Files,
    disk: &dyn Disk,
    survey: &Survey,
    archive: &dyn Archive,
    who: impl FnOnce(Draft) -> Draft,
) -> Result<Pruned, PruningError> {
    if survey.plan.size == 0 {
        return Err(PruningError::Nothing);
    }
    let recorded_from = Seq::new(ledger.reader().len());
    let (written, note) = survey.prefix(files, recorded_from)?;
    // Read as everybody will read it: what could not be read again must not take the place of anything.
    let prefix = Prefix::parse(written.bytes.clone()).map_err(SurveyError::Prefix)?;
    let declaration = prefix.declaration();

    let mut manifest = Manifest::new(&prefix.checkpoint().origin, survey.pruned, declaration.size, &note);
    for segment in replaced(files, declaration.size)? {
        manifest.add(archive, &segment.name(), &read_segment(&segment.path)?)?;
    }
    let manifest_digest = store(archive, &manifest.name(), manifest.to_text().as_bytes())?;

    write_draft(disk, files, &written.bytes).map_err(PruningError::Draft)?;
    let holds: Vec<_> = survey.holds.iter().map(|hold| hold.name.clone()).collect();
    let draft = Draft::new(Kind::RetentionPruned, Outcome::Success)
        .detail("size", declaration.size)
        .detail("root", declaration.root.to_string())
        .detail("digest", declaration.digest.to_string())
        .detail("kept", written.kept)
        .detail("omitted", written.omitted)
        .detail("archive", archive.location())
        .detail("manifest", manifest.name())
        .detail("manifest_sha256", manifest_digest.to_string())
        .detail("rules", survey.policy().digest().to_string())
        .detail("holds", holds);
    let receipt = ledger.append(who(draft)).await?;
    Ok(Pruned { receipt, manifest: manifest.name() })
}

/// The segments that a prefix of `size` records stands for.
fn replaced(files: &Files, size: u64) -> io::Result<Vec<SegmentPath>> {
    let mut segments = files.segments()?;
    segments.retain(|segment| segment.first.get() < size);
    Ok(segments)
}

fn write_draft(disk: &dyn Disk, files: &Files, bytes: &[u8]) -> io::Result<()> {
    let path = files.prefix_draft();
    if path.exists() {
        // Left from a run that was interrupted before its record.
        disk.remove(&path)?;
    }
    let mut file = disk.create(&path)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.sync_directory(&files.journal())
}

/// Goes on with a pruning that was declared, from wherever it stopped. Changes nothing if there is none.
pub(super) fn complete(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let draft = files.prefix_draft();
    if draft.exists() {
        let bytes = read_segment(&draft).map_err(|error| LedgerError::io("read", &draft, error))?;
        let declared = match Prefix::parse(bytes) {
            Ok(prefix) => {
                is_declared(files, &prefix).map_err(|error| LedgerError::io("read", &draft, error))?
            }
            Err(_) => false,
        };
        let act = || {
            if declared {
                remove_copies(disk, files)?;
                disk.rename(&draft, &files.prefix())?;
            } else {
                disk.remove(&draft)?;
            }
            disk.sync_directory(&files.journal())
        };
        act().map_err(|error| LedgerError::io("finish pruning in", files.journal(), error))?;
    }
    let left = |error| LedgerError::io("read", files.prefix(), error);
    let size = files.pruned().map_err(left)?;
    let replaced = replaced(files, size).map_err(left)?;
    if replaced.is_empty() {
        return Ok(());
    }
    // A prefix that nothing declares, or that does not lead to what follows, is looked into when the journal is
    // read; whatever stands beside it is then evidence.
    let Some(Ok(prefix)) = files.read_prefix().map_err(left)? else { return Ok(()) };
    if prefix.size() != size || !is_declared(files, &prefix).map_err(left)? {
        return Ok(());
    }
    tracing::info!(segments = replaced.len(), "removing segments that were pruned");
    let act = || {
        replaced.iter().try_for_each(|segment| disk.remove(&segment.path))?;
        disk.sync_directory(&files.journal())
    };
    act().map_err(|error| LedgerError::io("remove pruned segments from", files.journal(), error))
}

/// Before anything else goes, so that no copy of it outlives it. Store and index are made again from what is left.
fn remove_copies(disk: &dyn Disk, files: &Files) -> io::Result<()> {
    let indexed = Directories::of(files, []).spans();
    indexed.iter().try_for_each(|span| disk.remove(&span.path))?;
    for store in [files.store(), files.directory().join("store.damaged")] {
        if store.exists() {
            std::fs::remove_dir_all(store)?;
        }
    }
    disk.sync_directory(files.directory())
}

/// Whether the journal goes on where `prefix` ends, and a record in it declares exactly this prefix.
pub(super) fn is_declared(files: &Files, prefix: &Prefix) -> io::Result<bool> {
    let behind = files.segments_behind(prefix.size())?;
    let Some(first) = behind.first() else { return Ok(false) };
    // An epoch may begin there; whether it does rightly is told when the journal is read.
    let Some(header) = read_header(&first.path)? else { return Ok(false) };
    let ((base, number), (named, epoch)) =
        (epoch::split(&prefix.checkpoint().origin), epoch::split(&header.origin));
    let expected = SegmentHeader::new(&header.origin, prefix.chain(), &prefix.note().to_string());
    if base != named || epoch < number || header != expected {
        return Ok(false);
    }
    let declaration = prefix.declaration();
    let mut declared = false;
    read_segments(&behind, None, prefix.recorded_from(), &mut |found| {
        declared = declaration.is_made_by(found.record);
        if declared { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(declared)
}

/// Why a ledger was not pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruningError {
    /// The plan is empty.
    #[error("there is nothing to prune")]
    Nothing,
    /// The journal cannot be read.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// A segment cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] io::Error),
    /// The copy is not in the archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The new beginning could not be written.
    #[error("the new beginning of the journal cannot be written beside it, to {NAME}.new")]
    Draft(#[source] io::Error),
    /// The record could not be written.
    #[error("the pruning cannot be recorded")]
    NotRecorded(#[from] AppendError),
}

impl PruningError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Nothing => "`sallyportd retention plan` says what keeps the records",
            Self::Survey(error) => error.hint(),
            Self::Read(_) => "check the ledger's directory and who may read it; nothing was pruned",
            Self::Archive(error) => error.hint(),
            Self::Draft(_) => "check the room on the ledger's disk, then run again; nothing was pruned",
            Self::NotRecorded(_) => {
                "see the message above about the ledger, then run again; nothing was pruned"
            }
        }
    }
}
