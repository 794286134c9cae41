//! Witnesses: real `auditctl witness serve` processes, each with a key and a memory of its own.

use std::path::PathBuf;
use std::process::Command;

use super::patience::eventually;
use super::process::Process;
use super::world::World;

/// A witness that can be stopped and started again in its place.
struct Witness {
    name: &'static str,
    directory: PathBuf,
    address: String,
    key: String,
    process: Option<Process>,
}

fn auditctl() -> Command {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_sallyport")).with_file_name("auditctl");
    let help = Command::new(&program).args(["witness", "--help"]).output();
    let serves = help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("serve"));
    assert!(
        serves,
        "{} serves no witness: run `cargo build -p auditctl --features serve`",
        program.display()
    );
    Command::new(program)
}

impl Witness {
    /// Makes a witness of this world's ledger, and starts it.
    fn new(world: &World, name: &'static str) -> Self {
        let directory = world.path(name);
        let made = auditctl()
            .args(["witness", "init"])
            .arg(&directory)
            .args(["--name", &format!("witness.example.net/{name}")])
            .output()
            .unwrap();
        let keys = String::from_utf8(made.stdout).unwrap();
        let key = keys.lines().next().unwrap().to_owned();
        let mut witness = Self { name, directory, address: "127.0.0.1:0".to_owned(), key, process: None };
        witness.start(world);
        witness
    }

    fn start(&mut self, world: &World) {
        let mut command = auditctl();
        command.args(["witness", "serve"]).arg(&self.directory);
        command.arg("--key-file").arg(world.state().join("ledger.vkey")).args(["--listen", &self.address]);
        // Each start has an output of its own, so that the line found is its own.
        let output = tempfile::tempdir_in(world.directory()).unwrap().keep();
        let mut process = Process::start(self.name, &output, &mut command);
        let listening = |line: &str| line.strip_prefix("listening on http://").map(str::to_owned);
        self.address = process.line("where it listens", listening);
        self.process = Some(process);
    }

    fn stop(&mut self) {
        self.process = None;
    }

    fn block(&self) -> String {
        let Self { name, address, key, .. } = self;
        format!("[[witnesses]]\nname = \"{name}\"\nurl = \"http://{address}\"\nkey = \"{key}\"\n")
    }
}

fn often(policy: &str, quorum: &str) -> World {
    World::with()
        .set(&format!("ledger.witness_quorum={quorum}"))
        .set("ledger.witness_secs=1")
        .set("ledger.witness_max_age_secs=2")
        .set("ledger.witness_timeout_secs=2")
        .set(&format!("ledger.witness_policy={policy}"))
        .prepare()
}

#[test]
fn the_ledgers_page_says_of_each_witness_how_far_it_is_and_lists_the_heads_that_they_were_shown() {
    let mut world = often("fail-open", "2");
    let mut witnesses = ["w1", "w2", "w3"].map(|name| Witness::new(&world, name));
    let blocks: Vec<_> = witnesses.iter().map(Witness::block).collect();
    world.configure(&format!("{}\n", blocks.concat()));
    witnesses[2].stop();
    world.start_gateway();
    world.record("ledger.witnessed", |record| record["details"]["reached"] == true);
    super::console::told(&world, "witnesses");
}

#[test]
fn two_of_three_witnesses_are_enough_and_without_them_a_gateway_that_fails_open_says_so_and_goes_on() {
    let mut world = often("fail-open", "2");
    let mut witnesses = ["w1", "w2", "w3"].map(|name| Witness::new(&world, name));
    let blocks: Vec<_> = witnesses.iter().map(Witness::block).collect();
    world.configure(&format!("{}\n", blocks.concat()));
    witnesses[2].stop();
    world.start_gateway();
    let told = world.record("ledger.witnessed", |record| record["details"]["reached"] == true);
    assert_eq!(told["details"]["missing"][0]["witness"], "w3");
    let loaded = &world.records_of("config.loaded")[0]["details"];
    assert_eq!((&loaded["witness_policy"], &loaded["witness_quorum"]), (&"fail-open".into(), &2.into()));
    let state = || world.ask("admin", &["status"])["witnesses"]["state"].as_str().unwrap().to_owned();
    eventually("the status says who has seen the ledger", || state().contains("by w1, w2").then_some(()));
    let _publisher = world.publish_demo("open-demo");

    witnesses[0].stop();
    eventually("the status says that one is not enough", || {
        state().starts_with("not witnessed since ").then_some(())
    });
    let ready = world.curl("/readyz").run();
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\nnot-witnessed\n"));
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    witnesses[0].start(&world);
    eventually("it is witnessed again", || state().starts_with("witnessed: ").then_some(()));

    world.stop_gateway();
    let cosigners = world.path("cosigners");
    let keys: Vec<_> = witnesses.iter().map(|witness| format!("{}\n", witness.key)).collect();
    std::fs::write(&cosigners, keys.concat()).unwrap();
    let (ledger, key) = (world.state().join("ledger"), world.state().join("ledger.vkey"));
    let verify = |quorum: &str| {
        let [ledger, key, cosigners] = [&ledger, &key, &cosigners].map(|path| path.to_str().unwrap());
        world.auditctl(&[
            "verify",
            ledger,
            "--key-file",
            key,
            "--cosigner-file",
            cosigners,
            "--quorum",
            quorum,
        ])
    };
    let verdict = verify("2");
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    assert!(
        verdict.out.contains("2 of 3 given cosigners signed a head of this ledger: witness.example.net/w1")
    );
    assert_eq!(verify("3").code, 1);
}

#[test]
fn a_gateway_that_fails_closed_opens_no_session_while_nobody_watches_and_recovers_by_itself() {
    let mut world = often("fail-closed", "1");
    let mut witness = Witness::new(&world, "w1");
    world.configure(&witness.block());
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let visit = || world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_eq!(visit().status, 200);

    witness.stop();
    let refused = eventually("a session is refused", || {
        let answer = visit();
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.problem(), "not-witnessed");
    assert!(refused.header("retry-after").is_some());
    let ready = world.curl("/readyz").run();
    assert_eq!((ready.status, ready.text().as_str()), (503, "not-witnessed\n"));
    let status = world.ask("admin", &["status"]);
    assert_eq!(status["ready"], false);
    let why = status["not_ready_because"].as_str().unwrap();
    assert!(why.starts_with("the ledger is not witnessed since "), "{why}");

    witness.start(&world);
    eventually("sessions are opened again", || (visit().status == 200).then_some(()));
}

#[test]
fn a_restored_backup_is_refused_because_the_witness_has_seen_more() {
    let mut world = often("fail-open", "1");
    let witness = Witness::new(&world, "w1");
    world.configure(&witness.block());
    let (ledger, backup) = (world.state().join("ledger"), world.path("backup"));
    let copy = |from: &PathBuf, to: &PathBuf| {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    };
    copy(&ledger, &backup);
    world.start_gateway();
    world.record("ledger.witnessed", |record| record["details"]["reached"] == true);
    world.stop_gateway();
    std::fs::remove_dir_all(&ledger).unwrap();
    copy(&backup, &ledger);
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("ledger-seen-elsewhere"), "{}", refused.err);
    assert!(refused.err.contains("the witness `w1` has seen"), "{}", refused.err);
    assert!(refused.err.contains("hint: if an old copy of the ledger was restored"), "{}", refused.err);
    let before = std::fs::read(backup.join("journal/00000000000000000000.seg")).unwrap();
    let after = std::fs::read(ledger.join("journal/00000000000000000000.seg")).unwrap();
    assert_eq!(before, after, "nothing is added to it");
}
