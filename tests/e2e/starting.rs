//! Starts that must fail, each with a sentence that says what to do.

use super::world::{World, finish};

/// Exit code 1, a first line that begins with `error:` and holds `what`, a hint that holds `next`.
fn refused(world: &World, settings: &[&str], what: &[&str], next: &str) {
    let run = world.refuses_to_start(settings);
    assert_eq!(run.code, 1, "{}", run.err);
    let error = run
        .err
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_else(|| panic!("no error in: {}", run.err));
    for part in what {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    let hint = run
        .err
        .lines()
        .find(|line| line.starts_with(" hint: "))
        .unwrap_or_else(|| panic!("no hint in: {}", run.err));
    assert!(hint.contains(next), "no `{next}` in: {hint}");
    assert!(!run.err.contains("panicked"), "{}", run.err);
}

#[test]
fn a_wrong_pin_is_told_and_not_tried_twice() {
    let world = World::with().prepare();
    let pin = world.state().join("secrets/user.pin");
    std::fs::write(&pin, "1234567").unwrap();
    refused(&world, &[], &["PIN"], "PIN file");
    assert!(!world.refuses_to_start(&[]).err.contains("1234567"), "a PIN, even a wrong one, is not printed");
}

#[test]
fn a_token_that_is_not_there_is_named() {
    let world = World::with().prepare();
    refused(&world, &["keys.token=other"], &["\"other\""], "token");
}

#[test]
fn a_module_that_is_not_there_or_is_none_is_named() {
    let world = World::with().prepare();
    refused(&world, &["keys.module=/nowhere/libpkcs11.so"], &["/nowhere/libpkcs11.so"], "softhsm2");
    let root = world.root().to_string_lossy().into_owned();
    refused(&world, &[&format!("keys.module={root}")], &["root.pem"], "PKCS#11");
}

#[test]
fn a_pin_file_that_is_not_there_is_named() {
    let world = World::with().prepare();
    refused(&world, &["keys.pin_file=secrets/nothing"], &["secrets/nothing"], "0600");
}

#[test]
fn a_port_that_is_taken_is_named_with_the_setting_to_change() {
    let world = World::with().prepare();
    let taken = std::net::TcpListener::bind(("127.0.0.1", world.port())).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&world, &[], &[&address, "in use"], "gateway.listen");
}

#[test]
fn a_second_gateway_on_the_same_ledger_is_refused_and_the_first_goes_on() {
    let world = World::start();
    refused(
        &world,
        &["gateway.listen=127.0.0.1:0"],
        &["in use by another gateway"],
        "stop the other gateway",
    );
    assert_eq!(world.curl("/readyz").run().status, 200);
    let count = world.records_of("gateway.started").len();
    assert_eq!(count, 1, "the second one wrote a record");
}

#[test]
fn a_file_where_the_ledger_should_be_is_told() {
    let world = World::with().prepare();
    std::fs::write(world.path("file"), "not a folder").unwrap();
    let setting = format!("ledger.directory={}", world.path("file").display());
    refused(&world, &[&setting], &["ledger", "file"], "directory");
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let (world, other) = (World::with().prepare(), World::with().prepare());
    std::fs::copy(other.state().join("tls/server.pem"), world.state().join("tls/server.pem")).unwrap();
    refused(&world, &[], &["server.pem", "key"], "sallyportd init");
}

#[test]
fn a_ledger_of_another_gateway_is_refused() {
    let (world, other) = (World::with().prepare(), World::with().prepare());
    let setting = format!("ledger.directory={}", other.state().join("ledger").display());
    refused(&world, &[&setting], &["ledger", "data keys", "does not open"], "key provider");
}

