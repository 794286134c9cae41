//! Records into a file of this host, one a line, put aside when it is full.
//!
//! Promised: what counts as delivered is on the disk; a line is whole or not there (one that a crash cut off is taken away
//! when the file is opened again, before the record is written again); the number of files is bounded.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tokio::task;

use super::{
    super::{parcel::Parcel, target::FileTarget},
    Answer, LinkError,
};

pub(in crate::sink) struct FileLink {
    target: FileTarget,
}

impl FileLink {
    pub(super) async fn open(target: FileTarget) -> Result<Self, LinkError> {
        let opened = target.clone();
        blocking(&target.path, move || mend(&opened)).await?;
        Ok(Self { target })
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        let mut lines = Vec::with_capacity(parcel.octets + parcel.items.len());
        for item in &parcel.items {
            lines.extend_from_slice(&item.bytes);
            lines.push(b'\n');
        }
        let target = self.target.clone();
        blocking(&self.target.path, move || append(&target, &lines)).await?;
        Ok(Answer::Taken)
    }
}

async fn blocking(
    path: &Path,
    work: impl FnOnce() -> Result<(), LinkError> + Send + 'static,
) -> Result<(), LinkError> {
    task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(fault("written", path)(io::Error::other(panic))))
}

fn fault(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LinkError {
    let path = path.to_owned();
    move |source| LinkError::File { doing, path, source }
}

pub(super) fn check(target: &FileTarget) -> Result<(), LinkError> {
    open(&target.path).map(drop).map_err(fault("opened", &target.path))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Personal values may be in it.
        options.mode(0o600);
    }
    options.open(path)
}

/// Takes away a last line without its end.
fn mend(target: &FileTarget) -> Result<(), LinkError> {
    let mending = || -> io::Result<()> {
        let mut file = open(&target.path)?;
        let mut end = file.metadata()?.len();
        let mut block = vec![0; 64 * 1024];
        while end > 0 {
            let start = end.saturating_sub(block.len() as u64);
            let length = usize::try_from(end - start).unwrap_or_default();
            let piece = block.get_mut(..length).unwrap_or_default();
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(piece)?;
            if let Some(place) = piece.iter().rposition(|byte| *byte == b'\n') {
                end = start + place as u64 + 1;
                break;
            }
            end = start;
        }
        if end < file.metadata()?.len() {
            file.set_len(end)?;
            file.sync_all()?;
        }
        Ok(())
    };
    mending().map_err(fault("opened", &target.path))
}

fn append(target: &FileTarget, lines: &[u8]) -> Result<(), LinkError> {
    let writing = || -> io::Result<()> {
        let mut file = open(&target.path)?;
        let length = file.metadata()?.len();
        if length > 0 && length + lines.len() as u64 > target.max_bytes {
            put_aside(target)?;
            file = open(&target.path)?;
        }
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            // A part of it must not stand before the same lines written again.
            file.set_len(before)?;
            return Err(error);
        }
        if before == 0 {
            sync_directory(&target.path)?;
        }
        Ok(())
    };
    writing().map_err(fault("written", &target.path))
}

/// `x` becomes `x.1`, `x.1` becomes `x.2`, and the last goes.
fn put_aside(target: &FileTarget) -> io::Result<()> {
    let numbered = |number: u32| -> PathBuf {
        let mut name = target.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    };
    let missing_is_fine = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    missing_is_fine(fs::remove_file(numbered(target.keep)))?;
    for number in (1..target.keep).rev() {
        missing_is_fine(fs::rename(numbered(number), numbered(number + 1)))?;
    }
    if target.keep == 0 {
        fs::remove_file(&target.path)?;
    } else {
        fs::rename(&target.path, numbered(1))?;
    }
    sync_directory(&target.path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(directory: &Path, max_bytes: u64, keep: u32) -> FileTarget {
        FileTarget { path: directory.join("audit.jsonl"), max_bytes, keep }
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path(), 10, 2);
        for line in ["aaaaaa\n", "bbbbbb\n", "cccccc\n", "dddddd\n"] {
            append(&target, line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("audit.jsonl"), "dddddd\n");
        assert_eq!(read("audit.jsonl.1"), "cccccc\n");
        assert_eq!(read("audit.jsonl.2"), "bbbbbb\n");
        assert!(!directory.path().join("audit.jsonl.3").exists());
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path(), 1000, 1);
        for (found, left) in [("one\ntwo\nthr", "one\ntwo\n"), ("thr", ""), ("one\n", "one\n"), ("", "")] {
            fs::write(&target.path, found).unwrap();
            mend(&target).unwrap();
            assert_eq!(fs::read_to_string(&target.path).unwrap(), left);
        }
        let long = format!("one\n{}", "x".repeat(200_000));
        fs::write(&target.path, long).unwrap();
        mend(&target).unwrap();
        assert_eq!(fs::read_to_string(&target.path).unwrap(), "one\n");
    }
}
