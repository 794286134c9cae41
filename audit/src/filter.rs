//! Which records a sink sends.
//!
//! Why: a receiver is paid by the byte, or belongs to somebody who may see a part. What is left out makes no gap in
//! what arrives, because `sinkseq` counts only what is sent; and the filter is told in `sink.connected`, so that
//! whoever compares knows what was never meant to come.

use std::collections::BTreeSet;

use crate::{
    kind::Kind,
    record::{Outcome, Record},
    severity::severity,
};

/// A filter that was not understood. Says what was given and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {wanted}")]
pub struct FilterError {
    given: String,
    wanted: &'static str,
}

/// A choice of records. The default chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    kinds: Option<BTreeSet<Kind>>,
    least: Option<u8>,
    words: String,
}

impl Filter {
    /// From words: kinds or families to send (`session`, `access.decided`), those to leave out with `!` before them
    /// (`!http.request`), and a least severity (`severity<=4`: warnings and worse). No words: all.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let refused = |given: &str| FilterError {
            given: given.to_owned(),
            wanted: "a kind, a family of kinds, either with ! before it, or severity<=N (0 to 7)",
        };
        let (mut wanted, mut unwanted, mut least) = (BTreeSet::new(), BTreeSet::new(), None);
        let mut chosen = false;
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            if let Some(number) = word.strip_prefix("severity<=") {
                least = Some(number.parse().ok().filter(|number| *number <= 7).ok_or_else(|| refused(word))?);
                continue;
            }
            let (out, name) = word.strip_prefix('!').map_or((false, word), |name| (true, name));
            let named = Kind::named(name);
            if named.is_empty() {
                return Err(refused(word));
            }
            if out {
                unwanted.extend(named);
            } else {
                chosen = true;
                wanted.extend(named);
            }
        }
        if !chosen {
            wanted.extend(Kind::ALL);
        }
        let kinds = wanted.difference(&unwanted).copied().collect::<BTreeSet<_>>();
        if kinds.is_empty() {
            return Err(FilterError { given: text.to_owned(), wanted: "a filter that lets anything pass" });
        }
        let all = kinds.len() == Kind::ALL.len();
        Ok(Self { kinds: (!all).then_some(kinds), least, words: text.trim().to_owned() })
    }

    /// Whether this record goes.
    pub fn passes(&self, record: &Record) -> bool {
        self.takes(record.kind, record.result)
    }

    /// The same, of a record of which no more is known.
    pub fn takes(&self, kind: Kind, result: Outcome) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && self.least.is_none_or(|least| severity(kind, result) <= least)
    }

    /// Whether every record goes.
    pub fn is_all(&self) -> bool {
        self.kinds.is_none() && self.least.is_none()
    }

    /// As it was written; `all` when nothing is left out.
    pub fn as_str(&self) -> &str {
        if self.is_all() { "all" } else { &self.words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(filter: &str, kind: Kind, result: Outcome) -> bool {
        Filter::parse(filter).unwrap().takes(kind, result)
    }

    #[test]
    fn a_filter_names_kinds_families_and_what_to_leave_out() {
        let ok = Outcome::Success;
        assert!(takes("", Kind::GatewayHeartbeat, ok) && Filter::parse("").unwrap().is_all());
        assert!(takes("session access.decided", Kind::SessionClosed, ok));
        assert!(takes("session access.decided", Kind::AccessDecided, ok));
        assert!(!takes("session access.decided", Kind::AccessRequested, ok));
        assert!(!takes("!http.request", Kind::HttpRequest, ok));
        assert!(takes("!http.request", Kind::SessionOpened, ok));
        assert!(!takes("session,!session.closed", Kind::SessionClosed, ok));
        assert!(takes("severity<=4", Kind::AccessDecided, Outcome::Denied));
        assert!(!takes("severity<=4", Kind::AccessDecided, ok));
    }

    #[test]
    fn a_filter_that_is_not_understood_or_lets_nothing_pass_is_refused() {
        for bad in ["sessions", "severity<=8", "severity<5", "session !session", "!nothing"] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
