//! Random orders against a small model that knows nothing of records, folds, casbin or matching.
//!
//! After every order: who may use what is the same in both; a permit lives exactly as long as the model says; every
//! grant had its quorum; and a gateway started anew over the same log is in the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// People and their roles, as the rows below say.
const PEOPLE: [(&str, &[&str]); 7] = [
    ("alice", &["admin", "visitor"]),
    ("anna", &["admin"]),
    ("sam", &["admin", "security"]),
    ("sue", &["security"]),
    ("vic", &["visitor"]),
    ("val", &["visitor"]),
    ("dora", &["duty"]),
];
const TUNNELS: [&str; 5] = ["demo", "vault", "open", "lab", "shop"];
const LAB_AT: usize = 3;
const SHOP: usize = 4;
/// Alice has the shop by policy; whoever else is there is by a share.
const ALICE: usize = 0;
/// Longest chain of shares that counts.
const CHAIN: usize = 4;
const MINUTES: i64 = 20;
/// Anna reports to Val, and the lab excludes that.
const REPORTS: (&str, &str) = ("anna", "val");

/// How the lab is approved: by an admin, from 15 minutes on also by the one on duty, within 40 minutes; two refusals end it;
/// used first within 30 minutes. Every visitor may break its glass.
const LAB: &str = r#"
[workflow.lab]
max_minutes = 60
answer_within_minutes = 40
denials = 2
excludes = ["reports"]
break_glass = { roles = ["role:visitor"], max_minutes = 25 }
clock = "first-use"
use_within_minutes = 30
[[workflow.lab.step]]
role = "role:admin"
people = 1
also = ["role:duty"]
after_minutes = 15

[reports.main]
"user:anna" = "user:val"
"#;
/// What every other workflow says of it: nothing, so 7 days.
const ANSWER: i64 = 7 * 24 * 60;

#[derive(Debug, Clone)]
enum Order {
    Ask(usize, usize),
    Approve(usize, usize),
    Reject(usize, usize),
    Withdraw(usize, usize),
    Revoke(usize, usize),
    Lock(usize),
    Unlock(usize),
    RevokeToken(usize),
    LogIn(usize),
    LoadPolicy(usize),
    LoadBadPolicy,
    Wait(i64),
    Connect(usize, usize),
    Enter(usize, usize),
    BreakGlass(usize),
    ReviewGlass(usize, usize),
    Share(usize, usize, bool),
    Accept(usize),
    EndShare(usize, usize),
    Restart,
    CrashBeforeTheGrant,
}

fn order() -> impl Strategy<Value = Order> {
    let (person, tunnel, which) = (0..PEOPLE.len(), 0..TUNNELS.len(), 0usize..4);
    prop_oneof![
        6 => (person.clone(), tunnel.clone()).prop_map(|(p, t)| Order::Ask(p, t)),
        12 => (person.clone(), which.clone()).prop_map(|(p, w)| Order::Approve(p, w)),
        1 => (person.clone(), which.clone()).prop_map(|(p, w)| Order::Reject(p, w)),
        1 => (person.clone(), which.clone()).prop_map(|(p, w)| Order::Withdraw(p, w)),
        3 => (person.clone(), which).prop_map(|(p, w)| Order::Revoke(p, w)),
        2 => person.clone().prop_map(Order::Lock),
        3 => person.clone().prop_map(Order::Unlock),
        1 => person.clone().prop_map(Order::RevokeToken),
        2 => person.clone().prop_map(Order::LogIn),
        3 => (0usize..3).prop_map(Order::LoadPolicy),
        1 => Just(Order::LoadBadPolicy),
        4 => (1i64..15).prop_map(Order::Wait),
        8 => (person.clone(), tunnel.clone()).prop_map(|(p, t)| Order::Connect(p, t)),
        5 => (person.clone(), tunnel).prop_map(|(p, t)| Order::Enter(p, t)),
        3 => person.clone().prop_map(Order::BreakGlass),
        3 => (person.clone(), 0usize..2).prop_map(|(p, w)| Order::ReviewGlass(p, w)),
        6 => (prop_oneof![Just(ALICE), person.clone()], person.clone(), any::<bool>())
            .prop_map(|(by, to, admin)| Order::Share(by, to, admin)),
        5 => person.clone().prop_map(Order::Accept),
        2 => (person.clone(), person).prop_map(|(by, to)| Order::EndShare(by, to)),
        1 => Just(Order::Restart),
        1 => Just(Order::CrashBeforeTheGrant),
    ]
}

