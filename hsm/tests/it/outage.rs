//! A token that goes away is noticed, told, and used again when it is back, without a restart.

use std::fs;
use std::time::{Duration, Instant};

use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Cause, Health, KeyError, Keys, Role, Turn};
use tokio::sync::watch;

const MESSAGE: &[u8] = b"sallyport test message";

/// Far longer than any of it takes; only a broken recovery waits this long.
const PATIENCE: Duration = Duration::from_mins(1);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn wait_for(health: &mut watch::Receiver<Health>, wanted: impl FnMut(&Health) -> bool) -> Health {
    tokio::time::timeout(PATIENCE, health.wait_for(wanted)).await.expect("health changes").unwrap().clone()
}

fn is_down(health: &Health) -> bool {
    health.outage().is_some()
}

async fn signs(keys: &Keys, role: Role) {
    let signature = keys.sign(role, MESSAGE.to_vec()).await.unwrap();
    keys.public_key(role).unwrap().verify(MESSAGE, &signature).unwrap();
}

//= G2: a token pulled while serving
#[test]
fn a_token_taken_away_while_signing_is_down_and_comes_back_without_a_restart() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    runtime().block_on(async {
        let mut health = keys.health();
        assert_eq!(*health.borrow(), Health::Up);
        // Others are at it all the time, as they would be in a gateway.
        let mut busy = tokio::task::JoinSet::new();
        for _ in 0..8 {
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
        for round in 0..2 {
            token.take_away();
            let down = wait_for(&mut health, is_down).await;
            let asked = Instant::now();
            let refused = keys.sign(Role::Tls, MESSAGE.to_vec()).await;
            assert!(matches!(&refused, Err(KeyError::Down { .. })), "round {round}: {refused:?}");
            // At once, and not after the 5 seconds for which a caller waits for a token.
            assert!(asked.elapsed() < TestToken::tuning().sign_timeout, "round {round}: {down:?}");

            token.put_back();
            let back = Instant::now();
            wait_for(&mut health, |health| *health == Health::Up).await;
            println!("recovered in {:?}", back.elapsed());
            for role in [Role::Tls, Role::Ledger, Role::Identity, Role::IdentityPq, Role::TokenSigning] {
                signs(&keys, role).await;
            }
        }
        busy.abort_all();
        while let Some(ended) = busy.join_next().await {
            if let Ok(error) = ended {
                panic!("a caller saw something else than an outage: {error:?}");
            }
        }
    });
}

#[test]
fn a_token_taken_away_while_idle_is_noticed_too() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    runtime().block_on(async {
        let mut health = keys.health();
        token.take_away();
        let down = wait_for(&mut health, is_down).await;
        assert!(!down.outage().unwrap().reason.is_empty());
        token.put_back();
        wait_for(&mut health, |health| *health == Health::Up).await;
        signs(&keys, Role::Tls).await;
    });
}

//= A wrong PIN is never retried by itself: a loop would lock a real token
#[test]
fn a_pin_that_became_wrong_is_tried_once_and_again_only_when_its_file_changes() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    runtime().block_on(async {
        let mut health = keys.health();
        token.take_away();
        wait_for(&mut health, is_down).await;
        fs::write(token.pin_file(), "not the PIN").unwrap();
        token.put_back();
        wait_for(
            &mut health,
            |health| matches!(health, Health::NeedsOperator(outage) if outage.cause == Cause::PinRefused && outage.reason.contains("refused the PIN")),
        )
        .await;
        assert!(matches!(keys.sign(Role::Tls, MESSAGE.to_vec()).await, Err(KeyError::Down { .. })));

        fs::write(token.pin_file(), pin).unwrap();
        wait_for(&mut health, |health| *health == Health::Up).await;
        signs(&keys, Role::Tls).await;
    });
}

