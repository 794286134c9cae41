//! Tries what the token can do, with session objects that end with the attempt.

use aws_lc_rs::digest;
use cryptoki::error::Error;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeType, MlDsaParameterSetType, MlKemParameterSetType, ObjectHandle,
};
use cryptoki::session::Session;

use crate::abilities::Ability;
use crate::error::{Fault, KeyError};
use crate::public::PublicKey;
use crate::role::Algorithm;

use super::objects;

const MESSAGE: &[u8] = b"sallyport ability check v1";

/// DER of the OIDs of P-256 and Ed25519, as in the templates of real keys.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

struct Attempt {
    name: &'static str,
    used_for: &'static str,
    needed: bool,
    mechanism: Option<MechanismType>,
    run: fn(&Session) -> Result<(), KeyError>,
}

const ATTEMPTS: [Attempt; 7] = [
    Attempt {
        name: "random numbers",
        used_for: "seeds of post-quantum keys",
        needed: true,
        mechanism: None,
        run: random,
    },
    Attempt {
        name: "Ed25519 signatures",
        used_for: "identity, ledger",
        needed: true,
        mechanism: Some(MechanismType::EDDSA),
        run: ed25519,
    },
    Attempt {
        name: "ECDSA P-256 signatures",
        used_for: "tls, certificate-authority, token-signing",
        needed: true,
        mechanism: Some(MechanismType::ECDSA),
        run: p256,
    },
    Attempt {
        name: "AES-256-GCM with associated data",
        used_for: "kek",
        needed: true,
        mechanism: Some(MechanismType::AES_GCM),
        run: aes_gcm,
    },
    Attempt {
        name: "ML-DSA-44 signatures",
        used_for: "ledger-pq; without it a seed that the kek seals",
        needed: false,
        mechanism: Some(MechanismType::ML_DSA),
        run: |session| ml_dsa(session, MlDsaParameterSetType::ML_DSA_44),
    },
    Attempt {
        name: "ML-DSA-65 signatures",
        used_for: "identity-pq; without it a seed that the kek seals",
        needed: false,
        mechanism: Some(MechanismType::ML_DSA),
        run: |session| ml_dsa(session, MlDsaParameterSetType::ML_DSA_65),
    },
    Attempt {
        name: "ML-KEM-768 key pairs",
        used_for: "nothing yet: handshake keys live for one handshake, in memory",
        needed: false,
        mechanism: Some(MechanismType::ML_KEM),
        run: ml_kem,
    },
];

/// Tries everything over `session`, which must be one that may be closed after this.
pub(super) fn attempt_all(session: &Session, listed: &[MechanismType]) -> Vec<Ability> {
    let abilities = ATTEMPTS.iter().map(|attempt| {
        let said = (attempt.run)(session).err().map(|error| in_words(&error));
        Ability {
            name: attempt.name.into(),
            used_for: attempt.used_for.into(),
            needed: attempt.needed,
            listed: attempt.mechanism.map(|mechanism| listed.contains(&mechanism)),
            works: said.is_none(),
            said,
        }
    });
    abilities.collect()
}

fn in_words(error: &KeyError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn random(session: &Session) -> Result<(), KeyError> {
    let mut drawn = [[0_u8; 32]; 2];
    for bytes in &mut drawn {
        session
            .generate_random_slice(bytes)
            .map_err(|error| KeyError::operation("draw random bytes", error))?;
    }
    let [one, other] = drawn;
    if one == other || one == [0; 32] { Err(wrong("it drew the same twice, or zeros")) } else { Ok(()) }
}

fn ed25519(session: &Session) -> Result<(), KeyError> {
    let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
    let (public, private) =
        pair(session, &Mechanism::EccEdwardsKeyPairGen, &[Attribute::EcParams(ED25519.to_vec())])?;
    let signature = session.sign(&mechanism, private, MESSAGE).map_err(refused)?;
    point(session, Algorithm::Ed25519, public)?.verify(MESSAGE, &signature)
}

fn p256(session: &Session) -> Result<(), KeyError> {
    let (public, private) = pair(session, &Mechanism::EccKeyPairGen, &[Attribute::EcParams(P256.to_vec())])?;
    let hash = digest::digest(&digest::SHA256, MESSAGE);
    let signature = session.sign(&Mechanism::Ecdsa, private, hash.as_ref()).map_err(refused)?;
    point(session, Algorithm::EcdsaP256, public)?.verify(MESSAGE, &signature)
}

fn aes_gcm(session: &Session) -> Result<(), KeyError> {
    let template = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    let key = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(refused)?;
    let seal = |aad: &[u8], decrypt: Option<&[u8]>| {
        let mut nonce = [7; 12];
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut nonce, aad, 128.into())?);
        match decrypt {
            Some(sealed) => session.decrypt(&mechanism, key, sealed),
            None => session.encrypt(&mechanism, key, MESSAGE),
        }
    };
    let sealed = seal(b"one", None).map_err(refused)?;
    if seal(b"one", Some(&sealed)).map_err(refused)? != MESSAGE {
        return Err(wrong("it opened something else than it sealed"));
    }
    if seal(b"two", Some(&sealed)).is_ok() {
        return Err(wrong("it opened what was sealed with other associated data"));
    }
    Ok(())
}

fn ml_dsa(session: &Session, set: MlDsaParameterSetType) -> Result<(), KeyError> {
    let set = [Attribute::ParameterSet(set.into())];
    let (public, private) = pair(session, &Mechanism::MlDsaKeyPairGen, &set)?;
    let mechanism = || Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None));
    let signature = session.sign(&mechanism(), private, MESSAGE).map_err(refused)?;
    session.verify(&mechanism(), public, MESSAGE, &signature).map_err(refused)
}

fn ml_kem(session: &Session) -> Result<(), KeyError> {
    let set = [Attribute::ParameterSet(MlKemParameterSetType::ML_KEM_768.into())];
    let public =
        [&[Attribute::Token(false), Attribute::Private(false), Attribute::Encapsulate(true)], &set[..]]
            .concat();
    let private = [Attribute::Token(false), Attribute::Private(true), Attribute::Decapsulate(true)];
    session.generate_key_pair(&Mechanism::MlKemKeyPairGen, &public, &private).map(drop).map_err(refused)
}

/// A pair that signs, and ends with the session.
fn pair(
    session: &Session,
    mechanism: &Mechanism<'_>,
    parameters: &[Attribute],
) -> Result<(ObjectHandle, ObjectHandle), KeyError> {
    let public =
        [&[Attribute::Token(false), Attribute::Private(false), Attribute::Verify(true)], parameters].concat();
    let private = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    session.generate_key_pair(mechanism, &public, &private).map_err(refused)
}

fn point(session: &Session, algorithm: Algorithm, key: ObjectHandle) -> Result<PublicKey, KeyError> {
    let attributes = session.get_attributes(key, &[AttributeType::EcPoint]).map_err(refused)?;
    let point = attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => objects::parse_point(algorithm, &point),
        _ => None,
    });
    point.ok_or_else(|| wrong("its public key cannot be read"))
}

fn refused(error: Error) -> KeyError {
    KeyError::operation("do it in the token", error)
}

fn wrong(what: &str) -> KeyError {
    KeyError::operation("do it in the token", Fault::new(what))
}