#[test]
fn keys_that_live_in_a_sealed_file_are_announced_loudly_and_work_the_same() {
    let world = World::with().prepare();
    let state = world.path("software");
    let made = finish(
        std::process::Command::new(env!("CARGO_BIN_EXE_sallyportd"))
            .args(["init", "--keys", "software", "--state"])
            .arg(&state),
    );
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.err.contains("WARNING"), "{}", made.err);
    let listed = finish(
        std::process::Command::new(env!("CARGO_BIN_EXE_sallyportd"))
            .args(["keys", "list", "--config"])
            .arg(state.join("sallyport.toml")),
    );
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert_eq!(listed.out.matches("NOTHING: software").count(), 8, "{}", listed.out);
    assert!(!listed.out.contains("never leaves the token"), "{}", listed.out);
}

#[test]
fn a_disk_without_room_is_told_by_init() {
    if !super::mounts::can_mount() {
        return;
    }
    let world = World::with().prepare();
    let state = world.path("small");
    std::fs::create_dir(&state).unwrap();
    let script = format!("mount -t tmpfs -o size=16k none {}; exec \"$@\"", state.display());
    let refused = finish(
        std::process::Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-euc", &script, "sh"])
            .args([env!("CARGO_BIN_EXE_sallyportd"), "init", "--keys", "software", "--state"])
            .arg(&state),
    );
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("No space left on device"), "{}", refused.err);
    assert!(refused.err.contains("hint:") && !refused.err.contains("panicked"), "{}", refused.err);
}

/// Cuts the last group off the journal, as a bad disk or a forger would.
fn cut_the_end(world: &World) {
    let mut segments: Vec<_> = std::fs::read_dir(world.state().join("ledger/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    let bytes = std::fs::read(segments.last().unwrap()).unwrap();
    let last = bytes.windows(4).rposition(|window| window == b"SPG1").unwrap();
    std::fs::write(segments.last().unwrap(), &bytes[..last]).unwrap();
}

#[test]
fn a_ledger_whose_end_is_missing_is_refused_recovered_and_goes_on_and_says_so_and_old_tokens_end() {
    let mut world = World::start();
    assert_eq!(world.cli("admin", &["tunnels"]).code, 0);
    world.stop_gateway();
    cut_the_end(&world);
    refused(&world, &[], &["records, but", "knows of"], "auditctl recover");

    let (ledger, key) = (world.state().join("ledger"), world.state().join("ledger.vkey"));
    let (ledger, key) = (ledger.to_str().unwrap(), key.to_str().unwrap());
    let shown = world.auditctl(&["recover", ledger, "--key-file", key]);
    assert_eq!(shown.code, 1, "{}{}", shown.out, shown.err);
    refused(&world, &[], &["knows of"], "auditctl recover");
    let applied = world.auditctl(&[
        "recover",
        ledger,
        "--key-file",
        key,
        "--apply",
        "--by",
        "user:olga",
        "--reason",
        "the disk was replaced",
    ]);
    assert_eq!(applied.code, 0, "{}{}", applied.out, applied.err);

    world.start_gateway();
    let refused = world.cli("admin", &["tunnels"]);
    assert_eq!(refused.code, 4, "a lost record may have revoked it: {}{}", refused.out, refused.err);
    world.stop_gateway();
    // A new first token, from the operator.
    std::fs::remove_file(world.token_file("admin")).unwrap();
    assert_eq!(world.init(&[]).code, 0);
    world.start_gateway();
    assert_eq!(world.cli("admin", &["tunnels"]).code, 0);
    world.stop_gateway();

    let verdict = world.auditctl(&["verify", ledger, "--key-file", key]);
    assert_eq!(verdict.code, 1, "{}", verdict.out);
    assert!(verdict.out.contains("declared gap"), "{}", verdict.out);
    let (_, accept) = verdict.out.split_once("says so with `--accept-epoch ").unwrap();
    let (accept, _) = accept.split_once('`').unwrap();
    let verdict = world.auditctl(&["verify", ledger, "--key-file", key, "--accept-epoch", accept]);
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    assert!(!verdict.out.contains("olga"), "who decided is sealed");
}
