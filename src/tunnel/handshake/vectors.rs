//! `docs/handshake-vectors.json`: two whole handshakes with every value on the way, for other implementations.
//!
//! Everything follows from fixed inputs but the ML-DSA signatures, which aws-lc-rs makes with fresh randomness; they are
//! kept in the file and verified. `cargo test -- --ignored rewrite_the_vectors` makes the file anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use bytes::BytesMut;
use secrecy::SecretString;

use super::kem::SharedSecret;
use super::kem::tests::{Vector as XWing, expand, vectors as xwing};
use super::message::{ClientHello, GatewayHello};
use super::*;
use crate::tunnel::tests::bed::{http, name};
use crate::tunnel::{Offer, TunnelId, TunnelKind};

type Vector = BTreeMap<String, String>;

const EXPORTER: Exporter = [0x33; 32];
const ED25519_SEED: [u8; 32] = [0x44; 32];
const ML_DSA_SEED: [u8; 32] = [0x55; 32];

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/handshake-vectors.json")
}

fn stored() -> BTreeMap<String, Vector> {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

fn certificate() -> IdentityCertificate {
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&ED25519_SEED).unwrap();
    let ml_dsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &ML_DSA_SEED).unwrap();
    let body = CertificateBody {
        organisation: "Example Ltd".to_owned(),
        gateway: "gate.example".to_owned(),
        ed25519: ed25519.public_key().as_ref().try_into().unwrap(),
        ml_dsa: Box::new(ml_dsa.public_key().as_ref().try_into().unwrap()),
        not_before: 1_700_000_000,
        not_after: 2_000_000_000,
    };
    // The issuer's signature is not what these vectors are about.
    IdentityCertificate::new(body, [0x66; 64]).unwrap()
}

fn sign(to_sign: &ToSign) -> IdentitySignatures {
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&ED25519_SEED).unwrap().sign(&to_sign.ed25519());
    let mut ml_dsa = Box::new([0; ML_DSA_SIGNATURE]);
    let key = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &ML_DSA_SEED).unwrap();
    key.sign(&to_sign.ml_dsa(), ml_dsa.as_mut_slice()).unwrap();
    IdentitySignatures { ed25519: ed25519.as_ref().try_into().unwrap(), ml_dsa }
}

fn wishes() -> Wishes {
    Wishes {
        offers: vec![
            http("demo"),
            Offer { name: name("db"), kind: TunnelKind::Tcp { port: Some(7001) }, join: false },
        ],
        client_version: "vector/1".to_owned(),
        resume: Vec::new(),
    }
}

fn accepted() -> Accepted {
    let tunnel = |id: u8, text: &str, url: &str| AcceptedTunnel {
        id: TunnelId::from_bytes([id; 16]),
        name: name(text),
        url: url.to_owned(),
    };
    Accepted {
        tunnels: vec![
            tunnel(0x77, "demo", "https://demo.gate.example"),
            tunnel(0x88, "db", "tcp://gate.example:7001"),
        ],
        limits: SessionLimits {
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(15),
            max_streams: 1024,
        },
        resume: b"ticket".to_vec(),
        ticket: Some([0x99; 16]),
    }
}

