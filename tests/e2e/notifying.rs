//! Who is told what: webhooks, chats and mail, with a real mail server and receivers that fail.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::patience::eventually;
use super::receiver::{Call, MailServer, Receiver, secret};
use super::world::World;

const SECRET: [u8; 32] = [7; 32];

fn webhook(world: &World, receiver: &Receiver, more: &str) {
    secret(&world.state().join("hook.whsec"), &format!("whsec_{}\n", STANDARD.encode(SECRET)));
    world.configure(&format!(
        "[[notify.webhook]]\nname = \"hook\"\nurl = \"{}\"\nsecret_file = \"hook.whsec\"\n{more}\n",
        receiver.url("/in")
    ));
}

fn ask(world: &World, reason: &str) -> String {
    let asked = world.ask("visitor", &["request", "demo", "--reason", reason, "--minutes", "5"]);
    asked["id"].as_str().unwrap().to_owned()
}

/// The signature that OpenSSL makes of what came.
fn signature_by_openssl(call: &Call) -> String {
    let key: String = hex::encode(SECRET);
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{key}"), "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (id, time) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    let signed = [format!("{id}.{time}.").as_bytes(), &call.body].concat();
    openssl.stdin.take().unwrap().write_all(&signed).unwrap();
    format!("v1,{}", STANDARD.encode(openssl.wait_with_output().unwrap().stdout))
}

#[test]
fn a_request_is_put_before_those_who_can_decide_signed_and_again_until_it_is_taken() {
    let mut world =
        World::with().policy("g, user:rival, role:admin, main\ng, user:visitor, role:admin, main").prepare();
    let receiver = Receiver::start(&[500, 503]);
    webhook(&world, &receiver, "events = [\"request\", \"granted\"]");
    secret(&world.state().join("chat.url"), &receiver.url("/chat"));
    world.configure("[[notify.chat]]\nname = \"room\"\nurl_file = \"chat.url\"\nevents = [\"rejected\"]\n");
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let id = ask(&world, "the till <!channel> shows nothing");

    let taken = receiver.call("the request is told", |call| call.path == "/in" && call.answered == 200);
    let body = taken.json();
    assert_eq!(body["type"], "sallyport.request");
    // An admin who asks can't decide, so isn't asked.
    assert_eq!(body["data"]["to"], serde_json::json!(["user:admin", "user:rival"]), "{body}");
    assert!(body["data"]["link"].as_str().unwrap().ends_with(&format!("/console/requests#{id}")), "{body}");
    assert_eq!(body["data"]["facts"]["reason"], "the till <!channel> shows nothing");
    let attempts: Vec<Call> = receiver.calls().into_iter().filter(|call| call.path == "/in").collect();
    assert_eq!(attempts.iter().map(|call| call.answered).collect::<Vec<_>>(), [500, 503, 200]);
    for attempt in &attempts {
        assert_eq!(attempt.header("webhook-id"), taken.header("webhook-id"));
        assert_eq!(attempt.header("webhook-signature"), signature_by_openssl(attempt));
    }

    let sent = world.record("notification.sent", |record| record["correlation"] == id.as_str());
    assert_eq!((&sent["details"]["attempts"], &sent["details"]["people"]), (&3.into(), &2.into()));
    assert_eq!((&sent["object"], &sent["details"]["event"]), (&"notify:hook".into(), &"request".into()));
    let plain = sent["details"].to_string();
    assert!(!plain.contains("user:") && !plain.contains("till"), "{plain}");

    world.ask("rival", &["requests", "deny", &id, "--reason", "call <https://x.example|us>"]);
    let told = receiver.call("the refusal is told", |call| call.path == "/chat");
    let text = told.json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("Refused") && text.contains("&lt;https://x.example|us&gt;"), "{text}");
    // A refusal doesn't go to the webhook.
    assert!(
        receiver.calls().iter().all(|call| call.path != "/in" || call.json()["type"] == "sallyport.request")
    );
}

#[test]
fn what_a_dead_receiver_missed_is_told_after_a_crash_and_what_was_told_is_not_told_again() {
    let mut world = World::with().prepare();
    let receiver = Receiver::start(&[]);
    // A gateway that was killed is a detection of its own, which would go this way too.
    webhook(&world, &receiver, "events = [\"request\"]");
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let first = ask(&world, "first");
    world.record("notification.sent", |record| record["correlation"] == first.as_str());
    world.ask("visitor", &["requests", "withdraw", &first]);

    receiver.answer(&[503; 1000]);
    let second = ask(&world, "second");
    receiver.call("an attempt for the second", |call| call.answered == 503);
    world.kill_gateway();
    receiver.answer(&[]);
    let before = receiver.calls().len();
    world.start_gateway();
    world.record("notification.sent", |record| record["correlation"] == second.as_str());
    let after: Vec<Value> = receiver.calls()[before..]
        .iter()
        .map(|call| call.json()["data"]["facts"]["request"].clone())
        .collect();
    assert_eq!(after, [Value::from(second)], "the second and nothing else");
}

