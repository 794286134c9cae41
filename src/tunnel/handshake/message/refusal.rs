//! A gateway's no: under seal in message 4, or in clear (message 5) while there is no common key.

use std::fmt;

use super::{REFUSED_IN_CLEAR, body, header};
use crate::tunnel::handshake::HandshakeError;
use crate::tunnel::wire::{DecodeError, Reader, Writer};

const MAX_REASON: usize = 512;

/// Why the gateway said no, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The handshake version is not spoken here.
    UnsupportedVersion,
    /// No cipher suite in common.
    UnsupportedSuite,
    /// A message was malformed.
    Malformed,
    /// The token is not good.
    BadToken,
    /// The token was good once.
    TokenExpired,
    /// The device is not enrolled here, or not any more.
    BadDevice,
    /// Policy does not allow it.
    NotAllowed,
    /// Somebody else publishes under this name.
    NameTaken,
    /// The public port is not free.
    PortTaken,
    /// More tunnels than allowed.
    TooMany,
    /// The gateway cannot take tunnels now: its ledger or its keys are down.
    Unavailable,
    /// The gateway is stopping.
    Draining,
    /// A code of a newer gateway.
    Other(u16),
}

impl RefusalCode {
    fn number(self) -> u16 {
        match self {
            Self::UnsupportedVersion => 1,
            Self::UnsupportedSuite => 2,
            Self::Malformed => 3,
            Self::BadToken => 10,
            Self::TokenExpired => 11,
            Self::NotAllowed => 12,
            Self::BadDevice => 16,
            Self::NameTaken => 13,
            Self::PortTaken => 14,
            Self::TooMany => 15,
            Self::Unavailable => 20,
            Self::Draining => 21,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            1 => Self::UnsupportedVersion,
            2 => Self::UnsupportedSuite,
            3 => Self::Malformed,
            10 => Self::BadToken,
            11 => Self::TokenExpired,
            12 => Self::NotAllowed,
            16 => Self::BadDevice,
            13 => Self::NameTaken,
            14 => Self::PortTaken,
            15 => Self::TooMany,
            20 => Self::Unavailable,
            21 => Self::Draining,
            other => Self::Other(other),
        }
    }

    /// The word that `--json` shows.
    pub fn word(self) -> &'static str {
        match self {
            Self::UnsupportedVersion => "unsupported-version",
            Self::UnsupportedSuite => "unsupported-suite",
            Self::Malformed => "malformed",
            Self::BadToken => "bad-token",
            Self::TokenExpired => "token-expired",
            Self::BadDevice => "bad-device",
            Self::NotAllowed => "not-allowed",
            Self::NameTaken => "name-taken",
            Self::PortTaken => "port-taken",
            Self::TooMany => "too-many",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
            Self::Other(_) => "other",
        }
    }

    /// Whether the same request may succeed later without anybody doing something.
    pub fn may_pass_later(self) -> bool {
        matches!(self, Self::Unavailable | Self::Draining | Self::Other(_))
    }

    /// What to do next, when the gateway gives no hint of its own.
    pub fn hint(self) -> &'static str {
        match self {
            Self::UnsupportedVersion | Self::UnsupportedSuite | Self::Malformed | Self::Other(_) => {
                "update the older end"
            }
            Self::BadToken => "get a token for this gateway from its operator, and run `sallyport login`",
            Self::TokenExpired => "get a new token from the gateway's operator, and run `sallyport login`",
            Self::BadDevice => {
                "get a join token from the gateway's operator, and run `sallyport device enroll`"
            }
            Self::NotAllowed => "ask the gateway's operator for leave to publish this name",
            Self::NameTaken => "choose another name with `--name`, or stop the other publisher",
            Self::PortTaken => "ask for another port, or for none",
            Self::TooMany => "publish fewer tunnels, or ask the gateway's operator for a higher limit",
            Self::Unavailable | Self::Draining => "wait: the client tries again by itself",
        }
    }
}

/// A gateway's no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what is refused and why. At most 512 bytes travel.
    pub reason: String,
    /// For people: what to do next; may be empty. At most 512 bytes travel.
    pub hint: String,
}

impl Refusal {
    /// A refusal with the code's own hint.
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), hint: code.hint().to_owned() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.u16(self.code.number());
        for text in [&self.reason, &self.hint] {
            // A refusal must always get through: texts are made fit instead of refused.
            let fit = fit(text);
            writer.u16(u16::try_from(fit.len()).unwrap_or(0));
            writer.array(fit.as_bytes());
        }
        writer.finish()
    }

    pub(super) fn fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            code: RefusalCode::from_number(reader.u16("code")?),
            reason: reader.text("reason", MAX_REASON)?.to_owned(),
            hint: reader.text("hint", MAX_REASON)?.to_owned(),
        })
    }

    /// As sent before there is a key to seal with.
    pub(crate) fn encode_in_clear(&self) -> Vec<u8> {
        [&header(REFUSED_IN_CLEAR)[..], &self.encode()].concat()
    }

    /// Reads a refusal in clear; `None` if the message is of another type.
    pub(crate) fn decode_in_clear(bytes: &[u8]) -> Option<Result<Self, HandshakeError>> {
        if bytes.first() != Some(&REFUSED_IN_CLEAR) {
            return None;
        }
        Some(body(bytes, REFUSED_IN_CLEAR, "Refused").and_then(|mut reader| {
            Self::fields(&mut reader)
                .and_then(|refusal| reader.finish().map(|()| refusal))
                .map_err(HandshakeError::malformed("Refused"))
        }))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Cuts a text to what travels, at a character's boundary, and drops control characters.
fn fit(text: &str) -> String {
    let mut fit: String = text.chars().filter(|c| !c.is_control()).collect();
    fit.truncate(fit.floor_char_boundary(MAX_REASON));
    fit
}
