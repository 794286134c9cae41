//! The handshake's messages and their one encoding (`docs/handshake.md` section 3), a file each.
//!
//! Each message begins with its type and the protocol version. Every field has a bound; what does not fit, is left
//! over or is not defined is an error.

mod answer;
mod client_hello;
mod credential;
mod gateway_hello;
mod refusal;
mod resumed_hello;

pub(crate) use answer::Answer;
pub use answer::{Accepted, AcceptedTunnel, Enrolled, SessionLimits};
pub(crate) use client_hello::ClientHello;
pub use credential::{Credential, MAX_OFFERS, Proof, Wishes};
pub(crate) use gateway_hello::GatewayHello;
pub use refusal::{Refusal, RefusalCode};
pub(crate) use resumed_hello::ResumedHello;

use super::HandshakeError;
use crate::tunnel::name::{MAX_NAME, TunnelName};
use crate::tunnel::wire::{DecodeError, Reader};

/// The version of the handshake; a message of another version is not read.
pub const VERSION: u8 = 1;

pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const GATEWAY_HELLO: u8 = 2;
pub(crate) const CREDENTIAL: u8 = 3;
pub(crate) const ANSWER: u8 = 4;
pub(crate) const REFUSED_IN_CLEAR: u8 = 5;
pub(crate) const RESUMED_HELLO: u8 = 6;

/// Longest name of a publisher in bytes.
const MAX_PUBLISHER: usize = 1024;

/// Writes type and version, the first two bytes of each message.
pub(crate) fn header(kind: u8) -> [u8; 2] {
    [kind, VERSION]
}

/// Checks type and version, and returns a reader for the rest.
fn body<'a>(bytes: &'a [u8], kind: u8, name: &'static str) -> Result<Reader<'a>, HandshakeError> {
    let mut reader = Reader::new(bytes);
    let malformed = HandshakeError::malformed(name);
    match (reader.u8("type"), reader.u8("version")) {
        (Ok(found), Ok(VERSION)) if found == kind => Ok(reader),
        (Ok(found), Ok(theirs)) if found == kind => Err(HandshakeError::UnsupportedVersion { theirs }),
        (Ok(_), Ok(_)) => Err(malformed(DecodeError::BadValue { field: "type" })),
        _ => Err(malformed(DecodeError::Truncated { field: "version" })),
    }
}

fn name(reader: &mut Reader<'_>) -> Result<TunnelName, DecodeError> {
    TunnelName::parse(reader.text("name", MAX_NAME)?).map_err(|_| DecodeError::BadValue { field: "name" })
}
