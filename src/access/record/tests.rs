use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use sallyport_audit::approval::{ApprovalKey, ApproverId};
use sallyport_audit::retention::is_needed;
use sallyport_audit::{Digest, Draft, KeyId, Kind, Outcome, Personal, Value as Known, Values};

use super::*;
use crate::access::certificate::CertificateId;
use crate::access::device::DeviceId;
use crate::access::device::DeviceKeys;
use crate::access::fact::Renewal;
use crate::access::fact::{Actor, Attempt, Fact, RefusedAttempt, SignIn};
use crate::access::identity::BegunWith;
use crate::access::ids::RequestId;
use crate::access::ids::{GrantId, PasskeyId, ReviewId, ShareId, TokenId};
use crate::access::issuer::Outside;
use crate::access::lock::LockTarget;
use crate::access::names::Tenant;
use crate::access::names::{Role, Subject};
use crate::access::object::{Action, Object};
use crate::access::passkey::{NewPasskey, Signed, Site};
use crate::access::policy::PolicyDigest;
use crate::access::policy::drift::{Drift, Way};
use crate::access::reason::Reason;
use crate::access::reason::Ticket;
use crate::access::scope::Scope;
use crate::access::share::{ShareEnd, ShareRole};
use crate::access::state::Verdict;
use crate::access::token::Purpose;
use crate::access::workflow::WorkflowName;

/// The base point of Ed25519 (RFC 8032 section 5.1): a good public key, and nobody's.
const ED25519_BASE: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

fn parts_of<'a>(draft: &'a Draft, personal: &'a Values) -> Parts<'a> {
    Parts {
        kind: draft.kind,
        result: draft.result,
        action: draft.action.as_deref(),
        object: draft.object.as_deref(),
        grant: draft.grant.as_deref(),
        policy: draft.policy.as_deref(),
        correlation: draft.correlation.as_deref(),
        details: &draft.details,
        personal,
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.@-]{0,12}"
}

prop_compose! {
    fn subject()(name in name()) -> Subject { format!("user:{name}").parse().unwrap() }
}

prop_compose! {
    fn role()(name in name()) -> Role { format!("role:{name}").parse().unwrap() }
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![Just(Actor::Operator), subject().prop_map(Actor::Person)]
}

fn target() -> impl Strategy<Value = LockTarget> {
    prop_oneof![
        subject().prop_map(LockTarget::Person),
        role().prop_map(LockTarget::Role),
        Just(LockTarget::Device(DeviceId::from_bytes([7; 16]))),
        name().prop_map(|_| LockTarget::Tunnel(Object::tunnel("demo").unwrap())),
        name().prop_map(|_| LockTarget::Tenant("main".parse().unwrap())),
    ]
}

fn reason() -> impl Strategy<Value = Option<Reason>> {
    proptest::option::of("[a-zé\"{}<>]{1,20}".prop_map(|text| format!("because {text}").parse().unwrap()))
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000, 0i32..1_000_000_000).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
}

prop_compose! {
    fn ids()(time in time(), random in any::<[u8; 10]>()) -> (RequestId, GrantId, TokenId) {
        (RequestId::new(time, random), GrantId::new(time, random), TokenId::new(time, random))
    }
}

fn shares() -> impl Strategy<Value = (ShareId, ShareRole, ShareEnd, ReviewId, Role)> {
    let role = proptest::sample::select(vec!["owner", "admin", "editor", "viewer"]);
    let cause =
        proptest::sample::select(vec!["unshared", "declined", "expired", "tunnel-deleted", "reviewed"]);
    let id = any::<[u8; 10]>().prop_map(|random| ShareId::new(Timestamp::UNIX_EPOCH, random));
    let review = any::<[u8; 10]>().prop_map(|random| ReviewId::new(Timestamp::UNIX_EPOCH, random));
    (
        id,
        role.prop_map(|role| role.parse().unwrap()),
        cause.prop_map(|cause| cause.parse().unwrap()),
        review,
        self::role(),
    )
}

fn bound_to(minutes: u32) -> Vec<crate::access::policy::conditions::Wanted> {
    ["office", "!holiday"].iter().take(minutes as usize % 3).map(|text| text.parse().unwrap()).collect()
}

