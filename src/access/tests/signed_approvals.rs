//! Approvals that are signed by the approver's own passkey, with an authenticator made of software.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use coset::cbor::value::Value;
use coset::{AsCborValue as _, CoseKeyBuilder, iana};
use sallyport_audit::approval::{ApproverId, NotSigned};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::access::passkey::{Signed, Site, to_text};
use crate::access::registration::{NotRegistered, registered};

const SIGNED: &str = r#"
[workflow.one]
max_minutes = 60
[[workflow.one.step]]
role = "role:admin"
people = 1
signed = "webauthn"

[workflow.both]
max_minutes = 30
ticket = "required"
[[workflow.both.step]]
role = "role:admin"
people = 1
signed = "webauthn"
[[workflow.both.step]]
role = "role:security"
people = 1
"#;

const ME: ApproverId = ApproverId::new([7; 32]);

fn site() -> Site {
    Site { rp_id: "sallyport.test".to_owned(), origin: "https://sallyport.test".to_owned() }
}

/// An authenticator with one key.
pub(super) struct Authenticator {
    pair: EcdsaKeyPair,
    credential: Vec<u8>,
    counter: u32,
    flags: u8,
    site: Site,
}

impl Authenticator {
    pub(super) fn new(credential: u8) -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            credential: vec![credential; 16],
            counter: 0,
            flags: 0x05,
            site: site(),
        }
    }

    fn client_data(&self, ceremony: &str, challenge: &[u8]) -> Vec<u8> {
        let data = serde_json::json!({
            "type": ceremony, "challenge": to_text(challenge), "origin": self.site.origin, "crossOrigin": false,
        });
        data.to_string().into_bytes()
    }

    fn head(&self, more: u8) -> Vec<u8> {
        [&Sha256::digest(&self.site.rp_id)[..], &[self.flags | more], &self.counter.to_be_bytes()].concat()
    }

    fn make(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let point = self.pair.public_key().as_ref();
        let mut key = CoseKeyBuilder::new_ec2_pub_key(
            iana::EllipticCurve::P_256,
            point[1..33].to_vec(),
            point[33..].to_vec(),
        );
        key = key.algorithm(iana::Algorithm::ES256);
        let mut cose = Vec::new();
        coset::cbor::into_writer(&key.build().to_cbor_value().unwrap(), &mut cose).unwrap();
        let length = u16::try_from(self.credential.len()).unwrap().to_be_bytes();
        let data = [&self.head(0x40)[..], &[0; 16], &length, &self.credential, &cose].concat();
        let object = Value::Map(vec![
            (Value::from("fmt"), Value::from("none")),
            (Value::from("attStmt"), Value::Map(Vec::new())),
            (Value::from("authData"), Value::Bytes(data)),
        ]);
        let mut attestation = Vec::new();
        coset::cbor::into_writer(&object, &mut attestation).unwrap();
        (self.client_data("webauthn.create", challenge), attestation)
    }

    pub(super) fn sign(&mut self, passkey: PasskeyId, challenge: &[u8; 32]) -> Signed {
        self.counter += 1;
        let client_data = self.client_data("webauthn.get", challenge);
        let authenticator_data = self.head(0);
        let signed = [&authenticator_data[..], &Sha256::digest(&client_data)[..]].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        Signed {
            passkey,
            client_data: client_data.into(),
            authenticator_data: authenticator_data.into(),
            signature: signature.as_ref().into(),
        }
    }
}

struct Desk {
    world: World,
    vic: Identity,
    anna: Identity,
    key: Authenticator,
    passkey: PasskeyId,
}

impl Desk {
    async fn new() -> Self {
        let world = World::with(TEAM, SIGNED).await;
        let (vic, anna) = (world.login("vic").await, world.login("anna").await);
        let key = Authenticator::new(1);
        let passkey = enroll(&world, &anna, &key).await.unwrap();
        Self { world, vic, anna, key, passkey }
    }

    fn challenge(&self, request: RequestId, limits: &Limits) -> [u8; 32] {
        self.world.access.approval_challenge(&self.anna, request, limits).unwrap()
    }

    async fn approve(&self, request: RequestId, limits: Limits, signed: Signed) -> Result<Approved, Refusal> {
        refusal(self.world.access.approve_signed(&self.anna, request, limits, None, Some(signed)).await)
    }
}

pub(super) async fn enroll(world: &World, who: &Identity, key: &Authenticator) -> Result<PasskeyId, Refusal> {
    let (client_data, attestation) = key.make(&[3; 32]);
    let approver = ApproverId::new([key.credential[0]; 32]);
    let new = registered(&site(), approver, &[3; 32], &client_data, &attestation).unwrap();
    refusal(world.access.enroll_passkey(who, new).await)
}