fn rows(policy: usize) -> String {
    let mut rows = TEAM.to_owned();
    rows.push_str("p, role:visitor, main, tunnel:lab, connect, allow, lab\n");
    rows.push_str("p, role:duty, main, tunnel:*, approve, allow, -\ng, user:dora, role:duty, main\n");
    for action in ["read", "write", "share", "connect"] {
        for who in ["user:alice", "role:tunnel-admin"] {
            writeln!(rows, "p, {who}, main, tunnel:shop, {action}, allow, -").unwrap();
        }
    }
    rows.push_str("p, role:tunnel-viewer, main, tunnel:shop, read, allow, -\n");
    rows.push_str("p, role:tunnel-viewer, main, tunnel:shop, connect, allow, -\n");
    match policy {
        0 => {}
        // The demo wants what the vault wants.
        1 => {
            let (one, both) = (
                "tunnel:demo, connect, allow, one\np, role:visitor, main",
                "tunnel:demo, connect, allow, both\np, role:visitor, main",
            );
            rows = rows.replace(one, both);
        }
        _ => {
            for (who, tunnel) in [("user:vic", "demo"), ("role:visitor", "open")] {
                writeln!(rows, "p, {who}, main, tunnel:{tunnel}, connect, deny, -").unwrap();
            }
        }
    }
    rows
}

fn workflows() -> String {
    format!("{WORKFLOWS}{LAB}")
}

/// Roles that must each agree; `None`: not allowed at all; empty: allowed at once.
fn demand(policy: usize, person: usize, tunnel: usize) -> Option<&'static [&'static str]> {
    let (name, roles) = PEOPLE[person];
    if tunnel == SHOP {
        return (person == ALICE).then_some(&[]);
    }
    if !roles.contains(&"visitor") {
        return None;
    }
    match (policy, TUNNELS[tunnel]) {
        (2, "open") => None,
        (2, "demo") if name == "vic" => None,
        (_, "open") => Some(&[]),
        (1, "demo") | (_, "vault") => Some(&["admin", "security"]),
        _ => Some(&["admin"]),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Waits,
    /// `unused`: the lab's, whose time hasn't begun; `ends` is until when it must.
    Granted {
        ends: i64,
        had: &'static [&'static str],
        unused: bool,
    },
    Over,
}

#[derive(Debug, Clone)]
struct Asked {
    person: usize,
    tunnel: usize,
    at: i64,
    /// Whether those on duty may decide too: from when it was recorded that nobody had answered.
    escalated: bool,
    approvals: BTreeSet<usize>,
    denials: BTreeSet<usize>,
    /// It was granted by breaking the glass, and whether somebody has reviewed that.
    glass: Option<bool>,
    fate: Fate,
}

/// A role on the shop.
#[derive(Debug, Clone)]
struct Shared {
    by: usize,
    to: usize,
    admin: bool,
    accepted: bool,
    over: bool,
}

impl Asked {
    fn lab(&self) -> bool {
        TUNNELS[self.tunnel] == "lab"
    }

    fn answer_by(&self) -> i64 {
        self.at + if self.lab() { 40 } else { ANSWER }
    }

    /// Whether a role is one that takes this place.
    fn takes(&self, wanted: &str, role: &str) -> bool {
        role == wanted || (self.lab() && self.escalated && role == "duty")
    }

    fn too_near(&self, person: usize) -> bool {
        self.lab() && (PEOPLE[person].0, PEOPLE[self.person].0) == REPORTS
    }
}

#[derive(Default)]
struct Model {
    policy: usize,
    minute: i64,
    locked: BTreeSet<usize>,
    logged_out: BTreeSet<usize>,
    asked: Vec<Asked>,
    shared: Vec<Shared>,
}

impl Model {
    fn shared_with(&self, person: usize) -> Option<usize> {
        self.shared.iter().position(|shared| shared.to == person && !shared.over)
    }

    /// The shares by which somebody may use the shop, or share it; `None` if they may not.
    fn chain(&self, person: usize, share: bool, left: usize) -> Option<BTreeSet<usize>> {
        if person == ALICE {
            return Some(BTreeSet::new());
        }
        let left = left.checked_sub(1)?;
        let own = self.shared_with(person)?;
        let Shared { by, admin, accepted, .. } = self.shared[own];
        if !accepted || (share && !admin) || self.locked.contains(&by) {
            return None;
        }
        let mut chain = self.chain(by, true, left)?;
        chain.insert(own);
        Some(chain)
    }

