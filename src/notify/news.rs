//! From a record to who is to be told what.
//!
//! The record says that something happened; access says how it stands now, and who can still do something about it. So a
//! request that was decided while a way was down is put before nobody, and nobody is told who couldn't answer it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::detection::Grade;
use sallyport_audit::{Entry, Kind, Outcome, Personal};
use serde_json::Value;

use super::{Detected, Event};
use crate::access::object::Part;
use crate::access::{
    Access, Action, Caller, Grant, GrantId, Object, Policy, Request, RequestId, RequestStatus, RequestView,
    ReviewView, Role, Subject, Tenant,
};

/// Something that people are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What it is.
    pub event: Event,
    /// The record that told of it, or the last one at the time.
    pub record: u64,
    /// When it happened.
    pub time: Timestamp,
    /// Whom it concerns.
    pub to: Vec<Subject>,
    /// The request, review or key that it is about.
    pub about: Option<String>,
    /// The grant that it is about.
    pub grant: Option<String>,
    /// What was found, if it is a detection.
    pub detected: Option<Detected>,
    /// Where to go on, below the console.
    pub page: String,
    /// What there is to say, by the names in [`super::FACTS`].
    pub facts: BTreeMap<&'static str, String>,
}

/// Whether a record of this kind may be news.
pub(super) fn concerns(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AccessRequested
            | Kind::AccessEscalated
            | Kind::AccessRejected
            | Kind::AccessExpired
            | Kind::GrantIssued
            | Kind::GrantRevoked
            | Kind::GlassTold
            | Kind::GlassReviewed
            | Kind::ReviewStarted
            | Kind::KeyDue
            | Kind::DetectionRaised
            | Kind::ReportMade
    )
}

/// What a record tells people, if anything. Access must have folded it already.
pub(super) fn of_record(entry: &Entry, access: &Access, tenant: &Tenant) -> Option<News> {
    let record = &entry.record;
    if record.result != Outcome::Success {
        return None;
    }
    let told = Told { entry, access };
    match record.kind {
        Kind::AccessRequested => told.waiting(Event::Request, |view| view.eligible.clone()),
        Kind::AccessEscalated => told.waiting(Event::Escalation, |view| told.escalated_to(view)),
        Kind::AccessRejected => {
            told.outcome(Event::Rejected, |request| matches!(request.status, RequestStatus::Rejected { .. }))
        }
        Kind::AccessExpired => told.outcome(Event::Expired, |_| true),
        Kind::GrantIssued => told.granted(),
        Kind::GrantRevoked => told.of_grant(Event::Revoked),
        Kind::GlassReviewed => told.of_grant(Event::GlassReviewed),
        Kind::GlassTold => told.glass(),
        Kind::ReviewStarted => told.review(),
        Kind::KeyDue => Some(told.key_due(tenant)),
        Kind::DetectionRaised => told.detection(tenant),
        Kind::ReportMade => told.report(tenant),
        _ => None,
    }
}

/// Reviews that end within `notice`, whose reminder fell due after `since`. `record` is the last record there is.
pub(super) fn reminders(
    reviews: &[ReviewView],
    policy: &Policy,
    (since, now): (Timestamp, Timestamp),
    notice: SignedDuration,
    record: u64,
) -> Vec<News> {
    let due = reviews.iter().filter(|view| {
        let review = &view.review;
        let at = review.deadline.saturating_sub(notice).unwrap_or(review.started);
        // Whoever has just been told that it began needs no reminder.
        review.end.is_none() && review.started < at && since < at && at <= now && now < review.deadline
    });
    due.filter_map(|view| about_review(Event::ReviewDue, view, policy, record, now))
        .filter(|news| !news.to.is_empty())
        .collect()
}

/// Grants that end within `notice`, whose reminder fell due after `since`. `record` is the last record there is.
pub(super) fn ending(
    grants: &[Grant],
    (since, now): (Timestamp, Timestamp),
    notice: SignedDuration,
    record: u64,
) -> Vec<News> {
    let due = grants.iter().filter(|grant| {
        let Ok(at) = grant.ends.saturating_sub(notice) else { return false };
        // Whoever was just given it needs no reminder, and whoever never used it will miss nothing.
        let runs =
            grant.is_live(now) && grant.from_first_use.is_none() && grant.begun.unwrap_or(grant.starts) < at;
        runs && since < at && at <= now && !grant.subject.is_erased()
    });
    let news = due.map(|grant| {
        let mut facts = about_grant(grant);
        facts.insert("until", shown(grant.ends));
        News {
            event: Event::GrantDue,
            record,
            time: now,
            to: vec![grant.subject.clone()],
            about: Some(grant.request.to_string()),
            grant: Some(grant.id.to_string()),
            detected: None,
            page: format!("grants/{}", grant.id),
            facts,
        }
    });
    news.collect()
}

