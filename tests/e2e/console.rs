//! The console in a real browser: headless Chromium, driven by the stories in `tests/e2e/browser`. A story is told there; here
//! is the world it happens in, and what the ledger says of it afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::process::Process;
use super::world::{World, finish};

fn driver() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/browser");
    assert!(
        folder.join("node_modules").exists(),
        "the browser's driver is missing: run `scripts/prepare test`"
    );
    // The stories themselves are those of the tree, not those of the last preparation.
    let from = root.join("tests/e2e/browser");
    std::fs::create_dir_all(folder.join("stories")).unwrap();
    let stories = std::fs::read_dir(from.join("stories")).unwrap().map(|entry| entry.unwrap().path());
    for file in stories.chain([from.join("story.mjs")]) {
        let to = folder.join(file.strip_prefix(&from).unwrap());
        let text = std::fs::read(&file).unwrap();
        if std::fs::read(&to).is_ok_and(|known| known == text) {
            continue;
        }
        // Several tests may do this at once: each puts a whole file in place.
        let new = to.with_extension(format!("{}-{}", std::process::id(), super::world::next()));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &to).unwrap();
    }
    folder
}

/// Tells one story in a browser. Pictures go to the folder that `SALLYPORT_SHOTS` names, if it does.
fn tell(world: &World, story: &str) {
    told(world, story);
}

/// The same, with what the story printed.
pub(crate) fn told(world: &World, story: &str) -> String {
    let tokens: Value =
        ["admin", "publisher", "rival", "visitor"].iter().map(|who| (*who, world.token(who))).collect();
    let told = json!({
        "gateway": format!("https://localhost:{}", world.port()),
        "domain": "localhost",
        "port": world.port(),
        "tokens": tokens,
        "shots": std::env::var("SALLYPORT_SHOTS").ok(),
    });
    let mut command = Command::new("node");
    command.current_dir(driver()).args(["story.mjs", story]).env("STORY", told.to_string());
    command.env("HOME", world.directory()).env("TMPDIR", world.directory());
    let run = finish(&mut command);
    assert_eq!(run.code, 0, "{story}:\n{}{}", run.out, run.err);
    run.out
}

fn demo(world: &World) -> Process {
    world.publish_demo("demo")
}

#[test]
fn a_visitor_asks_an_admin_approves_from_the_keyboard_and_the_page_goes_on() {
    let world = World::with().policy("g, user:rival, role:visitor, main").start();
    let _publisher = demo(&world);
    tell(&world, "approve");
    let issued = world.record("token.issued", |record| record["details"]["purpose"] == "session");
    assert!(
        issued.to_string().contains("approve"),
        "the session is in the ledger, with what it covers: {issued}"
    );
    let approved = world.records_of("access.approved");
    assert_eq!(approved.len(), 1);
    assert_eq!(approved[0]["values"]["subject"], "user:admin");
    let denied = world.records_of("access.rejected");
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["values"]["reason"], "not this <b>week</b>");
}

#[test]
fn forms_of_others_frames_scripts_and_addresses_of_other_sites_do_nothing_at_the_console() {
    let world = World::start();
    let (_publisher, _app) = (demo(&world), world.publish_demo("public-app"));
    tell(&world, "attacks");
    assert!(world.records_of("access.approved").is_empty());
}

#[test]
fn a_download_is_seen_live_and_stops_when_its_session_is_ended_or_its_grant_taken_back_in_the_console() {
    let world = World::start();
    let _publisher = demo(&world);
    tell(&world, "sessions");
    let closed = world.record("session.closed", |record| record["details"]["cause"] == "killed");
    assert_eq!(closed["values"]["reason"], "unusual <i>hours</i>");
    world.record("session.closed", |record| record["details"]["cause"] == "grant-revoked");
    let looked = world.records_of("admin.called");
    let looks = |record: &&Value| record["object"] == "gateway:sessions" && record["result"] == "success";
    assert!(looked.iter().filter(looks).count() >= 2, "who looks at sessions is recorded");
}

