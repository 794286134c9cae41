//! The gateway's side, one type per state: hello received → signatures awaited → credential awaited → answering.
//!
//! Signatures come from the key provider and may take a while; so the machine hands out what is to be signed and waits
//! for the result instead of calling anybody.

use std::time::Duration;

use super::identity::check_both;
use super::kem::encapsulate;
use super::message::{ANSWER, Answer, CREDENTIAL, ClientHello, GatewayHello, ResumedHello, header};
use super::resume::fits;
use super::schedule::{Key, Schedule, Side, hello_hash, is_bound, resumed_transcript};
use super::{
    Accepted, Credential, Enrolled, Exporter, HandshakeError, IdentityCertificate, IdentitySignatures, Mode,
    Possession, Proof, Refusal, RefusalCode, Session, Suite, TicketId, ToSign, Wishes,
};
use crate::tunnel::handshake::kem::SharedSecret;

/// Where the gateway begins; see [`GatewayHandshake::receive_client_hello`].
pub struct GatewayHandshake;

impl GatewayHandshake {
    /// Takes message 1. `suites` are those that policy allows; `exporter` is that of this TLS connection if
    /// the gateway itself ended it; `nonce` is fresh randomness. (The encapsulation's own randomness comes from
    /// aws-lc-rs, which does not take it as an argument.)
    pub fn receive_client_hello(
        bytes: &[u8],
        suites: &[Suite],
        exporter: Option<&Exporter>,
        nonce: [u8; 32],
        certificate: IdentityCertificate,
    ) -> Result<AwaitingSignatures, HandshakeError> {
        Hello::read(bytes)?.present(suites, exporter, nonce, certificate)
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

/// Message 1, read and not answered.
pub struct Hello<'a> {
    bytes: &'a [u8],
    hello: ClientHello,
}

impl<'a> Hello<'a> {
    /// Reads message 1.
    pub fn read(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        Ok(Self { bytes, hello: ClientHello::decode(bytes)? })
    }

    /// The ticket that the client would come back with.
    pub fn ticket(&self) -> Option<&TicketId> {
        self.hello.resume.as_ref().map(|(ticket, _)| ticket)
    }

    /// Whether the client holds the secret of what is `known`, and both ends still allow its suite.
    pub fn fits(&self, known: &Known, suites: &[Suite]) -> bool {
        suites.contains(&known.suite)
            && self.hello.suites.contains(&known.suite.number())
            && self
                .hello
                .resume
                .as_ref()
                .is_some_and(|(_, binder)| fits(binder, &known.secret, ClientHello::unbound(self.bytes)))
    }

    /// Goes on from an earlier session with the client that [`Self::fits`]: what it is and wants is as it was then.
    pub fn resume(
        self,
        known: Known,
        exporter: Option<&Exporter>,
        nonce: [u8; 32],
    ) -> Result<(Credential, Answering), HandshakeError> {
        let (shared_tls, mode) = self.mode(exporter);
        let Known { suite, secret: earlier, proof, wishes, round_trip: _ } = known;
        let (ciphertext, secret) = encapsulate(&self.hello.key)?;
        let core = ResumedHello { suite: suite.number(), mode, ciphertext, nonce }.encode_core();
        let transcript = resumed_transcript(self.bytes, &core, shared_tls);
        let schedule = Schedule::resumed(suite, &secret, &earlier, transcript);
        let answering = Answering::resumed(schedule, suite, mode, core);
        Ok((Credential { proof, wishes, signatures: None }, answering))
    }

    /// Begins the whole handshake; see [`GatewayHandshake::receive_client_hello`].
    pub fn present(
        self,
        suites: &[Suite],
        exporter: Option<&Exporter>,
        nonce: [u8; 32],
        certificate: IdentityCertificate,
    ) -> Result<AwaitingSignatures, HandshakeError> {
        // The client's order: it knows what its processor does well, and all that is allowed here is as strong.
        let mut offered = self.hello.suites.iter().filter_map(|number| Suite::from_number(*number));
        let suite = offered
            .find(|suite| suites.contains(suite))
            .ok_or_else(|| HandshakeError::NoCommonSuite { offered: self.hello.suites.clone() })?;
        let (shared_tls, mode) = self.mode(exporter);
        let (ciphertext, secret) = encapsulate(&self.hello.key)?;
        let core =
            GatewayHello { suite: suite.number(), mode, ciphertext, nonce, certificate }.encode_core()?;
        let hash = hello_hash(self.bytes, &core, shared_tls);
        Ok(AwaitingSignatures { secret, suite, mode, core, hash })
    }

    fn mode<'e>(&self, exporter: Option<&'e Exporter>) -> (Option<&'e Exporter>, Mode) {
        let shared_tls = exporter.filter(|own| self.hello.binding.is_some_and(|tag| is_bound(&tag, own)));
        (shared_tls, if shared_tls.is_some() { Mode::Bound } else { Mode::Sealed })
    }
}

/// What the gateway keeps of a session, under the ticket that it gave to the client.
pub struct Known {
    /// The suite; the next session must use the same.
    pub suite: Suite,
    /// What the client showed of itself.
    pub proof: Proof,
    /// What it wanted.
    pub wishes: Wishes,
    pub(crate) secret: Key,
    /// How long a message to it and back took when it showed all that; `None` if that isn't known.
    pub(crate) round_trip: Option<Duration>,
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

    /// The suite that was chosen.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Takes the signatures and returns message 2.
    pub fn signed(self, signatures: &IdentitySignatures) -> (AwaitingCredential, Vec<u8>) {
        let schedule = Schedule::new(self.suite, &self.secret, &self.hash, signatures);
        let message = GatewayHello::append_signatures(self.core, signatures);
        (AwaitingCredential { schedule, suite: self.suite, mode: self.mode }, message)
    }

    /// For test vectors: the same machine with a known secret.
    #[cfg(test)]
    pub(crate) fn with_known_secret(
        secret: SharedSecret,
        (suite, mode): (Suite, Mode),
        core: Vec<u8>,
        hash: [u8; 32],
    ) -> Self {
        Self { secret, suite, mode, core, hash }
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
        let (header, opening) = (header(CREDENTIAL), header(ANSWER));
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
        let answering = Answering {
            schedule,
            suite,
            mode,
            credential: bytes.to_vec(),
            possession,
            opening: opening.to_vec(),
            resumed: false,
        };
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
    /// What stands before the sealed answer: the head of message 4, or the core of message 6.
    opening: Vec<u8>,
    resumed: bool,
}

impl Answering {
    pub(super) fn resumed(schedule: Schedule, suite: Suite, mode: Mode, core: Vec<u8>) -> Self {
        let (credential, possession) = (Vec::new(), None);
        Self { schedule, suite, mode, credential, possession, opening: core, resumed: true }
    }

    /// The suite in use.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Who will protect the frames.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it goes on from an earlier session: then the client's proof was checked in that one.
    pub fn is_resumed(&self) -> bool {
        self.resumed
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
        let finished = self.schedule.finish(Side::Gateway, &self.credential, &message)?;
        Ok((Session::new(self.suite, self.mode, finished), message))
    }

    /// Message 4 as a no.
    pub fn refuse(self, refusal: &Refusal) -> Result<Vec<u8>, HandshakeError> {
        self.seal(&Answer::encode_refused(refusal))
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let sealed = self.schedule.seal(Side::Gateway, &self.opening, plaintext)?;
        Ok([&self.opening[..], &sealed].concat())
    }
}