#[test]
fn a_redirect_is_not_followed_and_a_refusal_is_recorded_without_a_second_try() {
    let mut world = World::with().prepare();
    let receiver = Receiver::start(&[307]);
    webhook(&world, &receiver, "");
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let id = ask(&world, "see");
    let failed = world.record("notification.failed", |record| record["correlation"] == id.as_str());
    assert_eq!(failed["details"]["attempts"], 1);
    assert!(failed["details"]["reason"].as_str().unwrap().contains("307"), "{failed}");
    assert_eq!(receiver.calls().iter().map(|call| call.path.clone()).collect::<Vec<_>>(), ["/in"]);
}

#[test]
fn letters_reach_those_who_decide_and_then_who_asked_over_verified_tls() {
    for starttls in [false, true] {
        let mut world = World::with().policy("g, user:rival, role:admin, main").prepare();
        let server = MailServer::start(&world, starttls);
        let protection = if starttls { "starttls" } else { "tls" };
        world.configure(&format!(
            "[[notify.mail]]\nname = \"post\"\nhost = \"localhost\"\nport = {}\nprotection = \"{protection}\"\n\
             root_file = \"{}\"\nfrom = \"Sallyport <gate@example.com>\"\n\
             addresses = [\"user:admin=ada@example.com\", \"user:visitor=vic@example.com\"]\n",
            server.port,
            world.path("mail.pem").display()
        ));
        world.start_gateway();
        let _publisher = world.publish_demo("demo");
        let id = ask(&world, "to see");
        let asked = server.letter("the request's letter", |letter| letter.contains("To: ada@example.com"));
        assert!(
            asked.contains("From: Sallyport <gate@example.com>") && asked.contains("auto-generated"),
            "{asked}"
        );
        assert!(asked.contains("Subject: user:visitor asks for leave to connect tunnel:demo"), "{asked}");
        assert!(asked.contains(&id) && asked.contains("> to see"), "{asked}");
        // The other admin has no address, which is recorded; whose name it is, is sealed.
        let unknown =
            world.record("notification.failed", |record| record["values"]["target"] == "user:rival");
        assert!(!unknown["details"].to_string().contains("rival"), "{unknown}");
        let sent = world.record("notification.sent", |record| record["values"]["target"] == "user:admin");
        assert_eq!(sent["details"]["way"], "mail");

        world.ask("admin", &["requests", "approve", &id]);
        let granted = server.letter("the outcome's letter", |letter| letter.contains("To: vic@example.com"));
        assert!(granted.contains("Subject: Granted: connect tunnel:demo"), "{granted}");
        assert_eq!(server.letters().len(), 2);
    }
}

#[test]
fn a_mailbox_that_is_full_holds_up_nobody_elses_letters_nor_what_is_told_next() {
    let mut world = World::with().policy("g, user:rival, role:admin, main").prepare();
    let server = MailServer::start(&world, false);
    world.configure(&format!(
        "[[notify.mail]]\nname = \"post\"\nhost = \"localhost\"\nport = {}\nroot_file = \"{}\"\nfrom = \"gate@example.com\"\n\
         addresses = [\"user:admin=full@example.com\", \"user:rival=rita@example.com\", \"user:visitor=vic@example.com\"]\n",
        server.port,
        world.path("mail.pem").display()
    ));
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let id = ask(&world, "to see");
    server.letter("the other reviewer's letter", |letter| letter.contains("To: rita@example.com"));
    world.ask("admin", &["requests", "approve", &id]);
    server.letter("the outcome's letter", |letter| letter.contains("To: vic@example.com"));
    assert!(server.letters().iter().all(|letter| !letter.contains("full@example.com")));
}

#[test]
fn a_mail_server_that_shows_another_certificate_gets_nothing() {
    let mut world = World::with().set("notify.retry_secs=0").prepare();
    let server = MailServer::start(&world, false);
    world.configure(&format!(
        "[[notify.mail]]\nname = \"post\"\nhost = \"localhost\"\nport = {}\nroot_file = \"tls/root.pem\"\n\
         from = \"gate@example.com\"\naddresses = [\"user:admin=ada@example.com\"]\n",
        server.port
    ));
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let id = ask(&world, "to see");
    world.record("notification.failed", |record| record["correlation"] == id.as_str());
    assert_eq!(server.letters(), Vec::<String>::new());
}

