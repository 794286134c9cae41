//! Tells a local app whose connection it gets, by a PROXY header before the visitor's first byte.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proxy_header::{ProxiedAddress, ProxyHeader};

use crate::tunnel::Ends;

/// Version of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// The header of a visitor; of one that the gateway said nothing of, it says that nothing is known.
    pub(super) fn header(self, ends: Option<Ends>) -> io::Result<Vec<u8>> {
        let header = match ends {
            Some(ends) => {
                let (source, destination) = of_one_family(ends);
                ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
            }
            None => ProxyHeader::with_local(),
        };
        let mut bytes = Vec::new();
        match self {
            Self::V1 => header.encode_v1(&mut bytes),
            Self::V2 => header.encode_v2(&mut bytes),
        }
        .map_err(io::Error::other)?;
        Ok(bytes)
    }
}

/// A header has room for addresses of one family.
fn of_one_family(Ends { visitor, reached }: Ends) -> (SocketAddr, SocketAddr) {
    let unknown = || match visitor {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
    };
    let reached = reached.unwrap_or_else(unknown);
    if visitor.is_ipv4() == reached.is_ipv4() {
        return (visitor, reached);
    }
    let wide = |address: SocketAddr| {
        let ip: Ipv6Addr = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        SocketAddr::new(ip.into(), address.port())
    };
    (wide(visitor), wide(reached))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(visitor: &str, reached: Option<&str>) -> String {
        let ends = Ends {
            visitor: visitor.parse().unwrap(),
            reached: reached.map(|reached| reached.parse().unwrap()),
        };
        String::from_utf8(ProxyVersion::V1.header(Some(ends)).unwrap()).unwrap()
    }

    #[test]
    fn the_app_is_told_both_ends_in_one_family() {
        assert_eq!(
            line("203.0.113.7:1234", Some("198.51.100.1:443")),
            "PROXY TCP4 203.0.113.7 198.51.100.1 1234 443\r\n"
        );
        assert_eq!(line("203.0.113.7:1234", None), "PROXY TCP4 203.0.113.7 0.0.0.0 1234 0\r\n");
        assert_eq!(
            line("203.0.113.7:1234", Some("[2001:db8::1]:443")),
            "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1234 443\r\n"
        );
    }

    #[test]
    fn of_a_visitor_that_nobody_knows_it_is_told_so() {
        assert_eq!(ProxyVersion::V1.header(None).unwrap(), b"PROXY UNKNOWN\r\n");
    }
}
