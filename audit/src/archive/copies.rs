//! Brings home what was pruned: which copies a ledger's records declare, and getting them out of an archive.
//!
//! Trusted: nothing in the archive. Each file is compared with a digest that leads to a `retention.pruned` record: the
//! record has the manifest's digest, and the manifest that of each segment. Whether the records are right says
//! `auditctl verify --archive` about what was fetched.

use std::ops::ControlFlow;

use super::{Archive, ArchiveError, Manifest};
use crate::digest::Digest;
use crate::journal::Files;
use crate::journal::files::parse_segment_name;
use crate::journal::scan::{ScanEnd, scan};
use crate::kind::Kind;
use crate::record::{Record, Seq};
use crate::retention::SurveyError;

/// A copy that a `retention.pruned` record declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedCopy {
    /// The record.
    pub seq: Seq,
    /// Where the copy was put.
    pub archive: String,
    /// The name of its manifest there.
    pub manifest: String,
    /// The manifest's digest.
    pub sha256: Digest,
}

/// The copies that the records of a ledger declare, oldest first. Only reads, also while the gateway runs.
pub fn copies(files: &Files) -> Result<Vec<PrunedCopy>, SurveyError> {
    // Its own kind stands in a record in plain, so that most need not be parsed.
    const KIND: &[u8] = b"\"kind\":\"retention.pruned\"";
    let mut found = Vec::new();
    let mut unreadable = None;
    let end = scan(files, Seq::ZERO, &mut |seq, bytes, _| {
        if bytes.windows(KIND.len()).any(|window| window == KIND) {
            match Record::parse(bytes) {
                Ok(record) if record.kind == Kind::RetentionPruned => found.extend(read(&record)),
                Ok(_) => {}
                Err(error) => {
                    unreadable = Some(format!("record {seq}: {error}"));
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    if let ScanEnd::Damaged { segment, offset, what } = end {
        unreadable = Some(format!("{segment} at byte {offset}: {what}"));
    }
    unreadable.map_or(Ok(found), |what| Err(SurveyError::Damaged { what }))
}

fn read(record: &Record) -> Option<PrunedCopy> {
    let text = |key: &str| record.details.get(key)?.as_str();
    Some(PrunedCopy {
        seq: record.seq,
        archive: text("archive")?.to_owned(),
        manifest: text("manifest")?.to_owned(),
        sha256: Digest::parse(text("manifest_sha256")?)?,
    })
}

/// What was fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Gets one copy out of `archive` and puts it into `into`, each file only once its digest was found right. What is there
/// already and the same stays; something else of that name is never replaced.
pub fn fetch(copy: &PrunedCopy, archive: &dyn Archive, into: &dyn Archive) -> Result<Fetched, FetchError> {
    let bytes = get(archive, &copy.manifest, copy.sha256)?;
    let faulty = || FetchError::Manifest { location: archive.location(), name: copy.manifest.clone() };
    let manifest = Manifest::parse(&bytes).ok_or_else(faulty)?;
    // A name becomes a path: only such as this program gives, whoever wrote the record.
    if manifest.name() != copy.manifest
        || manifest.segments.iter().any(|segment| parse_segment_name(&segment.name).is_none())
    {
        return Err(faulty());
    }
    let mut fetched = Fetched::default();
    for segment in &manifest.segments {
        into.put(&segment.name, &get(archive, &segment.name, segment.sha256)?)?;
        fetched.segments += 1;
        fetched.bytes = fetched.bytes.saturating_add(segment.bytes);
    }
    // Last, so that it says of what lies beside it that all is there.
    into.put(&copy.manifest, &bytes)?;
    Ok(fetched)
}

fn get(archive: &dyn Archive, name: &str, sha256: Digest) -> Result<Vec<u8>, FetchError> {
    let place = || (archive.location(), name.to_owned());
    let Some(bytes) = archive.get(name)? else {
        let (location, name) = place();
        return Err(FetchError::Missing { location, name });
    };
    if Digest::of(&[&bytes]) == sha256 {
        return Ok(bytes);
    }
    let (location, name) = place();
    Err(FetchError::Changed { location, name })
}

/// Why a copy could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// One of the two archives failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file is not there.
    #[error("{name} is not in the archive {location}")]
    Missing {
        /// Where.
        location: String,
        /// Which file.
        name: String,
    },
    /// A file is not what was put there.
    #[error("{name} in the archive {location} is not what was put there: its digest is another")]
    Changed {
        /// Where.
        location: String,
        /// Which file.
        name: String,
    },
    /// A manifest says what this program never writes.
    #[error("{name} in the archive {location} is no manifest that this program can follow")]
    Manifest {
        /// Where.
        location: String,
        /// Which file.
        name: String,
    },
}

impl FetchError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Archive(ArchiveError::Exists { .. }) => "fetch into a new, empty directory",
            Self::Archive(error) => error.hint(),
            Self::Missing { .. } => {
                "look in the place that the `retention.pruned` record names (`retention fetch` prints it) and in older versions of it"
            }
            Self::Changed { .. } => {
                "look into the archive: restore an older version of the file there, and find out who changed it"
            }
            Self::Manifest { .. } => "use the version of sallyportd that pruned, or a newer one",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::DirectoryArchive;

    /// An archive with one copy of two segments, and what declares it.
    fn archived(folder: &std::path::Path) -> (DirectoryArchive, PrunedCopy) {
        let archive = DirectoryArchive::new(folder.join("archive"));
        let mut manifest = Manifest::new("a.test", 0, 20, "note");
        manifest.add(&archive, "00000000000000000000.seg", b"first").unwrap();
        manifest.add(&archive, "00000000000000000010.seg", b"second").unwrap();
        (archive.clone(), keep(&archive, &manifest))
    }

    fn keep(archive: &DirectoryArchive, manifest: &Manifest) -> PrunedCopy {
        let sha256 = super::super::store(archive, &manifest.name(), manifest.to_text().as_bytes()).unwrap();
        let location = archive.location();
        PrunedCopy { seq: Seq::new(30), archive: location, manifest: manifest.name(), sha256 }
    }

    #[test]
    fn what_was_archived_comes_back_and_fetching_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, copy) = archived(folder.path());
        let home = DirectoryArchive::new(folder.path().join("home"));
        for _ in 0..2 {
            let fetched = fetch(&copy, &archive, &home).unwrap();
            assert_eq!(fetched, Fetched { segments: 2, bytes: 11 });
        }
        assert_eq!(home.get("00000000000000000010.seg").unwrap().unwrap(), b"second");
    }

    #[test]
    fn a_changed_or_missing_file_is_named_and_never_brought_home() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, copy) = archived(folder.path());
        let home = DirectoryArchive::new(folder.path().join("home"));
        let victim = folder.path().join("archive/00000000000000000010.seg");
        std::fs::write(&victim, b"secone").unwrap();
        let error = fetch(&copy, &archive, &home).unwrap_err();
        assert!(matches!(&error, FetchError::Changed { name, .. } if name.ends_with("10.seg")), "{error}");
        assert_eq!(home.get("00000000000000000010.seg").unwrap(), None);
        std::fs::remove_file(&victim).unwrap();
        assert!(matches!(fetch(&copy, &archive, &home), Err(FetchError::Missing { .. })));
        std::fs::write(folder.path().join("archive").join(&copy.manifest), b"{}").unwrap();
        assert!(matches!(fetch(&copy, &archive, &home), Err(FetchError::Changed { .. })));
    }

    #[test]
    fn a_manifest_cannot_name_a_file_outside_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, _) = archived(folder.path());
        std::fs::write(folder.path().join("outside"), b"x").unwrap();
        let mut manifest = Manifest::new("a.test", 0, 21, "note");
        manifest.add(&archive, "../outside", b"x").unwrap();
        let copy = keep(&archive, &manifest);
        let home = DirectoryArchive::new(folder.path().join("deep/home"));
        assert!(matches!(fetch(&copy, &archive, &home), Err(FetchError::Manifest { .. })));
        assert!(!folder.path().join("deep/outside").exists());
    }
}
