//! Opening a provider: what is refused, and how it is told.

use std::fs;
use std::path::PathBuf;

use sallyport_hsm::testing::{Make, TestToken};
use sallyport_hsm::{Home, KeyError, Keys, ProviderConfig, Role, init_token};
use secrecy::SecretString;

fn refusal(config: &ProviderConfig) -> KeyError {
    Keys::open(config).expect_err("opening is refused")
}

#[test]
fn a_wrong_pin_is_refused_and_said_to_be_wrong() {
    let Some(token) = TestToken::for_this_test() else { return };
    fs::write(token.pin_file(), "not the PIN\n").unwrap();
    let error = refusal(&token.config());
    assert!(matches!(&error, KeyError::WrongPin { label, .. } if label == token.label()), "{error:?}");
    assert!(error.hint().contains("not tried again"));
    assert!(!format!("{error:?} {error}").contains("not the PIN"), "the PIN must not be in the error");
}

#[test]
fn a_pin_file_that_cannot_be_used_is_named() {
    let Some(token) = TestToken::for_this_test() else { return };
    for content in ["", "\n"] {
        fs::write(token.pin_file(), content).unwrap();
        assert!(
            matches!(refusal(&token.config()), KeyError::PinFile { path, .. } if path == token.pin_file())
        );
    }
    fs::write(token.pin_file(), vec![b'1'; 100_000]).unwrap();
    assert!(matches!(refusal(&token.config()), KeyError::PinFile { .. }));
    fs::remove_file(token.pin_file()).unwrap();
    assert!(matches!(refusal(&token.config()), KeyError::PinFile { .. }));
    fs::create_dir(token.pin_file()).unwrap();
    assert!(matches!(refusal(&token.config()), KeyError::PinFile { .. }));
}

#[test]
fn a_pin_file_may_end_with_a_line_end() {
    let Some(token) = TestToken::for_this_test() else { return };
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    fs::write(token.pin_file(), pin + "\r\n").unwrap();
    Keys::open(&token.config()).unwrap();
}

#[test]
fn a_missing_token_is_told_with_the_tokens_that_are_there() {
    let Some(token) = TestToken::for_this_test() else { return };
    let mut config = token.config();
    // In a worker process it is what the worker opens.
    let label = match &mut config {
        ProviderConfig::Pkcs11 { token, .. } => Some(token),
        ProviderConfig::InWorker { provider, .. } => match &mut **provider {
            ProviderConfig::Pkcs11 { token, .. } => Some(token),
            _ => None,
        },
        ProviderConfig::Software { .. } => None,
    };
    "another".clone_into(label.expect("the provider of the tests is a token"));
    let error = refusal(&config);
    assert!(
        matches!(&error, KeyError::TokenAbsent { label, found } if label == "another" && found == &[token.label()]),
        "{error:?}"
    );
}

fn config_with_module(module: &str) -> ProviderConfig {
    ProviderConfig::Pkcs11 {
        module: PathBuf::from(module),
        token: "any".to_owned(),
        pin_file: PathBuf::from("/nonexistent/pin"),
        directory: PathBuf::from("/nonexistent/keys"),
    }
}

