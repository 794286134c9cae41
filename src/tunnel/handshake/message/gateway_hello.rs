//! Message 2: what the gateway chose, its half of the key exchange, and the proof of who it is.

use super::{GATEWAY_HELLO, body, header};
use crate::tunnel::handshake::identity::{
    ED25519_SIGNATURE, IdentitySignatures, MAX_CERTIFICATE, ML_DSA_SIGNATURE,
};
use crate::tunnel::handshake::kem::CIPHERTEXT;
use crate::tunnel::handshake::{HandshakeError, IdentityCertificate, Mode};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// Message 2: a core, which the signatures cover, and the signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GatewayHello {
    pub(crate) suite: u16,
    pub(crate) mode: Mode,
    pub(crate) ciphertext: Box<[u8; CIPHERTEXT]>,
    pub(crate) nonce: [u8; 32],
    pub(crate) certificate: IdentityCertificate,
}

impl GatewayHello {
    const NAME: &'static str = "GatewayHello";

    /// The bytes before the signatures.
    pub(crate) fn encode_core(&self) -> Result<Vec<u8>, HandshakeError> {
        let mut writer = Writer::with_capacity(7000);
        writer.array(&header(GATEWAY_HELLO)).u16(self.suite);
        writer.u8(self.mode.number());
        writer.array(self.ciphertext.as_slice()).array(&self.nonce);
        let certificate = self.certificate.encode()?;
        writer
            .bytes("certificate", &certificate, MAX_CERTIFICATE)
            .map_err(HandshakeError::malformed(Self::NAME))?;
        Ok(writer.finish())
    }

    pub(crate) fn append_signatures(mut core: Vec<u8>, signatures: &IdentitySignatures) -> Vec<u8> {
        core.extend_from_slice(&signatures.ed25519);
        core.extend_from_slice(signatures.ml_dsa.as_slice());
        core
    }

    /// The message, the bytes of its core, and its signatures.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8], IdentitySignatures), HandshakeError> {
        let reader = body(bytes, GATEWAY_HELLO, Self::NAME)?;
        let (hello, signatures) = Self::fields(reader).map_err(HandshakeError::malformed(Self::NAME))?;
        let core = bytes.len().saturating_sub(ED25519_SIGNATURE + ML_DSA_SIGNATURE);
        Ok((hello, bytes.get(..core).unwrap_or_default(), signatures))
    }

    fn fields(mut reader: Reader<'_>) -> Result<(Self, IdentitySignatures), DecodeError> {
        let suite = reader.u16("suite")?;
        let mode = Mode::from_number(reader.u8("mode")?).ok_or(DecodeError::BadValue { field: "mode" })?;
        let ciphertext = Box::new(reader.array("ciphertext")?);
        let nonce = reader.array("nonce")?;
        let certificate = IdentityCertificate::decode(reader.bytes("certificate", MAX_CERTIFICATE)?)?;
        let signatures = IdentitySignatures {
            ed25519: reader.array("ed25519 signature")?,
            ml_dsa: Box::new(reader.array("ml-dsa signature")?),
        };
        reader.finish()?;
        Ok((Self { suite, mode, ciphertext, nonce, certificate }, signatures))
    }
}
