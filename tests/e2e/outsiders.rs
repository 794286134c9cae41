//! People of other issuers, and a controller's.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::app::App;
use super::issuer::IssuerApp;
use super::patience::eventually;
use super::world::World;

fn world(issuer: &IssuerApp, more: &str) -> World {
    let mut world = World::with().prepare();
    world.configure(&issuer.configuration(more));
    world.start_gateway();
    world
}

/// The status with which a token is answered on the API, and the problem's code.
fn whoami(world: &World, token: &str) -> (u16, String) {
    let answer = world.curl("/api/v1/whoami").header(&format!("Authorization: Bearer {token}")).run();
    let said = answer.json();
    let told = if answer.status == 200 { &said["subject"] } else { &said["code"] };
    (answer.status, told.as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_token_of_another_issuer_opens_what_its_groups_may_and_the_record_says_by_what() {
    let issuer = IssuerApp::start();
    let world = world(&issuer, "");
    let _publisher = world.publish_demo("open-demo");
    let token = issuer.token("k1", "eve", 600, &json!({}));
    eventually("the issuer's keys are known", || (whoami(&world, &token).0 == 200).then_some(()));
    assert_eq!(whoami(&world, &token), (200, "user:corp+eve".to_owned()));
    let visit =
        |token: &str| world.visit("open-demo", "/").header(&format!("Sallyport-Token: {token}")).run().status;
    assert_eq!(visit(&token), 200);
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["values"]["subject"], "user:corp+eve");
    assert_eq!(opened["details"]["claimed_roles"], json!(["role:visitor"]));
    assert!(opened["details"]["credential"].as_str().unwrap().starts_with("tok-"));
    assert_eq!(visit(&issuer.token("k1", "max", 600, &json!({ "groups": ["ops"] }))), 403);
    let keys = world.record("issuer.keys", |_| true);
    assert_eq!((&keys["details"]["issuer"], &keys["details"]["why"]), (&json!("corp"), &json!("published")));

    for (claims, code) in [
        (json!({ "aud": "another" }), "other-audience"),
        (json!({ "iss": "https://evil.example" }), "unknown-issuer"),
        (json!({ "exp": 1 }), "expired"),
        (json!({ "sub": "A,B" }), "unnamed"),
    ] {
        let token = issuer.token("k1", "eve", 600, &claims);
        assert_eq!(whoami(&world, &token), (401, code.to_owned()), "{claims}");
    }
    let log = world.gateway_log();
    assert!(!log.contains(&token), "no token stands in the log");
    // A name of the issuer's is nobody else's.
    let out = world.path("t");
    let refused = world
        .cli("admin", &["tokens", "issue", "--subject", "user:corp+eve", "--out", &out.to_string_lossy()]);
    assert!(refused.code != 0 && refused.err.contains("issuer"), "{}", refused.err);
}

#[test]
fn a_new_key_is_found_at_once_and_however_many_come_the_issuer_is_asked_seldom() {
    let issuer = IssuerApp::start();
    let world = world(&issuer, "refresh_secs = 86400");
    eventually("the first keys are told", || (world.records_of("issuer.keys").len() == 1).then_some(()));
    issuer.add_key("k2");
    let token = issuer.token("k2", "eve", 600, &json!({}));
    eventually("the new key is found", || (whoami(&world, &token).0 == 200).then_some(()));
    let asked = issuer.asked();
    assert_eq!(asked, 2, "a start, and one unknown key");
    let other = IssuerApp::start();
    other.add_key("k9");
    let forged = other.token("k9", "eve", 600, &json!({ "iss": issuer.url() }));
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(whoami(&world, &forged).1, "other-key");
    }
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
    assert!(issuer.asked() - asked <= most, "asked {} times more", issuer.asked() - asked);
}