fn wrong(result: Result<Approved, Refusal>) -> NotSigned {
    match result {
        Err(Refusal::SignatureWrong { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_signed_step_takes_the_approvers_own_signature_over_this_request_and_nothing_else() {
    let mut desk = Desk::new().await;
    let request = desk.world.ask(&desk.vic, "demo", 30).await;
    let unsigned = desk.world.approve(&desk.anna, request).await;
    assert!(matches!(unsigned, Err(Refusal::SignatureNeeded { .. })), "{unsigned:?}");

    let limits = Limits::minutes(Some(10));
    let signed = desk.key.sign(desk.passkey, &desk.challenge(request, &limits));
    // Made for ten minutes: it doesn't do for more.
    assert_eq!(
        wrong(desk.approve(request, Limits::default(), signed.clone()).await),
        NotSigned::OtherChallenge
    );
    let granted = desk.approve(request, limits, signed).await.unwrap();
    let Approved::Granted(grant) = granted else { panic!("{granted:?}") };
    let grant = desk.world.access.find_grant(Caller::Operator, grant).unwrap();
    assert_eq!(grant.ends.duration_since(grant.starts), SignedDuration::from_mins(10));
    let view = desk.world.access.find_request(Caller::Operator, request).unwrap();
    assert_eq!(view.request.approvals[0].signed, Some(desk.passkey));
}

#[tokio::test]
async fn a_signature_for_another_request_on_another_page_by_another_key_or_without_the_user_counts_for_nothing()
 {
    let mut desk = Desk::new().await;
    let first = desk.world.ask(&desk.vic, "demo", 30).await;
    let val = desk.world.login("val").await;
    let second = desk.world.ask(&val, "demo", 30).await;
    let none = Limits::default();
    let for_first = desk.key.sign(desk.passkey, &desk.challenge(first, &none));
    assert_eq!(wrong(desk.approve(second, none.clone(), for_first.clone()).await), NotSigned::OtherChallenge);
    let challenge = desk.challenge(second, &none);

    desk.key.site.origin = "https://evil.test".to_owned();
    let elsewhere = desk.key.sign(desk.passkey, &challenge);
    assert_eq!(wrong(desk.approve(second, none.clone(), elsewhere).await), NotSigned::OtherOrigin);
    desk.key.site = Site { rp_id: "evil.test".to_owned(), ..site() };
    let elsewhere = desk.key.sign(desk.passkey, &challenge);
    assert_eq!(wrong(desk.approve(second, none.clone(), elsewhere).await), NotSigned::OtherSite);
    desk.key.site = site();
    desk.key.flags = 0x01;
    let unverified = desk.key.sign(desk.passkey, &challenge);
    assert_eq!(wrong(desk.approve(second, none.clone(), unverified).await), NotSigned::UserNotVerified);
    let other = Authenticator::new(9).sign(desk.passkey, &challenge);
    assert_eq!(wrong(desk.approve(second, none.clone(), other).await), NotSigned::OtherKey);

    // Somebody else's passkey is none of the caller's.
    let alice = desk.world.login("alice").await;
    let mut hers = Authenticator::new(2);
    let her_passkey = enroll(&desk.world, &alice, &hers).await.unwrap();
    let borrowed = hers.sign(her_passkey, &challenge);
    let refused = desk.approve(second, none.clone(), borrowed).await;
    assert_eq!(refused, Err(Refusal::NoSuchPasskey { passkey: her_passkey }));
    // The good one still does: nothing of all that was counted.
    desk.approve(first, none, for_first).await.unwrap();
}

#[tokio::test]
async fn a_copied_key_is_found_by_its_counter_and_a_revoked_one_counts_no_more() {
    let mut desk = Desk::new().await;
    let none = Limits::default();
    let first = desk.world.ask(&desk.vic, "demo", 30).await;
    let signed = desk.key.sign(desk.passkey, &desk.challenge(first, &none));
    desk.approve(first, none.clone(), signed).await.unwrap();
    let val = desk.world.login("val").await;
    let second = desk.world.ask(&val, "demo", 30).await;
    desk.key.counter = 0;
    let copied = desk.key.sign(desk.passkey, &desk.challenge(second, &none));
    assert_eq!(wrong(desk.approve(second, none.clone(), copied).await), NotSigned::CounterBack);
    // So after a restart: the count is in the ledger.
    let again = desk.world.restarted(&desk.world.log).await;
    assert_eq!(again.passkeys(Caller::Operator)[0].counter, 1);

    desk.world.access.revoke_passkey(&desk.anna, desk.passkey, None).await.unwrap();
    desk.key.counter = 5;
    let revoked = desk.key.sign(desk.passkey, &desk.challenge(second, &none));
    let refused = desk.approve(second, none, revoked).await;
    assert_eq!(refused, Err(Refusal::NoSuchPasskey { passkey: desk.passkey }));
}

#[tokio::test]
async fn a_signature_by_a_key_that_was_revoked_before_the_last_approval_doesnt_complete_a_request() {
    let mut desk = Desk::new().await;
    let none = Limits::default();
    let request = desk.world.ask(&desk.vic, "vault", 30).await;
    let signed = desk.key.sign(desk.passkey, &desk.challenge(request, &none));
    assert_eq!(desk.approve(request, none, signed).await.unwrap(), Approved::Counted);
    desk.world.access.revoke_passkey(Caller::Operator, desk.passkey, None).await.unwrap();
    let sue = desk.world.login("sue").await;
    assert_eq!(
        desk.world.approve(&sue, request).await.unwrap(),
        Approved::Counted,
        "the signed step is open again"
    );
    let waits = desk.world.access.find_request(Caller::Operator, request).unwrap().waits_for;
    assert_eq!(waits.len(), 1);
    assert!(waits[0].signed && waits[0].role == role("admin"), "{waits:?}");
}

#[tokio::test]
async fn a_credential_is_enrolled_once_and_only_admins_of_people_revoke_others() {
    let desk = Desk::new().await;
    assert_eq!(enroll(&desk.world, &desk.anna, &desk.key).await, Err(Refusal::PasskeyKnown));
    let by_vic = refusal(desk.world.access.revoke_passkey(&desk.vic, desk.passkey, None).await);
    assert!(matches!(by_vic, Err(Refusal::NotAllowed { .. })), "{by_vic:?}");
    let mallory = desk.world.login_to("mallory", "other").await;
    let across = refusal(desk.world.access.revoke_passkey(&mallory, desk.passkey, None).await);
    assert_eq!(across, Err(Refusal::NoSuchPasskey { passkey: desk.passkey }));
    assert_eq!(desk.world.access.passkeys(&desk.vic), Vec::new());
    assert_eq!(desk.world.access.passkeys(&mallory), Vec::new());
    let alice = desk.world.login("alice").await;
    desk.world.access.revoke_passkey(&alice, desk.passkey, None).await.unwrap();
    assert_eq!(
        enroll(&desk.world, &desk.anna, &desk.key).await,
        Err(Refusal::PasskeyKnown),
        "it doesn't come back"
    );
    // A restart gives exactly the same.
    let again = desk.world.restarted(&desk.world.log).await;
    assert_eq!(again.passkeys(Caller::Operator), desk.world.access.passkeys(Caller::Operator));
}

#[tokio::test]
async fn a_token_that_was_narrowed_to_a_tunnel_takes_no_passkey_from_its_person() {
    let desk = Desk::new().await;
    let narrow = desk.world.login_for("anna", &["tunnel:demo", "connect"]).await;
    let refused = refusal(desk.world.access.revoke_passkey(&narrow, desk.passkey, None).await);
    assert!(matches!(refused, Err(Refusal::NotAllowed { .. })), "{refused:?}");
    desk.world.access.revoke_passkey(&desk.anna, desk.passkey, None).await.unwrap();
}

#[tokio::test]
async fn what_comes_as_a_new_passkey_is_checked_whole() {
    let key = Authenticator::new(1);
    let (client_data, attestation) = key.make(&[3; 32]);
    let check =
        |client_data: &[u8], attestation: &[u8]| registered(&site(), ME, &[3; 32], client_data, attestation);
    assert!(check(&client_data, &attestation).is_ok());
    let (other, _) = key.make(&[4; 32]);
    assert_eq!(check(&other, &attestation), Err(NotRegistered::Answer(NotSigned::OtherChallenge)));
    let assertion = key.client_data("webauthn.get", &[3; 32]);
    assert_eq!(check(&assertion, &attestation), Err(NotRegistered::Answer(NotSigned::OtherCeremony)));
    let mut unverified = Authenticator::new(1);
    unverified.flags = 0x01;
    let (_, bare) = unverified.make(&[3; 32]);
    assert_eq!(check(&client_data, &bare), Err(NotRegistered::Answer(NotSigned::UserNotVerified)));
    for cut in 0..attestation.len() {
        assert!(check(&client_data, &attestation[..cut]).is_err(), "cut at {cut}");
    }
    assert!(check(&client_data, &vec![0x9f; 16_385]).is_err());
    assert!(check(&client_data, &[0x81; 10_000]).is_err(), "nested deeply");
}

#[tokio::test]
async fn a_person_has_a_bounded_number_of_passkeys_and_one_that_was_revoked_is_revoked_once() {
    let world = World::new().await;
    let anna = world.login("anna").await;
    let mut first = None;
    for number in 1..=10 {
        let passkey = enroll(&world, &anna, &Authenticator::new(number)).await.unwrap();
        first.get_or_insert(passkey);
    }
    let one_more = enroll(&world, &anna, &Authenticator::new(11)).await;
    assert_eq!(one_more, Err(Refusal::TooManyPasskeys { most: 10 }));
    let passkey = first.unwrap();
    world.access.revoke_passkey(&anna, passkey, None).await.unwrap();
    let again = refusal(world.access.revoke_passkey(&anna, passkey, None).await);
    assert_eq!(again, Err(Refusal::PasskeyRevoked { passkey }));
    enroll(&world, &anna, &Authenticator::new(11)).await.unwrap();
}
