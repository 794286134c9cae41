//! A dossier: one file that joins what belongs to one grant, request or session, each piece with its proof.
//!
//! Why: "who let them in, under which policy, what did they do, when did it end" is one question, and its answer lies in
//! a dozen records. A dossier holds them all, and a stranger checks it offline with the ledger's public key.
//!
//! Promised by [`check`]: each record stands in the ledger at its number; all of them are of one request and the one grant
//! that came of it, as their own ids say, or of one session that needed none; the story at the top follows from them. Not
//! promised: that nothing else belongs to it. For that it is [gathered](gather) again from the
//! ledger or a pack, and [compared](Dossier::missing).

mod check;
mod gather;
mod story;
mod ties;

use sallyport_audit::record::Seq;
use sallyport_audit::{Digest, Kind, Record};
use serde::{Deserialize, Serialize};

pub use check::{Fault, Shown, check};
pub use gather::{GatherError, MOST_ITEMS, gather};
pub use story::{SessionStory, Story};

/// The form of a dossier, with its version.
pub const FORMAT: &str = "sallyport-dossier/1";

/// The longest dossier that is read, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;

/// What belongs together, as it stands in a file. Not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dossier {
    /// [`FORMAT`].
    pub format: String,
    /// The grant, request or session that was asked for.
    pub about: String,
    /// In short, for people; it follows from the items.
    pub story: Story,
    /// The signed head under which all items stand.
    pub checkpoint: String,
    /// The records, in the order of their numbers.
    pub items: Vec<Item>,
}

/// One record with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it is in the story.
    pub part: String,
    /// Its number.
    pub seq: Seq,
    /// Its bytes, which are JSON text.
    pub record: String,
    /// The audit path, from its sibling up to the root's child.
    pub path: Vec<Digest>,
}

impl Dossier {
    /// The text of the file.
    pub fn to_json(&self) -> String {
        // Texts and numbers always serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Which records `whole`, gathered from the ledger, has and this does not.
    pub fn missing(&self, whole: &Self) -> Vec<Seq> {
        let own: std::collections::BTreeSet<Seq> = self.items.iter().map(|item| item.seq).collect();
        whole.items.iter().map(|item| item.seq).filter(|seq| !own.contains(seq)).collect()
    }
}

/// What a record is in the story of a grant.
fn part(record: &Record) -> &'static str {
    match record.kind {
        Kind::AccessRequested => "asked",
        Kind::AccessApproved | Kind::AccessRejected => "answered",
        Kind::AccessEscalated => "put before further people",
        Kind::AccessExpired | Kind::AccessWithdrawn => "came to nothing",
        Kind::PolicyProposed | Kind::PolicyApproved | Kind::PolicyLoaded => "policy",
        Kind::GrantIssued => "granted",
        Kind::GrantBegun => "used first",
        Kind::GrantRevoked | Kind::GrantExpired => "ended",
        Kind::GlassBroken => "taken without approval",
        Kind::GlassTold => "approver told",
        Kind::GlassReviewed => "reviewed",
        Kind::SessionOpened => "session opened",
        Kind::SessionClosed => "session closed",
        Kind::SessionRefused => "session refused",
        _ => "other",
    }
}

/// Kinds whose correlation is a request.
fn is_of_request(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AccessRequested
            | Kind::AccessApproved
            | Kind::AccessRejected
            | Kind::AccessEscalated
            | Kind::AccessExpired
            | Kind::AccessWithdrawn
            | Kind::GrantIssued
            | Kind::GrantBegun
            | Kind::GrantRevoked
            | Kind::GrantExpired
            | Kind::GlassTold
            | Kind::GlassBroken
            | Kind::GlassReviewed
    )
}

/// Kinds that tell of one session.
fn is_of_session(kind: Kind) -> bool {
    matches!(kind, Kind::SessionOpened | Kind::SessionClosed | Kind::SessionRefused)
}

/// Kinds that tell how a policy came into use.
fn is_of_policy(kind: Kind) -> bool {
    matches!(kind, Kind::PolicyLoaded | Kind::PolicyProposed | Kind::PolicyApproved)
}
