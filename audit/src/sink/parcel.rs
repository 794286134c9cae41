//! The next records of a sink, read and brought into its form. Pure but for the feed.
//!
//! Promised: records come in the order of their numbers and without a hole but for what was pruned; what the filter
//! leaves out takes no number of the sink's own sequence; what is larger than the sink's bound is replaced by a pointer
//! to its record.

use jiff::Timestamp;

use crate::kind::Kind;

use super::{Feed, FeedError, format::Format, window::Position};
use crate::filter::Filter;

/// How records of one sink are chosen and written.
#[derive(Debug)]
pub(super) struct Packer {
    pub(super) format: Format,
    pub(super) filter: Filter,
    /// Syslog's header and structured data stand around it.
    pub(super) syslog: bool,
    pub(super) max_message: usize,
}

/// One record as it is sent.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) kind: Kind,
    pub(super) time: Timestamp,
    pub(super) severity: u8,
    pub(super) node: String,
    pub(super) bytes: Vec<u8>,
    /// Its size, if it was too large and a pointer stands in its place.
    pub(super) oversize: Option<usize>,
    /// Where the sink stands once it is delivered.
    pub(super) after: Position,
}

/// Some records, in order.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) items: Vec<Item>,
    /// Where the sink stands once all are delivered, and those after them that the filter leaves out passed.
    pub(super) upto: Position,
    /// Octets of the items.
    pub(super) octets: usize,
    /// Records that were read.
    pub(super) read: u64,
}

/// At most `records` records from `from` on; fewer when they would exceed `octets`, but at least one.
pub(super) fn read(
    feed: &dyn Feed,
    packer: &Packer,
    from: Position,
    records: usize,
    octets: usize,
) -> Result<Parcel, FeedError> {
    let mut parcel = Parcel { items: Vec::new(), upto: from, octets: 0, read: 0 };
    for entry in feed.range(from.next, records)? {
        let Position { next, sequence } = parcel.upto;
        // Sent under a wrong number, or with a hole before it, a record would be evidence against the ledger.
        let found = entry.record.seq.get();
        if found != next && !(next < found && found <= feed.pruned()) {
            return Err(FeedError::new(format!(
                "record {next} was asked for, {} was given",
                entry.record.seq
            )));
        }
        if !packer.filter.passes(&entry.record) {
            parcel.read += 1;
            parcel.upto = Position { next: found + 1, sequence };
            continue;
        }
        let mut bytes = packer.format.write(&entry, sequence, None, packer.syslog);
        let mut oversize = None;
        if bytes.len() > packer.max_message {
            oversize = Some(bytes.len());
            bytes = packer.format.write(&entry, sequence, oversize, packer.syslog);
        }
        if !parcel.items.is_empty() && parcel.octets + bytes.len() > octets {
            break;
        }
        let after = Position { next: found + 1, sequence: sequence + 1 };
        parcel.octets += bytes.len();
        parcel.read += 1;
        parcel.items.push(Item {
            seq: found,
            kind: entry.record.kind,
            time: entry.record.time,
            severity: super::format::severity(entry.record.kind, entry.record.result),
            node: entry.record.node,
            bytes,
            oversize,
            after,
        });
        parcel.upto = after;
    }
    if parcel.upto == from {
        return Err(FeedError::new(format!("record {} is announced but cannot be read", from.next)));
    }
    Ok(parcel)
}
