//! The parts of a record, each read strictly: as it was written, or not at all.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use sallyport_audit::approval::{self, ApprovalKey, ApproverId};
use sallyport_audit::{Digest, KeyId, Kind, Outcome, Personal, Value as Known, Values};
use serde_json::{Map, Value};

use crate::access::fact::{Actor, SignIn};
use crate::access::identity::BegunWith;
use crate::access::ids::RequestId;
use crate::access::issuer::Outside;
use crate::access::lock::LockTarget;
use crate::access::names::Subject;
use crate::access::passkey::{MOST_CREDENTIAL, NewPasskey, Signed, Site, from_text};
use crate::access::policy::drift::Drift;
use crate::access::reason::Reason;
use crate::access::scope::Scope;

/// The parts of a record from which a fact is read.
pub(in crate::access) struct Parts<'a> {
    pub(in crate::access) kind: Kind,
    pub(in crate::access) result: Outcome,
    pub(in crate::access) action: Option<&'a str>,
    pub(in crate::access) object: Option<&'a str>,
    pub(in crate::access) grant: Option<&'a str>,
    pub(in crate::access) policy: Option<&'a str>,
    pub(in crate::access) correlation: Option<&'a str>,
    pub(in crate::access) details: &'a Map<String, Value>,
    pub(in crate::access) personal: &'a Values,
}

pub(super) fn parse<T: FromStr>(what: &str, text: Option<&str>) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("it has no {what}"))?;
    // The value isn't shown: it may come from a record that somebody altered.
    text.parse().map_err(|_| format!("its {what} can't be read"))
}

