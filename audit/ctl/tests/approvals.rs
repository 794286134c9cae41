//! `auditctl check-approval` on real files: an approval that a passkey signed is checked in a ledger, an export and a pack, and
//! whatever is changed in them is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod world;

use std::fs;
use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use sallyport_audit::approval::{Agreed, ApproverId};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use world::{Ledger, ORIGIN, assert_code, err, out};

const SITE: &str = "gateway.example";
const PAGE: &str = "https://gateway.example";
const APPROVAL: u64 = 5;

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A ledger with a request (3), a passkey (4), and an approval for ten minutes that it has signed (5); `minutes` are recorded.
fn ledger(minutes: u64) -> Ledger {
    let key = SigningKey::from_bytes(&[7; 32]);
    let approver = ApproverId::new([9; 32]);
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    let done = |kind| Draft::new(kind, Outcome::Success);
    journal.group([
        done(Kind::LedgerCreated).detail("origin", ORIGIN).detail("key", signer.verifier().to_string()),
        done(Kind::GatewayStarted).detail("version", "1").detail("binary_sha256", "b1"),
        done(Kind::PolicyLoaded).policy("p1").detail("rules", 3),
        done(Kind::AccessRequested).correlation("req-1").subject("user:alice").object("tunnel:demo"),
        done(Kind::PasskeyEnrolled)
            .subject("user:bob")
            .detail("passkey", "passkey-1")
            .detail("approver", approver.text())
            .detail("credential", "AQ")
            .detail("algorithm", "EdDSA")
            .detail("key", text(key.verifying_key().as_bytes()))
            .detail("rp_id", SITE)
            .detail("origin", PAGE)
            .detail("counter", 0),
    ]);
    let mut ledger = Ledger { directory: tempfile::tempdir().unwrap(), journal };
    ledger.write(&ledger.journal);
    // What is to be signed is made of what anybody can read.
    let shown: Value = serde_json::from_str(&out(&ledger.run("show", &["3", "--json"]))).unwrap();
    let request = serde_json::from_value(shown.get("digest").unwrap().clone()).unwrap();
    let agreed = Agreed { request, approver: &approver, minutes: Some(10), conditions: &[], once: false };
    let client_data = json!({
        "type": "webauthn.get", "challenge": text(agreed.challenge()), "origin": PAGE, "crossOrigin": false,
    });
    let client_data = client_data.to_string();
    let data = [&Sha256::digest(SITE)[..], &[0x05], &[0, 0, 0, 1]].concat();
    let signature = key.sign(&[&data[..], &Sha256::digest(&client_data)[..]].concat());
    ledger.journal.group([
        done(Kind::AccessApproved)
            .correlation("req-1")
            .subject("user:bob")
            .target("user:alice")
            .detail("passkey", "passkey-1")
            .detail("minutes", minutes)
            .detail("client_data", text(client_data))
            .detail("authenticator_data", text(data))
            .detail("signature", text(signature.to_bytes())),
        done(Kind::GatewayStopped),
    ]);
    ledger.write(&ledger.journal);
    ledger
}

fn check(records: &Path, rest: &[&str]) -> Output {
    let words = ["check-approval", records.to_str().unwrap(), "5"];
    world::auditctl(&[&words, rest].concat())
}

#[test]
fn a_signed_approval_is_checked_in_a_ledger_an_export_and_a_pack() {
    let ledger = ledger(10);
    let key = ledger.key();
    let in_ledger = check(ledger.path(), &["--json"]);
    assert_code(&in_ledger, 0);
    let found: Value = serde_json::from_str(&out(&in_ledger)).unwrap();
    assert_eq!(
        (&found["request"], &found["enrolment"], &found["approval"]),
        (&json!(3), &json!(4), &json!(APPROVAL))
    );
    assert_eq!(
        (&found["minutes"], &found["rp_id"], &found["algorithm"]),
        (&json!(10), &json!(SITE), &json!("EdDSA"))
    );

    let export = ledger.path().join("all.ndjson");
    assert_code(&ledger.run("export", &["--out", export.to_str().unwrap()]), 0);
    let in_export = check(&export, &["--key", &key, "--json"]);
    assert_code(&in_export, 0);
    assert_eq!(serde_json::from_str::<Value>(&out(&in_export)).unwrap(), found, "the same by other files");
    assert_code(&check(&export, &[]), 2);

    for pack in ["pack", "pack.zip"] {
        let pack = ledger.path().join(pack);
        let path = ledger.path().to_str().unwrap();
        let period = ["--from", "2026-01-01", "--to", "2026-01-31"];
        let words = [&["report", "soc2", path, "--key", &key, "--out", pack.to_str().unwrap()], &period[..]];
        let made = world::auditctl(&words.concat());
        assert!(pack.exists(), "{}{}", out(&made), err(&made));
        let in_pack = check(&pack, &["--key", &key, "--json"]);
        assert_code(&in_pack, 0);
        assert_eq!(serde_json::from_str::<Value>(&out(&in_pack)).unwrap(), found);
    }
}

#[test]
fn what_says_more_than_was_signed_or_was_changed_is_broken() {
    let longer = ledger(30);
    let refused = check(longer.path(), &[]);
    assert_code(&refused, 1);
    assert!(err(&refused).contains("something else than this request"), "{}", err(&refused));

    let ledger = ledger(10);
    let export = ledger.path().join("all.ndjson");
    assert_code(&ledger.run("export", &["--out", export.to_str().unwrap()]), 0);
    let good = fs::read_to_string(&export).unwrap();
    fs::write(&export, good.replacen("\"minutes\":10", "\"minutes\":11", 1)).unwrap();
    assert_code(&check(&export, &["--key", &ledger.key()]), 1);
    // A whole ledger of somebody else's, under another key.
    fs::write(&export, &good).unwrap();
    let others = SoftwareSigner::new(ORIGIN, [8; 32]).verifier().to_string();
    assert_code(&check(&export, &["--key", &others]), 1);
}

#[test]
fn what_is_no_signed_approval_or_lacks_its_records_isnt_evaluated() {
    let ledger = ledger(10);
    let request = world::auditctl(&["check-approval", ledger.path().to_str().unwrap(), "3"]);
    assert_code(&request, 3);
    let nothing = world::auditctl(&["check-approval", ledger.path().to_str().unwrap(), "99"]);
    assert_code(&nothing, 3);
    let export = ledger.path().join("approvals.ndjson");
    let some = ["--kind", "access.approved", "--out", export.to_str().unwrap()];
    assert_code(&ledger.run("export", &some), 0);
    let lacking = check(&export, &["--key", &ledger.key()]);
    assert_code(&lacking, 3);
    assert!(err(&lacking).contains("the request is not in the ledger before it"), "{}", err(&lacking));
}