/// The whole handshake from its fixed inputs; `signatures` are those of an earlier run, if there is one.
fn compute(xwing: &XWing, (suite, mode): (Suite, Mode), signatures: Option<IdentitySignatures>) -> Vector {
    let mut vector = Vector::new();
    let mut put = |key: &str, bytes: &[u8]| {
        vector.insert(key.to_owned(), hex::encode(bytes));
    };
    let exporter = (mode == Mode::Bound).then_some(&EXPORTER);
    put("client_xwing_seed", &xwing.sk);
    put("shared_secret", &xwing.ss);
    put("ed25519_seed", &ED25519_SEED);
    put("ml_dsa_seed", &ML_DSA_SEED);
    put("exporter", exporter.map_or(&[], |value| value.as_slice()));

    let client_hello = ClientHello {
        suites: vec![suite.number()],
        key: Box::new(xwing.pk),
        nonce: [0x11; 32],
        binding: exporter.map(schedule::binding_tag),
        resume: None,
    }
    .encode()
    .unwrap();
    put("client_hello", &client_hello);
    let core = GatewayHello {
        suite: suite.number(),
        mode,
        ciphertext: Box::new(xwing.ct),
        nonce: [0x22; 32],
        certificate: certificate(),
    }
    .encode_core()
    .unwrap();
    put("gateway_hello_core", &core);
    let hash = schedule::hello_hash(&client_hello, &core, exporter);
    put("hello_hash", &hash);
    let to_sign = ToSign::new(hash);
    put("signed_ed25519", &to_sign.ed25519());
    put("signed_ml_dsa", &to_sign.ml_dsa());
    let signatures = signatures.unwrap_or_else(|| sign(&to_sign));
    let secret = SharedSecret::known(xwing.ss);
    let (gateway, gateway_hello) =
        AwaitingSignatures::with_known_secret(secret, (suite, mode), core, hash).signed(&signatures);
    put("ed25519_signature", &signatures.ed25519);
    put("ml_dsa_signature", signatures.ml_dsa.as_slice());
    put("gateway_hello", &gateway_hello);
    let (transcript, credential_key, answer_key) = gateway.schedule.reveal();
    put("transcript_signed", &transcript);
    put("key_client_credential", &credential_key);
    put("key_gateway_answer", &answer_key);

    let exporter = (mode == Mode::Bound).then_some(EXPORTER);
    let client = ClientHandshake::with_hello(expand(&xwing.sk), client_hello, exporter, Suite::ALL);
    let secret = Secret::Token(SecretString::from("a bearer token"));
    let presented = client.receive_gateway_hello(&gateway_hello).unwrap();
    let (client, message) = presented.credential(&secret, &wishes()).unwrap();
    put("credential_plaintext", &Credential::encode_core(&secret.proof(), &wishes()).unwrap());
    put("credential", &message);
    put_device(&mut vector, &gateway);
    let mut put = |key: &str, bytes: &[u8]| {
        vector.insert(key.to_owned(), hex::encode(bytes));
    };
    let (_, gateway) = gateway.receive_credential(&message).unwrap();
    let (gateway_session, message) = gateway.accept(&accepted()).unwrap();
    put("answer_plaintext", &message::Answer::encode_accepted(&accepted()).unwrap());
    put("answer", &message);
    let (_, session) = client.receive_answer(&message).unwrap();
    put("resume_secret", session.resume.as_slice());
    assert_eq!(session.id, gateway_session.id);
    vector.insert("session_id".to_owned(), session.id.to_string());
    if let Some(frames) = session.frames {
        vector.insert("key_client_frames".to_owned(), hex::encode(*frames.send));
        vector.insert("key_gateway_frames".to_owned(), hex::encode(*frames.receive));
        let (mut sealer, _) = frames.split().unwrap();
        for (key, text) in
            [("first_client_frame", "hello"), ("second_client_frame", "world"), ("last_client_frame", "")]
        {
            let mut frame = BytesMut::from(text);
            sealer.seal(&mut frame).unwrap();
            vector.insert(key.to_owned(), hex::encode(frame));
        }
    }
    vector
}

/// A device's credential in the same handshake, up to its Ed25519 signature: its ML-DSA signature is hedged.
fn put_device(vector: &mut Vector, gateway: &AwaitingCredential) {
    let key = DeviceKey::from_seed(zeroize::Zeroizing::new([0xbb; 64])).unwrap();
    let core = Credential::encode_core(&Proof::Device(key.public().id()), &wishes()).unwrap();
    let to_sign = ToSign::by_device(gateway.schedule.client_hash(&core));
    let mut put = |name: &str, bytes: &[u8]| {
        vector.insert(format!("device_{name}"), hex::encode(bytes));
    };
    put("seed", key.expose_to_file());
    put("id", &key.public().id());
    put("credential_core", &core);
    put("signed_ed25519", &to_sign.ed25519());
    put("signed_ml_dsa", &to_sign.ml_dsa());
    put("ed25519_signature", &key.sign(&to_sign).unwrap().ed25519);
}

