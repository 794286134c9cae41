//! Signatures made by the token verify with other people's code, also under load.

use std::fs;

use ed25519_dalek::{Signature, VerifyingKey};
use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Algorithm, KeyError, PublicKey, Role};

const MESSAGE: &[u8] = b"sallyport test message";

#[test]
fn an_ed25519_signature_of_the_token_verifies_with_another_library() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    for role in [Role::Identity, Role::Ledger] {
        let PublicKey::Ed25519(public) = keys.public_key(role).unwrap() else { panic!("{role} is Ed25519") };
        let signature = keys.sign_blocking(role, MESSAGE).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        let public = VerifyingKey::from_bytes(&public).unwrap();
        public.verify_strict(MESSAGE, &signature).unwrap();
        assert!(public.verify_strict(b"another message", &signature).is_err());
    }
}

#[test]
fn each_role_signs_with_a_key_and_an_algorithm_of_its_own() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let signing: Vec<Role> = crate::usual().into_iter().filter(|role| *role != Role::Kek).collect();
    for &role in &signing {
        let public = keys.public_key(role).unwrap();
        assert_eq!(public.algorithm(), role.algorithm());
        let signature = keys.sign_blocking(role, MESSAGE).unwrap();
        let length = match role.algorithm() {
            Algorithm::MlDsa44 => 2420,
            Algorithm::MlDsa65 => 3309,
            _ => 64,
        };
        assert_eq!(signature.len(), length, "{role}");
        public.verify(MESSAGE, &signature).unwrap();
        for &other in signing.iter().filter(|other| **other != role) {
            let refused = keys.public_key(other).unwrap().verify(MESSAGE, &signature);
            assert!(matches!(refused, Err(KeyError::BadSignature)), "{role} must not pass for {other}");
        }
    }
}

#[test]
fn the_wrapping_key_signs_nothing_and_shows_nothing() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    assert!(matches!(keys.sign_blocking(Role::Kek, MESSAGE), Err(KeyError::WrongUse { .. })));
    assert!(matches!(keys.public_key(Role::Kek), Err(KeyError::WrongUse { .. })));
}

#[test]
fn every_key_is_the_same_after_the_token_is_opened_again() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let signing: Vec<Role> = crate::usual().into_iter().filter(|role| *role != Role::Kek).collect();
    let before: Vec<PublicKey> = signing.iter().map(|role| keys.public_key(*role).unwrap()).collect();
    drop(keys);

    let keys = token.open();
    assert!(keys.generate_missing().unwrap().is_empty());
    for (role, public) in signing.iter().zip(before) {
        assert_eq!(keys.public_key(*role).unwrap(), public, "{role}");
        public.verify(MESSAGE, &keys.sign_blocking(*role, MESSAGE).unwrap()).unwrap();
    }
}

#[test]
fn a_seed_file_that_was_altered_or_exchanged_stops_the_start() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    drop(token.open_with_keys());
    let identity = token.key_directory().join("identity-pq.json");
    let ledger = token.key_directory().join("ledger-pq.json");
    let original = fs::read_to_string(&identity).unwrap();
    let refused = || matches!(sallyport_hsm::Keys::open(&token.config()), Err(KeyError::KeyFile { .. }));

    fs::copy(&ledger, &identity).unwrap();
    assert!(refused(), "another role's seed");
    let renamed = fs::read_to_string(&ledger)
        .unwrap()
        .replace("ledger-pq", "identity-pq")
        .replace("ML-DSA-44", "ML-DSA-65");
    fs::write(&identity, renamed).unwrap();
    assert!(refused(), "another role's seed under this role's name");
    let sealed = original.rfind("\"sealed\": \"").unwrap() + 40;
    let mut altered = original.clone().into_bytes();
    altered[sealed] = if altered[sealed] == b'A' { b'B' } else { b'A' };
    fs::write(&identity, altered).unwrap();
    assert!(refused(), "an altered seed");
    fs::write(&identity, original.replace("\"version\": 1", "\"version\": 2")).unwrap();
    assert!(refused(), "another version");
    fs::write(&identity, &original[..original.len() / 2]).unwrap();
    assert!(refused(), "a truncated file");
    fs::write(&identity, vec![b' '; 1_000_000]).unwrap();
    assert!(refused(), "a huge file");
    fs::write(&identity, original).unwrap();
    token.open();
}

#[test]
fn seeds_are_stored_sealed_and_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt;
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    drop(token.open_with_keys());
    for name in ["identity-pq.json", "ledger-pq.json"] {
        let mode = fs::metadata(token.key_directory().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mode = fs::metadata(token.key_directory()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn sixteen_tasks_sign_at_once_and_every_signature_verifies() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16_u32 {
            let keys = keys.clone();
            tasks.spawn(async move {
                let roles = [Role::Ledger, Role::Tls, Role::IdentityPq, Role::Identity];
                for round in 0..16_u32 {
                    let role = roles[((task + round) % 4) as usize];
                    let message = format!("task {task} round {round}").into_bytes();
                    let signature = keys.sign(role, message.clone()).await.unwrap();
                    keys.public_key(role).unwrap().verify(&message, &signature).unwrap();
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn a_full_queue_is_told_at_once() {
    let Some(token) = TestToken::for_this_test() else { return };
    drop(token.open_with_keys());
    let tuning = sallyport_hsm::Tuning { workers: 1, queue: 1, ..TestToken::tuning() };
    let keys = sallyport_hsm::Keys::open_with(&token.config(), tuning).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcomes = runtime.block_on(async {
        let signing: Vec<_> = (0..200).map(|_| keys.sign(Role::Ledger, MESSAGE.to_vec())).collect();
        futures_join(signing).await
    });
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(KeyError::Busy))));
    assert!(outcomes.iter().any(Result::is_ok));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(KeyError::Busy))));
}

/// Polls all before waiting for any, so that they queue up together.
async fn futures_join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
