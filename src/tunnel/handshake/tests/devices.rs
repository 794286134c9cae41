//! Clients that prove themselves by keys: what of it can be stolen, relayed or mixed.

use std::sync::Arc;

use super::*;

fn device(fill: u8) -> Arc<DeviceKey> {
    Arc::new(DeviceKey::from_seed(zeroize::Zeroizing::new([fill; 64])).unwrap())
}

fn is_of(shown: &Possession, key: &DeviceKey) -> bool {
    shown.is_of(&key.public().ed25519, key.public().ml_dsa.as_slice())
}

/// The plaintext of message 3 as a gateway opens it: what whoever receives it could keep.
fn received(scene: &Scene, secret: &Secret) -> (Credential, Possession) {
    let (client, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    let wishes = Wishes { offers: Vec::new(), ..wishes() };
    let (_, message) = client.receive_gateway_hello(&hello).unwrap().credential(secret, &wishes).unwrap();
    let (credential, answering) = gateway.receive_credential(&message).unwrap();
    (credential, answering.possession().unwrap().clone())
}

/// Somebody with a handshake of their own who shows what they have kept of another's.
fn shown_again(scene: &Scene, kept: &Credential) -> Result<Option<Possession>, HandshakeError> {
    let (thief, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    let mut plaintext = Credential::encode_core(&kept.proof, &kept.wishes).unwrap();
    Credential::append_signatures(&mut plaintext, kept.signatures.as_ref().unwrap());
    let message = thief.receive_gateway_hello(&hello).unwrap().with_plaintext(&plaintext);
    gateway.receive_credential(&message).map(|(_, answering)| answering.possession().cloned())
}

#[test]
fn a_device_proves_itself_by_both_its_keys_and_shows_no_secret() {
    let key = device(1);
    for scene in [Scene::bound(), Scene::sealed()] {
        let (credential, shown) = received(&scene, &Secret::Device(Arc::clone(&key)));
        assert!(matches!(credential.proof, Proof::Device(id) if id == key.public().id()));
        assert!(is_of(&shown, &key));
        assert!(!is_of(&shown, &device(2)));
    }
}

#[test]
fn what_a_device_signed_proves_nothing_in_another_handshake() {
    // Recorded by the gateway itself, or by whoever broke into it.
    let (scene, key) = (Scene::bound(), device(1));
    let (kept, _) = received(&scene, &Secret::Device(Arc::clone(&key)));
    let shown = shown_again(&scene, &kept).unwrap().unwrap();
    assert!(!is_of(&shown, &key));
}

#[test]
fn a_gateway_of_its_own_keys_cannot_pass_a_device_on_to_another_gateway() {
    // Mixed identities, and a relay: the device believes that it speaks to the second gateway.
    let organisation = Organisation::new();
    let key = device(1);
    let there = Scene { identity: organisation.gateway(2), ..Scene::sealed() };
    let here = Scene { identity: organisation.gateway(1), ..Scene::sealed() };
    let (kept, _) = received(&there, &Secret::Device(Arc::clone(&key)));
    assert!(!is_of(&shown_again(&here, &kept).unwrap().unwrap(), &key));
}

#[test]
fn whoever_has_stolen_the_gateways_keys_cannot_imitate_a_device_to_the_gateway() {
    // Key compromise impersonation: the thief imitates the gateway, so the device signs; for that transcript alone.
    let organisation = Organisation::new();
    let key = device(1);
    let thief = Scene { identity: organisation.gateway(1), ..Scene::sealed() };
    let gateway = Scene { identity: organisation.gateway(1), ..Scene::sealed() };
    let (kept, shown) = received(&thief, &Secret::Device(Arc::clone(&key)));
    assert!(is_of(&shown, &key), "the thief does see a good proof");
    assert!(!is_of(&shown_again(&gateway, &kept).unwrap().unwrap(), &key));
    // And with the gateway's own keys nothing is signed that a device's would sign: the labels differ.
    let hash = [3; 32];
    assert_ne!(ToSign::new(hash).ed25519(), ToSign::by_device(hash).ed25519());
    assert_ne!(ToSign::new(hash).ml_dsa(), ToSign::by_device(hash).ml_dsa());
}

#[test]
fn both_of_a_devices_signatures_must_be_its_own() {
    let (scene, key) = (Scene::bound(), device(1));
    let (_, shown) = received(&scene, &Secret::Device(Arc::clone(&key)));
    let forged = device(2).sign(&shown.to_sign).unwrap();
    let good = &shown.signatures;
    for signatures in [
        IdentitySignatures { ed25519: forged.ed25519, ml_dsa: good.ml_dsa.clone() },
        IdentitySignatures { ed25519: good.ed25519, ml_dsa: forged.ml_dsa.clone() },
    ] {
        assert!(!is_of(&Possession { signatures, ..shown.clone() }, &key));
    }
}

#[test]
fn what_a_device_wants_is_under_its_signatures() {
    let (scene, key) = (Scene::bound(), device(1));
    let (credential, shown) = received(&scene, &Secret::Device(Arc::clone(&key)));
    let more = Wishes { offers: vec![http("admin")], ..credential.wishes };
    let (client, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    let mut plaintext = Credential::encode_core(&credential.proof, &more).unwrap();
    Credential::append_signatures(&mut plaintext, &shown.signatures);
    let message = client.receive_gateway_hello(&hello).unwrap().with_plaintext(&plaintext);
    let (_, answering) = gateway.receive_credential(&message).unwrap();
    assert!(!is_of(answering.possession().unwrap(), &key));
}

#[test]
fn a_device_is_enrolled_with_keys_that_it_holds_and_no_others() {
    let scene = Scene::sealed();
    let secret = Secret::Join { token: SecretString::from("join"), key: device(1) };
    let (kept, _) = received(&scene, &secret);
    // The join token of another handshake with its signatures, and somebody else's keys in the place of one's own.
    assert!(matches!(error(shown_again(&scene, &kept)), HandshakeError::WrongDeviceSignature(_)));
    let Proof::Join { token, .. } = kept.proof else { panic!("not a join") };
    let swapped = Proof::Join { token, keys: device(2).public().clone() };
    let kept = Credential { proof: swapped, ..kept };
    assert!(matches!(error(shown_again(&scene, &kept)), HandshakeError::WrongDeviceSignature(_)));
}

#[test]
fn an_enrollment_is_answered_as_one_and_offers_nothing() {
    let scene = Scene::sealed();
    let secret = Secret::Join { token: SecretString::from("join"), key: device(1) };
    let (client, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    let wishes = Wishes { offers: Vec::new(), ..wishes() };
    let (client, message) =
        client.receive_gateway_hello(&hello).unwrap().credential(&secret, &wishes).unwrap();
    let (_, answering) = gateway.receive_credential(&message).unwrap();
    let enrolled = Enrolled { subject: "user:vic".to_owned(), expires: 1_900_000_000 };
    assert_eq!(client.receive_enrolled(&answering.enrolled(&enrolled).unwrap()).unwrap(), enrolled);

    let (client, hello) = scene.client();
    let (gateway, hello) = scene.gateway(&hello).unwrap();
    let presented = client.receive_gateway_hello(&hello).unwrap();
    let (_, message) = presented.credential(&secret, &super::wishes()).unwrap();
    let refused = error(gateway.receive_credential(&message));
    assert!(matches!(
        refused,
        HandshakeError::Malformed { source: DecodeError::BadValue { field: "offers" }, .. }
    ));
}

#[test]
fn a_device_id_follows_from_its_keys() {
    assert_eq!(device(1).public().id(), device(1).public().id());
    assert_ne!(device(1).public().id(), device(2).public().id());
}
