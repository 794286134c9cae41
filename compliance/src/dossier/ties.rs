//! Whether the records of a dossier belong together: what their own ids say, and nothing that the dossier says of them.
//!
//! Each record is the ledger's, so whoever makes a dossier can choose only which. One that joined a session under one grant
//! with the approvals of another would be false although each of its pieces is true. So all must name one request and one
//! grant, and one record must name both.

use std::collections::BTreeSet;

use sallyport_audit::{Outcome, Record, Seq};

use super::{Fault, is_of_policy, is_of_request, is_of_session};

/// The ids that run through the records.
#[derive(Default)]
pub(super) struct Ties<'a> {
    request: Option<&'a str>,
    grant: Option<&'a str>,
    sessions: BTreeSet<&'a str>,
    /// A record that was not a refused try names both.
    tied: bool,
    /// A record of a session that needed no grant.
    loose: Option<Seq>,
}

impl<'a> Ties<'a> {
    /// Follows them. A record that is of something else is a [`Fault::Foreign`].
    pub(super) fn of(about: &str, records: &'a [Record]) -> Result<Self, Fault> {
        let mut ties = Self::default();
        for record in records.iter().filter(|record| !is_of_policy(record.kind)) {
            let fits = if is_of_session(record.kind) {
                // Its correlation is the visitor's own word, or that of who ended it.
                ties.sessions.extend(record.session.as_deref());
                if record.grant.is_none() {
                    ties.loose.get_or_insert(record.seq);
                }
                same(&mut ties.grant, record.grant.as_deref())
                    && (record.grant.is_some() || record.session.as_deref() == Some(about))
            } else if is_of_request(record.kind) {
                let (request, grant) = (record.correlation.as_deref(), record.grant.as_deref());
                ties.tied |= request.is_some() && grant.is_some() && record.result == Outcome::Success;
                (request.is_some() || grant.is_some())
                    && same(&mut ties.request, request)
                    && same(&mut ties.grant, grant)
            } else {
                false
            };
            if !fits {
                return Err(Fault::Foreign(record.seq));
            }
        }
        let decided: BTreeSet<&str> = records
            .iter()
            .filter(|record| !is_of_policy(record.kind))
            .filter_map(|record| record.policy.as_deref())
            .collect();
        let idle = records
            .iter()
            .filter(|record| is_of_policy(record.kind))
            .find(|record| !record.policy.as_deref().is_some_and(|policy| decided.contains(policy)));
        idle.map_or(Ok(ties), |record| Err(Fault::Foreign(record.seq)))
    }

    /// Whether they are all of one thing, and that is what the dossier is about.
    pub(super) fn tell(&self, about: &str) -> Result<(), Fault> {
        match (self.request, self.grant, self.loose) {
            // A session that needed no grant stands alone.
            (Some(_), _, Some(seq)) | (_, Some(_), Some(seq)) => return Err(Fault::Foreign(seq)),
            (Some(_), Some(_), None) if !self.tied => return Err(Fault::Untied),
            _ => {}
        }
        let known = [self.request, self.grant].contains(&Some(about)) || self.sessions.contains(about);
        if known { Ok(()) } else { Err(Fault::About(about.to_owned())) }
    }
}

/// Whether `found`, if there is any, is the one that was found before.
fn same<'a>(known: &mut Option<&'a str>, found: Option<&'a str>) -> bool {
    found.is_none_or(|found| *known.get_or_insert(found) == found)
}

#[cfg(test)]
mod tests {
    use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
    use sallyport_audit::{Draft, Kind};

    use super::*;

    fn tell(about: &str, drafts: impl IntoIterator<Item = Draft>) -> Result<(), Fault> {
        let mut journal = JournalBuilder::new("ledger", SoftwareSigner::new("ledger", [7; 32]));
        journal.group(drafts);
        let records: Vec<Record> =
            journal.records().iter().map(|bytes| Record::parse(bytes).unwrap()).collect();
        Ties::of(about, &records)?.tell(about)
    }

    fn done(kind: Kind) -> Draft {
        Draft::new(kind, Outcome::Success)
    }

    fn opened(session: &str) -> Draft {
        done(Kind::SessionOpened).session(session).policy("p1")
    }

    fn broken(request: &str, grant: &str) -> Draft {
        done(Kind::GlassBroken).correlation(request).grant(grant)
    }

    #[test]
    fn a_session_that_needed_no_grant_stands_alone() {
        let closed = || done(Kind::SessionClosed).session("sess-1");
        assert_eq!(tell("sess-1", [opened("sess-1"), closed()]), Ok(()));
        assert_eq!(tell("sess-1", [opened("sess-1"), opened("sess-2")]), Err(Fault::Foreign(Seq::new(1))));
        for other in [broken("req-1", "grant-1"), done(Kind::AccessRequested).correlation("req-1")] {
            assert_eq!(tell("sess-1", [other, opened("sess-1")]), Err(Fault::Foreign(Seq::new(1))));
        }
    }

    #[test]
    fn a_visitors_own_correlation_and_records_of_other_kinds_tie_nothing() {
        let named = opened("sess-1").correlation("req-1");
        let stranger = Err(Fault::Foreign(Seq::new(1)));
        assert_eq!(tell("req-1", [broken("req-1", "grant-1"), named]), stranger);
        let request = done(Kind::HttpRequest).session("sess-1").grant("grant-1").correlation("req-1");
        assert_eq!(tell("req-1", [broken("req-1", "grant-1"), request]), stranger);
        let refused = Draft::new(Kind::GrantRevoked, Outcome::Denied).correlation("req-1").grant("grant-1");
        let asked = done(Kind::AccessRequested).correlation("req-1");
        let session = opened("sess-1").grant("grant-1");
        assert_eq!(tell("req-1", [asked, session, refused]), Err(Fault::Untied));
    }

    #[test]
    fn a_policy_belongs_to_it_if_something_was_decided_under_it_and_what_it_is_about_is_in_it() {
        let policy = |kind, name: &str| done(kind).policy(name);
        let session = || opened("sess-1").grant("grant-1");
        let good = [policy(Kind::PolicyLoaded, "p1"), session(), broken("req-1", "grant-1")];
        assert_eq!(tell("grant-1", good), Ok(()));
        let idle = [session(), policy(Kind::PolicyApproved, "p2"), policy(Kind::PolicyLoaded, "p2")];
        assert_eq!(tell("grant-1", idle), Err(Fault::Foreign(Seq::new(1))));
        assert_eq!(tell("grant-2", [session()]), Err(Fault::About("grant-2".to_owned())));
    }
}
