//! How sessions and tunnels were protected, counted.

use std::collections::BTreeMap;

use sallyport_audit::{Digest, Kind, Outcome, Record};
use serde::Serialize;

use super::{ROWS, flag, text};
use crate::query::Query;
use crate::report::Row;
use crate::tally::{Sum, Tally};

/// Different ways of protection that are told apart; what comes beyond is counted together.
const WAYS: usize = 64;

/// How the sessions, or the registrations of tunnels, of a period were protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// Which records, in words.
    pub query: String,
    /// How many, from where to where.
    #[serde(flatten)]
    pub sum: Sum,
    /// What counts as hybrid, in words.
    pub rule: &'static str,
    /// Those that are hybrid post-quantum by that rule.
    pub hybrid: u64,
    /// Those whose records don't say enough.
    pub untold: u64,
    /// The result in one sentence.
    pub sentence: String,
    /// What was agreed on, and how often.
    pub ways: Vec<Way>,
    /// The first of those that were not hybrid, or do not say.
    pub others: Vec<Row>,
    /// How many more there are.
    pub more: u64,
}

/// One way of protection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Way {
    /// What TLS agreed on with whoever connected.
    pub tls: String,
    /// What the tunnel's own handshake agreed on.
    pub tunnel: String,
    /// How many.
    pub count: u64,
}

#[derive(Debug)]
pub(super) struct Gathering {
    /// "session" or "tunnel", for the sentence.
    what: &'static str,
    rule: &'static str,
    query: Query,
    hybrid: fn(&Record) -> Option<bool>,
    tally: Tally,
    good: u64,
    untold: u64,
    ways: BTreeMap<(String, String), u64>,
    others: Vec<Row>,
}

impl Gathering {
    pub(super) fn of_sessions() -> Self {
        Self::new(
            "session",
            Kind::SessionOpened,
            "the visitor's TLS has a hybrid key exchange, and the way to the publisher is protected by one, too",
            session_is_hybrid,
        )
    }

    pub(super) fn of_tunnels() -> Self {
        Self::new(
            "tunnel registration",
            Kind::TunnelRegistered,
            "the tunnel's own handshake is hybrid, and its frames are sealed by it or travel in TLS with a hybrid key exchange",
            tunnel_is_hybrid,
        )
    }

    fn new(what: &'static str, kind: Kind, rule: &'static str, hybrid: fn(&Record) -> Option<bool>) -> Self {
        let query =
            Query { kinds: vec![kind], results: vec![Outcome::Success], has: Vec::new(), lacks: Vec::new() };
        Self {
            what,
            rule,
            query,
            hybrid,
            tally: Tally::default(),
            good: 0,
            untold: 0,
            ways: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, record: &Record, leaf: Digest) {
        if !self.query.matches(record) {
            return;
        }
        self.tally.take(record, leaf);
        let hybrid = (self.hybrid)(record);
        match hybrid {
            Some(true) => self.good = self.good.saturating_add(1),
            Some(false) => {}
            None => self.untold = self.untold.saturating_add(1),
        }
        if hybrid != Some(true) && self.others.len() < ROWS {
            self.others.push(Row::of(record, leaf));
        }
        let mut way = (tls(record), tunnel(record));
        if self.ways.len() >= WAYS && !self.ways.contains_key(&way) {
            way = ("others".to_owned(), "others".to_owned());
        }
        let times = self.ways.entry(way).or_default();
        *times = times.saturating_add(1);
    }

    pub(super) fn finish(self, unproved: Option<&str>) -> Protection {
        let sum = self.tally.sum();
        let sentence = match unproved {
            Some(reason) => format!("not evaluated: {reason}"),
            None => sentence(self.what, sum.count, self.good, self.untold),
        };
        let mut ways: Vec<Way> =
            self.ways.into_iter().map(|((tls, tunnel), count)| Way { tls, tunnel, count }).collect();
        // Equal counts stay in the order of their names, so that the same records give the same bytes.
        ways.sort_by_key(|way| std::cmp::Reverse(way.count));
        let more = sum.count.saturating_sub(self.good).saturating_sub(self.others.len() as u64);
        Protection {
            query: self.query.to_string(),
            sum,
            rule: self.rule,
            hybrid: self.good,
            untold: self.untold,
            sentence,
            ways,
            others: self.others,
            more,
        }
    }
}

fn sentence(what: &str, count: u64, hybrid: u64, untold: u64) -> String {
    if count == 0 {
        return format!("not evaluated: the period holds no {what}");
    }
    let s = if count == 1 { "" } else { "s" };
    let mut sentence = format!("{hybrid} of {count} {what}{s} hybrid post-quantum");
    let classical = count.saturating_sub(hybrid).saturating_sub(untold);
    for (number, words) in [(classical, "not"), (untold, "whose records do not say")] {
        if number > 0 {
            sentence.push_str(&format!("; {number} {words}"));
        }
    }
    sentence
}

/// `None` where a record that could still be hybrid doesn't say.
fn all<const N: usize>(parts: [Option<bool>; N]) -> Option<bool> {
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    parts.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
}

fn session_is_hybrid(record: &Record) -> Option<bool> {
    all([flag(record, "tls_hybrid"), flag(record, "tunnel_post_quantum")])
}

fn tunnel_is_hybrid(record: &Record) -> Option<bool> {
    let frames = match flag(record, "tunnel_sealed") {
        Some(true) => Some(true),
        Some(false) => flag(record, "tls_hybrid"),
        None => None,
    };
    all([flag(record, "tunnel_post_quantum"), frames])
}

fn tls(record: &Record) -> String {
    match (text(record, "tls_version"), text(record, "tls_group")) {
        (Some("none"), _) => "none: a bare TCP port".to_owned(),
        (Some(version), Some(group)) => format!("TLS {version}, {group}"),
        _ => "the record does not say".to_owned(),
    }
}

fn tunnel(record: &Record) -> String {
    let suite = text(record, "tunnel_suite");
    match (suite, flag(record, "tunnel_sealed")) {
        (Some(suite), Some(true)) => format!("{suite}, frames sealed"),
        (Some(suite), _) => format!("{suite}, bound to its TLS connection"),
        _ => "the record does not say".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_hybrid_only_where_each_says_so() {
        assert_eq!(sentence("session", 12, 12, 0), "12 of 12 sessions hybrid post-quantum");
        assert_eq!(sentence("session", 1, 1, 0), "1 of 1 session hybrid post-quantum");
        assert_eq!(
            sentence("session", 12, 9, 1),
            "9 of 12 sessions hybrid post-quantum; 2 not; 1 whose records do not say"
        );
        assert_eq!(sentence("session", 0, 0, 0), "not evaluated: the period holds no session");
        assert_eq!(all([Some(true), None]), None);
        assert_eq!(all([Some(false), None]), Some(false));
        assert_eq!(all([Some(true), Some(true)]), Some(true));
    }
}
