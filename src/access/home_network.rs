//! The network in which a session at the console began, where it is to be good in that network alone.
//!
//! Coarse on purpose, so that a new address of the same provider ends nothing: /24 of IPv4, /48 of IPv6. Whoever takes a cookie to
//! another place has to sign in there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A network of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeNetwork(IpNet);

impl HomeNetwork {
    /// That of an address; an IPv4 address however it is written.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 24 } else { 48 };
        Self(IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc()))
    }

    /// Whether an address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for HomeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HomeNetwork {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_neighbours_and_is_read_back_as_it_was_written() {
        let of = |text: &str| HomeNetwork::of(text.parse().unwrap());
        for (home, written, inside, outside) in [
            ("203.0.113.7", "203.0.113.0/24", "203.0.113.250", "203.0.114.7"),
            ("2001:db8:1:2::3", "2001:db8:1::/48", "2001:db8:1:ffff::1", "2001:db8:2:2::3"),
            ("::ffff:203.0.113.7", "203.0.113.0/24", "::ffff:203.0.113.9", "2001:db8:1::1"),
        ] {
            let network = of(home);
            assert_eq!(network.to_string(), written);
            assert_eq!(written.parse(), Ok(network));
            assert!(
                network.holds(inside.parse().unwrap()) && !network.holds(outside.parse().unwrap()),
                "{home}"
            );
        }
    }
}
