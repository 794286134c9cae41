//! The admin API as programs meet it: pages, orders that are given again, what is recorded of a change, and refusals that are
//! problem documents whatever is wrong with a call.

use serde_json::{Value, json};

use super::curl::{Answer, Curl};
use super::world::World;

/// `POST path` with a JSON body.
fn order(world: &World, person: &str, path: &str, body: &Value) -> Curl {
    world.curl(path).by(world, person).args(&["--json", &body.to_string()])
}

fn again(world: &World, key: &str, body: &Value) -> Answer {
    order(world, "admin", "/api/v1/tokens", body).header(&format!("Idempotency-Key: \"{key}\"")).run()
}

fn live_tokens(world: &World, person: &str) -> usize {
    let tokens = world.ask("admin", &["tokens", "list"]);
    let theirs = |token: &&Value| token["subject"] == person && token["state"] == "live";
    tokens.as_array().unwrap().iter().filter(theirs).count()
}

#[test]
fn a_list_comes_in_pages_that_join_to_the_whole_and_the_command_line_follows_them() {
    let world = World::start();
    for _ in 0..4 {
        let made = order(&world, "admin", "/api/v1/tokens", &json!({ "subject": "user:many" })).run();
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let (mut ids, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.curl(&format!("/api/v1/tokens?limit=3{cursor}")).by(&world, "admin").run().json();
        let items = page["items"].as_array().unwrap();
        assert!((1..=3).contains(&items.len()), "{page}");
        ids.extend(items.iter().map(|token| token["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let whole = world.ask("admin", &["tokens", "list"]);
    let whole: Vec<&str> =
        whole.as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap()).collect();
    assert!(pages >= 3 && ids.len() >= 8, "{pages} pages, {} tokens", ids.len());
    assert_eq!(ids, whole);
    let records = world.curl("/api/v1/records?limit=1").by(&world, "admin").run().json();
    let next = records["next"].as_str().unwrap();
    let second =
        world.curl(&format!("/api/v1/records?limit=1&cursor={next}")).by(&world, "admin").run().json();
    assert_eq!((&records["items"][0]["seq"], &second["items"][0]["seq"]), (&json!(0), &json!(1)));
    for bad in ["limit=0", "limit=1001", "limit=x", "cursor=made-up", "colour=red"] {
        let answer = world.curl(&format!("/api/v1/tokens?{bad}")).by(&world, "admin").run();
        assert!(matches!(answer.status, 400 | 422), "{bad}: {}", answer.status);
        answer.problem();
    }
}

#[test]
fn whoever_reads_evidence_by_the_api_is_recorded_and_not_again_at_once() {
    let world = World::start();
    let request = world.ask("visitor", &["request", "demo", "--reason", "a look"]);
    let request = request["id"].as_str().unwrap();
    let read = |path: &str, who: &str| {
        let answer = world.curl(&format!("/api/v1/{path}")).by(&world, who).run();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    };
    let lists = ["requests", "grants", "reviews", "passkeys", "glass"];
    for _ in 0..3 {
        for list in &lists {
            read(list, "rival");
        }
        read(&format!("requests/{request}"), "admin");
        read(&format!("requests/{request}"), "visitor");
    }
    let called = world.records_of("admin.called");
    let reads = |who: &str, call: &str| {
        let is = |record: &&Value| {
            record["object"] == "gateway:api"
                && record["action"] == "read"
                && record["values"]["subject"] == format!("user:{who}")
                && record["details"]["call"] == call
        };
        called.iter().filter(is).count()
    };
    for call in ["list_requests", "list_grants", "list_reviews", "list_passkeys", "list_broken_glass"] {
        assert_eq!(reads("rival", call), 1, "{call}");
    }
    assert_eq!((reads("admin", "show_request"), reads("visitor", "show_request")), (1, 0));
    let shown = called.iter().find(|record| record["details"]["call"] == "show_request").unwrap();
    assert_eq!(shown["details"]["id"], request);
}

#[test]
fn an_order_under_a_key_is_carried_out_once_also_by_a_gateway_that_was_started_again() {
    let mut world = World::start();
    let body = json!({ "subject": "user:once" });
    let first = again(&world, "8e03978e-40d5", &body);
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None), "{}", first.text());
    let second = again(&world, "8e03978e-40d5", &body);
    assert_eq!((second.status, second.text()), (201, first.text()));
    assert_eq!(second.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(second.header("sallyport-reference"), first.header("sallyport-reference"));
    assert_eq!(live_tokens(&world, "user:once"), 1);

    let other = again(&world, "8e03978e-40d5", &json!({ "subject": "user:other" }));
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-reused"));
    let bad = again(&world, "", &body);
    assert_eq!((bad.status, bad.problem().as_str()), (400, "bad-idempotency-key"));
    // The same key of somebody else is another key: this person may not issue tokens, and is told so.
    let key = "Idempotency-Key: 8e03978e-40d5";
    let stranger = order(&world, "visitor", "/api/v1/tokens", &body).header(key).run();
    assert_eq!(stranger.status, 403, "{}", stranger.text());

    world.stop_gateway();
    world.start_gateway();
    let after = again(&world, "8e03978e-40d5", &body);
    assert_eq!((after.status, after.problem().as_str()), (409, "idempotency-key-spent"));
    assert_eq!(live_tokens(&world, "user:once"), 1);
    let reference = first.header("sallyport-reference").unwrap();
    let found =
        world.cli("admin", &["search", "--correlation", &reference, "--subject", "user:admin", "--json"]);
    let calls: Vec<Value> = found.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(calls.iter().any(|record| record["details"]["idempotency"] == "begun"), "{calls:?}");
    assert!(calls.iter().any(|record| record["details"]["call"] == "issue_token"), "{calls:?}");
}

#[test]
fn what_a_whole_token_was_answered_is_not_given_to_a_narrowed_one_of_the_same_person() {
    let world = World::start();
    let narrowed = json!({ "subject": "user:admin", "scope": ["gateway:tokens", "read"] });
    let narrowed = order(&world, "admin", "/api/v1/tokens", &narrowed).run();
    assert_eq!(narrowed.status, 201, "{}", narrowed.text());
    let bearer = format!("Authorization: Bearer {}", narrowed.json()["token"].as_str().unwrap());

    let body = json!({ "subject": "user:once" });
    let first = again(&world, "5d0ed6e2", &body);
    assert_eq!(first.status, 201, "{}", first.text());
    let secret = first.json()["token"].as_str().unwrap().to_owned();
    let curl = world.curl("/api/v1/tokens").header(&bearer).header("Idempotency-Key: \"5d0ed6e2\"");
    let answer = curl.args(&["--json", &body.to_string()]).run();
    assert_ne!(answer.status, 201);
    assert_eq!(answer.header("idempotency-replayed"), None, "{}", answer.text());
    assert!(!answer.text().contains(&secret));
    assert_eq!(again(&world, "5d0ed6e2", &body).text(), first.text(), "the whole token has it again");
}

#[test]
fn a_call_that_changes_something_is_recorded_with_what_the_thing_was_and_what_it_became() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    // As docs/admin.md says that anybody can do it.
    let digest = || {
        let fields = "{id, state, object, action, request, starts, expires, begun, minutes_from_first_use, once, conditions, policy}";
        let command =
            format!("jq -cS '.[] | select(.id == \"{grant}\") | {fields}' | tr -d '\\n' | sha256sum");
        let list = world.path("grants.json");
        std::fs::write(&list, world.cli("admin", &["grants", "list", "--all", "--json"]).out).unwrap();
        let sum = std::process::Command::new("sh")
            .args(["-c", &command])
            .stdin(std::fs::File::open(&list).unwrap())
            .output()
            .unwrap();
        String::from_utf8(sum.stdout).unwrap()[..64].to_owned()
    };
    let before = digest();
    world.ask("admin", &["grants", "revoke", &grant, "--reason", "the work is done"]);
    let after = digest();
    let record = world.record("admin.called", |record| record["details"]["call"] == "revoke_grant");
    assert_eq!((&record["details"]["before"], &record["details"]["after"]), (&json!(before), &json!(after)));
    assert_ne!(before, after);
    assert_eq!(record["values"]["subject"], "user:admin");
    let approved = world.record("admin.called", |record| record["details"]["call"] == "approve_request");
    assert_ne!(approved["details"]["before"], approved["details"]["after"]);
}

#[test]
fn whatever_is_wrong_with_a_call_the_answer_is_a_problem_document() {
    let world = World::start();
    let call = |path: &str| world.curl(path).by(&world, "admin");
    let long = world.path("long.json");
    std::fs::write(&long, format!("{{\"reason\":\"{}\"}}", "x".repeat(80_000))).unwrap();
    let long = format!("@{}", long.display());
    let path = "/api/v1/grants/grant-00000000000000000000000000000000/revoke";
    let answers = [
        (call("/api/v1/nothing").run(), 404, "unknown-path"),
        (call("/api/v1/grants").args(&["--request", "DELETE"]).run(), 405, "method-not-allowed"),
        (call(path).args(&["--request", "GET"]).run(), 405, "method-not-allowed"),
        (call(path).args(&["--data", "x", "--header", "content-type: text/plain"]).run(), 415, "bad-body"),
        (call(path).args(&["--json", "{"]).run(), 400, "bad-body"),
        (call(path).args(&["--json", "{}"]).run(), 422, "bad-body"),
        (call(path).args(&["--json", &long]).run(), 413, "bad-body"),
        (call(path).args(&["--json", "{\"reason\":\"x\"}"]).run(), 404, "no-such-grant"),
        (call("/api/v1/requests/%ff").run(), 400, "bad-path"),
        (call("/api/v1/grants?all=perhaps").run(), 400, "bad-query"),
    ];
    for (answer, status, code) in &answers {
        assert_eq!((answer.status, answer.problem().as_str()), (*status, *code), "{}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"), "{code}");
    }
    assert!(answers[1].0.header("allow").unwrap().contains("GET"));
}
