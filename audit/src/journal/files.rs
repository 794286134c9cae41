//! Which files a ledger consists of, and how they are read.
//!
//! ```text
//! DIR/lock                              held by the gateway that writes
//! DIR/head                              the last signed head, two slots
//! DIR/cosigned                          a recent head with an ML-DSA-44 cosignature
//! DIR/witnessed                         the last head that enough witnesses cosigned
//! DIR/journal/00000000000000000000.seg  segments, named after their first record
//! DIR/journal/….torn                    unfinished ends that were set aside
//! DIR/journal/pruned                    what is left of the pruned beginning
//! DIR/store/                            the query store, made from the journal
//! DIR/index/00000000000000000000.idx    the search index, made from the journal
//! DIR/set-aside/epoch-N/                what was damaged or surplus when epoch N was begun
//! DIR/recovery, recovery.unfinished     a recovery that the gateway has not recorded yet
//! ```

use std::io;
use std::path::{Path, PathBuf};

use super::frame::{Frame, FrameKind};
use super::segment::SegmentHeader;
use crate::prefix::{Prefix, PrefixFault};
use crate::record::Seq;

/// The longest segment file that is read, in bytes: the bound of a segment and one group beyond it.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// The longest segment header that is read, in bytes: a note, 64 peaks and an origin, and some more.
const MAX_HEADER_BYTES: u64 = 256 * 1024;

/// The paths of one ledger.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
}

/// One segment file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentPath {
    /// The number in its name.
    pub first: Seq,
    /// Where it lies.
    pub path: PathBuf,
}

impl SegmentPath {
    /// The name without the directory, for messages.
    pub fn name(&self) -> String {
        segment_name(self.first)
    }
}

impl Files {
    /// The ledger in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The ledger's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// The head file.
    pub fn head(&self) -> PathBuf {
        self.directory.join("head")
    }

    /// Written to find out whether there is room, and taken away again.
    pub fn room(&self) -> PathBuf {
        self.directory.join("room")
    }

    /// The last head with a post-quantum cosignature.
    pub fn cosigned(&self) -> PathBuf {
        self.directory.join("cosigned")
    }

    /// The last head that enough witnesses cosigned.
    pub fn witnessed(&self) -> PathBuf {
        self.directory.join("witnessed")
    }

    /// The directory of segments.
    pub fn journal(&self) -> PathBuf {
        self.directory.join("journal")
    }

    /// What is left of the pruned beginning.
    pub fn prefix(&self) -> PathBuf {
        self.journal().join(crate::prefix::NAME)
    }

    /// A pruned beginning that no record has declared yet, or that has not yet taken the place of the segments.
    pub fn prefix_draft(&self) -> PathBuf {
        self.journal().join("pruned.new")
    }

    /// The segment that begins with record `first`.
    pub fn segment(&self, first: Seq) -> PathBuf {
        self.journal().join(segment_name(first))
    }

    /// What the operator decided about lost records, ready for the gateway's next start.
    pub fn recovery(&self) -> PathBuf {
        self.directory.join("recovery")
    }

    /// The same while it is being carried out.
    pub fn recovery_unfinished(&self) -> PathBuf {
        self.directory.join("recovery.unfinished")
    }

    /// Where what is damaged or surplus is moved to.
    pub fn set_aside(&self) -> PathBuf {
        self.directory.join("set-aside")
    }

    /// The directory of the query store.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// The directory of the search index.
    pub fn index(&self) -> PathBuf {
        self.directory.join("index")
    }

    /// The segments in order. A ledger without a journal directory has none.
    pub fn segments(&self) -> io::Result<Vec<SegmentPath>> {
        match segments_in(&self.journal()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found,
        }
    }

    /// The pruned beginning, or `None` if nothing was pruned. Not yet checked against a key or a record.
    pub fn read_prefix(&self) -> io::Result<Option<Result<Prefix, PrefixFault>>> {
        let bytes = optional(read_bounded(&self.prefix(), MAX_SEGMENT_BYTES))?;
        Ok(bytes.map(Prefix::parse))
    }

