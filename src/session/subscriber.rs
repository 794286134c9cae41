//! Whom an address stands for, wherever somebody without a name has a share of something.
//!
//! One subscriber has a whole /64 of IPv6 and may come from a new address each time: counted by single addresses they would be as
//! many people as they like.

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one address: a whole /64 of IPv6, and an IPv4 address however it is written.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bed;
    use super::*;

    #[tokio::test]
    async fn visitors_without_a_token_are_one_person_by_network() {
        let person = |source| {
            let folder = tempfile::tempdir().unwrap();
            let (live, _) = bed::open(folder.path(), source);
            live.handle().person().into_owned()
        };
        assert_eq!(person("[2001:db8:0:1::1]:1"), person("[2001:db8:0:1:ffff::2]:2"));
        assert_ne!(person("[2001:db8:0:1::1]:1"), person("[2001:db8:0:2::1]:1"));
        assert_ne!(person("192.0.2.1:1"), person("192.0.2.2:1"));
    }

    #[test]
    fn a_network_of_one_subscriber_is_one_and_its_neighbours_are_others() {
        let of = |text: &str| subscriber(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