#[test]
fn who_was_passed_over_when_the_glass_was_broken_is_told_each_by_name() {
    let mut world = World::with().policy("g, user:rival, role:admin, main").prepare();
    let file = world.state().join("policies/approvals.toml");
    let workflows = std::fs::read_to_string(&file).unwrap();
    let glass = "[workflow.owner-approves.break_glass]\nroles = [\"role:visitor\"]\nmax_minutes = 30\n\n[[workflow.owner-approves.step]]";
    std::fs::write(&file, workflows.replace("[[workflow.owner-approves.step]]", glass)).unwrap();
    let receiver = Receiver::start(&[]);
    webhook(&world, &receiver, "events = [\"glass\", \"glass-reviewed\"]");
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let broken =
        world.ask("visitor", &["break-glass", "demo", "--reason", "the ward is dark", "--minutes", "5"]);
    for person in ["user:admin", "user:rival"] {
        let told = receiver.call(person, |call| call.json()["data"]["to"] == serde_json::json!([person]));
        assert_eq!(told.json()["data"]["facts"]["reason"], "the ward is dark");
    }
    let grant = broken["id"].as_str().unwrap_or_else(|| panic!("{broken}"));
    world.ask("admin", &["glass", "review", grant, "justified", "--reason", "it was dark"]);
    let reviewed = receiver.call("the review", |call| call.json()["type"] == "sallyport.glass-reviewed");
    assert_eq!(reviewed.json()["data"]["to"], serde_json::json!(["user:visitor"]));
}

#[test]
fn a_secret_that_others_can_read_and_a_faulty_template_are_refused_at_the_start_by_name() {
    let world = World::with().prepare();
    let receiver = Receiver::start(&[]);
    webhook(&world, &receiver, "");
    let file = world.state().join("hook.whsec");
    let loose = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, loose).unwrap();
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("hook.whsec") && refused.err.contains("0600"), "{}", refused.err);
    assert!(!refused.err.contains("whsec_"), "{}", refused.err);

    secret(&file, &format!("whsec_{}", STANDARD.encode(SECRET)));
    std::fs::create_dir(world.state().join("texts")).unwrap();
    std::fs::write(world.state().join("texts/request.txt"), "{{ whomever }}").unwrap();
    let refused = world.refuses_to_start(&["notify.templates=texts"]);
    assert!(refused.err.contains("request.txt") && refused.err.contains("hint:"), "{}", refused.err);
}

#[test]
fn a_review_is_put_before_its_reviewers_and_an_operators_text_is_what_they_read() {
    let mut world = World::with().set("notify.templates=texts").prepare();
    std::fs::create_dir(world.state().join("texts")).unwrap();
    std::fs::write(world.state().join("texts/review.txt"), "Look: {{ open }} for {{ role }}\n{{ link }}\n")
        .unwrap();
    let receiver = Receiver::start(&[]);
    webhook(&world, &receiver, "events = [\"review\"]");
    world.start_gateway();
    world.ask("admin", &["reviews", "start", "--reviewers", "role:admin", "--days", "3"]);
    let told = eventually("the review is told", || receiver.calls().into_iter().next()).json();
    assert!(told["data"]["title"].as_str().unwrap().starts_with("Look: "), "{told}");
    assert_eq!(told["data"]["to"], serde_json::json!(["user:admin"]));
}

