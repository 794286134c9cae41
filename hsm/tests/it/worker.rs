//! The provider in a process of its own: what crashes there is an outage here, and ends by itself.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sallyport_hsm::testing::{FaultyModule, TestToken};
use sallyport_hsm::{Cause, Health, KeyError, Keys, ProviderConfig, Role, Tuning, Turn};
use tokio::sync::watch;

const MESSAGE: &[u8] = b"sallyport test message";

/// Far longer than any of it takes; only a broken recovery waits this long.
const PATIENCE: Duration = Duration::from_mins(2);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn wait_for(health: &mut watch::Receiver<Health>, wanted: impl FnMut(&Health) -> bool) -> Health {
    tokio::time::timeout(PATIENCE, health.wait_for(wanted)).await.expect("health changes").unwrap().clone()
}

fn is_up(health: &Health) -> bool {
    *health == Health::Up
}

fn is_down(health: &Health) -> bool {
    health.outage().is_some()
}

fn in_worker(token: &TestToken) -> ProviderConfig {
    match token.config() {
        worker @ ProviderConfig::InWorker { .. } => worker,
        here => TestToken::in_worker(here),
    }
}

fn open(token: &TestToken) -> Keys {
    let keys = Keys::open_with(&in_worker(token), TestToken::tuning()).unwrap();
    keys.generate_missing().unwrap();
    keys
}

fn pid(keys: &Keys) -> Pid {
    let pid = keys.vitals().worker.unwrap().pid.expect("there is a worker");
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

async fn signs(keys: &Keys, role: Role) {
    let signature = keys.sign(role, MESSAGE.to_vec()).await.unwrap();
    keys.public_key(role).unwrap().verify(MESSAGE, &signature).unwrap();
}

//= G2: a crash in the vendor's module cannot kill the gateway
#[test]
fn a_worker_killed_while_signing_is_an_outage_that_ends_without_a_restart() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = open(&token);
    runtime().block_on(async {
        let mut turns = keys.turns();
        let mut busy = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let keys = keys.clone();
            busy.spawn(async move {
                loop {
                    match keys.sign(Role::Ledger, MESSAGE.to_vec()).await {
                        Ok(_) => {}
                        Err(KeyError::Down { .. }) => tokio::task::yield_now().await,
                        Err(other) => return other,
                    }
                }
            });
        }
        for round in 1..=2 {
            let before = pid(&keys);
            // As a crash ends it. (A SIGSEGV from outside only takes away the handler that Rust has for it.)
            kill_process(before, Signal::ABORT).unwrap();
            // Each turn is told, however soon the next one comes.
            let turn = tokio::time::timeout(PATIENCE, turns.recv()).await.unwrap().unwrap();
            let Turn::Down(down) = turn else { panic!("it is down first: {turn:?}") };
            assert!(down.reason.contains("key worker"), "{down:?}");
            let turn = tokio::time::timeout(PATIENCE, turns.recv()).await.unwrap().unwrap();
            assert!(matches!(turn, Turn::Up { .. }), "{turn:?}");
            assert_ne!(pid(&keys), before);
            assert_eq!(keys.vitals().worker.unwrap().restarts, round);
            for role in [Role::Tls, Role::Identity, Role::IdentityPq, Role::Ledger, Role::LedgerPq] {
                signs(&keys, role).await;
            }
        }
        busy.abort_all();
        while let Some(ended) = busy.join_next().await {
            if let Ok(error) = ended {
                panic!("a caller saw something else than an outage: {error:?}");
            }
        }
        assert_eq!(keys.vitals().stuck_calls, 0);
    });
}

/// Where a worker listens, as the system tells it.
fn socket_of(worker: Pid) -> std::path::PathBuf {
    let folder = format!("/proc/{}/fd", worker.as_raw_nonzero());
    let held: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let paths = sockets.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(6);
        let (inode, path) = (words.next()?, words.next()?);
        held.iter().any(|one| one == inode).then(|| path.into())
    });
    paths.into_iter().next().expect("the worker listens")
}

/// Asks as the gateway would, and prints how long the answer is.
const ASK: &str = "
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(120)
peer.connect(sys.argv[1])
question = b'\"list\"'
try:
    peer.sendall(len(question).to_bytes(4, 'big') + question)
    answer = peer.recv(4096)
except (BrokenPipeError, ConnectionResetError):
    answer = b''
print(len(answer))
";

//= G2: other processes, of the same user too, get nothing from the worker
#[test]
fn another_process_of_the_same_user_gets_no_answer_at_the_workers_socket() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = open(&token);
    let socket = socket_of(pid(&keys));
    let mode = fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "and other users don't get to it at all");
    let stranger = std::process::Command::new("python3").args(["-c", ASK]).arg(&socket).output().unwrap();
    assert!(stranger.status.success(), "{}", String::from_utf8_lossy(&stranger.stderr));
    assert_eq!(String::from_utf8_lossy(&stranger.stdout).trim(), "0");

    // The same question of its own parent is answered: it is the process that was refused.
    let mut own = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    own.write_all(b"\0\0\0\x06\"list\"").unwrap();
    let mut length = [0; 4];
    own.read_exact(&mut length).unwrap();
    assert!(u32::from_be_bytes(length) > 100, "a listing of keys");
    keys.public_key(Role::Tls).unwrap();
}

#[test]
fn a_module_that_crashes_at_every_call_is_down_and_comes_back_when_it_is_mended() {
    faulty(|keys, module| {
        runtime().block_on(async {
            let mut health = keys.health();
            module.be("crash");
            wait_for(&mut health, is_down).await;
            // It keeps crashing, and is started ever less often; callers are refused at once meanwhile.
            wait_for(&mut health, |health| health.outage().is_some_and(|outage| outage.attempts >= 3)).await;
            assert!(matches!(keys.sign(Role::Tls, MESSAGE.to_vec()).await, Err(KeyError::Down { .. })));
            module.be("");
            wait_for(&mut health, is_up).await;
            signs(&keys, Role::Tls).await;
        });
    });
}