    fn share(&mut self, by: usize, to: usize, admin: bool) -> bool {
        let may = self.stands(by) && by != to && self.chain(by, true, CHAIN).is_some();
        let fits = may && self.shared_with(to).is_none();
        if fits {
            self.shared.push(Shared { by, to, admin, accepted: false, over: false });
        }
        fits
    }

    fn accept(&mut self, person: usize) -> bool {
        let waits = self.shared_with(person).filter(|i| !self.shared[*i].accepted && self.stands(person));
        waits.is_some_and(|i| {
            self.shared[i].accepted = true;
            true
        })
    }

    fn end_share(&mut self, by: usize, to: usize) -> bool {
        let Some(i) = self.shared_with(to) else { return false };
        let may = by == to || by == self.shared[i].by || self.chain(by, true, CHAIN).is_some();
        self.shared[i].over = may && self.stands(by);
        self.shared[i].over
    }

    /// Whether somebody gets in at the lab without an approval; the request that this settles, if one waits.
    fn break_glass(&self, person: usize) -> (bool, Option<usize>) {
        let own = |asked: &&Asked| asked.person == person && asked.glass == Some(false);
        let may = self.may(person, LAB_AT).0 == "needs approval" && self.asked.iter().find(own).is_none();
        let waits = |asked: &Asked| asked.person == person && asked.lab() && asked.fate == Fate::Waits;
        (may, self.asked.iter().position(waits))
    }

    fn review(&mut self, person: usize, i: usize, right: bool) -> bool {
        let asked = &self.asked[i];
        let roles = PEOPLE[person].1;
        let may = self.stands(person)
            && person != asked.person
            && !asked.too_near(person)
            && (roles.contains(&"admin") || roles.contains(&"duty"))
            && asked.glass == Some(false);
        if may {
            self.asked[i].glass = Some(true);
            if !right {
                self.asked[i].fate = Fate::Over;
            }
        }
        may
    }

    fn stands(&self, person: usize) -> bool {
        !self.locked.contains(&person) && !self.logged_out.contains(&person)
    }

    /// Whether distinct people among these fill every place.
    fn enough(asked: &Asked, wanted: &[&str], people: &[usize]) -> bool {
        let Some((first, rest)) = wanted.split_first() else { return true };
        people.iter().any(|person| {
            let others: Vec<usize> = people.iter().copied().filter(|other| other != person).collect();
            PEOPLE[*person].1.iter().any(|role| asked.takes(first, role))
                && Self::enough(asked, rest, &others)
        })
    }

    fn live(&self, asked: &Asked) -> bool {
        matches!(asked.fate, Fate::Granted { ends, .. } if self.minute < ends)
    }

    /// What `connect` must answer, and the request whose grant it may rest on.
    fn may(&self, person: usize, tunnel: usize) -> (&'static str, BTreeSet<usize>) {
        self.may_if(self.stands(person), person, tunnel)
    }

    fn may_if(&self, stands: bool, person: usize, tunnel: usize) -> (&'static str, BTreeSet<usize>) {
        if tunnel == SHOP {
            let allowed = stands && self.chain(person, false, CHAIN).is_some();
            return (if allowed { "allowed" } else { "denied" }, BTreeSet::new());
        }
        let Some(wanted) = demand(self.policy, person, tunnel).filter(|_| stands) else {
            return ("denied", BTreeSet::new());
        };
        if wanted.is_empty() {
            return ("allowed", BTreeSet::new());
        }
        let usable = (0..self.asked.len()).filter(|i| self.usable(*i, person, tunnel, wanted));
        let usable: BTreeSet<usize> = usable.collect();
        (if usable.is_empty() { "needs approval" } else { "allowed" }, usable)
    }

    fn usable(&self, i: usize, person: usize, tunnel: usize, wanted: &[&str]) -> bool {
        let asked = &self.asked[i];
        // Workflows are compared by what they are, not by how much they ask for.
        asked.person == person
            && asked.tunnel == tunnel
            && self.live(asked)
            && matches!(&asked.fate, Fate::Granted { had, unused: false, .. } if *had == wanted)
    }

