//! What a sink must be told, as types that cannot be wrong.
//!
//! Defaults are for a production receiver: TLS would be chosen by the operator, who has to name the root; TCP in the
//! clear is for a receiver on the same host or behind a tunnel of its own.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{format::Shape, link::RequestSigner, target::Target};
use crate::filter::Filter;

/// Everything about one sink but the ledger it reads.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The sink's name: in records, status, messages, and the name of its cursor file.
    pub name: SinkName,
    /// Where records go, and how.
    pub target: Target,
    /// What a record looks like there; default [`Shape::Record`] for syslog, [`Shape::Json`] for all else.
    pub shape: Shape,
    /// Which records go; default all.
    pub filter: Filter,
    /// Syslog facility; default 13, "log audit".
    pub facility: Facility,
    /// Private enterprise number for the structured data's ids; default [`EXAMPLE_ENTERPRISE`].
    pub enterprise: u32,
    /// Whether readable personal values are sent; default [`PersonalView::Values`].
    pub personal: PersonalView,
    /// PROCID of the messages: the gateway's process id.
    pub process: Option<u32>,
    /// Most octets of one message; a larger one is replaced by a pointer and recorded. At least
    /// [`LEAST_MAX_MESSAGE`], default 262,144; over UDP never more than [`MOST_DATAGRAM`].
    pub max_message: usize,
    /// For name lookup, TCP connect and TLS handshake together; default 10 s.
    pub connect_timeout: Duration,
    /// How long the receiver may take nothing, acknowledge nothing (TCP) or answer nothing (HTTP), before it is given
    /// up; default 15 s.
    pub write_timeout: Duration,
    /// How long a connection must stay healthy after the receiver's host has acknowledged what was written, before that counts
    /// as received, where nothing is answered (syslog): as long as the receiver may hold a record in memory alone; default
    /// 5 s, and never below [`LEAST_SETTLE`]. What is later than that is sent again when the connection is lost.
    pub settle: Duration,
    /// First pause before trying again; default 0.5 s.
    pub retry_least: Duration,
    /// Longest pause before trying again; default 30 s.
    pub retry_most: Duration,
    /// How often what has been delivered is written into the ledger, if there was anything; default 5 min.
    pub receipts: Duration,
    /// A record that waits for longer than this is an alarm, and recorded: set it below the age at which the receiver
    /// refuses records. Default 1 h.
    pub late_after: Duration,
    /// Directory of the cursor file; must exist.
    pub cursor_directory: PathBuf,
    /// Signs each request of a webhook, beside the secret that it may share with its receiver; default none.
    pub signer: Option<Arc<dyn RequestSigner>>,
}

/// The number that RFC 5612 sets aside for documentation; an operator with a number of their own puts it here.
pub const EXAMPLE_ENTERPRISE: u32 = 32_473;

/// A message may not be bounded below this: every receiver must take 2,048 octets (RFC 5425 section 4.3.1), and the
/// pointer sent for a larger record must fit.
pub const LEAST_MAX_MESSAGE: usize = 2_048;

/// What fits into one datagram over IPv4 (65,507) and is likely to: RFC 5426 section 3.2.
pub const MOST_DATAGRAM: usize = 65_000;

/// The end of a connection shows at once, but not in the same moment in which the kernel forgets what it has not sent.
pub const LEAST_SETTLE: Duration = Duration::from_millis(100);

impl SinkOptions {
    /// A sink with the defaults named at the fields.
    pub fn new(name: SinkName, target: Target, cursor_directory: PathBuf) -> Self {
        Self {
            name,
            shape: target.usual_shape(),
            target,
            cursor_directory,
            filter: Filter::default(),
            facility: Facility::LOG_AUDIT,
            enterprise: EXAMPLE_ENTERPRISE,
            personal: PersonalView::Values,
            process: None,
            max_message: 262_144,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(15),
            settle: Duration::from_secs(5),
            retry_least: Duration::from_millis(500),
            retry_most: Duration::from_secs(30),
            receipts: Duration::from_mins(5),
            late_after: Duration::from_hours(1),
            signer: None,
        }
    }

    /// The bound on one message that holds for this target.
    pub(super) fn max_message(&self) -> usize {
        match &self.target {
            Target::Syslog { transport: Transport::Udp, .. } => self.max_message.min(MOST_DATAGRAM),
            _ => self.max_message,
        }
    }

