//! Message 4, inside its seal: yes with what the client gets, or no with why.

use std::time::Duration;

use super::{MAX_OFFERS, MAX_PUBLISHER, Refusal, name};
use crate::tunnel::handshake::{HandshakeError, TicketId};
use crate::tunnel::name::{MAX_NAME, TunnelId, TunnelName};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

const MAX_URL: usize = 512;
const MAX_SUBJECT: usize = 253;

/// One tunnel that the gateway opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcceptedTunnel {
    /// This registration.
    pub id: TunnelId,
    /// Its name.
    pub name: TunnelName,
    /// Where visitors reach it, as `https://demo.example` or `tcp://gateway.example:7001`; at most 512 bytes.
    pub url: String,
}

/// What the publisher must keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// How often either end asks whether the other still lives.
    pub heartbeat_interval: Duration,
    /// How long it waits for that answer before the connection counts as lost.
    pub heartbeat_timeout: Duration,
    /// Most streams at a time.
    pub max_streams: u32,
}

/// Message 4, when the gateway says yes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The tunnels, in the order of the offers.
    pub tunnels: Vec<AcceptedTunnel>,
    /// What to keep to.
    pub limits: SessionLimits,
    /// Opaque bytes by which the publisher is known when it comes back, at most 1024; empty if none.
    pub resume: Vec<u8>,
    /// Lets it come back without the whole handshake, once.
    pub ticket: Option<TicketId>,
}

/// Message 4, when the gateway has enrolled a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// Whom the device speaks for, at most 253 bytes.
    pub subject: String,
    /// Until when, Unix seconds.
    pub expires: u64,
}

/// What message 4 says.
pub(crate) enum Answer {
    Accepted(Accepted),
    Refused(Refusal),
    Enrolled(Enrolled),
}

impl Answer {
    const NAME: &'static str = "Answer";

    pub(crate) fn encode_accepted(accepted: &Accepted) -> Result<Vec<u8>, HandshakeError> {
        let mut writer = Writer::with_capacity(256);
        writer.u8(1);
        Self::accepted_to(&mut writer, accepted).map_err(HandshakeError::malformed(Self::NAME))?;
        Ok(writer.finish())
    }

    fn accepted_to(writer: &mut Writer, accepted: &Accepted) -> Result<(), DecodeError> {
        writer.u32(millis(accepted.limits.heartbeat_interval));
        writer.u32(millis(accepted.limits.heartbeat_timeout));
        writer.u32(accepted.limits.max_streams);
        writer.bytes("publisher", &accepted.resume, MAX_PUBLISHER)?;
        match &accepted.ticket {
            None => writer.u8(0),
            Some(ticket) => writer.u8(1).array(ticket),
        };
        writer.count("tunnels", accepted.tunnels.len(), MAX_OFFERS)?;
        for tunnel in &accepted.tunnels {
            writer.array(&tunnel.id.to_bytes());
            writer.bytes("name", tunnel.name.as_str().as_bytes(), MAX_NAME)?;
            writer.bytes("url", tunnel.url.as_bytes(), MAX_URL)?;
        }
        Ok(())
    }

    pub(crate) fn encode_enrolled(enrolled: &Enrolled) -> Result<Vec<u8>, HandshakeError> {
        let mut writer = Writer::with_capacity(256);
        writer.u8(3);
        writer
            .bytes("subject", enrolled.subject.as_bytes(), MAX_SUBJECT)
            .map_err(HandshakeError::malformed(Self::NAME))?;
        Ok(writer.u64(enrolled.expires).finish())
    }

    pub(crate) fn encode_refused(refusal: &Refusal) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.u8(2).array(&refusal.encode());
        writer.finish()
    }

    pub(crate) fn decode(plaintext: &[u8]) -> Result<Self, HandshakeError> {
        Self::fields(Reader::new(plaintext)).map_err(HandshakeError::malformed(Self::NAME))
    }

    fn fields(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let answer = match reader.u8("answer")? {
            1 => Self::Accepted(Self::accepted(&mut reader)?),
            2 => Self::Refused(Refusal::fields(&mut reader)?),
            3 => Self::Enrolled(Enrolled {
                subject: reader.text("subject", MAX_SUBJECT)?.to_owned(),
                expires: reader.u64("expires")?,
            }),
            _ => return Err(DecodeError::BadValue { field: "answer" }),
        };
        reader.finish()?;
        Ok(answer)
    }

    fn accepted(reader: &mut Reader<'_>) -> Result<Accepted, DecodeError> {
        let limits = SessionLimits {
            heartbeat_interval: Duration::from_millis(u64::from(reader.u32("heartbeat interval")?)),
            heartbeat_timeout: Duration::from_millis(u64::from(reader.u32("heartbeat timeout")?)),
            max_streams: reader.u32("streams")?,
        };
        let resume = reader.bytes("publisher", MAX_PUBLISHER)?.to_vec();
        let ticket = match reader.u8("ticket")? {
            0 => None,
            1 => Some(reader.array("ticket")?),
            _ => return Err(DecodeError::BadValue { field: "ticket" }),
        };
        let count = reader.count("tunnels", MAX_OFFERS)?;
        let tunnels = (0..count)
            .map(|_| {
                Ok(AcceptedTunnel {
                    id: TunnelId::from_bytes(reader.array("tunnel id")?),
                    name: name(reader)?,
                    url: reader.text("url", MAX_URL)?.to_owned(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Accepted { tunnels, limits, resume, ticket })
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
