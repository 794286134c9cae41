use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::access::token::AuthError;

const ISSUER: &str = "https://id.example.com";

/// An issuer with one key of each kind.
struct Bed {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    issuer: Issuer,
}

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Bed {
    fn new() -> Self {
        let issuer = Issuer {
            name: "corp".parse().unwrap(),
            issuer: ISSUER.to_owned(),
            audience: "sallyport".to_owned(),
            algorithms: Algorithm::PUBLIC.to_vec(),
            tenant: "main".parse().unwrap(),
            leeway: SignedDuration::from_secs(30),
            names: NameRules {
                claim: "sub".to_owned(),
                own: false,
                people: std::collections::BTreeMap::new(),
            },
            groups: GroupRules { claim: "groups".to_owned(), ..GroupRules::default() },
        };
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            issuer,
        }
    }

    fn ec_key(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256",
            "x": encoded(&point[1..33]), "y": encoded(&point[33..]),
        })
    }

    fn ed_key(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encoded(self.ed.public_key()) })
    }

    fn keys(&self) -> KeySet {
        self.set(&[self.ec_key(), self.ed_key()]).unwrap()
    }

    fn set(&self, keys: &[Value]) -> Result<KeySet, UnusableKeys> {
        KeySet::parse(&self.issuer.name, json!({ "keys": keys }).to_string().as_bytes())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = if header["alg"] == "EdDSA" {
            self.ed.sign(input.as_bytes()).as_ref().to_vec()
        } else {
            self.ec.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{input}.{}", encoded(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "ec", "typ": "JWT" }), claims)
    }

    fn verify(&self, token: &str) -> Result<Vouched, AuthError> {
        self.verify_with(&self.keys(), token)
    }

    fn verify_with(&self, keys: &KeySet, token: &str) -> Result<Vouched, AuthError> {
        let all = Issuers::new(vec![self.issuer.clone()]).unwrap();
        issuer_of(&all, token)?.verify(&all, keys, token, None, now())
    }
}

