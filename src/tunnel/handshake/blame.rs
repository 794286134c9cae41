//! Whose doing a failed handshake is, as far as the gateway can tell: only what somebody forged tells against an address.

use super::HandshakeError;

/// Whose doing it is that there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The peer's: what it sent is not what who it claims to be would have sent.
    Peer,
    /// Nobody's, provably: the peer left, was cut off, was too slow, or is too old.
    Nobody,
    /// This end's own.
    Own,
}

impl HandshakeError {
    /// Whose doing it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. }
            | Self::FalseBinding
            | Self::KeyExchange(_)
            | Self::WrongSignature(_)
            | Self::WrongDeviceSignature(_)
            | Self::Certificate(_)
            | Self::Unopenable { .. } => Blame::Peer,
            Self::UnsupportedVersion { .. }
            | Self::NoCommonSuite { .. }
            | Self::SuiteNotOffered { .. }
            | Self::Refused(_)
            | Self::RefusedInClear(_)
            | Self::Timeout { .. }
            | Self::Socket(_)
            | Self::NoRoom
            | Self::Mux(_) => Blame::Nobody,
            Self::Signing(_) | Self::Library(_) => Blame::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SignatureAlgorithm, SigningFailed};
    use super::*;

    #[test]
    fn a_forger_is_told_from_a_broken_network_and_both_from_keys_that_do_not_sign() {
        let forged = [
            HandshakeError::WrongDeviceSignature(SignatureAlgorithm::Ed25519),
            HandshakeError::Unopenable { message: "Credential" },
        ];
        assert!(forged.iter().all(|error| error.blame() == Blame::Peer));
        let broken = [
            HandshakeError::Timeout { message: "Credential", seconds: 10 },
            HandshakeError::Socket(std::io::ErrorKind::UnexpectedEof.into()),
        ];
        assert!(broken.iter().all(|error| error.blame() == Blame::Nobody));
        let own = [
            HandshakeError::Signing(SigningFailed("the token was removed".into())),
            HandshakeError::Library("making a nonce"),
        ];
        assert!(own.iter().all(|error| error.blame() == Blame::Own));
    }
}