    /// Somebody goes in: if they have nothing but a grant that waits for its first use, its time begins.
    fn enter(&mut self, person: usize, tunnel: usize) {
        if self.may(person, tunnel).0 != "needs approval" {
            return;
        }
        let minute = self.minute;
        let waits = |asked: &&mut Asked| {
            asked.person == person
                && asked.tunnel == tunnel
                && matches!(asked.fate, Fate::Granted { ends, unused: true, .. } if minute < ends)
        };
        if let Some(Fate::Granted { ends, unused, .. }) =
            self.asked.iter_mut().find(waits).map(|a| &mut a.fate)
        {
            (*ends, *unused) = (minute + MINUTES, false);
        }
    }

    fn pending(&self, person: usize, tunnel: usize) -> bool {
        self.asked.iter().any(|a| a.person == person && a.tunnel == tunnel && a.fate == Fate::Waits)
    }

    fn can_decide(&self, person: usize, i: usize) -> bool {
        let asked = &self.asked[i];
        let approver = PEOPLE[person].1.iter().any(|role| matches!(*role, "admin" | "security" | "duty"));
        approver
            && self.stands(person)
            && asked.person != person
            && asked.fate == Fate::Waits
            && !asked.denials.contains(&person)
            && match demand(self.policy, asked.person, asked.tunnel).filter(|wanted| !wanted.is_empty()) {
                Some(wanted) => !asked.too_near(person) && self.helps(person, i, wanted),
                // Policy doesn't let it through any more: it can be cleared away.
                None => true,
            }
    }

    fn helps(&self, person: usize, i: usize, wanted: &[&str]) -> bool {
        wanted.iter().any(|place| PEOPLE[person].1.iter().any(|role| self.asked[i].takes(place, role)))
    }

    fn deny(&mut self, person: usize, i: usize) {
        let wanted = demand(self.policy, self.asked[i].person, self.asked[i].tunnel);
        let asked = &mut self.asked[i];
        asked.approvals.remove(&person);
        asked.denials.insert(person);
        let needed = if asked.lab() && wanted.is_some() { 2 } else { 1 };
        if asked.denials.len() >= needed {
            asked.fate = Fate::Over;
        }
    }

    fn approve(&mut self, person: usize, i: usize) {
        let asked = &self.asked[i];
        let wanted = demand(self.policy, asked.person, asked.tunnel);
        let helps = wanted.is_some_and(|wanted| self.helps(person, i, wanted));
        if self.can_decide(person, i) && helps && !self.locked.contains(&asked.person) {
            self.asked[i].approvals.insert(person);
        }
    }

    /// What must be so after every order.
    fn settle(&mut self) {
        for i in 0..self.asked.len() {
            let asked = &mut self.asked[i];
            if asked.fate == Fate::Waits && self.minute >= asked.answer_by() {
                asked.fate = Fate::Over;
            }
            let asked = &self.asked[i];
            if asked.fate != Fate::Waits {
                continue;
            }
            if self.granted(i) {
                continue;
            }
            // Who is on duty is told only of what still waits then; who has approved before doesn't count through it.
            let asked = &mut self.asked[i];
            asked.escalated |= asked.lab() && self.minute >= asked.at + 15;
            let _ = self.granted(i);
        }
    }

    /// Grants what is complete.
    fn granted(&mut self, i: usize) -> bool {
        let asked = &self.asked[i];
        if asked.approvals.is_empty() || self.locked.contains(&asked.person) {
            return false;
        }
        let Some(wanted) = demand(self.policy, asked.person, asked.tunnel).filter(|w| !w.is_empty()) else {
            return false;
        };
        let counts = |p: &usize| !self.locked.contains(p) && !asked.too_near(*p);
        let people: Vec<usize> = asked.approvals.iter().copied().filter(counts).collect();
        if !Self::enough(asked, wanted, &people) {
            return false;
        }
        let unused = asked.lab();
        let ends = self.minute + if unused { 30 } else { MINUTES };
        self.asked[i].fate = Fate::Granted { ends, had: wanted, unused };
        true
    }
}

struct Held {
    permit: Permit,
    /// What it was opened with; the person may have logged in again since.
    token: TokenId,
    person: usize,
    tunnel: usize,
    request: Option<usize>,
    /// The shares that it rests on.
    chain: BTreeSet<usize>,
    dead: bool,
}

struct Run {
    world: World,
    model: Model,
    people: BTreeMap<usize, (Identity, TokenId)>,
    requests: Vec<RequestId>,
    shares: Vec<ShareId>,
    revoked: BTreeSet<TokenId>,
    held: Vec<Held>,
}