#[test]
fn a_gateway_starts_without_its_issuer_and_lets_nobody_of_it_in_until_it_is_there() {
    let issuer = IssuerApp::start();
    let mut world = World::with().prepare();
    let text = issuer.configuration("").replace("/jwks\"", "/nowhere\"");
    world.configure(&text);
    world.start_gateway();
    let token = issuer.token("k1", "eve", 600, &json!({}));
    assert_eq!(whoami(&world, &token), (401, "voucher-away".to_owned()));
    assert!(world.records_of("issuer.keys").is_empty());
    let own = whoami(&world, &world.token("visitor"));
    assert_eq!(own, (200, "user:visitor".to_owned()), "the gateway's own are let in");
}

/// A controller of a test's own: answers as it is told, and remembers how often it was asked.
fn controller(answer: Arc<Mutex<(u16, serde_json::Value)>>, asked: Arc<Mutex<Vec<String>>>) -> App {
    let said = move |headers: axum::http::HeaderMap, axum::Json(body): axum::Json<serde_json::Value>| {
        let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
        async move {
            assert_eq!(headers["authorization"], "Bearer gateway-of-the-test");
            asked.lock().unwrap().push(body["token"].as_str().unwrap().to_owned());
            let (status, answer) = answer.lock().unwrap().clone();
            (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(answer))
        }
    };
    App::web(axum::Router::new().route("/whois", axum::routing::post(said)))
}

#[test]
fn a_controller_vouches_for_as_long_as_it_says_and_nobody_is_let_in_without_it() {
    let answer = |subject: &str, tenant: &str, seconds: i64| {
        #[expect(clippy::disallowed_methods, reason = "a controller of a test's own reads its clock")]
        let end = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        json!({ "subject": subject, "tenant": tenant, "groups": ["visitor"], "expires": end.to_string() })
    };
    let said = Arc::new(Mutex::new((200, answer("user:eve", "main", 600))));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let app = controller(Arc::clone(&said), Arc::clone(&asked));
    let mut world = World::with()
        .set(&format!("identity.controller=http://{}/whois", app.address()))
        .set("identity.controller_token_file=controller.token")
        .set("identity.controller_cache_secs=2")
        .prepare();
    std::fs::write(world.state().join("controller.token"), "gateway-of-the-test\n").unwrap();
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let visit =
        |token: &str| world.visit("open-demo", "/").header(&format!("Sallyport-Token: {token}")).run().status;
    assert_eq!(whoami(&world, "opaque-1"), (200, "user:eve".to_owned()));
    assert_eq!(visit("opaque-1"), 200);
    assert_eq!(asked.lock().unwrap().len(), 1, "an answer counts for a short time");
    // The gateway's own tokens are nobody else's business.
    assert_eq!(world.curl("/api/v1/whoami").by(&world, "visitor").run().status, 200);
    assert_eq!(asked.lock().unwrap().len(), 1);

    // No for an answer, another tenant, a name that can't be one, an end that has come: each lets nobody in.
    let cases = [
        ((401, json!({})), "not-vouched"),
        ((200, answer("user:eve", "other", 600)), "other-gateway"),
        ((200, answer("role:admin", "main", 600)), "unnamed"),
        ((200, answer("user:anonymous", "main", 600)), "unnamed"),
        ((200, answer("user:eve", "main", -1)), "expired"),
        ((500, json!({})), "voucher-away"),
        ((302, json!({})), "voucher-away"),
        ((200, json!({ "subject": "user:eve" })), "voucher-away"),
    ];
    for (number, (case, code)) in cases.into_iter().enumerate() {
        *said.lock().unwrap() = case;
        assert_eq!(whoami(&world, &format!("opaque-case-{number}")), (401, code.to_owned()));
    }
    // What it takes back is out when its last answer has had its time.
    *said.lock().unwrap() = (401, json!({}));
    eventually("the answer is forgotten", || (whoami(&world, "opaque-1").0 == 401).then_some(()));
    drop(app);
    assert_eq!(whoami(&world, "opaque-2"), (401, "voucher-away".to_owned()));
}
