//! Where the local app listens, and what it speaks there.

use http::uri::Authority;
use rustls::pki_types::{InvalidDnsNameError, ServerName};

use super::visitor_header::ProxyVersion;

/// What the local app speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1 in clear; also for TCP services, which speak what they like.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 in clear, begun without asking (prior knowledge), as gRPC servers do.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl AppProtocol {
    /// As in the address of a target.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
        }
    }

    /// Whether TLS is between publisher and app.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// Whether it is HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
}

/// Where the local app listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) protocol: AppProtocol,
    pub(super) authority: Authority,
    pub(super) proxy: Option<ProxyVersion>,
}

impl Target {
    /// Reads `3000` (on localhost), `host:3000`, `127.0.0.1:3000` or `[::1]:3000`, each with `http://`, `https://`, `h2c://` or
    /// `h2://` before it, or nothing, which is `http://`.
    pub fn parse(text: &str) -> Option<Self> {
        let known = [AppProtocol::Http, AppProtocol::Https, AppProtocol::H2c, AppProtocol::H2];
        let (protocol, rest) = match text.split_once("://") {
            None => (AppProtocol::Http, text),
            Some((scheme, rest)) => (known.into_iter().find(|one| one.scheme() == scheme)?, rest),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let text = if rest.parse::<u16>().is_ok() { format!("localhost:{rest}") } else { rest.to_owned() };
        let authority: Authority = text.parse().ok()?;
        let usable = authority.port_u16().is_some_and(|port| port != 0) && !authority.as_str().contains('@');
        usable.then_some(Self { protocol, authority, proxy: None })
    }

    /// The same, told of each visitor's address by a PROXY header before the visitor's bytes. For byte streams.
    #[must_use]
    pub fn told_by(self, proxy: Option<ProxyVersion>) -> Self {
        Self { proxy, ..self }
    }

    /// The name that an app's certificate must be for.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, InvalidDnsNameError> {
        ServerName::try_from(self.authority.host().trim_matches(['[', ']']).to_owned())
    }

    /// What the app speaks.
    pub fn protocol(&self) -> AppProtocol {
        self.protocol
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            AppProtocol::Http => f.write_str(self.authority.as_str()),
            other => write!(f, "{}://{}", other.scheme(), self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_port_or_a_host_with_a_port() {
        let read = |text| Target::parse(text).map(|target| target.to_string());
        assert_eq!(read("3000").as_deref(), Some("localhost:3000"));
        assert_eq!(read("127.0.0.1:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(read("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(read("http://host:1").as_deref(), Some("host:1"));
        assert_eq!(read("https://host:1/").as_deref(), Some("https://host:1"));
        assert_eq!(read("h2c://50051").as_deref(), Some("h2c://localhost:50051"));
        for bad in
            ["", "0", "70000", "host", "host:0", "ftp://host:1", "http://host:1/path", "a@b:1", "h2c://"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
