//! Who has leave at the end of the period: the list that an access review begins with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;
use sallyport_audit::commitment::Personal;

use super::{Book, Cell, End, Section, Seen, Sheet, count};

const KINDS: &[Kind] = &[
    Kind::TokenIssued,
    Kind::TokenRevoked,
    Kind::DeviceEnrolled,
    Kind::DeviceRevoked,
    Kind::PasskeyEnrolled,
    Kind::PasskeyRevoked,
    Kind::GrantIssued,
    Kind::GrantBegun,
    Kind::GrantRevoked,
    Kind::GrantExpired,
    Kind::GlassBroken,
    Kind::ShareOffered,
    Kind::ShareAccepted,
    Kind::ShareEnded,
    Kind::KeyRotated,
    Kind::LedgerResumed,
];

/// The role of the key that signs tokens, as `key.rotated` names it.
const TOKEN_SIGNING: &str = "token-signing";

struct Held {
    what: &'static str,
    object: String,
    leave: String,
    tenant: String,
    since: Timestamp,
    until: Option<Timestamp>,
    person: Cell,
    record: Cell,
    /// An offer that was not accepted gives no leave.
    in_force: bool,
}

pub(super) struct AccessList {
    book: Book,
    held: BTreeMap<(&'static str, String), Held>,
}

impl Default for AccessList {
    fn default() -> Self {
        Self { book: Book::since_the_beginning(KINDS), held: BTreeMap::new() }
    }
}

impl AccessList {
    fn add(&mut self, seen: &Seen<'_>, what: &'static str, id: Option<&str>, leave: String, until: &str) {
        let Some(id) = id else { return };
        let person = if seen.record.personal.contains_key(&Personal::Target) {
            Personal::Target
        } else {
            Personal::Subject
        };
        let held = Held {
            what,
            object: seen.object(),
            leave,
            tenant: seen.text("tenant").unwrap_or_default().to_owned(),
            since: seen.record.time,
            until: seen.time_in(until),
            person: seen.person(person),
            record: seen.seq(),
            in_force: seen.record.kind != Kind::ShareOffered,
        };
        self.held.insert((what, id.to_owned()), held);
    }

    fn end(&mut self, what: &'static str, id: Option<&str>) {
        if let Some(id) = id {
            self.held.remove(&(what, id.to_owned()));
        }
    }

    /// What one record ends of everybody, without a record for each: the new key of who signs tokens, if the old one's
    /// were ended with it, and a ledger that goes on behind lost records, which may have taken anything back.
    fn end_all(&mut self, seen: &Seen<'_>) {
        let tokens = seen.text("tokens");
        let ended: &[&str] = match seen.record.kind {
            Kind::KeyRotated if seen.text("role") == Some(TOKEN_SIGNING) && tokens == Some("ended") => {
                &["token"]
            }
            Kind::LedgerResumed if tokens == Some("kept") => &["grant", "share"],
            Kind::LedgerResumed => &["grant", "share", "token", "device", "passkey"],
            _ => &[],
        };
        self.held.retain(|(what, _), _| !ended.contains(what));
    }
}

impl Section for AccessList {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) || !seen.done() {
            return;
        }
        let record = seen.record;
        let action = || record.action.clone().unwrap_or_default();
        let grant = record.grant.as_deref();
        match record.kind {
            Kind::TokenIssued => {
                let leave = format!("credential for {}", seen.text("purpose").unwrap_or("use"));
                self.add(seen, "token", seen.text("token"), leave, "expires");
            }
            Kind::DeviceEnrolled => {
                self.add(
                    seen,
                    "device",
                    seen.text("device"),
                    "credential for a device".to_owned(),
                    "expires",
                );
            }
            // It gives no leave of its own; what it signs is who approved.
            Kind::PasskeyEnrolled => {
                let leave = "signs approvals".to_owned();
                self.add(seen, "passkey", seen.text("passkey"), leave, "expires");
            }
            Kind::GrantIssued => self.add(seen, "grant", grant, action(), "ends"),
            Kind::GlassBroken => {
                self.add(seen, "grant", grant, format!("{} (break-glass)", action()), "ends");
            }
            Kind::GrantBegun => {
                let held = grant.and_then(|grant| self.held.get_mut(&("grant", grant.to_owned())));
                if let Some((held, ends)) = held.zip(seen.time_in("ends")) {
                    held.until = Some(ends);
                }
            }
            Kind::ShareOffered => {
                let leave = format!("role {}", seen.text("role").unwrap_or_default());
                self.add(seen, "share", seen.text("share"), leave, "until");
            }
            Kind::ShareAccepted => {
                let share = seen.text("share").map(|share| ("share", share.to_owned()));
                if let Some(held) = share.and_then(|share| self.held.get_mut(&share)) {
                    held.in_force = true;
                }
            }
            Kind::TokenRevoked => self.end("token", seen.text("token")),
            Kind::DeviceRevoked => self.end("device", seen.text("device")),
            Kind::PasskeyRevoked => self.end("passkey", seen.text("passkey")),
            Kind::GrantRevoked | Kind::GrantExpired => self.end("grant", grant),
            Kind::ShareEnded => self.end("share", seen.text("share")),
            _ => self.end_all(seen),
        }
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, held } = *self;
        let live: Vec<_> = held
            .into_iter()
            .filter(|(_, held)| held.in_force && held.until.is_none_or(|until| until > end.period.to))
            .collect();
        let mut kinds = BTreeMap::new();
        for ((what, _), _) in &live {
            count(&mut kinds, *what);
        }
        let sheet = book.sheet(
            "access",
            "Who has leave at the end of the period",
            "Grants, shares, tokens, devices and passkeys that were given and had neither ended nor been revoked when \
             the period ended; what ended in bulk, with the key that signed all tokens or with records that the ledger lost, \
             is not here either. What policy gives by role stands in the policy, not here. People are commitments: ask for the \
             disclosure of the record.",
        );
        let sheet = ["grant", "share", "token", "device", "passkey"]
            .iter()
            .fold(sheet, |sheet, what| sheet.figure(&format!("{what}s"), kinds.get(what).unwrap_or(&0)));
        // A passkey has no end until somebody revokes it.
        let endless = live.iter().filter(|(_, held)| held.until.is_none() && held.what != "passkey").count();
        let rows = live.into_iter().map(|((_, id), held)| {
            vec![
                held.what.into(),
                id.into(),
                held.object.into(),
                held.leave.into(),
                held.tenant.into(),
                held.since.into(),
                held.until.into(),
                held.person,
                held.record,
            ]
        });
        sheet
            .figure("without an end", endless)
            .rows(&["what", "id", "object", "leave", "tenant", "since", "until", "person", "record"], rows)
    }
}
