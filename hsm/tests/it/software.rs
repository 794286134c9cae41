//! The software keystore: the same keys in one sealed file, and said to be so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sallyport_hsm::{Home, KeyError, Keys, ProviderConfig, Role};

const MESSAGE: &[u8] = b"sallyport test message";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.passphrase_file(), "correct horse battery staple\n").unwrap();
        place
    }

    fn passphrase_file(&self) -> PathBuf {
        self.0.path().join("passphrase")
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    fn file(&self) -> PathBuf {
        self.directory().join("keystore.json")
    }

    fn config(&self) -> ProviderConfig {
        ProviderConfig::Software { directory: self.directory(), passphrase_file: self.passphrase_file() }
    }

    fn open(&self) -> Keys {
        Keys::open(&self.config()).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_role_signs_and_is_the_same_after_opening_again() {
    let place = Place::new();
    let keys = place.open();
    assert_eq!(keys.generate_missing().unwrap().len(), crate::usual().len());
    let signing: Vec<Role> = crate::usual().into_iter().filter(|role| *role != Role::Kek).collect();
    let before: Vec<_> = signing.iter().map(|role| keys.public_key(*role).unwrap()).collect();
    let (envelope, wrapped) = keys.envelope("a test", None).unwrap();
    let sealed = envelope.seal(b"aad", b"value").unwrap();
    drop(keys);

    let keys = place.open();
    for (role, public) in signing.iter().zip(before) {
        assert_eq!(keys.public_key(*role).unwrap(), public);
        public.verify(MESSAGE, &keys.sign_blocking(*role, MESSAGE).unwrap()).unwrap();
    }
    let (envelope, _) = keys.envelope("a test", Some(&wrapped)).unwrap();
    assert_eq!(envelope.open(b"aad", &sealed).unwrap(), b"value");
    assert_eq!((mode(&place.directory()), mode(&place.file())), (0o700, 0o600));
}

//= Never a silent fallback: software keys are marked wherever they are shown
#[test]
fn software_keys_are_marked_as_such_everywhere() {
    let place = Place::new();
    let keys = place.open();
    keys.generate_missing().unwrap();
    assert!(!keys.describe().is_token());
    assert!(keys.describe().to_string().contains("SOFTWARE KEYSTORE"));
    for key in keys.inventory().unwrap() {
        assert!(matches!(key.home, Home::Software { .. }));
        assert!(key.home.to_string().starts_with("SOFTWARE"));
        assert!(key.attestation.is_none(), "nobody attests a key in a file");
        assert!(serde_json::to_string(&key).unwrap().contains("\"kind\":\"software\""));
    }
}

#[test]
fn a_wrong_passphrase_or_an_altered_file_does_not_open() {
    let place = Place::new();
    place.open().generate_missing().unwrap();
    let refused = || Keys::open(&place.config()).expect_err("refused");

    fs::write(place.passphrase_file(), "wrong").unwrap();
    assert!(matches!(refused(), KeyError::WrongPassphrase { .. }));
    fs::write(place.passphrase_file(), "").unwrap();
    assert!(matches!(refused(), KeyError::PassphraseFile { .. }));
    fs::remove_file(place.passphrase_file()).unwrap();
    assert!(matches!(refused(), KeyError::PassphraseFile { .. }));
    fs::write(place.passphrase_file(), "correct horse battery staple").unwrap();

    let original = fs::read_to_string(place.file()).unwrap();
    let at = original.find("\"sealed\": \"").unwrap() + 60;
    let mut altered = original.clone().into_bytes();
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    fs::write(place.file(), altered).unwrap();
    assert!(matches!(refused(), KeyError::WrongPassphrase { .. }));
    // Weaker costs give another key, and are authenticated besides.
    fs::write(place.file(), original.replace("\"passes\": 3", "\"passes\": 1")).unwrap();
    assert!(matches!(refused(), KeyError::WrongPassphrase { .. }));
    // Costs that would take the machine's memory are not tried.
    fs::write(place.file(), original.replace("65536", "4294967295")).unwrap();
    assert!(matches!(refused(), KeyError::KeyFile { .. }));
    fs::write(place.file(), &original[..100]).unwrap();
    assert!(matches!(refused(), KeyError::KeyFile { .. }));
    fs::write(place.file(), original).unwrap();
    place.open();
}

#[test]
fn a_keystore_that_was_never_used_leaves_no_file() {
    let place = Place::new();
    let keys = place.open();
    assert!(matches!(keys.sign_blocking(Role::Tls, MESSAGE), Err(KeyError::KeyMissing { .. })));
    assert!(!place.file().exists());
}

#[test]
fn the_keystore_holds_no_key_in_the_clear() {
    let place = Place::new();
    place.open().generate_missing().unwrap();
    let file: serde_json::Value = serde_json::from_slice(&fs::read(place.file()).unwrap()).unwrap();
    let fields: Vec<&String> = file.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["kdf", "nonce", "sealed", "version"]);
    // No temporary file is left behind either.
    assert_eq!(fs::read_dir(place.directory()).unwrap().count(), 1);
}
