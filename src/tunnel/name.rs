//! What a tunnel is called and what it carries.
//!
//! A name is a DNS label, because visitors reach an HTTP tunnel at `https://NAME.domain`; it is parsed once, at the
//! edge, and is a [`TunnelName`] from then on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest name in bytes: a DNS label (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 63;

/// The name of a published service: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TunnelName(String);

/// Why a text is not a tunnel name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("a tunnel name cannot be empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes.
    #[error("a tunnel name has at most {MAX_NAME} characters, this one has {length}")]
    TooLong {
        /// Bytes found.
        length: usize,
    },
    /// A character that no DNS label in lower case has.
    #[error("a tunnel name cannot contain {found:?}")]
    BadCharacter {
        /// The first offending character.
        found: char,
    },
    /// A hyphen at either end.
    #[error("a tunnel name cannot begin or end with a hyphen")]
    HyphenAtEnd,
}

impl NameError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        "use lower-case letters, digits and hyphens, as in `demo` or `billing-db`"
    }
}

impl TunnelName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        // The character first: its message helps more than a byte count when both are wrong.
        if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(NameError::BadCharacter { found });
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong { length: text.len() });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::HyphenAtEnd);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TunnelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TunnelName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TunnelName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<TunnelName> for String {
    fn from(name: TunnelName) -> String {
        name.0
    }
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum TunnelKind {
    /// HTTP requests, routed by host name.
    Http,
    /// TCP connections, reached by a public port or through `sallyport connect`.
    Tcp {
        /// The public port that the publisher would like; the gateway may give another or none.
        port: Option<u16>,
    },
    /// TLS connections that the app ends, told apart by the name that they ask for.
    Tls,
    /// UDP flows, reached by a public port or through `sallyport connect --udp`.
    Udp {
        /// The public port that the publisher would like; the gateway may give another or none.
        port: Option<u16>,
    },
}

impl TunnelKind {
    /// Whether visitors get the same of both.
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// The word in records and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp { .. } => "tcp",
            Self::Tls => "tls",
            Self::Udp { .. } => "udp",
        }
    }
}

/// One service that a publisher offers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The wanted name.
    pub name: TunnelName,
    /// What it carries.
    #[serde(flatten)]
    pub kind: TunnelKind,
    /// Whether the name is shared with others of the same owner who say so too.
    #[serde(default)]
    pub join: bool,
}

/// One registration of a tunnel; shown as `tun-0190…`. A new one for each time a name is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(Uuid);

impl TunnelId {
    /// A new id: ordered by the time of its making (UUID version 7).
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The sixteen bytes that travel in the handshake.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Default for TunnelId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tun-{}", self.0.simple())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dns_label_in_lower_case_is_a_name() {
        for good in ["a", "0", "demo", "billing-db", "a--b", &"x".repeat(63)] {
            assert_eq!(TunnelName::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        assert_eq!(TunnelName::parse(""), Err(NameError::Empty));
        assert_eq!(TunnelName::parse("Demo"), Err(NameError::BadCharacter { found: 'D' }));
        assert_eq!(TunnelName::parse("a.b"), Err(NameError::BadCharacter { found: '.' }));
        assert_eq!(TunnelName::parse("démo"), Err(NameError::BadCharacter { found: 'é' }));
        assert_eq!(TunnelName::parse("../etc"), Err(NameError::BadCharacter { found: '.' }));
        assert_eq!(TunnelName::parse("-a"), Err(NameError::HyphenAtEnd));
        assert_eq!(TunnelName::parse("a-"), Err(NameError::HyphenAtEnd));
        assert_eq!(TunnelName::parse(&"x".repeat(64)), Err(NameError::TooLong { length: 64 }));
    }

    #[test]
    fn an_id_is_shown_with_its_kind() {
        let id = TunnelId::new();
        assert!(id.to_string().starts_with("tun-"));
        assert_eq!(TunnelId::from_bytes(id.to_bytes()), id);
    }

    proptest! {
        #[test]
        fn a_parsed_name_matches_the_documented_pattern(text in "\\PC{0,70}") {
            if let Ok(name) = TunnelName::parse(&text) {
                let bytes = name.as_str().as_bytes();
                prop_assert!((1..=63).contains(&bytes.len()));
                prop_assert!(bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-'));
                prop_assert!(bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-');
            }
        }
    }
}
