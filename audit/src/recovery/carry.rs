//! Does what a plan says, so that it can be interrupted anywhere and run again.
//!
//! First the plan itself is made durable, under a name at which the gateway refuses to start. Each move is either
//! one rename, or a copy that is whole on the disk before anything is cut; one that was done is passed over. The
//! new head file comes last, and then the plan gets the name under which the gateway takes it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::journal::Files;
use crate::journal::files::{read_bounded, read_segment};
use crate::journal::head::{FILE_BYTES, slot};

use super::{MAX_PLAN_BYTES, Move, Plan, RecoveryError};

/// The plan that was being carried out when something broke in, if there is one.
pub fn interrupted(files: &Files) -> Result<Option<Plan>, RecoveryError> {
    read_plan(files.recovery_unfinished())
}

/// The plan that the gateway has not recorded yet, if there is one.
pub fn waiting(files: &Files) -> Result<Option<Plan>, RecoveryError> {
    read_plan(files.recovery())
}

fn read_plan(path: PathBuf) -> Result<Option<Plan>, RecoveryError> {
    match read_bounded(&path, MAX_PLAN_BYTES) {
        Ok(bytes) => Plan::parse(&bytes).map(Some).map_err(|reason| RecoveryError::Plan { path, reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RecoveryError::io("read", path)(error)),
    }
}

/// Carries `plan` out. To be called again with the same plan after an interruption.
pub fn carry_out(disk: &dyn Disk, files: &Files, plan: &Plan) -> Result<(), RecoveryError> {
    let unfinished = files.recovery_unfinished();
    if !unfinished.exists() {
        let reason = |reason| RecoveryError::Plan { path: unfinished.clone(), reason };
        let bytes = plan.to_bytes().map_err(reason)?;
        let draft = files.directory().join("recovery.draft");
        write(disk, &draft, &bytes)
            .and_then(|()| disk.rename(&draft, &unfinished))
            .and_then(|()| disk.sync_directory(files.directory()))
            .map_err(RecoveryError::io("write the plan", &unfinished))?;
    }
    let place = files.directory().join(&plan.resumed.set_aside);
    make_place(disk, files, &place).map_err(RecoveryError::io("make the directory", &place))?;
    for step in &plan.moves {
        move_one(disk, files, &place, step)?;
    }
    write_head(disk, files, plan, &place)?;
    disk.rename(&unfinished, &files.recovery())
        .and_then(|()| disk.sync_directory(files.directory()))
        .map_err(RecoveryError::io("finish the plan", files.recovery()))
}

fn make_place(disk: &dyn Disk, files: &Files, place: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    disk.sync_directory(&files.set_aside())?;
    disk.sync_directory(files.directory())
}

fn move_one(disk: &dyn Disk, files: &Files, place: &Path, step: &Move) -> Result<(), RecoveryError> {
    let from = files.directory().join(step.path());
    let name = from.file_name().unwrap_or_default();
    let to = place.join(name);
    let folder = from.parent().unwrap_or(files.directory());
    let failed = RecoveryError::io("set aside", from.clone());
    match step {
        // A rename is whole or was not done.
        Move::Aside(_) if to.exists() || !from.exists() => Ok(()),
        Move::Aside(_) => disk
            .rename(&from, &to)
            .and_then(|()| disk.sync_directory(place))
            .and_then(|()| disk.sync_directory(folder))
            .map_err(failed),
        Move::Cut { bytes, .. } => {
            let length = from.metadata().map_err(RecoveryError::io("read", &from))?.len();
            if length < *bytes {
                return Err(RecoveryError::Changed { path: from, what: "it is shorter than what is kept" });
            }
            if length == *bytes {
                return Ok(());
            }
            let whole = read_segment(&from).map_err(RecoveryError::io("read", &from))?;
            let cut = || {
                write(disk, &to, &whole)?;
                disk.sync_directory(place)?;
                let mut segment = disk.open(&from)?;
                segment.set_len(*bytes)?;
                segment.sync()
            };
            cut().map_err(failed)
        }
    }
}

/// A head file that says how much was kept.
fn write_head(disk: &dyn Disk, files: &Files, plan: &Plan, place: &Path) -> Result<(), RecoveryError> {
    if plan.kept.records == 0 || files.head().exists() {
        return Ok(());
    }
    let path = files.head();
    let too_long = || io::Error::other("the signed head is too long for the head file");
    let write_and_name = || {
        let mut bytes = slot(&plan.kept.note).ok_or_else(too_long)?;
        bytes.resize(FILE_BYTES, 0);
        let draft = place.join("head.draft");
        write(disk, &draft, &bytes)?;
        disk.rename(&draft, &path)?;
        disk.sync_directory(files.directory())
    };
    write_and_name().map_err(RecoveryError::io("write the head file", &path))
}

/// Writes a file whole, over what an interrupted attempt may have left of it.
fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: Box<dyn DiskFile> = if path.exists() {
        let mut file = disk.open(path)?;
        file.set_len(0)?;
        file
    } else {
        disk.create(path)?
    };
    file.write_at(bytes, 0)?;
    file.sync()
}
