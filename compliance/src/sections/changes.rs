//! Changes of policy, configuration and program, with who approved them.

use sallyport_audit::Kind;
use sallyport_audit::commitment::Personal;

use super::{Book, Cell, End, Section, Seen, Sheet};

const KINDS: &[Kind] = &[
    Kind::PolicyProposed,
    Kind::PolicyApproved,
    Kind::PolicyLoaded,
    Kind::ConfigLoaded,
    Kind::GatewayStarted,
];

pub(super) struct Changes {
    book: Book,
    /// The policy that waits for a second person, with the record that proposed it.
    proposed: Option<(String, Cell)>,
    /// The one that may be loaded next, with the records that proposed and approved it.
    agreed: Option<(String, [Cell; 2])>,
    policy: Option<String>,
    config: Option<String>,
    program: Option<String>,
    rows: Vec<Vec<Cell>>,
    policies: u64,
    unapproved: u64,
    starts: u64,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            book: Book::since_the_beginning(KINDS),
            proposed: None,
            agreed: None,
            policy: None,
            config: None,
            program: None,
            rows: Vec::new(),
            policies: 0,
            unapproved: 0,
            starts: 0,
        }
    }
}

impl Changes {
    /// Notes the value that is now in force, and says what was before if it is another one.
    fn change(
        &mut self,
        seen: &Seen<'_>,
        what: &'static str,
        now: Option<String>,
        approval: [Cell; 2],
    ) -> bool {
        let place = match what {
            "policy" => &mut self.policy,
            "configuration" => &mut self.config,
            _ => &mut self.program,
        };
        if *place == now {
            return false;
        }
        let before = std::mem::replace(place, now.clone());
        let first = before.is_none();
        if seen.inside {
            let [proposed, approved] = approval;
            self.rows.push(vec![
                seen.record.time.into(),
                what.into(),
                before.into(),
                now.into(),
                proposed,
                approved,
                seen.person(Personal::Subject),
                seen.seq(),
            ]);
        }
        !first
    }
}

impl Section for Changes {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) || !seen.done() {
            return;
        }
        let policy = seen.record.policy.clone();
        let none = || [Cell::Nothing, Cell::Nothing];
        match seen.record.kind {
            Kind::PolicyProposed => self.proposed = policy.map(|policy| (policy, seen.seq())),
            Kind::PolicyApproved => {
                let Some(policy) = policy else { return };
                let proposed = self.proposed.take_if(|(waits, _)| *waits == policy);
                let proposed = proposed.map_or(Cell::Nothing, |(_, record)| record);
                self.agreed = Some((policy, [proposed, seen.seq()]));
            }
            Kind::PolicyLoaded => {
                // Any load spends what was agreed, as in the gateway: an approval is for once, and for next.
                let agreed = self.agreed.take().filter(|(agreed, _)| Some(agreed) == policy.as_ref());
                let waited = self.proposed.take_if(|(waits, _)| Some(&*waits) == policy.as_ref());
                let unapproved = agreed.is_none();
                let approval = match (agreed, waited) {
                    (Some((_, approval)), _) => approval,
                    (None, Some((_, proposed))) => [proposed, Cell::Nothing],
                    (None, None) => none(),
                };
                if self.change(seen, "policy", policy, approval) && seen.inside {
                    self.policies += 1;
                    self.unapproved += u64::from(unapproved);
                }
            }
            Kind::ConfigLoaded => {
                let digest = seen.text("sha256").map(str::to_owned);
                self.change(seen, "configuration", digest, none());
            }
            _ => {
                self.starts += u64::from(seen.inside);
                let version = seen.text("version").unwrap_or_default();
                let binary = seen.text("binary_sha256").unwrap_or_default();
                self.change(seen, "program", Some(format!("{version} {binary}")), none());
            }
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, rows, policies, unapproved, starts, .. } = *self;
        book.sheet(
            "changes",
            "Changes of policy, configuration and program",
            "What was in force before and after each change in the period, by digest. A policy that was proposed and \
             approved by two people names both records; an approval is for the next load, and for no other. A configuration is the operator's and has no approval in the \
             ledger: compare its digest with the organisation's own change record.",
        )
        .figure("changes", rows.len())
        .figure("changes of policy", policies)
        .figure("starts of the gateway", starts)
        .exception("unapproved", unapproved)
        .rows(&["time", "what", "before", "after", "proposed in", "approved in", "by", "record"], rows)
    }
}
