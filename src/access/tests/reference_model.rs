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
const TUNNELS: [&str; 4] = ["demo", "vault", "open", "lab"];
const MINUTES: i64 = 20;
/// Anna reports to Val, and the lab excludes that.
const REPORTS: (&str, &str) = ("anna", "val");

/// How the lab is approved: by an admin, from 15 minutes on also by the one on duty, within 40 minutes; two refusals end it;
/// used first within 30 minutes.
const LAB: &str = r#"
[workflow.lab]
max_minutes = 60
answer_within_minutes = 40
denials = 2
excludes = ["reports"]
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
        5 => (person, tunnel).prop_map(|(p, t)| Order::Enter(p, t)),
        1 => Just(Order::Restart),
        1 => Just(Order::CrashBeforeTheGrant),
    ]
}

fn rows(policy: usize) -> String {
    let mut rows = TEAM.to_owned();
    rows.push_str("p, role:visitor, main, tunnel:lab, connect, allow, lab\n");
    rows.push_str("p, role:duty, main, tunnel:*, approve, allow, -\ng, user:dora, role:duty, main\n");
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
    fate: Fate,
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
}

impl Model {
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
    dead: bool,
}

struct Run {
    world: World,
    model: Model,
    people: BTreeMap<usize, (Identity, TokenId)>,
    requests: Vec<RequestId>,
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
            Order::Restart => self.restart(false).await,
            Order::CrashBeforeTheGrant => self.restart(true).await,
        }
    }

    /// Keeps a permit, to see when it dies.
    fn hold(&mut self, person: usize, tunnel: usize, decision: Decision) {
        if let Decision::Allowed(permit) = decision {
            let request = permit.grant().map(|grant| {
                let of = self.world.access.state().grant(grant).unwrap().request;
                self.requests.iter().position(|id| *id == of).unwrap()
            });
            let token = self.people[&person].1;
            self.held.push(Held { permit, token, person, tunnel, request, dead: false });
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
            self.world.log.replay(&mut |stamp, fact| replayed.apply(stamp, &fact)).unwrap();
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
            held.dead |= !(answer == "allowed" && rests);
            assert_eq!(held.permit.is_alive(), !held.dead, "{:?}", held.permit.explanation());
        }
        // No path to a grant without its quorum: the people whom the log shows as approving are enough, by themselves.
        for grant in self.world.access.grants(Caller::Operator, &GrantFilter::default()) {
            let i = self.requests.iter().position(|id| *id == grant.request).unwrap();
            let asked = &self.model.asked[i];
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
