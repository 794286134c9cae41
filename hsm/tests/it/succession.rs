//! A key is replaced by another: made beside it, used beside it, put in its place.

use std::path::Path;

use sallyport_hsm::testing::{Make, TestToken};
use sallyport_hsm::{Algorithm, DataKeyId, KeyError, Keyring, Keys, ProviderConfig, PublicKey, Role};

const MESSAGE: &[u8] = b"sallyport test message";

/// Every role whose key signs.
const REPLACEABLE: [Role; 7] = [
    Role::Tls,
    Role::Identity,
    Role::IdentityPq,
    Role::Ledger,
    Role::LedgerPq,
    Role::TokenSigning,
    Role::CertificateAuthority,
];

fn replaced(keys: &Keys, reopen: impl Fn() -> Keys) {
    for role in REPLACEABLE {
        let old = keys.public_key(role).unwrap();
        assert!(keys.successor(role).unwrap().is_none());
        let next = keys.prepare_successor(role).unwrap();
        assert_eq!(keys.prepare_successor(role).unwrap().fingerprint, next.fingerprint, "made once");
        let (present, waiting) = (keys.present(role).unwrap(), keys.waiting(role).unwrap());
        let new = waiting.public().clone();
        assert_eq!(Some(new.fingerprint()), next.fingerprint);

        // Both sign while one waits; the role's own is the old one.
        for _ in 0..8 {
            new.verify(MESSAGE, &waiting.sign_blocking(MESSAGE).unwrap()).unwrap();
            old.verify(MESSAGE, &present.sign_blocking(MESSAGE).unwrap()).unwrap();
            old.verify(MESSAGE, &keys.sign_blocking(role, MESSAGE).unwrap()).unwrap();
        }
        assert_eq!(
            keys.inventory().unwrap().len(),
            crate::usual().len(),
            "what waits is not listed as in use"
        );

        keys.promote(&next).unwrap();
        keys.promote(&next).expect("a second time changes nothing");
        assert_eq!(keys.public_key(role).unwrap(), new, "{role}");
        for _ in 0..16 {
            // On every worker, also those that had found the old key.
            let signature = keys.sign_blocking(role, MESSAGE).unwrap();
            new.verify(MESSAGE, &signature).unwrap();
            assert!(matches!(old.verify(MESSAGE, &signature), Err(KeyError::BadSignature)));
            // A handle is of one key: it goes on with it, and never signs with another in its place.
            new.verify(MESSAGE, &waiting.sign_blocking(MESSAGE).unwrap()).unwrap();
            assert!(present.sign_blocking(MESSAGE).is_err(), "the old key is destroyed");
        }
        assert!(keys.successor(role).unwrap().is_none());
        assert!(matches!(
            keys.waiting(role),
            Err(KeyError::KeyMissing { .. } | KeyError::NoSuccessor { .. })
        ));
    }
    // Again, so that what the workers found the first time would be the wrong key.
    let again_next = keys.prepare_successor(Role::Ledger).unwrap();
    let waiting = keys.waiting(Role::Ledger).unwrap();
    for _ in 0..8 {
        waiting.public().verify(MESSAGE, &waiting.sign_blocking(MESSAGE).unwrap()).unwrap();
    }
    keys.promote(&again_next).unwrap();
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
fn a_key_that_never_waited_is_not_put_in_place() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let none = keys.inventory().unwrap().into_iter().find(|key| key.role == Role::Tls).unwrap();
    assert_eq!(none.algorithm, Algorithm::EcdsaP256);
    let mut stranger = none;
    stranger.id = "00".repeat(16);
    assert!(matches!(keys.promote(&stranger), Err(KeyError::NoSuccessor { .. })));
}

/// What one KEK sealed, and whether all of it opens.
struct Sealed {
    folder: std::path::PathBuf,
    alice: (DataKeyId, Vec<u8>),
    seeds: Vec<PublicKey>,
}

impl Sealed {
    fn under(keys: &Keys, folder: &Path) -> Self {
        let ring = Keyring::open(keys, folder).unwrap();
        let alice = ring.seal("alice", b"record 7", b"user:alice").unwrap();
        let seeds = [Role::IdentityPq, Role::LedgerPq].map(|role| keys.public_key(role).unwrap()).into();
        Self { folder: folder.to_owned(), alice, seeds }
    }