/// A client that comes back by a ticket; sealed.
fn compute_resumed(xwing: &XWing) -> Vector {
    let mut vector = Vector::new();
    let mut put = |key: &str, bytes: &[u8]| {
        vector.insert(key.to_owned(), hex::encode(bytes));
    };
    let (suite, mode) = (Suite::XWingEd25519MlDsa65Aes256Gcm, Mode::Sealed);
    let secret = || zeroize::Zeroizing::new([0xaa; 32]);
    put("client_xwing_seed", &xwing.sk);
    put("shared_secret", &xwing.ss);
    put("resume_secret", secret().as_slice());
    let ticket = Ticket { id: [0x99; 16], suite, secret: secret() };
    let (client, hello) =
        ClientHandshake::resume(expand(&xwing.sk), [0x11; 32], None, &[suite], Some(ticket)).unwrap();
    put("client_hello", &hello);
    let core = message::ResumedHello {
        suite: suite.number(),
        mode,
        ciphertext: Box::new(xwing.ct),
        nonce: [0x22; 32],
    }
    .encode_core();
    put("resumed_hello_core", &core);
    let transcript = schedule::resumed_transcript(&hello, &core, None);
    let schedule = schedule::Schedule::resumed(suite, &SharedSecret::known(xwing.ss), &secret(), transcript);
    let (transcript, _, answer_key) = schedule.reveal();
    put("transcript_resumed", &transcript);
    put("key_gateway_answer", &answer_key);
    put("answer_plaintext", &message::Answer::encode_accepted(&accepted()).unwrap());
    let (_, message) = Answering::resumed(schedule, suite, mode, core).accept(&accepted()).unwrap();
    put("resumed_hello", &message);
    let Welcome::Resumed(_, session) = client.receive(&message).unwrap() else { panic!("not resumed") };
    put("next_resume_secret", session.resume.as_slice());
    let frames = session.frames.unwrap();
    put("key_client_frames", frames.send.as_slice());
    put("key_gateway_frames", frames.receive.as_slice());
    vector.insert("session_id".to_owned(), session.id.to_string());
    vector
}

fn third() -> XWing {
    xwing().into_iter().nth(2).unwrap()
}

fn cases() -> [(&'static str, XWing, (Suite, Mode)); 3] {
    let (aes, chacha) = (Suite::XWingEd25519MlDsa65Aes256Gcm, Suite::XWingEd25519MlDsa65ChaCha20Poly1305);
    let mut all = xwing().into_iter();
    let (first, second) = (all.next().unwrap(), all.next().unwrap());
    [
        ("bound", first, (aes, Mode::Bound)),
        ("sealed", second, (aes, Mode::Sealed)),
        ("sealed-chacha20", third(), (chacha, Mode::Sealed)),
    ]
}

#[test]
fn the_published_vectors_follow_from_their_inputs() {
    let stored = stored();
    assert_eq!(stored.len(), 4);
    assert_eq!(compute_resumed(&third()), stored["resumed"]);
    for (case, xwing, mode) in cases() {
        let field = |key: &str| hex::decode(&stored[case][key]).unwrap();
        let signatures = IdentitySignatures {
            ed25519: field("ed25519_signature").try_into().unwrap(),
            ml_dsa: Box::new(field("ml_dsa_signature").try_into().unwrap()),
        };
        // `compute` runs the client on it, which verifies both signatures.
        assert_eq!(compute(&xwing, mode, Some(signatures)), stored[case], "{case}");
    }
}

#[test]
#[ignore = "rewrites docs/handshake-vectors.json; for a new version of the protocol only"]
fn rewrite_the_vectors() {
    let mut all: BTreeMap<_, _> =
        cases().into_iter().map(|(case, xwing, mode)| (case, compute(&xwing, mode, None))).collect();
    all.insert("resumed", compute_resumed(&third()));
    std::fs::write(path(), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}