fn about_review(
    event: Event,
    view: &ReviewView,
    policy: &Policy,
    record: u64,
    time: Timestamp,
) -> Option<News> {
    let review = &view.review;
    let open = review.items.iter().filter(|item| item.decision.is_none()).count();
    if review.end.is_some() || open == 0 {
        return None;
    }
    Some(News {
        event,
        record,
        time,
        to: policy.members_of(&review.reviewers, &review.tenant),
        about: Some(review.id.to_string()),
        grant: None,
        detected: None,
        page: format!("reviews#{}", review.id),
        facts: BTreeMap::from([
            ("review", review.id.to_string()),
            ("role", review.reviewers.to_string()),
            ("open", open.to_string()),
            ("until", shown(review.deadline)),
        ]),
    })
}

/// To the second: people read it.
fn shown(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// One record, and access to ask about it.
struct Told<'a> {
    entry: &'a Entry,
    access: &'a Access,
}

impl Told<'_> {
    fn request(&self) -> Option<RequestView> {
        let id: RequestId = self.entry.record.correlation.as_deref()?.parse().ok()?;
        self.access.find_request(Caller::Operator, id)
    }

    fn grant(&self) -> Option<Grant> {
        let id: GrantId = self.entry.record.grant.as_deref()?.parse().ok()?;
        self.access.find_grant(Caller::Operator, id)
    }

    fn text(&self, field: Personal) -> String {
        self.entry.personal.text(field).unwrap_or_default().to_owned()
    }

    fn news(
        &self,
        event: Event,
        to: Vec<Subject>,
        page: String,
        facts: BTreeMap<&'static str, String>,
    ) -> News {
        let record = &self.entry.record;
        News {
            event,
            record: record.seq.get(),
            time: record.time,
            // What is left of an erased person can be told nothing.
            to: to.into_iter().filter(|person| !person.is_erased()).collect(),
            about: record.correlation.clone(),
            grant: record.grant.clone(),
            detected: None,
            page,
            facts,
        }
    }

    /// A request that waits, to those who can help it along.
    fn waiting(&self, event: Event, to: impl Fn(&RequestView) -> Vec<Subject>) -> Option<News> {
        let view = self.request()?;
        if view.request.status != RequestStatus::Pending {
            return None;
        }
        let steps: Vec<String> = view.waits_for.iter().map(ToString::to_string).collect();
        let mut facts = about_request(&view.request);
        facts.insert("waits_for", steps.join(", "));
        facts.insert("until", shown(view.request.answer_by));
        Some(self.news(event, to(&view), page_of(&view.request), facts))
    }

    /// Of those who can decide, those who are asked only since nobody has answered.
    fn escalated_to(&self, view: &RequestView) -> Vec<Subject> {
        let named = self.entry.record.details.get("roles").and_then(Value::as_array).into_iter().flatten();
        let roles: Vec<Role> = named.filter_map(|role| role.as_str()?.parse().ok()).collect();
        let policy = self.access.policy();
        let has = |person: &&Subject| {
            let own = policy.roles_of(person, &view.request.tenant);
            roles.iter().any(|role| own.contains(role))
        };
        view.eligible.iter().filter(has).cloned().collect()
    }

    /// What became of a request, to whoever asked.
    fn outcome(&self, event: Event, ended: impl Fn(&Request) -> bool) -> Option<News> {
        let request = self.request()?.request;
        if !ended(&request) {
            return None;
        }
        let mut facts = about_request(&request);
        facts.insert("by", self.text(Personal::Subject));
        facts.insert("reason", self.text(Personal::Reason));
        Some(self.news(event, vec![request.subject.clone()], page_of(&request), facts))
    }

    fn granted(&self) -> Option<News> {
        let grant = self.grant()?;
        let mut facts = about_grant(&grant);
        facts.insert("minutes", grant.from_first_use.map(|minutes| minutes.to_string()).unwrap_or_default());
        facts.insert("until", shown(grant.ends));
        Some(self.news(
            Event::Granted,
            vec![grant.subject.clone()],
            format!("requests#{}", grant.request),
            facts,
        ))
    }

    fn of_grant(&self, event: Event) -> Option<News> {
        let grant = self.grant()?;
        let mut facts = about_grant(&grant);
        facts.insert("by", self.text(Personal::Subject));
        facts.insert("reason", self.text(Personal::Reason));
        let verdict = self.entry.record.details.get("verdict").and_then(Value::as_str);
        facts.insert("verdict", verdict.unwrap_or_default().to_owned());
        Some(self.news(event, vec![grant.subject.clone()], format!("requests#{}", grant.request), facts))
    }

    /// Always, and whatever has become of it since: who was passed over is to know.
    fn glass(&self) -> Option<News> {
        let approver: Subject = self.entry.personal.text(Personal::Target)?.parse().ok()?;
        let request = self.request()?.request;
        let mut facts = about_request(&request);
        if let Some(grant) = self.grant() {
            facts.insert("until", shown(grant.ends));
        }
        facts.insert("grant", self.entry.record.grant.clone().unwrap_or_default());
        Some(self.news(Event::Glass, vec![approver], page_of(&request), facts))
    }

    fn review(&self) -> Option<News> {
        let record = &self.entry.record;
        let id = record.details.get("review").and_then(Value::as_str)?;
        let reviews = self.access.reviews(Caller::Operator);
        let view = reviews.iter().find(|view| view.review.id.to_string() == id)?;
        about_review(Event::Review, view, &self.access.policy(), record.seq.get(), record.time)
    }

    /// To whoever may administer keys.
    fn key_due(&self, tenant: &Tenant) -> News {
        let facts = BTreeMap::from([("key", self.detail("role")), ("until", self.detail("due"))]);
        self.news(
            Event::KeyDue,
            self.who_may(tenant, Action::Admin, Part::Keys),
            "health#keys-title".to_owned(),
            facts,
        )
    }

    /// To whoever may read the ledger: what was found stands there for them already.
    fn detection(&self, tenant: &Tenant) -> Option<News> {
        let record = &self.entry.record;
        let severity = self.detail("severity");
        let grade = Grade::ALL.into_iter().find(|grade| grade.as_str() == severity)?;
        let numbers = record.details.get("records").and_then(Value::as_array).into_iter().flatten();
        let facts = BTreeMap::from([
            ("rule", self.detail("rule")),
            ("severity", severity),
            ("says", self.detail("says")),
            ("count", self.detail("count")),
            ("records", numbers.map(Value::to_string).collect::<Vec<_>>().join(", ")),
            ("whom", self.text(Personal::Subject)),
            ("source", self.text(Personal::Source)),
            ("object", record.object.clone().unwrap_or_default()),
        ]);
        let to = self.who_may(tenant, Action::Read, Part::Ledger);
        let news = self.news(Event::Detection, to, format!("ledger/{}", record.seq.get()), facts);
        Some(News { detected: Some(Detected { rule: self.detail("rule"), grade }), ..news })
    }

    /// To whoever may audit the ledger. One that somebody asked for is waited for by them.
    fn report(&self, tenant: &Tenant) -> Option<News> {
        if self.entry.record.details.get("scheduled") != Some(&Value::Bool(true)) {
            return None;
        }
        let name = self.entry.record.object.clone()?;
        let facts = BTreeMap::from([
            ("report", name.trim_start_matches("report:").to_owned()),
            ("framework", self.detail("framework")),
            ("from", self.detail("from")),
            ("until", self.detail("to")),
            ("records", self.detail("records")),
            ("exceptions", self.detail("exceptions")),
        ]);
        let to = self.who_may(tenant, Action::Audit, Part::Ledger);
        Some(self.news(Event::Report, to, "reports".to_owned(), facts))
    }

    /// A detail in words, empty if there is none.
    fn detail(&self, name: &str) -> String {
        match self.entry.record.details.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// People whom policy lets do this to a part of the gateway.
    fn who_may(&self, tenant: &Tenant, action: Action, part: Part) -> Vec<Subject> {
        let policy = self.access.policy();
        let object = Object::gateway(part);
        let people = policy.people_of(tenant).map(|(person, _)| person);
        people.filter(|person| policy.allows(person, tenant, &object, action)).cloned().collect()
    }
}

