//! Tokens that the gateway issues: JWT (RFC 7519) signed with ES256 (RFC 7518 section 3.4) by a key in the provider.
//!
//! Promised: exactly one algorithm, whatever the header says (RFC 8725 section 3.1), so neither `none` nor an HMAC
//! with our public key as its secret passes; issuer, audience, both times, id, subject and tenant are all required;
//! a text longer than [`MAX_TOKEN`] is refused before it is looked at; each reason for refusal is told apart.
//!
//! A good signature isn't enough: the token must also stand in the ledger as issued and not revoked, which
//! [`super::Access::authenticate`] checks. Tokens belong in a header or a file, never in a URL: URLs end in logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::home_network::HomeNetwork;
use super::ids::TokenId;
use super::lock::LockTarget;
use super::names::{Subject, Tenant};
use super::token_key::{StandingTokenKey, TokenKey};

/// What a token is for. The header says it by its type, so that neither kind is ever taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Proves a person, as often as it is shown.
    Access,
    /// Proves a person in one browser, at one tunnel, for a short time.
    Session,
    /// Enrolls one device of that person, once.
    Join,
}

impl Purpose {
    /// What a token's header says of its type.
    fn header_type(self) -> &'static str {
        match self {
            Self::Access => "sallyport+jwt",
            Self::Session => "sallyport-session+jwt",
            Self::Join => "sallyport-join+jwt",
        }
    }

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Session => "session",
            Self::Join => "join",
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = super::names::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Access, Self::Session, Self::Join]
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or_else(|| {
                super::names::NameError::new(text, "a token's purpose", "it is `access`, `session` or `join`")
            })
    }
}

/// Whether a text is a token of some gateway's by its type. Says nothing of whether it is good: an app behind a tunnel has
/// bearer tokens of its own, and those are not for us.
pub fn is_typed_as_ours(text: &str) -> bool {
    text.len() <= MAX_TOKEN
        && jsonwebtoken::decode_header(text).is_ok_and(|header| {
            let ours = |purpose: Purpose| header.typ.as_deref() == Some(purpose.header_type());
            ours(Purpose::Access) || ours(Purpose::Session) || ours(Purpose::Join)
        })
}

/// Longest token, in bytes.
pub const MAX_TOKEN: usize = 2_048;
/// Longest token of another issuer, in bytes: they carry groups.
pub const MAX_OUTSIDE_TOKEN: usize = 8_192;
/// Longest life of a token: 400 days.
pub const MAX_LIFE: SignedDuration = SignedDuration::from_hours(400 * 24);
/// By how much two clocks may differ, either way.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// The key that signs tokens, wherever it lives.
pub trait TokenKeys: Send + Sync + 'static {
    /// Signs with ES256: ECDSA on P-256 over SHA-256 of the input. The answer is `r ‖ s`, 64 bytes.
    fn sign_es256(&self, signing_input: Vec<u8>) -> BoxFuture<'_, Result<[u8; 64], SignError>>;
    /// The public key as an uncompressed point: 0x04 ‖ x ‖ y, 65 bytes.
    fn public_key_p256(&self) -> Vec<u8>;
}

/// The provider couldn't sign.
#[derive(Debug, thiserror::Error)]
#[error("the token-signing key couldn't sign: {0}")]
pub struct SignError(pub String);

