//! Envelopes whose data key is sealed by the token.

use sallyport_hsm::KeyError;
use sallyport_hsm::testing::TestToken;

#[test]
fn an_envelope_opens_again_with_its_wrapped_data_key() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (envelope, wrapped) = keys.envelope("a test", None).unwrap();
    let sealed = envelope.seal(b"record 7", b"user:alice").unwrap();
    assert!(!sealed.windows(10).any(|window| window == b"user:alice"));
    drop((envelope, keys));

    let keys = token.open();
    let (envelope, same) = keys.envelope("a test", Some(&wrapped)).unwrap();
    assert_eq!(same, wrapped);
    assert_eq!(envelope.open(b"record 7", &sealed).unwrap(), b"user:alice");
    assert!(matches!(envelope.open(b"record 8", &sealed), Err(KeyError::NotAuthentic { .. })));
}

#[test]
fn two_envelopes_have_different_data_keys() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let ((one, wrapped_one), (two, wrapped_two)) =
        (keys.envelope("a test", None).unwrap(), keys.envelope("a test", None).unwrap());
    assert_ne!(wrapped_one, wrapped_two);
    let sealed = one.seal(b"", b"value").unwrap();
    assert!(matches!(two.open(b"", &sealed), Err(KeyError::NotAuthentic { .. })));
}

#[test]
fn an_altered_data_key_is_refused_and_the_token_stays_up() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (_, wrapped) = keys.envelope("a test", None).unwrap();
    for index in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[index] ^= 1;
        let refused = keys.envelope("a test", Some(&altered));
        assert!(matches!(refused, Err(KeyError::NotAuthentic { .. })), "byte {index}: {refused:?}");
    }
    for length in [0, 1, 20, wrapped.len() - 1] {
        assert!(keys.envelope("a test", Some(&wrapped[..length])).is_err(), "{length} bytes");
    }
    assert_eq!(*keys.health().borrow(), sallyport_hsm::Health::Up);
    keys.envelope("a test", Some(&wrapped)).unwrap();
}

#[test]
fn a_wrapped_seed_does_not_pass_for_a_data_key() {
    use base64::Engine;
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    let file = std::fs::read(token.key_directory().join("identity-pq.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let seed = base64::engine::general_purpose::STANDARD.decode(file["sealed"].as_str().unwrap()).unwrap();
    assert!(matches!(keys.envelope("a test", Some(&seed)), Err(KeyError::NotAuthentic { .. })));
}
