//! SHA-256 values, and the two hashes of an RFC 6962 tree.
//!
//! One hash serves twice: the leaf hash of a record is its place in the tree *and* the `prev` of the record
//! after it. The prefix bytes keep a leaf from being passed off as an inner node and the other way round.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 value. Shown, and written into records, as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Thirty-two zero bytes: the `prev` of a ledger's first record.
    pub const ZERO: Self = Self([0; 32]);

    /// How a digest is written, in words.
    pub(crate) const SPELLING: &str = "64 lower-case hexadecimal digits";

    /// Takes the 32 bytes of a SHA-256 value.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 over the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// SHA-256(0x00 ‖ bytes): the leaf hash of RFC 6962 section 2.1.
    pub fn leaf(bytes: &[u8]) -> Self {
        Self::of(&[&[0x00], bytes])
    }

    /// SHA-256(0x01 ‖ left ‖ right): the inner node hash of RFC 6962 section 2.1.
    pub fn node(left: &Self, right: &Self) -> Self {
        Self::of(&[&[0x01], &left.0, &right.0])
    }

    /// The 64 hexadecimal digits, without an allocation.
    pub fn hex(&self) -> [u8; 64] {
        let mut text = [0_u8; 64];
        // 64 is exactly twice 32, so this cannot fail.
        let _ = const_hex::encode_to_slice(self.0, &mut text);
        text
    }

    /// Whether `text` is 64 lower-case hexadecimal digits, so that it reads and writes as itself.
    pub fn is_spelled(text: &str) -> bool {
        text.len() == 64
            && text.bytes().fold(true, |all, byte| all & matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Reads 64 lower-case hexadecimal digits; upper case is refused, because a digest has one spelling.
    pub fn parse(text: &str) -> Option<Self> {
        if !Self::is_spelled(text) {
            return None;
        }
        let mut bytes = [0_u8; 32];
        const_hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(const_hex::Buffer::<32>::new().format(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(const_hex::Buffer::<32>::new().format(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Digest::SPELLING)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                Digest::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn leaf_and_node_hashes_are_those_of_rfc_6962() {
        // The empty leaf and the first node of the RFC 6962 reference vectors.
        let empty = Digest::leaf(b"");
        assert_eq!(empty.to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let node = Digest::node(&empty, &Digest::leaf(&[0]));
        assert_eq!(node.to_string(), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let digest = Digest::leaf(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse(&digest.to_string().to_uppercase()), None);
        assert_eq!(Digest::parse("00"), None);
        assert_eq!(digest.hex().as_slice(), digest.to_string().as_bytes());
    }
}
