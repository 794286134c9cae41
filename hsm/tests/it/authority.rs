//! The private authority: what its certificates say, and what it refuses to certify.

use std::time::Duration;

use jiff::Timestamp;
use sallyport_hsm::authority::{self, RootCertificate, RootOptions, Validity};
use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{KeyError, Keys, ProviderConfig, Role};
use x509_parser::prelude::{GeneralName, ParsedExtension, Pem};

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn root(keys: &Keys) -> String {
    let options = RootOptions { organisation: "Example Ltd".to_owned(), validity: Validity::root(now()) };
    authority::create_root(keys, &options).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Keys of another gateway.
fn other_keys() -> (tempfile::TempDir, Keys) {
    let directory = tempfile::tempdir().unwrap();
    let passphrase_file = directory.path().join("passphrase");
    std::fs::write(&passphrase_file, "passphrase").unwrap();
    let config = ProviderConfig::Software { directory: directory.path().join("keys"), passphrase_file };
    let keys = Keys::open(&config).unwrap();
    keys.generate_missing().unwrap();
    (directory, keys)
}

#[test]
fn the_root_may_certify_leaves_for_ten_years_and_nothing_below_them() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let pem = root(&keys);
    let parsed = Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap();
    let certificate = parsed.parse_x509().unwrap();
    certificate.verify_signature(None).unwrap();
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && usage.digital_signature());
    assert!(!usage.key_encipherment() && !usage.key_agreement());
    assert!(certificate.raw_serial().len() >= 16);
    let (from, to) = (certificate.validity().not_before, certificate.validity().not_after);
    assert_eq!(from.timestamp(), now().as_second() - 3600);
    assert_eq!(to.timestamp(), now().as_second() + 3652 * 86_400);

    let root = RootCertificate::from_pem(&pem).unwrap();
    assert_eq!(root.public_key(), &keys.public_key(Role::CertificateAuthority).unwrap());
    assert!(root.is_valid_at(now()));
    assert!(!root.is_valid_at("2040-01-01T00:00:00Z".parse().unwrap()));
    assert!(!root.is_valid_at("2020-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn the_leaf_serves_its_names_for_ninety_days_and_certifies_nothing() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let root_pem = root(&keys);
    let wanted = names(&["localhost", "*.sallyport.localhost", "127.0.0.1", "::1"]);
    let leaf = authority::issue_server_leaf(&keys, &root_pem, &wanted, Validity::leaf(now())).unwrap();
    let root_parsed = Pem::iter_from_buffer(root_pem.as_bytes()).next().unwrap().unwrap();
    let root_parsed = root_parsed.parse_x509().unwrap();
    let parsed = Pem::iter_from_buffer(leaf.as_bytes()).next().unwrap().unwrap();
    let certificate = parsed.parse_x509().unwrap();
    certificate.verify_signature(Some(root_parsed.public_key())).unwrap();
    assert_eq!(certificate.issuer(), root_parsed.subject());
    assert!(!certificate.is_ca());
    assert_eq!(certificate.public_key().raw, keys.public_key(Role::Tls).unwrap().spki_der());
    let span = certificate.validity().not_after.timestamp() - now().as_second();
    assert_eq!(span, 90 * 86_400);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    let alternatives = certificate.subject_alternative_name().unwrap().unwrap().value;
    let dns =
        alternatives.general_names.iter().filter(|name| matches!(name, GeneralName::DNSName(_))).count();
    let ip =
        alternatives.general_names.iter().filter(|name| matches!(name, GeneralName::IPAddress(_))).count();
    assert_eq!((dns, ip), (2, 2));
    assert!(
        certificate.extensions().iter().any(|extension| matches!(
            extension.parsed_extension(),
            ParsedExtension::AuthorityKeyIdentifier(_)
        ))
    );

    let again = authority::issue_server_leaf(&keys, &root_pem, &wanted, Validity::leaf(now())).unwrap();
    assert_ne!(authority::fingerprint(&leaf).unwrap(), authority::fingerprint(&again).unwrap());
}

#[test]
fn a_leaf_is_not_issued_under_a_root_of_another_key() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (_directory, others) = other_keys();
    let foreign = root(&others);
    let refused =
        authority::issue_server_leaf(&keys, &foreign, &names(&["localhost"]), Validity::leaf(now()));
    assert!(matches!(refused, Err(KeyError::Certificate { .. })), "{refused:?}");
}

#[test]
fn names_and_dates_that_no_certificate_can_have_are_refused() {
    let (_directory, keys) = other_keys();
    let root_pem = root(&keys);
    let issue =
        |wanted: &[&str], validity| authority::issue_server_leaf(&keys, &root_pem, &names(wanted), validity);
    for bad in
        [&[][..], &[""], &["a b"], &["*"], &["*.*.example"], &["exämple"], &["-a"], &["localhost", "a..b"]]
    {
        assert!(matches!(issue(bad, Validity::leaf(now())), Err(KeyError::Certificate { .. })), "{bad:?}");
    }
    for (at, lasts) in [
        (now(), Duration::MAX),
        (Timestamp::MAX, Duration::from_hours(240)),
        (Timestamp::MIN, Duration::ZERO),
    ] {
        assert!(matches!(
            issue(&["localhost"], Validity { now: at, lasts }),
            Err(KeyError::Certificate { .. })
        ));
    }
}

#[test]
fn a_root_that_is_none_is_refused() {
    let (_directory, keys) = other_keys();
    let root_pem = root(&keys);
    let leaf = authority::issue_server_leaf(&keys, &root_pem, &names(&["localhost"]), Validity::leaf(now()))
        .unwrap();
    assert!(RootCertificate::from_pem(&leaf).is_err(), "a leaf is no authority");
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(RootCertificate::from_pem(text), Err(KeyError::Certificate { .. })), "{text:?}");
        assert!(authority::fingerprint(text).is_err() || text.contains("AAAA"));
    }
    // One flipped bit in the signed part, and the root's own signature no longer verifies.
    let mut der = rustls_pki_types::pem::PemObject::from_pem_slice(root_pem.as_bytes())
        .map(|der: rustls_pki_types::CertificateDer<'static>| der.to_vec())
        .unwrap();
    let at = der.windows(7).position(|window| window == b"Example").unwrap();
    der[at] ^= 1;
    let altered = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der)
    );
    assert!(matches!(RootCertificate::from_pem(&altered), Err(KeyError::Certificate { .. })));
}

#[test]
fn a_statement_of_the_authority_is_checked_with_nothing_but_the_root() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let statement = b"sallyport identity v1\n...";
    let signature = authority::sign_with_authority(&keys, statement).unwrap();
    let root = RootCertificate::from_pem(&root(&keys)).unwrap();
    root.verify(statement, &signature).unwrap();
    assert!(matches!(root.verify(b"another statement", &signature), Err(KeyError::BadSignature)));
    let (_directory, others) = other_keys();
    let foreign = authority::sign_with_authority(&others, statement).unwrap();
    assert!(matches!(root.verify(statement, &foreign), Err(KeyError::BadSignature)));
}
