//! Single records at places that are known, from an index or from an earlier reading.
//!
//! Not even checksums are looked at: whoever uses what is read compares it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::Files;
use super::reading::{PRUNED, Place};
use crate::prefix::Prefix;
use crate::record::Seq;

/// How long the two lengths before a record are, in bytes.
pub(super) const LENGTHS_BYTES: usize = 6;

/// Most records with the sealed values beside them are shorter than this, in bytes.
const GUESS_BYTES: usize = 2048;

/// How many segment files are kept open at once.
const OPEN_FILES: usize = 32;

/// Reads single records at known places. Not even checksums are looked at: whoever uses what is read compares it.
pub struct Records<'a> {
    files: &'a Files,
    open: Vec<(Seq, File)>,
    prefix: Option<Prefix>,
}

impl<'a> Records<'a> {
    /// Of this ledger.
    pub fn new(files: &'a Files) -> Self {
        Self { files, open: Vec::new(), prefix: None }
    }

    /// The record whose lengths stand at `place`, and the sealed values beside it, cut to what is there.
    pub fn at(&mut self, place: Place) -> io::Result<(Vec<u8>, Vec<u8>)> {
        if place.segment == PRUNED {
            return self.pruned(Seq::new(place.offset));
        }
        let file = self.file(place.segment)?;
        let mut bytes = vec![0; GUESS_BYTES];
        let mut have = fill(file, &mut bytes, place.offset)?;
        let missing = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends within a record");
        let lengths = bytes.first_chunk::<LENGTHS_BYTES>().filter(|_| have >= LENGTHS_BYTES);
        let [r0, r1, s0, s1, s2, s3] = *lengths.ok_or_else(missing)?;
        let record = usize::from(u16::from_le_bytes([r0, r1]));
        // A record's personal values are bounded far below this; a wrong place must not take the memory.
        let sealed = (u32::from_le_bytes([s0, s1, s2, s3]) as usize).min(4 * crate::record::MAX_RECORD_BYTES);
        let whole = LENGTHS_BYTES + record + sealed;
        if whole > have {
            bytes.resize(whole, 0);
            have = fill(file, &mut bytes, place.offset)?;
        }
        if have < whole {
            return Err(missing());
        }
        let sealed = bytes.get(LENGTHS_BYTES + record..whole).unwrap_or_default().to_vec();
        bytes.truncate(LENGTHS_BYTES + record);
        bytes.drain(..LENGTHS_BYTES);
        Ok((bytes, sealed))
    }

    /// A record that stands in the pruned beginning.
    fn pruned(&mut self, seq: Seq) -> io::Result<(Vec<u8>, Vec<u8>)> {
        if self.prefix.is_none() {
            self.prefix = self.files.read_prefix()?.and_then(Result::ok);
        }
        let found = self.prefix.as_ref().and_then(|prefix| prefix.record(seq)).ok_or_else(gone)?;
        Ok((found.0.to_vec(), found.1.to_vec()))
    }

    fn file(&mut self, segment: Seq) -> io::Result<&File> {
        if let Some(found) = self.open.iter().position(|(first, _)| *first == segment) {
            return self.open.get(found).map(|(_, file)| file).ok_or_else(gone);
        }
        if self.open.len() >= OPEN_FILES {
            self.open.remove(0);
        }
        self.open.push((segment, File::open(self.files.segment(segment))?));
        self.open.last().map(|(_, file)| file).ok_or_else(gone)
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

/// Reads as much as there is, up to the length of `bytes`.
pub(crate) fn fill(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}
