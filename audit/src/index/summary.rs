//! What there is how often in a span: by day, kind and result.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::journal::frame::{Cursor, put_string};

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The day in UTC, counted from 1 January 1970.
    pub day: i64,
    /// The kind, as it stands in the record.
    pub kind: String,
    /// The result, as it stands in the record.
    pub result: String,
}

/// How much there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of sealed personal values beside them.
    pub sealed_bytes: u64,
    /// The earliest time.
    pub first: Timestamp,
    /// The latest time.
    pub last: Timestamp,
}

impl Amount {
    /// Of one record.
    pub fn one(time: Timestamp, bytes: usize, sealed: usize) -> Self {
        Self { records: 1, bytes: bytes as u64, sealed_bytes: sealed as u64, first: time, last: time }
    }

    /// Adds more of the same.
    pub fn add(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.sealed_bytes = self.sealed_bytes.saturating_add(other.sealed_bytes);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Counts by day, kind and result.
pub type Summary = BTreeMap<Group, Amount>;

/// The day of a time.
pub(super) fn day(time: Timestamp) -> i64 {
    // Seconds are cut towards 1970, also from before it.
    let before = i64::from(time.subsec_nanosecond() < 0);
    (time.as_second() - before).div_euclid(86_400)
}

pub(super) fn to_bytes(summary: &Summary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(summary.len() * 96);
    for (group, amount) in summary {
        bytes.extend_from_slice(&group.day.to_le_bytes());
        put_string(&mut bytes, group.kind.as_bytes());
        put_string(&mut bytes, group.result.as_bytes());
        for number in [amount.records, amount.bytes, amount.sealed_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for time in [amount.first, amount.last] {
            bytes.extend_from_slice(&time.as_second().to_le_bytes());
            bytes.extend_from_slice(&time.subsec_nanosecond().to_le_bytes());
        }
    }
    bytes
}

/// `None` when it cannot be read.
pub(super) fn parse(bytes: &[u8]) -> Option<Summary> {
    let mut cursor = Cursor::new(bytes, 0);
    let mut summary = Summary::new();
    while !cursor.at_end() {
        let day = i64::from_le_bytes(cursor.array()?);
        let kind = String::from_utf8(cursor.string()?.to_vec()).ok()?;
        let result = String::from_utf8(cursor.string()?.to_vec()).ok()?;
        let (records, bytes, sealed_bytes) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (first, last) = (time(&mut cursor)?, time(&mut cursor)?);
        summary.insert(Group { day, kind, result }, Amount { records, bytes, sealed_bytes, first, last });
    }
    Some(summary)
}

fn time(cursor: &mut Cursor<'_>) -> Option<Timestamp> {
    let seconds = i64::from_le_bytes(cursor.array()?);
    Timestamp::new(seconds, i32::from_le_bytes(cursor.array()?)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_summary_reads_back() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (early, late) = (time("1969-12-31T23:59:59.999999999Z"), time("2026-01-01T00:00:00.000000001Z"));
        let group =
            |time, kind: &str| Group { day: day(time), kind: kind.to_owned(), result: "success".to_owned() };
        let mut amount = Amount::one(late, 5, 0);
        amount.add(&Amount::one(early, 3, 9));
        let summary =
            Summary::from([(group(early, "a"), amount), (group(late, "b"), Amount::one(late, 1, 0))]);
        assert_eq!(parse(&to_bytes(&summary)), Some(summary));
        assert_eq!(day(early), -1);
        assert_eq!((amount.first, amount.last, amount.bytes, amount.sealed_bytes), (early, late, 8, 9));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
