//! How claims become a name and roles of ours.
//!
//! The name of somebody whom an issuer vouches for begins with the issuer's: `alice` of the issuer `corp` is
//! `user:corp+alice`. So two issuers can't speak of the same person, and neither of a local one; unless the operator says
//! that this issuer's names are the gateway's own, or maps single people. Groups give no role that the operator didn't map.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::IssuerName;
use crate::access::names::{Role, Subject};
use crate::access::token::AuthError;

/// Most groups of one person that are looked at, and most roles that they become.
const MAX_GROUPS: usize = 512;
const MAX_ROLES: usize = 64;

/// How claims become a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRules {
    /// The claim that names the person, such as `sub` or `email`.
    pub claim: String,
    /// Whether its names are the gateway's own: `alice` is `user:alice`.
    pub own: bool,
    /// Single people, by what the claim says.
    pub people: BTreeMap<String, Subject>,
}

/// How groups become roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRules {
    /// The claim that lists groups; dots lead into objects.
    pub claim: String,
    /// Roles by group.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// If set, a group `NAME` without a mapping of its own is `role:PREFIXNAME`.
    pub prefix: Option<String>,
}

/// Claims that people write in any case; the same person must not have two names.
const CASELESS: [&str; 3] = ["email", "preferred_username", "upn"];

/// Whether a name is one that only this issuer's people have.
pub(super) fn has_prefix(subject: &Subject, issuer: &IssuerName) -> bool {
    let name = subject.as_str().strip_prefix("user:").unwrap_or_default();
    name.strip_prefix(issuer.as_str()).is_some_and(|rest| rest.starts_with('+'))
}

impl NameRules {
    /// Who the claims speak of.
    pub(super) fn name(
        &self,
        issuer: &IssuerName,
        others: &[&IssuerName],
        claims: &Map<String, Value>,
    ) -> Result<Subject, AuthError> {
        let text = claims
            .get(&self.claim)
            .and_then(Value::as_str)
            .ok_or(AuthError::Unnamed("the claim that is to name the person isn't there"))?;
        if self.claim == "email" {
            let verified = claims.get("email_verified");
            let verified = verified.is_some_and(|said| *said == Value::Bool(true) || *said == "true");
            if !verified {
                return Err(AuthError::Unnamed("the issuer hasn't verified the e-mail address"));
            }
        }
        let caseless = CASELESS.contains(&self.claim.as_str());
        let text = if caseless { text.to_ascii_lowercase() } else { text.to_owned() };
        if let Some(mapped) = self.people.get(&text) {
            return Ok(mapped.clone());
        }
        let unfit = |_| AuthError::Unnamed("what the claim says can't be a name here");
        // By itself it must be a name, with a prefix before it or not.
        let subject: Subject = format!("user:{text}").parse().map_err(unfit)?;
        if !self.own {
            return format!("user:{issuer}+{text}").parse().map_err(unfit);
        }
        if subject.is_anonymous() || others.iter().any(|other| has_prefix(&subject, other)) {
            return Err(AuthError::Unnamed("the name is somebody else's"));
        }
        Ok(subject)
    }
}

impl GroupRules {
    /// The roles that the claims give.
    pub(super) fn roles(&self, claims: &Map<String, Value>) -> Result<Vec<Role>, AuthError> {
        let groups = match lookup(claims, &self.claim) {
            Some(Value::Array(groups)) => groups.as_slice(),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            _ => &[],
        };
        // A group that is cut off could be the one that a deny rule names.
        if groups.len() > MAX_GROUPS {
            return Err(AuthError::Unnamed("it lists more groups than are looked at"));
        }
        let mut roles = BTreeSet::new();
        for group in groups.iter().filter_map(Value::as_str) {
            match (self.roles.get(group), &self.prefix) {
                (Some(mapped), _) => roles.extend(mapped.iter().cloned()),
                (None, Some(prefix)) => roles.extend(format!("role:{prefix}{group}").parse::<Role>().ok()),
                (None, None) => {}
            }
        }
        if roles.len() > MAX_ROLES {
            return Err(AuthError::Unnamed("its groups are more roles than are looked at"));
        }
        Ok(roles.into_iter().collect())
    }
}

/// A claim by its name, or by the way that dots lead.
fn lookup<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    lookup(claims.get(first)?.as_object()?, rest)
}
