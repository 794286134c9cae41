//! The handshake inside each tunnel connection, as pure state machines.
//!
//! TLS often ends at somebody else's ingress. So inside it, both ends run their own exchange, in four messages:
//!
//! | # | from | message | protection |
//! |---|---|---|---|
//! | 1 | client | `ClientHello`: suites, X-Wing public key, nonce, channel-binding tag | clear |
//! | 2 | gateway | `GatewayHello`: suite, mode, X-Wing ciphertext, nonce, identity certificate, two signatures | clear, signed |
//! | 3 | client | `Credential`: token, or a device's two signatures; offers, client version, resume ticket | sealed |
//! | 4 | gateway | `Accepted` (tunnels, limits, ticket) or `Refused` (code, reason, hint) | sealed |
//!
//! Promised: the secret is safe unless X25519 *and* ML-KEM-768 are both broken; the gateway is who it says unless
//! Ed25519 *and* ML-DSA-65 are both forged; every byte of messages 1 and 2 is under both signatures, of 3 and 4 under
//! the suite's AEAD; nothing can be replayed into another handshake. In mode [`Mode::Bound`] both ends share one TLS
//! connection (its RFC 9266 exporter is in the transcript) and later frames rely on it; in mode [`Mode::Sealed`] every
//! later frame is sealed end to end. A relay can neither choose the mode nor see the token.
//!
//! Pure: bytes, keys, randomness and signatures are arguments; there is no socket and no clock. `docs/handshake.md` is
//! the specification. Start with [`ClientHandshake`] and [`GatewayHandshake`].

mod blame;
mod client;
pub mod device;
mod gateway;
mod identity;
pub mod kem;
mod message;
mod resume;
pub(crate) mod schedule;
mod succession;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::io;

pub use blame::Blame;
pub use client::{AwaitingAnswer, ClientHandshake, Presented, Welcome};
pub use device::{DeviceKey, DevicePublic, Possession, Secret};
pub use gateway::{Answering, AwaitingCredential, AwaitingSignatures, GatewayHandshake, Hello, Known};
pub use identity::{
    CertificateBody, CertificateError, ED25519_PUBLIC, ED25519_SIGNATURE, Fingerprint, GatewayIdentity,
    IdentityCertificate, IdentitySignatures, ML_DSA_PUBLIC, ML_DSA_SIGNATURE, RootKey, Signing,
    SigningFailed, ToSign,
};
pub use message::{
    Accepted, AcceptedTunnel, Credential, Enrolled, MAX_OFFERS, Proof, Refusal, RefusalCode, SessionLimits,
    VERSION, Wishes,
};
pub use resume::{Ticket, TicketId};
pub(crate) use schedule::CHANNEL_BINDING;
pub use schedule::{SessionId, channel_binding};
pub use succession::{IdentityKeys, MAX_SUCCESSION_BYTES, Succession, SuccessionBody, Successions};

use super::frame::FrameKeys;
pub use super::wire::DecodeError;

/// Largest handshake message in bytes; the transport refuses longer ones before they reach the state machine.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The TLS exporter value of RFC 9266 (`tls-exporter`), 32 bytes; the same on both ends of one TLS connection.
pub type Exporter = [u8; 32];

/// A set of algorithms that belong together. A new one gets a new number; none is ever changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// X-Wing (X25519 + ML-KEM-768), Ed25519 and ML-DSA-65, HKDF-SHA256, AES-256-GCM.
    XWingEd25519MlDsa65Aes256Gcm,
    /// The same with ChaCha20-Poly1305, which needs no AES in hardware to be fast.
    XWingEd25519MlDsa65ChaCha20Poly1305,
}

impl Suite {
    /// Every suite that this version speaks.
    pub const ALL: &'static [Self] =
        &[Self::XWingEd25519MlDsa65Aes256Gcm, Self::XWingEd25519MlDsa65ChaCha20Poly1305];

    /// Every suite, the one that suits this machine best first: both are as strong, and AES is the slower one where
    /// the processor doesn't do it.
    pub fn by_hardware() -> Vec<Self> {
        let mut suites = Self::ALL.to_vec();
        if !has_aes() {
            suites.reverse();
        }
        suites
    }

    /// What seals messages and frames.
    pub(crate) fn aead(self) -> &'static aws_lc_rs::aead::Algorithm {
        match self {
            Self::XWingEd25519MlDsa65Aes256Gcm => &aws_lc_rs::aead::AES_256_GCM,
            Self::XWingEd25519MlDsa65ChaCha20Poly1305 => &aws_lc_rs::aead::CHACHA20_POLY1305,
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::XWingEd25519MlDsa65Aes256Gcm => 0x0001,
            Self::XWingEd25519MlDsa65ChaCha20Poly1305 => 0x0002,
        }
    }

    /// The suite with this number, if this version knows it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|suite| suite.number() == number)
    }

    /// The name that records and status lines show.
    pub fn name(self) -> &'static str {
        match self {
            Self::XWingEd25519MlDsa65Aes256Gcm => "x25519-mlkem768/ed25519-mldsa65/aes256gcm",
            Self::XWingEd25519MlDsa65ChaCha20Poly1305 => "x25519-mlkem768/ed25519-mldsa65/chacha20poly1305",
        }
    }

    /// Whether both key exchange and authentication hold against a quantum computer.
    pub fn is_post_quantum(self) -> bool {
        match self {
            Self::XWingEd25519MlDsa65Aes256Gcm | Self::XWingEd25519MlDsa65ChaCha20Poly1305 => true,
        }
    }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// For the fuzz target of message 4, whose decoder is not public.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_answer(plaintext: &[u8]) {
    let _either = message::Answer::decode(plaintext);
}