#[test]
fn a_proof_is_checked_in_the_browser_and_a_tampered_one_shown_broken() {
    let world = World::start();
    tell(&world, "ledger");
    let looked = world.records_of("admin.called");
    let opened = |record: &&Value| record["details"]["record"].is_u64();
    assert!(looked.iter().any(|record| opened(&record)), "who opens a record is recorded with its number");
}

#[test]
fn the_policy_is_proposed_in_one_browser_and_approved_in_anothers_and_by_nobody_alone() {
    let mut world = World::with().policy("g, user:rival, role:admin, main").prepare();
    world.start_gateway();
    world.stop_gateway();
    world.set("access.policy_change=second-person");
    world.start_gateway();
    let file = world.state().join("policies/policy.csv");
    let rows = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{rows}g, user:newcomer, role:visitor, main\n")).unwrap();
    tell(&world, "second");
    let approved = world.record("policy.approved", |record| record["result"] == "success");
    assert_eq!(approved["values"]["subject"], "user:rival");
    let proposed = world.record("policy.proposed", |record| record["result"] == "success");
    assert_eq!(proposed["values"]["reason"], "a <b>new</b> colleague");
    world.record("policy.approved", |record| record["details"]["refusal"] == "own-proposal");
}

#[test]
fn after_the_ledgers_key_was_replaced_while_serving_a_page_names_the_new_one_and_its_proof_is_good() {
    let world = World::start();
    tell(&world, "rotated");
    let made = world.record("key.created", |record| {
        record["details"]["role"] == "ledger" && record["values"]["reason"] == "it is <b>time</b>"
    });
    assert_eq!(made["values"]["subject"], "user:admin");
    assert_eq!(world.records_of("key.rotated")[0]["details"]["role"], "ledger");
}

#[test]
fn every_page_of_the_console_opens_and_its_orders_are_those_of_the_api() {
    let world = World::start();
    let policy = world.state().join("policies/policy.csv");
    let rows = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, format!("{rows}g, user:newcomer, role:visitor, main\n")).unwrap();
    tell(&world, "pages");
    assert_eq!(world.records_of("review.started").len(), 1);
    assert_eq!(world.records_of("review.decided").len(), 1);
    let closed = world.record("review.closed", |_| true);
    assert_eq!(closed["values"]["subject"], "user:admin");
    for call in ["delete_report", "schedule_reports"] {
        let called = world.record("admin.called", |record| record["details"]["call"] == call);
        assert_eq!(called["values"]["subject"], "user:admin", "{call}");
    }
}

