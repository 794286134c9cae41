//! Compares index files with the journal.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::directory::SpanPath;
use super::make::MakeError;
use super::search::open;
use super::span::Span;
use super::{Directories, IndexFault};
use crate::journal::Files;
use crate::journal::reading;
use crate::journal::records::Records;
use crate::journal::scan::ScanEnd;
use crate::record::Seq;

/// What was found of one index file.
#[derive(Debug)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Its first record.
    pub first: Seq,
    /// How many records it covers; zero if it cannot be read.
    pub records: u64,
    /// What is wrong with it, if anything is.
    pub fault: Option<IndexFault>,
}

/// Makes every index file again in memory, and tells `each` whether the one on the disk says the same.
pub fn check(files: &Files, indexes: &Directories, each: &mut dyn FnMut(Checked)) -> Result<(), MakeError> {
    for span in indexes.spans() {
        let mut checked = Checked { path: span.path.clone(), first: span.first, records: 0, fault: None };
        if let Err(fault) = one(files, &span, &mut checked)? {
            checked.fault = Some(fault);
        }
        each(checked);
    }
    Ok(())
}

fn one(files: &Files, span: &SpanPath, checked: &mut Checked) -> Result<Result<(), IndexFault>, MakeError> {
    let index = match open(span, &mut Records::new(files)) {
        Ok(index) => index,
        Err(fault) => return Ok(Err(fault)),
    };
    checked.records = u64::from(index.header.count);
    let (mut again, mut trouble) = (Span::new(span.first), None);
    let end = index.header.end_seq();
    let read = reading::read(files, None, span.first, &mut |found| {
        if found.seq >= end {
            return ControlFlow::Break(());
        }
        match again.add(&found) {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => {
                trouble = Some(fault);
                ControlFlow::Break(())
            }
        }
    });
    match read.map_err(MakeError::Journal)?.end {
        ScanEnd::Damaged { segment, offset, what } => {
            return Err(MakeError::Damaged { segment, offset, what });
        }
        ScanEnd::Complete | ScanEnd::Stopped | ScanEnd::Unfinished { .. } => {}
    }
    if let Some(fault) = trouble {
        return Err(MakeError::Record(fault));
    }
    Ok(again.agrees_with(&index))
}