fn claims() -> Value {
    let now = now().as_second();
    json!({
        "iss": ISSUER, "aud": "sallyport", "sub": "alice", "jti": "1",
        "iat": now - 10, "nbf": now - 10, "exp": now + 300,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut changed = claims();
    changed[name] = value;
    changed
}

fn without(name: &str) -> Value {
    let mut changed = claims();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

#[test]
fn a_token_of_an_issuer_proves_a_person_under_the_issuers_name_and_no_other() {
    let bed = Bed::new();
    let alice = bed.verify(&bed.token(&claims())).unwrap();
    assert_eq!((alice.subject.as_str(), alice.tenant.as_str()), ("user:corp+alice", "main"));
    assert!(alice.roles.is_empty());
    assert_eq!(alice.expires, now().checked_add(SignedDuration::from_secs(330)).unwrap());
    let by_ed = bed.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    assert_eq!(bed.verify(&by_ed).unwrap().subject, alice.subject);
    assert_ne!(bed.verify(&by_ed).unwrap().proof.key, alice.proof.key);
    assert_eq!(bed.verify(&by_ed).unwrap().proof.token, alice.proof.token, "one `jti` is one token");
}

#[test]
fn every_claim_that_is_missing_or_wrong_is_refused_and_told_apart() {
    let bed = Bed::new();
    let at = now().as_second();
    let refused = |claims: Value| bed.verify(&bed.token(&claims)).unwrap_err().code();
    let cases = [
        (with("iss", json!("https://evil.example")), "unknown-issuer"),
        (with("iss", json!(["https://id.example.com"])), "malformed"),
        (without("iss"), "malformed"),
        (with("aud", json!("another")), "other-audience"),
        (with("aud", json!([])), "other-audience"),
        (without("aud"), "malformed"),
        (without("exp"), "malformed"),
        (with("exp", json!("tomorrow")), "malformed"),
        (with("exp", json!(at - 31)), "expired"),
        (with("exp", json!(at - 30)), "expired"),
        (with("exp", json!(i64::MAX)), "malformed"),
        (with("exp", json!(1e300)), "malformed"),
        (with("exp", json!(at + 500 * 86_400)), "malformed"),
        (with("nbf", json!(at + 31)), "not-yet-valid"),
        (with("iat", json!(at + 31)), "not-yet-valid"),
        (with("nbf", json!("now")), "malformed"),
        (without("sub"), "malformed"),
        (with("sub", json!("")), "unnamed"),
        (with("sub", json!("Alice")), "unnamed"),
        (with("sub", json!("a,b")), "unnamed"),
        (with("sub", json!("a".repeat(200))), "unnamed"),
    ];
    for (claims, code) in cases {
        assert_eq!(refused(claims.clone()), code, "{claims}");
    }
    for good in [
        with("exp", json!(at - 29)),
        with("nbf", json!(at + 30)),
        with("aud", json!(["other", "sallyport"])),
        without("nbf"),
        without("iat"),
        without("jti"),
    ] {
        assert!(bed.verify(&bed.token(&good)).is_ok(), "{good}");
    }
}

#[test]
fn no_algorithm_but_the_keys_own_passes() {
    let bed = Bed::new();
    let input = |header: Value| format!("{}.{}", encoded(header.to_string()), encoded(claims().to_string()));
    for none in ["none", "None", "NONE", "nOnE"] {
        let token = format!("{}.", input(json!({ "alg": none, "kid": "ec" })));
        assert_eq!(bed.verify(&token).unwrap_err(), AuthError::Algorithm, "{none}");
    }
    // The public key as the secret of an HMAC: RFC 8725 section 2.1.
    let point = bed.ec.public_key().as_ref();
    let key = hmac::Key::new(hmac::HMAC_SHA256, point);
    let forged = input(json!({ "alg": "HS256", "kid": "ec" }));
    let forged = format!("{forged}.{}", encoded(hmac::sign(&key, forged.as_bytes())));
    assert_eq!(bed.verify(&forged).unwrap_err(), AuthError::Algorithm);
    // The right key under another algorithm's name.
    for (alg, kid) in [("EdDSA", "ec"), ("ES256", "ed"), ("RS256", "ec")] {
        let token = bed.sign(&json!({ "alg": alg, "kid": kid }), &claims());
        assert_eq!(bed.verify(&token).unwrap_err(), AuthError::OtherKey, "{alg} {kid}");
    }
    let mut narrow = Bed::new();
    narrow.issuer.algorithms = vec![Algorithm::EdDsa];
    assert_eq!(narrow.verify(&narrow.token(&claims())).unwrap_err(), AuthError::Algorithm);
}

#[test]
fn what_a_header_says_of_keys_is_never_looked_at() {
    let (bed, mallory) = (Bed::new(), Bed::new());
    let mut own = mallory.ec_key();
    own["kid"] = json!("ec");
    for (name, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/x5u")),
        ("x5c", json!(["MIIB"])),
    ] {
        let mut header = json!({ "alg": "ES256", "kid": "ec" });
        header[name] = value;
        assert_eq!(
            bed.verify(&mallory.sign(&header, &claims())).unwrap_err(),
            AuthError::Signature,
            "{name}"
        );
        assert!(bed.verify(&bed.sign(&header, &claims())).is_ok(), "{name} changes nothing");
    }
    for kid in ["../../etc/passwd", "' or 1=1 --", "ec\u{0}", "", "EC"] {
        let token = bed.sign(&json!({ "alg": "ES256", "kid": kid }), &claims());
        assert_eq!(bed.verify(&token).unwrap_err(), AuthError::OtherKey, "{kid:?}");
    }
    let critical = bed.sign(&json!({ "alg": "ES256", "kid": "ec", "crit": ["x"], "x": 1 }), &claims());
    assert!(matches!(bed.verify(&critical), Err(AuthError::Malformed(_))));
    for typ in ["logout+jwt", "sallyport+jwt", "dpop+jwt"] {
        let token = bed.sign(&json!({ "alg": "ES256", "kid": "ec", "typ": typ }), &claims());
        assert!(matches!(bed.verify(&token), Err(AuthError::Malformed(_))), "{typ}");
    }
}

#[test]
fn a_token_that_was_altered_is_refused() {
    let bed = Bed::new();
    let token = bed.token(&claims());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let root = format!("{header}.{}.{signature}", encoded(with("sub", json!("root")).to_string()));
    assert_eq!(bed.verify(&root).unwrap_err(), AuthError::Signature);
    assert_eq!(bed.verify(&format!("{input}.")).unwrap_err(), AuthError::Signature);
    assert!(bed.verify(&"a".repeat(9_000)).is_err());
}

#[test]
fn keys_without_a_name_are_told_apart_by_their_algorithms() {
    let bed = Bed::new();
    let nameless = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let keys = bed.set(&[nameless(bed.ec_key()), nameless(bed.ed_key())]).unwrap();
    assert_eq!((keys.passed_over, keys.prints().len()), (0, 2));
    for alg in ["ES256", "EdDSA"] {
        let token = bed.sign(&json!({ "alg": alg }), &claims());
        bed.verify_with(&keys, &token).unwrap_or_else(|error| panic!("{alg}: {error}"));
    }
}

#[test]
fn keys_that_are_weak_ambiguous_private_or_for_something_else_verify_nothing() {
    let bed = Bed::new();
    let but = |name: &str, value: Value| {
        let mut key = bed.ec_key();
        key[name] = value;
        key
    };
    let small = json!({ "kty": "RSA", "kid": "rsa", "n": encoded([0xff; 128]), "e": "AQAB" });
    for (why, key) in [
        ("1,024 bits", small),
        ("private", but("d", json!("AAAA"))),
        ("encrypts", but("use", json!("enc"))),
        ("signs only", {
            let mut key = but("key_ops", json!(["sign"]));
            key.as_object_mut().unwrap().remove("use");
            key
        }),
        ("other algorithm", but("alg", json!("ES384"))),
        ("other curve", but("crv", json!("P-384"))),
        ("other kind", but("kty", json!("oct"))),
        ("long name", but("kid", json!("k".repeat(300)))),
        ("no object", json!(7)),
    ] {
        assert_eq!(bed.set(&[key]).unwrap_err(), UnusableKeys::NoneUsable { count: 1 }, "{why}");
    }
    let (mut twin, lone) = (bed.ec_key(), Bed::new());
    twin["x"] = lone.ec_key()["x"].clone();
    twin["y"] = lone.ec_key()["y"].clone();
    twin["kid"] = json!("ec");
    assert!(bed.set(&[bed.ec_key(), twin]).is_err(), "which of two a `kid` means nobody can tell");
    let nameless = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let twins = [nameless(bed.ec_key()), nameless(lone.ec_key())];
    assert!(bed.set(&twins).is_err(), "nor which of two without one");
    let mixed = bed.set(&[json!({ "kty": "new" }), bed.ec_key()]).unwrap();
    assert_eq!((mixed.passed_over, mixed.prints().len()), (1, 1));
    assert!(bed.verify_with(&mixed, &bed.token(&claims())).is_ok());
    assert_ne!(lone.keys().prints(), bed.keys().prints());
    let many = vec![bed.ec_key(); MAX_KEYS + 1];
    assert_eq!(bed.set(&many).unwrap_err(), UnusableKeys::TooMany { count: MAX_KEYS + 1 });
    assert_eq!(KeySet::parse(&bed.issuer.name, b"{}").unwrap_err(), UnusableKeys::NotASet);
}

fn rsa_key(pair: &RsaKeyPair) -> Value {
    let public = pair.public_key();
    json!({
        "kty": "RSA", "kid": "rsa",
        "n": encoded(public.modulus().big_endian_without_leading_zero()),
        "e": encoded(public.exponent().big_endian_without_leading_zero()),
    })
}

#[test]
fn rs256_is_accepted_with_a_key_of_2048_bits() {
    let bed = Bed::new();
    let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let keys = bed.set(&[rsa_key(&pair)]).unwrap();
    let input = format!(
        "{}.{}",
        encoded(json!({ "alg": "RS256", "kid": "rsa" }).to_string()),
        encoded(claims().to_string())
    );
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    let token = format!("{input}.{}", encoded(signature));
    assert_eq!(bed.verify_with(&keys, &token).unwrap().subject.as_str(), "user:corp+alice");
}

#[test]
fn a_shared_secret_counts_only_where_it_alone_was_configured() {
    let mut bed = Bed::new();
    let secret = [7; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let input =
        format!("{}.{}", encoded(json!({ "alg": "HS256" }).to_string()), encoded(claims().to_string()));
    let token = format!("{input}.{}", encoded(hmac::sign(&key, input.as_bytes())));
    assert_eq!(bed.verify(&token).unwrap_err(), AuthError::Algorithm);
    bed.issuer.algorithms = vec![Algorithm::Hs256];
    let keys = KeySet::of_secret(&bed.issuer.name, &secret).unwrap();
    assert!(bed.verify_with(&keys, &token).is_ok());
    let other = KeySet::of_secret(&bed.issuer.name, &[8; 32]).unwrap();
    assert_eq!(bed.verify_with(&other, &token).unwrap_err(), AuthError::Signature);
    assert!(KeySet::of_secret(&bed.issuer.name, b"short").is_err());
}

#[test]
fn a_name_collides_with_no_other_unless_the_operator_mapped_it() {
    let mut bed = Bed::new();
    bed.issuer.names.people.insert("boss".to_owned(), "user:alice".parse().unwrap());
    let named =
        |bed: &Bed, claims: Value| bed.verify(&bed.token(&claims)).map(|vouched| vouched.subject.to_string());
    assert_eq!(named(&bed, with("sub", json!("boss"))).unwrap(), "user:alice");
    assert_eq!(named(&bed, with("sub", json!("alice"))).unwrap(), "user:corp+alice");
    bed.issuer.names.own = true;
    assert_eq!(named(&bed, with("sub", json!("alice"))).unwrap(), "user:alice");
    assert!(named(&bed, with("sub", json!("anonymous"))).is_err(), "nobody vouches for the anonymous");
    let mut other = Bed::new().issuer;
    (other.name, other.issuer) = ("partner".parse().unwrap(), "https://partner.example".to_owned());
    let all = Issuers::new(vec![bed.issuer.clone(), other]).unwrap();
    let token = bed.token(&with("sub", json!("partner+alice")));
    let crossed = bed.issuer.verify(&all, &bed.keys(), &token, None, now());
    assert!(matches!(crossed, Err(AuthError::Unnamed(_))), "{crossed:?}");
    assert_eq!(all.owner_of(&"user:partner+eve".parse().unwrap()).unwrap().as_str(), "partner");
    assert!(all.owner_of(&"user:partners".parse().unwrap()).is_none());
}

#[test]
fn an_address_counts_only_if_the_issuer_verified_it_and_in_one_spelling() {
    let mut bed = Bed::new();
    bed.issuer.names.claim = "email".to_owned();
    let mut mail = with("email", json!("Alice@Example.com"));
    assert!(matches!(bed.verify(&bed.token(&mail)), Err(AuthError::Unnamed(_))));
    mail["email_verified"] = json!(false);
    assert!(bed.verify(&bed.token(&mail)).is_err());
    mail["email_verified"] = json!(true);
    assert_eq!(bed.verify(&bed.token(&mail)).unwrap().subject.as_str(), "user:corp+alice@example.com");
}

#[test]
fn groups_give_the_roles_that_were_mapped_and_no_others() {
    let mut bed = Bed::new();
    bed.issuer.groups.roles.insert("eng".to_owned(), ["role:visitor".parse().unwrap()].into());
    let roles = |bed: &Bed, groups: Value| -> Result<Vec<String>, AuthError> {
        let vouched = bed.verify(&bed.token(&with("groups", groups)))?;
        Ok(vouched.roles.iter().map(ToString::to_string).collect())
    };
    assert_eq!(roles(&bed, json!(["eng", "admin", "role:admin"])).unwrap(), ["role:visitor"]);
    assert_eq!(roles(&bed, json!("eng")).unwrap(), ["role:visitor"]);
    assert!(roles(&bed, json!({ "eng": true })).unwrap().is_empty());
    bed.issuer.groups.prefix = Some("corp-".to_owned());
    assert_eq!(roles(&bed, json!(["eng", "ops", "A B"])).unwrap(), ["role:corp-ops", "role:visitor"]);
    let many: Vec<String> = (0..600).map(|i| format!("g{i}")).collect();
    assert!(roles(&bed, json!(many)).is_err(), "a group that is cut off could be the one that a rule denies");
    bed.issuer.groups.claim = "realm.roles".to_owned();
    let nested = bed.token(&with("realm", json!({ "roles": ["eng"] })));
    assert_eq!(bed.verify(&nested).unwrap().roles.len(), 1);
}

#[test]
fn an_identity_token_belongs_to_one_sign_in() {
    let bed = Bed::new();
    let all = Issuers::new(vec![bed.issuer.clone()]).unwrap();
    let verify = |claims: Value| bed.issuer.verify(&all, &bed.keys(), &bed.token(&claims), Some("n1"), now());
    assert!(verify(with("nonce", json!("n1"))).is_ok());
    assert!(verify(with("nonce", json!("n2"))).is_err());
    assert!(verify(claims()).is_err());
    let mut party = with("nonce", json!("n1"));
    party["aud"] = json!(["sallyport", "other"]);
    assert_eq!(verify(party.clone()).unwrap_err(), AuthError::OtherAudience);
    party["azp"] = json!("sallyport");
    assert!(verify(party).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic_or_pass(text in "\\PC{0,80}|[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,20}") {
        let bed = Bed::new();
        prop_assert!(bed.verify(&text).is_err());
        prop_assert!(bed.issuer.verify(&Issuers::default(), &bed.keys(), &text, None, now()).is_err());
        let _ = KeySet::parse(&bed.issuer.name, text.as_bytes());
    }
}
