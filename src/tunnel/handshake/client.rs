//! The client's side, one type per state: hello → presented → awaiting the answer → session.
//!
//! The token leaves only through [`Presented::credential`], which takes a gateway whose signatures have been checked;
//! whether that gateway is the *right* one (pin or organisation's root) the caller asks in between.

use super::DecodeError;
use super::kem::DecapsulationKey;
use super::message::{
    ANSWER, Answer, CREDENTIAL, ClientHello, GatewayHello, RESUMED_HELLO, ResumedHello, header,
};
use super::resume::{BINDER, binder};
use super::schedule::{Schedule, Side, binding_tag, hello_hash, resumed_transcript};
use super::{
    Accepted, Credential, Enrolled, Exporter, HandshakeError, IdentityCertificate, Mode, Refusal, Secret,
    Session, Suite, Ticket, ToSign, Wishes,
};

/// A client that has sent its hello.
pub struct ClientHandshake {
    key: DecapsulationKey,
    suites: Vec<Suite>,
    exporter: Option<Exporter>,
    hello: Vec<u8>,
    ticket: Option<Ticket>,
}

/// What came of the hello.
pub enum Welcome {
    /// The gateway shows who it is: the whole handshake goes on.
    Presented(Presented),
    /// The gateway knew the client again, and says yes.
    Resumed(Accepted, Session),
}

impl ClientHandshake {
    /// Begins: `key` and `nonce` are fresh randomness, `exporter` that of this TLS connection if there is one. Returns
    /// message 1 too.
    pub fn start(
        key: DecapsulationKey,
        nonce: [u8; 32],
        exporter: Option<Exporter>,
        suites: &[Suite],
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        Self::resume(key, nonce, exporter, suites, None)
    }

    /// The same, with the ticket of an earlier session, which the gateway takes or passes over.
    pub fn resume(
        key: DecapsulationKey,
        nonce: [u8; 32],
        exporter: Option<Exporter>,
        suites: &[Suite],
        ticket: Option<Ticket>,
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        let ticket = ticket.filter(|ticket| suites.contains(&ticket.suite));
        let mut hello = ClientHello {
            suites: suites.iter().map(|suite| suite.number()).collect(),
            key: Box::new(*key.public()),
            nonce,
            binding: exporter.as_ref().map(binding_tag),
            resume: ticket.as_ref().map(|ticket| (ticket.id, [0; BINDER])),
        };
        if let Some(ticket) = &ticket {
            let unbound = hello.encode_unbound()?;
            hello.resume = Some((ticket.id, binder(&ticket.secret, &unbound)?));
        }
        let hello = hello.encode()?;
        Ok((Self { key, suites: suites.to_vec(), exporter, hello: hello.clone(), ticket }, hello))
    }

    /// For tests: a client that has sent `hello`, whatever its key.
    #[cfg(test)]
    pub(crate) fn with_hello(
        key: DecapsulationKey,
        hello: Vec<u8>,
        exporter: Option<Exporter>,
        suites: &[Suite],
    ) -> Self {
        Self { key, suites: suites.to_vec(), exporter, hello, ticket: None }
    }

    /// For tests: the same client, had it sent `hello`.
    #[cfg(test)]
    pub(crate) fn having_sent(self, hello: Vec<u8>) -> Self {
        Self { hello, ..self }
    }

    /// Takes whatever answers the hello.
    pub fn receive(self, bytes: &[u8]) -> Result<Welcome, HandshakeError> {
        if bytes.first() == Some(&RESUMED_HELLO) {
            return self
                .receive_resumed(bytes)
                .map(|(accepted, session)| Welcome::Resumed(accepted, session));
        }
        self.receive_gateway_hello(bytes).map(Welcome::Presented)
    }

    /// Takes message 6: nobody but a holder of the ticket's secret can have sealed it.
    fn receive_resumed(self, bytes: &[u8]) -> Result<(Accepted, Session), HandshakeError> {
        let (hello, core, sealed) = ResumedHello::decode(bytes)?;
        let unopenable = HandshakeError::Unopenable { message: "ResumedHello" };
        let Some(ticket) = self.ticket else { return Err(unopenable) };
        if hello.suite != ticket.suite.number() {
            return Err(HandshakeError::SuiteNotOffered { number: hello.suite });
        }
        let exporter = match hello.mode {
            Mode::Bound => Some(self.exporter.as_ref().ok_or(HandshakeError::FalseBinding)?),
            Mode::Sealed => None,
        };
        let secret = self.key.decapsulate(&hello.ciphertext)?;
        let transcript = resumed_transcript(&self.hello, core, exporter);
        let schedule = Schedule::resumed(ticket.suite, &secret, &ticket.secret, transcript);
        let plaintext = schedule.open(Side::Gateway, core, sealed)?.ok_or(unopenable)?;
        match Answer::decode(&plaintext)? {
            Answer::Accepted(accepted) => {
                let finished = schedule.finish(Side::Client, &[], bytes)?;
                Ok((accepted, Session::new(ticket.suite, hello.mode, finished)))
            }
            Answer::Refused(refusal) => Err(HandshakeError::Refused(refusal)),
            Answer::Enrolled(_) => Err(misplaced()),
        }
    }

