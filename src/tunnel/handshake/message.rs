//! The handshake's messages and their one encoding (`docs/handshake.md` section 3).
//!
//! Each message begins with its type and the protocol version. Every field has a bound; what does not fit, is left
//! over or is not defined is an error.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::identity::{ED25519_SIGNATURE, IdentitySignatures, MAX_CERTIFICATE, ML_DSA_SIGNATURE};
use super::kem::{CIPHERTEXT, PUBLIC_KEY};
use super::{HandshakeError, IdentityCertificate, Mode};
use crate::tunnel::name::{MAX_NAME, Offer, TunnelId, TunnelKind, TunnelName};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// The version of the handshake; a message of another version is not read.
pub const VERSION: u8 = 1;

pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const GATEWAY_HELLO: u8 = 2;
pub(crate) const CREDENTIAL: u8 = 3;
pub(crate) const ANSWER: u8 = 4;
pub(crate) const REFUSED_IN_CLEAR: u8 = 5;

const MAX_SUITES: usize = 16;
const MAX_TOKEN: usize = 8192;
const MAX_VERSION_TEXT: usize = 64;
const MAX_TICKET: usize = 1024;
/// Most services that one connection can offer.
pub const MAX_OFFERS: usize = 64;
const MAX_URL: usize = 512;
const MAX_REASON: usize = 512;

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
        writer.u8(match self.mode {
            Mode::Bound => 1,
            Mode::Sealed => 2,
        });
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
        let mode = match reader.u8("mode")? {
            1 => Mode::Bound,
            2 => Mode::Sealed,
            _ => return Err(DecodeError::BadValue { field: "mode" }),
        };
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

/// Message 3, inside its seal: who wants to publish what.
pub struct Credential {
    /// The bearer token; zeroed when dropped.
    pub token: SecretString,
    /// The wanted tunnels, at most [`MAX_OFFERS`].
    pub offers: Vec<Offer>,
    /// The client's program and version, for logs.
    pub client_version: String,
    /// What an earlier `Accepted` gave to come back with; empty if none.
    pub resume: Vec<u8>,
}

impl Credential {
    const NAME: &'static str = "Credential";

    pub(crate) fn encode(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, HandshakeError> {
        // Large enough that the token is never left behind by a reallocation.
        let mut writer = Writer::with_capacity(MAX_TOKEN + MAX_TICKET + MAX_OFFERS * (MAX_NAME + 8) + 256);
        self.fields_to(&mut writer).map_err(HandshakeError::malformed(Self::NAME))?;
        Ok(zeroize::Zeroizing::new(writer.finish()))
    }

    fn fields_to(&self, writer: &mut Writer) -> Result<(), DecodeError> {
        writer.bytes("token", self.token.expose_secret().as_bytes(), MAX_TOKEN)?;
        writer.bytes("client version", self.client_version.as_bytes(), MAX_VERSION_TEXT)?;
        writer.bytes("resume ticket", &self.resume, MAX_TICKET)?;
        writer.count("offers", self.offers.len(), MAX_OFFERS)?;
        for offer in &self.offers {
            writer.bytes("name", offer.name.as_str().as_bytes(), MAX_NAME)?;
            match offer.kind {
                TunnelKind::Http => writer.u8(1),
                // A wanted port of zero means none: no service listens there.
                TunnelKind::Tcp { port } => writer.u8(2).u16(port.unwrap_or(0)),
            };
        }
        Ok(())
    }

    pub(crate) fn decode(plaintext: &[u8]) -> Result<Self, HandshakeError> {
        Self::fields(Reader::new(plaintext)).map_err(HandshakeError::malformed(Self::NAME))
    }

    fn fields(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let token = SecretString::from(reader.text("token", MAX_TOKEN)?);
        let client_version = reader.text("client version", MAX_VERSION_TEXT)?.to_owned();
        let resume = reader.bytes("resume ticket", MAX_TICKET)?.to_vec();
        let count = reader.count("offers", MAX_OFFERS)?;
        let offers = (0..count).map(|_| offer(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { token, offers, client_version, resume })
    }
}

fn name(reader: &mut Reader<'_>) -> Result<TunnelName, DecodeError> {
    TunnelName::parse(reader.text("name", MAX_NAME)?).map_err(|_| DecodeError::BadValue { field: "name" })
}

fn offer(reader: &mut Reader<'_>) -> Result<Offer, DecodeError> {
    let name = name(reader)?;
    let kind = match reader.u8("kind")? {
        1 => TunnelKind::Http,
        2 => TunnelKind::Tcp { port: Some(reader.u16("port")?).filter(|port| *port != 0) },
        _ => return Err(DecodeError::BadValue { field: "kind" }),
    };
    Ok(Offer { name, kind })
}

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
    /// Opaque bytes to come back with after a lost connection, at most 1024; empty if none.
    pub resume: Vec<u8>,
}

/// What message 4 says.
pub(crate) enum Answer {
    Accepted(Accepted),
    Refused(Refusal),
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
        writer.bytes("resume ticket", &accepted.resume, MAX_TICKET)?;
        writer.count("tunnels", accepted.tunnels.len(), MAX_OFFERS)?;
        for tunnel in &accepted.tunnels {
            writer.array(&tunnel.id.to_bytes());
            writer.bytes("name", tunnel.name.as_str().as_bytes(), MAX_NAME)?;
            writer.bytes("url", tunnel.url.as_bytes(), MAX_URL)?;
        }
        Ok(())
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
        let resume = reader.bytes("resume ticket", MAX_TICKET)?.to_vec();
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
        Ok(Accepted { tunnels, limits, resume })
    }
}

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

    fn encode(&self) -> Vec<u8> {
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

    fn fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
