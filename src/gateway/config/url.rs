//! Addresses of servers that the gateway asks.

use http::Uri;

/// The address of a server that the gateway asks: HTTPS, or HTTP on the loopback interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether the way is protected.
    pub tls: bool,
    /// Host, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `Host` header.
    pub authority: String,
    /// Path, without a slash at its end.
    pub path: String,
}

impl ServerUrl {
    /// Reads an address such as `https://host.example.net/path`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not an address such as https://host.example.net");
        let uri: Uri = text.parse().map_err(|_| form())?;
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(format!("`{text}` must hold neither a name before the host nor a question"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            // Whoever is on the way could speak in the server's name: a witness that has seen more than there is keeps us
            // from starting, an archive that has what it has not lets records go.
            Some("http") if loopback => (false, 80),
            Some("http") => return Err(format!("`{text}`: http is for this host alone; write https")),
            _ => return Err(form()),
        };
        Ok(Self {
            tls,
            host,
            port: authority.port_u16().unwrap_or(port),
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_this_host() {
        let url = ServerUrl::parse("https://witness.example.net").unwrap();
        assert_eq!((url.tls, url.port, url.path.as_str()), (true, 443, ""));
        let url = ServerUrl::parse("http://[::1]:8080/w1/").unwrap();
        assert_eq!((url.tls, url.host.as_str(), url.port), (false, "::1", 8080));
        assert_eq!((url.path.as_str(), url.authority.as_str()), ("/w1", "[::1]:8080"));
        for bad in [
            "witness.example.net",
            "http://witness.example.net",
            "https://me@witness.example.net",
            "https://witness.example.net/?x=1",
            "ftp://witness.example.net",
            "https:///x",
            "",
        ] {
            assert!(ServerUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
