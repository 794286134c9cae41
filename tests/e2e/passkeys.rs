//! Approvals that the approver's own passkey signs: enrolled and used over the API, and checked by the auditor's program years
//! later with nothing but the files. The authenticator is one of software.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::Value as Cbor;
use coset::{AsCborValue as _, CoseKeyBuilder, iana};
use serde_json::{Value, json};

use super::curl::Answer;
use super::world::World;

struct Authenticator {
    pair: EcdsaKeyPair,
    origin: String,
    counter: u32,
}

const CREDENTIAL: &[u8] = b"a credential's id";

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

impl Authenticator {
    fn client_data(&self, ceremony: &str, options: &Value) -> Vec<u8> {
        let challenge = &options["publicKey"]["challenge"];
        json!({ "type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": false })
            .to_string()
            .into_bytes()
    }

    fn make(&self, options: &Value) -> Value {
        assert_eq!(options["publicKey"]["authenticatorSelection"]["userVerification"], "required");
        let site = options["publicKey"]["rp"]["id"].as_str().unwrap();
        let point = self.pair.public_key().as_ref();
        let key = CoseKeyBuilder::new_ec2_pub_key(
            iana::EllipticCurve::P_256,
            point[1..33].to_vec(),
            point[33..].to_vec(),
        );
        let mut cose = Vec::new();
        let key = key.algorithm(iana::Algorithm::ES256).build().to_cbor_value().unwrap();
        coset::cbor::into_writer(&key, &mut cose).unwrap();
        let length = u16::try_from(CREDENTIAL.len()).unwrap().to_be_bytes();
        let data =
            [&sha256(site.as_bytes())[..], &[0x45], &[0; 4], &[0; 16], &length, CREDENTIAL, &cose].concat();
        let object = Cbor::Map(vec![
            (Cbor::from("fmt"), Cbor::from("none")),
            (Cbor::from("attStmt"), Cbor::Map(Vec::new())),
            (Cbor::from("authData"), Cbor::Bytes(data)),
        ]);
        let mut attestation = Vec::new();
        coset::cbor::into_writer(&object, &mut attestation).unwrap();
        let client_data = self.client_data("webauthn.create", options);
        json!({ "client_data": text(&client_data), "attestation": text(&attestation) })
    }

    fn sign(&mut self, options: &Value) -> Value {
        self.counter += 1;
        let site = options["publicKey"]["rpId"].as_str().unwrap();
        let client_data = self.client_data("webauthn.get", options);
        let data = [&sha256(site.as_bytes())[..], &[0x05], &self.counter.to_be_bytes()].concat();
        let signed = [&data[..], &sha256(&client_data)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "credential": text(CREDENTIAL), "client_data": text(&client_data),
            "authenticator_data": text(&data), "signature": text(signature.as_ref()),
        })
    }
}

fn post(world: &World, path: &str, body: &Value) -> Answer {
    let curl = world.curl(path).by(world, "admin").header("content-type: application/json");
    curl.args(&["--data-binary", &body.to_string()]).run()
}

#[test]
fn a_signed_approval_is_enrolled_given_kept_and_checked_offline_by_anybody() {
    let mut world = World::with().prepare();
    world.demand_signatures();
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let mut key = Authenticator {
        pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
        origin: format!("https://localhost:{}", world.port()),
        counter: 0,
    };
    let ask = |reason: &str| {
        let asked = world.ask("visitor", &["request", "demo", "--reason", reason, "--minutes", "30"]);
        asked["id"].as_str().unwrap().to_owned()
    };
    let id = ask("to look at it");
    let unsigned = world.cli("admin", &["requests", "approve", &id]);
    assert_eq!(unsigned.code, 4, "{}", unsigned.err);
    assert!(unsigned.err.contains("passkey") && unsigned.err.contains("hint:"), "{}", unsigned.err);

    let options = post(&world, "/api/v1/passkeys/begin", &json!({})).json();
    let made = key.make(&options);
    let enrolled = post(&world, "/api/v1/passkeys", &made);
    assert_eq!(enrolled.status, 201, "{}", enrolled.text());
    let passkey = enrolled.json()["id"].as_str().unwrap().to_owned();
    let again = post(&world, "/api/v1/passkeys", &made);
    assert_eq!(
        (again.status, again.problem().as_str()),
        (422, "passkey-unusable"),
        "a challenge is good once"
    );
    assert_eq!(world.ask("admin", &["passkeys", "list"])[0]["id"], passkey.as_str());

    let path = format!("/api/v1/requests/{id}/challenge?minutes=10");
    let options = world.curl(&path).by(&world, "admin").run().json();
    assert_eq!(options["publicKey"]["allowCredentials"][0]["id"], text(CREDENTIAL));
    let signed = key.sign(&options);
    let approve = format!("/api/v1/requests/{id}/approve");
    let longer = post(&world, &approve, &json!({ "minutes": 30, "signed": signed }));
    assert_eq!((longer.status, longer.problem().as_str()), (403, "signature-wrong"));
    let granted = post(&world, &approve, &json!({ "minutes": 10, "signed": signed }));
    assert_eq!(granted.status, 200, "{}", granted.text());
    assert_eq!(granted.json()["approvals"][0]["signed"], passkey.as_str());
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
    // Somebody tried to have it longer, and that is recorded.
    let tried = world.record("access.approved", |record| {
        record["result"] == "denied" && record["details"]["refusal"] == "signature-wrong"
    });
    assert_eq!(tried["correlation"], id.as_str());

    let approval = world.record("access.approved", |record| record["result"] == "success");
    let (seq, ledger) =
        (approval["seq"].to_string(), world.state().join("ledger").to_string_lossy().into_owned());
    let checked = world.auditctl(&["check-approval", &ledger, &seq, "--json"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let checked: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!((&checked["passkey"], &checked["rp_id"]), (&passkey.as_str().into(), &"localhost".into()));
    let request = world.record("access.requested", |record| record["correlation"] == id.as_str());
    assert_eq!(checked["request"], request["seq"]);
    let shown = world.auditctl(&["check-approval", &ledger, &seq]);
    assert!(shown.out.contains("Signed:") && shown.out.contains("does not prove"), "{}", shown.out);
    let other = world.auditctl(&["check-approval", &ledger, &request["seq"].to_string()]);
    assert_eq!(other.code, 3, "{}{}", other.out, other.err);

    // Lost: revoked by its owner, it signs nothing more.
    world.ask("admin", &["passkeys", "revoke", &passkey, "--reason", "lost"]);
    world.ask("admin", &["grants", "revoke", granted.json()["grant"].as_str().unwrap(), "--reason", "done"]);
    let second = ask("once more");
    let options =
        world.curl(&format!("/api/v1/requests/{second}/challenge")).by(&world, "admin").run().json();
    assert_eq!(options["code"], "no-passkey");
    let options = json!({ "publicKey": { "rpId": "localhost", "challenge": text(&[1; 32]) } });
    let refused =
        post(&world, &format!("/api/v1/requests/{second}/approve"), &json!({ "signed": key.sign(&options) }));
    assert_eq!((refused.status, refused.problem().as_str()), (404, "no-such-passkey"), "{}", refused.text());
    let run = world.auditctl(&["check-approval", &ledger, &seq]);
    assert_eq!(run.code, 0, "what was signed before stays signed: {}", run.err);
}
