//! Who somebody is: tokens that are expired, foreign, revoked, broken.

use super::approval::with_movable_clock;
use super::curl::Answer;
use super::patience::eventually;
use super::process::Process;
use super::world::{World, finish};

#[test]
fn an_expired_token_is_told_apart_and_recorded() {
    let (plan, clock) = with_movable_clock();
    let world = plan.start();
    let _publisher = world.publish_demo("open-demo");
    world.ask(
        "admin",
        &[
            "tokens",
            "issue",
            "--subject",
            "user:admin",
            "--hours",
            "2000",
            "--out",
            &world.path("late").to_string_lossy(),
        ],
    );
    clock.set("+31d");

    let refused = world.cli("visitor", &["whoami"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(
        refused.err.contains("the token expired at")
            && refused.err.contains("hint: ask an admin for a new token"),
        "{}",
        refused.err
    );
    let visit = world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_eq!(visit.status, 401);
    assert!(visit.json()["detail"].as_str().unwrap().contains("expired"), "{}", visit.text());
    let publish = world.cli("publisher", &["publish", "demo", "--name", "other"]);
    assert_eq!(publish.code, 4, "{}", publish.err);
    assert!(
        publish.err.contains("expired") && publish.err.contains("hint: ask an admin for a new token"),
        "{}",
        publish.err
    );

    let log = finish(world.client("admin").env("SALLYPORT_TOKEN_FILE", world.path("late")).args([
        "log",
        "--from",
        "0",
        "--json",
        "--kind",
        "auth.failed",
    ]));
    assert_eq!(log.code, 0, "{}", log.err);
    for object in ["gateway:api", "tunnel:open-demo", "gateway:connect"] {
        let told = log.out.lines().any(|line| line.contains(object) && line.contains("\"expired\""));
        assert!(told, "no auth.failed for {object}: {}", log.out);
    }
}

#[test]
fn a_token_of_another_gateway_is_refused_and_recorded() {
    let (world, other) = (World::start(), World::with().prepare());
    let _publisher = world.publish_demo("open-demo");
    let with_foreign = |arguments: &[&str]| {
        finish(world.client("admin").env("SALLYPORT_TOKEN_FILE", other.token_file("admin")).args(arguments))
    };
    let refused = with_foreign(&["whoami"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(
        refused.err.contains("signed by another key") && refused.err.contains("hint:"),
        "{}",
        refused.err
    );
    let publish = with_foreign(&["publish", "demo", "--name", "other"]);
    assert_eq!(publish.code, 4, "{}", publish.err);
    let visit = world
        .visit("open-demo", "/")
        .header(&format!("Authorization: Bearer {}", other.token("visitor")))
        .run();
    assert_eq!(visit.status, 401);
    for object in ["gateway:api", "gateway:connect", "tunnel:open-demo"] {
        let record = world.record("auth.failed", |record| record["object"] == object);
        assert_eq!(record["details"]["reason"], "other-key");
        assert!(record["values"]["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    }
}

#[test]
fn a_token_that_was_altered_is_refused() {
    let world = World::start();
    let token = world.token("visitor");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    // The admin's claims under the visitor's signature.
    let admin = world.token("admin");
    let admins_claims = admin.split('.').nth(1).unwrap();
    assert_ne!(claims, admins_claims);
    let unsigned = "eyJhbGciOiJub25lIn0";
    for (text, reason) in [
        (format!("{header}.{admins_claims}.{signature}"), "signature"),
        (format!("{unsigned}.{admins_claims}."), "algorithm"),
        ("nonsense".to_owned(), "malformed"),
        ("x".repeat(3000), "too-long"),
    ] {
        let answer = world.curl("/api/v1/status").header(&format!("Authorization: Bearer {text}")).run();
        assert_eq!((answer.status, answer.problem().as_str()), (401, reason));
        world.record("auth.failed", |record| record["details"]["reason"] == reason);
    }
}

#[test]
fn a_revoked_token_ends_what_stands_on_it_and_opens_nothing_more() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    let tokens = world.ask("admin", &["tokens", "list"]);
    let token = tokens.as_array().unwrap().iter().find(|token| token["subject"] == "user:visitor").unwrap();
    world.ask("admin", &["tokens", "revoke", token["id"].as_str().unwrap(), "--reason", "left the company"]);
    assert!(!download.wait().success());
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["cause"], "token-revoked");
    let visit = world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_eq!(visit.status, 401);
    assert!(visit.text().contains("revoked"), "{}", visit.text());
}

#[test]
fn a_locked_user_is_cut_off_and_let_in_again_when_unlocked() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    let order = |path: &str| {
        world
            .curl(path)
            .by(&world, "admin")
            .args(&["--json", r#"{"what": "user:visitor", "reason": "under investigation"}"#])
            .run()
            .status
    };
    assert_eq!(order("/api/v1/locks"), 200);
    assert!(!download.wait().success());
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 401);
    assert_eq!(order("/api/v1/locks/release"), 200);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
}

#[test]
fn an_address_that_fails_too_often_must_wait() {
    let world = World::with().set("limits.lockout_secs=2").start();
    let barred = until_locked_out(&world);
    assert_eq!(barred.problem(), "too-many-attempts");
    eventually("the lockout is over", || {
        (world.curl("/api/v1/whoami").by(&world, "visitor").run().status == 200).then_some(())
    });
    let failed = world.records_of("auth.failed");
    let began = failed.iter().filter(|record| record["details"]["address_barred"] == true).count();
    assert_eq!(began, 1, "{failed:?}");
}

#[test]
fn an_address_is_locked_out_for_as_long_as_was_set_whatever_it_shows_then() {
    let world = World::with().set("limits.lockout_secs=3600").start();
    let _publisher = world.publish_demo("open-demo");
    let barred = until_locked_out(&world);
    let wait: u64 = barred.header("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3601).contains(&wait), "{wait}");
    assert!(barred.json()["hint"].as_str().unwrap().contains(&format!("wait {wait} seconds")));
    let good = world.curl("/api/v1/whoami").by(&world, "visitor").run();
    assert_eq!((good.status, good.problem().as_str()), (429, "too-many-attempts"));
    let visit = world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_eq!((visit.status, visit.problem().as_str()), (429, "too-many-attempts"));
    let publish = world.cli("rival", &["publish", "demo", "--name", "other", "--give-up-after", "1"]);
    assert_ne!(publish.code, 0, "a publisher from there neither: {}", publish.out);
}

/// Fails to sign in until the gateway says that it is enough; its answer.
fn until_locked_out(world: &World) -> Answer {
    let mut seen = Vec::new();
    for _ in 0..60 {
        let answer = world.curl("/api/v1/whoami").header("Authorization: Bearer nonsense").run();
        seen.push(answer.status);
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("never told to wait: {seen:?}");
}

#[test]
fn a_token_of_the_gateways_own_for_another_tenant_proves_nobody() {
    let mut world = World::start();
    world.stop_gateway();
    // The same gateway, whose tunnels are of another tenant now: the same key signs, the same ledger knows the tokens.
    world.set("access.tenant=other");
    world.start_gateway();
    for person in ["admin", "visitor"] {
        let call = world.curl("/api/v1/whoami").by(&world, person).run();
        assert_eq!((call.status, call.problem().as_str()), (401, "other-gateway"), "{person}");
    }
    let visit = world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_ne!(visit.status, 200);
    let publish = world.cli("publisher", &["publish", "demo", "--name", "open-demo"]);
    assert_eq!(publish.code, 4, "{}", publish.err);
    world.stop_gateway();
    world.set("access.tenant=main");
    world.start_gateway();
    let mut at: Vec<_> = world.records_of("auth.failed");
    at.retain(|record| record["details"]["reason"] == "other-gateway");
    let at: Vec<_> = at.iter().map(|record| record["object"].as_str().unwrap()).collect();
    assert!(at.contains(&"gateway:api") && at.contains(&"gateway:connect"), "{at:?}");
}

#[test]
fn only_who_may_audit_reads_the_records() {
    let world = World::start();
    let refused = world.cli("visitor", &["log", "--from", "0"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    let record = world.record("admin.called", |record| record["result"] == "denied");
    assert_eq!(record["values"]["subject"], "user:visitor");
    assert_eq!(record["object"], "gateway:ledger");
}

#[test]
fn a_client_that_lacks_what_it_needs_says_what_to_do() {
    let world = World::start();
    let without = |name: &str| {
        finish(world.client("visitor").env_remove(name).env("HOME", world.directory()).arg("whoami"))
    };
    let no_gateway = without("SALLYPORT_GATEWAY");
    assert_eq!(no_gateway.code, 2, "{}", no_gateway.err);
    assert!(
        no_gateway.err.contains("no gateway is named") && no_gateway.err.contains("SALLYPORT_GATEWAY"),
        "{}",
        no_gateway.err
    );
    let no_token = without("SALLYPORT_TOKEN_FILE");
    assert_eq!(no_token.code, 2, "{}", no_token.err);
    assert!(no_token.err.contains("no token is named"), "{}", no_token.err);
    let no_root = without("SALLYPORT_CA_FILE");
    assert_eq!(no_root.code, 3, "{}", no_root.err);
    assert!(no_root.err.contains("--ca-file"), "{}", no_root.err);
    let nobody =
        finish(world.client("visitor").env("SALLYPORT_GATEWAY", "https://localhost:9").arg("whoami"));
    assert_eq!(nobody.code, 3, "{}", nobody.err);
    assert!(nobody.err.contains("is the gateway running"), "{}", nobody.err);
    let missing = finish(world.client("visitor").env("SALLYPORT_TOKEN_FILE", "/nowhere/token").arg("whoami"));
    assert_eq!(missing.code, 2, "{}", missing.err);
    assert!(missing.err.contains("/nowhere/token") && missing.err.contains("hint:"), "{}", missing.err);
}

#[test]
fn login_is_remembered() {
    let world = World::start();
    let done = world.cli("visitor", &["login"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let later = finish(
        world
            .client("visitor")
            .env_remove("SALLYPORT_GATEWAY")
            .env_remove("SALLYPORT_TOKEN_FILE")
            .env_remove("SALLYPORT_CA_FILE")
            .arg("whoami"),
    );
    assert_eq!(later.code, 0, "{}", later.err);
    assert!(later.out.contains("subject: user:visitor"), "{}", later.out);
    let remembered = std::fs::read_to_string(world.path("home-visitor/client.toml")).unwrap();
    assert!(!remembered.contains(&world.token("visitor")), "the token itself is not copied about");
}

#[test]
fn a_gateway_is_pinned_at_the_first_meeting_and_refused_when_it_is_another_one() {
    let mut world = World::start();
    // A root that is no Sallyport organisation's stands first: so nobody but the first meeting vouches for the identity.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut bundle = root.self_signed(&key).unwrap().pem();
    bundle.push_str(&std::fs::read_to_string(world.root()).unwrap());
    let roots = world.path("bundle.pem");
    let publish = |world: &World, token: std::path::PathBuf, bundle: &str| {
        std::fs::write(&roots, bundle).unwrap();
        let mut command = world.client("publisher");
        command.env("SALLYPORT_CA_FILE", &roots).env("SALLYPORT_TOKEN_FILE", token);
        command.args(["publish", "demo", "--name", "demo", "--json"]);
        Process::start(&format!("pinning-{}", super::world::next()), world.directory(), &mut command)
    };
    for trust in ["\"trust\":\"first-use\"", "\"trust\":\"known\""] {
        let mut publisher = publish(&world, world.token_file("publisher"), &bundle);
        publisher.line(trust, |line| line.contains(trust).then_some(()));
        publisher.line("that its tunnel is open", |line| line.contains("registered").then_some(()));
        assert!(publisher.stop().success());
    }
    let other = {
        world.stop_gateway();
        World::with().in_place_of(&world).start()
    };
    bundle.push_str(&std::fs::read_to_string(other.root()).unwrap());
    let mut publisher = publish(&world, other.token_file("publisher"), &bundle);
    assert_eq!(publisher.wait().code(), Some(4), "{}", publisher.err());
    let told = publisher.err();
    assert!(told.contains("SHA256:") && told.contains("known_gateways") && told.contains("hint"), "{told}");
    assert_eq!(other.records_of("tunnel.registered").len(), 0);
    assert_eq!(
        other.records_of("auth.failed").len(),
        0,
        "the token was shown to a gateway that is not known"
    );
}
