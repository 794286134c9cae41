//! Where index files lie: beside the journal, and in a cache for ledgers that may not be written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::journal::Files;
use crate::record::Seq;

/// Directories that are looked into, the first first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories {
    paths: Vec<PathBuf>,
}

/// An index file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanPath {
    /// The number in its name: the first record that it covers.
    pub first: Seq,
    /// Where it lies.
    pub path: PathBuf,
}

impl Directories {
    /// None: everything is read.
    pub fn none() -> Self {
        Self::default()
    }

    /// The ledger's own, and then these.
    pub fn of(files: &Files, more: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { paths: [files.index()].into_iter().chain(more).collect() }
    }

    /// All index files in the order of their records; of two with one name that of the first directory. What
    /// cannot be listed has none: an index is never needed.
    pub fn spans(&self) -> Vec<SpanPath> {
        let mut spans: Vec<SpanPath> = Vec::new();
        for path in &self.paths {
            let Ok(entries) = fs::read_dir(path) else { continue };
            spans.extend(entries.flatten().filter_map(|entry| {
                let first = entry.file_name().to_str().and_then(parse_name)?;
                Some(SpanPath { first, path: entry.path() })
            }));
        }
        // Stable: within one number the order of the directories stays.
        spans.sort_by_key(|span| span.first);
        spans.dedup_by_key(|span| span.first);
        spans
    }
}

fn name(first: Seq) -> String {
    format!("{:020}.idx", first.get())
}

fn parse_name(text: &str) -> Option<Seq> {
    let first = Seq::new(text.strip_suffix(".idx")?.parse().ok()?);
    (name(first) == text).then_some(first)
}

/// Puts an index file into `directory`, whole or not at all, in place of what was there.
pub(super) fn write(directory: &Path, first: Seq, bytes: &[u8]) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(name(first));
    let made = directory.join(format!("{}.{}.making", name(first), std::process::id()));
    let put = || -> io::Result<()> {
        // Left over from a process of this number that was killed.
        let _ = fs::remove_file(&made);
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&made)?;
        file.write_all(bytes)?;
        // A name without its contents, after a power cut, would be found damaged and made again.
        file.sync_data()?;
        fs::rename(&made, &path)
    };
    put().inspect_err(|_| drop(fs::remove_file(&made)))?;
    Ok(path)
}

/// Whether this process may put files into the ledger's directory that its owner can replace.
///
/// Root may write anywhere; but an index that belongs to root keeps the gateway from making its own.
pub fn is_ours(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let probe = directory.join(format!(".index.{}.probe", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe);
    let Ok(file) = made else { return false };
    let same = file.metadata().ok().zip(fs::metadata(directory).ok());
    let _ = fs::remove_file(&probe);
    same.is_some_and(|(probe, directory)| probe.uid() == directory.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_goes_before_the_second_and_other_names_are_passed_over() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = Files::new(one.path());
        write(&files.index(), Seq::new(7), b"a").unwrap();
        write(two.path(), Seq::new(7), b"b").unwrap();
        write(two.path(), Seq::ZERO, b"c").unwrap();
        fs::write(two.path().join("7.idx"), "d").unwrap();
        let spans = Directories::of(&files, [two.path().to_owned(), two.path().join("nowhere")]).spans();
        let contents: Vec<_> =
            spans.iter().map(|span| (span.first.get(), fs::read_to_string(&span.path).unwrap())).collect();
        assert_eq!(contents, [(0, "c".to_owned()), (7, "a".to_owned())]);
        assert!(Directories::none().spans().is_empty());
        assert!(is_ours(one.path()) && !is_ours(Path::new("/proc")));
    }
}
