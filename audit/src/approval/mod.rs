//! Approvals that are signed by the approver's own key, checked by bytes alone.
//!
//! Why: whoever holds the gateway, or an approver's token, could write that somebody agreed. A signature of the approver's own
//! authenticator (WebAuthn level 2) over the request's hash can't be written by either, and anybody can check it years later
//! with the ledger and nothing else; so this is the pure half, which gateway and `auditctl` share.
//!
//! Promised: an assertion passes only if it was made by the enrolled key, for this relying party and origin, over the challenge
//! of exactly this request and these limits, after the authenticator has verified its user (UV). Not promised: that the person
//! read what they approved; that whoever enrolled the key was the person. Trusted: the enrolled key.

mod records;

pub use records::{ApprovalRecords, Found, RecordFault, SignedApproval, Wanted};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Verifier as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Longest client data, in bytes: browsers write about 150.
pub const MOST_CLIENT_DATA: usize = 2_048;
/// Longest authenticator data of an assertion, in bytes: 37, and perhaps extensions.
pub const MOST_AUTHENTICATOR_DATA: usize = 1_024;
/// Longest signature, in bytes: ES256 has 72 at most.
pub const MOST_SIGNATURE: usize = 128;

/// The user was there (WebAuthn section 6.1).
const USER_PRESENT: u8 = 0x01;
/// The authenticator has verified who they are, by a PIN or a body part.
const USER_VERIFIED: u8 = 0x04;

/// A key that approvals are signed with.
#[derive(Clone, PartialEq, Eq)]
pub enum ApprovalKey {
    /// ECDSA on P-256 with SHA-256: the uncompressed point, 65 bytes.
    Es256(Box<[u8; 65]>),
    /// Ed25519, 32 bytes.
    Ed25519([u8; 32]),
}

impl ApprovalKey {
    /// The algorithm's name in records.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The key's bytes in records: base64url.
    pub fn text(&self) -> String {
        match self {
            Self::Es256(point) => URL_SAFE_NO_PAD.encode(point.as_slice()),
            Self::Ed25519(key) => URL_SAFE_NO_PAD.encode(key),
        }
    }

    /// A key of this algorithm, if it is one that can be used.
    pub fn new(algorithm: &str, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            "ES256" => {
                let point: [u8; 65] = bytes.try_into().ok()?;
                p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?;
                Some(Self::Es256(Box::new(point)))
            }
            "EdDSA" => {
                let bytes: [u8; 32] = bytes.try_into().ok()?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?;
                (!key.is_weak()).then_some(Self::Ed25519(bytes))
            }
            _ => None,
        }
    }

    /// Reads what [`Self::text`] wrote.
    pub fn parse(algorithm: &str, text: &str) -> Option<Self> {
        Self::new(algorithm, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(point) => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point.as_slice());
                let signature = p256::ecdsa::Signature::from_der(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify(message, &signature).is_ok())
            }
            Self::Ed25519(bytes) => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes);
                let signature = ed25519_dalek::Signature::from_slice(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_strict(message, &signature).is_ok())
            }
        }
    }
}

impl std::fmt::Debug for ApprovalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.text())
    }
}

/// What an approver agrees to.
#[derive(Debug, Clone, Copy)]
pub struct Agreed<'a> {
    /// Leaf hash of the request's record, which stands for who asks, what, why and how long.
    pub request: Digest,
    /// The approver, as their passkeys' enrolment names them: without it, one key's answer could be shown as another person's.
    pub approver: &'a ApproverId,
    /// The time that they give, if it isn't what was asked.
    pub minutes: Option<u64>,
    /// The conditions under which they give it, none of them with a line break.
    pub conditions: &'a [String],
    /// Whether they give it for one session and no other.
    pub once: bool,
}

impl Agreed<'_> {
    /// What the approver's key signs: SHA-256 over these lines.
    pub fn challenge(&self) -> [u8; 32] {
        let mut lines = vec![
            "sallyport.audit/approval/v1".to_owned(),
            "decision approve".to_owned(),
            format!("request {}", self.request),
            format!("approver {}", self.approver.text()),
            match self.minutes {
                Some(minutes) => format!("minutes {minutes}"),
                None => "minutes as asked".to_owned(),
            },
        ];
        lines.extend(self.conditions.iter().map(|condition| format!("condition {condition}")));
        lines.extend(self.once.then(|| "sessions 1".to_owned()));
        lines.push(String::new());
        Sha256::digest(lines.join("\n")).into()
    }
}

/// An approver in the words of their authenticators (WebAuthn's user handle): 32 random bytes, the same for all passkeys of one
/// person, which tell nothing of who that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApproverId([u8; 32]);

impl ApproverId {
    /// Of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// In records and for browsers: base64url.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads what [`Self::text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// What an authenticator answered, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// `clientDataJSON`
    pub client_data: &'a [u8],
    /// `authenticatorData`
    pub authenticator_data: &'a [u8],
    /// `signature`
    pub signature: &'a [u8],
}

