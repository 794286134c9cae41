//! What the ledger is told of notifications: which record was told of, by which way, to how many or to whom. Names are sealed
//! as everywhere, and neither texts nor addresses are in it.

use sallyport_audit::{Draft, Kind, Outcome};

use super::news::News;
use super::way::Way;
use crate::access::Subject;

/// What came of one message.
pub(super) fn draft(
    way: &dyn Way,
    news: &News,
    to: Option<&Subject>,
    attempts: u64,
    failure: Option<&str>,
) -> Draft {
    let (kind, result) = match failure {
        None => (Kind::NotificationSent, Outcome::Success),
        Some(_) => (Kind::NotificationFailed, Outcome::Failure),
    };
    let mut draft = Draft::new(kind, result)
        .object(format!("notify:{}", way.name()))
        .detail("way", way.kind())
        .detail("event", news.event.as_str())
        .detail("record", news.record)
        .detail("people", to.map_or(news.to.len(), |_| 1) as u64)
        .detail("attempts", attempts);
    if let Some(why) = failure {
        draft = draft.detail("reason", why);
    }
    if let Some(person) = to {
        draft = draft.target(person.as_str());
    }
    if let Some(about) = &news.about {
        draft = draft.correlation(about.as_str());
    }
    if let Some(grant) = &news.grant {
        draft = draft.grant(grant.as_str());
    }
    draft
}