    /// [`Self::settle`], raised where a connection's end could show later than that.
    pub(super) fn settle(&self) -> Duration {
        self.settle.max(LEAST_SETTLE)
    }
}

/// How a syslog receiver is reached. TCP and TLS frame by octet counting.
#[derive(Clone, Debug)]
pub enum Transport {
    /// RFC 5426: a datagram a message. Nobody learns what was lost.
    Udp,
    /// RFC 6587 section 3.4.1, in the clear.
    Tcp,
    /// RFC 5425; TLS 1.3.
    Tls(TlsOptions),
}

impl Transport {
    /// `udp`, `tcp` or `tls`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
        }
    }
}

/// What is trusted, and who we are.
///
/// The files are read at each connection, so replacing them takes effect at the next one.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the roots that may have issued the receiver's certificate. The system's roots are not asked: a
    /// log receiver is the operator's own.
    pub roots: PathBuf,
    /// Name or address that the certificate must bear; default the host of the address.
    pub server_name: Option<String>,
    /// Our own certificate, where the receiver asks for one.
    pub client: Option<ClientIdentity>,
}

/// A client certificate and its key, PEM files.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// The private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
}

/// Whether readable personal values (who, from where) go to the SIEM beside the record.
///
/// The record itself holds only salted commitments to them. A SIEM that must answer "who" needs the values; they then
/// live in the SIEM too, out of reach of an erasure in the ledger, which is why the choice is a setting and is
/// recorded in `sink.connected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonalView {
    /// Nothing but what the record holds.
    Commitments,
    /// The readable values, in a structured-data element of their own.
    #[default]
    Values,
}

impl PersonalView {
    /// `commitments` or `values`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commitments => "commitments",
            Self::Values => "values",
        }
    }
}

/// A setting that was not understood. Says what was given and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {wanted}")]
pub struct NotAllowed {
    pub(super) given: String,
    pub(super) wanted: &'static str,
}

/// A sink's name: lower-case letters, digits and inner dashes, at most 32.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkName(String);

impl SinkName {
    /// Checks the shape; the name becomes part of a file name and of messages.
    pub fn parse(text: &str) -> Result<Self, NotAllowed> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=32).contains(&text.len())
            && text.chars().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            let wanted = "a sink name: 1 to 32 of a-z, 0-9 and inner dashes";
            Err(NotAllowed { given: text.to_owned(), wanted })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and port: `siem.example:6514`, `192.0.2.7:6514`, `[2001:db8::7]:6514`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Splits and checks; the name is looked up when connecting.
    pub fn parse(text: &str) -> Result<Self, NotAllowed> {
        let refused = || NotAllowed { given: text.to_owned(), wanted: "an address of the form host:port" };
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bare {
            Some(six) if six.parse::<std::net::Ipv6Addr>().is_ok() => six,
            Some(_) => return Err(refused()),
            None if host.is_empty() || host.len() > 253 || host.contains([':', '[', ']', '/', ' ', '@']) => {
                return Err(refused());
            }
            None => host,
        };
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(refused)?;
        Ok(Self { host: host.to_owned(), port })
    }

    /// Without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 1 to 65,535.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Syslog facility, 0 to 23 (RFC 5424 table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// 13, "log audit".
    pub const LOG_AUDIT: Self = Self(13);

    /// Checks the range.
    pub fn parse(code: u8) -> Result<Self, NotAllowed> {
        if code <= 23 {
            Ok(Self(code))
        } else {
            Err(NotAllowed { given: code.to_string(), wanted: "a syslog facility: 0 to 23" })
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_the_three_usual_forms_and_no_other() {
        for good in ["siem.example:6514", "192.0.2.7:6514", "[2001:db8::7]:6514", "localhost:1"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["", "siem.example", ":6514", "siem:0", "siem:65536", "2001:db8::7:6514", "[siem]:1", "a/b:1"]
        {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_sink_name_cannot_leave_its_directory() {
        assert!(SinkName::parse("siem-1").is_ok());
        for bad in ["", "../x", "a/b", "A", "-a", "a-", "a.b", "a b", &"a".repeat(33)] {
            assert!(SinkName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
