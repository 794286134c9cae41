//! What a TLS connection was agreed on, in the words that decisions and records use.

use rustls::{CommonState, NamedGroup, ProtocolVersion};

use crate::access::TlsFacts;

/// The facts of a connection whose handshake is over.
pub(super) fn facts(connection: &CommonState) -> TlsFacts {
    let group = connection.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    TlsFacts {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "unknown",
        },
        group: group.as_ref().and_then(NamedGroup::as_str).unwrap_or("unknown"),
        hybrid: group.is_some_and(is_hybrid),
        suite: suite.and_then(|suite| suite.as_str()).unwrap_or("unknown"),
    }
}

/// Whether a group has a post-quantum half beside a classical one.
fn is_hybrid(group: NamedGroup) -> bool {
    matches!(group, NamedGroup::X25519MLKEM768 | NamedGroup::secp256r1MLKEM768)
}
