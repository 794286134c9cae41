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
    Kind::LedgerResumed,
];

struct Request {
    asked: Timestamp,
    /// It was asked in the period, and not before.
    inside: bool,
    object: String,
    action: String,
    workflows: String,
    approvals: u64,
    rejections: u64,
    first_answer: Option<Timestamp>,
    /// The first answer was given in the period.
    answered_inside: bool,
    escalated: bool,
    answer: &'static str,
    answered: Option<Timestamp>,
    grant: Cell,
    record: Cell,
}

impl Request {
    /// Takes what somebody, or time, said to it.
    fn hear(&mut self, seen: &Seen<'_>) {
        let time = seen.record.time;
        let said = matches!(seen.record.kind, Kind::AccessApproved | Kind::AccessRejected);
        if said && self.first_answer.is_none() {
            (self.first_answer, self.answered_inside) = (Some(time), seen.inside);
        }
        let answer = match seen.record.kind {
            Kind::AccessApproved => {
                self.approvals += 1;
                return;
            }
            Kind::AccessEscalated => {
                self.escalated = true;
                return;
            }
            Kind::AccessRejected => {
                self.rejections += 1;
                // A policy may want more than one person to say no.
                if self.rejections < seen.number("wanted").unwrap_or(1) {
                    return;
                }
                "rejected"
            }
            Kind::AccessExpired => "not answered in time",
            Kind::AccessWithdrawn => "withdrawn",
            Kind::GrantIssued => {
                self.grant = seen.record.grant.clone().into();
                "granted"
            }
            _ => return,
        };
        (self.answer, self.answered) = (answer, Some(time));
    }
}

pub(super) struct Requests {
    book: Book,
    requests: BTreeMap<String, Request>,
}

/// The answer to a request that ended because the ledger lost records: one of them may have answered it.
const LAPSED: &str = "ended by a loss of records";

impl Requests {
    /// No request that waits outlives a loss of records, and none gets a record of its own for it.
    fn lapse(&mut self, seen: &Seen<'_>) {
        if !seen.inside {
            self.requests.clear();
        }
        for request in self.requests.values_mut().filter(|request| request.answered.is_none()) {
            (request.answer, request.answered) = (LAPSED, Some(seen.record.time));
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self { book: Book::since_the_beginning(KINDS), requests: BTreeMap::new() }
    }
}

impl Section for Requests {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) || !seen.done() {
            return;
        }
        if seen.record.kind == Kind::LedgerResumed {
            self.lapse(seen);
            return;
        }
        let Some(id) = seen.record.correlation.clone() else { return };
        if seen.record.kind == Kind::AccessRequested {
            let request = Request {
                asked: seen.record.time,
                inside: seen.inside,
                object: seen.object(),
                action: seen.record.action.clone().unwrap_or_default(),
                workflows: seen.words("workflows"),
                approvals: 0,
                rejections: 0,
                first_answer: None,
                answered_inside: false,
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
        request.hear(seen);
        // Whatever ended before the period began is the matter of an earlier report.
        if !seen.inside && request.answered.is_some() {
            self.requests.remove(&id);
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, requests } = *self;
        let of = |word: &str| requests.values().filter(|request| request.answer == word).count() as u64;
        let before = requests.values().filter(|request| !request.inside).count();
        let mut waits: Vec<u64> = requests
            .values()
            .filter(|request| request.answered_inside)
            .filter_map(|request| Some(seconds(request.asked, request.first_answer?)))
            .collect();
        waits.sort_unstable();
        let quick = waits.iter().filter(|wait| **wait < 5).count() as u64;
        let mut sheet = book
            .sheet(
                "requests",
                "Requests and approvals",
                "Each request that was made in the period, and each that was still open when it began, with the time until \
                 somebody first answered it. An answer within five seconds may mean that nobody read the request; it is \
                 counted in the period in which it was given, and so is the middle time. What was answered after the \
                 period's end is open here.",
            )
            .figure("requests", requests.len())
            .figure("of them from before the period", before);
        for word in ["granted", "rejected", "withdrawn", "not answered in time", LAPSED, "open"] {
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
        sheet.exception("quick", quick).rows(&columns, rows)
    }
}
