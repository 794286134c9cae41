//! Both machines against each other, and against everything that a hostile relay can do between them.

mod devices;
mod resume;

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::kem::{CIPHERTEXT, DecapsulationKey, PUBLIC_KEY};
use super::message::{ClientHello, GatewayHello};
use super::*;
use crate::tunnel::tests::bed::{Organisation, TestIdentity, everything_named, http, name};
use crate::tunnel::{Offer, TunnelKind};

const EXPORTER: Exporter = [7; 32];

/// What both ends know before the first byte.
struct Scene {
    identity: TestIdentity,
    client_exporter: Option<Exporter>,
    gateway_exporter: Option<Exporter>,
    client_suites: Vec<Suite>,
    secret: Secret,
}

impl Scene {
    fn bound() -> Self {
        Self { client_exporter: Some(EXPORTER), gateway_exporter: Some(EXPORTER), ..Self::sealed() }
    }

    fn sealed() -> Self {
        Self {
            identity: Organisation::new().gateway(1),
            client_exporter: None,
            gateway_exporter: None,
            client_suites: Suite::ALL.to_vec(),
            secret: token("secret token"),
        }
    }

    /// A device that wants to be enrolled has nothing else to want.
    fn wishes(&self) -> Wishes {
        let offers = if matches!(self.secret, Secret::Join { .. }) { Vec::new() } else { wishes().offers };
        Wishes { offers, ..wishes() }
    }

    fn client(&self) -> (ClientHandshake, Vec<u8>) {
        let key = DecapsulationKey::generate().unwrap();
        ClientHandshake::start(key, [1; 32], self.client_exporter, &self.client_suites).unwrap()
    }

    fn gateway(&self, hello: &[u8]) -> Result<(AwaitingCredential, Vec<u8>), HandshakeError> {
        let certificate = self.identity.certificate.clone();
        let exporter = self.gateway_exporter.as_ref();
        let awaiting =
            GatewayHandshake::receive_client_hello(hello, Suite::ALL, exporter, [2; 32], certificate)?;
        let signatures = self.identity.sign_now(&awaiting.to_sign());
        Ok(awaiting.signed(&signatures))
    }

    /// The whole handshake, with a relay that may change each message (numbered 1 to 4).
    fn run(
        &self,
        relay: impl Fn(u8, Vec<u8>) -> Vec<u8>,
    ) -> Result<(Credential, Accepted, Session, Session), HandshakeError> {
        let (client, hello) = self.client();
        let (gateway, hello) = self.gateway(&relay(1, hello))?;
        let presented = client.receive_gateway_hello(&relay(2, hello))?;
        let (client, message) = presented.credential(&self.secret, &self.wishes())?;
        let (received, gateway) = gateway.receive_credential(&relay(3, message))?;
        let (gateway_session, message) = gateway.accept(&accepted())?;
        let (received_accepted, client_session) = client.receive_answer(&relay(4, message))?;
        Ok((received, received_accepted, client_session, gateway_session))
    }

    /// The message with this number, as it travels.
    fn message(&self, number: u8) -> Vec<u8> {
        let taken = std::cell::RefCell::new(Vec::new());
        self.run(|n, bytes| {
            if n == number {
                taken.borrow_mut().clone_from(&bytes);
            }
            bytes
        })
        .unwrap_or_else(|error| panic!("{error}"));
        taken.into_inner()
    }
}

fn token(text: &str) -> Secret {
    Secret::Token(SecretString::from(text))
}

fn wishes() -> Wishes {
    Wishes {
        offers: vec![
            http("demo"),
            Offer { name: name("db"), kind: TunnelKind::Tcp { port: Some(7001) }, join: false },
        ],
        client_version: "test/1".to_owned(),
        resume: vec![9, 9],
    }
}

