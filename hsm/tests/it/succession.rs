//! A key is replaced by another: made beside it, used beside it, put in its place.

use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Algorithm, KeyError, Keys, ProviderConfig, Role};

const MESSAGE: &[u8] = b"sallyport test message";

/// Every role whose key can be replaced.
const REPLACEABLE: [Role; 6] =
    [Role::Tls, Role::Identity, Role::IdentityPq, Role::Ledger, Role::LedgerPq, Role::TokenSigning];

fn replaced(keys: &Keys, reopen: impl Fn() -> Keys) {
    for role in REPLACEABLE {
        let old = keys.public_key(role).unwrap();
        assert!(keys.successor(role).unwrap().is_none());
        let next = keys.prepare_successor(role).unwrap();
        assert_eq!(keys.prepare_successor(role).unwrap().fingerprint, next.fingerprint, "made once");
        let new = keys.successor_public_key(role).unwrap();
        assert_eq!(Some(new.fingerprint()), next.fingerprint);

        // Both sign while one waits; the role's own is the old one.
        new.verify(MESSAGE, &keys.sign_as_successor(role, MESSAGE).unwrap()).unwrap();
        old.verify(MESSAGE, &keys.sign_blocking(role, MESSAGE).unwrap()).unwrap();
        assert_eq!(keys.inventory().unwrap().len(), Role::ALL.len(), "what waits is not listed as in use");

        keys.promote(&next).unwrap();
        keys.promote(&next).expect("a second time changes nothing");
        assert_eq!(keys.public_key(role).unwrap(), new, "{role}");
        for _ in 0..16 {
            // On every worker, also those that had found the old key.
            let signature = keys.sign_blocking(role, MESSAGE).unwrap();
            new.verify(MESSAGE, &signature).unwrap();
            assert!(matches!(old.verify(MESSAGE, &signature), Err(KeyError::BadSignature)));
        }
        assert!(keys.successor(role).unwrap().is_none());
        assert!(keys.sign_as_successor(role, MESSAGE).is_err());
    }
    let kept: Vec<_> = REPLACEABLE.map(|role| keys.public_key(role).unwrap()).into();
    let again = reopen();
    assert_eq!(REPLACEABLE.map(|role| again.public_key(role).unwrap()).to_vec(), kept);
}

#[test]
fn keys_of_a_token_are_replaced_one_by_one_and_stay_so() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let attested = keys.prepare_successor(Role::Ledger).unwrap().attestation.unwrap();
    assert!(attested.is_token_bound(), "a new key is bound to the token like the first: {attested:?}");
    keys.promote(&keys.successor(Role::Ledger).unwrap().unwrap()).unwrap();
    replaced(&keys, || token.open());
}

#[test]
fn keys_of_the_sealed_file_are_replaced_one_by_one_and_stay_so() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase_file = folder.path().join("passphrase");
    std::fs::write(&passphrase_file, "correct horse").unwrap();
    std::fs::set_permissions(&passphrase_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = ProviderConfig::Software { directory: folder.path().join("keys"), passphrase_file };
    let keys = Keys::open(&config).unwrap();
    keys.generate_missing().unwrap();
    replaced(&keys, || Keys::open(&config).unwrap());
}

#[test]
fn a_key_that_waits_survives_a_restart_and_is_promoted_then() {
    let Some(token) = TestToken::for_this_test() else { return };
    for role in [Role::Ledger, Role::LedgerPq] {
        let keys = token.open_with_keys();
        let next = keys.prepare_successor(role).unwrap();
        let present = keys.public_key(role).unwrap();
        drop(keys);
        let keys = token.open();
        assert_eq!(keys.public_key(role).unwrap(), present, "what waits is not used");
        assert_eq!(keys.successor(role).unwrap().unwrap().fingerprint, next.fingerprint);
        keys.promote(&next).unwrap();
        assert_eq!(Some(keys.public_key(role).unwrap().fingerprint()), next.fingerprint);
    }
}

#[test]
fn what_seals_and_what_certifies_has_no_successor() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    for role in [Role::Kek, Role::CertificateAuthority] {
        assert!(matches!(keys.prepare_successor(role), Err(KeyError::WrongUse { .. })), "{role}");
    }
    let none = keys.inventory().unwrap().into_iter().find(|key| key.role == Role::Tls).unwrap();
    assert_eq!(none.algorithm, Algorithm::EcdsaP256);
    let mut stranger = none;
    stranger.fingerprint = Some("00".repeat(32));
    assert!(matches!(keys.promote(&stranger), Err(KeyError::NoSuccessor { .. })));
}
