//! Message 1: what the client can do, and its half of the key exchange.

use super::{CLIENT_HELLO, body, header};
use crate::tunnel::handshake::kem::PUBLIC_KEY;
use crate::tunnel::handshake::resume::BINDER;
use crate::tunnel::handshake::{HandshakeError, TicketId};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

const MAX_SUITES: usize = 16;

/// Message 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientHello {
    pub(crate) suites: Vec<u16>,
    pub(crate) key: Box<[u8; PUBLIC_KEY]>,
    pub(crate) nonce: [u8; 32],
    pub(crate) binding: Option<[u8; 32]>,
    /// The ticket and its binder, which covers all bytes before it.
    pub(crate) resume: Option<(TicketId, [u8; BINDER])>,
}

impl ClientHello {
    const NAME: &'static str = "ClientHello";

    pub(crate) fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        let mut bytes = self.encode_unbound()?;
        if let Some((_, binder)) = &self.resume {
            bytes.extend_from_slice(binder);
        }
        Ok(bytes)
    }

    /// The bytes that a binder covers.
    pub(crate) fn unbound(bytes: &[u8]) -> &[u8] {
        bytes.get(..bytes.len().saturating_sub(BINDER)).unwrap_or_default()
    }

    /// Everything before the binder.
    pub(crate) fn encode_unbound(&self) -> Result<Vec<u8>, HandshakeError> {
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
        match &self.resume {
            None => writer.u8(0),
            Some((ticket, _)) => writer.u8(1).array(ticket),
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
        let resume = match reader.u8("resume")? {
            0 => None,
            1 => Some((reader.array("ticket")?, reader.array("binder")?)),
            _ => return Err(DecodeError::BadValue { field: "resume" }),
        };
        reader.finish()?;
        Ok(Self { suites, key, nonce, binding, resume })
    }
}
