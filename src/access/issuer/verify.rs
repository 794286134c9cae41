//! Whether a token of an issuer proves somebody.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Algorithm, Issuer, Issuers, KeySet, Outside, Vouched};
use crate::access::ids::TokenId;
use crate::access::token::{AuthError, MAX_LIFE, MAX_OUTSIDE_TOKEN};

/// Header types that name an access or an identity token; a token for another purpose says another (RFC 8725 section 3.11).
const TYPES: [&str; 4] = ["JWT", "jwt", "at+jwt", "application/at+jwt"];

#[derive(Deserialize)]
struct Said {
    iss: Option<String>,
}

/// Which issuer a token says that it is of. Says nothing of whether that is so.
pub fn issuer_of<'i>(issuers: &'i Issuers, token: &str) -> Result<&'i Issuer, AuthError> {
    if token.len() > MAX_OUTSIDE_TOKEN {
        return Err(AuthError::TooLong { length: token.len() });
    }
    let said: Said = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| AuthError::Malformed("it isn't three parts of base64url with claims in the middle"))?;
    let said = said.iss.ok_or(AuthError::Malformed("it names no issuer"))?;
    issuers.iter().find(|issuer| issuer.issuer == said).ok_or(AuthError::UnknownIssuer)
}

impl Issuer {
    /// Checks a token of this issuer's. `nonce` is what an identity token of a sign-in must repeat.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]; [`AuthError::OtherKey`] when the set has no key of that name: it may have come since.
    pub fn verify(
        &self,
        all: &Issuers,
        keys: &KeySet,
        token: &str,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Vouched, AuthError> {
        if token.len() > MAX_OUTSIDE_TOKEN {
            return Err(AuthError::TooLong { length: token.len() });
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            // An algorithm that the library doesn't know, such as `none`, fails to parse as JSON.
            ErrorKind::Json(_) => AuthError::Algorithm,
            _ => AuthError::Malformed("it isn't three parts of base64url"),
        })?;
        let algorithm = self.algorithms.iter().copied().find(|known| known.of_library() == header.alg);
        let algorithm = algorithm.ok_or(AuthError::Algorithm)?;
        if header.typ.as_deref().is_some_and(|said| !TYPES.contains(&said)) {
            return Err(AuthError::Malformed("its type isn't that of a token for this"));
        }
        if header.crit.is_some() {
            return Err(AuthError::Malformed("its header demands an extension"));
        }
        let key = keys.find(header.kid.as_deref(), algorithm).ok_or(AuthError::OtherKey)?;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &self.validation(algorithm))
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => AuthError::Signature,
                ErrorKind::InvalidIssuer => AuthError::UnknownIssuer,
                ErrorKind::InvalidAudience => AuthError::OtherAudience,
                ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
                _ => AuthError::Malformed("a claim is missing or has the wrong form"),
            })?
            .claims;
        let expires = self.times(&claims, now)?;
        if let Some(nonce) = nonce {
            self.check_identity_token(&claims, nonce)?;
        }
        let others: Vec<_> = all.iter().map(|other| &other.name).filter(|name| **name != self.name).collect();
        let subject = self.names.name(&self.name, &others, &claims)?;
        let roles = self.groups.roles(&claims)?;
        let id = match claims.get("jti").and_then(Value::as_str) {
            Some(id) => TokenId::of_outside(self.name.as_str(), b"jti", id.as_bytes()),
            None => TokenId::of_outside(self.name.as_str(), b"token", token.as_bytes()),
        };
        let proof = Outside { token: id, key: Some(key.print) };
        let issued = time(&claims, "iat")?;
        Ok(Vouched { subject, tenant: self.tenant.clone(), roles, proof, issued, expires })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm.of_library());
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // Times are checked against the time we are given; the library would read the clock itself.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    /// When it ends, leeway included.
    fn times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, AuthError> {
        let ahead = now.saturating_add(self.leeway).unwrap_or(Timestamp::MAX);
        let expires = time(claims, "exp")?.ok_or(AuthError::Malformed("it has no end"))?;
        for claim in ["nbf", "iat"] {
            if let Some(from) = time(claims, claim)?
                && ahead < from
            {
                return Err(AuthError::NotYetValid { from });
            }
        }
        let end = expires.saturating_add(self.leeway).unwrap_or(Timestamp::MAX);
        if now >= end {
            return Err(AuthError::Expired { at: expires });
        }
        if end.duration_since(now) > MAX_LIFE.saturating_add(SignedDuration::from_hours(1)) {
            return Err(AuthError::Malformed("it lives too long"));
        }
        Ok(end)
    }

    /// OpenID Connect Core 1.0 section 3.1.3.7, what is left of it.
    fn check_identity_token(&self, claims: &Map<String, Value>, nonce: &str) -> Result<(), AuthError> {
        if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(AuthError::Malformed("it doesn't belong to this sign-in"));
        }
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        let party = claims.get("azp").and_then(Value::as_str);
        if (several || party.is_some()) && party != Some(self.audience.as_str()) {
            return Err(AuthError::OtherAudience);
        }
        Ok(())
    }
}

/// A NumericDate (RFC 7519 section 2), whose part of a second is dropped.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, AuthError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let bad = AuthError::Malformed("a time is out of range");
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what doesn't fit saturates, and is then out of range"
    )]
    let seconds =
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)).ok_or(bad.clone())?;
    Timestamp::from_second(seconds).map(Some).map_err(|_| bad)
}
