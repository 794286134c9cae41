//! Devices: clients that prove who they are by two private keys instead of a token.
//!
//! Promised: what a device sends opens nothing for whoever records it, relays it or receives it. Its signatures cover
//! the transcript of one handshake with one gateway, under labels of their own, and both algorithms must be forged to
//! imitate it. The seeds are zeroed when dropped; they leave this file only for the device's own file.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::HandshakeError;
use super::identity::{
    ED25519_PUBLIC, IdentitySignatures, ML_DSA_PUBLIC, ML_DSA_SIGNATURE, ToSign, check_both,
};
use super::message::Proof;
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// Bytes of a device's id.
pub const DEVICE_ID: usize = 16;
/// Bytes of both seeds: Ed25519 (RFC 8032), then ML-DSA-65 (FIPS 204 section 6.1).
pub const DEVICE_SEED: usize = 64;

/// A device's public keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DevicePublic {
    /// Ed25519.
    pub ed25519: [u8; ED25519_PUBLIC],
    /// ML-DSA-65.
    pub ml_dsa: Box<[u8; ML_DSA_PUBLIC]>,
}

impl DevicePublic {
    /// The device's id: the beginning of a hash of both keys, so that no gateway has to invent one.
    pub fn id(&self) -> [u8; DEVICE_ID] {
        let mut hash = Context::new(&SHA256);
        hash.update(b"sallyport/1 device id\0");
        hash.update(&self.ed25519);
        hash.update(self.ml_dsa.as_slice());
        let mut id = [0; DEVICE_ID];
        id.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        id
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { ed25519: reader.array("ed25519 key")?, ml_dsa: Box::new(reader.array("ml-dsa key")?) })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.array(&self.ed25519).array(self.ml_dsa.as_slice());
    }
}

/// A device's private keys.
pub struct DeviceKey {
    ed25519: Ed25519KeyPair,
    ml_dsa: PqdsaKeyPair,
    public: DevicePublic,
    seed: Zeroizing<[u8; DEVICE_SEED]>,
}

impl DeviceKey {
    /// Fresh keys.
    pub fn generate() -> Result<Self, HandshakeError> {
        let mut seed = Zeroizing::new([0; DEVICE_SEED]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|_| HandshakeError::Library("making a device's keys"))?;
        Self::from_seed(seed)
    }

    /// The keys that follow from both seeds.
    pub fn from_seed(seed: Zeroizing<[u8; DEVICE_SEED]>) -> Result<Self, HandshakeError> {
        let failed = |_| HandshakeError::Library("reading a device's keys");
        let (first, second) = seed.split_at(DEVICE_SEED / 2);
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(first).map_err(failed)?;
        let ml_dsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, second).map_err(failed)?;
        let wrong = |_| HandshakeError::Library("measuring a device's keys");
        let public = DevicePublic {
            ed25519: ed25519.public_key().as_ref().try_into().map_err(wrong)?,
            ml_dsa: Box::new(ml_dsa.public_key().as_ref().try_into().map_err(wrong)?),
        };
        Ok(Self { ed25519, ml_dsa, public, seed })
    }

    /// The public halves.
    pub fn public(&self) -> &DevicePublic {
        &self.public
    }

    /// The seeds, for the device's file and nothing else.
    pub fn expose_to_file(&self) -> &[u8; DEVICE_SEED] {
        &self.seed
    }

    pub(super) fn sign(&self, to_sign: &ToSign) -> Result<IdentitySignatures, HandshakeError> {
        let mut ml_dsa = Box::new([0; ML_DSA_SIGNATURE]);
        let failed = HandshakeError::Library("signing with a device's keys");
        match self.ml_dsa.sign(&to_sign.ml_dsa(), ml_dsa.as_mut_slice()) {
            Ok(ML_DSA_SIGNATURE) => {}
            _ => return Err(failed),
        }
        let ed25519 = self.ed25519.sign(&to_sign.ed25519());
        Ok(IdentitySignatures { ed25519: ed25519.as_ref().try_into().map_err(|_| failed)?, ml_dsa })
    }
}

/// What a client proves itself with.
#[derive(Clone)]
pub enum Secret {
    /// A bearer token.
    Token(SecretString),
    /// An enrolled device's keys.
    Device(std::sync::Arc<DeviceKey>),
    /// The certificate that this client shows in TLS.
    Certificate,
    /// A device's keys that are to be enrolled, and the join token.
    Join {
        /// Names the device's owner; works once.
        token: SecretString,
        /// The keys.
        key: std::sync::Arc<DeviceKey>,
    },
}

impl Secret {
    /// What of it travels.
    pub(super) fn proof(&self) -> Proof {
        match self {
            Self::Token(token) => Proof::Token(token.clone()),
            Self::Device(key) => Proof::Device(key.public.id()),
            Self::Certificate => Proof::Certificate,
            Self::Join { token, key } => Proof::Join { token: token.clone(), keys: key.public.clone() },
        }
    }

    /// The keys that must sign, if any.
    pub(super) fn key(&self) -> Option<&DeviceKey> {
        match self {
            Self::Token(_) | Self::Certificate => None,
            Self::Device(key) | Self::Join { key, .. } => Some(key),
        }
    }
}

/// Two signatures of a client over this handshake, not yet compared with anybody's keys.
#[derive(Clone)]
pub struct Possession {
    pub(super) to_sign: ToSign,
    pub(super) signatures: IdentitySignatures,
}

impl Possession {
    /// Whether both are signatures by these keys.
    pub fn is_of(&self, ed25519: &[u8], ml_dsa: &[u8]) -> bool {
        check_both(ed25519, ml_dsa, &self.to_sign, &self.signatures).is_ok()
    }
}