#[test]
fn a_worker_that_does_not_answer_is_killed_and_leaves_no_thread_behind() {
    faulty(|keys, module| {
        runtime().block_on(async {
            let mut health = keys.health();
            let before = pid(&keys);
            module.be("hang");
            wait_for(&mut health, |health| {
                health.outage().is_some_and(|outage| outage.cause == Cause::NotAnswering)
            })
            .await;
            module.be("");
            wait_for(&mut health, is_up).await;
            signs(&keys, Role::Tls).await;
            // In this process nothing but a restart of the gateway would have freed its threads.
            assert_eq!(keys.vitals().stuck_calls, 0);
            assert!(keys.vitals().worker.unwrap().restarts == 0 || pid(&keys) != before);
        });
    });
}

//= Opening has an end, whatever the module does
#[test]
fn a_module_that_hangs_at_the_start_hangs_neither_the_program_nor_a_worker() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let directory = tempfile::tempdir().unwrap();
    let module = FaultyModule::build(directory.path());
    module.be("init hang");
    let here = behind(&module, &token);
    let tuning = Tuning { open_timeout: Duration::from_millis(500), ..TestToken::tuning() };
    for config in [TestToken::in_worker(here.clone()), here] {
        let error = Keys::open_with(&config, tuning.clone()).expect_err("it does not open");
        assert!(matches!(error, KeyError::Stuck), "{error:?}");
        assert!(error.hint().contains("restart"));
    }
    // The call that hung goes on, and ends.
    module.be("");
}

//= A wrong PIN is never retried by itself: a loop would lock a real token
#[test]
fn a_refused_pin_is_not_presented_again_by_a_new_worker() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = open(&token);
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    runtime().block_on(async {
        let mut health = keys.health();
        fs::write(token.pin_file(), "not the PIN").unwrap();
        kill_process(pid(&keys), Signal::KILL).unwrap();
        wait_for(
            &mut health,
            |health| matches!(health, Health::NeedsOperator(outage) if outage.cause == Cause::PinRefused),
        )
        .await;
        let restarts = keys.vitals().worker.unwrap().restarts;
        // Nothing is tried until somebody acts: the watch looks several times in this while.
        let still = tokio::time::timeout(Duration::from_secs(2), health.wait_for(is_up)).await.is_err();
        assert!(still);
        assert_eq!(keys.vitals().worker.unwrap().restarts, restarts);
        fs::write(token.pin_file(), pin).unwrap();
        wait_for(&mut health, is_up).await;
        signs(&keys, Role::Tls).await;
    });
}

#[test]
fn what_a_worker_cannot_open_is_told_as_if_it_were_opened_here() {
    let Some(token) = TestToken::for_this_test() else { return };
    drop(open(&token));
    fs::write(token.pin_file(), "not the PIN").unwrap();
    let error = Keys::open(&in_worker(&token)).expect_err("it does not open");
    assert!(matches!(&error, KeyError::WrongPin { label, .. } if label == token.label()), "{error:?}");
}

#[test]
fn a_program_that_is_no_worker_is_refused_with_what_it_did() {
    let Some(token) = TestToken::for_this_test() else { return };
    let ProviderConfig::InWorker { provider, .. } = in_worker(&token) else { panic!("a worker") };
    for program in ["/bin/true", "/nonexistent"] {
        let config = ProviderConfig::InWorker { program: program.into(), provider: provider.clone() };
        let error = Keys::open(&config).expect_err("it does not open");
        assert!(matches!(error, KeyError::Operation { .. }), "{program}: {error:?}");
    }
}

#[test]
fn the_worker_ends_with_its_keys() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = open(&token);
    let pid = pid(&keys);
    drop(keys);
    assert!(rustix::process::test_kill_process(pid).is_err(), "it has ended");
}

#[test]
fn the_socket_is_in_a_directory_that_is_closed_to_others() {
    let Some(token) = TestToken::for_this_test() else { return };
    let _keys = open(&token);
    let listed = fs::read_to_string("/proc/net/unix").unwrap();
    let paths: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(7)).collect();
    let ours: Vec<_> = paths.iter().filter(|path| path.contains("/sallyport-")).collect();
    assert!(!ours.is_empty(), "{listed}");
    for path in ours {
        // Those of other tests may end meanwhile.
        let Ok(folder) = fs::metadata(std::path::Path::new(path).parent().unwrap()) else { continue };
        assert_eq!(folder.permissions().mode() & 0o777, 0o700, "{path}");
    }
}

/// Keys behind a module with faults, in a worker.
fn faulty(test: impl FnOnce(Keys, &FaultyModule)) {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let directory = tempfile::tempdir().unwrap();
    let module = FaultyModule::build(directory.path());
    module.be("");
    let config = TestToken::in_worker(behind(&module, &token));
    let tuning = Tuning {
        sign_timeout: Duration::from_secs(1),
        admin_timeout: Duration::from_secs(5),
        open_timeout: Duration::from_secs(20),
        ..TestToken::tuning()
    };
    let keys = Keys::open_with(&config, tuning).unwrap();
    keys.generate_missing().unwrap();
    test(keys, &module);
}

fn behind(module: &FaultyModule, token: &TestToken) -> ProviderConfig {
    ProviderConfig::Pkcs11 {
        module: module.path().to_owned(),
        token: token.label().to_owned(),
        pin_file: token.pin_file(),
        directory: token.key_directory(),
    }
}
