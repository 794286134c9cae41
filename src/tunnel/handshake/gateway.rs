//! The gateway's side, one type per state: hello received → signatures awaited → credential awaited → answering.
//!
//! Signatures come from the key provider and may take a while; so the machine hands out what is to be signed and waits
//! for the result instead of calling anybody.

use super::identity::check_both;
use super::kem::encapsulate;
use super::message::{ANSWER, Answer, CREDENTIAL, ClientHello, GatewayHello, header};
use super::schedule::{Schedule, Side, hello_hash, is_bound};
use super::{
    Accepted, Credential, Enrolled, Exporter, HandshakeError, IdentityCertificate, IdentitySignatures, Mode,
    Possession, Proof, Refusal, RefusalCode, Session, Suite, ToSign,
};
use crate::tunnel::handshake::kem::SharedSecret;

/// Where the gateway begins; see [`GatewayHandshake::receive_client_hello`].
pub struct GatewayHandshake;

impl GatewayHandshake {
    /// Takes message 1. `suites` are those that policy allows, best first; `exporter` is that of this TLS connection if
    /// the gateway itself ended it; `nonce` is fresh randomness. (The encapsulation's own randomness comes from
    /// aws-lc-rs, which does not take it as an argument.)
    pub fn receive_client_hello(
        bytes: &[u8],
        suites: &[Suite],
        exporter: Option<&Exporter>,
        nonce: [u8; 32],
        certificate: IdentityCertificate,
    ) -> Result<AwaitingSignatures, HandshakeError> {
        let hello = ClientHello::decode(bytes)?;
        let suite = suites
            .iter()
            .copied()
            .find(|suite| hello.suites.contains(&suite.number()))
            .ok_or_else(|| HandshakeError::NoCommonSuite { offered: hello.suites.clone() })?;
        let shared_tls = exporter.filter(|own| hello.binding.is_some_and(|tag| is_bound(&tag, own)));
        let mode = if shared_tls.is_some() { Mode::Bound } else { Mode::Sealed };
        let (ciphertext, secret) = encapsulate(&hello.key)?;
        let core =
            GatewayHello { suite: suite.number(), mode, ciphertext, nonce, certificate }.encode_core()?;
        let hash = hello_hash(bytes, &core, shared_tls);
        Ok(AwaitingSignatures { secret, suite, mode, core, hash })
    }

    /// What to send before closing when message 1 or the signing failed; says little, since nothing is proved yet.
    pub fn refuse_in_clear(error: &HandshakeError) -> Vec<u8> {
        let (code, reason) = match error {
            HandshakeError::UnsupportedVersion { .. } => {
                (RefusalCode::UnsupportedVersion, "this gateway speaks another version of the handshake")
            }
            HandshakeError::NoCommonSuite { .. } => {
                (RefusalCode::UnsupportedSuite, "this gateway allows none of the offered cipher suites")
            }
            HandshakeError::Signing(_) | HandshakeError::Library(_) => {
                (RefusalCode::Unavailable, "this gateway's keys are not available")
            }
            _ => (RefusalCode::Malformed, "this gateway could not read the handshake"),
        };
        Refusal::new(code, reason).encode_in_clear()
    }
}

/// A gateway that waits for its own keys.
pub struct AwaitingSignatures {
    secret: SharedSecret,
    suite: Suite,
    mode: Mode,
    core: Vec<u8>,
    hash: [u8; 32],
}

impl AwaitingSignatures {
    /// What both identity keys must sign.
    pub fn to_sign(&self) -> ToSign {
        ToSign::new(self.hash)
    }

    /// Takes the signatures and returns message 2.
    pub fn signed(self, signatures: &IdentitySignatures) -> (AwaitingCredential, Vec<u8>) {
        let schedule = Schedule::new(&self.secret, &self.hash, signatures);
        let message = GatewayHello::append_signatures(self.core, signatures);
        (AwaitingCredential { schedule, suite: self.suite, mode: self.mode }, message)
    }

    /// For test vectors: the same machine with a known secret.
    #[cfg(test)]
    pub(crate) fn with_known_secret(secret: SharedSecret, mode: Mode, core: Vec<u8>, hash: [u8; 32]) -> Self {
        Self { secret, suite: Suite::XWingEd25519MlDsa65Aes256Gcm, mode, core, hash }
    }
}

/// A gateway that has proved who it is and waits for the client to say who it is.
pub struct AwaitingCredential {
    pub(super) schedule: Schedule,
    suite: Suite,
    mode: Mode,
}

impl AwaitingCredential {
    /// Takes message 3.
    pub fn receive_credential(self, bytes: &[u8]) -> Result<(Credential, Answering), HandshakeError> {
        let header = header(CREDENTIAL);
        let unopenable = HandshakeError::Unopenable { message: "Credential" };
        let Some(sealed) = bytes.strip_prefix(&header) else { return Err(unopenable) };
        let plaintext = self.schedule.open(Side::Client, &header, sealed)?.ok_or(unopenable)?;
        let (credential, core) = Credential::decode(&plaintext)?;
        let to_sign = ToSign::by_device(self.schedule.client_hash(core));
        let possession = credential.signatures.clone().map(|signatures| Possession { to_sign, signatures });
        if let (Proof::Join { keys, .. }, Some(shown)) = (&credential.proof, &possession) {
            check_both(&keys.ed25519, keys.ml_dsa.as_slice(), &shown.to_sign, &shown.signatures)
                .map_err(HandshakeError::WrongDeviceSignature)?;
        }
        let Self { schedule, suite, mode } = self;
        let answering = Answering { schedule, suite, mode, credential: bytes.to_vec(), possession };
        Ok((credential, answering))
    }
}

/// A gateway that decides.
pub struct Answering {
    schedule: Schedule,
    suite: Suite,
    mode: Mode,
    credential: Vec<u8>,
    possession: Option<Possession>,
}

impl Answering {
    /// The suite in use.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Who will protect the frames.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The client's signatures, if it proves itself by keys.
    pub fn possession(&self) -> Option<&Possession> {
        self.possession.as_ref()
    }

    /// Message 4 of an enrollment.
    pub fn enrolled(self, enrolled: &Enrolled) -> Result<Vec<u8>, HandshakeError> {
        self.seal(&Answer::encode_enrolled(enrolled)?)
    }

    /// Message 4 as a yes, and the session.
    pub fn accept(self, accepted: &Accepted) -> Result<(Session, Vec<u8>), HandshakeError> {
        let message = self.seal(&Answer::encode_accepted(accepted)?)?;
        let (id, frames) = self.schedule.finish(Side::Gateway, &self.credential, &message)?;
        let frames = (self.mode == Mode::Sealed).then_some(frames);
        Ok((Session { suite: self.suite, mode: self.mode, id, frames }, message))
    }

    /// Message 4 as a no.
    pub fn refuse(self, refusal: &Refusal) -> Result<Vec<u8>, HandshakeError> {
        self.seal(&Answer::encode_refused(refusal))
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let header = header(ANSWER);
        let sealed = self.schedule.seal(Side::Gateway, &header, plaintext)?;
        Ok([&header[..], &sealed].concat())
    }
}
