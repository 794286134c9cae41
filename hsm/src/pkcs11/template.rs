//! What is asked of the token when it makes a key: every right said aloud, and nothing more than is needed.
//!
//! SoftHSM grants a right that a template leaves out; other tokens refuse it. Both are told.

use cryptoki::object::{Attribute, KeyType, MlDsaParameterSetType, ObjectClass};

use crate::role::{Algorithm, Role, Term};

/// DER of the OID 1.2.840.10045.3.1.7 (P-256, RFC 5480 §2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// DER of the OID 1.3.101.112 (Ed25519, RFC 8410 §3).
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// Template of a public key that verifies.
pub(super) fn public(role: Role, term: Term, id: &[u8]) -> Vec<Attribute> {
    let mut template = object(role, term, id, ObjectClass::PUBLIC_KEY, key_type(role));
    template.extend([
        Attribute::Private(false),
        parameters(role.algorithm()),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
    ]);
    template
}

/// Template of a private key that signs, and does nothing else.
pub(super) fn private(role: Role, term: Term, id: &[u8]) -> Vec<Attribute> {
    let mut template = object(role, term, id, ObjectClass::PRIVATE_KEY, key_type(role));
    template.extend(guarded());
    template.extend([
        Attribute::Sign(true),
        Attribute::SignRecover(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    template
}

/// Template of the AES-256 key that seals secrets. It may not wrap: see [`crate::pq`].
pub(super) fn sealing(role: Role, term: Term, id: &[u8]) -> Vec<Attribute> {
    let mut template = object(role, term, id, ObjectClass::SECRET_KEY, KeyType::AES);
    template.extend(guarded());
    template.extend([
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    template
}

/// What finds the private or secret key of a role.
pub(super) fn search(role: Role, term: Term) -> Vec<Attribute> {
    let class = match role.algorithm() {
        Algorithm::Aes256 => ObjectClass::SECRET_KEY,
        _ => ObjectClass::PRIVATE_KEY,
    };
    vec![Attribute::Class(class), Attribute::Token(true), label(role, term)]
}

/// What finds the public half of the key with this id. Not by its label: that changes with the private half's,
/// and not in the same moment.
pub(super) fn search_public(id: &[u8]) -> Vec<Attribute> {
    vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Token(true), Attribute::Id(id.to_vec())]
}

/// What a key is called in the token.
pub(super) fn label(role: Role, term: Term) -> Attribute {
    Attribute::Label(role.label(term).into_bytes())
}

fn key_type(role: Role) -> KeyType {
    match role.algorithm() {
        Algorithm::Ed25519 => KeyType::EC_EDWARDS,
        Algorithm::EcdsaP256 => KeyType::EC,
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => KeyType::ML_DSA,
        Algorithm::Aes256 => KeyType::AES,
    }
}

/// The curve, or the set of parameters (PKCS #11 3.2 §6.67.2).
fn parameters(algorithm: Algorithm) -> Attribute {
    match algorithm {
        Algorithm::Ed25519 => Attribute::EcParams(ED25519.to_vec()),
        Algorithm::MlDsa44 => Attribute::ParameterSet(MlDsaParameterSetType::ML_DSA_44.into()),
        Algorithm::MlDsa65 => Attribute::ParameterSet(MlDsaParameterSetType::ML_DSA_65.into()),
        _ => Attribute::EcParams(P256.to_vec()),
    }
}

fn object(role: Role, term: Term, id: &[u8], class: ObjectClass, key_type: KeyType) -> Vec<Attribute> {
    vec![
        Attribute::Class(class),
        Attribute::KeyType(key_type),
        Attribute::Token(true),
        label(role, term),
        Attribute::Id(id.to_vec()),
    ]
}

fn guarded() -> [Attribute; 4] {
    [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Copyable(false),
    ]
}
