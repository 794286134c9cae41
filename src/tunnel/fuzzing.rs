//! Doors for the fuzz targets in `fuzz/`, which see only what is public: the decoders behind the seals.
//!
//! Compiled for tests, which run the committed corpus through them, and under `--cfg fuzzing`, as cargo-fuzz
//! sets it.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::frame::FrameKeys;
use super::handshake::kem::DecapsulationKey;
use super::handshake::{
    ClientHandshake, Credential, GatewayHandshake, IdentityCertificate, Successions, Suite, Ticket,
};
use super::resumable::end::End;
use super::resumable::frame::Misbehaved;

/// A certificate that decodes: version, two empty texts, keys, dates and signature of zeros.
const CERTIFICATE: [u8; 1 + 2 + 2 + 32 + 1952 + 16 + 64] = {
    let mut bytes = [0; 1 + 2 + 2 + 32 + 1952 + 16 + 64];
    bytes[0] = 1;
    bytes
};

/// What a gateway does with bytes that should be a `ClientHello`.
pub fn client_hello(bytes: &[u8]) {
    let Ok(certificate) = IdentityCertificate::decode(&CERTIFICATE) else { return };
    let _either =
        GatewayHandshake::receive_client_hello(bytes, Suite::ALL, Some(&[7; 32]), [0; 32], certificate);
}

/// What a client that comes back does with bytes that should be a `GatewayHello`, a `ResumedHello` or a refusal in clear.
pub fn gateway_hello(bytes: &[u8]) {
    let Ok(key) = DecapsulationKey::generate() else { return };
    let (suite, secret) = (Suite::XWingEd25519MlDsa65Aes256Gcm, Zeroizing::new([3; 32]));
    let ticket = Some(Ticket { id: [4; 16], suite, secret });
    let Ok((client, _)) = ClientHandshake::resume(key, [0; 32], Some([7; 32]), Suite::ALL, ticket) else {
        return;
    };
    let _either = client.receive(bytes);
}

/// What a gateway does with a credential that opened.
///
/// # Panics
///
/// If the rule is broken: that is what the fuzzer looks for.
pub fn credential(plaintext: &[u8]) {
    if let Ok((credential, core)) = Credential::decode(plaintext) {
        let mut again = Credential::encode_core(&credential.proof, &credential.wishes).unwrap_or_default();
        assert_eq!(*again, core, "a core has one encoding");
        if let Some(signatures) = &credential.signatures {
            Credential::append_signatures(&mut again, signatures);
        }
        assert_eq!(*again, plaintext, "a message has one encoding");
    }
}

/// What a client does with what should say which keys followed those that it knows.
///
/// # Panics
///
/// If the rule is broken: that is what the fuzzer looks for.
pub fn succession(bytes: &[u8]) {
    if let Ok(successions) = Successions::decode(bytes) {
        assert_eq!(successions.encode(), bytes, "statements have one encoding");
    }
}

/// What a client does with an answer that opened.
pub fn answer(plaintext: &[u8]) {
    super::handshake::decode_answer(plaintext);
}

/// What either end does with bytes that should be a sealed frame.
///
/// # Panics
///
/// If the rule is broken: that is what the fuzzer looks for.
pub fn frame(bytes: &[u8]) {
    let keys = FrameKeys {
        suite: Suite::XWingEd25519MlDsa65Aes256Gcm,
        send: Zeroizing::new([1; 32]),
        receive: Zeroizing::new([2; 32]),
    };
    let Ok((_, mut opener)) = keys.split() else { return };
    assert!(opener.open(Bytes::copy_from_slice(bytes)).is_err(), "nobody has the key");
}

/// What either end of a resumable stream does with what comes on it: the same, however it was cut on the way.
///
/// # Panics
///
/// If the rule is broken: that is what the fuzzer looks for.
pub fn resumable(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let outcome = |size: usize| {
        let mut end = End::default();
        let (_taken, _sent) = end.write(&[7; 1000]);
        let _sent = end.end();
        let mut all = Vec::new();
        let outcome = stream.chunks(size).try_for_each(|piece| {
            end.take(Bytes::copy_from_slice(piece))?;
            while let Some(part) = end.hand_on(usize::MAX) {
                assert!(!part.is_empty(), "nothing is handed on");
                all.extend_from_slice(&part);
            }
            end.hand_on_end();
            Ok::<_, Misbehaved>(())
        });
        (outcome, all, end.acknowledged(), end.is_past_the_end())
    };
    let (cut, whole) = (outcome(usize::from(*size) + 1), outcome(1));
    assert_eq!(cut.0.is_err(), whole.0.is_err(), "how it was cut makes a difference");
    if cut.0.is_ok() {
        assert_eq!(cut, whole, "how it was cut makes a difference");
    }
}

/// The identity certificate: whatever decodes must encode to the same bytes.
///
/// # Panics
///
/// If the rule is broken: that is what the fuzzer looks for.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = IdentityCertificate::decode(bytes) {
        assert_eq!(certificate.encode().unwrap_or_default(), bytes);
        let _either = certificate.check_validity(0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_input_of_the_corpus_passes_through_its_decoder() {
        type Target = fn(&[u8]);
        let targets: [(&str, Target); 8] = [
            ("answer", super::answer),
            ("certificate", super::certificate),
            ("client_hello", super::client_hello),
            ("credential", super::credential),
            ("frame", super::frame),
            ("gateway_hello", super::gateway_hello),
            ("resumable", super::resumable),
            ("succession", super::succession),
        ];
        for (target, run) in targets {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
            for input in std::fs::read_dir(folder).unwrap() {
                run(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
