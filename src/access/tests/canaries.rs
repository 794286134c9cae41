//! Canary controls: what must be refused is refused, and a control that cannot be tried does not look as if it held.

use super::*;
use crate::access::canary::{Control, rehearse, revoke_token};
use crate::access::fact::{Actor, Fact};
use crate::access::record::draft_of;

#[tokio::test]
async fn a_rehearsal_shows_self_approval_and_an_expired_grant_refused_and_leaves_nothing_behind() {
    let world = World::new().await;
    let before = world.log.facts().len();
    let played = rehearse(&world.access, world.clock.now()).await;
    assert_eq!(
        played,
        [
            (Control::SelfApproval, Ok("own-request".to_owned())),
            (Control::ExpiredGrant, Ok("grant-expired".to_owned())),
        ]
    );
    assert_eq!(world.log.facts().len(), before, "the gateway's own state and ledger are not touched");
}

#[tokio::test]
async fn a_token_that_was_revoked_is_refused_at_the_running_gateway() {
    let world = World::new().await;
    let answer = revoke_token(&world.access, main_tenant(), || world.clock.now()).await;
    assert_eq!(answer, Ok("revoked".to_owned()));
}

#[tokio::test]
async fn a_canarys_token_says_in_its_record_what_it_is_and_nobody_elses_does() {
    let world = World::new().await;
    revoke_token(&world.access, main_tenant(), || world.clock.now()).await.unwrap();
    let facts = world.log.facts();
    let mut issued = facts.iter().rfind(|fact| matches!(fact, Fact::TokenIssued { .. })).cloned();
    let marked = |fact: &Option<Fact>| draft_of(fact.as_ref().unwrap()).details.get("canary").cloned();
    assert_eq!(marked(&issued), Some(true.into()));
    // Not by its name alone: a person could give it to somebody.
    if let Some(Fact::TokenIssued { by, .. }) = &mut issued {
        *by = Actor::Person("user:admin".parse().unwrap());
    }
    assert_eq!(marked(&issued), None);
    if let Some(Fact::TokenIssued { by, subject, .. }) = &mut issued {
        (*by, *subject) = (Actor::Operator, "user:alice".parse().unwrap());
    }
    assert_eq!(marked(&issued), None);
}

#[tokio::test]
async fn a_gateway_that_refuses_everything_does_not_look_as_if_its_controls_held() {
    let world = World::new().await;
    let later = world.clock.now().checked_add(SignedDuration::from_hours(24)).unwrap();
    // Nobody's token is good any more when it is shown.
    let answer = revoke_token(&world.access, main_tenant(), || later).await;
    assert!(answer.unwrap_err().contains("so a refusal proves nothing"));
    world.log.set_broken(true);
    assert!(revoke_token(&world.access, main_tenant(), || world.clock.now()).await.is_err());
    world.log.set_broken(false);
    world.access.close().await;
    assert!(revoke_token(&world.access, main_tenant(), || world.clock.now()).await.is_err());
}
