//! Separation of duties: what the gateway refused because the same person may not do both, and what it let pass.

use std::collections::BTreeMap;

use sallyport_audit::{Kind, Outcome};

use super::{Book, End, Section, Seen, Sheet, count};

const KINDS: &[Kind] = &[
    Kind::AccessApproved,
    Kind::AccessRejected,
    Kind::GrantIssued,
    Kind::GlassReviewed,
    Kind::ReviewDecided,
    Kind::PolicyProposed,
    Kind::PolicyApproved,
    Kind::PolicyLoaded,
    Kind::ShareOffered,
    Kind::AccessLocked,
    Kind::AccessUnlocked,
    Kind::PersonalErased,
];

/// What another person approved before the period may be taken into use within it, unless that was done before.
const BEFORE: &[Kind] = &[Kind::PolicyApproved, Kind::PolicyLoaded];

/// Refusals whose reason is that the person would have acted on their own behalf.
const OWN: &[(&str, &str, &str)] = &[
    ("own-request", "ask for access", "approve it"),
    ("glass-reviewed", "break the glass", "review it twice"),
    ("own-item", "have access", "review that access"),
    ("own-proposal", "propose a policy", "approve it"),
    ("own-share", "offer a share", "take it"),
    ("own-lock", "be locked", "lift the lock"),
    ("own-erasure", "be recorded", "have the records erased"),
    ("not-eligible", "not be in the approving group", "approve"),
    ("already-approved", "approve once", "be counted twice"),
];

pub(super) struct Duties {
    book: Book,
    refused: BTreeMap<String, u64>,
    approvals: BTreeMap<String, u64>,
    /// The policy that another person approved, until one is loaded.
    approved: Option<String>,
    grants: u64,
    without: u64,
    loaded: u64,
    unapproved: u64,
}

impl Default for Duties {
    fn default() -> Self {
        Self {
            book: Book::remembering(KINDS, BEFORE),
            refused: BTreeMap::new(),
            approvals: BTreeMap::new(),
            approved: None,
            grants: 0,
            without: 0,
            loaded: 0,
            unapproved: 0,
        }
    }
}

impl Duties {
    fn policy_loaded(&mut self, seen: &Seen<'_>) {
        // Any load spends what was approved, as in the gateway.
        let approved = self.approved.take().is_some_and(|approved| Some(approved) == seen.record.policy);
        // Each start tells of the policy that it found; what was in force already is nothing new.
        if !seen.inside || seen.record.policy.as_deref() == seen.text("previous") {
            return;
        }
        self.loaded += 1;
        // The first policy of a ledger has nothing before it that could have been approved.
        self.unapproved += u64::from(!approved && seen.text("previous").is_some());
    }
}

impl Section for Duties {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        if seen.record.result == Outcome::Denied {
            if !seen.inside {
                return;
            }
            let code = seen.text("refusal").unwrap_or("unnamed");
            count(&mut self.refused, code.to_owned());
            return;
        }
        match seen.record.kind {
            Kind::AccessApproved => {
                count(&mut self.approvals, seen.record.correlation.clone().unwrap_or_default());
            }
            Kind::GrantIssued => {
                self.grants += 1;
                self.without += u64::from(seen.number("approvals") == Some(0));
            }
            Kind::PolicyApproved => self.approved.clone_from(&seen.record.policy),
            Kind::PolicyLoaded => self.policy_loaded(seen),
            _ => {}
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, refused, approvals, grants, without, loaded, unapproved, .. } = *self;
        let rows: Vec<_> = OWN
            .iter()
            .map(|(code, one, other)| {
                let times = refused.get(*code).copied().unwrap_or(0);
                vec![
                    (*one).into(),
                    (*other).into(),
                    "refused by the gateway".into(),
                    times.into(),
                    (*code).into(),
                ]
            })
            .collect();
        let conflicts: u64 =
            refused.iter().filter(|(code, _)| code.starts_with("own-")).map(|(_, count)| count).sum();
        book.sheet(
            "duties",
            "Separation of duties",
            "Pairs of acts that one person may not do both, and how often somebody tried: the gateway compares the \
             people when it decides, and refuses. A policy that a start found in force already is not counted as taken into use. \
             Which person did how much of what is not shown: people are commitments \
             in the ledger, each with a salt of its own, so two records of one person cannot be told to be theirs \
             without disclosure.",
        )
        .figure("requests approved by somebody", approvals.len())
        .figure("grants issued", grants)
        .figure("attempts to act on one's own behalf, refused", conflicts)
        .figure("policies taken into use", loaded)
        .exception("without", without)
        .exception("unapproved", unapproved)
        .rows(&["who may", "may not also", "kept apart by", "attempts", "refusal"], rows)
    }
}
