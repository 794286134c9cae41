//! Post-quantum keys in a token that offers them, and a lockout: what only kryoptic has (`make test-kryoptic`).

use std::fs;

use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Home, KeyError, KeyInfo, Keys, Role};

const MESSAGE: &[u8] = b"sallyport test message";
const POST_QUANTUM: [Role; 2] = [Role::IdentityPq, Role::LedgerPq];
const ML_DSA: [&str; 2] = ["CKM_ML_DSA", "CKM_ML_DSA_KEY_PAIR_GEN"];

/// Each time in a new process, which reads the module's configuration as it is then.
fn anew(token: &TestToken) -> Result<Keys, KeyError> {
    let config = token.config();
    let config = match config {
        worker @ sallyport_hsm::ProviderConfig::InWorker { .. } => worker,
        here => TestToken::in_worker(here),
    };
    Keys::open_with(&config, TestToken::tuning())
}

fn listed(keys: &Keys, role: Role) -> KeyInfo {
    keys.inventory().unwrap().into_iter().find(|key| key.role == role).unwrap()
}

fn signs(keys: &Keys, role: Role) {
    let signature = keys.sign_blocking(role, MESSAGE).unwrap();
    keys.public_key(role).unwrap().verify(MESSAGE, &signature).unwrap();
}

//= A2.7: PQ keys in the token where it offers PKCS#11 3.2
#[test]
fn a_token_that_offers_ml_dsa_makes_and_uses_those_keys_itself() {
    let Some(token) = TestToken::for_this_test_with_kryoptic() else { return };
    let keys = token.open_with_keys();
    for role in POST_QUANTUM {
        let key = listed(&keys, role);
        assert!(matches!(key.home, Home::Token { .. }), "{key:?}");
        assert!(key.attestation.unwrap().is_token_bound(), "{key:?}");
        signs(&keys, role);
        assert!(!token.key_directory().join(format!("{role}.json")).exists(), "no seed of it is anywhere");
    }
    drop(keys);
    let again = token.open();
    for role in POST_QUANTUM {
        signs(&again, role);
    }
}

#[test]
fn a_token_that_lost_ml_dsa_is_an_error_that_says_so_and_no_seed_stands_in() {
    let Some(token) = TestToken::for_this_test_with_kryoptic() else { return };
    let keys = anew(&token).unwrap();
    keys.generate_missing().unwrap();
    let before = keys.public_key(Role::IdentityPq).unwrap();
    drop(keys);
    token.without_mechanisms(&ML_DSA);
    let error = anew(&token).expect_err("it does not open");
    assert!(matches!(error, KeyError::AbilityLost { role: Role::IdentityPq, .. }), "{error:?}");
    assert!(error.hint().contains("post-quantum"));
    assert!(!token.key_directory().join("identity-pq.json").exists());

    token.without_mechanisms(&[]);
    let keys = anew(&token).unwrap();
    assert_eq!(keys.public_key(Role::IdentityPq).unwrap(), before);
    signs(&keys, Role::IdentityPq);
}

#[test]
fn a_key_that_was_deleted_in_the_token_is_missing_and_not_made_as_a_seed() {
    let Some(token) = TestToken::for_this_test_with_kryoptic() else { return };
    anew(&token).unwrap().generate_missing().unwrap();
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    let login = ["--token-label", token.label(), "--login", "--pin", &pin];
    for kind in ["privkey", "pubkey"] {
        let delete = ["--delete-object", "--type", kind, "--label", "sallyport-ledger-pq"];
        token.pkcs11_tool(&[&login[..], &delete].concat());
    }
    let keys = anew(&token).unwrap();
    assert!(keys.inventory().unwrap().iter().all(|key| key.role != Role::LedgerPq));
    let missing = keys.sign_blocking(Role::LedgerPq, MESSAGE);
    assert!(matches!(missing, Err(KeyError::KeyMissing { role: Role::LedgerPq, .. })), "{missing:?}");
}

#[test]
fn a_seed_from_before_stays_sealed_until_its_next_key_is_made_in_the_token() {
    let Some(token) = TestToken::for_this_test_with_kryoptic() else { return };
    token.without_mechanisms(&ML_DSA);
    let keys = anew(&token).unwrap();
    keys.generate_missing().unwrap();
    let sealed = listed(&keys, Role::IdentityPq);
    assert!(matches!(sealed.home, Home::WrappedByToken { .. }), "{sealed:?}");
    drop(keys);

    token.without_mechanisms(&[]);
    let keys = anew(&token).unwrap();
    for role in POST_QUANTUM {
        assert!(matches!(listed(&keys, role).home, Home::WrappedByToken { .. }), "no silent change");
        signs(&keys, role);
        let next = keys.prepare_successor(role).unwrap();
        assert!(matches!(next.home, Home::Token { .. }), "{next:?}");
        keys.promote(&next).unwrap();
        keys.promote(&next).expect("a second time changes nothing");
        assert_eq!(listed(&keys, role).fingerprint, next.fingerprint);
        for _ in 0..8 {
            signs(&keys, role);
        }
        assert!(!token.key_directory().join(format!("{role}.json")).exists(), "its seed is destroyed");
    }
    drop(keys);
    let keys = anew(&token).unwrap();
    for role in POST_QUANTUM {
        signs(&keys, role);
    }
}

//= G2: PIN locked
#[test]
fn the_tenth_wrong_pin_locks_the_token_and_that_is_told_apart_from_a_wrong_pin() {
    let Some(token) = TestToken::for_this_test_with_kryoptic() else { return };
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    fs::write(token.pin_file(), "not the PIN").unwrap();
    let mut refusals = Vec::new();
    for _ in 0..12 {
        refusals.push(Keys::open(&token.config()).expect_err("it is refused"));
    }
    let wrong = refusals.iter().take_while(|error| matches!(error, KeyError::WrongPin { .. })).count();
    assert!((9..=10).contains(&wrong), "{refusals:?}");
    for locked in &refusals[wrong..] {
        assert!(matches!(locked, KeyError::PinLocked { .. }), "{locked:?}");
        assert!(locked.hint().contains("security officer"));
    }
    fs::write(token.pin_file(), pin).unwrap();
    let error = Keys::open(&token.config()).expect_err("the right PIN does not help either");
    assert!(matches!(error, KeyError::PinLocked { .. }), "{error:?}");
}