/// Why a token doesn't prove who someone is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token has {length} bytes, which is too long")]
    TooLong {
        /// Bytes found.
        length: usize,
    },
    /// Not three base64url parts with JSON of the right shape.
    #[error("this isn't a token of this gateway: {0}")]
    Malformed(&'static str),
    /// Any algorithm but ES256, or those that its issuer may use.
    #[error("the token isn't signed with an algorithm that is accepted")]
    Algorithm,
    /// The header names a key that isn't ours.
    #[error("the token was signed by another key")]
    OtherKey,
    /// The key that signed it was replaced, and the time is over in which its tokens stood.
    #[error("the key that signed the token was retired, and its tokens ended at {at}")]
    KeyRetired {
        /// When.
        at: Timestamp,
    },
    /// The signature doesn't fit.
    #[error("the token's signature is wrong: it was altered, or signed by another key")]
    Signature,
    /// For, or from, somebody else.
    #[error("the token was issued by another gateway, or for another")]
    OtherGateway,
    /// No issuer that was configured.
    #[error("the token's issuer isn't one that this gateway believes")]
    UnknownIssuer,
    /// For somebody else.
    #[error("the token's issuer made it for somebody else")]
    OtherAudience,
    /// Its claims name nobody here.
    #[error("the token names nobody here: {0}")]
    Unnamed(&'static str),
    /// The issuer's keys, or a controller, can't be reached.
    #[error("whoever could vouch for the token can't be reached")]
    VoucherAway,
    /// A controller said no.
    #[error("the controller doesn't vouch for the token")]
    NotVouched,
    /// The key that signed it counts no more.
    #[error("the token's issuer has withdrawn the key that signed it")]
    KeyWithdrawn,
    /// Its time hasn't come.
    #[error("the token isn't valid before {from}")]
    NotYetValid {
        /// From when.
        from: Timestamp,
    },
    /// Its time is over.
    #[error("the token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Taken back.
    #[error("the token was revoked")]
    Revoked,
    /// No device of this id was enrolled.
    #[error("no such device is enrolled here")]
    UnknownDevice,
    /// Taken back.
    #[error("the device was revoked")]
    DeviceRevoked,
    /// Its time is over.
    #[error("the device's enrollment expired at {at}")]
    DeviceExpired {
        /// When.
        at: Timestamp,
    },
    /// Taken back.
    #[error("the client certificate was revoked")]
    CertificateRevoked,
    /// Its time is over.
    #[error("the client certificate expired at {at}")]
    CertificateExpired {
        /// When.
        at: Timestamp,
    },
    /// Records were lost that may have revoked it.
    #[error("the client certificate is older than a loss of records that may have revoked it")]
    CertificateTooOld,
    /// Records were lost that may have revoked it.
    #[error(
        "the token is older than a loss of records that may have revoked it, or doesn't say how old it is"
    )]
    TokenTooOld,
    /// It began in another network, and is good in that one alone.
    #[error("the session began in another network, and is good there alone")]
    OtherNetwork,
    /// It has no name of a person in the place where one is looked for, and nothing else was shown.
    #[error("the client certificate names nobody of this gateway")]
    CertificateOfNobody,
    /// TLS ends before the gateway, so the certificate that it sees is not the client's.
    #[error("a client certificate proves nothing here: TLS ends at somebody else's ingress")]
    CertificateElsewhere,
    /// Two proofs that name two people.
    #[error("the token and the client certificate are of different people")]
    TwoPeople,
    /// The signatures aren't those of the device's keys over this very connection.
    #[error("the device's signatures don't fit this connection")]
    Possession,
    /// Well signed, but the ledger doesn't know that it was issued.
    #[error("the ledger has no record of this token being issued")]
    Unrecorded,
    /// The person, a role or the device of theirs, or what they want to use is locked.
    #[error("{target} is locked")]
    Locked {
        /// What.
        target: LockTarget,
    },
}

