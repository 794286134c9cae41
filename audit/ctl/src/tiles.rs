//! `auditctl tiles`

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::Checkpoint;
use sallyport_audit::snapshot::{Shown, SnapshotError};
use sallyport_audit::tiles::{MAX_BUNDLE_BYTES, Tile, Tiler, minimum_index};
use sallyport_audit::tree::Subtree;

use crate::Failure;
use crate::output::{count, read_bounded, write_whole};
use crate::prove::snapshot;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    /// Where to write. If it holds tiles of this ledger already, only what is new is written.
    directory: PathBuf,
    /// Write tiles up to this checkpoint of the ledger, such as one with cosignatures, and not up to the last.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let snapshot = snapshot(&arguments.ledger, arguments.checkpoint.as_deref())?;
    let folder = arguments.directory.as_path();
    same_ledger(folder, snapshot.checkpoint())?;
    let pruned = snapshot.pruned().map_err(|error| Failure::snapshot(&error.into()))?;
    let minimum = minimum_index(pruned);
    if pruned > 0 && minimum >= snapshot.checkpoint().size {
        return Err(Failure::not_evaluated(
            format!("all full tiles were pruned: there is none that begins at record {minimum} or later"),
            "wait until more was recorded, or make tiles of the archive",
        ));
    }
    let mut tiler = Tiler::from_minimum(minimum);
    let mut put = |tile: Tile, bytes: &[u8]| put(folder, tile, bytes);
    let mut take = |shown: Shown<'_>| {
        let run = match shown {
            Shown::Record { seq, bytes, leaf } if seq.get() >= minimum => {
                return tiler.push(bytes, leaf, &mut put);
            }
            Shown::Record { seq, leaf, .. } => Subtree { first: seq.get(), height: 0, root: leaf },
            Shown::Omitted(run) => run,
        };
        let hidden = || io::Error::other("the pruned beginning hides a hash that a tile needs");
        if tiler.skip(run) { Ok(()) } else { Err(hidden()) }
    };
    let written =
        snapshot.records(&mut take).and_then(|()| tiler.partial(&mut put).map_err(SnapshotError::Output));
    written.map_err(|error| Failure::snapshot(&error))?;
    // Last, so that a checkpoint never speaks of tiles that are not there.
    write_whole(&folder.join("checkpoint"), snapshot.note().as_bytes())?;
    if pruned > 0 {
        eprintln!("note: the first record in them is {minimum}: what is before was pruned");
    }
    eprintln!("written: {} in {}", count(snapshot.checkpoint().size, "record", "records"), folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Refuses a directory that holds another ledger's tiles, or a later state of this one.
fn same_ledger(folder: &Path, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let path = folder.join("checkpoint");
    if !path.exists() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&read_bounded(&path, MAX_BUNDLE_BYTES as u64)?).into_owned();
    match Checkpoint::from_note(&text) {
        Ok((old, _)) if old.origin == checkpoint.origin && old.size <= checkpoint.size => Ok(()),
        _ => Err(Failure::usage(
            format!("{} is of another ledger, or of a later state of this one", path.display()),
            "give an empty directory",
        )),
    }
}

fn put(folder: &Path, tile: Tile, bytes: &[u8]) -> io::Result<()> {
    let path = folder.join(tile.path());
    match std::fs::read(&path) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(_) => {
            let what = format!("{} holds something else, and tiles never change", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // A file that was cut off by a crash must not lie under a final name.
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, bytes)?;
    File::open(&unfinished)?.sync_data()?;
    std::fs::rename(&unfinished, &path)
}