fn drift(minutes: u32) -> Option<Drift> {
    match minutes % 3 {
        0 => None,
        1 => Some(Way::Tighter.into()),
        _ => Some(Drift {
            way: Way::Looser,
            people: u64::from(minutes),
            leaves: vec!["connect tunnel:demo: denied -> allowed".to_owned()],
        }),
    }
}

fn digest() -> impl Strategy<Value = PolicyDigest> {
    any::<[u8; 32]>().prop_map(|bytes| format!("sha256:{}", hex::encode(bytes)).parse().unwrap())
}

fn workflows() -> impl Strategy<Value = Vec<WorkflowName>> {
    proptest::collection::vec("[a-z]{1,9}".prop_map(|text| text.parse().unwrap()), 0..3)
}

#[expect(clippy::too_many_lines, reason = "a table: one arm for each fact")]
fn fact() -> impl Strategy<Value = Fact> {
    let who = ((ids(), shares()), subject(), subject(), actor(), target());
    let what = (
        "[a-z]{1,9}".prop_map(|text| text.parse::<Tenant>().unwrap()),
        "[a-z]{1,9}".prop_map(|text| Object::tunnel(&text).unwrap()),
        proptest::sample::select(&Action::ALL),
        workflows(),
        proptest::collection::vec(role(), 0..3),
        digest(),
        proptest::option::of(digest()),
    );
    let how = (
        reason(),
        proptest::option::of("[A-Z0-9-]{1,9}".prop_map(|text| text.parse::<Ticket>().unwrap())),
        1u32..10_000,
        proptest::option::of(1u32..10_000),
        time(),
        time(),
    );
    (0u8..34, who, what, how).prop_map(
        |(
            which,
            (((request, grant, token), (share, role, cause, review, reviewers)), subject, other, by, target),
            (tenant, object, action, workflows, roles, policy, previous),
            (reason, ticket, minutes, fewer, starts, ends),
        )| match which {
            0 => Fact::TokenIssued {
                token,
                purpose: [Purpose::Access, Purpose::Session, Purpose::Join][minutes as usize % 3],
                subject,
                tenant,
                expires: ends,
                sign_in: (minutes % 3 == 1).then(|| SignIn {
                    with: match previous {
                        None => BegunWith::Token(token),
                        Some(_) => BegunWith::Outside(Outside {
                            token,
                            key: fewer.map(|_| "0a".repeat(16).parse().unwrap()),
                        }),
                    },
                    claimed: roles,
                }),
                scope: if previous.is_some() { Scope::only(&object, action) } else { Scope::whole() },
                by,
            },
            1 => Fact::TokenRevoked { token, tenant, outside: previous.is_some(), by, reason },
            15 => Fact::IssuerKeys {
                issuer: "corp".parse().unwrap(),
                keys: vec!["0a".repeat(16).parse().unwrap()],
                withdrawn: previous.map(|_| "0b".repeat(16).parse().unwrap()).into_iter().collect(),
                why: Renewal::Published,
            },
            2 => Fact::Requested {
                request,
                subject,
                tenant,
                object,
                action,
                workflows,
                minutes,
                reason: reason.unwrap_or_else(|| "because".parse().unwrap()),
                ticket,
                answer_by: ends,
                renews: fewer.map(|_| grant),
                once: previous.is_some(),
                claimed: roles,
                source: previous.map(|_| std::net::Ipv6Addr::from(u128::from(minutes)).into()),
            },
            3 => Fact::Approved {
                request,
                tenant,
                object,
                requester: subject,
                by: other,
                roles,
                minutes: fewer,
                conditions: bound_to(minutes),
                once: fewer.is_some(),
                reason,
                signed: previous.map(|_| Signed {
                    passkey: PasskeyId::new(starts, [3; 10]),
                    client_data: b"{}"[..].into(),
                    authenticator_data: [5_u8; 37][..].into(),
                    signature: [6_u8; 70][..].into(),
                }),
            },
            32 => Fact::PasskeyEnrolled {
                passkey: PasskeyId::new(starts, [4; 10]),
                subject,
                tenant,
                new: NewPasskey {
                    approver: ApproverId::new([8; 32]),
                    credential: [7_u8; 16][..].into(),
                    key: ApprovalKey::new("EdDSA", &ED25519_BASE).unwrap(),
                    site: Site {
                        rp_id: "gateway.example".to_owned(),
                        origin: "https://gateway.example".to_owned(),
                    },
                    counter: minutes,
                },
            },
            33 => Fact::PasskeyRevoked { passkey: PasskeyId::new(starts, [4; 10]), tenant, by, reason },
            4 => {
                let requester = subject;
                Fact::Rejected { request, tenant, object, requester, by: other, wanted: minutes, reason }
            }
            5 => Fact::Withdrawn { request, tenant, object, by: subject, reason },
            6 => Fact::GrantIssued {
                grant,
                request,
                subject,
                tenant,
                object,
                action,
                workflows,
                approvals: minutes,
                starts,
                ends,
                from_first_use: fewer,
                once: previous.is_some(),
                conditions: bound_to(minutes),
                policy,
            },
            7 => Fact::GrantRevoked { grant, request, tenant, object, subject, by, reason },
            8 => Fact::GrantExpired { grant, request, tenant, object, subject },
            9 => Fact::Locked { target, tenant, until: previous.map(|_| ends), by, reason },
            10 => Fact::Unlocked { target, tenant, by, reason },
            13 => Fact::DeviceEnrolled {
                device: DeviceId::from_bytes([7; 16]),
                join: token,
                subject,
                tenant,
                keys: DeviceKeys { ed25519: Arc::from([5; 32]), ml_dsa: Arc::from(vec![6; 1_952]) },
                expires: ends,
            },
            14 => Fact::DeviceRevoked { device: DeviceId::from_bytes([7; 16]), tenant, by, reason },
            31 => Fact::CertificateRevoked {
                certificate: CertificateId::from_sha256([8; 32]),
                tenant,
                by,
                reason,
            },
            27 => Fact::ReviewItem { review, tenant, subject, role: reviewers },
            28 => Fact::ReviewStarted {
                review,
                tenant,
                by,
                reviewers,
                deadline: ends,
                items: minutes,
                digest: Digest::of(&[&minutes.to_be_bytes()]),
            },
            29 => Fact::ReviewDecided {
                review,
                tenant,
                item: minutes,
                subject,
                by: other,
                keep: minutes % 2 == 0,
                took: u64::from(minutes),
                reason: reason.unwrap_or_else(|| "because".parse().unwrap()),
            },
            30 => {
                let by = fewer.map(|_| by);
                Fact::ReviewClosed { review, tenant, by, kept: minutes, revoked: 1, unreviewed: minutes }
            }
            26 => {
                let (to, until) = (subject, fewer.map(|_| starts));
                Fact::ShareOffered { share, tenant, object, role, to, by, until, accept_by: ends }
            }
            22 => Fact::ShareAccepted { share, tenant, object, by: subject },
            23 => {
                let by = fewer.map(|_| by);
                Fact::ShareEnded { share, tenant, object, to: subject, cause, by, reason }
            }
            24 => {
                let words = reason.unwrap_or_else(|| "because".parse().unwrap());
                Fact::TunnelDescribed { tenant, object, by: subject, words }
            }
            25 => {
                let reason = reason.unwrap_or_else(|| "because".parse().unwrap());
                Fact::TunnelDeleted { tenant, object, by: subject, reason }
            }
            18 => Fact::GlassTold { request, grant, tenant, object, subject, approver: other },
            19 => Fact::GlassBroken {
                grant,
                request,
                subject,
                tenant,
                object,
                action,
                workflows,
                skipped: minutes,
                starts,
                ends,
                policy,
                reason: reason.unwrap_or_else(|| "because".parse().unwrap()),
            },
            20 => Fact::GlassReviewed {
                grant,
                request,
                tenant,
                object,
                subject,
                by: other,
                verdict: if minutes % 2 == 0 { Verdict::Justified } else { Verdict::Unjustified },
                reason: reason.unwrap_or_else(|| "because".parse().unwrap()),
            },
            21 => Fact::Escalated { request, tenant, object, requester: subject, roles },
            16 => Fact::Expired { request, tenant, object, requester: subject },
            17 => Fact::GrantBegun { grant, request, tenant, object, subject, ends },
            11 => Fact::Erased { key: KeyId::from_bytes([9; 16]), by, reason },
            _ => Fact::PolicyLoaded {
                digest: policy,
                previous,
                rules: u64::from(minutes),
                drift: drift(minutes),
                by,
            },
        },
    )
}

