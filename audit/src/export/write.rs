//! Writes an export, record by record.

use std::io::{self, Write};

use super::{EXPORT_VERSION, Head, HeadLine, OmittedLine};
use crate::digest::Digest;
use crate::record::{Record, Seq};
use crate::selection::Selection;
use crate::tree::{Omitted, Subtree};

/// Takes every record of a ledger in order, and writes those that are wanted.
pub struct Exporter<'a, W> {
    out: W,
    selection: &'a Selection,
    omitted: Omitted,
    shown: u64,
}

impl<'a, W: Write> Exporter<'a, W> {
    /// Begins with the signed head `note`.
    pub fn new(mut out: W, note: &str, selection: &'a Selection) -> io::Result<Self> {
        let export =
            Head { checkpoint: note.to_owned(), format: EXPORT_VERSION, selection: selection.clone() };
        line(&mut out, &HeadLine { export })?;
        Ok(Self { out, selection, omitted: Omitted::default(), shown: 0 })
    }

    /// Takes the next record.
    pub fn record(&mut self, seq: Seq, bytes: &[u8], leaf: Digest) -> io::Result<()> {
        // A record that cannot be read is left out; the reader of the ledger finds it by `verify`.
        let wanted = self.selection.covers(seq)
            && Record::parse(bytes).is_ok_and(|record| self.selection.matches(&record));
        if !wanted {
            self.omitted.push(seq.get(), leaf);
            return Ok(());
        }
        self.flush()?;
        self.shown += 1;
        self.out.write_all(bytes)?;
        self.out.write_all(b"\n")
    }

    /// Takes a run of records that were pruned, and are left out whatever was asked for.
    pub fn pruned(&mut self, run: Subtree) {
        self.omitted.push_within(run, u32::MAX);
    }

    /// Writes what is left; gives how many records were shown.
    pub fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.out.flush()?;
        Ok(self.shown)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.omitted.take().into_iter().try_for_each(|block| line(&mut self.out, &OmittedLine::from(block)))
    }
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