#[test]
fn an_approver_makes_a_passkey_in_the_page_and_signs_an_approval_that_anybody_can_check() {
    let mut world = World::with().prepare();
    world.demand_signatures();
    world.start_gateway();
    let _publisher = demo(&world);
    tell(&world, "passkeys");
    let approved = world.record("access.approved", |record| record["result"] == "success");
    assert_eq!(
        (&approved["details"]["minutes"], &approved["values"]["subject"]),
        (&json!(5), &json!("user:admin"))
    );
    let ledger = world.state().join("ledger").to_string_lossy().into_owned();
    let checked = world.auditctl(&["check-approval", &ledger, &approved["seq"].to_string()]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    assert_eq!(world.records_of("passkey.enrolled").len(), 1);
    let revoked = world.record("passkey.revoked", |record| record["result"] == "success");
    assert_eq!(revoked["values"]["reason"], "lost <b>it</b>");
}

#[test]
fn receivers_of_the_ledger_stand_on_the_health_page_with_what_waits_for_them_and_what_was_set_aside() {
    let mut world = World::with().prepare();
    world.configure(
        "[[sinks]]\nname = \"kept\"\ntransport = \"file\"\npath = \"kept.jsonl\"\nformat = \"json\"\nmax_message_bytes = 2048\n\
         [[sinks]]\nname = \"lost\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:1\"\n",
    );
    world.start_gateway();
    let _publisher = demo(&world);
    // Four bytes a letter: more than fits into a message of that sink.
    world.ask("visitor", &["request", "demo", "--reason", &"\u{1f980}".repeat(500), "--minutes", "5"]);
    tell(&world, "sinks");
    let aside = world.record("sink.quarantined", |record| record["object"] == "sink:kept");
    let large = world.record("access.requested", |_| true);
    assert_eq!(aside["details"]["record"], large["seq"]);
}

#[test]
fn a_request_from_a_network_where_its_person_never_asked_before_is_marked_for_the_approver() {
    let world = World::start();
    let _publisher = demo(&world);
    let first = world.ask("visitor", &["request", "demo", "--reason", "as ever", "--minutes", "5"]);
    world.ask("visitor", &["requests", "withdraw", first["id"].as_str().unwrap()]);
    let order = json!({ "tunnel": "demo", "reason": "from the train", "minutes": 5 }).to_string();
    let asked = world
        .curl("/api/v1/requests")
        .by(&world, "visitor")
        .header("Content-Type: application/json")
        .args(&["--interface", "127.1.0.7", "--data", &order])
        .run();
    assert_eq!(asked.status, 201, "{}", asked.text());
    tell(&world, "network");
    let requested = world.record("access.requested", |record| record["values"]["reason"] == "from the train");
    assert_eq!(requested["values"]["source"], "127.1.0.7");
}

#[test]
fn while_a_pack_is_made_or_the_ledger_is_verified_again_the_page_says_how_far_that_is() {
    let world = World::with().set("ledger.scrub_mib_per_sec=1").start();
    let _app = world.publish_demo("open-demo");
    // The app has no such pages; but each visit leaves a record: enough that the way through them can be watched.
    let many =
        world.visit("open-demo", "/[1-4000]").by(&world, "visitor").args(&["--output", "/dev/null"]).run();
    assert_eq!(many.status, 404, "{}", many.complaint.lines().next().unwrap_or_default());
    tell(&world, "progress");
    world.record("report.made", |record| record["result"] == "success");
}

#[test]
fn a_tunnels_page_tells_its_states_with_who_and_why() {
    let world = World::with()
        .set("tunnels.heartbeat_secs=1")
        .set("tunnels.heartbeat_timeout_secs=1")
        .set("tunnels.queue_secs=0")
        .start();
    let mut publisher = world.publish_demo("open-demo");
    publisher.signal("STOP");
    world.record("tunnel.lost", |_| true);
    publisher.signal("CONT");
    world.record("tunnel.registered", |record| record["details"]["resumed"] == true);
    assert!(publisher.stop().success(), "{}", publisher.err());
    world.record("tunnel.closed", |_| true);
    let _again = world.publish_demo("open-demo");
    tell(&world, "timeline");
    let looked = world.records_of("admin.called");
    assert!(
        looked.iter().any(|record| record["object"] == "tunnel:open-demo" && record["result"] == "success")
    );
}

#[test]
fn a_page_shows_the_newest_end_of_a_busy_grant_and_a_long_session_and_says_where_the_rest_is() {
    let world = World::start();
    let _publisher = demo(&world);
    let grant = world.grant("demo");
    // More requests than either page shows, on one connection: one session, under one grant.
    let many = world.visit("demo", "/[1-520]").by(&world, "visitor").args(&["--output", "/dev/null"]).run();
    assert_eq!(many.status, 404, "{}", many.complaint.lines().next().unwrap_or_default());
    let closed = world.record("session.closed", |record| record["grant"] == grant.as_str());
    assert_eq!(closed["details"]["requests"], 520);
    world.ask("admin", &["grants", "revoke", &grant, "--reason", "enough of it"]);
    tell(&world, "long");
}