#[test]
fn a_wrong_module_path_is_told_with_the_path() {
    let error = refusal(&config_with_module("/nonexistent/libsofthsm2.so"));
    assert!(matches!(&error, KeyError::ModuleMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/libsofthsm2.so"));
    assert!(error.hint().contains("softhsm2"));
}

#[test]
fn a_library_that_is_no_pkcs11_module_is_refused() {
    let library = fs::read_dir("/lib/x86_64-linux-gnu")
        .or_else(|_| fs::read_dir("/lib/aarch64-linux-gnu"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy() == "libm.so.6"))
        .expect("every Linux has libm");
    let error = refusal(&config_with_module(library.to_str().unwrap()));
    assert!(matches!(error, KeyError::NotAModule { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_no_library_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "#!/bin/sh\n").unwrap();
    let error = refusal(&config_with_module(file.path().to_str().unwrap()));
    assert!(matches!(error, KeyError::NotAModule { .. }), "{error:?}");
}

#[test]
fn a_module_without_its_configuration_is_told_with_the_variable() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    fs::remove_file(token.conf()).unwrap();
    let error = refusal(&token.config());
    assert!(matches!(error, KeyError::ConfigurationMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("SOFTHSM2_CONF"), "{error}");
}

#[test]
fn a_module_whose_token_directory_is_missing_refuses_to_start() {
    let Some(token) = TestToken::for_this_test() else { return };
    token.take_away();
    assert!(matches!(refusal(&token.config()), KeyError::ConfigurationMissing { .. }));
}

#[test]
fn a_new_token_gets_the_keys_it_lacks_and_only_those() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open();
    assert!(keys.inventory().unwrap().is_empty());
    assert!(matches!(keys.public_key(Role::Tls), Err(KeyError::KeyMissing { role: Role::Tls, .. })));

    let made: Vec<Role> = keys.generate_missing().unwrap().iter().map(|key| key.role).collect();
    assert_eq!(made, crate::usual());
    assert!(keys.generate_missing().unwrap().is_empty());
    let listed: Vec<Role> = keys.inventory().unwrap().iter().map(|key| key.role).collect();
    assert_eq!(listed, crate::usual());
}

//= A2.7: private keys stay in the provider, and every listing says where each one lives
#[test]
fn keys_in_the_token_are_attested_as_made_there_and_not_extractable() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    assert!(keys.describe().is_token());
    for key in keys.inventory().unwrap() {
        assert!(key.created.is_some());
        if matches!(key.role, Role::IdentityPq | Role::LedgerPq) && token.make() == Make::SoftHsm {
            let kek = keys.inventory().unwrap().into_iter().find(|key| key.role == Role::Kek).unwrap();
            assert!(
                matches!(&key.home, Home::WrappedByToken { wrapping_key, .. } if *wrapping_key == kek.id)
            );
            continue;
        }
        assert!(matches!(key.home, Home::Token { .. }), "{key:?}");
        let attestation = key.attestation.expect("a key in a token is attested");
        assert!(attestation.is_token_bound(), "{key:?}");
    }
}

/// The same question asked of another program: no private value can be read out of the token.
#[test]
fn another_program_sees_only_sensitive_keys() {
    let Some(token) = TestToken::for_this_test() else { return };
    drop(token.open_with_keys());
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    let seen = std::process::Command::new("pkcs11-tool")
        .args(["--module", token.module().to_str().unwrap(), "--token-label", token.label()])
        .args(["--login", "--pin", &pin, "--list-objects"])
        .output()
        .expect("pkcs11-tool runs (Debian: apt install opensc)");
    let seen = String::from_utf8_lossy(&seen.stdout);
    let private = seen.matches("Private Key Object").count() + seen.matches("Secret Key Object").count();
    let expected = if token.make() == Make::Kryoptic { 8 } else { 6 };
    assert_eq!(private, expected, "{seen}");
    let bound = seen.matches("sensitive, always sensitive, never extractable, local").count();
    assert_eq!(bound, expected, "{seen}");
}

#[test]
fn a_key_that_the_token_would_give_away_is_refused_at_start() {
    let Some(token) = TestToken::for_this_test() else { return };
    let pin = fs::read_to_string(token.pin_file()).unwrap();
    let made = std::process::Command::new("pkcs11-tool")
        .args(["--module", token.module().to_str().unwrap(), "--token-label", token.label()])
        .args(["--login", "--pin", &pin, "--keypairgen", "--key-type", "EC:prime256v1"])
        .args(["--label", "sallyport-tls", "--id", "01", "--usage-sign", "--extractable"])
        .output()
        .expect("pkcs11-tool runs (Debian: apt install opensc)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let error = refusal(&token.config());
    assert!(matches!(error, KeyError::WeakKey { role: Role::Tls, .. }), "{error:?}");
}

#[test]
fn a_free_slot_becomes_a_token_that_opens() {
    let Some(place) = TestToken::for_this_test_without_token() else { return };
    let (so_pin, pin) = (SecretString::from("12345678"), SecretString::from("87654321"));
    let serial = init_token(place.module(), place.label(), &so_pin, &pin).unwrap();
    fs::write(place.pin_file(), "87654321").unwrap();
    let keys = place.open_with_keys();
    assert!(keys.describe().to_string().contains(&serial));

    let again = init_token(place.module(), place.label(), &so_pin, &pin);
    assert!(matches!(again, Err(KeyError::TokenExists { .. })), "{again:?}");
}

#[test]
fn a_token_is_not_made_with_values_that_it_would_change() {
    let pin = SecretString::from("12345678");
    let module = PathBuf::from("/nonexistent");
    for label in ["", "   ", "ends in a blank ", "a label that has more than thirty-two bytes"] {
        let refused = init_token(&module, label, &pin, &pin);
        assert!(matches!(refused, Err(KeyError::TokenRefused { .. })), "{label:?}");
    }
    let short = SecretString::from("123");
    assert!(matches!(init_token(&module, "label", &pin, &short), Err(KeyError::TokenRefused { .. })));
    assert!(matches!(init_token(&module, "label", &short, &pin), Err(KeyError::TokenRefused { .. })));
}
