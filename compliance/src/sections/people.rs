//! Joiners, movers, leavers: credentials and roles that were given and taken, and how long sessions outlived that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;
use sallyport_audit::commitment::Personal;
use serde_json::Value;

use super::{Book, Cell, End, Section, Seen, Sheet, count, seconds};

const KINDS: &[Kind] = &[
    Kind::TokenIssued,
    Kind::DeviceEnrolled,
    Kind::ShareAccepted,
    Kind::ShareEnded,
    Kind::TokenRevoked,
    Kind::DeviceRevoked,
    Kind::CertificateRevoked,
    Kind::AccessLocked,
    Kind::AccessUnlocked,
    Kind::PersonalErased,
    Kind::SessionOpened,
    Kind::SessionClosed,
];

/// How long a canary's token is good at most, in seconds.
const CANARY_LIFE: u64 = 600;

/// What a token is for tells whether its end is somebody's leaving; and that somebody took a credential back names them,
/// not who had it: only the record that gave it does.
const BEFORE: &[Kind] = &[Kind::TokenIssued, Kind::DeviceEnrolled];

struct Change {
    time: Timestamp,
    what: &'static str,
    kind: &'static str,
    id: String,
    person: Cell,
    record: Cell,
    ended: u64,
    last: Option<Timestamp>,
}

pub(super) struct People {
    book: Book,
    changes: Vec<Change>,
    /// The credential of each session that is open.
    open: BTreeMap<String, String>,
    /// Where the end of each credential stands in `changes`.
    ends: BTreeMap<String, usize>,
    /// Tokens that make nobody a joiner, so that their end makes nobody a leaver; of a sign-in, with which token it was
    /// begun.
    passing: BTreeMap<String, Option<String>>,
    /// Who has each token and device.
    holders: BTreeMap<String, Cell>,
    sign_ins: u64,
    tried: u64,
}

/// A sign-in at a browser, leave to enrol a device (which is listed when it comes), or a canary's own token.
fn is_passing(seen: &Seen<'_>) -> bool {
    is_canary(seen) || seen.text("purpose").is_some_and(|purpose| purpose != "access")
}

/// Marked as one, and good for no longer than it takes to try it: the mark must hide no credential that could be used.
fn is_canary(seen: &Seen<'_>) -> bool {
    let marked = seen.record.details.get("canary").and_then(Value::as_bool) == Some(true);
    marked && seen.time_in("expires").is_some_and(|ends| seconds(seen.record.time, ends) <= CANARY_LIFE)
}

/// The value of a record that names somebody, if it has one.
fn named(seen: &Seen<'_>, field: Personal) -> Cell {
    if seen.record.personal.contains_key(&field) { seen.person(field) } else { Cell::default() }
}

impl People {
    /// Whom a record is about, and not who gave the order; nothing where no record says it.
    fn person(&self, seen: &Seen<'_>) -> Cell {
        let holder = |key| seen.text(key).and_then(|id| self.holders.get(id)).cloned().unwrap_or_default();
        match seen.record.kind {
            Kind::TokenIssued | Kind::ShareEnded => named(seen, Personal::Target),
            Kind::DeviceEnrolled | Kind::ShareAccepted => named(seen, Personal::Subject),
            Kind::TokenRevoked => holder("token"),
            Kind::DeviceRevoked => holder("device"),
            Kind::AccessLocked | Kind::AccessUnlocked => match named(seen, Personal::Target) {
                Cell::Nothing => holder("device"),
                target => target,
            },
            _ => Cell::Nothing,
        }
    }

    /// Notes who has a credential from now on.
    fn remember(&mut self, seen: &Seen<'_>) {
        let given = match seen.record.kind {
            Kind::TokenIssued => seen.text("token"),
            Kind::DeviceEnrolled => seen.text("device"),
            _ => None,
        };
        if let Some(id) = given.filter(|_| seen.done()) {
            let holder = self.person(seen);
            self.holders.insert(id.to_owned(), holder);
        }
    }
}

/// A lock on a tunnel or a tenant, or its end: nobody leaves by it.
fn is_of_no_person(seen: &Seen<'_>) -> bool {
    matches!(seen.record.kind, Kind::AccessLocked | Kind::AccessUnlocked)
        && (seen.record.object.is_some() || seen.text("locked_tenant").is_some())
}

impl Default for People {
    fn default() -> Self {
        Self {
            book: Book::remembering(KINDS, BEFORE),
            changes: Vec::new(),
            open: BTreeMap::new(),
            ends: BTreeMap::new(),
            passing: BTreeMap::new(),
            holders: BTreeMap::new(),
            sign_ins: 0,
            tried: 0,
        }
    }
}

