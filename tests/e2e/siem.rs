//! Records on their way to a real rsyslog. What a sink promises in detail, `audit/tests/siem` shows; this shows that the
//! gateway starts it as configured, and that neither side's restart loses a record.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::patience::eventually;
use super::process::Process;
use super::receiver::{Call, Receiver};
use super::world::{World, finish};

/// A syslog server that writes what it gets, one message a line.
struct Rsyslog {
    port: u16,
    process: Option<Process>,
}

impl Rsyslog {
    fn start(world: &World) -> Self {
        // The last of the world's own ports: no tunnel of these tests asks for it.
        let mut server = Self { port: world.tcp_ports().1, process: None };
        server.launch(world);
        server
    }

    fn launch(&mut self, world: &World) {
        let configuration = format!(
            "global(workDirectory=\"{directory}\" maxMessageSize=\"512k\")\n\
             module(load=\"imtcp\")\n\
             template(name=\"line\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{directory}/siem\" template=\"line\") }}\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"all\")\n",
            directory = world.directory().display(),
            port = self.port,
        );
        std::fs::write(world.path("rsyslog.conf"), configuration).unwrap();
        let program =
            if Path::new("/usr/sbin/rsyslogd").exists() { "/usr/sbin/rsyslogd" } else { "rsyslogd" };
        let mut command = Command::new(program);
        command.arg("-n").arg("-f").arg(world.path("rsyslog.conf")).arg("-i").arg(world.path("rsyslog.pid"));
        self.process = Some(Process::start("rsyslog", world.directory(), &mut command));
    }

    fn kill(&mut self, world: &World) {
        self.process.take().unwrap().kill();
        let _none_left = std::fs::remove_file(world.path("rsyslog.pid"));
    }
}

/// The numbers of the records that arrived, in the order of their first arrival.
fn arrived(world: &World) -> Vec<u64> {
    let text = std::fs::read(world.path("siem")).unwrap_or_default();
    let mut numbers = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let number = line.split(" seq=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
        if let Some(number) = number.filter(|number| !numbers.contains(number)) {
            numbers.push(number);
        }
    }
    numbers
}

fn everything_arrives(world: &World) {
    let known = world.records().len() as u64;
    let numbers = eventually("the records arrive", || {
        let numbers = arrived(world);
        (numbers.len() as u64 >= known).then_some(numbers)
    });
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "in order, and without a gap");
}

#[test]
fn every_record_reaches_a_syslog_server_in_order_whichever_side_is_started_again() {
    let mut world = World::with().prepare();
    let mut server = Rsyslog::start(&world);
    let port = server.port;
    world.configure(&format!(
        "[[sinks]]\nname = \"soc\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:{port}\"\n"
    ));
    world.start_gateway();
    let publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    everything_arrives(&world);
    let text = String::from_utf8_lossy(&std::fs::read(world.path("siem")).unwrap()).into_owned();
    assert!(text.contains("session.opened") && text.contains("subject=\"user:visitor\""), "{text}");

    // The server dies, records go on, it comes back.
    server.kill(&world);
    for _ in 0..5 {
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    }
    eventually("the status says that the sink is cut off", || {
        let status = world.ask("admin", &["status"]);
        (status["sinks"][0]["connected"] == false).then_some(())
    });
    server.launch(&world);
    everything_arrives(&world);

    // The gateway dies without a last word, and comes back.
    drop(publisher);
    world.kill_gateway();
    world.start_gateway();
    everything_arrives(&world);
    world.record("sink.connected", |_| true);
}

#[test]
fn a_sink_that_cannot_be_started_is_named() {
    let world = World::with().prepare();
    world.configure("[[sinks]]\nname = \"soc\"\naddress = \"127.0.0.1:1\"\nroot_file = \"nothing.pem\"\n");
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(
        refused.err.contains("soc") && refused.err.contains("nothing.pem") && refused.err.contains("hint:"),
        "{}",
        refused.err
    );
}