    /// Takes message 2 and checks it: suite, mode, both signatures.
    pub fn receive_gateway_hello(self, bytes: &[u8]) -> Result<Presented, HandshakeError> {
        if let Some(refusal) = Refusal::decode_in_clear(bytes) {
            return Err(HandshakeError::RefusedInClear(refusal?));
        }
        let (hello, core, signatures) = GatewayHello::decode(bytes)?;
        let suite = Suite::from_number(hello.suite)
            .filter(|suite| self.suites.contains(suite))
            .ok_or(HandshakeError::SuiteNotOffered { number: hello.suite })?;
        let exporter = match hello.mode {
            Mode::Bound => Some(self.exporter.as_ref().ok_or(HandshakeError::FalseBinding)?),
            Mode::Sealed => None,
        };
        let hash = hello_hash(&self.hello, core, exporter);
        hello.certificate.check(&ToSign::new(hash), &signatures)?;
        let secret = self.key.decapsulate(&hello.ciphertext)?;
        let schedule = Schedule::new(suite, &secret, &hash, &signatures);
        Ok(Presented { schedule, suite, mode: hello.mode, certificate: hello.certificate })
    }
}

/// A gateway has shown its identity and proved that it holds the keys.
pub struct Presented {
    schedule: Schedule,
    suite: Suite,
    mode: Mode,
    certificate: IdentityCertificate,
}

impl Presented {
    /// Who it is, to be checked against the organisation's root or the pin before [`Self::credential`].
    pub fn certificate(&self) -> &IdentityCertificate {
        &self.certificate
    }

    /// The suite that the gateway chose.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Who will protect the frames.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// For tests: message 3 with a plaintext of the tester's own, as a client that knows the keys can make it.
    #[cfg(test)]
    pub(crate) fn with_plaintext(self, plaintext: &[u8]) -> Vec<u8> {
        let header = header(CREDENTIAL);
        [&header[..], &self.schedule.seal(Side::Client, &header, plaintext).unwrap()].concat()
    }

    /// Message 3: who the client is and what it wants, sealed for this gateway and this handshake.
    pub fn credential(
        self,
        secret: &Secret,
        wishes: &Wishes,
    ) -> Result<(AwaitingAnswer, Vec<u8>), HandshakeError> {
        let header = header(CREDENTIAL);
        let mut plaintext = Credential::encode_core(&secret.proof(), wishes)?;
        if let Some(key) = secret.key() {
            let signatures = key.sign(&ToSign::by_device(self.schedule.client_hash(&plaintext)))?;
            Credential::append_signatures(&mut plaintext, &signatures);
        }
        let sealed = self.schedule.seal(Side::Client, &header, &plaintext)?;
        let message = [&header[..], &sealed].concat();
        let Self { schedule, suite, mode, .. } = self;
        Ok((AwaitingAnswer { schedule, suite, mode, credential: message.clone() }, message))
    }
}

/// A client that has sent its credential.
pub struct AwaitingAnswer {
    schedule: Schedule,
    suite: Suite,
    mode: Mode,
    credential: Vec<u8>,
}

impl AwaitingAnswer {
    /// Takes message 4: the session, or [`HandshakeError::Refused`].
    pub fn receive_answer(self, bytes: &[u8]) -> Result<(Accepted, Session), HandshakeError> {
        let accepted = match self.open(bytes)? {
            Answer::Accepted(accepted) => accepted,
            Answer::Refused(refusal) => return Err(HandshakeError::Refused(refusal)),
            Answer::Enrolled(_) => return Err(misplaced()),
        };
        let finished = self.schedule.finish(Side::Client, &self.credential, bytes)?;
        Ok((accepted, Session::new(self.suite, self.mode, finished)))
    }

    /// Takes message 4 of an enrollment.
    pub fn receive_enrolled(self, bytes: &[u8]) -> Result<Enrolled, HandshakeError> {
        match self.open(bytes)? {
            Answer::Enrolled(enrolled) => Ok(enrolled),
            Answer::Refused(refusal) => Err(HandshakeError::Refused(refusal)),
            Answer::Accepted(_) => Err(misplaced()),
        }
    }

    fn open(&self, bytes: &[u8]) -> Result<Answer, HandshakeError> {
        // A gateway that could not open or read the credential has no common key to say so under.
        if let Some(refusal) = Refusal::decode_in_clear(bytes) {
            return Err(HandshakeError::RefusedInClear(refusal?));
        }
        let header = header(ANSWER);
        let unopenable = HandshakeError::Unopenable { message: "Answer" };
        let Some(sealed) = bytes.strip_prefix(&header) else { return Err(unopenable) };
        let plaintext = self.schedule.open(Side::Gateway, &header, sealed)?.ok_or(unopenable)?;
        Answer::decode(&plaintext)
    }
}

/// An answer to something that was not asked.
fn misplaced() -> HandshakeError {
    HandshakeError::malformed("Answer")(DecodeError::BadValue { field: "answer" })
}