/// What protects the frames after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Both ends share one TLS connection, proved by its exporter: frames are not sealed a second time.
    Bound,
    /// Something ends the TLS between the two: every frame is sealed end to end with the suite's algorithm.
    Sealed,
}

impl Mode {
    /// The number on the wire.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Bound => 1,
            Self::Sealed => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Bound, Self::Sealed].into_iter().find(|mode| mode.number() == number)
    }
}

/// What a finished handshake leaves on either side.
pub struct Session {
    /// The algorithms in use.
    pub suite: Suite,
    /// Who protects the frames.
    pub mode: Mode,
    /// The same on both ends, not secret: lets both logs be read side by side.
    pub id: SessionId,
    /// Keys for the frames; present exactly in mode [`Mode::Sealed`].
    pub frames: Option<FrameKeys>,
    /// What the next handshake may rest on.
    pub(crate) resume: schedule::Key,
}

impl Session {
    fn new(suite: Suite, mode: Mode, finished: schedule::Finished) -> Self {
        let schedule::Finished { id, frames, resume } = finished;
        Self { suite, mode, id, frames: (mode == Mode::Sealed).then_some(frames), resume }
    }

    /// What the client keeps under the ticket's name that it was given.
    pub fn ticket(&self, id: TicketId) -> Ticket {
        Ticket { id, suite: self.suite, secret: self.resume.clone() }
    }
}

/// Which of the two signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RFC 8032.
    Ed25519,
    /// FIPS 204.
    MlDsa65,
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::MlDsa65 => "ML-DSA-65",
        })
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// A message is not encoded as `docs/handshake.md` says.
    #[error("the message {message} is malformed: {source}")]
    Malformed {
        /// Which message.
        message: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The peer speaks a version that this program does not know.
    #[error("the peer speaks handshake version {theirs}, this program speaks version {}", message::VERSION)]
    UnsupportedVersion {
        /// The peer's version.
        theirs: u8,
    },
    /// No suite that both ends allow.
    #[error("none of the peer's cipher suites {offered:?} is allowed here")]
    NoCommonSuite {
        /// The peer's suites, by number.
        offered: Vec<u16>,
    },
    /// The gateway chose a suite that the client did not offer.
    #[error("the gateway chose the cipher suite {number:#06x}, which was not offered")]
    SuiteNotOffered {
        /// Its number.
        number: u16,
    },
    /// The gateway says that both ends share one TLS connection, and they do not.
    #[error("the gateway claims a channel binding that this connection does not have")]
    FalseBinding,
    /// The key exchange failed.
    #[error("the key exchange failed: {0}")]
    KeyExchange(#[from] kem::KemError),
    /// A signature of the gateway does not fit the transcript.
    #[error("the gateway's {0} signature does not fit this handshake")]
    WrongSignature(SignatureAlgorithm),
    /// A signature of a client that wants to be enrolled does not fit the transcript, or its own keys.
    #[error("the device's {0} signature does not fit this handshake")]
    WrongDeviceSignature(SignatureAlgorithm),
    /// The gateway's certificate is not good.
    #[error("the gateway's identity certificate is refused: {0}")]
    Certificate(#[from] CertificateError),
    /// A sealed message does not open: altered, replayed, or of another handshake.
    #[error("the sealed message {message} does not open")]
    Unopenable {
        /// Which message.
        message: &'static str,
    },
    /// The gateway refused, under seal: it is really the gateway that says so.
    #[error("the gateway refused: {0}")]
    Refused(Refusal),
    /// A refusal in clear, before the gateway proved who it is; anyone on the way can forge it.
    #[error("the connection was refused before the gateway proved its identity: {0}")]
    RefusedInClear(Refusal),
    /// The gateway's identity keys could not sign.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
    /// The peer did not answer in time.
    #[error("the peer sent no {message} within {seconds} s")]
    Timeout {
        /// The message awaited.
        message: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The connection broke.
    #[error("the connection broke during the handshake: {0}")]
    Socket(#[from] io::Error),
    /// A further connection came for a publisher that is gone by now, or has all that it may have.
    #[error("the publisher takes no further connection")]
    NoRoom,
    /// HTTP/2 did not come up on the connection.
    #[error("the multiplexer did not start: {0}")]
    Mux(#[source] h2::Error),
}

impl HandshakeError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::UnsupportedVersion { .. } => {
                "check that both ends are Sallyport of about the same version, and that nothing rewrites the connection"
            }
            Self::NoCommonSuite { .. } | Self::SuiteNotOffered { .. } => {
                "update the older end; a policy may also demand a suite that the other end lacks"
            }
            Self::FalseBinding
            | Self::WrongSignature(_)
            | Self::WrongDeviceSignature(_)
            | Self::Unopenable { .. }
            | Self::KeyExchange(_) => {
                "something between the two ends altered the connection: try from another network, and tell the gateway's operator"
            }
            Self::Certificate(error) => error.hint(),
            Self::Refused(refusal) => refusal.code.hint(),
            Self::RefusedInClear(_) => {
                "the refusal is not authenticated; if it stays, ask the gateway's operator to read the gateway's log"
            }
            Self::Signing(_) => "look at the state of the key provider: `sallyportd keys list`",
            Self::NoRoom => "the publisher dials again by itself",
            Self::Library(_) => "report it, with the versions of both ends",
            Self::Timeout { .. } | Self::Socket(_) | Self::Mux(_) => {
                "check the network between the two ends; a proxy that does not pass WebSocket looks like this"
            }
        }
    }

    pub(crate) fn malformed(message: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |source| Self::Malformed { message, source }
    }
}