#[test]
fn what_a_file_in_ocsf_holds_is_proved_to_be_the_ledger_and_a_changed_line_is_named() {
    let mut world = World::with().prepare();
    world.configure(
        "[[sinks]]\nname = \"archive\"\ntransport = \"file\"\npath = \"siem.jsonl\"\nformat = \"ocsf\"\n",
    );
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    let known = world.records().len() as u64;
    eventually("the records are written", || {
        let status = world.ask("admin", &["status"]);
        (status["sinks"][0]["settled"].as_u64()? >= known).then_some(())
    });
    world.stop_gateway();
    let (ledger, file) = (world.state().join("ledger"), world.state().join("siem.jsonl"));
    let reconcile = || {
        let run = world.auditctl(&["reconcile", ledger.to_str().unwrap(), file.to_str().unwrap(), "--json"]);
        (run.code, serde_json::from_str::<serde_json::Value>(run.out.trim()).unwrap())
    };
    let (code, answer) = reconcile();
    assert_eq!((code, &answer["contiguous"]), (0, &true.into()), "{answer}");
    assert!(answer["proved"].as_u64().unwrap() >= known);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("session.opened", "session.closed", 2)).unwrap();
    let (code, answer) = reconcile();
    assert_eq!((code, &answer["verdict"][0]), (1, &"altered".into()), "{answer}");
}

#[test]
fn somebody_who_guesses_tokens_is_found_and_it_is_a_record() {
    let mut world = World::with().prepare();
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let guess = format!("Authorization: Bearer {}AAAA", world.token("visitor"));
    for _ in 0..10 {
        assert_eq!(world.visit("open-demo", "/").header(&guess).run().status, 401);
    }
    let raised = world.record("detection.raised", |record| record["details"]["rule"] == "repeated-failures");
    assert_eq!(raised["details"]["count"], 10);
    assert_eq!(world.ask("admin", &["status"])["detections"]["raised"]["repeated-failures"], 1);
}

#[test]
fn denials_a_control_that_fails_and_a_policy_that_allows_more_are_found_in_the_gateways_own_records() {
    let mut world = World::with().set("access.canary_secs=1").prepare();
    world.start_gateway();
    let found = |rule: &str| world.record("detection.raised", |record| record["details"]["rule"] == rule);
    let _publisher = world.publish_demo("open-demo");
    let visit = || world.visit("open-demo", "/").by(&world, "rival").run().status;
    for _ in 0..20 {
        assert_eq!(visit(), 403);
    }
    assert_eq!(found("repeated-denials")["details"]["count"], 20);

    // The canary's own account is locked, so that its token is refused before it is revoked: that proves nothing.
    world.ask("admin", &["lock", "user:canary", "--reason", "a test"]);
    let of = |raised: &Value| {
        let seq = raised["details"]["records"][0].as_u64().unwrap();
        world.records().swap_remove(usize::try_from(seq).unwrap())
    };
    let tried = of(&found("control-failed"));
    assert_eq!((&tried["kind"], &tried["result"]), (&"canary.tried".into(), &"failure".into()), "{tried}");

    // As many rows as before, and somebody may do more.
    let file = world.state().join("policies/policy.csv");
    let rows = std::fs::read_to_string(&file).unwrap();
    let row = |role: &str| format!("p, role:{role}, main, tunnel:open-*, connect, allow, -");
    assert!(rows.contains(&row("visitor")));
    std::fs::write(&file, rows.replace(&row("visitor"), &row("publisher"))).unwrap();
    let reload = world.curl("/api/v1/policy/reload").by(&world, "admin").args(&["--request", "POST"]);
    assert_eq!(reload.run().status, 200);
    assert_eq!(visit(), 200);
    let loaded = of(&found("policy-loosened"));
    assert_eq!(loaded["details"]["change"], "looser", "{loaded}");
    assert!(loaded["details"]["eased_people"].as_u64().unwrap() >= 1, "{loaded}");
    assert!(loaded["details"]["eased"].to_string().contains("connect tunnel:open-"), "{loaded}");
    assert!(!loaded["details"].to_string().contains("rival"), "{loaded}");
}

