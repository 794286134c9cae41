//! Writes a prefix, number by number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{CoverLine, Head, HeadLine, PREFIX_VERSION, Piece, SealedLine, tallest};
use crate::digest::Digest;
use crate::export::OmittedLine;
use crate::record::Seq;
use crate::tree::{Omitted, Subtree};

/// Takes every record before `size` in order, and writes those that stay.
pub struct PrefixWriter {
    text: Vec<u8>,
    lines: Sha256,
    size: u64,
    omitted: Omitted,
    kept: u64,
    next: u64,
}

/// A prefix, written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub bytes: Vec<u8>,
    /// The digest of its lines, without those of sealed values.
    pub digest: Digest,
    /// How many records stand in it whole.
    pub kept: u64,
    /// How many do not.
    pub omitted: u64,
}

impl PrefixWriter {
    /// Begins with `note`, the signed head over exactly `size` records. `recorded_from` is how many records
    /// the ledger has at this moment: the declaration is written behind them.
    pub fn new(note: &str, size: u64, recorded_from: Seq) -> Self {
        let mut writer = Self {
            text: Vec::new(),
            lines: Sha256::new(),
            size,
            omitted: Omitted::default(),
            kept: 0,
            next: 0,
        };
        let pruned = Head { checkpoint: note.to_owned(), format: PREFIX_VERSION, recorded_from };
        writer.json(&HeadLine { pruned });
        writer
    }

    /// Takes the next record or run; a record is written if `keep` says so.
    pub fn push(&mut self, piece: Piece<'_>, keep: bool) {
        match piece {
            Piece::Record { bytes, sealed, .. } if keep => {
                self.flush();
                self.line(bytes);
                if !sealed.is_empty() {
                    let line = SealedLine { sealed: STANDARD.encode(sealed) };
                    // No digest covers it: the values may be erased, and the record stays what it is.
                    self.text.extend_from_slice(&json(&line));
                    self.text.push(b'\n');
                }
                self.kept += 1;
                self.next += 1;
            }
            Piece::Record { bytes, .. } => {
                self.omit(Subtree { first: self.next, height: 0, root: Digest::leaf(bytes) });
            }
            Piece::Omitted(run) => self.omit(run),
            // The head over all is in the first line.
            Piece::Head { checkpoint, note } if checkpoint.size < self.size => {
                self.flush();
                self.json(&CoverLine { head: note.to_string() });
            }
            Piece::Head { .. } => {}
        }
    }

    /// The whole file.
    pub fn finish(mut self) -> Written {
        self.flush();
        let digest = Digest::from_bytes(self.lines.finalize().into());
        Written { bytes: self.text, digest, kept: self.kept, omitted: self.next - self.kept }
    }

    fn omit(&mut self, run: Subtree) {
        self.next += run.count();
        self.omitted.push_within(run, tallest(run.first, self.size));
    }

    fn flush(&mut self) {
        for run in self.omitted.take() {
            self.json(&OmittedLine::from(run));
        }
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        self.line(&json(value));
    }

    fn line(&mut self, line: &[u8]) {
        self.lines.update(line);
        self.lines.update(b"\n");
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }
}

/// A struct of numbers and strings always has a JSON form.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
