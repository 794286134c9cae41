//! Load balancers in front, which tell by a PROXY header for whom they speak.
//!
//! Promised: only an address that the configuration names is believed, and it must tell: with such a front and no header,
//! every visitor would be the front. Whoever else sends one is refused. From here on the visitor's address is the one that
//! was told, everywhere: limits, policy, records, headers, the app.
//! Trusted: the fronts. Not trusted: everybody else, and that a front's header is well-formed, short and in time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tracing::debug;

use super::Edge;
use super::arrival::Arrival;
use super::first_bytes::{Speaks, told};
use super::listener::{not_agreed, refused};
use super::seats::{Full, Seat};

/// Longest header: addresses, and what fronts say of a visitor's TLS and certificate.
const LONGEST: usize = 4096;

/// Fronts that are believed; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Fronts(Arc<[IpNet]>);

impl Fronts {
    /// Those with an address in one of `networks`.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Whence {
    /// The visitor.
    pub peer: SocketAddr,
    /// Where the visitor reached us, or the front.
    pub reached: Option<SocketAddr>,
    /// The front that told so.
    pub front: Option<IpAddr>,
}

impl From<SocketAddr> for Whence {
    fn from(peer: SocketAddr) -> Self {
        Self { peer, reached: None, front: None }
    }
}

/// Why a front's connection leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It went before it said anything, as one does that only looks whether we are there.
    Gone,
    /// Another protocol came, or nothing in time.
    Missing,
    /// No header that can be read.
    Malformed,
}

/// A seat for a connection from `peer`; a front's is not counted by its own address, for it is many visitors.
pub(super) fn seat(edge: &Edge, peer: SocketAddr) -> Result<Seat, Full> {
    if edge.fronts.trusts(peer.ip()) { edge.seats.take_for_front() } else { edge.seats.take(peer.ip()) }
}

/// Learns who the visitor is: the peer itself, or whom a front names. `None`: it was refused, and that was recorded.
pub(super) async fn introduce(
    edge: &Edge,
    arrival: &mut Arrival,
    peer: SocketAddr,
    seat: Seat,
) -> Option<(Whence, Seat)> {
    let reached = arrival.local_addr();
    if !edge.fronts.trusts(peer.ip()) {
        return Some((Whence { peer, reached, front: None }, seat));
    }
    let named = tokio::time::timeout(edge.bounds.tls_handshake, header(arrival)).await;
    let why = match named.unwrap_or(Err(Fault::Missing)) {
        Ok(Some((visitor, reached))) => {
            let whence = Whence { peer: visitor, reached: Some(reached), front: Some(peer.ip()) };
            return match seat.of(visitor.ip()) {
                Ok(seat) => Some((whence, seat)),
                Err(full) => {
                    if full.first {
                        refused(edge.clone(), visitor).await;
                    }
                    None
                }
            };
        }
        // The front speaks for itself, as in its health checks.
        Ok(None) => return Some((Whence { peer, reached, front: Some(peer.ip()) }, seat)),
        Err(Fault::Gone) => return None,
        Err(Fault::Missing) => "proxy-header-missing",
        Err(Fault::Malformed) => "proxy-header-malformed",
    };
    debug!(%peer, why, "a front was refused");
    not_agreed(edge, peer, Some(why)).await;
    None
}

/// Takes the header off the front of what comes: the visitor's address, and the one that it reached.
async fn header(arrival: &mut Arrival) -> Result<Option<(SocketAddr, SocketAddr)>, Fault> {
    loop {
        match read(arrival.head())? {
            Some((named, length)) => {
                arrival.forget(length);
                return Ok(named);
            }
            None => {
                let begun = !arrival.head().is_empty();
                arrival
                    .more(LONGEST)
                    .await
                    .map_err(|_| if begun { Fault::Malformed } else { Fault::Gone })?;
            }
        }
    }
}

type Named = Option<(SocketAddr, SocketAddr)>;

/// The header at the beginning of `head`, and its length. `None`: it is not complete.
fn read(head: &[u8]) -> Result<Option<(Named, usize)>, Fault> {
    match told(head) {
        None => return Ok(None),
        Some(Speaks::Proxy) => {}
        Some(_) => return Err(Fault::Missing),
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(head, config) {
        Ok((header, length)) => match header.proxied_address() {
            Some(address) if address.protocol == Protocol::Stream => {
                let plain =
                    |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
                Ok(Some((Some((plain(address.source), plain(address.destination))), length)))
            }
            Some(_) => Err(Fault::Malformed),
            None => Ok(Some((None, length))),
        },
        Err(proxy_header::Error::BufferTooShort) => Ok(None),
        Err(_) => Err(Fault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proxy_header::ProxiedAddress;

    fn visitor() -> (SocketAddr, SocketAddr) {
        ("203.0.113.7:1234".parse().unwrap(), "198.51.100.1:443".parse().unwrap())
    }

    fn both_versions(header: &ProxyHeader<'_>) -> [Vec<u8>; 2] {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        header.encode_v1(&mut first).unwrap();
        header.encode_v2(&mut second).unwrap();
        [first, second]
    }

    #[test]
    fn a_header_names_the_visitor_and_what_follows_is_the_visitors() {
        let (source, reached) = visitor();
        for bytes in both_versions(&ProxyHeader::with_address(ProxiedAddress::stream(source, reached))) {
            let length = bytes.len();
            let all = [bytes, b"\x16\x03\x01".to_vec()].concat();
            assert_eq!(read(&all), Ok(Some((Some((source, reached)), length))));
            for cut in 0..length {
                assert_eq!(read(all.get(..cut).unwrap()), Ok(None), "{cut} bytes");
            }
        }
    }

    #[test]
    fn a_front_that_speaks_for_itself_names_nobody() {
        for bytes in both_versions(&ProxyHeader::with_local()) {
            assert_eq!(read(&bytes), Ok(Some((None, bytes.len()))));
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_that_policy_and_limits_know() {
        let mapped = "[::ffff:203.0.113.7]:1234".parse().unwrap();
        let header = ProxyHeader::with_address(ProxiedAddress::stream(mapped, "[::1]:443".parse().unwrap()));
        for bytes in both_versions(&header) {
            let (named, _) = read(&bytes).unwrap().unwrap();
            assert_eq!(named.unwrap().0, visitor().0);
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_one_that_is_broken() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Err(Fault::Missing));
        assert_eq!(read(b"\x16\x03\x01"), Err(Fault::Missing));
        assert_eq!(read(b"PROXY TCP4 1.2.3.4 nowhere 1 2\r\n"), Err(Fault::Malformed));
        assert_eq!(read(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()), Err(Fault::Malformed));
        let (source, reached) = visitor();
        let mut datagram = Vec::new();
        let header = ProxyHeader::with_address(ProxiedAddress::datagram(source, reached));
        header.encode_v2(&mut datagram).unwrap();
        assert_eq!(read(&datagram), Err(Fault::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_claim_more_than_there_is(
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n"]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &rest].concat();
            if let Ok(Some((_, length))) = read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