/// Whom and what an assertion must be for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `webauthn.create` or `webauthn.get`.
    pub ceremony: &'a str,
    /// What was to be signed.
    pub challenge: &'a [u8; 32],
    /// The page that asked, such as `https://tunnels.example.com`.
    pub origin: &'a str,
    /// The relying party, such as `tunnels.example.com`.
    pub rp_id: &'a str,
}

/// Why an assertion doesn't pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// Longer than anything an authenticator writes, or no JSON, or too short.
    #[error("its {0} can't be read")]
    Unreadable(&'static str),
    /// Made for something else than signing.
    #[error("it is of another ceremony")]
    OtherCeremony,
    /// Made over something else: another request, or other limits.
    #[error("it was made over something else than this request within these limits")]
    OtherChallenge,
    /// Made on another page.
    #[error("it was made on another page than this gateway's")]
    OtherOrigin,
    /// Made for another relying party.
    #[error("it was made for another site")]
    OtherSite,
    /// The user wasn't verified.
    #[error("the authenticator hasn't verified its user")]
    UserNotVerified,
    /// Not by this key.
    #[error("its signature isn't by the enrolled key")]
    OtherKey,
    /// The counter didn't go on: two of them answer.
    #[error("its counter didn't go on, as if the key had been copied")]
    CounterBack,
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    ceremony: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

/// Checks the client data alone (WebAuthn sections 7.1 and 7.2: type, challenge, origin, no foreign frame).
///
/// # Errors
///
/// What is wrong with it.
pub fn check_client_data(client_data: &[u8], expected: &Expected<'_>) -> Result<(), NotSigned> {
    if client_data.len() > MOST_CLIENT_DATA {
        return Err(NotSigned::Unreadable("client data"));
    }
    let read: ClientData =
        serde_json::from_slice(client_data).map_err(|_| NotSigned::Unreadable("client data"))?;
    if read.ceremony != expected.ceremony {
        return Err(NotSigned::OtherCeremony);
    }
    if read.challenge != URL_SAFE_NO_PAD.encode(expected.challenge) {
        return Err(NotSigned::OtherChallenge);
    }
    if read.origin != expected.origin || read.cross_origin {
        return Err(NotSigned::OtherOrigin);
    }
    Ok(())
}

/// The fixed beginning of authenticator data: its flags, its counter, and what follows (WebAuthn section 6.1). Checked for the
/// site, and that the user was verified.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_authenticator_data<'a>(data: &'a [u8], rp_id: &str) -> Result<(u8, u32, &'a [u8]), NotSigned> {
    let short = NotSigned::Unreadable("authenticator data");
    let (site, rest) = data.split_first_chunk::<32>().ok_or_else(|| short.clone())?;
    let (&flags, rest) = rest.split_first().ok_or_else(|| short.clone())?;
    let (counter, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
    if site[..] != Sha256::digest(rp_id)[..] {
        return Err(NotSigned::OtherSite);
    }
    if flags & (USER_PRESENT | USER_VERIFIED) != USER_PRESENT | USER_VERIFIED {
        return Err(NotSigned::UserNotVerified);
    }
    Ok((flags, u32::from_be_bytes(*counter), rest))
}

/// The counter in authenticator data.
pub fn counter_of(data: &[u8]) -> Option<u32> {
    data.get(33..37).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}

/// Checks an assertion; its counter.
///
/// # Errors
///
/// Why it doesn't pass.
pub fn check(
    key: &ApprovalKey,
    expected: &Expected<'_>,
    assertion: &Assertion<'_>,
) -> Result<u32, NotSigned> {
    check_client_data(assertion.client_data, expected)?;
    if assertion.authenticator_data.len() > MOST_AUTHENTICATOR_DATA {
        return Err(NotSigned::Unreadable("authenticator data"));
    }
    let (_, counter, _) = check_authenticator_data(assertion.authenticator_data, expected.rp_id)?;
    let signed = [assertion.authenticator_data, &Sha256::digest(assertion.client_data)[..]].concat();
    if assertion.signature.len() > MOST_SIGNATURE || !key.has_signed(&signed, assertion.signature) {
        return Err(NotSigned::OtherKey);
    }
    Ok(counter)
}

/// Whether a counter goes on from the last one seen. Authenticators that don't count say 0 always (WebAuthn section 6.1.1).
///
/// # Errors
///
/// [`NotSigned::CounterBack`].
pub fn check_counter(last: u32, now: u32) -> Result<(), NotSigned> {
    if (last, now) == (0, 0) || now > last { Ok(()) } else { Err(NotSigned::CounterBack) }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    const ORIGIN: &str = "https://gateway.example";
    const SITE: &str = "gateway.example";

    struct Made {
        client_data: Vec<u8>,
        authenticator_data: Vec<u8>,
        signature: Vec<u8>,
    }

    impl Made {
        fn by(key: &SigningKey, challenge: &[u8], origin: &str, site: &str, flags: u8, counter: u32) -> Self {
            let client_data = serde_json::json!({
                "type": "webauthn.get", "challenge": URL_SAFE_NO_PAD.encode(challenge), "origin": origin,
            });
            let client_data = client_data.to_string().into_bytes();
            let authenticator_data = [&Sha256::digest(site)[..], &[flags], &counter.to_be_bytes()].concat();
            let signed = [&authenticator_data[..], &Sha256::digest(&client_data)[..]].concat();
            Self { signature: key.sign(&signed).to_bytes().to_vec(), client_data, authenticator_data }
        }

        fn check(&self, key: &SigningKey, challenge: &[u8; 32]) -> Result<u32, NotSigned> {
            let key = ApprovalKey::new("EdDSA", key.verifying_key().as_bytes()).unwrap();
            let expected = Expected { ceremony: "webauthn.get", challenge, origin: ORIGIN, rp_id: SITE };
            let assertion = Assertion {
                client_data: &self.client_data,
                authenticator_data: &self.authenticator_data,
                signature: &self.signature,
            };
            super::check(&key, &expected, &assertion)
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    #[test]
    fn what_the_enrolled_key_signed_for_this_request_passes_and_nothing_else_does() {
        let request = Digest::of(&[b"a request"]);
        let (me, office) = (ApproverId::new([1; 32]), ["office".to_owned()]);
        let agreed = Agreed { request, approver: &me, minutes: Some(30), conditions: &office, once: true };
        let right = agreed.challenge();
        let make =
            |challenge: &[u8], origin, site, flags| Made::by(&key(), challenge, origin, site, flags, 9);
        assert_eq!(make(&right, ORIGIN, SITE, 0x05).check(&key(), &right), Ok(9));
        for other in [
            Agreed { request: Digest::of(&[b"another request"]), ..agreed },
            Agreed { approver: &ApproverId::new([2; 32]), ..agreed },
            Agreed { minutes: Some(31), ..agreed },
            Agreed { minutes: None, ..agreed },
            Agreed { conditions: &[], ..agreed },
            Agreed { once: false, ..agreed },
            Agreed { conditions: &["!office".to_owned()], ..agreed },
        ] {
            let replayed = make(&other.challenge(), ORIGIN, SITE, 0x05).check(&key(), &right);
            assert_eq!(replayed, Err(NotSigned::OtherChallenge));
        }
        let checked = |made: Made| made.check(&key(), &right);
        assert_eq!(checked(make(&right, "https://evil.example", SITE, 0x05)), Err(NotSigned::OtherOrigin));
        assert_eq!(checked(make(&right, ORIGIN, "evil.example", 0x05)), Err(NotSigned::OtherSite));
        assert_eq!(checked(make(&right, ORIGIN, SITE, 0x01)), Err(NotSigned::UserNotVerified));
        assert_eq!(checked(make(&right, ORIGIN, SITE, 0x04)), Err(NotSigned::UserNotVerified));
        let other = Made::by(&SigningKey::from_bytes(&[8; 32]), &right, ORIGIN, SITE, 0x05, 9);
        assert_eq!(checked(other), Err(NotSigned::OtherKey));
    }

    #[test]
    fn every_byte_of_an_assertion_matters() {
        let right = [5; 32];
        let made = || Made::by(&key(), &right, ORIGIN, SITE, 0x05, 1);
        for field in 0..3 {
            let length = [made().client_data.len(), made().authenticator_data.len(), made().signature.len()];
            for at in 0..length[field] {
                let mut changed = made();
                let bytes = match field {
                    0 => &mut changed.client_data,
                    1 => &mut changed.authenticator_data,
                    _ => &mut changed.signature,
                };
                bytes[at] ^= 0x10;
                assert!(changed.check(&key(), &right).is_err(), "field {field}, byte {at}");
            }
        }
    }

    #[test]
    fn a_counter_that_stands_still_or_goes_back_tells_of_a_copy() {
        assert_eq!(check_counter(0, 0), Ok(()));
        assert_eq!(check_counter(0, 1), Ok(()));
        assert_eq!(check_counter(7, 8), Ok(()));
        for (last, now) in [(7, 7), (7, 6), (7, 0)] {
            assert_eq!(check_counter(last, now), Err(NotSigned::CounterBack));
        }
    }

    #[test]
    fn a_key_that_is_none_is_not_taken() {
        assert!(ApprovalKey::new("ES256", &[4; 65]).is_none(), "not on the curve");
        assert!(ApprovalKey::new("EdDSA", &[0; 32]).is_none(), "weak");
        assert!(ApprovalKey::new("RS256", &[1; 32]).is_none());
        assert!(ApprovalKey::new("EdDSA", &[1; 31]).is_none());
    }
}
