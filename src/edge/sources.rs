//! From which networks a tunnel may be visited: the operator's rule, asked before anybody is.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks that may, and networks that may not.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Whoever comes from elsewhere may not; empty is everywhere.
    pub allow: Vec<IpNet>,
    /// Whoever comes from here may not, whatever stands in the other list.
    pub deny: Vec<IpNet>,
}

impl Sources {
    /// Whether somebody at `address` may come in.
    pub(super) fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !holds(&self.deny) && (self.allow.is_empty() || holds(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allow: &[&str], deny: &[&str], address: &str) -> bool {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Sources { allow: networks(allow), deny: networks(deny) }.admit(address.parse().unwrap())
    }

    #[test]
    fn whoever_is_denied_stays_out_whatever_is_allowed() {
        assert!(admits(&[], &[], "203.0.113.7"));
        assert!(admits(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.2.0.1"));
        assert!(!admits(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.0.1"));
        assert!(!admits(&["10.0.0.0/8"], &[], "203.0.113.7"));
        assert!(admits(&[], &["10.0.0.0/8"], "203.0.113.7"));
    }

    #[test]
    fn an_address_is_the_same_however_the_socket_writes_it() {
        assert!(!admits(&[], &["10.0.0.0/8"], "::ffff:10.0.0.1"));
        assert!(admits(&["10.0.0.0/8"], &[], "::ffff:10.0.0.1"));
        assert!(!admits(&["10.0.0.0/8"], &[], "2001:db8::1"));
    }
}