    /// How many records the pruned beginning speaks of, as its first line says; zero if nothing was pruned.
    pub fn pruned(&self) -> io::Result<u64> {
        let bytes = optional(read_range(
            &self.prefix(),
            0,
            MAX_SEGMENT_BYTES.min(4 * crate::note::MAX_NOTE_BYTES as u64),
        ))?;
        Ok(bytes.and_then(|bytes| Prefix::size_in(&bytes)).unwrap_or_default())
    }

    /// The segments that go on behind the first `size` records. One that begins before is left from pruning which
    /// was interrupted: the prefix stands for it.
    pub fn segments_behind(&self, size: u64) -> io::Result<Vec<SegmentPath>> {
        let mut segments = self.segments()?;
        segments.retain(|segment| segment.first.get() >= size);
        Ok(segments)
    }

    /// The bytes of the head file, or `None` if there is none.
    pub fn read_head(&self) -> io::Result<Option<Vec<u8>>> {
        optional(read_bounded(&self.head(), super::head::FILE_BYTES as u64))
    }

    /// The cosigned head, or `None` if there is none.
    pub fn read_cosigned(&self) -> io::Result<Option<Vec<u8>>> {
        read_note(&self.cosigned())
    }

    /// The witnessed head, or `None` if there is none.
    pub fn read_witnessed(&self) -> io::Result<Option<Vec<u8>>> {
        read_note(&self.witnessed())
    }
}

/// Replaces a file whole, and makes that durable: a reader finds the old or the new one.
#[cfg(feature = "ledger")]
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let unfinished = path.with_extension("unfinished");
    let mut file = std::fs::File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

fn read_note(path: &Path) -> io::Result<Option<Vec<u8>>> {
    optional(read_bounded(path, crate::note::MAX_NOTE_BYTES as u64))
}

/// The segments in `directory`, in order: a journal's or an archive's.
pub fn segments_in(directory: &Path) -> io::Result<Vec<SegmentPath>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(parse_segment_name) {
            segments.push(SegmentPath { first, path: entry.path() });
        }
    }
    segments.sort();
    Ok(segments)
}

/// `None` for a file that is not there.
fn optional(read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a segment whole.
pub fn read_segment(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(path, MAX_SEGMENT_BYTES)
}

/// The header of a segment; `None` if its first frame is not one.
pub fn read_header(path: &Path) -> io::Result<Option<SegmentHeader>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_HEADER_BYTES).read_to_end(&mut bytes)?;
    Ok(match Frame::read(&bytes, 0) {
        Ok(Some(frame)) if frame.sound && frame.kind == FrameKind::Segment => {
            SegmentHeader::parse(frame.bytes).ok()
        }
        _ => None,
    })
}

/// At most `length` bytes of a file from `offset` on; fewer if it ends before.
pub fn read_range(path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    use io::{Read as _, Seek as _};
    let mut file = std::fs::File::open(path)?;
    file.seek(io::SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn read_bounded(path: &Path, bound: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length > bound {
        let reason = format!("it has {length} bytes, and at most {bound} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn segment_name(first: Seq) -> String {
    format!("{:020}.seg", first.get())
}

/// The number of the first record of the segment of this name, if it is one that [`SegmentPath::name`] gives.
pub fn parse_segment_name(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(".seg")?;
    let first = Seq::new(digits.parse().ok()?);
    (segment_name(first) == name).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_program_would_give_are_segments() {
        assert_eq!(parse_segment_name("00000000000000000042.seg"), Some(Seq::new(42)));
        for other in ["42.seg", "00000000000000000042.seg.torn", "+0000000000000000042.seg", "head"] {
            assert_eq!(parse_segment_name(other), None, "{other}");
        }
    }
}
