//! Where a gateway is, as people type it.

use rustls::pki_types::ServerName;

/// Where the gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayAddress {
    host: String,
    port: u16,
}

impl GatewayAddress {
    /// Reads `host`, `host:port`, `https://host[:port]` or `wss://host[:port]`; the port is 443 unless given.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("wss://")).unwrap_or(text);
        let authority: http::uri::Authority = rest.strip_suffix('/').unwrap_or(rest).parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // What follows the host must be a port: `http` would silently pass over one that is no number.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => 443,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        ServerName::try_from(host.clone()).ok()?;
        Some(Self { host, port })
    }

    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_the_forms_that_people_type() {
        let read = |text| GatewayAddress::parse(text).map(|address| address.to_string());
        assert_eq!(read("localhost:8443").as_deref(), Some("localhost:8443"));
        assert_eq!(read("https://gate.example").as_deref(), Some("gate.example:443"));
        assert_eq!(read("wss://gate.example:1/").as_deref(), Some("gate.example:1"));
        assert_eq!(read("[::1]:8443").as_deref(), Some("[::1]:8443"));
        for bad in ["", "gate:port", "gate:99999", "user@gate", "https://gate/path", "a b", "http://gate"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