#[test]
fn no_session_begins_while_a_sink_is_dead_if_the_operator_wants_it_so() {
    let mut world = World::with().prepare();
    let port = world.tcp_ports().1;
    world.configure(&format!(
        "[[sinks]]\nname = \"soc\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:{port}\"\ndead_secs = 10\nwhen_dead = \"stop-sessions\"\n"
    ));
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200, "it is not dead yet");
    eventually("sessions are refused", || {
        let answer = world.visit("open-demo", "/").by(&world, "visitor").run();
        (answer.status == 503 && answer.head.contains("sink-dead")
            || String::from_utf8_lossy(&answer.body).contains("sink-dead"))
        .then_some(())
    });
    let mut server = Rsyslog { port, process: None };
    server.launch(&world);
    eventually("sessions begin again", || {
        (world.visit("open-demo", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
}

#[test]
fn a_gateway_whose_http_receiver_is_dead_says_that_it_is_not_ready_and_serves_on_until_it_is_back() {
    let mut world = World::with().prepare();
    let receiver = Receiver::start(&vec![503; 10_000]);
    world.configure(&format!(
        "[[sinks]]\nname = \"hook\"\ntransport = \"webhook\"\nurl = \"{}\"\ndead_secs = 10\nwhen_dead = \"degrade\"\n",
        receiver.url("/in")
    ));
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let ready = || world.curl("/readyz").run();
    assert_eq!(ready().status, 200, "it is not dead yet");
    eventually("the death is told", || {
        let answer = ready();
        (answer.status == 503 && answer.text().contains("sink-dead")).then_some(())
    });
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200, "sessions go on");
    let measured = world.curl("/metrics").by(&world, "admin").run().text();
    let seconds =
        measured.lines().find_map(|line| line.strip_prefix("sallyport_sink_failing_seconds{sink=\"hook\"} "));
    assert!(seconds.unwrap().parse::<u64>().unwrap() >= 10, "{measured}");
    receiver.answer(&[]);
    eventually("it is ready again", || (ready().status == 200).then_some(()));
}

/// Whether OpenSSL accepts a request's signature under the key in a `.vkey` file, as docs/siem/receivers.md says.
fn accepted_by_openssl(world: &World, call: &Call, vkey: &str) -> bool {
    let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&call.body)));
    assert_eq!(call.header("content-digest"), digest);
    let parameters = call.header("signature-input").strip_prefix("sallyport=").unwrap();
    let base = format!(
        "\"@method\": POST\n\"@authority\": {}\n\"@path\": {}\n\"content-type\": {}\n\"content-digest\": {}\n\
         \"webhook-id\": {}\n\"@signature-params\": {parameters}",
        call.header("host"),
        call.path,
        call.header("content-type"),
        call.header("content-digest"),
        call.header("webhook-id"),
    );
    let signature = call.header("signature").strip_prefix("sallyport=:").unwrap().trim_end_matches(':');
    std::fs::write(world.path("base"), base).unwrap();
    std::fs::write(world.path("signature"), STANDARD.decode(signature).unwrap()).unwrap();
    std::fs::write(world.path("vkey"), vkey).unwrap();
    let script = "(printf '\\060\\052\\060\\005\\006\\003\\053\\145\\160\\003\\041\\000'; cut -d+ -f3- vkey | base64 -d | tail -c 32) | \
         openssl pkey -pubin -inform DER -out key.pem && \
         openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in base -sigfile signature";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(world.directory());
    finish(&mut shell).code == 0
}

#[test]
fn a_webhook_is_signed_by_the_ledgers_key_in_the_token_and_by_the_next_one_after_a_rotation() {
    let mut world = World::with().prepare();
    let receiver = Receiver::start(&[]);
    world.configure(&format!(
        "[[sinks]]\nname = \"hook\"\ntransport = \"webhook\"\nurl = \"{}\"\nsigned_by_ledger_key = true\n",
        receiver.url("/in")
    ));
    world.start_gateway();
    let vkey = || std::fs::read_to_string(world.state().join("ledger.vkey")).unwrap();
    let signed_by = |vkey: &str| {
        let keyid = format!(";keyid=\"{}\";", vkey.trim());
        receiver.call("a request of this key", |call| call.header("signature-input").contains(&keyid))
    };
    let first = vkey();
    let call = signed_by(&first);
    assert!(accepted_by_openssl(&world, &call, &first));
    let mut later = call.clone();
    let input = call.header("signature-input").replace(";created=1", ";created=2");
    later.headers.insert("signature-input", input.parse().unwrap());
    assert!(!accepted_by_openssl(&world, &later, &first), "the time is signed");

    world.ask("admin", &["keys", "rotate", "ledger", "--reason", "it is time"]);
    let second = vkey();
    assert_ne!(first, second);
    let call = signed_by(&second);
    assert!(accepted_by_openssl(&world, &call, &second));
    assert!(!accepted_by_openssl(&world, &call, &first));
}

#[test]
fn only_a_webhook_can_be_signed_by_the_ledgers_key() {
    let world = World::with().prepare();
    world.configure("[[sinks]]\nname = \"soc\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:1\"\nsigned_by_ledger_key = true\n");
    let refused = world.refuses_to_start(&[]);
    assert!(refused.err.contains("sinks[0].signed_by_ledger_key"), "{}", refused.err);
}
