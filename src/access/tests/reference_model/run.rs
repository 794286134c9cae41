//! The real thing, held against the model after every order.

use std::collections::{BTreeMap, BTreeSet};

use super::super::signed_approvals::{Authenticator, enroll};
use super::model::{Agreed, Asked, Fate, Model, Thing};
use super::{CHAIN, HOUR, How, LAB_AT, MINUTES, Order, PEOPLE, SHOP, TUNNELS, rows, workflows};
use crate::access::tests::*;

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

pub(super) struct Run {
    pub(super) world: World,
    pub(super) model: Model,
    people: BTreeMap<usize, (Identity, TokenId)>,
    requests: Vec<RequestId>,
    shares: Vec<ShareId>,
    reviews: Vec<ReviewId>,
    /// Everybody's authenticator, and what their passkey is called.
    keys: BTreeMap<usize, (Authenticator, PasskeyId)>,
    /// So many were made.
    made: u8,
    revoked: BTreeSet<TokenId>,
    held: Vec<Held>,
}

impl Run {
    pub(super) async fn new() -> Self {
        let world = World::with_conditions(&rows(0), &workflows(), HOUR).await;
        let mut run = Self {
            world,
            model: Model::default(),
            people: BTreeMap::new(),
            requests: Vec::new(),
            shares: Vec::new(),
            reviews: Vec::new(),
            keys: BTreeMap::new(),
            made: 0,
            revoked: BTreeSet::new(),
            held: Vec::new(),
        };
        for person in 0..PEOPLE.len() {
            run.log_in(person).await;
            run.new_passkey(person).await;
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
    pub(super) async fn quiet(&self) {
        let unknown = GrantId::new(start(), [0; 10]);
        for _ in 0..2 {
            let _ = self.world.access.revoke(Caller::Operator, unknown, None).await;
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table: one arm for each order")]
    pub(super) async fn obey(&mut self, order: &Order) {
        let access = self.world.access.clone();
        let who = |person: usize| self.people[&person].0.clone();
        match *order {
            Order::Ask(person, tunnel, once) => {
                let minutes = u32::try_from(MINUTES).unwrap();
                let asked = Ask { once, ..ask(TUNNELS[tunnel], minutes) };
                let answer = access.request(&who(person), asked).await;
                let expected = self.model.may(person, tunnel).0 == "needs approval"
                    && !self.model.pending(person, tunnel);
                assert_eq!(answer.is_ok(), expected, "{answer:?}");
                if let Ok(id) = answer {
                    self.requests.push(id);
                    let asked = Asked::new(person, tunnel, self.model.minute, once);
                    self.model.asked.push(asked);
                }
            }
            Order::Approve(person, which, how) => self.approve(person, which, how).await,
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
                let waiting = self.model.waiting(person, tunnel);
                let expected = self.model.may(person, tunnel).0 == "allowed" || !waiting.is_empty();
                let decision = access.admit(&who(person), &what, Action::Connect, &context).await;
                assert_eq!(
                    matches!(decision, Decision::Allowed(_)),
                    expected,
                    "{}",
                    decision.explanation().why
                );
                if let (Decision::Allowed(permit), false) = (&decision, waiting.is_empty()) {
                    let i = self.request_of(permit).unwrap();
                    assert!(waiting.contains(&i), "another grant waited longer");
                    self.model.begin(i);
                }
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
            Order::NewPasskey(person) => self.new_passkey(person).await,
            Order::LosePasskey(person) => self.lose_passkey(person).await,
            Order::StartReview(minutes) => self.start_review(minutes).await,
            Order::DecideItem(person, which, keep) => self.decide_item(person, which, keep).await,
            Order::Restart => self.restart(false).await,
            Order::CrashBeforeTheGrant => self.restart(true).await,
        }
    }

    async fn approve(&mut self, person: usize, which: usize, how: How) {
        let Some(i) = self.nth_from_last(which) else { return };
        let (access, request) = (self.world.access.clone(), self.requests[i]);
        let who = self.people[&person].0.clone();
        let within = how.within.map(|first| if first { "hour" } else { "!hour" }.parse().unwrap());
        let limits = Limits { conditions: within.into_iter().collect(), once: how.once, minutes: None };
        let signed = match self.keys.get_mut(&person).filter(|_| how.signed) {
            None => None,
            Some((key, id)) => {
                let challenge = access.approval_challenge(&who, request, &limits);
                challenge.map(|challenge| key.sign(*id, &challenge))
            }
        };
        let has_signed = signed.is_some();
        let answer = access.approve_signed(&who, request, limits, None, signed).await;
        let before = self.model.asked[i].approvals.len();
        let key = self.model.keys.get(&person).copied().filter(|_| has_signed);
        self.model.approve(person, i, Agreed { key, once: how.once, within: how.within });
        assert_eq!(answer.is_ok(), self.model.asked[i].approvals.len() > before, "{answer:?}");
    }

    async fn new_passkey(&mut self, person: usize) {
        if self.keys.contains_key(&person) || self.made == u8::MAX {
            return;
        }
        self.made += 1;
        let key = Authenticator::new(self.made);
        let answer = enroll(&self.world, &self.people[&person].0, &key).await;
        assert_eq!(answer.is_ok(), self.model.stands(person), "{answer:?}");
        if let Ok(id) = answer {
            self.keys.insert(person, (key, id));
            self.model.keys.insert(person, usize::from(self.made));
        }
    }

    async fn lose_passkey(&mut self, person: usize) {
        let Some((_, id)) = self.keys.remove(&person) else { return };
        self.world.access.revoke_passkey(Caller::Operator, id, None).await.unwrap();
        self.model.keys.remove(&person);
    }

    async fn start_review(&mut self, minutes: i64) {
        let deadline = self.world.clock.now().checked_add(SignedDuration::from_mins(minutes)).unwrap();
        let access = &self.world.access;
        let answer = access.start_review(Caller::Operator, main_tenant(), role("security"), deadline).await;
        let roles = access.policy().memberships(&main_tenant()).len();
        let expected = self.model.start_review(self.model.minute + minutes, roles);
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
        let Ok(id) = answer else { return };
        let mut found: Vec<Thing> = self.items(id).into_iter().map(|(_, thing)| thing).collect();
        found.sort_unstable();
        let mut wanted: Vec<Thing> =
            self.model.reviews.last().unwrap().items.iter().map(|item| item.1).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "everything that somebody holds");
        self.reviews.push(id);
    }

    /// What is reviewed, by its number.
    fn items(&self, review: ReviewId) -> Vec<(u32, Thing)> {
        let state = self.world.access.state();
        let thing = |holding: &state::Holding| match holding {
            state::Holding::Grant(id) => {
                let of = state.grant(*id).unwrap().request;
                Thing::Grant(self.requests.iter().position(|known| *known == of).unwrap())
            }
            state::Holding::Share(id) => {
                Thing::Share(self.shares.iter().position(|known| known == id).unwrap())
            }
            state::Holding::Role(_) => Thing::Role,
        };
        let items = &state.review(review).unwrap().items;
        items.iter().map(|item| (item.number, thing(&item.holding))).collect()
    }

    async fn decide_item(&mut self, person: usize, which: usize, keep: bool) {
        let Some(id) = self.reviews.last().copied() else { return };
        let Some((number, thing)) = self.items(id).get(which).copied() else { return };
        if thing == Thing::Role {
            return;
        }
        let who = &self.people[&person].0;
        let answer = self.world.access.decide_review(who, id, number, keep, "asked".parse().unwrap()).await;
        let expected = self.model.decide_item(self.reviews.len() - 1, person, thing, keep);
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
    }

    fn request_of(&self, permit: &Permit) -> Option<usize> {
        permit.grant().map(|grant| {
            let of = self.world.access.state().grant(grant).unwrap().request;
            self.requests.iter().position(|id| *id == of).unwrap()
        })
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
            self.model.asked.push(Asked::new(person, LAB_AT, self.model.minute, false));
            self.requests.len() - 1
        });
        assert_eq!(self.requests[i], request);
        let ends = self.model.minute + 10;
        self.model.asked[i].glass = Some(false);
        self.model.asked[i].fate = Fate::Granted { ends, had: &["admin"], unused: false, spent: None };
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
            let request = self.request_of(&permit);
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

    pub(super) fn compare(&mut self) {
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
            let (answer, usable) = self.model.may_if(stands, held.person, held.tunnel, held.request);
            let free = self.model.demand(held.person, held.tunnel).is_some_and(<[_]>::is_empty);
            let rests = held.request.map_or(free, |request| {
                usable.contains(&request) || (free && self.model.live(&self.model.asked[request]))
            });
            let shared = !held.chain.iter().any(|i| self.model.shared[*i].over);
            held.dead |= !(answer == "allowed" && rests && shared);
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
            let people: Vec<(usize, bool)> =
                asked.approvals.iter().map(|(person, agreed)| (*person, agreed.key.is_some())).collect();
            let wanted: &[&str] = match grant.workflows.first().map(WorkflowName::as_str) {
                Some("both") => &["admin", "security"],
                Some("safe") => &["admin!"],
                _ => &["admin"],
            };
            assert!(Model::enough(asked, wanted, &people) && !asked.approvals.contains_key(&asked.person));
            assert!(!people.iter().any(|(person, _)| asked.too_near(*person)));
            assert_eq!(grant.once, asked.is_once());
            let bound: BTreeSet<String> = grant.conditions.iter().map(ToString::to_string).collect();
            let expected =
                asked.within().into_iter().map(|first| if first { "hour" } else { "!hour" }.to_owned());
            assert_eq!(bound, expected.collect());
        }
    }
}
