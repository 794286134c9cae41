//! Client certificates: good while TLS finds them good, and no longer than this ledger says.

use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn id(fill: u8) -> CertificateId {
    CertificateId::from_sha256([fill; 32])
}

impl World {
    fn certificate(&self, name: &str, fill: u8) -> Certificate {
        let now = self.clock.now();
        Certificate {
            id: id(fill),
            subject: user(name),
            not_before: now.saturating_sub(DAY).unwrap(),
            not_after: now.saturating_add(DAY).unwrap(),
        }
    }

    fn shows(&self, certificate: &Certificate) -> Result<Identity, AuthError> {
        self.access.authenticate_certificate(certificate, &main_tenant(), self.clock.now())
    }
}

#[tokio::test]
async fn a_certificate_speaks_for_the_person_whom_it_names_until_it_is_revoked() {
    let world = World::new().await;
    let (own, other) = (world.certificate("vic", 1), world.certificate("vic", 2));
    let vic = world.shows(&own).unwrap();
    assert_eq!((vic.subject(), vic.proof()), (&user("vic"), Proof::Certificate(id(1))));
    let (stands, falls) = (world.permit(&world.shows(&other).unwrap(), "open"), world.permit(&vic, "open"));

    world.access.revoke_certificate(Caller::Operator, id(1), main_tenant(), None).await.unwrap();
    assert_eq!(falls.died().await.cause, Cause::CertificateRevoked);
    assert!(stands.is_alive(), "another certificate of theirs is not this one");
    assert_eq!(world.shows(&own), Err(AuthError::CertificateRevoked));
    // Nor after a restart.
    let again = world.restarted(&world.log).await;
    let shown = again.authenticate_certificate(&own, &main_tenant(), world.clock.now());
    assert_eq!(shown, Err(AuthError::CertificateRevoked));
    assert_eq!(again.revoked_certificates(Caller::Operator).len(), 1);
}

#[tokio::test]
async fn a_certificate_that_was_never_seen_can_be_revoked_and_only_once() {
    let world = World::new().await;
    world.access.revoke_certificate(Caller::Operator, id(7), main_tenant(), None).await.unwrap();
    assert_eq!(world.shows(&world.certificate("vic", 7)), Err(AuthError::CertificateRevoked));
    let second = world.access.revoke_certificate(Caller::Operator, id(7), main_tenant(), None).await;
    let expected = Refusal::CertificateRevoked { certificate: id(7) };
    assert!(matches!(second, Err(AccessError::Refused(refusal)) if refusal == expected));
}

#[tokio::test]
async fn what_stands_on_a_certificate_ends_with_it() {
    let world = World::new().await;
    let vic = world.shows(&world.certificate("vic", 1)).unwrap();
    let permit = world.permit(&vic, "open");
    world.clock.forward(DAY + SignedDuration::from_secs(1));
    assert_eq!(permit.died().await.cause, Cause::CertificateExpired);
    let over = world.access.standing(vic, world.clock.now());
    assert!(matches!(over, Err(AuthError::CertificateExpired { .. })), "{over:?}");
}

#[tokio::test]
async fn a_certificate_of_a_locked_person_or_of_nobody_opens_nothing() {
    let world = World::new().await;
    assert!(matches!(world.shows(&world.certificate("anonymous", 1)), Err(AuthError::Malformed(_))));
    world.access.lock(Caller::Operator, user("vic").into(), main_tenant(), None, None).await.unwrap();
    let locked = world.shows(&world.certificate("vic", 1));
    assert!(matches!(locked, Err(AuthError::Locked { .. })), "{locked:?}");
}

#[tokio::test]
async fn only_an_admin_revokes_a_certificate_and_everybody_the_one_that_they_show() {
    let world = World::new().await;
    let vic = world.shows(&world.certificate("vic", 1)).unwrap();
    let others = world.access.revoke_certificate(&vic, id(2), main_tenant(), None).await;
    assert!(matches!(others, Err(AccessError::Refused(Refusal::NotAllowed { .. }))), "{others:?}");
    assert!(world.access.revoked_certificates(&vic).is_empty());
    world.access.revoke_certificate(&vic, id(1), main_tenant(), None).await.unwrap();
}

#[test]
fn after_records_were_lost_certificates_from_before_prove_nobody() {
    use super::state::State;
    let stamp = fact::Stamp { seq: 1, time: Timestamp::UNIX_EPOCH, digest: sallyport_audit::Digest::ZERO };
    for (tokens_kept, expected) in [(false, Some(Timestamp::UNIX_EPOCH)), (true, None)] {
        let mut state = State::default();
        state.apply(stamp, &fact::Fact::LedgerResumed { tokens_kept });
        assert_eq!(state.distrusted_until(), expected);
    }
}
