//! The keys that tokens are signed with: the one in office, and those before it whose tokens stand.
//!
//! A key that is replaced signs nothing more, and what it signed is good until the last of it has ended: so nobody has to
//! have a new token for the gateway's sake. Which keys these are stands in the ledger, like all that access knows.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;

use super::names::NameError;

/// Bytes of an uncompressed P-256 point: 0x04 ‖ x ‖ y (SEC 1 §2.3.3).
const POINT: usize = 65;

/// A public key that checks tokens. Written as the base64url of its uncompressed point.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey(Arc<[u8; POINT]>);

impl TokenKey {
    /// The key with this uncompressed point; `None` if it is no point of P-256.
    pub fn from_point(point: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        point.try_into().ok().map(|point| Self(Arc::new(point)))
    }

    /// The uncompressed point.
    pub fn as_point(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// What a token's header calls it: the first half of its SHA-256, which leads to nothing else.
    pub fn key_id(&self) -> String {
        hex::encode(digest(&SHA256, self.as_point()).as_ref().get(..16).unwrap_or_default())
    }

    /// As others read it (RFC 7517, RFC 7518 section 6.2).
    pub fn to_jwk(&self) -> Jwk {
        let part = |from: usize| URL_SAFE_NO_PAD.encode(self.0.get(from..from + 32).unwrap_or_default());
        Jwk {
            kty: "EC",
            crv: "P-256",
            alg: "ES256",
            usage: "sig",
            kid: self.key_id(),
            x: part(1),
            y: part(33),
        }
    }
}

/// A public key as others read it.
#[derive(Debug, Clone, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
    y: String,
}

impl FromStr for TokenKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let point = URL_SAFE_NO_PAD.decode(text).ok();
        point.and_then(|point| Self::from_point(&point)).ok_or_else(|| {
            NameError::new(
                text,
                "a key that checks tokens",
                "it is the base64url of an uncompressed P-256 point",
            )
        })
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.as_point()))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.key_id())
    }
}

/// A key by which tokens are good now.
#[derive(Debug, Clone)]
pub struct StandingTokenKey {
    /// The key.
    pub key: TokenKey,
    /// Until when; `None` for the one that signs.
    pub until: Option<Timestamp>,
}
