//! Writes the times of records without formatting the whole of each.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::record::time_text;

/// Writes times; most differ from the one before only in the fraction of a second.
#[derive(Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    text: String,
}

impl Stamp {
    /// Where the fraction begins in `2026-01-01T00:00:00.000000000Z`.
    const FRACTION: usize = 20;

    /// The time as it stands in a record.
    pub(super) fn text(&mut self, time: Timestamp) -> &str {
        let fraction = time.subsec_nanosecond();
        if self.second == Some(time.as_second()) && fraction >= 0 {
            self.text.truncate(Self::FRACTION);
            let _ = write!(self.text, "{fraction:09}Z");
        } else {
            self.text = time_text(time);
            // Only the years 0 to 9999 have a fraction at that place.
            let usual = self.text.len() == Self::FRACTION + 10 && fraction >= 0;
            self.second = usual.then(|| time.as_second());
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::{Stamp, Timestamp, time_text};

    #[test]
    fn a_stamp_reads_as_the_time_does_within_and_across_seconds() {
        let mut stamp = Stamp::default();
        for nanos in [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, -1, -1_000_000_001, 5] {
            let time = Timestamp::from_nanosecond(nanos).unwrap();
            assert_eq!(stamp.text(time), time_text(time));
        }
    }
}