impl Run {
    async fn new() -> Self {
        let world = World::with(&rows(0), &workflows()).await;
        let mut run = Self {
            world,
            model: Model::default(),
            people: BTreeMap::new(),
            requests: Vec::new(),
            shares: Vec::new(),
            revoked: BTreeSet::new(),
            held: Vec::new(),
        };
        for person in 0..PEOPLE.len() {
            run.log_in(person).await;
        }
        run
    }

    async fn log_in(&mut self, person: usize) {
        let (id, text) = self.world.token(PEOPLE[person].0, "main", SignedDuration::from_hours(300)).await;
        if let Ok(identity) = self.world.access.authenticate(&text, self.world.clock.now()) {
            self.people.insert(person, (identity, id));
            self.model.logged_out.remove(&person);
        } else {
            assert!(self.model.locked.contains(&person));
        }
    }

    /// Returns once the owner has done what the last order and the time have made due.
    async fn quiet(&self) {
        let unknown = GrantId::new(start(), [0; 10]);
        for _ in 0..2 {
            let _ = self.world.access.revoke(Caller::Operator, unknown, None).await;
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table: one arm for each order")]
    async fn obey(&mut self, order: &Order) {
        let access = self.world.access.clone();
        let who = |person: usize| self.people[&person].0.clone();
        match *order {
            Order::Ask(person, tunnel) => {
                let minutes = u32::try_from(MINUTES).unwrap();
                let answer = access.request(&who(person), ask(TUNNELS[tunnel], minutes)).await;
                let expected = self.model.may(person, tunnel).0 == "needs approval"
                    && !self.model.pending(person, tunnel);
                assert_eq!(answer.is_ok(), expected, "{answer:?}");
                if let Ok(id) = answer {
                    self.requests.push(id);
                    self.model.asked.push(Asked {
                        person,
                        tunnel,
                        at: self.model.minute,
                        escalated: false,
                        approvals: BTreeSet::new(),
                        denials: BTreeSet::new(),
                        glass: None,
                        fate: Fate::Waits,
                    });
                }
            }
            Order::Approve(person, which) => {
                if let Some(i) = self.nth_from_last(which) {
                    let _ = access.approve(&who(person), self.requests[i], None, None).await;
                    self.model.approve(person, i);
                }
            }
            Order::Reject(person, which) => {
                if let Some(i) = self.nth_from_last(which) {
                    let answer = access.reject(&who(person), self.requests[i], None).await;
                    assert_eq!(answer.is_ok(), self.model.can_decide(person, i), "{answer:?}");
                    if answer.is_ok() {
                        self.model.deny(person, i);
                    }
                }
            }
            Order::Withdraw(person, which) => {
                if let Some(i) = self.nth_from_last(which) {
                    let answer = access.withdraw(&who(person), self.requests[i], None).await;
                    let asked = &self.model.asked[i];
                    let expected =
                        asked.person == person && asked.fate == Fate::Waits && self.model.stands(person);
                    assert_eq!(answer.is_ok(), expected, "{answer:?}");
                    if expected {
                        self.model.asked[i].fate = Fate::Over;
                    }
                }
            }
            Order::Revoke(person, which) => {
                let grants =
                    access.grants(Caller::Operator, &GrantFilter { live: true, ..GrantFilter::default() });
                if let Some(grant) = grants.get(which) {
                    let i = self.requests.iter().position(|id| *id == grant.request).unwrap();
                    let answer = access.revoke(&who(person), grant.id, None).await;
                    let decides =
                        PEOPLE[person].1.iter().any(|role| matches!(*role, "admin" | "security" | "duty"));
                    let expected =
                        self.model.stands(person) && (decides || self.model.asked[i].person == person);
                    assert_eq!(answer.is_ok(), expected, "{answer:?}");
                    if expected {
                        self.model.asked[i].fate = Fate::Over;
                    }
                }
            }
            Order::Lock(person) => {
                let _ = access
                    .lock(Caller::Operator, user(PEOPLE[person].0).into(), main_tenant(), None, None)
                    .await;
                self.model.locked.insert(person);
            }
            Order::Unlock(person) => {
                let _ =
                    access.unlock(Caller::Operator, user(PEOPLE[person].0).into(), main_tenant(), None).await;
                self.model.locked.remove(&person);
            }
            Order::RevokeToken(person) => {
                let _ = access.revoke_token(Caller::Operator, self.people[&person].1, None).await;
                self.model.logged_out.insert(person);
                self.revoked.insert(self.people[&person].1);
            }
            Order::LogIn(person) => self.log_in(person).await,
            Order::LoadPolicy(policy) => {
                write_policy(self.world.directory.path(), &rows(policy), &workflows());
                access.reload_policy(Caller::Operator).await.unwrap();
                self.model.policy = policy;
            }
            Order::LoadBadPolicy => {
                write_policy(
                    self.world.directory.path(),
                    &rows(0).replace(", allow, one", ", Allow, one"),
                    &workflows(),
                );
                assert!(access.reload_policy(Caller::Operator).await.is_err());
                write_policy(self.world.directory.path(), &rows(self.model.policy), &workflows());
            }
            Order::Wait(minutes) => {
                self.world.clock.forward(SignedDuration::from_mins(minutes));
                self.model.minute += minutes;
            }
            Order::Connect(person, tunnel) => {
                let decision = self.world.connect(&who(person), TUNNELS[tunnel]);
                self.hold(person, tunnel, decision);
            }
            Order::Enter(person, tunnel) => {
                let (what, context) = (object(TUNNELS[tunnel]), self.world.context());
                let decision = access.admit(&who(person), &what, Action::Connect, &context).await;
                self.model.enter(person, tunnel);
                let expected = self.model.may(person, tunnel).0 == "allowed";
                assert_eq!(
                    matches!(decision, Decision::Allowed(_)),
                    expected,
                    "{}",
                    decision.explanation().why
                );
                self.hold(person, tunnel, decision);
            }
            Order::BreakGlass(person) => self.break_glass(person).await,
            Order::ReviewGlass(person, which) => self.review_glass(person, which).await,
            Order::Share(by, to, admin) => {
                let role = if admin { share::ShareRole::Admin } else { share::ShareRole::Viewer };
                let place = (main_tenant(), object("shop"));
                let answer = access.share(&who(by), place, user(PEOPLE[to].0), role, None).await;
                assert_eq!(answer.is_ok(), self.model.share(by, to, admin), "{answer:?}");
                self.shares.extend(answer);
            }
            Order::Accept(person) => {
                if let Some(i) = self.model.shared_with(person) {
                    let answer = access.accept_share(&who(person), self.shares[i]).await;
                    assert_eq!(answer.is_ok(), self.model.accept(person), "{answer:?}");
                }
            }
            Order::EndShare(by, to) => {
                if let Some(i) = self.model.shared_with(to) {
                    let answer = access.end_share(&who(by), self.shares[i], None).await;
                    assert_eq!(answer.is_ok(), self.model.end_share(by, to), "{answer:?}");
                }
            }
            Order::Restart => self.restart(false).await,
            Order::CrashBeforeTheGrant => self.restart(true).await,
        }
    }

    async fn break_glass(&mut self, person: usize) {
        let (who, reason) = (self.people[&person].0.clone(), "nobody is there".parse().unwrap());
        let (expected, waiting) = self.model.break_glass(person);
        let answer = self.world.access.break_glass(&who, object("lab"), 10, reason).await;
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
        let Ok(grant) = answer else { return };
        let request = self.world.access.state().grant(grant).unwrap().request;
        let i = waiting.unwrap_or_else(|| {
            self.requests.push(request);
            self.model.asked.push(Asked {
                person,
                tunnel: LAB_AT,
                at: self.model.minute,
                escalated: false,
                approvals: BTreeSet::new(),
                denials: BTreeSet::new(),
                glass: None,
                fate: Fate::Waits,
            });
            self.requests.len() - 1
        });
        assert_eq!(self.requests[i], request);
        let ends = self.model.minute + 10;
        self.model.asked[i].glass = Some(false);
        self.model.asked[i].fate = Fate::Granted { ends, had: &["admin"], unused: false };
    }

    async fn review_glass(&mut self, person: usize, which: usize) {
        let broken = self.world.access.broken_glass(Caller::Operator, false);
        let Some(broken) = broken.get(which) else { return };
        let i = self.requests.iter().position(|id| *id == broken.grant.request).unwrap();
        let right = person.is_multiple_of(2);
        let verdict = if right { Verdict::Justified } else { Verdict::Unjustified };
        let (who, reason) = (self.people[&person].0.clone(), "asked around".parse().unwrap());
        let answer = self.world.access.review_glass(&who, broken.grant.id, verdict, reason).await;
        assert_eq!(answer.is_ok(), self.model.review(person, i, right), "{answer:?}");
    }

    /// Keeps a permit, to see when it dies.
    fn hold(&mut self, person: usize, tunnel: usize, decision: Decision) {
        if let Decision::Allowed(permit) = decision {
            let request = permit.grant().map(|grant| {
                let of = self.world.access.state().grant(grant).unwrap().request;
                self.requests.iter().position(|id| *id == of).unwrap()
            });
            let token = self.people[&person].1;
            let ids = &permit.explanation().shares;
            let chain: BTreeSet<usize> =
                ids.iter().map(|id| self.shares.iter().position(|known| known == id).unwrap()).collect();
            if tunnel == SHOP {
                assert_eq!(self.model.chain(person, false, CHAIN).as_ref(), Some(&chain));
            }
            self.held.push(Held { permit, token, person, tunnel, request, chain, dead: false });
        }
    }

    async fn restart(&mut self, lose_the_grant: bool) {
        self.world.access.close().await;
        for held in &self.held {
            assert!(!held.permit.is_alive());
        }
        self.held.clear();
        let facts = self.world.log.facts();
        let last_is_grant = matches!(facts.last(), Some(fact::Fact::GrantIssued { .. }));
        if lose_the_grant && last_is_grant {
            self.world.log = self.world.log.cut(facts.len() - 1);
        } else {
            // What the log says is the state, whole.
            let before = self.world.access.state();
            let mut replayed = state::State::default();
            self.world.log.replay(0, &mut |stamp, fact| replayed.apply(stamp, &fact)).unwrap();
            assert_eq!(replayed, before);
        }
        self.world.access = self.world.restarted(&self.world.log.clone()).await;
    }

    fn nth_from_last(&self, which: usize) -> Option<usize> {
        self.requests.len().checked_sub(which + 1)
    }

    fn compare(&mut self) {
        for (person, (name, _)) in PEOPLE.iter().enumerate() {
            for (tunnel, on) in TUNNELS.iter().enumerate() {
                let decision = self.world.connect(&self.people[&person].0, on);
                let found = match &decision {
                    Decision::Allowed(_) => "allowed",
                    Decision::NeedsApproval { .. } => "needs approval",
                    Decision::Denied { .. } => "denied",
                };
                let expected = self.model.may(person, tunnel).0;
                assert_eq!(found, expected, "{name} {on}: {}", decision.explanation().why);
            }
        }
        for held in &mut self.held {
            let stands = !self.model.locked.contains(&held.person) && !self.revoked.contains(&held.token);
            let (answer, usable) = self.model.may_if(stands, held.person, held.tunnel);
            let free = demand(self.model.policy, held.person, held.tunnel).is_some_and(<[_]>::is_empty);
            let rests = held.request.map_or(free, |request| {
                usable.contains(&request) || (free && self.model.live(&self.model.asked[request]))
            });
            let rests = if held.tunnel == SHOP {
                !held.chain.iter().any(|i| self.model.shared[*i].over)
            } else {
                rests
            };
            held.dead |= !(answer == "allowed" && rests);
            assert_eq!(held.permit.is_alive(), !held.dead, "{:?}", held.permit.explanation());
        }
        // No path to a grant without its quorum: the people whom the log shows as approving are enough, by themselves.
        for grant in self.world.access.grants(Caller::Operator, &GrantFilter::default()) {
            let i = self.requests.iter().position(|id| *id == grant.request).unwrap();
            let asked = &self.model.asked[i];
            assert_eq!(grant.glass.as_ref().map(|glass| glass.review.is_some()), asked.glass);
            if grant.glass.is_some() {
                continue;
            }
            let people: Vec<usize> = asked.approvals.iter().copied().collect();
            let wanted: Vec<&str> = if grant.workflows.iter().any(|w| w.as_str() == "both") {
                vec!["admin", "security"]
            } else {
                vec!["admin"]
            };
            assert!(Model::enough(asked, &wanted, &people) && !people.contains(&asked.person));
            assert!(!people.iter().any(|person| asked.too_near(*person)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn random_orders_give_what_the_model_gives(orders in proptest::collection::vec(order(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for order in &orders {
                run.obey(order).await;
                run.quiet().await;
                run.model.settle();
                run.compare();
            }
            run.world.access.close().await;
        });
    }
}