#[test]
fn no_kind_that_tells_a_fact_is_passed_over_at_a_start() {
    let empty = Values::readable(std::collections::BTreeMap::new());
    for kind in Kind::ALL {
        let draft = Draft::new(*kind, Outcome::Success);
        // With nothing in it a record of such a kind can't be read, and any other tells nothing.
        let told = fact_of(&parts_of(&draft, &empty)) != Ok(None);
        // Of the keys that are replaced only the one that signs tokens is told to access, and the record says which it is.
        assert_eq!(tells(*kind), told || *kind == Kind::KeyRotated, "{kind}");
        assert!(!tells(*kind) || is_needed(*kind), "{kind} could be pruned, and with it a revocation");
    }
}

proptest! {
    #[test]
    fn every_fact_is_read_back_from_its_record(fact in fact()) {
        let draft = draft_of(&fact);
        let personal = Values::readable(draft.personal.clone());
        prop_assert!(fact.is_folded());
        prop_assert_eq!(fact_of(&parts_of(&draft, &personal)), Ok(Some(fact)));
    }

    #[test]
    fn no_name_of_a_person_and_no_reason_stands_in_the_plain_part(fact in fact()) {
        let draft = draft_of(&fact);
        let plain = format!("{:?}{:?}{:?}{:?}", draft.details, draft.action, draft.object, draft.correlation);
        prop_assert!(!plain.contains("user:"), "{}", plain);
        if let Some(reason) = draft.personal.get(&Personal::Reason) {
            prop_assert!(!draft.details.values().any(|value| value == reason.as_str()));
        }
    }

    #[test]
    fn a_record_whose_personal_values_cant_be_opened_is_an_error_and_not_passed_over(fact in fact()) {
        let draft = draft_of(&fact);
        let closed = Known::Unreadable { why: "the token is away".to_owned() };
        let personal = draft.personal.keys().map(|field| (*field, closed.clone())).collect();
        let got = fact_of(&parts_of(&draft, &personal));
        prop_assert_eq!(got.is_err(), !draft.personal.is_empty());
    }

    #[test]
    fn a_record_whose_personal_values_were_erased_is_read_and_names_nobody(fact in fact()) {
        let draft = draft_of(&fact);
        let key = KeyId::from_bytes([7; 16]);
        let personal = draft.personal.keys().map(|field| (*field, Known::Erased { key })).collect();
        let got = fact_of(&parts_of(&draft, &personal));
        prop_assert!(matches!(got, Ok(Some(_))), "{:?}", got);
        prop_assert!(!format!("{got:?}").contains("user:"), "{:?}", got);
    }
}

#[test]
fn a_refused_attempt_changes_nothing_when_it_is_read_back() {
    let attempt = RefusedAttempt {
        attempt: Attempt::Approve,
        by: Actor::Person("user:vic".parse().unwrap()),
        tenant: Some("main".parse().unwrap()),
        request: None,
        grant: None,
        object: None,
        code: "own-request".to_owned(),
    };
    let draft = draft_of(&Fact::Refused(attempt));
    assert_eq!((draft.kind, draft.result), (Kind::AccessApproved, Outcome::Denied));
    assert_eq!(fact_of(&parts_of(&draft, &Values::readable(draft.personal.clone()))), Ok(None));
    let refused = Fact::PolicyRefused { places: Vec::new(), count: 1, by: Actor::Operator };
    let draft = draft_of(&refused);
    assert_eq!(fact_of(&parts_of(&draft, &Values::readable(draft.personal.clone()))), Ok(None));
    assert!(!refused.is_folded(), "or the index of access would name a record that a start doesn't find");
}
