//! Message 1: what the client can do, and its half of the key exchange.

use super::{CLIENT_HELLO, body, header};
use crate::tunnel::handshake::HandshakeError;
use crate::tunnel::handshake::kem::PUBLIC_KEY;
use crate::tunnel::wire::{DecodeError, Reader, Writer};

const MAX_SUITES: usize = 16;

/// Message 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientHello {
    pub(crate) suites: Vec<u16>,
    pub(crate) key: Box<[u8; PUBLIC_KEY]>,
    pub(crate) nonce: [u8; 32],
    pub(crate) binding: Option<[u8; 32]>,
}

impl ClientHello {
    const NAME: &'static str = "ClientHello";

    pub(crate) fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        let mut writer = Writer::with_capacity(1400);
        writer.array(&header(CLIENT_HELLO));
        writer
            .count("suites", self.suites.len(), MAX_SUITES)
            .map_err(HandshakeError::malformed(Self::NAME))?;
        for suite in &self.suites {
            writer.u16(*suite);
        }
        writer.array(self.key.as_slice()).array(&self.nonce);
        match &self.binding {
            None => writer.u8(0),
            Some(tag) => writer.u8(1).array(tag),
        };
        Ok(writer.finish())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let reader = body(bytes, CLIENT_HELLO, Self::NAME)?;
        Self::fields(reader).map_err(HandshakeError::malformed(Self::NAME))
    }

    fn fields(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count("suites", MAX_SUITES)?;
        let suites = (0..count).map(|_| reader.u16("suites")).collect::<Result<_, _>>()?;
        let key = Box::new(reader.array("key")?);
        let nonce = reader.array("nonce")?;
        let binding = match reader.u8("binding")? {
            0 => None,
            1 => Some(reader.array("binding")?),
            _ => return Err(DecodeError::BadValue { field: "binding" }),
        };
        reader.finish()?;
        Ok(Self { suites, key, nonce, binding })
    }
}