#[test]
fn the_same_pin_is_presented_again_only_when_somebody_says_so() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    let (pin, so_pin) =
        (fs::read_to_string(token.pin_file()).unwrap(), fs::read_to_string(token.so_pin_file()).unwrap());
    let set_pin = |pin: &str| {
        let set = std::process::Command::new("pkcs11-tool")
            .args(["--module", token.module().to_str().unwrap(), "--token-label", token.label()])
            .args(["--login", "--login-type", "so", "--so-pin", &so_pin, "--init-pin", "--pin", pin])
            .output()
            .expect("pkcs11-tool runs (Debian: apt install opensc)");
        assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    };
    runtime().block_on(async {
        let (mut health, mut turns) = (keys.health(), keys.turns());
        // The PIN is changed under us: our login stands until the token has to be read anew.
        set_pin("another one");
        token.take_away();
        wait_for(&mut health, is_down).await;
        token.put_back();
        wait_for(&mut health, |health| matches!(health, Health::NeedsOperator(_))).await;
        // Mended at the token, so that the file stays as it was: we cannot know.
        set_pin(&pin);
        let attempts = health.borrow().outage().unwrap().attempts;
        token.take_away();
        token.put_back();
        assert_eq!(health.borrow().outage().unwrap().attempts, attempts, "nothing is tried meanwhile");
        keys.retry_pin();
        wait_for(&mut health, |health| *health == Health::Up).await;
        signs(&keys, Role::Tls).await;
        assert!(matches!(turns.recv().await.unwrap(), Turn::Down(_)));
        let Turn::Up { outage, at } = turns.recv().await.unwrap() else { panic!("it is over") };
        assert_eq!(outage.cause, Cause::PinRefused);
        assert!(at >= outage.since);
    });
}

#[test]
fn a_key_that_is_gone_is_told_and_does_not_take_the_others_down() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    runtime().block_on(async {
        signs(&keys, Role::Tls).await;
        let pin = fs::read_to_string(token.pin_file()).unwrap();
        let deleted = std::process::Command::new("pkcs11-tool")
            .args(["--module", token.module().to_str().unwrap(), "--token-label", token.label()])
            .args([
                "--login",
                "--pin",
                &pin,
                "--delete-object",
                "--type",
                "privkey",
                "--label",
                "sallyport-tls",
            ])
            .output()
            .expect("pkcs11-tool runs (Debian: apt install opensc)");
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));

        // A key that vanishes may be a token in trouble: it is recovered first, and only then believed.
        let mut health = keys.health();
        wait_for(&mut health, is_down).await;
        wait_for(&mut health, |health| *health == Health::Up).await;
        // Each worker has its own handle, and each must notice.
        for _ in 0..16 {
            let refused = keys.sign(Role::Tls, MESSAGE.to_vec()).await;
            assert!(matches!(refused, Err(KeyError::KeyMissing { role: Role::Tls, .. })), "{refused:?}");
        }
        signs(&keys, Role::Ledger).await;
        assert_eq!(keys.vitals().outages, 1, "a key that is known to be gone is no outage");
        assert!(!is_down(&health.borrow()));
    });
}

#[test]
fn another_token_with_the_same_label_is_not_taken_for_ours() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    let ours = keys.describe().to_string();
    runtime().block_on(async {
        let mut health = keys.health();
        token.take_away();
        wait_for(&mut health, is_down).await;
        token.put_another();
        wait_for(
            &mut health,
            |health| matches!(health, Health::Down(outage) if outage.cause == Cause::TokenExchanged && outage.reason.contains("is another one now")),
        )
        .await;
        assert!(matches!(keys.sign(Role::Ledger, MESSAGE.to_vec()).await, Err(KeyError::Down { .. })));
        token.put_back();
        wait_for(&mut health, |health| *health == Health::Up).await;
        signs(&keys, Role::Ledger).await;
    });
    assert_eq!(keys.describe().to_string(), ours);
}

#[test]
fn a_caller_that_stops_waiting_leaves_the_keys_usable() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    runtime().block_on(async {
        for _ in 0..64 {
            let impatient = keys.sign(Role::Ledger, MESSAGE.to_vec());
            let _gone = tokio::time::timeout(Duration::ZERO, impatient).await;
        }
        signs(&keys, Role::Ledger).await;
    });
}

#[test]
fn two_handles_on_one_token_survive_each_others_recovery() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let (one, two) = (token.open_with_keys(), token.open());
    runtime().block_on(async {
        let (mut health_one, mut health_two) = (one.health(), two.health());
        token.take_away();
        tokio::join!(wait_for(&mut health_one, is_down), wait_for(&mut health_two, is_down));
        token.put_back();
        let up = |health: &Health| *health == Health::Up;
        tokio::join!(wait_for(&mut health_one, up), wait_for(&mut health_two, up));
        signs(&one, Role::Ledger).await;
        signs(&two, Role::Ledger).await;
        drop(one);
        signs(&two, Role::Ledger).await;
    });
}
