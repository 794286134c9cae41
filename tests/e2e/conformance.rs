//! The admin API is what it says it is: schemathesis reads the `OpenAPI` document from a running gateway, calls everything in it
//! with what fits and what doesn't, and compares every answer. It finds no gaps of meaning; the stories beside this one do.

use std::process::Command;

use serde_json::Value;

use super::world::{World, finish};

/// Not called at random: what replaces the keys of the running gateway, prunes its ledger, keeps it busy with a report, or
/// revokes the caller's own token, whose id stands in an answer before: nothing behind that would be tried any more.
const LEFT_OUT: &[&str] = &["rotate_key", "prune", "make_report", "revoke_token"];

#[test]
fn the_api_keeps_to_what_it_says_of_itself() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = home.join("target/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run scripts/prepare test", program.display());
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    world.grant("demo");
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(home.join("tests/tools/schemathesis.toml"))
        .args(["run", &format!("https://localhost:{}/api/v1/openapi.json", world.port())])
        .arg("--tls-verify")
        .arg(world.root())
        .args(["--header", &format!("Authorization: Bearer {}", world.token("admin"))])
        .args(["--checks", "all", "--no-color", "--warnings", "off"])
        // It would have our address barred; the test below does the same from many.
        .args(["--exclude-checks", "ignored_auth"])
        .current_dir(world.directory());
    for operation in LEFT_OUT {
        command.args(["--exclude-operation-id", operation]);
    }
    let run = finish(&mut command);
    let closed = || ["connection.refused", "tls.refused"].map(|kind| world.records_of(kind));
    assert_eq!(run.code, 0, "{}{}{:?}", run.out, run.err, closed());
    // The ledger of such a day is as good as any.
    let ledger = world.state().join("ledger");
    assert_eq!(world.verify(&ledger).code, 0);
}

#[test]
fn nobody_gets_an_answer_without_proof_of_who_they_are_but_where_the_document_says_so() {
    let world = World::start();
    let document = world.curl("/api/v1/openapi.json").run();
    assert_eq!(document.status, 200);
    assert!(document.header("ratelimit").is_none());
    let document = document.json();
    let (mut asked, mut open) = (0_u8, 0);
    for (path, calls) in document["paths"].as_object().unwrap() {
        for (method, call) in calls.as_object().unwrap() {
            if call["security"] == serde_json::json!([{}]) {
                open += 1;
                continue;
            }
            assert_eq!(call["security"], Value::Null, "{method} {path}");
            asked += 1;
            let path = path.replace(['{', '}'], "");
            // Each from an address of its own: one that fails too often is not asked any more.
            let from = format!("127.0.1.{asked}");
            let answer =
                world.curl(&path).args(&["--request", &method.to_uppercase(), "--interface", &from]).run();
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(!answer.problem().is_empty());
        }
    }
    assert!(asked > 40 && open < 10, "{asked} {open}");
}