impl Section for People {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        self.remember(seen);
        let session = seen.record.session.clone();
        match seen.record.kind {
            Kind::SessionOpened if seen.done() => {
                if let Some((session, credential)) = session.zip(seen.text("credential")) {
                    let begun_with = self.passing.get(credential).and_then(Option::as_deref);
                    self.open.insert(session, begun_with.unwrap_or(credential).to_owned());
                }
                return;
            }
            Kind::SessionClosed => {
                let credential = session.and_then(|session| self.open.remove(&session));
                let change = credential.and_then(|credential| self.ends.get(&credential));
                if let Some(change) = change.and_then(|at| self.changes.get_mut(*at)) {
                    change.ended += 1;
                    change.last = Some(seen.record.time);
                }
                return;
            }
            _ if !seen.done() => return,
            Kind::TokenIssued if is_passing(seen) => {
                let with = seen.text("with").map(str::to_owned);
                self.passing.extend(seen.text("token").map(|token| (token.to_owned(), with)));
                self.tried += u64::from(seen.inside && is_canary(seen));
                self.sign_ins += u64::from(seen.inside && seen.text("purpose") == Some("session"));
                return;
            }
            _ if !seen.inside || is_of_no_person(seen) => return,
            Kind::TokenRevoked
                if seen.text("token").is_some_and(|token| self.passing.remove(token).is_some()) =>
            {
                return;
            }
            _ => {}
        }
        let (what, id) = match seen.record.kind {
            Kind::TokenIssued => ("joined", seen.text("token")),
            Kind::DeviceEnrolled => ("joined", seen.text("device")),
            Kind::ShareAccepted | Kind::ShareEnded => ("moved", seen.text("share")),
            Kind::AccessUnlocked => ("moved", None),
            Kind::TokenRevoked => ("left", seen.text("token")),
            Kind::DeviceRevoked => ("left", seen.text("device")),
            Kind::CertificateRevoked => ("left", seen.text("certificate")),
            _ => ("left", seen.text("role").or_else(|| seen.text("device")).or_else(|| seen.text("key"))),
        };
        let id = id.unwrap_or_default().to_owned();
        if what == "left" && !id.is_empty() {
            self.ends.insert(id.clone(), self.changes.len());
        }
        let person = self.person(seen);
        self.changes.push(Change {
            time: seen.record.time,
            what,
            kind: seen.record.kind.as_str(),
            id,
            person,
            record: seen.seq(),
            ended: 0,
            last: None,
        });
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, changes, sign_ins, tried, .. } = *self;
        let mut kinds = BTreeMap::new();
        for change in &changes {
            count(&mut kinds, change.what);
        }
        let after = |change: &Change| change.last.map(|last| seconds(change.time, last));
        let slowest = changes.iter().filter_map(after).max();
        let mut sheet = book.sheet(
            "people",
            "Joiners, movers, leavers",
            "Credentials and shares that were given and taken back in the period. For a token, device or certificate \
             that was revoked: how many of the sessions begun with it, or with a sign-in by it, in the period ended afterwards, and when the last \
             of them did. A person who was locked is not joined with their sessions: they are a commitment here; \
             the table of ended sessions shows how fast locks took hold. Sign-ins at a browser, leave to enrol a device, and the \
             tokens that the gateway's own canaries try are nobody's joining or leaving: the first and the last are \
             counted above. A person is the one who has the credential, as the record that gave it names them, and not \
             who took it back; of a certificate, a role, and a credential of another issuer no record does.",
        );
        for what in ["joined", "moved", "left"] {
            sheet = sheet.figure(what, kinds.get(what).unwrap_or(&0));
        }
        sheet = sheet
            .figure("sign-ins at a browser, not listed", sign_ins)
            .figure("tokens of canaries, not listed", tried);
        if let Some(slowest) = slowest {
            sheet = sheet.figure("longest from leaving to the last session's end", format!("{slowest} s"));
        }
        let rows = changes.iter().map(|change| {
            vec![
                change.time.into(),
                change.what.into(),
                change.kind.into(),
                change.id.clone().into(),
                change.person.clone(),
                change.ended.into(),
                after(change).into(),
                change.record.clone(),
            ]
        });
        sheet.rows(
            &[
                "time",
                "what",
                "kind",
                "id",
                "person",
                "sessions ended after",
                "seconds to the last session's end",
                "record",
            ],
            rows.collect::<Vec<_>>(),
        )
    }
}