impl AuthError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::Malformed(_) | Self::Algorithm => {
                "send the token exactly as it was issued"
            }
            Self::OtherKey | Self::Signature | Self::OtherGateway | Self::Unrecorded => {
                "ask an admin of this gateway for a token"
            }
            Self::UnknownIssuer | Self::OtherAudience | Self::Unnamed(_) | Self::NotVouched => {
                "ask the gateway's operator whether your identity provider is set up here"
            }
            Self::VoucherAway => "try again in a minute; the gateway's operator sees why in its log",
            Self::OtherNetwork => "sign in again",
            Self::KeyWithdrawn | Self::TokenTooOld => "sign in at your identity provider again",
            Self::NotYetValid { .. } => "check the clock of this computer and of the gateway",
            Self::Expired { .. } | Self::Revoked | Self::KeyRetired { .. } => "ask an admin for a new token",
            Self::UnknownDevice | Self::DeviceRevoked | Self::DeviceExpired { .. } => {
                "ask an admin for a join token, and enroll this device anew: `sallyport device enroll`"
            }
            Self::CertificateRevoked | Self::CertificateExpired { .. } | Self::CertificateTooOld => {
                "ask whoever issued the certificate for a new one"
            }
            Self::CertificateElsewhere => "use a token or a device, or connect without an ingress in between",
            Self::CertificateOfNobody => "show a token too, or have the certificate name you: docs/mtls.md",
            Self::TwoPeople => "use the token of the person whom the certificate names, or no certificate",
            Self::Possession => "name the device file that was enrolled with this gateway",
            Self::Locked { .. } => "ask an admin to look at the lock",
        }
    }

    /// One word for records: why, without anything that the peer sent.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too-long",
            Self::Malformed(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::OtherKey => "other-key",
            Self::KeyRetired { .. } => "key-retired",
            Self::Signature => "signature",
            Self::OtherGateway => "other-gateway",
            Self::UnknownIssuer => "unknown-issuer",
            Self::OtherAudience => "other-audience",
            Self::Unnamed(_) => "unnamed",
            Self::VoucherAway => "voucher-away",
            Self::NotVouched => "not-vouched",
            Self::KeyWithdrawn => "key-withdrawn",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Expired { .. } => "expired",
            Self::Revoked => "revoked",
            Self::Unrecorded => "unrecorded",
            Self::UnknownDevice => "unknown-device",
            Self::DeviceRevoked => "device-revoked",
            Self::DeviceExpired { .. } => "device-expired",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CertificateExpired { .. } => "certificate-expired",
            Self::CertificateTooOld => "certificate-too-old",
            Self::TokenTooOld => "token-too-old",
            Self::OtherNetwork => "other-network",
            Self::CertificateOfNobody => "certificate-of-nobody",
            Self::CertificateElsewhere => "certificate-elsewhere",
            Self::TwoPeople => "two-people",
            Self::Possession => "possession",
            Self::Locked { .. } => "locked",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RawClaims {
    iss: String,
    aud: String,
    sub: String,
    tenant: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    net: Option<String>,
}

/// What a token says, once its signature and times have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What it is for.
    pub purpose: Purpose,
    /// Who it speaks for.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// Its id.
    pub token: TokenId,
    /// From when it is good.
    pub not_before: Timestamp,
    /// Until when it is good, without leeway.
    pub expires: Timestamp,
    /// Where alone it is good; `None`: everywhere.
    pub network: Option<HomeNetwork>,
}

/// Checks tokens; holds no secret.
#[derive(Clone)]
pub struct TokenVerifier {
    /// The one that signs, and then those before it.
    keys: Arc<[Known]>,
    issuer: Arc<str>,
    validation: Arc<Validation>,
}

/// A key by which tokens are good.
struct Known {
    decoding: DecodingKey,
    id: String,
    standing: StandingTokenKey,
}

impl Known {
    fn new(key: TokenKey, until: Option<Timestamp>) -> Self {
        let (decoding, id) = (DecodingKey::from_ec_der(key.as_point()), key.key_id());
        Self { decoding, id, standing: StandingTokenKey { key, until } }
    }
}

impl TokenVerifier {
    /// A verifier for tokens of one issuer, which is also their audience: of the key that signs, and of those before it,
    /// each until its time.
    ///
    /// # Errors
    ///
    /// When the public key isn't a point on P-256.
    pub fn new(
        keys: &dyn TokenKeys,
        before: &BTreeMap<TokenKey, Timestamp>,
        issuer: &str,
    ) -> Result<Self, SignError> {
        let present = TokenKey::from_point(&keys.public_key_p256())
            .ok_or_else(|| SignError("its public key isn't a point on P-256".to_owned()))?;
        let before = before.iter().filter(|(key, _)| **key != present);
        let before = before.map(|(key, until)| Known::new(key.clone(), Some(*until)));
        let keys: Vec<Known> = std::iter::once(Known::new(present.clone(), None)).chain(before).collect();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[issuer]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // Times are checked below against the time we are given; the library would read the clock itself.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { keys: keys.into(), issuer: issuer.into(), validation: Arc::new(validation) })
    }

