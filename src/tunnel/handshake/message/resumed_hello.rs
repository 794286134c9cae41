//! Message 6, in the place of message 2: a gateway that knows the client again answers at once, under seal.

use super::{RESUMED_HELLO, body, header};
use crate::tunnel::handshake::kem::CIPHERTEXT;
use crate::tunnel::handshake::{HandshakeError, Mode};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// Bytes before the sealed answer.
const CORE: usize = 2 + 2 + 1 + CIPHERTEXT + 32;

/// The part in clear; what follows it is the answer, sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResumedHello {
    pub(crate) suite: u16,
    pub(crate) mode: Mode,
    pub(crate) ciphertext: Box<[u8; CIPHERTEXT]>,
    pub(crate) nonce: [u8; 32],
}

impl ResumedHello {
    const NAME: &'static str = "ResumedHello";

    pub(crate) fn encode_core(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(CORE);
        writer.array(&header(RESUMED_HELLO)).u16(self.suite).u8(self.mode.number());
        writer.array(self.ciphertext.as_slice()).array(&self.nonce);
        writer.finish()
    }

    /// The part in clear, its bytes, and the sealed answer.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), HandshakeError> {
        let malformed = HandshakeError::malformed(Self::NAME);
        let Some((core, sealed)) = bytes.split_at_checked(CORE) else {
            return Err(malformed(DecodeError::Truncated { field: "nonce" }));
        };
        let reader = body(core, RESUMED_HELLO, Self::NAME)?;
        Ok((Self::fields(reader).map_err(malformed)?, core, sealed))
    }

    fn fields(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let hello = Self {
            suite: reader.u16("suite")?,
            mode: Mode::from_number(reader.u8("mode")?).ok_or(DecodeError::BadValue { field: "mode" })?,
            ciphertext: Box::new(reader.array("ciphertext")?),
            nonce: reader.array("nonce")?,
        };
        reader.finish()?;
        Ok(hello)
    }
}
