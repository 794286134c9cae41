//! Message 3, inside its seal: who the client is, and what it wants.
//!
//! A core and, where keys prove the client, two signatures over it. A token is shown; a device's keys are not.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{MAX_PUBLISHER, name};
use crate::tunnel::handshake::HandshakeError;
use crate::tunnel::handshake::device::{DEVICE_ID, DevicePublic};
use crate::tunnel::handshake::identity::{ED25519_SIGNATURE, IdentitySignatures, ML_DSA_SIGNATURE};
use crate::tunnel::name::{MAX_NAME, Offer, TunnelKind};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// Set in the byte of a kind whose name is shared with other publishers.
const JOIN: u8 = 0x80;
const MAX_TOKEN: usize = 8192;
const MAX_VERSION_TEXT: usize = 64;
/// Most services that one connection can offer.
pub const MAX_OFFERS: usize = 64;

/// What a client shows of itself.
#[derive(Clone)]
pub enum Proof {
    /// A bearer token; zeroed when dropped.
    Token(SecretString),
    /// A device that is enrolled, by its id. Both signatures must be its keys'.
    Device([u8; DEVICE_ID]),
    /// The client certificate of the TLS connection: nothing of it stands in the message. Good for nothing but where both ends
    /// share that connection, which the caller sees to.
    Certificate,
    /// A device that wants to be enrolled, with the token that names its owner. Both signatures must be those keys'.
    Join {
        /// The join token.
        token: SecretString,
        /// The device's keys.
        keys: DevicePublic,
    },
}

impl Proof {
    /// Whether the message carries the two signatures.
    pub(crate) fn is_signed(&self) -> bool {
        !matches!(self, Self::Token(_) | Self::Certificate)
    }
}

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// The wanted tunnels, at most [`MAX_OFFERS`]; none with [`Proof::Join`].
    pub offers: Vec<Offer>,
    /// The client's program and version, for logs.
    pub client_version: String,
    /// What an earlier `Accepted` gave to come back with; empty if none.
    pub resume: Vec<u8>,
}

/// Message 3.
pub struct Credential {
    /// Who it is.
    pub proof: Proof,
    /// What it wants.
    pub wishes: Wishes,
    /// By the device's keys, exactly if the proof is of those.
    pub signatures: Option<IdentitySignatures>,
}

impl Credential {
    const NAME: &'static str = "Credential";

    /// The bytes that the signatures cover.
    pub(crate) fn encode_core(proof: &Proof, wishes: &Wishes) -> Result<Zeroizing<Vec<u8>>, HandshakeError> {
        // Large enough that the token is never left behind by a reallocation.
        let mut writer =
            Writer::with_capacity(MAX_TOKEN + MAX_PUBLISHER + MAX_OFFERS * (MAX_NAME + 8) + 8192);
        core_to(proof, wishes, &mut writer).map_err(HandshakeError::malformed(Self::NAME))?;
        Ok(Zeroizing::new(writer.finish()))
    }

    pub(crate) fn append_signatures(core: &mut Vec<u8>, signatures: &IdentitySignatures) {
        core.extend_from_slice(&signatures.ed25519);
        core.extend_from_slice(signatures.ml_dsa.as_slice());
    }

    /// The message and the bytes of its core.
    pub(crate) fn decode(plaintext: &[u8]) -> Result<(Self, &[u8]), HandshakeError> {
        let credential =
            Self::fields(Reader::new(plaintext)).map_err(HandshakeError::malformed(Self::NAME))?;
        let signed = if credential.signatures.is_some() { ED25519_SIGNATURE + ML_DSA_SIGNATURE } else { 0 };
        let core = plaintext.get(..plaintext.len().saturating_sub(signed)).unwrap_or_default();
        Ok((credential, core))
    }

    fn fields(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let proof = match reader.u8("proof")? {
            1 => Proof::Token(token(&mut reader)?),
            2 => Proof::Device(reader.array("device")?),
            3 => Proof::Join { token: token(&mut reader)?, keys: DevicePublic::read(&mut reader)? },
            4 => Proof::Certificate,
            _ => return Err(DecodeError::BadValue { field: "proof" }),
        };
        let client_version = reader.text("client version", MAX_VERSION_TEXT)?.to_owned();
        let resume = reader.bytes("publisher", MAX_PUBLISHER)?.to_vec();
        let count = reader.count("offers", MAX_OFFERS)?;
        if count > 0 && matches!(proof, Proof::Join { .. }) {
            return Err(DecodeError::BadValue { field: "offers" });
        }
        let offers = (0..count).map(|_| offer(&mut reader)).collect::<Result<_, _>>()?;
        let signatures = if proof.is_signed() {
            Some(IdentitySignatures {
                ed25519: reader.array("ed25519 signature")?,
                ml_dsa: Box::new(reader.array("ml-dsa signature")?),
            })
        } else {
            None
        };
        reader.finish()?;
        Ok(Self { proof, wishes: Wishes { offers, client_version, resume }, signatures })
    }
}

fn core_to(proof: &Proof, wishes: &Wishes, writer: &mut Writer) -> Result<(), DecodeError> {
    match proof {
        Proof::Token(token) => {
            writer.u8(1);
            writer.bytes("token", token.expose_secret().as_bytes(), MAX_TOKEN)?;
        }
        Proof::Device(id) => {
            writer.u8(2).array(id);
        }
        Proof::Certificate => {
            writer.u8(4);
        }
        Proof::Join { token, keys } => {
            writer.u8(3);
            writer.bytes("token", token.expose_secret().as_bytes(), MAX_TOKEN)?;
            keys.write(writer);
        }
    }
    writer.bytes("client version", wishes.client_version.as_bytes(), MAX_VERSION_TEXT)?;
    writer.bytes("publisher", &wishes.resume, MAX_PUBLISHER)?;
    writer.count("offers", wishes.offers.len(), MAX_OFFERS)?;
    for offer in &wishes.offers {
        writer.bytes("name", offer.name.as_str().as_bytes(), MAX_NAME)?;
        let join = if offer.join { JOIN } else { 0 };
        match offer.kind {
            TunnelKind::Http => writer.u8(1 | join),
            // A wanted port of zero means none: no service listens there.
            TunnelKind::Tls => writer.u8(4 | join),
            TunnelKind::Tcp { port } => writer.u8(2 | join).u16(port.unwrap_or(0)),
            TunnelKind::Udp { port } => writer.u8(3 | join).u16(port.unwrap_or(0)),
        };
    }
    Ok(())
}

fn token(reader: &mut Reader<'_>) -> Result<SecretString, DecodeError> {
    reader.text("token", MAX_TOKEN).map(SecretString::from)
}

fn offer(reader: &mut Reader<'_>) -> Result<Offer, DecodeError> {
    let name = name(reader)?;
    let byte = reader.u8("kind")?;
    let kind = match byte & !JOIN {
        1 => TunnelKind::Http,
        2 => TunnelKind::Tcp { port: Some(reader.u16("port")?).filter(|port| *port != 0) },
        3 => TunnelKind::Udp { port: Some(reader.u16("port")?).filter(|port| *port != 0) },
        4 => TunnelKind::Tls,
        _ => return Err(DecodeError::BadValue { field: "kind" }),
    };
    Ok(Offer { name, kind, join: byte & JOIN != 0 })
}
