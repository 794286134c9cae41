//! The story that the records of a dossier tell, in figures.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::{Kind, Outcome, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happened, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// The request, if there was one.
    pub request: Option<String>,
    /// The grant, if there was one.
    pub grant: Option<String>,
    /// To what.
    pub object: Option<String>,
    /// What was asked for or allowed.
    pub action: Option<String>,
    /// When it was asked for.
    pub asked: Option<Timestamp>,
    /// How many people agreed.
    pub approvals: u64,
    /// How many tries to answer were refused, such as that of the requester.
    pub refused_answers: u64,
    /// When leave was given.
    pub granted: Option<Timestamp>,
    /// Leave was taken without approval.
    pub without_approval: bool,
    /// The digests of the policies that decided.
    pub policies: Vec<String>,
    /// When leave was to end.
    pub ends: Option<String>,
    /// How and when it ended, if it did.
    pub ended: Option<(String, Timestamp)>,
    /// What was done with it.
    pub sessions: Vec<SessionStory>,
    /// Bytes from visitors to the service, over all sessions.
    pub bytes_up: u64,
    /// Bytes from the service to visitors, over all sessions.
    pub bytes_down: u64,
    /// What is missing for it to be whole, in words.
    pub open: Vec<String>,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionStory {
    /// Its id.
    pub session: String,
    /// When it began.
    pub opened: Option<Timestamp>,
    /// When it ended.
    pub closed: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Bytes from the visitor to the service.
    pub bytes_up: u64,
    /// Bytes from the service to the visitor.
    pub bytes_down: u64,
    /// HTTP requests; each is a record of its own, in the ledger.
    pub requests: u64,
    /// From the decision that ended it to its last byte, in microseconds, if one did.
    pub last_byte_after_us: Option<u64>,
}

impl Story {
    /// Of records in the order of their numbers.
    pub(super) fn of(records: &[Record]) -> Self {
        let mut story = Self::default();
        let mut sessions = BTreeMap::<String, SessionStory>::new();
        for record in records {
            let text = |key: &str| record.details.get(key).and_then(Value::as_str).map(str::to_owned);
            let number = |key: &str| record.details.get(key).and_then(Value::as_u64);
            if record.result == Outcome::Denied {
                story.refused_answers += u64::from(record.kind == Kind::AccessApproved);
                continue;
            }
            match record.kind {
                Kind::AccessRequested => {
                    story.request.clone_from(&record.correlation);
                    story.asked = Some(record.time);
                    story.object.clone_from(&record.object);
                    story.action.clone_from(&record.action);
                }
                Kind::AccessApproved => story.approvals += 1,
                Kind::GrantIssued | Kind::GlassBroken => {
                    story.grant.clone_from(&record.grant);
                    story.granted = Some(record.time);
                    story.without_approval = record.kind == Kind::GlassBroken;
                    story.object = story.object.or_else(|| record.object.clone());
                    story.action = story.action.or_else(|| record.action.clone());
                    story.ends = text("ends");
                }
                Kind::GrantBegun => story.ends = text("ends").or(story.ends),
                Kind::AccessRejected
                | Kind::AccessExpired
                | Kind::AccessWithdrawn
                | Kind::GrantRevoked
                | Kind::GrantExpired => story.ended = Some((record.kind.as_str().to_owned(), record.time)),
                Kind::SessionOpened | Kind::SessionClosed => {
                    let id = record.session.clone().unwrap_or_default();
                    let session = sessions
                        .entry(id.clone())
                        .or_insert_with(|| SessionStory { session: id, ..SessionStory::default() });
                    story.object = story.object.or_else(|| record.object.clone());
                    if record.kind == Kind::SessionOpened {
                        session.opened = Some(record.time);
                        story.grant = story.grant.or_else(|| record.grant.clone());
                    } else {
                        session.closed = Some(record.time);
                        session.reason = text("cause").or_else(|| text("reason"));
                        session.bytes_up = number("bytes_up").unwrap_or(0);
                        session.bytes_down = number("bytes_down").unwrap_or(0);
                        session.requests = number("requests").unwrap_or(0);
                        session.last_byte_after_us = number("last_byte_after_us");
                    }
                }
                _ => {}
            }
            if matches!(record.kind, Kind::GrantIssued | Kind::GlassBroken | Kind::SessionOpened)
                && let Some(policy) = &record.policy
                && !story.policies.contains(policy)
            {
                story.policies.push(policy.clone());
            }
        }
        story.sessions = sessions.into_values().collect();
        story.sessions.sort_by_key(|session| session.opened.or(session.closed));
        story.bytes_up = story.sessions.iter().fold(0, |sum, session| sum.saturating_add(session.bytes_up));
        story.bytes_down =
            story.sessions.iter().fold(0, |sum, session| sum.saturating_add(session.bytes_down));
        story.open = story.gaps(records);
        story
    }

    /// What one would expect and does not find.
    fn gaps(&self, records: &[Record]) -> Vec<String> {
        let mut open = Vec::new();
        let mut say = |missing: bool, what: &str| {
            if missing {
                open.push(what.to_owned());
            }
        };
        let has =
            |kind| records.iter().any(|record| record.kind == kind && record.result == Outcome::Success);
        say(self.grant.is_some() && self.granted.is_none(), "the record that gave leave is not here");
        say(
            self.granted.is_some() && !self.without_approval && self.asked.is_none(),
            "the request that leave was given for is not here",
        );
        say(
            self.without_approval && !has(Kind::GlassReviewed),
            "leave was taken without approval, and nobody has reviewed it",
        );
        let loaded = |policy: &String| {
            records
                .iter()
                .any(|record| record.kind == Kind::PolicyLoaded && record.policy.as_ref() == Some(policy))
        };
        say(!self.policies.iter().all(loaded), "the record that took a policy into use is not here");
        say(self.granted.is_some() && self.ended.is_none(), "leave had not ended by a record of its own");
        say(self.sessions.iter().any(|session| session.closed.is_none()), "a session had not ended");
        say(
            self.sessions.iter().any(|session| session.opened.is_none()),
            "the beginning of a session is not here",
        );
        open
    }
}
