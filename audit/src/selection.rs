//! Which records are wanted, by what stands in them in plain.
//!
//! One set of conditions for listing, searching and exporting. Personal values are no part of it: in the
//! record they are commitments, and only the gateway, which can open them, searches by them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::record::{Outcome, Record, Seq};

/// Conditions which a record must all meet. A list that is empty is no condition; of a list that is not,
/// one entry must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The first number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: Seq,
    /// The last number, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Seq>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Outcome>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// To what it was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// In which session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// Under which grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// With which correlation id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correlations: Vec<String>,
    /// The earliest time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_time: Option<Timestamp>,
    /// The time before which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_time: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(seq: &Seq) -> bool {
    *seq == Seq::ZERO
}

/// The most entries that one condition may list. Each record is held against each, and an export that was made by a
/// stranger says what is to be compared.
pub const MAX_ENTRIES: usize = 1000;

/// A condition lists more than [`MAX_ENTRIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its selection lists {found} `{condition}`, and at most {MAX_ENTRIES} are read")]
pub struct TooMany {
    /// Which one.
    pub condition: &'static str,
    /// How many it lists.
    pub found: usize,
}

impl Selection {
    /// Checks that it can be held against many records.
    ///
    /// # Errors
    ///
    /// If one of its conditions lists too many entries.
    pub fn bounded(&self) -> Result<(), TooMany> {
        let lists = [
            ("kinds", self.kinds.len()),
            ("results", self.results.len()),
            ("actions", self.actions.len()),
            ("objects", self.objects.len()),
            ("sessions", self.sessions.len()),
            ("grants", self.grants.len()),
            ("correlations", self.correlations.len()),
        ];
        let long = lists.into_iter().find(|(_, found)| *found > MAX_ENTRIES);
        long.map_or(Ok(()), |(condition, found)| Err(TooMany { condition, found }))
    }

    /// Whether a record of this number can be wanted.
    pub fn covers(&self, seq: Seq) -> bool {
        seq >= self.from && self.to.is_none_or(|to| seq <= to)
    }

    /// Whether every record is wanted whose number is.
    pub fn is_range(&self) -> bool {
        let range = Self { from: self.from, to: self.to, ..Self::default() };
        *self == range
    }

    /// Whether this record is wanted.
    pub fn matches(&self, record: &Record) -> bool {
        let text = |wanted: &[String], found: Option<&String>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.contains(found))
        };
        self.covers(record.seq)
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && (self.results.is_empty() || self.results.contains(&record.result))
            && text(&self.actions, record.action.as_ref())
            && text(&self.objects, record.object.as_ref())
            && text(&self.sessions, record.session.as_ref())
            && text(&self.grants, record.grant.as_ref())
            && text(&self.correlations, record.correlation.as_ref())
            && self.from_time.is_none_or(|time| record.time >= time)
            && self.to_time.is_none_or(|time| record.time < time)
    }
}

/// The first instant of a day (UTC), or the instant itself, for [`Selection::from_time`].
pub fn beginning(text: &str) -> Result<Timestamp, String> {
    instant(text, false)
}

/// The instant behind a day (UTC), or the instant itself, for [`Selection::to_time`].
pub fn end(text: &str) -> Result<Timestamp, String> {
    instant(text, true)
}

fn instant(text: &str, end: bool) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let form = |_| "give a day such as 2026-01-31, or an instant such as 2026-01-31T12:00:00Z".to_owned();
    let day: Date = text.parse().map_err(form)?;
    let day = if end { day.tomorrow().map_err(form)? } else { day };
    Ok(day.to_zoned(TimeZone::UTC).map_err(form)?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_means_all_of_it() {
        assert_eq!(beginning("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(end("2026-01-31").unwrap().to_string(), "2026-02-01T00:00:00Z");
        assert_eq!(end("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        assert!(beginning("yesterday").is_err());
    }
    use crate::record::Draft;
    use crate::testing::{JournalBuilder, SoftwareSigner};

    #[test]
    fn each_condition_counts_and_all_must_be_met() {
        let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
        let draft = || {
            Draft::new(Kind::SessionOpened, Outcome::Success)
                .action("connect")
                .object("tunnel:a")
                .session("sess-1")
                .grant("grant-1")
                .correlation("01")
        };
        journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success), draft()]);
        let record = Record::parse(&journal.records()[1]).unwrap();
        let met = Selection {
            from: Seq::new(1),
            to: Some(Seq::new(1)),
            kinds: vec![Kind::SessionClosed, Kind::SessionOpened],
            results: vec![Outcome::Success],
            actions: vec!["connect".to_owned()],
            objects: vec!["tunnel:a".to_owned()],
            sessions: vec!["sess-1".to_owned()],
            grants: vec!["grant-1".to_owned()],
            correlations: vec!["01".to_owned()],
            from_time: Some(record.time),
            to_time: record.time.checked_add(jiff::SignedDuration::from_nanos(1)).ok(),
        };
        assert!(met.matches(&record) && Selection::default().matches(&record));
        let other = || vec!["other".to_owned()];
        for missed in [
            Selection { from: Seq::new(2), ..met.clone() },
            Selection { to: Some(Seq::ZERO), ..met.clone() },
            Selection { kinds: vec![Kind::SessionClosed], ..met.clone() },
            Selection { results: vec![Outcome::Denied], ..met.clone() },
            Selection { actions: other(), ..met.clone() },
            Selection { objects: other(), ..met.clone() },
            Selection { correlations: other(), ..met.clone() },
            Selection { sessions: other(), ..met.clone() },
            Selection { grants: other(), ..met.clone() },
            Selection { from_time: met.to_time, ..met.clone() },
            Selection { to_time: met.from_time, ..met.clone() },
        ] {
            assert!(!missed.matches(&record), "{missed:?}");
            assert!(!missed.is_range() || missed.sessions.is_empty());
        }
        assert!(Selection { from: Seq::new(1), ..Selection::default() }.is_range() && !met.is_range());
    }
}
