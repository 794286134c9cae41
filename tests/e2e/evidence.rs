//! An evidence pack of a real gateway's ledger, in the hands of a stranger.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::patience::eventually;
use crate::world::{World, finish};

fn place(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Stops the gateway and makes a pack of all that it recorded: where the ledger, its key and the pack are.
fn make_pack(world: &mut World) -> [PathBuf; 3] {
    let day = |record: Option<&Value>| record.unwrap()["time"].as_str().unwrap()[..10].to_owned();
    let records = world.records();
    let (from, to) = (day(records.first()), day(records.last()));
    world.stop_gateway();
    let (ledger, key) = (world.path("state/ledger"), world.path("state/ledger.vkey"));
    let pack = world.path("pack");
    let made = world.auditctl(&[
        "report",
        "soc2",
        &place(&ledger),
        "--key-file",
        &place(&key),
        "--from",
        &from,
        "--to",
        &to,
        "--out",
        &place(&pack),
    ]);
    assert_eq!(made.code, 0, "{}{}", made.out, made.err);
    [ledger, key, pack]
}

#[test]
fn a_stranger_with_a_pack_and_a_key_verifies_samples_and_follows_a_session_without_us() {
    let mut world = World::with().set("access.canary_secs=1").start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    for path in ["/", "/headers", "/"] {
        assert_eq!(world.visit("demo", path).by(&world, "visitor").run().status, 200);
    }
    assert_eq!(world.visit("demo", "/").by(&world, "rival").run().status, 403, "nobody without leave");
    assert_eq!(world.cli("admin", &["grants", "revoke", &grant, "--reason", "done"]).code, 0);
    eventually("a canary was tried", || world.records_of("canary.tried").pop());
    let [ledger, key, pack] = make_pack(&mut world);
    if let Ok(keep) = std::env::var("SALLYPORT_KEEP_PACK") {
        let copied = Command::new("cp").args(["-r", &place(&pack), &keep]).status().unwrap();
        assert!(copied.success());
    }
    // Where the gateway's own host is not: no environment, no ledger.
    std::fs::rename(&ledger, world.path("elsewhere")).unwrap();
    let stranger = finish(
        Command::new("bash")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/stranger"))
            .args([
                &place(&pack),
                &place(&Path::new(env!("CARGO_BIN_EXE_sallyport")).with_file_name("auditctl")),
                &place(&key),
            ]),
    );
    assert_eq!(stranger.code, 0, "{}{}", stranger.out, stranger.err);
    println!("{}", stranger.out);
    let last: Value = serde_json::from_str(stranger.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["stranger"], "satisfied");
}

#[test]
fn the_page_of_a_pack_opens_in_a_browser_from_a_file_has_every_table_is_accessible_and_prints() {
    let mut world = World::with().set("access.canary_secs=1").start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
    assert_eq!(world.visit("demo", "/").by(&world, "rival").run().status, 403, "nobody without leave");
    assert_eq!(world.cli("admin", &["grants", "revoke", &grant, "--reason", "done"]).code, 0);
    eventually("a canary was tried", || world.records_of("canary.tried").pop());
    make_pack(&mut world);
    crate::console::told(&world, "report");
}

#[test]
fn the_gateway_makes_a_pack_signed_by_its_token_for_whoever_may_audit_and_nobody_else() {
    let world = World::with().set("reports.most=1").start();
    let _publisher = world.publish_demo("demo");
    let day = world.records()[0]["time"].as_str().unwrap()[..10].to_owned();
    let period = ["--from", &day, "--to", &day, "--timezone", "UTC"];
    let refused = world.cli("visitor", &[&["reports", "make", "pci"], &period[..]].concat());
    assert_eq!(refused.code, 4, "{}", refused.err);
    let senseless = world.cli("admin", &["reports", "make", "cobit", "--from", &day, "--to", &day]);
    assert_eq!(senseless.code, 2, "{}", senseless.err);
    let begun = world.ask("admin", &[&["reports", "make", "pci"], &period[..]].concat());
    let name = begun["name"].as_str().unwrap().to_owned();
    let made = eventually("the pack is made", || {
        let list = world.ask("admin", &["reports", "list"]);
        let view = list.as_array().unwrap().iter().find(|view| view["name"] == *name)?.clone();
        assert_ne!(view["state"], "failed", "{view}");
        (view["state"] == "made").then_some(view)
    });
    let file = world.path("pack.zip");
    let place = file.to_str().unwrap();
    assert_eq!(world.cli("visitor", &["reports", "get", &name, "--out", place]).code, 4);
    assert_eq!(world.cli("admin", &["reports", "get", "../ledger/head", "--out", place]).code, 2);
    let got = world.cli("admin", &["reports", "get", &name, "--out", place]);
    assert_eq!(got.code, 0, "{}", got.err);
    let digest = Command::new("sha256sum").arg(&file).output().unwrap();
    assert!(String::from_utf8(digest.stdout).unwrap().starts_with(made["sha256"].as_str().unwrap()));
    let key = world.path("state/ledger.vkey");
    let signer = made["signer"].as_str().unwrap();
    let checked =
        world.auditctl(&["verify-pack", place, "--key-file", key.to_str().unwrap(), "--signer", signer]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let recorded = world.record("report.made", |record| record["result"] == "success");
    assert_eq!(recorded["details"]["sha256"], made["sha256"]);
    assert_eq!(recorded["object"], format!("report:{name}").as_str());

    // As many are kept as may be, until one is deleted, which is recorded and not for everybody.
    let full = world.cli("admin", &[&["reports", "make", "soc2"], &period[..]].concat());
    assert!(full.code != 0 && full.err.contains("reports.most"), "{}", full.err);
    let delete = ["reports", "delete", &name, "--reason", "kept elsewhere"];
    assert_eq!(world.cli("visitor", &delete).code, 4);
    assert_eq!(world.cli("admin", &["reports", "delete", "../x", "--reason", "no"]).code, 2);
    assert_eq!(world.ask("admin", &delete)["state"], "deleted");
    let called = world.record("admin.called", |record| record["details"]["call"] == "delete_report");
    assert!(called["details"]["before"].is_string(), "{called}");
    assert!(world.ask("admin", &["reports", "list"]).as_array().unwrap().is_empty());
    assert_ne!(world.cli("admin", &["reports", "get", &name, "--out", place]).code, 0);
    world.ask("admin", &[&["reports", "make", "soc2"], &period[..]].concat());
}

#[test]
fn an_admin_decides_of_what_packs_are_made_by_the_month_and_that_outlasts_a_start() {
    let mut world = World::with().set("reports.monthly=soc2").start();
    let shown = |world: &World| {
        let view = world.ask("admin", &["reports", "schedule"]);
        (view["frameworks"].clone(), view["decided"].clone())
    };
    assert_eq!(shown(&world), (json!(["soc2"]), json!(false)));
    let why = ["--reason", "the auditors come in spring"];
    let decide = |what: &[&'static str]| [&["reports", "schedule"], what, &why[..]].concat();
    assert_eq!(world.cli("visitor", &decide(&["--of", "pci"])).code, 4);
    assert_eq!(world.cli("visitor", &["reports", "schedule"]).code, 4);
    let senseless = world.cli("admin", &decide(&["--of", "cobit"]));
    assert!(senseless.code == 2 && senseless.err.contains("cobit"), "{}", senseless.err);
    assert_eq!(world.cli("admin", &["reports", "schedule", "--none"]).code, 2, "without a reason");
    assert_eq!(shown(&world), (json!(["soc2"]), json!(false)));

    world.ask("admin", &decide(&["--of", "pci", "--of", "hipaa", "--of", "pci"]));
    world.stop_gateway();
    world.start_gateway();
    assert_eq!(shown(&world), (json!(["pci", "hipaa"]), json!(true)));
    let called = world.record("admin.called", |record| record["details"]["call"] == "schedule_reports");
    assert!(called["details"]["before"].is_string() && called["details"]["after"].is_string(), "{called}");
    world.ask("admin", &decide(&["--none"]));
    assert_eq!(shown(&world), (json!([]), json!(true)));

    std::fs::write(world.path("state/reports/monthly"), "cobit").unwrap();
    let faulty = world.cli("admin", &["reports", "schedule"]);
    assert!(faulty.code != 0 && faulty.err.contains("monthly"), "{}", faulty.err);
    world.ask("admin", &decide(&["--of", "iso27001"]));
    assert_eq!(shown(&world), (json!(["iso27001"]), json!(true)));
}