    /// The keys by which a token is good at `now`, first the one that signs.
    pub fn standing(&self, now: Timestamp) -> Vec<StandingTokenKey> {
        let stands = |key: &&Known| key.standing.until.is_none_or(|until| now < until);
        self.keys.iter().filter(stands).map(|key| key.standing.clone()).collect()
    }

    /// Checks everything that the token itself can tell. Pure.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]; revocation and locks aren't looked at here.
    pub fn verify(&self, token: &str, purpose: Purpose, now: Timestamp) -> Result<Claims, AuthError> {
        if token.len() > MAX_TOKEN {
            return Err(AuthError::TooLong { length: token.len() });
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            // An algorithm that the library doesn't know, such as `none`, fails to parse as JSON.
            ErrorKind::Json(_) => AuthError::Algorithm,
            _ => AuthError::Malformed("it isn't three parts of base64url"),
        })?;
        if header.alg != Algorithm::ES256 {
            return Err(AuthError::Algorithm);
        }
        // RFC 8725 section 3.11: explicit typing, so that no token made for another purpose is taken for one of these.
        if header.typ.as_deref() != Some(purpose.header_type()) {
            return Err(AuthError::Malformed("its type isn't that of a token for this"));
        }
        if header.crit.is_some() {
            return Err(AuthError::Malformed("its header demands an extension"));
        }
        let key = self.keys.iter().find(|key| header.kid.as_deref() == Some(&key.id));
        let key = key.ok_or(AuthError::OtherKey)?;
        if let Some(until) = key.standing.until.filter(|until| now >= *until) {
            return Err(AuthError::KeyRetired { at: until });
        }
        let claims = jsonwebtoken::decode::<RawClaims>(token, &key.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => AuthError::Signature,
                ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => AuthError::OtherGateway,
                ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
                _ => AuthError::Malformed("a claim is missing or has the wrong form"),
            })?
            .claims;
        let time = |seconds| {
            Timestamp::from_second(seconds).map_err(|_| AuthError::Malformed("a time is out of range"))
        };
        let (not_before, expires) = (time(claims.nbf)?, time(claims.exp)?);
        if now.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX) < not_before {
            return Err(AuthError::NotYetValid { from: not_before });
        }
        if now >= with_leeway(expires) {
            return Err(AuthError::Expired { at: expires });
        }
        let bad = |_| AuthError::Malformed("a name or an id has the wrong form");
        let subject = claims.sub.parse::<Subject>().map_err(bad)?;
        if subject.is_anonymous() {
            return Err(AuthError::Malformed("a token can't be for user:anonymous"));
        }
        let (tenant, token) = (claims.tenant.parse().map_err(bad)?, claims.jti.parse().map_err(bad)?);
        let network = claims.net.map(|net| net.parse()).transpose();
        let network = network.map_err(|_| AuthError::Malformed("a network has the wrong form"))?;
        Ok(Claims { purpose, subject, tenant, token, not_before, expires, network })
    }

    /// Writes and signs a token.
    ///
    /// # Errors
    ///
    /// When the provider can't sign.
    pub async fn sign(&self, keys: &dyn TokenKeys, claims: &Claims) -> Result<String, SignError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = self.keys.first().map(|key| key.id.clone());
        header.typ = Some(claims.purpose.header_type().to_owned());
        let raw = RawClaims {
            iss: self.issuer.to_string(),
            aud: self.issuer.to_string(),
            sub: claims.subject.to_string(),
            tenant: claims.tenant.to_string(),
            iat: claims.not_before.as_second(),
            nbf: claims.not_before.as_second(),
            exp: claims.expires.as_second(),
            jti: claims.token.to_string(),
            net: claims.network.map(|network| network.to_string()),
        };
        let part = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|error| SignError(error.to_string()))
        };
        let input = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(&raw))?);
        let signature = keys.sign_es256(input.clone().into_bytes()).await?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The moment from which a token that expires then is refused.
pub(super) fn with_leeway(expires: Timestamp) -> Timestamp {
    expires.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX)
}