fn accepted() -> Accepted {
    Accepted {
        tunnels: everything_named(&["demo", "db"]),
        limits: SessionLimits {
            heartbeat_interval: std::time::Duration::from_secs(30),
            heartbeat_timeout: std::time::Duration::from_secs(15),
            max_streams: 100,
        },
        resume: b"ticket".to_vec(),
        ticket: Some([6; 16]),
    }
}

fn honest(_: u8, bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn error<T>(result: Result<T, HandshakeError>) -> HandshakeError {
    result.err().expect("it should have been refused")
}

#[test]
fn what_the_client_says_arrives_and_so_does_the_answer() {
    let (received, answer, client, gateway) = Scene::bound().run(honest).unwrap();
    assert!(matches!(received.proof, Proof::Token(text) if text.expose_secret() == "secret token"));
    assert_eq!(received.wishes, wishes());
    assert!(received.signatures.is_none());
    assert_eq!(answer, Accepted { tunnels: answer.tunnels.clone(), ..accepted() });
    assert_eq!(client.id, gateway.id);
    assert_eq!((client.mode, gateway.mode), (Mode::Bound, Mode::Bound));
    assert!(client.frames.is_none() && gateway.frames.is_none());
}

#[test]
fn without_a_shared_tls_connection_frames_are_sealed_end_to_end() {
    let other = Some([8; 32]);
    for (client_exporter, gateway_exporter) in
        [(None, None), (Some(EXPORTER), None), (None, other), (Some(EXPORTER), other)]
    {
        let scene = Scene { client_exporter, gateway_exporter, ..Scene::sealed() };
        let (_, _, client, gateway) = scene.run(honest).unwrap();
        assert_eq!((client.mode, gateway.mode), (Mode::Sealed, Mode::Sealed));
        let (mut sealer, _) = client.frames.unwrap().split().unwrap();
        let (_, mut opener) = gateway.frames.unwrap().split().unwrap();
        let mut frame = bytes::BytesMut::from(&b"through"[..]);
        sealer.seal(&mut frame).unwrap();
        assert_eq!(opener.open(frame.freeze()).unwrap(), b"through".as_slice());
    }
}

#[test]
fn every_handshake_has_its_own_keys() {
    let scene = Scene::sealed();
    let keys = || {
        let (_, _, client, _) = scene.run(honest).unwrap_or_else(|error| panic!("{error}"));
        let frames = client.frames.unwrap();
        assert_ne!(frames.send, frames.receive, "one key per direction");
        (client.id, *frames.send)
    };
    assert_ne!(keys(), keys());
}

/// Flips one bit in each byte of message `number`, one handshake per byte, and expects each to be refused.
fn every_flipped_byte_is_refused(number: u8) {
    for scene in [Scene::bound(), Scene::sealed()] {
        let length = scene.message(number).len();
        for position in 0..length {
            let outcome = scene.run(|n, mut bytes| {
                if n == number {
                    bytes[position] ^= 1 << (position % 8);
                }
                bytes
            });
            assert!(outcome.is_err(), "message {number}, byte {position} of {length} was changed unseen");
        }
    }
}

#[test]
fn a_client_hello_with_any_byte_flipped_is_refused() {
    every_flipped_byte_is_refused(1);
}

#[test]
fn a_gateway_hello_with_any_byte_flipped_is_refused() {
    // One client and one genuine message: signing thousands of times would show nothing more.
    let scene = Scene::bound();
    let (_, client_hello) = scene.client();
    let (_, message) = scene.gateway(&client_hello).unwrap();
    let key = || DecapsulationKey::generate().unwrap();
    for position in 0..message.len() {
        let mut altered = message.clone();
        altered[position] ^= 1 << (position % 8);
        // The key's secret part plays no role before the signatures: they are what must refuse.
        let client = ClientHandshake::with_hello(key(), client_hello.clone(), Some(EXPORTER), Suite::ALL);
        assert!(client.receive_gateway_hello(&altered).is_err(), "byte {position} was changed unseen");
    }
    let client = ClientHandshake::with_hello(key(), client_hello, Some(EXPORTER), Suite::ALL);
    assert!(client.receive_gateway_hello(&message).is_ok(), "unaltered it must pass these checks");
}

#[test]
fn a_credential_with_any_byte_flipped_is_refused() {
    every_flipped_byte_is_refused(3);
}

#[test]
fn an_answer_with_any_byte_flipped_is_refused() {
    every_flipped_byte_is_refused(4);
}

#[test]
fn a_message_cut_short_or_with_a_byte_added_is_refused() {
    let scene = Scene::bound();
    for number in 1..=4 {
        let length = scene.message(number).len();
        for kept in [0, 1, 2, 3, length / 2, length - 1] {
            let cut = scene.run(|n, bytes| if n == number { bytes[..kept].to_vec() } else { bytes });
            assert!(cut.is_err(), "message {number} cut to {kept}");
        }
        let longer = scene.run(|n, bytes| if n == number { [bytes, vec![0]].concat() } else { bytes });
        assert!(longer.is_err(), "message {number} with a byte added");
    }
}

#[test]
fn a_replayed_client_hello_leads_to_other_keys_so_the_replayed_credential_does_not_open() {
    let scene = Scene::bound();
    let (client, client_hello) = scene.client();
    let (_first, gateway_hello) = scene.gateway(&client_hello).unwrap();
    let (_, message) =
        client.receive_gateway_hello(&gateway_hello).unwrap().credential(&token("t"), &wishes()).unwrap();
    let (second, _) = scene.gateway(&client_hello).unwrap();
    assert!(matches!(error(second.receive_credential(&message)), HandshakeError::Unopenable { .. }));
}

#[test]
fn a_gateway_hello_replayed_to_another_client_is_refused() {
    let scene = Scene::bound();
    let (_, hello) = scene.client();
    let (_, recorded) = scene.gateway(&hello).unwrap();
    let (other, _) = scene.client();
    assert!(matches!(error(other.receive_gateway_hello(&recorded)), HandshakeError::WrongSignature(_)));
}

#[test]
fn a_message_reflected_to_its_sender_is_refused() {
    let scene = Scene::bound();
    let (client, hello) = scene.client();
    assert!(matches!(error(client.receive_gateway_hello(&hello)), HandshakeError::Malformed { .. }));

    let (client, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    assert!(gateway.receive_credential(&hello).is_err(), "a gateway does not take its own hello");
    let (client, message) =
        client.receive_gateway_hello(&hello).unwrap().credential(&token("t"), &wishes()).unwrap();
    let mut as_answer = message;
    as_answer[0] = message::ANSWER;
    assert!(matches!(error(client.receive_answer(&as_answer)), HandshakeError::Unopenable { .. }));
}

#[test]
fn a_relay_that_strips_or_forges_the_binding_is_caught_by_the_signatures() {
    let rewrite = |tag: Option<[u8; 32]>| {
        move |number: u8, bytes: Vec<u8>| {
            if number != 1 {
                return bytes;
            }
            let hello = ClientHello::decode(&bytes).unwrap();
            ClientHello { binding: tag, ..hello }.encode().unwrap()
        }
    };
    // A relay that wants frames bare forges the tag of its own connection to the gateway.
    let scene = Scene { gateway_exporter: Some([8; 32]), ..Scene::bound() };
    let forged = scene.run(rewrite(Some(schedule::binding_tag(&[8; 32]))));
    assert!(matches!(error(forged), HandshakeError::WrongSignature(_)));
    let stripped = Scene::bound().run(rewrite(None));
    assert!(matches!(error(stripped), HandshakeError::WrongSignature(_)));
}

#[test]
fn a_relay_that_rewrites_the_mode_is_refused() {
    const MODE: usize = 4;
    let set = |mode: u8| {
        move |number: u8, mut bytes: Vec<u8>| {
            if number == 2 {
                bytes[MODE] = mode;
            }
            bytes
        }
    };
    assert!(matches!(error(Scene::sealed().run(set(1))), HandshakeError::FalseBinding));
    assert!(matches!(error(Scene::bound().run(set(2))), HandshakeError::WrongSignature(_)));
    let with_exporter = Scene { client_exporter: Some(EXPORTER), ..Scene::sealed() };
    assert!(matches!(error(with_exporter.run(set(1))), HandshakeError::WrongSignature(_)));
}

#[test]
fn two_tls_connections_with_different_exporters_never_count_as_one() {
    let scene = Scene { client_exporter: Some([1; 32]), gateway_exporter: Some([2; 32]), ..Scene::sealed() };
    let (_, _, client, _) = scene.run(honest).unwrap();
    assert_eq!(client.mode, Mode::Sealed);
}

#[test]
fn only_unknown_suites_are_refused_with_a_code_that_says_so() {
    let scene = Scene::bound();
    let unknown = scene.run(|number, bytes| {
        if number != 1 {
            return bytes;
        }
        let hello = ClientHello::decode(&bytes).unwrap();
        ClientHello { suites: vec![0x7777, 0], ..hello }.encode().unwrap()
    });
    let error = error(unknown);
    assert!(matches!(&error, HandshakeError::NoCommonSuite { offered } if *offered == [0x7777, 0]));
    let (client, _) = scene.client();
    let told = client.receive_gateway_hello(&GatewayHandshake::refuse_in_clear(&error));
    assert!(matches!(
        told,
        Err(HandshakeError::RefusedInClear(Refusal { code: RefusalCode::UnsupportedSuite, .. }))
    ));
}

#[test]
fn a_suite_that_policy_forbids_is_not_chosen() {
    let scene = Scene::bound();
    let (_, hello) = scene.client();
    let certificate = scene.identity.certificate.clone();
    let refused = GatewayHandshake::receive_client_hello(&hello, &[], None, [0; 32], certificate);
    assert!(matches!(error(refused), HandshakeError::NoCommonSuite { .. }));
}

#[test]
fn removing_a_suite_from_the_clients_list_is_caught_by_the_signatures() {
    // A client that also offers another suite, and a relay that takes it away.
    let scene = Scene::bound();
    let (client, hello) = scene.client();
    let decoded = ClientHello::decode(&hello).unwrap();
    let both = ClientHello { suites: vec![0x0002, 0x0001], ..decoded }.encode().unwrap();
    let client = client.having_sent(both);
    let (_, answer) = scene.gateway(&hello).unwrap();
    assert!(matches!(error(client.receive_gateway_hello(&answer)), HandshakeError::WrongSignature(_)));
}

#[test]
fn of_the_suites_that_both_ends_allow_the_clients_first_is_taken() {
    for suites in [Suite::ALL.to_vec(), Suite::ALL.iter().rev().copied().collect()] {
        let scene = Scene { client_suites: suites.clone(), ..Scene::sealed() };
        let (_, _, client, gateway) = scene.run(honest).unwrap();
        assert_eq!((client.suite, gateway.suite), (suites[0], suites[0]));
        let (mut sealer, _) = client.frames.unwrap().split().unwrap();
        let (_, mut opener) = gateway.frames.unwrap().split().unwrap();
        let mut frame = bytes::BytesMut::from(&b"through"[..]);
        sealer.seal(&mut frame).unwrap();
        assert_eq!(opener.open(frame.freeze()).unwrap(), b"through".as_slice());
    }
}

#[test]
fn a_gateway_that_allows_one_suite_takes_that_one_or_none() {
    let scene = Scene::bound();
    let (_, hello) = scene.client();
    let only = |suite| {
        let certificate = scene.identity.certificate.clone();
        GatewayHandshake::receive_client_hello(&hello, &[suite], None, [0; 32], certificate).unwrap().suite()
    };
    for suite in Suite::ALL {
        assert_eq!(only(*suite), *suite);
    }
}

#[test]
fn a_relay_that_reorders_the_suites_or_changes_the_choice_is_caught_by_the_signatures() {
    let reordered = Scene::sealed().run(|number, bytes| {
        if number != 1 {
            return bytes;
        }
        let mut hello = ClientHello::decode(&bytes).unwrap();
        hello.suites.reverse();
        hello.encode().unwrap()
    });
    assert!(matches!(error(reordered), HandshakeError::WrongSignature(_)));
    let changed = Scene::sealed().run(|number, mut bytes| {
        if number == 2 {
            bytes[2..4].copy_from_slice(&[0, 2]);
        }
        bytes
    });
    assert!(matches!(error(changed), HandshakeError::WrongSignature(_)));
}

#[test]
fn every_suite_is_hybrid_so_a_peer_without_post_quantum_algorithms_is_refused() {
    assert!(Suite::ALL.iter().all(|suite| suite.is_post_quantum()));
}

#[test]
fn a_suite_that_was_not_offered_is_refused() {
    let scene = Scene::bound();
    let chosen = scene.run(|number, mut bytes| {
        if number == 2 {
            bytes[2..4].copy_from_slice(&[0, 7]);
        }
        bytes
    });
    assert!(matches!(error(chosen), HandshakeError::SuiteNotOffered { number: 7 }));
}

#[test]
fn another_version_is_refused_and_named() {
    let other = Scene::bound().run(|number, mut bytes| {
        if number == 1 {
            bytes[1] = 2;
        }
        bytes
    });
    assert!(matches!(error(other), HandshakeError::UnsupportedVersion { theirs: 2 }));
}

#[test]
fn both_signatures_must_be_those_of_the_certificate() {
    let organisation = Organisation::new();
    let (ours, theirs) = (organisation.gateway(1), organisation.gateway(2));
    let scene = Scene { identity: organisation.gateway(1), ..Scene::bound() };
    for (wrong, expected) in [(true, SignatureAlgorithm::Ed25519), (false, SignatureAlgorithm::MlDsa65)] {
        let (client, hello) = scene.client();
        let certificate = scene.identity.certificate.clone();
        let awaiting =
            GatewayHandshake::receive_client_hello(&hello, Suite::ALL, Some(&EXPORTER), [2; 32], certificate)
                .unwrap();
        let (good, bad) = (ours.sign_now(&awaiting.to_sign()), theirs.sign_now(&awaiting.to_sign()));
        let mixed = if wrong {
            IdentitySignatures { ed25519: bad.ed25519, ml_dsa: good.ml_dsa }
        } else {
            IdentitySignatures { ed25519: good.ed25519, ml_dsa: bad.ml_dsa }
        };
        let (_, answer) = awaiting.signed(&mixed);
        let refused = error(client.receive_gateway_hello(&answer));
        assert!(matches!(refused, HandshakeError::WrongSignature(found) if found == expected));
    }
}

#[test]
fn a_relay_with_keys_of_its_own_shows_another_fingerprint_and_no_certificate_of_the_root() {
    // Anybody can run a gateway: the machine accepts it, so the fingerprint and the root are what tells it apart.
    let organisation = Organisation::new();
    let impostor = Scene { identity: Organisation::new().gateway(9), ..Scene::bound() };
    let (client, hello) = impostor.client();
    let (_, answer) = impostor.gateway(&hello).unwrap();
    let presented = client.receive_gateway_hello(&answer).unwrap();
    let shown = presented.certificate();
    assert_ne!(shown.fingerprint(), organisation.gateway(1).certificate.fingerprint());
    assert_eq!(shown.verify(&organisation.root(), 2000), Err(CertificateError::WrongIssuer));
}

#[test]
fn a_certificate_is_good_only_from_its_root_and_in_its_time() {
    let organisation = Organisation::new();
    let certificate = organisation.gateway(1).certificate;
    let (root, from, to) = (organisation.root(), 1000, 4_000_000_000);
    assert_eq!(certificate.verify(&root, from), Ok(()));
    assert_eq!(certificate.verify(&root, to), Ok(()));
    assert!(matches!(certificate.verify(&root, from - 1), Err(CertificateError::NotYetValid { .. })));
    assert!(matches!(certificate.verify(&root, to + 1), Err(CertificateError::Expired { .. })));
    assert_eq!(certificate.verify(&Organisation::new().root(), from), Err(CertificateError::WrongIssuer));
}

#[test]
fn a_certificate_with_any_byte_flipped_is_not_the_roots_any_more() {
    let organisation = Organisation::new();
    let bytes = organisation.gateway(1).certificate.encode().unwrap();
    for position in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[position] ^= 1 << (position % 8);
        let verified = IdentityCertificate::decode(&altered)
            .map(|certificate| certificate.verify(&organisation.root(), 2000));
        assert!(!matches!(verified, Ok(Ok(()))), "byte {position}");
    }
}

#[test]
fn a_certificate_whose_texts_cannot_be_read_back_is_not_made() {
    let good = Organisation::new().gateway(1).certificate;
    for organisation in ["x".repeat(254), "new\nline".to_owned()] {
        let body = CertificateBody { organisation, ..good.body().clone() };
        assert!(matches!(IdentityCertificate::new(body, [0; 64]), Err(CertificateError::Malformed(_))));
    }
}

#[test]
fn a_client_key_of_all_ones_and_a_point_of_low_order_are_refused() {
    let scene = Scene::bound();
    let with_key = |key: [u8; PUBLIC_KEY]| {
        let (_, hello) = scene.client();
        let hello = ClientHello::decode(&hello).unwrap();
        error(scene.gateway(&ClientHello { key: Box::new(key), ..hello }.encode().unwrap()))
    };
    assert!(matches!(with_key([0xff; PUBLIC_KEY]), HandshakeError::KeyExchange(kem::KemError::BadMlKemKey)));
    let mut low_order = *DecapsulationKey::generate().unwrap().public();
    low_order[PUBLIC_KEY - 32..].fill(0);
    assert!(matches!(with_key(low_order), HandshakeError::KeyExchange(kem::KemError::BadX25519Key)));
}

#[test]
fn a_refusal_under_seal_arrives_with_code_reason_and_hint() {
    let scene = Scene::bound();
    let (client, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    let (client, message) =
        client.receive_gateway_hello(&hello).unwrap().credential(&token("t"), &wishes()).unwrap();
    let (_, answering) = gateway.receive_credential(&message).unwrap();
    let refusal = Refusal {
        code: RefusalCode::NameTaken,
        reason: "the name demo is taken".to_owned(),
        hint: "choose another".to_owned(),
    };
    let message = answering.refuse(&refusal).unwrap();
    let HandshakeError::Refused(arrived) = error(client.receive_answer(&message)) else {
        panic!("not a refusal")
    };
    assert_eq!(arrived, refusal);
}

#[test]
fn a_refusal_in_clear_is_told_apart_from_one_under_seal() {
    let (client, _) = Scene::bound().client();
    let forged = Refusal::new(RefusalCode::BadToken, "no").encode_in_clear();
    assert!(matches!(error(client.receive_gateway_hello(&forged)), HandshakeError::RefusedInClear(_)));
}

#[test]
fn a_refusal_too_long_to_travel_is_cut_at_a_character_and_still_arrives() {
    let refusal = Refusal::new(RefusalCode::NotAllowed, "é\n".repeat(400));
    let arrived = Refusal::decode_in_clear(&refusal.encode_in_clear()).unwrap().unwrap();
    assert_eq!(arrived.reason, "é".repeat(256));
}

#[test]
fn a_token_or_a_list_of_offers_above_its_bound_is_not_sent() {
    let long = Proof::Token(SecretString::from("x".repeat(8193)));
    let refused = error(Credential::encode_core(&long, &wishes()));
    assert!(matches!(refused, HandshakeError::Malformed { message: "Credential", .. }));
    let many = Wishes { offers: vec![http("demo"); MAX_OFFERS + 1], ..wishes() };
    assert!(Credential::encode_core(&Proof::Device([1; 16]), &many).is_err());
}

#[test]
fn announced_counts_above_their_bounds_are_refused_before_anything_is_allocated() {
    let (_, mut hello) = Scene::bound().client();
    hello[2..4].copy_from_slice(&u16::MAX.to_be_bytes());
    let refused = error(ClientHello::decode(&hello));
    let HandshakeError::Malformed { source: DecodeError::TooLong { field: "suites", .. }, .. } = refused
    else {
        panic!("{refused}")
    };
}

#[test]
fn the_token_is_in_no_error_and_in_no_message_in_clear() {
    let scene = Scene::bound();
    let message = scene.message(3);
    assert!(!message.windows(6).any(|window| window == b"secret"));
    let error = error(scene.run(|number, mut bytes| {
        if number == 3 {
            bytes[5] ^= 1;
        }
        bytes
    }));
    assert!(!format!("{error:?} {error} {}", error.hint()).contains("secret"));
}

#[test]
fn every_error_has_a_hint() {
    let errors = [
        HandshakeError::FalseBinding,
        HandshakeError::Unopenable { message: "Answer" },
        HandshakeError::UnsupportedVersion { theirs: 9 },
        HandshakeError::Timeout { message: "Answer", seconds: 1 },
        HandshakeError::Certificate(CertificateError::WrongIssuer),
        HandshakeError::Refused(Refusal::new(RefusalCode::Other(999), "")),
    ];
    for error in errors {
        assert!(error.hint().len() > 10, "{error}");
    }
}

proptest! {
    #[test]
    fn whatever_bytes_arrive_the_decoders_answer_with_an_error_or_a_message_of_one_encoding(
        kind in 0_u8..7,
        tail in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let bytes = [vec![kind, VERSION], tail].concat();
        if let Ok(hello) = ClientHello::decode(&bytes) {
            prop_assert_eq!(hello.encode().unwrap(), bytes.clone());
        }
        if let Ok((hello, core, signatures)) = GatewayHello::decode(&bytes) {
            prop_assert_eq!(hello.encode_core().unwrap(), core);
            prop_assert_eq!(GatewayHello::append_signatures(core.to_vec(), &signatures), bytes.clone());
        }
        if let Some(Ok(refusal)) = Refusal::decode_in_clear(&bytes) {
            prop_assert_eq!(refusal.encode_in_clear(), bytes.clone());
        }
        crate::tunnel::fuzzing::credential(&bytes[2..]);
        let _either = message::Answer::decode(&bytes);
        let _either = IdentityCertificate::decode(&bytes);
    }

    #[test]
    fn a_client_hello_reads_back_as_it_was_written(
        suites in prop::collection::vec(any::<u16>(), 0..=16),
        nonce: [u8; 32],
        binding: Option<[u8; 32]>,
        resume: Option<([u8; 16], [u8; 32])>,
        fill: u8,
    ) {
        let hello = ClientHello { suites, key: Box::new([fill; PUBLIC_KEY]), nonce, binding, resume };
        prop_assert_eq!(ClientHello::decode(&hello.encode().unwrap()).unwrap(), hello);
    }

    #[test]
    fn a_mutated_gateway_hello_never_passes(position in 0_usize..CIPHERTEXT, mask in 1_u8..) {
        let scene = Scene::sealed();
        let outcome = scene.run(|number, mut bytes| {
            if number == 2 {
                let at = 5 + position;
                bytes[at] ^= mask;
            }
            bytes
        });
        prop_assert!(outcome.is_err());
    }
}
