//! Reading objects in the token: which key it is, what the token attests, what its public half is.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use crate::error::{Fault, KeyError};
use crate::info::Attestation;
use crate::public::{P256_POINT, PublicKey};
use crate::role::{Algorithm, Role, Term};

use super::template;

/// A key found in the token.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) handle: ObjectHandle,
    pub(super) id: Vec<u8>,
}

/// Finds the key of a role; of several, the newest (ids that we make sort by time).
pub(super) fn find(session: &Session, role: Role, term: Term) -> Result<Option<Found>, KeyError> {
    Ok(find_all(session, role, term)?.into_iter().max_by(|one, other| one.id.cmp(&other.id)))
}

/// Finds all keys with the label of a role.
pub(super) fn find_all(session: &Session, role: Role, term: Term) -> Result<Vec<Found>, KeyError> {
    let action = "find a key in the token";
    let handles = session.find_objects(&template::search(role, term));
    let handles = handles.map_err(|error| KeyError::operation(action, error))?;
    let found = handles.into_iter().map(|handle| {
        let id = attributes(session, handle, &[AttributeType::Id])?
            .into_iter()
            .find_map(|attribute| if let Attribute::Id(id) = attribute { Some(id) } else { None })
            .unwrap_or_default();
        Ok(Found { handle, id })
    });
    found.collect()
}

/// What the token says about a key.
pub(super) fn attest(session: &Session, handle: ObjectHandle) -> Result<Attestation, KeyError> {
    let mut said = Attestation::default();
    let wanted = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::NeverExtractable,
        AttributeType::Local,
    ];
    // The binding leaves out what the token does not tell; what is absent stays `None`, and is not trusted.
    for attribute in attributes(session, handle, &wanted)? {
        match attribute {
            Attribute::Sensitive(value) => said.sensitive = Some(value),
            Attribute::Extractable(value) => said.extractable = Some(value),
            Attribute::NeverExtractable(value) => said.never_extractable = Some(value),
            Attribute::Local(value) => said.local = Some(value),
            _ => {}
        }
    }
    Ok(said)
}

/// The public half of the key with this id.
pub(super) fn public_key(session: &Session, role: Role, id: &[u8]) -> Result<PublicKey, KeyError> {
    let action = "read a public key from the token";
    let handle = session
        .find_objects(&template::search_public(id))
        .map_err(|error| KeyError::operation(action, error))?
        .into_iter()
        .next()
        .ok_or_else(|| KeyError::operation(action, Fault::new(format!("{role} has no public object"))))?;
    let wanted =
        if role.algorithm().is_post_quantum() { AttributeType::Value } else { AttributeType::EcPoint };
    let value = attributes(session, handle, &[wanted])?
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::EcPoint(value) | Attribute::Value(value) => Some(value),
            _ => None,
        })
        .unwrap_or_default();
    parse_public(role.algorithm(), &value)
        .ok_or_else(|| KeyError::operation(action, Fault::new(format!("{role} has a malformed {wanted}"))))
}

/// A public key as an object holds it: `CKA_VALUE` for ML-DSA (PKCS #11 3.2 §6.67.2), `CKA_EC_POINT` for curves.
fn parse_public(algorithm: Algorithm, value: &[u8]) -> Option<PublicKey> {
    if algorithm.is_post_quantum() {
        PublicKey::from_bytes(algorithm, value)
    } else {
        parse_point(algorithm, value)
    }
}

/// `CKA_EC_POINT` as tokens give it: the point itself (kryoptic), or a DER octet string of it (SoftHSM).
pub(super) fn parse_point(algorithm: Algorithm, attribute: &[u8]) -> Option<PublicKey> {
    let length = match algorithm {
        Algorithm::Ed25519 => 32,
        Algorithm::EcdsaP256 => P256_POINT,
        _ => return None,
    };
    let unwrapped;
    let point = if attribute.len() == length {
        attribute
    } else {
        unwrapped = octet_string(attribute)?;
        &unwrapped
    };
    match algorithm {
        Algorithm::Ed25519 => Some(PublicKey::Ed25519(point.try_into().ok()?)),
        // Only uncompressed points have 65 bytes and this first byte (SEC 1 §2.3.3).
        _ if point.first() == Some(&0x04) => Some(PublicKey::P256(point.try_into().ok()?)),
        _ => None,
    }
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general enough in its lifetime"
)]
fn octet_string(der: &[u8]) -> Option<Vec<u8>> {
    yasna::parse_der(der, |reader| reader.read_bytes()).ok()
}

fn attributes(
    session: &Session,
    handle: ObjectHandle,
    wanted: &[AttributeType],
) -> Result<Vec<Attribute>, KeyError> {
    session
        .get_attributes(handle, wanted)
        .map_err(|error| KeyError::operation("read a key's attributes from the token", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_raw_and_wrapped_in_der() {
        let ed = [9; 32];
        assert_eq!(parse_point(Algorithm::Ed25519, &ed), Some(PublicKey::Ed25519(ed)));
        let wrapped = [&[0x04, 0x20][..], &ed].concat();
        assert_eq!(parse_point(Algorithm::Ed25519, &wrapped), Some(PublicKey::Ed25519(ed)));

        let mut p256 = [7; P256_POINT];
        p256[0] = 0x04;
        assert_eq!(parse_point(Algorithm::EcdsaP256, &p256), Some(PublicKey::P256(p256)));
        let wrapped = [&[0x04, 0x41][..], &p256].concat();
        assert_eq!(parse_point(Algorithm::EcdsaP256, &wrapped), Some(PublicKey::P256(p256)));
    }

    #[test]
    fn an_ml_dsa_key_of_another_length_is_none() {
        for (algorithm, length) in [(Algorithm::MlDsa44, 1312), (Algorithm::MlDsa65, 1952)] {
            assert!(parse_public(algorithm, &vec![7; length]).is_some());
            for wrong in [0, 1, 32, length - 1, length + 1] {
                assert_eq!(parse_public(algorithm, &vec![7; wrong]), None, "{algorithm}: {wrong} bytes");
            }
        }
    }

    #[test]
    fn malformed_points_are_refused() {
        for bad in
            [&[][..], &[0x04], &[0x04, 0x20], &[0x04, 0x41, 0x04], &[0x02; 65], &[0xff; 67], &[0x04; 34]]
        {
            assert_eq!(parse_point(Algorithm::EcdsaP256, bad), None, "{bad:02x?}");
        }
        assert_eq!(parse_point(Algorithm::Ed25519, &[0x04; 33]), None);
        assert_eq!(parse_point(Algorithm::Aes256, &[0x04; 32]), None);
    }
}
