//! The fold takes any sequence of facts, and gives nothing away for one that doesn't fit.

use super::*;
use crate::access::fact::Actor;
use crate::access::object::{Action, Object};
use crate::access::scope::Scope;

fn stamp(seq: u64) -> Stamp {
    let time = Timestamp::from_second(1_800_000_000 + i64::try_from(seq).unwrap()).unwrap();
    Stamp { seq, time, digest: sallyport_audit::Digest::of(&[&seq.to_be_bytes()]) }
}

fn id<T>(make: fn(Timestamp, [u8; 10]) -> T, n: u8) -> T {
    make(stamp(0).time, [n; 10])
}

fn person(name: &str) -> Subject {
    format!("user:{name}").parse().unwrap()
}

fn demo() -> Object {
    Object::tunnel("demo").unwrap()
}

fn token(n: u8) -> Fact {
    Fact::TokenIssued {
        token: id(TokenId::new, n),
        purpose: Purpose::Access,
        subject: person("vic"),
        tenant: "main".parse().unwrap(),
        expires: stamp(1_000_000).time,
        scope: Scope::whole(),
        sign_in: None,
        by: Actor::Operator,
    }
}

#[test]
fn when_records_were_lost_nothing_outlives_it_that_they_may_have_taken_back() {
    for tokens_kept in [false, true] {
        let mut state = State::default();
        let waiting = asked(2, "val");
        let locked = Fact::Locked {
            target: person("pat").into(),
            until: None,
            tenant: "main".parse().unwrap(),
            by: Actor::Operator,
            reason: None,
        };
        let facts = [token(1), requested(), granted(1, "vic"), waiting, locked];
        for (seq, fact) in facts.iter().enumerate() {
            state.apply(stamp(seq as u64), fact);
        }
        assert!(state.grant(id(GrantId::new, 1)).unwrap().is_live(stamp(20).time));
        state.apply(stamp(20), &Fact::LedgerResumed { tokens_kept });

        let at = stamp(20).time;
        assert_eq!(state.grant(id(GrantId::new, 1)).unwrap().status, GrantStatus::Lapsed { at });
        assert_eq!(state.request(id(RequestId::new, 2)).unwrap().status, RequestStatus::Lapsed { at });
        assert_eq!((state.pending().count(), state.overdue(stamp(1_000_000).time).count()), (0, 0));
        assert_eq!(state.live_grants_of(&"main".parse().unwrap(), &person("vic")).count(), 0);
        assert_eq!(state.token(id(TokenId::new, 1)).unwrap().revoked, (!tokens_kept).then_some(at));
        assert_eq!(state.locks().count(), 1, "a lock is never lifted by a loss");
        // What is issued afterwards stands, and a late word about what ended changes nothing.
        state.apply(stamp(21), &token(2));
        assert_eq!(state.token(id(TokenId::new, 2)).unwrap().revoked, None);
        state.apply(stamp(22), &rejected());
        assert_eq!(state.grant(id(GrantId::new, 1)).unwrap().status, GrantStatus::Lapsed { at });
    }
}

fn requested() -> Fact {
    asked(1, "vic")
}

/// Somebody asks for the demo.
fn asked(request: u8, who: &str) -> Fact {
    Fact::Requested {
        request: id(RequestId::new, request),
        subject: person(who),
        tenant: "main".parse().unwrap(),
        object: demo(),
        action: Action::Connect,
        workflows: vec!["one".parse().unwrap()],
        minutes: 5,
        reason: "to see".parse().unwrap(),
        ticket: None,
        answer_by: stamp(1_000_000).time,
        renews: None,
        once: false,
        claimed: Vec::new(),
        source: None,
    }
}

fn approved() -> Fact {
    Fact::Approved {
        request: id(RequestId::new, 1),
        tenant: "main".parse().unwrap(),
        object: demo(),
        requester: person("vic"),
        by: person("anna"),
        roles: Vec::new(),
        minutes: None,
        conditions: Vec::new(),
        once: false,
        reason: None,
        signed: None,
    }
}

fn rejected() -> Fact {
    let Fact::Approved { request, tenant, object, requester, by, reason, .. } = approved() else {
        unreachable!()
    };
    Fact::Rejected { request, tenant, object, requester, by, wanted: 1, reason }
}

