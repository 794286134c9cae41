//! Devices: machines that prove who they belong to by holding two private keys, so that nothing which could be copied from
//! the wire or from a log lets anybody in.
//!
//! A device is enrolled once, with a join token that works once and names the person. What is kept of it is public:
//! both keys stand in its record. How it proves that it holds the private halves is the tunnel's handshake's business.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::ids::TokenId;
use super::names::{NameError, Subject, Tenant};

/// Names a device, `dev-` and 32 hexadecimal digits: the beginning of a hash of both its keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 16]);

impl DeviceId {
    /// The id that the handshake computed of the keys.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for DeviceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(text, "a device's id", "it is `dev-` and 32 hexadecimal digits");
        let digits = text.strip_prefix("dev-").ok_or_else(bad)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad())?;
        // One spelling: capitals decode too.
        let id = Self(bytes);
        if id.to_string() == text { Ok(id) } else { Err(bad()) }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dev-{}", hex::encode(self.0))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A device's public keys. Bytes here: whether they are keys the handshake has found out by a signature of each.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Ed25519, 32 bytes.
    pub ed25519: Arc<[u8]>,
    /// ML-DSA-65, 1,952 bytes.
    pub ml_dsa: Arc<[u8]>,
}

impl DeviceKeys {
    /// Both as text, for a record.
    pub(super) fn to_texts(&self) -> (String, String) {
        (STANDARD_NO_PAD.encode(&self.ed25519), STANDARD_NO_PAD.encode(&self.ml_dsa))
    }

    /// Reads what [`Self::to_texts`] wrote.
    pub(super) fn from_texts(ed25519: &str, ml_dsa: &str) -> Option<Self> {
        let read = |text: &str| STANDARD_NO_PAD.decode(text).ok().map(Arc::from);
        let keys = Self { ed25519: read(ed25519)?, ml_dsa: read(ml_dsa)? };
        (keys.ed25519.len() == 32 && keys.ml_dsa.len() == 1_952).then_some(keys)
    }
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two thousand bytes of key tell a reader nothing.
        f.write_str("DeviceKeys(..)")
    }
}

/// A device that was enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whom it speaks for.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// The join token that it was enrolled with.
    pub join: TokenId,
    /// Its public keys.
    pub keys: DeviceKeys,
    /// When it was enrolled.
    pub enrolled: Timestamp,
    /// When its leave ends, without leeway.
    pub expires: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_id_is_read_back_as_it_was_shown_and_in_one_spelling_only() {
        let id = DeviceId::from_bytes([0xab; 16]);
        let shown = id.to_string();
        assert_eq!(shown.parse::<DeviceId>().unwrap(), id);
        for wrong in
            [shown.to_uppercase(), shown.replace("dev-", "tok-"), shown[..35].to_owned(), "dev-".to_owned()]
        {
            assert!(wrong.parse::<DeviceId>().is_err(), "{wrong}");
        }
    }
}
