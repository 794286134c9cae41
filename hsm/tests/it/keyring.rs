//! Data keys by owner, wrapped by a real token.

use std::fs;
use std::path::{Path, PathBuf};

use sallyport_hsm::keyring::OpenError;
use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Keyring, Keys};

fn ring(keys: &Keys, token: &TestToken) -> Keyring {
    Keyring::open(keys, &folder(token)).unwrap()
}

fn folder(token: &TestToken) -> PathBuf {
    token.key_directory().join("personal")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn each_owner_has_a_key_of_its_own_which_opens_again_after_a_restart() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let first = ring(&keys, &token);
    assert!(!first.is_ready("alice"));
    let (alice, sealed) = first.seal("alice", b"record 7", b"user:alice").unwrap();
    let (bob, _) = first.seal("bob", b"record 8", b"user:bob").unwrap();
    assert!(first.is_ready("alice"));
    assert_ne!(alice, bob);
    assert_eq!(first.seal("alice", b"", b"").unwrap().0, alice);
    drop(first);

    let again = ring(&keys, &token);
    assert!(!again.is_ready("alice"), "the token was not asked yet");
    assert_eq!(again.unseal(alice, b"record 7", &sealed).unwrap(), b"user:alice");
    assert_eq!(again.seal("alice", b"", b"").unwrap().0, alice);
    assert!(matches!(again.unseal(alice, b"record 8", &sealed), Err(OpenError::Key(_))));
    assert!(matches!(again.unseal(bob, b"record 7", &sealed), Err(OpenError::Key(_))));
}

#[test]
fn an_erased_key_is_gone_from_disk_and_memory_and_nobody_else_lost_anything() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let ring = ring(&keys, &token);
    let (alice, hers) = ring.seal("alice", b"a", b"value").unwrap();
    let (bob, his) = ring.seal("bob", b"b", b"value").unwrap();
    let file = folder(&token).join(format!("{alice}.key"));
    // A second name for the same file shows that it is overwritten, and not only unlinked.
    let kept = folder(&token).join("kept");
    fs::hard_link(&file, &kept).unwrap();

    assert_eq!(ring.erase("alice").unwrap(), Some(alice));
    assert!(!file.exists() && fs::read(&kept).unwrap().iter().all(|byte| *byte == 0));
    for ring in [&ring, &Keyring::open(&keys, &folder(&token)).unwrap()] {
        assert!(matches!(ring.unseal(alice, b"a", &hers), Err(OpenError::Erased)));
        assert_eq!(ring.unseal(bob, b"b", &his).unwrap(), b"value");
        assert_eq!(ring.erased(), [alice]);
        assert_eq!(ring.id_of("alice"), None);
    }
    assert_eq!(ring.erase("alice").unwrap(), None);
    // Whoever comes back is somebody new.
    assert_ne!(ring.seal("alice", b"a", b"value").unwrap().0, alice);
}

#[test]
fn an_erasure_broken_off_after_its_tombstone_is_completed_at_the_next_start() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (alice, sealed) = ring(&keys, &token).seal("alice", b"a", b"value").unwrap();
    let file = folder(&token).join(format!("{alice}.key"));
    let before = fs::read(&file).unwrap();
    ring(&keys, &token).erase("alice").unwrap();
    // As a crash leaves it, and as a restored backup does.
    fs::write(&file, before).unwrap();
    let again = ring(&keys, &token);
    assert!(!file.exists());
    assert!(matches!(again.unseal(alice, b"a", &sealed), Err(OpenError::Erased)));
}

#[test]
fn a_key_that_was_only_lost_is_not_erased_and_nobody_can_forge_its_tombstone() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (alice, sealed) = ring(&keys, &token).seal("alice", b"a", b"value").unwrap();
    let (bob, his) = ring(&keys, &token).seal("bob", b"a", b"value").unwrap();
    let first = ring(&keys, &token);
    first.erase("bob").unwrap();
    fs::remove_file(folder(&token).join(format!("{alice}.key"))).unwrap();
    let real = folder(&token).join(format!("{bob}.erased"));
    fs::copy(real, folder(&token).join(format!("{alice}.erased"))).unwrap();
    let ring = ring(&keys, &token);
    assert!(matches!(ring.unseal(alice, b"a", &sealed), Err(OpenError::Key(_))));
    // Nor does damage pass for something that an erased key sealed.
    assert!(matches!(ring.unseal(bob, b"a", &his), Err(OpenError::Erased)));
    assert!(matches!(ring.unseal(bob, b"a", &sealed), Err(OpenError::Key(_))));
    assert!(matches!(ring.unseal(bob, b"b", &his), Err(OpenError::Key(_))));
}

#[test]
fn files_and_their_names_do_not_tell_whose_they_are() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let ring = ring(&keys, &token);
    ring.seal("user:alice", b"", b"value").unwrap();
    ring.erase("user:alice").unwrap();
    ring.seal("user:alice", b"", b"value").unwrap();
    for extension in ["key", "erased"] {
        let found = files(&folder(&token), extension);
        assert_eq!(found.len(), 1);
        let bytes = fs::read(&found[0]).unwrap();
        assert!(
            !bytes.windows(5).any(|window| window == b"alice")
                && !found[0].to_string_lossy().contains("alice")
        );
    }
}

#[test]
fn a_key_file_under_another_name_or_of_another_owner_does_not_open() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let first = ring(&keys, &token);
    let (alice, hers) = first.seal("alice", b"", b"value").unwrap();
    let (bob, his) = first.seal("bob", b"", b"value").unwrap();
    let path = |id| folder(&token).join(format!("{id}.key"));
    fs::copy(path(alice), path(bob)).unwrap();
    let mut altered = fs::read(path(alice)).unwrap();
    altered[5] ^= 1;
    fs::write(path(alice), altered).unwrap();
    let ring = ring(&keys, &token);
    assert!(matches!(ring.unseal(alice, b"", &hers), Err(OpenError::Key(_))));
    assert!(matches!(ring.unseal(bob, b"", &his), Err(OpenError::Key(_))));
}

#[test]
fn a_ring_without_its_secret_is_refused_and_not_begun_anew() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    ring(&keys, &token).prepare("alice").unwrap();
    fs::remove_file(folder(&token).join("secret")).unwrap();
    assert!(Keyring::open(&keys, &folder(&token)).is_err());
}

#[test]
fn without_the_token_no_key_opens() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    let (alice, sealed) = ring(&keys, &token).seal("alice", b"", b"value").unwrap();
    let ring = ring(&keys, &token);
    token.take_away();
    assert!(matches!(ring.unseal(alice, b"", &sealed), Err(OpenError::Key(_))));
    assert!(ring.prepare("bob").is_err());
}

#[test]
fn a_key_that_was_put_back_beside_a_later_one_is_erased_with_it() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (first, hers) = ring(&keys, &token).seal("alice", b"a", b"user:alice").unwrap();
    let file = folder(&token).join(format!("{first}.key"));
    let aside = token.key_directory().join("aside");
    fs::rename(&file, &aside).unwrap();
    let (second, later) = ring(&keys, &token).seal("alice", b"b", b"user:alice").unwrap();
    assert_ne!(first, second);
    fs::rename(&aside, &file).unwrap();

    let ring = ring(&keys, &token);
    ring.erase("alice").unwrap().unwrap();
    assert!(matches!(ring.unseal(second, b"b", &later), Err(OpenError::Erased)));
    let old = ring.unseal(first, b"a", &hers);
    assert!(matches!(old, Err(OpenError::Erased)), "{old:?}");
}