    fn opens(&self, keys: &Keys) {
        let ring = Keyring::open(keys, &self.folder).unwrap();
        assert_eq!(ring.unseal(self.alice.0, b"record 7", &self.alice.1).unwrap(), b"user:alice");
        assert_eq!(ring.seal("alice", b"", b"").unwrap().0, self.alice.0, "alice is known again");
        for (role, public) in [Role::IdentityPq, Role::LedgerPq].into_iter().zip(&self.seeds) {
            public.verify(MESSAGE, &keys.sign_blocking(role, MESSAGE).unwrap()).unwrap();
        }
    }
}

fn kek(keys: &Keys) -> String {
    keys.inventory().unwrap().into_iter().find(|key| key.role == Role::Kek).unwrap().id
}

/// Replaces the KEK step by step; after each, everything opens: in this process, and in one that starts then.
fn kek_replaced(keys: &Keys, folder: &Path, seeds_in_files: bool, reopen: impl Fn() -> Keys) {
    let (sealed, before) = (Sealed::under(keys, folder), kek(keys));
    let all_open = |keys: &Keys| {
        sealed.opens(keys);
        sealed.opens(&reopen());
    };
    let next = keys.prepare_successor(Role::Kek).unwrap();
    assert_ne!(next.id, before);
    all_open(keys);
    let ring = Keyring::open(keys, folder).unwrap();
    let (bob, his) = ring.seal("bob", b"record 8", b"user:bob").unwrap();
    all_open(keys);
    assert_eq!(keys.rewrap_seeds().unwrap(), if seeds_in_files { 2 } else { 0 });
    all_open(keys);
    assert_eq!(
        ring.rewrap().unwrap(),
        2,
        "the ring's secret and alice's key; bob's was made under the new one"
    );
    all_open(keys);
    assert_eq!(
        (keys.rewrap_seeds().unwrap(), ring.rewrap().unwrap()),
        (0, 0),
        "a second time changes nothing"
    );
    keys.promote(&next).unwrap();
    keys.promote(&next).expect("a second time changes nothing");
    assert_eq!(kek(keys), next.id);
    all_open(keys);
    assert_eq!(ring.unseal(bob, b"record 8", &his).unwrap(), b"user:bob");
    // By the workers that had found the old one, too.
    for name in ["carol", "dave", "erin", "frank"] {
        let (id, sealed) = ring.seal(name, b"", name.as_bytes()).unwrap();
        assert_eq!(Keyring::open(keys, folder).unwrap().unseal(id, b"", &sealed).unwrap(), name.as_bytes());
    }
    assert_eq!(ring.rewrap().unwrap(), 0, "all of them are under the new one");
}

#[test]
fn a_new_kek_takes_over_all_that_the_old_one_sealed_and_nothing_is_unreadable_in_between() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    for folder in ["first", "second"] {
        kek_replaced(&keys, &token.key_directory().join(folder), token.make() == Make::SoftHsm, || {
            token.open()
        });
    }
}

#[test]
fn a_kek_of_the_sealed_file_is_replaced_in_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase_file = folder.path().join("passphrase");
    std::fs::write(&passphrase_file, "correct horse").unwrap();
    std::fs::set_permissions(&passphrase_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = ProviderConfig::Software { directory: folder.path().join("keys"), passphrase_file };
    let keys = Keys::open(&config).unwrap();
    keys.generate_missing().unwrap();
    kek_replaced(&keys, &folder.path().join("personal"), false, || Keys::open(&config).unwrap());
}

#[test]
fn a_data_key_that_does_not_open_is_named_and_the_kek_that_sealed_it_stays() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let folder = token.key_directory().join("personal");
    let ring = Keyring::open(&keys, &folder).unwrap();
    let (alice, _) = ring.seal("alice", b"", b"").unwrap();
    let file = folder.join(format!("{alice}.key"));
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    keys.prepare_successor(Role::Kek).unwrap();
    let error = ring.rewrap().unwrap_err();
    assert!(matches!(&error, KeyError::KeyFile { path, .. } if *path == file), "{error:?}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}
