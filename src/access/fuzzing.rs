//! Doors for the fuzz targets in `fuzz/`. Compiled for tests, which run the committed corpus through them, and
//! under `--cfg fuzzing`, as cargo-fuzz sets it.

use jiff::{SignedDuration, Timestamp};

use super::issuer::{Algorithm, GroupRules, Issuer, Issuers, KeySet, NameRules, issuer_of};
use super::policy::Policy;
use super::policy::load::{Sources, default_files};

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
        names: NameRules { claim: "sub".to_owned(), own: false, people: std::collections::BTreeMap::new() },
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
