//! Doors for the fuzz targets in `fuzz/`. Compiled for tests, which run the committed corpus through them, and
//! under `--cfg fuzzing`, as cargo-fuzz sets it.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::issuer::{Algorithm, GroupRules, Issuer, Issuers, KeySet, NameRules, issuer_of};
use super::policy::Policy;
use super::policy::load::{Sources, default_files};
use super::token::{Purpose, SignError, TokenKeys, TokenVerifier, is_typed_as_ours};

/// What the gateway does with a policy table: it takes it or tells every fault, and never panics.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let model = default_files().into_iter().filter(|(name, _)| *name != "policy.csv");
    let sources = Sources::new(model.chain([("policy.csv", text)]));
    let _either = runtime.block_on(Policy::build(&sources));
}

/// What the gateway does with a file of conditions: it takes it or tells every fault, holds what it took against some
/// moments, and never panics.
pub fn conditions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    super::policy::conditions::exercise(text);
}

/// What the gateway does with a file of workflows: it takes it or tells every fault in a line that the file has, and never
/// panics.
///
/// # Panics
///
/// A fault's line is beyond the end: that is what the fuzzer looks for.
pub fn approvals(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let last = text.split('\n').count();
    let told = |line: u32, _what: String| assert!(usize::try_from(line).is_ok_and(|line| line <= last));
    let _taken = super::workflow::parse(text, told);
}

/// The key below as its point, for the gateway's own tokens.
struct NobodysKey;

impl TokenKeys for NobodysKey {
    fn sign_es256(&self, _input: Vec<u8>) -> BoxFuture<'_, Result<[u8; 64], SignError>> {
        std::future::ready(Err(SignError("nobody signs here".to_owned()))).boxed()
    }

    fn public_key_p256(&self) -> Vec<u8> {
        [&[4][..], &X, &Y].concat()
    }
}

/// The coordinates of the key below.
const X: [u8; 32] = [
    127, 205, 206, 39, 112, 246, 196, 93, 65, 131, 203, 238, 111, 219, 75, 123, 88, 7, 51, 53, 123, 233, 239,
    19, 186, 207, 110, 60, 123, 209, 84, 69,
];
const Y: [u8; 32] = [
    199, 241, 68, 205, 27, 189, 155, 126, 135, 44, 223, 237, 185, 238, 185, 244, 179, 105, 93, 110, 169, 11,
    36, 173, 138, 70, 35, 40, 133, 136, 229, 173,
];

/// What the gateway does with a token of its own: none that its key didn't sign ever proves anybody, whatever it is for.
///
/// # Panics
///
/// One does: that is what the fuzzer looks for.
pub fn gateway_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let verifier = TokenVerifier::new(&NobodysKey, &BTreeMap::new(), "https://sallyport.test");
    let Ok(verifier) = verifier else { return };
    for purpose in [Purpose::Access, Purpose::Session, Purpose::Join] {
        assert!(verifier.verify(text, purpose, Timestamp::UNIX_EPOCH).is_err());
    }
    let _either = is_typed_as_ours(text);
}

/// The public key of RFC 7515 appendix A.3, whose private half everybody knows and no input here was signed with.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// What the gateway does with a token of another issuer: none that the issuer didn't sign ever proves anybody.
///
/// # Panics
///
/// One does: that is what the fuzzer looks for.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (Ok(name), Ok(tenant)) = ("corp".parse(), "main".parse()) else { return };
    let issuer = Issuer {
        name,
        issuer: "https://id.example.com".to_owned(),
        audience: "sallyport".to_owned(),
        algorithms: Algorithm::PUBLIC.to_vec(),
        tenant,
        leeway: SignedDuration::from_secs(30),
        names: NameRules { claim: "sub".to_owned(), own: false, people: BTreeMap::new() },
        groups: GroupRules { claim: "groups".to_owned(), ..GroupRules::default() },
    };
    let Ok(keys) = KeySet::parse(&issuer.name, KEYS.as_bytes()) else { return };
    let Ok(issuers) = Issuers::new(vec![issuer]) else { return };
    let now = Timestamp::UNIX_EPOCH;
    let of_itself =
        issuer_of(&issuers, text).and_then(|issuer| issuer.verify(&issuers, &keys, text, None, now));
    assert!(of_itself.is_err());
    for issuer in &issuers {
        assert!(issuer.verify(&issuers, &keys, text, Some("n"), now).is_err());
    }
}

/// What the gateway does with a set of keys that an issuer publishes: it takes what can verify and passes over the rest.
///
/// # Panics
///
/// It took none, or more than it may: that is what the fuzzer looks for.
pub fn keys(bytes: &[u8]) {
    let Ok(name) = "corp".parse() else { return };
    if let Ok(set) = KeySet::parse(&name, bytes) {
        assert!(!set.is_empty() && set.prints().len() <= super::issuer::MAX_KEYS);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_token_and_every_set_of_keys_of_the_corpus_is_refused_or_taken_in_words() {
        for (folder, door) in [("token", super::token as fn(&[u8])), ("issuer_keys", super::keys)] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
            for input in std::fs::read_dir(folder).unwrap() {
                door(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }

    #[test]
    fn every_token_of_the_gateways_own_in_the_corpus_is_refused_and_those_made_well_by_their_signature_alone()
    {
        use crate::access::token::{AuthError, Purpose, TokenVerifier};

        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gateway_token");
        for input in std::fs::read_dir(&folder).unwrap() {
            super::gateway_token(&std::fs::read(input.unwrap().path()).unwrap());
        }
        let none = std::collections::BTreeMap::new();
        let verifier = TokenVerifier::new(&super::NobodysKey, &none, "https://sallyport.test").unwrap();
        for (name, purpose) in [("access", Purpose::Access), ("join", Purpose::Join)] {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            let refused = verifier.verify(&text, purpose, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(refused.unwrap_err(), AuthError::Signature, "{name}");
        }
    }

    #[test]
    fn every_file_of_workflows_of_the_corpus_is_taken_or_refused_in_words() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/approvals");
        let mut seen = 0;
        for input in std::fs::read_dir(folder).unwrap() {
            super::approvals(&std::fs::read(input.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen > 3);
    }

    #[test]
    fn every_policy_table_of_the_corpus_is_taken_or_refused_in_words() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/policy");
        for input in std::fs::read_dir(folder).unwrap() {
            super::policy(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn every_file_of_conditions_of_the_corpus_is_taken_or_refused_in_words() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/conditions");
        let mut seen = 0;
        for input in std::fs::read_dir(folder).unwrap() {
            super::conditions(&std::fs::read(input.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen > 3);
    }
}
