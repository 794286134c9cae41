//! A passkey's making, read and checked: a pure function over what the browser sent (WebAuthn section 7.1).
//!
//! Promised: what passes was made for this site and page, over the challenge that was given to this person, with the user
//! verified, and is a key of a kind that approvals can be checked by. Not promised: which maker's authenticator it lies in; the
//! attestation statement isn't looked at, and none is asked for. CBOR and COSE are read by `ciborium` and `coset`.

use coset::cbor::value::Value;
use coset::iana::{self, EnumI64 as _};
use coset::{AsCborValue as _, CoseKey, KeyType, Label, RegisteredLabelWithPrivate};
use sallyport_audit::approval::{self, ApprovalKey, ApproverId, Expected, NotSigned};

use super::passkey::{MOST_CREDENTIAL, NewPasskey, Site};

/// Longest attestation object, in bytes: some makers send chains of certificates, which aren't looked at.
pub const MOST_ATTESTATION: usize = 16_384;

/// Authenticator data holds a key (WebAuthn section 6.1).
const HAS_KEY: u8 = 0x40;

/// Why a passkey isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// What holds for every answer of an authenticator.
    #[error(transparent)]
    Answer(#[from] NotSigned),
    /// No attestation object.
    #[error("its attestation object can't be read")]
    Unreadable,
    /// A kind of key that isn't asked for.
    #[error("its key is neither ES256 nor EdDSA, or no key at all")]
    OtherKey,
}

/// The passkey that an authenticator made for this site over this challenge.
///
/// # Errors
///
/// What is wrong with it.
pub fn registered(
    site: &Site,
    approver: ApproverId,
    challenge: &[u8; 32],
    client_data: &[u8],
    attestation: &[u8],
) -> Result<NewPasskey, NotRegistered> {
    let expected =
        Expected { ceremony: "webauthn.create", challenge, origin: &site.origin, rp_id: &site.rp_id };
    approval::check_client_data(client_data, &expected)?;
    if attestation.len() > MOST_ATTESTATION {
        return Err(NotRegistered::Unreadable);
    }
    let object: Value = coset::cbor::from_reader(attestation).map_err(|_| NotRegistered::Unreadable)?;
    let fields = object.as_map().ok_or(NotRegistered::Unreadable)?;
    let data = fields.iter().find(|(name, _)| name.as_text() == Some("authData"));
    let data = data.and_then(|(_, value)| value.as_bytes()).ok_or(NotRegistered::Unreadable)?;
    let (flags, counter, rest) = approval::check_authenticator_data(data, &site.rp_id)?;
    if flags & HAS_KEY == 0 {
        return Err(NotRegistered::Unreadable);
    }
    // Model of the authenticator, length of the credential's id, the id, the key (WebAuthn section 6.5.1).
    let (_model, rest) = rest.split_first_chunk::<16>().ok_or(NotRegistered::Unreadable)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(NotRegistered::Unreadable)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if !(1..=MOST_CREDENTIAL).contains(&length) {
        return Err(NotRegistered::Unreadable);
    }
    let (credential, rest) = rest.split_at_checked(length).ok_or(NotRegistered::Unreadable)?;
    // Extensions may follow the key; none was asked for, and none is looked at.
    let key: Value = coset::cbor::from_reader(rest).map_err(|_| NotRegistered::Unreadable)?;
    let key = CoseKey::from_cbor_value(key).map_err(|_| NotRegistered::OtherKey)?;
    Ok(NewPasskey {
        approver,
        credential: credential.into(),
        key: approval_key(&key).ok_or(NotRegistered::OtherKey)?,
        site: site.clone(),
        counter,
    })
}

fn approval_key(key: &CoseKey) -> Option<ApprovalKey> {
    let is = |algorithm| key.alg == Some(RegisteredLabelWithPrivate::Assigned(algorithm));
    let param =
        |label: i64| key.params.iter().find(|(name, _)| *name == Label::Int(label)).map(|(_, value)| value);
    let curve = |label: i64, curve: iana::EllipticCurve| {
        param(label).and_then(Value::as_integer) == Some(curve.to_i64().into())
    };
    if is(iana::Algorithm::ES256)
        && key.kty == KeyType::Assigned(iana::KeyType::EC2)
        && curve(iana::Ec2KeyParameter::Crv.to_i64(), iana::EllipticCurve::P_256)
    {
        let x = param(iana::Ec2KeyParameter::X.to_i64())?.as_bytes()?;
        let y = param(iana::Ec2KeyParameter::Y.to_i64())?.as_bytes()?;
        // A point as SEC 1 section 2.3.3 writes it.
        return ApprovalKey::new("ES256", &[&[4], x.as_slice(), y.as_slice()].concat());
    }
    if is(iana::Algorithm::EdDSA)
        && key.kty == KeyType::Assigned(iana::KeyType::OKP)
        && curve(iana::OkpKeyParameter::Crv.to_i64(), iana::EllipticCurve::Ed25519)
    {
        return ApprovalKey::new("EdDSA", param(iana::OkpKeyParameter::X.to_i64())?.as_bytes()?);
    }
    None
}
