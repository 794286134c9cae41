//! TLS handshakes that came to nothing for a reason that somebody should know: recorded, within bounds.
//!
//! What is no TLS at all (scanners, mistyped addresses) is noise and is not recorded. A peer must not fill the ledger by
//! being refused: beyond the bounds its refusals are counted, and the count stands in the next record.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rustls::{CertificateError, Error, PeerIncompatible};
use sallyport_audit::{Draft, Kind, Outcome};

use crate::session::subscriber;

/// Records of one address at once; one more each minute.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Records of all addresses within a second.
const ALL: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Addresses remembered before those that have cooled down are forgotten.
const MANY: usize = 10_000;

/// Counts refusals by address.
pub struct TlsRefusals {
    by_address: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    all: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    withheld: AtomicU64,
}

impl Default for TlsRefusals {
    fn default() -> Self {
        let each = Quota::per_minute(NonZeroU32::MIN).allow_burst(BURST);
        Self {
            by_address: RateLimiter::hashmap(each),
            all: RateLimiter::direct(Quota::per_second(ALL)),
            withheld: AtomicU64::new(0),
        }
    }
}

impl TlsRefusals {
    /// The record of a refusal, if it is one, and if there is room for another of this address.
    pub(super) fn record(&self, peer: SocketAddr, why: &'static str) -> Option<Draft> {
        if self.by_address.len() > MANY {
            self.by_address.retain_recent();
        }
        let room = self.by_address.len() <= MANY
            && self.by_address.check_key(&subscriber(peer.ip())).is_ok()
            && self.all.check().is_ok();
        if !room {
            self.withheld.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let withheld = self.withheld.swap(0, Ordering::Relaxed);
        let draft = Draft::new(Kind::ConnectionRefused, Outcome::Denied)
            .source(peer.to_string())
            .detail("reason", why);
        Some(if withheld == 0 { draft } else { draft.detail("withheld", withheld) })
    }
}

/// Why a handshake failed, as the word of a record; `None` for what is noise.
pub(super) fn reason(error: &io::Error) -> Option<&'static str> {
    word(error.get_ref()?.downcast_ref::<Error>()?)
}

/// The same of TLS's own error.
pub(super) fn word(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::PeerIncompatible(why) => match why {
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::KeyShareExtensionRequired
            | PeerIncompatible::NamedGroupsExtensionRequired => "tls-key-exchange",
            PeerIncompatible::NoCipherSuitesInCommon => "tls-suite",
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired => "tls-version",
            _ => "tls-incompatible",
        },
        Error::NoCertificatesPresented => "client-certificate-missing",
        Error::InvalidCertificate(why) => match why {
            CertificateError::Revoked => "client-certificate-revoked",
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => "client-certificate-expired",
            CertificateError::UnknownIssuer => "client-certificate-unknown-issuer",
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => "client-certificate-no-current-list",
            _ => "client-certificate-invalid",
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_recorded_within_a_bound_for_each_address_and_the_rest_is_counted() {
        let refusals = TlsRefusals::default();
        let peer = |last: u8| SocketAddr::from(([203, 0, 113, last], 1));
        let recorded = (0..100).filter(|_| refusals.record(peer(7), "tls-version").is_some()).count();
        assert!((5..=6).contains(&recorded), "{recorded}");
        let other = refusals.record(peer(8), "tls-version").expect("another address has its own room");
        assert!(format!("{other:?}").contains("withheld"), "{other:?}");
    }

    #[test]
    fn what_is_no_tls_at_all_is_not_recorded() {
        let noise = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(word(&noise), None);
        assert_eq!(
            word(&Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)),
            Some("tls-key-exchange")
        );
        assert_eq!(reason(&io::Error::from(io::ErrorKind::UnexpectedEof)), None);
    }
}