fn page_of(request: &Request) -> String {
    format!("requests#{}", request.id)
}

fn about_request(request: &Request) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("request", request.id.to_string()),
        ("requester", request.subject.to_string()),
        ("object", request.object.to_string()),
        ("action", request.action.to_string()),
        ("minutes", request.minutes.to_string()),
        ("reason", request.reason.as_str().to_owned()),
        ("ticket", request.ticket.as_ref().map(ToString::to_string).unwrap_or_default()),
    ])
}

fn about_grant(grant: &Grant) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("request", grant.request.to_string()),
        ("grant", grant.id.to_string()),
        ("requester", grant.subject.to_string()),
        ("object", grant.object.to_string()),
        ("action", grant.action.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use sallyport_audit::Digest;

    use super::*;
    use crate::access::Holding;
    use crate::access::state::{Review, ReviewDecision, ReviewEnd, ReviewItem};

    const NOTICE: SignedDuration = SignedDuration::from_hours(48);
    const DAY: i64 = 24;

    /// So many hours after the review began.
    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + hours * 3_600).unwrap()
    }

    /// A review of ten days with three items, of which one is decided.
    fn review() -> ReviewView {
        let decided = ReviewDecision {
            by: "user:rita".parse().unwrap(),
            at: at(1),
            keep: true,
            took: 9,
            reason: "still on the team".parse().unwrap(),
        };
        let item = |number: u32| ReviewItem {
            number,
            subject: "user:vic".parse().unwrap(),
            holding: Holding::Role("role:visitor".parse().unwrap()),
            decision: (number == 2).then(|| decided.clone()),
        };
        let review = Review {
            id: crate::access::ReviewId::new(at(0), [7; 10]),
            tenant: "main".parse().unwrap(),
            by: None,
            reviewers: "role:reviewer".parse().unwrap(),
            started: at(0),
            deadline: at(10 * DAY),
            digest: Digest::ZERO,
            items: (1..=3).map(item).collect(),
            end: None,
        };
        ReviewView { review, items: Vec::new() }
    }

    /// Rita and Rob review; Vic doesn't.
    async fn told(reviews: &[ReviewView], since: Timestamp, now: Timestamp) -> Vec<News> {
        let policy = Policy::build_one(
            "p, role:reviewer, main, tunnel:*, audit, allow, -\np, role:visitor, main, tunnel:*, connect, allow, -\n\
             g, user:rita, role:reviewer, main\ng, user:rob, role:reviewer, main\ng, user:vic, role:visitor, main\n",
        );
        reminders(reviews, &policy.await, (since, now), NOTICE, 99)
    }

    #[tokio::test]
    async fn reviewers_are_reminded_of_what_is_open_when_the_end_of_their_review_is_near() {
        let news = told(&[review()], at(8 * DAY - 1), at(8 * DAY)).await;
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].event, news[0].record, news[0].time), (Event::ReviewDue, 99, at(8 * DAY)));
        let names: Vec<&str> = news[0].to.iter().map(Subject::as_str).collect();
        assert_eq!(names, ["user:rita", "user:rob"]);
        let id = review().review.id.to_string();
        assert_eq!(
            (news[0].about.as_deref(), news[0].page.as_str()),
            (Some(id.as_str()), &*format!("reviews#{id}"))
        );
        assert_eq!(
            (news[0].facts["open"].as_str(), news[0].facts["until"].as_str()),
            ("2", &*shown(at(10 * DAY)))
        );
    }

    #[tokio::test]
    async fn a_reminder_is_told_once_also_if_nobody_looked_when_it_fell_due_and_never_after_the_end() {
        let due = 8 * DAY;
        for (since, now, count) in [
            (due - 2, due - 1, 0),
            (due - 1, due, 1),
            (due, due + 1, 0),
            // The gateway was down meanwhile.
            (due - 30, due + 30, 1),
            (due - 30, 10 * DAY - 1, 1),
            (due - 30, 10 * DAY, 0),
        ] {
            assert_eq!(told(&[review()], at(since), at(now)).await.len(), count, "{since} to {now}");
        }
    }

    #[tokio::test]
    async fn nobody_is_reminded_of_a_review_that_is_short_decided_ended_or_of_nobody() {
        let change = |change: &dyn Fn(&mut Review)| {
            let mut view = review();
            change(&mut view.review);
            view
        };
        let decided = review().review.items[1].decision.clone();
        for (why, view) in [
            (
                "whoever was told that it began has heard of it",
                change(&|review| review.started = at(8 * DAY)),
            ),
            (
                "all is decided",
                change(&|review| {
                    for item in &mut review.items {
                        item.decision.clone_from(&decided);
                    }
                }),
            ),
            ("it was closed", change(&|review| review.end = Some(ReviewEnd { at: at(9), by: None }))),
            ("nobody has the role", change(&|review| review.reviewers = "role:nobody".parse().unwrap())),
        ] {
            assert!(told(&[view], at(8 * DAY - 1), at(8 * DAY)).await.is_empty(), "{why}");
        }
    }
}
