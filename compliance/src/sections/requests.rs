//! Requests for access, and how they were answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, seconds};

const KINDS: &[Kind] = &[
    Kind::AccessRequested,
    Kind::AccessApproved,
    Kind::AccessRejected,
    Kind::AccessEscalated,
    Kind::AccessExpired,
    Kind::AccessWithdrawn,
    Kind::GrantIssued,
];

struct Request {
    asked: Timestamp,
    object: String,
    action: String,
    workflows: String,
    approvals: u64,
    first_answer: Option<Timestamp>,
    escalated: bool,
    answer: &'static str,
    answered: Option<Timestamp>,
    grant: Cell,
    record: Cell,
}

pub(super) struct Requests {
    book: Book,
    requests: BTreeMap<String, Request>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { book: Book::of(KINDS), requests: BTreeMap::new() }
    }
}

impl Section for Requests {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) || !seen.done() {
            return;
        }
        let Some(id) = seen.record.correlation.clone() else { return };
        let time = seen.record.time;
        if seen.record.kind == Kind::AccessRequested {
            let request = Request {
                asked: time,
                object: seen.object(),
                action: seen.record.action.clone().unwrap_or_default(),
                workflows: seen.words("workflows"),
                approvals: 0,
                first_answer: None,
                escalated: false,
                answer: "open",
                answered: None,
                grant: Cell::Nothing,
                record: seen.seq(),
            };
            self.requests.insert(id, request);
            return;
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        let mut answer = |word| (request.answer, request.answered) = (word, Some(time));
        match seen.record.kind {
            Kind::AccessApproved => {
                request.approvals += 1;
                request.first_answer.get_or_insert(time);
            }
            Kind::AccessEscalated => request.escalated = true,
            Kind::AccessRejected => {
                answer("rejected");
                request.first_answer.get_or_insert(time);
            }
            Kind::AccessExpired => answer("not answered in time"),
            Kind::AccessWithdrawn => answer("withdrawn"),
            Kind::GrantIssued => {
                answer("granted");
                request.grant = seen.record.grant.clone().into();
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, requests } = *self;
        let of = |word: &str| requests.values().filter(|request| request.answer == word).count() as u64;
        let mut waits: Vec<u64> = requests
            .values()
            .filter_map(|request| Some(seconds(request.asked, request.first_answer?)))
            .collect();
        waits.sort_unstable();
        let quick = waits.iter().filter(|wait| **wait < 5).count() as u64;
        let mut sheet = book
            .sheet(
                "requests",
                "Requests and approvals",
                "Each request that was made in the period, with the time until somebody first answered it. An answer \
                 within five seconds may mean that nobody read the request. A request that another person answered \
                 before the period began, or after it ended, shows what was known within the period.",
            )
            .figure("requests", requests.len());
        for word in ["granted", "rejected", "withdrawn", "not answered in time", "open"] {
            sheet = sheet.figure(word, of(word));
        }
        if let Some(middle) = waits.get(waits.len() / 2) {
            sheet = sheet.figure("middle time to the first answer", format!("{middle} s"));
        }
        let rows = requests.into_iter().map(|(id, request)| {
            let wait = request.first_answer.map(|first| seconds(request.asked, first));
            vec![
                request.asked.into(),
                id.into(),
                request.object.into(),
                request.action.into(),
                request.workflows.into(),
                request.answer.into(),
                request.approvals.into(),
                wait.into(),
                request.answered.into(),
                Cell::from(if request.escalated { "yes" } else { "no" }),
                request.grant,
                request.record,
            ]
        });
        let columns = [
            "asked",
            "request",
            "object",
            "action",
            "workflows",
            "answer",
            "approvals",
            "seconds to the first answer",
            "answered",
            "escalated",
            "grant",
            "record",
        ];
        sheet.exception("answered within five seconds of being asked", quick).rows(&columns, rows)
    }
}