impl Parts<'_> {
    pub(super) fn tokens_kept(&self) -> Result<bool, String> {
        match self.details.get("tokens").and_then(Value::as_str) {
            Some("kept") => Ok(true),
            Some("ended") => Ok(false),
            _ => Err("it does not say what became of the tokens".to_owned()),
        }
    }

    pub(super) fn erased_key(&self) -> Result<KeyId, String> {
        let key = self.details.get("key").and_then(Value::as_str).and_then(KeyId::parse);
        key.ok_or_else(|| "its key can't be read".to_owned())
    }

    pub(super) fn detail<T: FromStr>(&self, key: &str) -> Result<T, String> {
        parse(key, self.details.get(key).and_then(Value::as_str))
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(value) = self.details.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("its {key} can't be read"))
    }

    /// What stands in a record only where it is so.
    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        match self.details.get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("its {key} can't be read")),
        }
    }

    pub(super) fn list<T: FromStr>(&self, key: &str) -> Result<Vec<T>, String> {
        let values =
            self.details.get(key).and_then(Value::as_array).ok_or_else(|| format!("it has no {key}"))?;
        values.iter().map(|value| parse(key, value.as_str())).collect()
    }

    pub(super) fn person(&self, field: Personal) -> Result<Subject, String> {
        match self.personal.get(field) {
            Some(Known::Readable { text, .. }) => parse(field.as_str(), Some(text)),
            Some(Known::Erased { key }) => Ok(Subject::erased(*key)),
            Some(Known::Unreadable { why }) => {
                Err(format!("its {field} is sealed and can't be opened: {why}"))
            }
            None => Err(format!("it has no {field}")),
        }
    }

    pub(super) fn reason(&self) -> Result<Option<Reason>, String> {
        match self.personal.get(Personal::Reason) {
            Some(Known::Readable { text, .. }) => parse("reason", Some(text)).map(Some),
            Some(Known::Erased { .. }) => Ok(Some(Reason::erased())),
            Some(Known::Unreadable { why }) => {
                Err(format!("its reason is sealed and can't be opened: {why}"))
            }
            None => Ok(None),
        }
    }

    /// Not known is as good as not said: nothing is decided by it.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.personal.text(Personal::Source)?.parse().ok()
    }

    pub(super) fn actor(&self) -> Result<Actor, String> {
        match self.details.get("by").and_then(Value::as_str) {
            Some("operator") => Ok(Actor::Operator),
            Some(_) => Err("its actor can't be read".to_owned()),
            None => self.person(Personal::Subject).map(Actor::Person),
        }
    }

    pub(super) fn lock_target(&self) -> Result<LockTarget, String> {
        if self.details.contains_key("role") {
            self.detail("role").map(LockTarget::Role)
        } else if self.details.contains_key("device") {
            self.detail("device").map(LockTarget::Device)
        } else if self.details.contains_key("locked_tenant") {
            self.detail("locked_tenant").map(LockTarget::Tenant)
        } else if self.object.is_some() {
            parse("object", self.object).map(LockTarget::Tunnel)
        } else {
            self.person(Personal::Target).map(LockTarget::Person)
        }
    }

    pub(super) fn scope(&self) -> Result<Scope, String> {
        let words: Vec<String> = self.list_if_any("scope")?;
        Scope::from_words(words.iter().map(String::as_str)).map_err(|_| "its scope can't be read".to_owned())
    }

    pub(super) fn sign_in(&self) -> Result<Option<SignIn>, String> {
        let Some(token) = self.optional("with")? else { return Ok(None) };
        let with = match self.details.get("with_key").map(|key| key.as_str().unwrap_or_default()) {
            None => BegunWith::Token(token),
            Some("") => BegunWith::Outside(Outside { token, key: None }),
            Some(_) => BegunWith::Outside(Outside { token, key: Some(self.detail("with_key")?) }),
        };
        Ok(Some(SignIn { with, claimed: self.list_if_any("claimed_roles")? }))
    }

    pub(super) fn bytes(&self, key: &str, most: usize) -> Result<Arc<[u8]>, String> {
        let bytes = from_text(&self.detail::<String>(key)?, most);
        bytes.ok_or_else(|| format!("its {key} can't be read"))
    }

    pub(super) fn new_passkey(&self) -> Result<NewPasskey, String> {
        let key = ApprovalKey::parse(&self.detail::<String>("algorithm")?, &self.detail::<String>("key")?);
        let approver = ApproverId::parse(&self.detail::<String>("approver")?);
        Ok(NewPasskey {
            approver: approver.ok_or("its approver can't be read")?,
            credential: self.bytes("credential", MOST_CREDENTIAL)?,
            key: key.ok_or("its key can't be read")?,
            site: Site { rp_id: self.detail("rp_id")?, origin: self.detail("origin")? },
            counter: self.number("counter")?.ok_or("it has no counter")?,
        })
    }

    pub(super) fn signed(&self) -> Result<Option<Signed>, String> {
        let Some(passkey) = self.optional("passkey")? else { return Ok(None) };
        Ok(Some(Signed {
            passkey,
            client_data: self.bytes("client_data", approval::MOST_CLIENT_DATA)?,
            authenticator_data: self.bytes("authenticator_data", approval::MOST_AUTHENTICATOR_DATA)?,
            signature: self.bytes("signature", approval::MOST_SIGNATURE)?,
        }))
    }

    pub(super) fn optional<T: FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.details.get(key).map(|_| self.detail(key)).transpose()
    }

    pub(super) fn list_if_any<T: FromStr>(&self, key: &str) -> Result<Vec<T>, String> {
        if self.details.contains_key(key) { self.list(key) } else { Ok(Vec::new()) }
    }

    pub(super) fn drift(&self) -> Result<Option<Drift>, String> {
        let Some(way) = self.optional("change")? else { return Ok(None) };
        let people = self.number("eased_people")?.unwrap_or(0);
        Ok(Some(Drift { way, people, leaves: self.list_if_any("eased")? }))
    }

    pub(super) fn digest(&self) -> Result<Digest, String> {
        let digest = self.details.get("digest").and_then(Value::as_str);
        digest.and_then(Digest::parse).ok_or_else(|| "its digest can't be read".to_owned())
    }

    pub(super) fn maybe_actor(&self) -> Result<Option<Actor>, String> {
        let nobody = !self.details.contains_key("by") && self.personal.get(Personal::Subject).is_none();
        if nobody { Ok(None) } else { self.actor().map(Some) }
    }

    pub(super) fn request(&self) -> Result<RequestId, String> {
        parse("correlation", self.correlation)
    }
}
