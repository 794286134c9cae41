//! The journal: append-only segment files, the one source of truth.
//!
//! Needed because an audit ledger may lose nothing that it acknowledged and must stay readable when its
//! query store is gone. A journal is a directory of segments; a segment is a header and then groups; a
//! group is some records, the sealed personal values beside them, and the signed head over all records so
//! far. Every piece is a checksummed [`frame`], so that an unfinished write at the end can be told from
//! damage in the middle.
//!
//! The checksums find accidents. They prove nothing: what proves is the signed head, checked in
//! [`crate::verify`].
//!
//! All here is pure, but for [`files`] and [`reading`], which name the files of a ledger and read them. Writing is in
//! `crate::ledger`.

pub mod files;
pub mod frame;
pub mod group;
pub mod head;
pub mod reading;
pub mod records;
pub mod scan;
pub mod segment;

pub use files::Files;
pub use frame::{Frame, FrameFault, FrameKind};
pub use group::{Group, GroupFault, GroupWriter};
pub use segment::SegmentHeader;
