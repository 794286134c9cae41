//! `version --crypto`: which cryptographic module does what in this program, and whether it runs in FIPS mode.
//!
//! Says what is linked and what it says of itself, and nothing more: whether a module's certificate covers a use is for who
//! holds the certificate to judge.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::out::say;
use super::requests::print_json;
use super::table::table;

/// Show the version of this program
#[derive(Debug, Args)]
// The variant of this name in `sallyportd` has its group already.
#[group(skip)]
pub(super) struct Version {
    /// Which cryptographic module does what, and whether in FIPS mode
    #[arg(long)]
    crypto: bool,
}

/// One use of cryptography.
#[derive(Debug, Serialize)]
struct Use {
    what: &'static str,
    algorithms: &'static str,
    module: String,
    fips_mode: &'static str,
}

impl Version {
    pub(super) fn show(&self, program: &str, json: bool) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        if !self.crypto && json {
            return print_json(&serde_json::json!({ "program": program, "version": version }));
        }
        if !self.crypto {
            say(format_args!("{program} {version}"));
            return Ok(());
        }
        let uses = uses();
        if json {
            return print_json(&uses);
        }
        say(format_args!("{program} {version}"));
        let rows = uses.iter().map(|one| {
            vec![one.what.to_owned(), one.algorithms.to_owned(), one.module.clone(), one.fips_mode.to_owned()]
        });
        say(format_args!("{}", table(&["USE", "ALGORITHMS", "MODULE", "FIPS MODE"], rows)));
        say(format_args!(
            "FIPS mode is what the module says of itself. It is no certificate: look up the module's name and version with NIST."
        ));
        Ok(())
    }
}

fn uses() -> Vec<Use> {
    let aws_lc = aws_lc();
    let mode = if aws_lc_rs::try_fips_mode().is_ok() { "yes" } else { "no" };
    // rustls answers for its own choice of suites and groups too.
    let tls = if rustls::crypto::aws_lc_rs::default_provider().fips() { "yes" } else { "no" };
    let module = |what, algorithms, fips_mode| Use { what, algorithms, module: aws_lc.clone(), fips_mode };
    let other = |what, algorithms, name: &str| Use {
        what,
        algorithms,
        module: format!("{name} {}", locked(name)),
        fips_mode: "no",
    };
    vec![
        module("TLS", "the suites and groups of docs/fips.md", tls),
        module("tunnel handshake", "ML-KEM-768, Ed25519, ML-DSA-65, HKDF-SHA256, AES-256-GCM", mode),
        module(
            "tunnel handshake",
            "X25519, SHA3-256 of the X-Wing combiner; ChaCha20-Poly1305 in suite 2",
            "not approved",
        ),
        module("sealed keys and personal values", "AES-256-GCM, HMAC-SHA256", mode),
        module("tokens", "ECDSA P-256 (verified)", mode),
        module("post-quantum keys, opened", "ML-DSA-44, ML-DSA-65 (signed)", mode),
        Use {
            what: "keys in a token",
            algorithms: "ECDSA P-256, Ed25519, AES-256 (keys.provider = \"pkcs11\")",
            module: "the PKCS#11 module named in keys.module".to_owned(),
            fips_mode: "its own matter",
        },
        other("sealed keystore", "Argon2id (keys.provider = \"software\")", "argon2"),
        other("ledger, checked", "Ed25519", "ed25519-dalek"),
        other("ledger, checked", "ML-DSA-44", "ml-dsa"),
        other("ledger, hashed", "SHA-256", "sha2"),
    ]
}

/// The module as it names itself.
fn aws_lc() -> String {
    let version = aws_lc_rs::awslc_version();
    match aws_lc_rs::fips_version().filter(|_| cfg!(sallyport_fips)) {
        Some(module) => format!("AWS-LC {version} (FIPS module {module})"),
        None => format!("AWS-LC {version}"),
    }
}

/// The version of a crate that this program was built with.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_named_with_its_version() {
        for one in uses() {
            assert!(!one.module.contains('?'), "{one:?}");
        }
    }

    #[test]
    fn fips_mode_is_claimed_by_the_fips_build_alone() {
        let claims = uses().iter().any(|one| one.fips_mode == "yes");
        assert_eq!(claims, cfg!(sallyport_fips));
        assert_eq!(uses()[0].fips_mode == "yes", cfg!(sallyport_fips), "TLS");
    }
}
