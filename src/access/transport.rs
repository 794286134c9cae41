//! How what somebody sends is protected on its way here, as far as the gateway sees it: circumstances of a decision, and
//! what the records of sessions and tunnels are counted by.
//!
//! Words and not the TLS library's types: access decides about them and doesn't speak TLS. A connection that came through an
//! ingress is described as the gateway sees it, which is the way from the ingress alone.

use sallyport_audit::Draft;
use serde::Serialize;

/// What a TLS connection was agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFacts {
    /// `1.3` or `1.2`.
    pub version: &'static str,
    /// The key exchange, by its registered name: `X25519MLKEM768`, `X25519`, …
    pub group: &'static str,
    /// Whether the key exchange is a hybrid one, with a post-quantum half.
    pub hybrid: bool,
    /// The cipher suite, by its registered name.
    pub suite: &'static str,
}

/// What a tunnel's own handshake was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TunnelFacts {
    /// The suite's name.
    pub suite: &'static str,
    /// Whether a quantum computer alone can't break what it protects: its suite is hybrid, and its frames are sealed by that or
    /// travel in TLS with a hybrid key exchange.
    pub post_quantum: bool,
    /// Whether frames are sealed end to end, because the tunnel isn't bound to one TLS connection.
    pub sealed: bool,
}

impl TlsFacts {
    /// Notes the visitor's side in a record: `tls` is what a report counts by, also where there is none.
    pub fn note(facts: Option<&Self>, draft: Draft) -> Draft {
        match facts {
            None => draft.detail("tls_version", "none").detail("tls_hybrid", false),
            Some(facts) => draft
                .detail("tls_version", facts.version)
                .detail("tls_group", facts.group)
                .detail("tls_suite", facts.suite)
                .detail("tls_hybrid", facts.hybrid),
        }
    }
}

impl TunnelFacts {
    /// A tunnel of this suite. `tls` is the publisher's connection, which alone protects the frames unless they are `sealed`.
    pub fn new((suite, hybrid): (&'static str, bool), sealed: bool, tls: Option<&TlsFacts>) -> Self {
        let post_quantum = hybrid && (sealed || tls.is_some_and(|tls| tls.hybrid));
        Self { suite, post_quantum, sealed }
    }

    /// Notes the publisher's side in a record.
    pub fn note(self, draft: Draft) -> Draft {
        draft
            .detail("tunnel_suite", self.suite)
            .detail("tunnel_post_quantum", self.post_quantum)
            .detail("tunnel_sealed", self.sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_that_is_bound_to_classical_tls_is_not_post_quantum_whatever_its_suite() {
        let tls = |hybrid| TlsFacts { version: "1.3", group: "", hybrid, suite: "" };
        let tunnel = |sealed, tls: Option<TlsFacts>| {
            TunnelFacts::new(("x25519-mlkem768/ed25519-mldsa65/aes256gcm", true), sealed, tls.as_ref())
        };
        assert!(tunnel(false, Some(tls(true))).post_quantum);
        assert!(!tunnel(false, Some(tls(false))).post_quantum);
        assert!(!tunnel(false, None).post_quantum);
        assert!(
            tunnel(true, Some(tls(false))).post_quantum,
            "sealed end to end, the TLS outside matters no more"
        );
    }
}
