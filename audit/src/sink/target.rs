//! Where a sink sends to: a syslog receiver, a file, or a receiver that speaks HTTP.

use std::{fmt, path::PathBuf, time::Duration};

use http::Uri;

use super::{
    format::Shape,
    options::{Address, NotAllowed, TlsOptions, Transport},
};

/// One receiver and the way to it.
#[derive(Clone, Debug)]
pub enum Target {
    /// Syslog.
    Syslog {
        /// Host and port.
        address: Address,
        /// TLS, TCP or UDP.
        transport: Transport,
    },
    /// A file, one record a line.
    File(FileTarget),
    /// A receiver that speaks HTTP.
    Http(HttpTarget),
}

/// A file that is put aside when it is full.
#[derive(Clone, Debug)]
pub struct FileTarget {
    /// The file; `.1` is the one before it, and so on.
    pub path: PathBuf,
    /// It is put aside before it would exceed this; default 100 MiB.
    pub max_bytes: u64,
    /// How many are kept beside it; default 9.
    pub keep: u32,
}

/// A receiver that speaks HTTP/1.1 and answers each request.
#[derive(Clone, Debug)]
pub struct HttpTarget {
    /// Where requests go.
    pub url: HttpUrl,
    /// Who may have issued its certificate, and who we are; for `https`.
    pub tls: Option<TlsOptions>,
    /// What it expects and answers.
    pub protocol: Protocol,
    /// A file with what proves who we are: a token (Splunk, OTLP, webhook's secret), or an API key or `user:password`
    /// (Elastic). Read at each request, so that replacing it is enough.
    pub credential: Option<PathBuf>,
    /// Most records of one request; default 500.
    pub batch_records: usize,
    /// Most octets of one request, but for a single record that is larger; default 1 MiB.
    pub batch_bytes: usize,
}

impl HttpTarget {
    /// With the defaults named at the fields.
    pub fn new(url: HttpUrl, protocol: Protocol) -> Self {
        Self { url, protocol, tls: None, credential: None, batch_records: 500, batch_bytes: 1 << 20 }
    }
}

/// The protocols over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Splunk's HTTP event collector.
    SplunkHec {
        /// Whether the token has indexer acknowledgement on: then a record counts only when it is indexed.
        acknowledge: Option<Duration>,
        /// The index, if not the token's default.
        index: Option<String>,
    },
    /// Elasticsearch's and `OpenSearch`'s `_bulk`.
    ElasticBulk {
        /// Index, alias or data stream.
        index: String,
    },
    /// OTLP logs, as JSON.
    OtlpHttp,
    /// Newline-delimited JSON, signed as Standard Webhooks are, by [`super::SinkOptions::signer`], or both.
    Webhook,
}

impl Target {
    /// The setting's word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Syslog { transport, .. } => transport.as_str(),
            Self::File(_) => "file",
            Self::Http(target) => match target.protocol {
                Protocol::SplunkHec { .. } => "splunk-hec",
                Protocol::ElasticBulk { .. } => "elastic-bulk",
                Protocol::OtlpHttp => "otlp-http",
                Protocol::Webhook => "webhook",
            },
        }
    }

    /// Host that is talked to; none for a file.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Syslog { address, .. } => Some(address.host()),
            Self::Http(target) => Some(target.url.address.host()),
            Self::File(_) => None,
        }
    }

    /// What it means that a record was delivered: the strongest word that the receiver can give.
    pub fn assurance(&self) -> Assurance {
        match self {
            Self::Syslog { transport: Transport::Udp, .. } => Assurance::Nothing,
            Self::Syslog { .. } => Assurance::Written,
            Self::File(_) => Assurance::Durable,
            Self::Http(target) => match target.protocol {
                Protocol::SplunkHec { acknowledge: Some(_), .. } | Protocol::ElasticBulk { .. } => {
                    Assurance::Indexed
                }
                _ => Assurance::Received,
            },
        }
    }

    pub(super) fn usual_shape(&self) -> Shape {
        match self {
            Self::Syslog { .. } => Shape::Record,
            Self::Http(HttpTarget { protocol: Protocol::ElasticBulk { .. }, .. }) => Shape::Ecs,
            Self::Http(_) | Self::File(_) => Shape::Json,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syslog { address, .. } => address.fmt(f),
            Self::File(target) => target.path.display().fmt(f),
            Self::Http(target) => target.url.fmt(f),
        }
    }
}

/// What is known of a record that counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// It was sent. UDP says no more.
    Nothing,
    /// The receiver's kernel took it, and the connection stayed whole for a while.
    Written,
    /// The receiver said that it has it.
    Received,
    /// The receiver said that it is in its index.
    Indexed,
    /// It is on this host's disk.
    Durable,
}

impl Assurance {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Written => "written",
            Self::Received => "received",
            Self::Indexed => "indexed",
            Self::Durable => "durable",
        }
    }
}

/// `https://host:port/path`, or `http://` on the loopback interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub(super) tls: bool,
    pub(super) address: Address,
    pub(super) authority: String,
    /// Without a slash at its end.
    pub(super) path: String,
}

impl HttpUrl {
    /// Reads an address. `http` is for this host alone: credentials and personal values would be read on the way.
    pub fn parse(text: &str) -> Result<Self, NotAllowed> {
        let refused = |wanted| NotAllowed { given: text.to_owned(), wanted };
        let form = || refused("an address such as https://siem.example:8088");
        let uri: Uri = text.parse().map_err(|_| form())?;
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(refused("an address without a name before the host and without a question mark"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") if loopback => (false, 80),
            Some("http") => return Err(refused("an address with https (http is for this host alone)")),
            _ => return Err(form()),
        };
        let port = authority.port_u16().unwrap_or(port);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Self {
            tls,
            address: Address::parse(&format!("{bracketed}:{port}"))?,
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Whether TLS protects the way.
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_this_host() {
        for good in [
            "https://siem.example:8088",
            "https://siem.example/in",
            "http://127.0.0.1:9200",
            "http://[::1]:1",
        ] {
            assert_eq!(HttpUrl::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(HttpUrl::parse("https://siem.example/").unwrap().address.port(), 443);
        for bad in [
            "siem.example",
            "http://siem.example",
            "https://me:pw@siem.example",
            "https://siem.example/?token=x",
            "ftp://a",
            "",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