#[test]
fn what_a_rule_finds_is_told_signed_to_the_pager_and_by_mail_to_who_may_read_the_ledger_and_counted_by_rule()
{
    let mut world = World::with().policy("g, user:rival, role:admin, main").prepare();
    let receiver = Receiver::start(&[503]);
    webhook(&world, &receiver, "events = [\"detection\"]\ndetections_from = \"high\"");
    secret(&world.state().join("chat.url"), &receiver.url("/chat"));
    world.configure(
        "[[notify.chat]]\nname = \"room\"\nurl_file = \"chat.url\"\nevents = [\"detection\"]\ndetections_from = \"critical\"\n",
    );
    let server = MailServer::start(&world, false);
    world.configure(&format!(
        "[[notify.mail]]\nname = \"post\"\nhost = \"localhost\"\nport = {}\nroot_file = \"{}\"\nfrom = \"gate@example.com\"\n\
         events = [\"detection\"]\naddresses = [\"user:admin=ada@example.com\", \"user:visitor=vic@example.com\"]\n",
        server.port,
        world.path("mail.pem").display()
    ));
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let guess = format!("Authorization: Bearer {}AAAA", world.token("visitor"));
    for _ in 0..10 {
        assert_eq!(world.visit("open-demo", "/").header(&guess).run().status, 401);
    }
    let told = receiver.call("the detection is told", |call| {
        call.path == "/in"
            && call.answered == 200
            && call.json()["data"]["facts"]["rule"] == "repeated-failures"
    });
    assert_eq!(told.header("webhook-signature"), signature_by_openssl(&told));
    let body = told.json();
    assert_eq!(
        (&body["type"], &body["data"]["facts"]["severity"]),
        (&"sallyport.detection".into(), &"high".into())
    );
    // Whoever may not read the ledger isn't told what is in it.
    assert_eq!(body["data"]["to"], serde_json::json!(["user:admin", "user:rival"]), "{body}");
    let raised = world.record("detection.raised", |record| record["details"]["rule"] == "repeated-failures");
    let link = body["data"]["link"].as_str().unwrap();
    assert!(link.ends_with(&format!("/console/ledger/{}", raised["seq"])), "{link}");
    assert_eq!(body["data"]["facts"]["count"], "10");

    let letter = server.letter("the detection's letter", |letter| letter.contains("repeated-failures"));
    assert!(letter.contains("To: ada@example.com") && letter.contains("Subject: high: "), "{letter}");
    assert!(server.letters().iter().all(|letter| !letter.contains("vic@example.com")));
    assert!(
        receiver
            .calls()
            .iter()
            .all(|call| call.path != "/chat" || !call.json().to_string().contains("repeated-failures"))
    );
    let text = world.curl("/metrics").by(&world, "admin").run().text();
    let once = "sallyport_detections_total{rule=\"repeated-failures\",severity=\"high\"} 1";
    assert!(text.lines().any(|told| told == once), "{text}");
    let none = "sallyport_detections_total{rule=\"control-failed\",severity=\"critical\"} 0";
    assert!(text.lines().any(|told| told == none), "{text}");
}

#[test]
fn whose_leave_ends_soon_is_reminded_once_and_whose_leave_is_shorter_than_the_notice_is_not() {
    // The clock starts at the approval, and the grant ends 60 s later: the reminder is due 3 s into it.
    let mut world = World::with().set("notify.remind_grant_secs=57").prepare();
    let receiver = Receiver::start(&[]);
    webhook(&world, &receiver, "events = [\"granted\", \"grant-due\"]");
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let asked = world.ask("visitor", &["request", "demo", "--reason", "a look", "--minutes", "1"]);
    let id = asked["id"].as_str().unwrap();
    world.ask("admin", &["requests", "approve", id]);
    receiver.call("the grant is told", |call| call.json()["type"] == "sallyport.granted");
    let told = eventually("the reminder", || {
        // A way looks for what is due whenever there is something new.
        assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
        receiver.calls().into_iter().find(|call| call.json()["type"] == "sallyport.grant-due")
    });
    let body = told.json();
    assert_eq!(body["data"]["to"], serde_json::json!(["user:visitor"]), "{body}");
    assert_eq!(body["data"]["facts"]["object"], "tunnel:demo");
    assert!(body["data"]["title"].as_str().unwrap().starts_with("Ends soon: connect tunnel:demo"), "{body}");
    for _ in 0..3 {
        assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
    }
    world.record("notification.sent", |record| record["details"]["event"] == "grant-due");
    let again =
        receiver.calls().into_iter().filter(|call| call.json()["type"] == "sallyport.grant-due").count();
    assert_eq!(again, 1);
}

#[test]
fn a_pack_that_could_not_be_made_is_told_to_who_may_read_the_ledger_by_the_rule_report_failed() {
    let mut world = World::with().prepare();
    let receiver = Receiver::start(&[]);
    webhook(&world, &receiver, "events = [\"detection\", \"report\"]\ndetections_from = \"medium\"");
    // Where packs would lie there is a file.
    std::fs::write(world.state().join("reports"), "").unwrap();
    world.start_gateway();
    let day = world.records()[0]["time"].as_str().unwrap()[..10].to_owned();
    let begun = world.ask("admin", &["reports", "make", "soc2", "--from", &day, "--to", &day]);
    let name = format!("report:{}", begun["name"].as_str().unwrap());
    let told = receiver
        .call("that it failed is told", |call| call.json()["data"]["facts"]["rule"] == "report-failed");
    let body = told.json();
    assert_eq!(body["data"]["to"], serde_json::json!(["user:admin"]), "{body}");
    assert_eq!(
        (&body["data"]["facts"]["object"], &body["data"]["facts"]["severity"]),
        (&name.as_str().into(), &"medium".into())
    );
    let failed = world.record("report.made", |record| record["object"] == name.as_str());
    assert_eq!((&failed["result"], &failed["details"]["scheduled"]), (&"failure".into(), &false.into()));
    // By its number in the message whoever is told finds the record that says why.
    assert_eq!(body["data"]["facts"]["records"], failed["seq"].to_string());
    assert!(receiver.calls().iter().all(|call| call.json()["type"] != "sallyport.report"));
}
