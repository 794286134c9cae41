//! Ids of requests, grants and tokens: UUID version 7 (RFC 9562 section 5.7), shown with their kind.
//!
//! An id names a thing and opens nothing: whoever guesses one still has to be allowed.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::names::NameError;

/// Makes ids out of the time and randomness it is given, so that pure code never reads either.
pub(super) fn version_7(now: Timestamp, random: [u8; 10]) -> Uuid {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}

/// Ten random bytes for an id.
pub(super) fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    // A repeated id is refused by the fold, so a failure of the system's randomness grants nothing to anybody.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no randomness");
    }
    bytes
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id out of the time and ten random bytes.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(version_7(now, random))
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let bad = || NameError::new(text, $what, concat!("it is `", $prefix, "` and 32 hexadecimal digits"));
                let digits = text.strip_prefix($prefix).ok_or_else(bad)?;
                let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if digits.len() != 32 || !digits.bytes().all(lower) {
                    return Err(bad());
                }
                Uuid::try_parse(digits).map(Self).map_err(|_| bad())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// A request for access: `req-…`.
    RequestId,
    "req-",
    "a request's id"
);
id!(
    /// Leave to use a tunnel for a time: `grant-…`.
    GrantId,
    "grant-",
    "a grant's id"
);
id!(
    /// A role on a tunnel, given to a person: `share-…`.
    ShareId,
    "share-",
    "a share's id"
);
id!(
    /// An access review: `review-…`.
    ReviewId,
    "review-",
    "a review's id"
);
id!(
    /// A token that the gateway issued: `tok-…`, its `jti` (RFC 7519 section 4.1.7).
    TokenId,
    "tok-",
    "a token's id"
);

id!(
    /// A passkey that approvals are signed with: `passkey-…`.
    PasskeyId,
    "passkey-",
    "a passkey's id"
);

impl TokenId {
    /// The id of what a controller vouched for, by a hash of what was shown.
    pub fn of_controllers(digest: &[u8; 32]) -> Self {
        Self::of_outside("", b"controller", digest)
    }

    /// The id under which a token of somebody else's is known here: UUID version 8 (RFC 9562 section 5.8) of a hash of whose it
    /// is and what names it. The same token has the same id each time it is shown.
    pub(super) fn of_outside(issuer: &str, what: &[u8], name: &[u8]) -> Self {
        let parts = [issuer.as_bytes(), &[0], what, &[0], name];
        let digest = parts.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize();
        // A digest has more than 16 bytes.
        let bytes = digest.as_slice().first_chunk().copied().unwrap_or_default();
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_was_shown_and_only_as_its_own_kind() {
        let id = GrantId::new(Timestamp::from_second(1_800_000_000).unwrap(), [7; 10]);
        let shown = id.to_string();
        assert_eq!(shown.parse::<GrantId>().unwrap(), id);
        assert!(shown.parse::<RequestId>().is_err());
        assert!(shown.to_uppercase().replace("GRANT", "grant").parse::<GrantId>().is_err());
        assert!("grant-".parse::<GrantId>().is_err());
    }
}