fn granted(n: u8, to: &str) -> Fact {
    Fact::GrantIssued {
        grant: id(GrantId::new, n),
        request: id(RequestId::new, 1),
        subject: person(to),
        tenant: "main".parse().unwrap(),
        object: demo(),
        action: Action::Connect,
        workflows: vec!["one".parse().unwrap()],
        approvals: 1,
        starts: stamp(0).time,
        ends: stamp(300).time,
        from_first_use: None,
        once: false,
        conditions: Vec::new(),
        policy: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
    }
}

fn revoked(n: u8) -> Fact {
    Fact::GrantRevoked {
        grant: id(GrantId::new, n),
        request: id(RequestId::new, 1),
        tenant: "main".parse().unwrap(),
        object: demo(),
        subject: person("vic"),
        by: Actor::Operator,
        reason: None,
    }
}

fn fold(facts: &[Fact]) -> State {
    let mut state = State::default();
    for (seq, fact) in (0..).zip(facts) {
        state.apply(stamp(seq), fact);
    }
    state
}

fn live(state: &State, who: &str) -> usize {
    state.live_grants_of(&"main".parse().unwrap(), &person(who)).count()
}

#[test]
fn a_grant_without_its_request_or_for_another_person_gives_nothing() {
    assert_eq!(live(&fold(&[granted(1, "vic")]), "vic"), 0);
    let state = fold(&[requested(), granted(1, "mallory")]);
    assert_eq!((live(&state, "mallory"), live(&state, "vic")), (0, 0));
    assert_eq!(live(&fold(&[requested(), granted(1, "vic")]), "vic"), 1);
}

#[test]
fn a_request_is_granted_once() {
    let state = fold(&[requested(), granted(1, "vic"), granted(2, "vic")]);
    assert_eq!(live(&state, "vic"), 1);
    assert!(state.grant(id(GrantId::new, 2)).is_none());
}

#[test]
fn what_is_settled_stays_as_it_was_settled() {
    let settled = fold(&[requested(), rejected()]);
    assert_eq!(fold(&[requested(), rejected(), approved()]), settled);
    assert_eq!(fold(&[requested(), rejected(), granted(1, "vic")]), settled);
    assert_eq!(fold(&[requested(), rejected(), rejected()]), settled);
    assert_eq!(fold(&[requested(), rejected(), requested()]), settled);
    let once = fold(&[requested(), approved()]);
    assert_eq!(fold(&[requested(), approved(), approved()]), once);
}

#[test]
fn an_ended_grant_stays_ended_and_leaves_no_trace_among_the_live() {
    let state = fold(&[requested(), granted(1, "vic"), revoked(1)]);
    assert_eq!((live(&state, "vic"), state.next_end()), (0, None));
    assert_eq!(fold(&[requested(), granted(1, "vic"), revoked(1), revoked(1)]), state);
    assert_eq!(fold(&[requested(), granted(1, "vic"), revoked(1), granted(1, "vic")]), state);
    assert_eq!(fold(&[revoked(1)]), State::default());
}

#[test]
fn a_token_is_issued_once_and_revoked_for_good() {
    let token = id(TokenId::new, 1);
    let issued = |to: &str| Fact::TokenIssued {
        token,
        purpose: Purpose::Access,
        subject: person(to),
        tenant: "main".parse().unwrap(),
        expires: stamp(300).time,
        scope: Scope::whole(),
        sign_in: None,
        by: Actor::Operator,
    };
    let revoke = Fact::TokenRevoked {
        token,
        tenant: "main".parse().unwrap(),
        outside: false,
        by: Actor::Operator,
        reason: None,
    };
    let state = fold(&[issued("vic"), revoke.clone(), issued("mallory")]);
    let found = state.token(token).unwrap();
    assert_eq!((found.subject.clone(), found.revoked), (person("vic"), Some(stamp(1).time)));
    assert_eq!(fold(&[revoke]), State::default());
}

#[test]
fn whoever_only_decided_in_another_tenant_is_known_there_too() {
    let mut state = State::default();
    for (seq, fact) in [requested(), approved()].iter().enumerate() {
        state.apply(stamp(seq as u64), fact);
    }
    let by = state.requests().next().unwrap().approvals[0].by.clone();
    let known = |tenant: &str, who: &Subject| state.is_known_outside(&tenant.parse().unwrap(), who);
    // One key seals a name in all tenants: erased in one, it would be gone from the decisions of the other.
    assert!(known("other", &by) && !known("main", &by));
    assert!(!known("other", &person("nobody")));
}
