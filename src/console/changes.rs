//! What an order changed: beside the record of the change itself, one of the call (`admin.called`), with a digest of what the
//! thing was and one of what it became.
//!
//! A digest is SHA-256 over the canonical JSON (RFC 8785) of those fields of the answer that say nothing of a person: what is
//! personal stands in records as salted commitments alone, and a digest over it could be tried out. Whoever kept an answer of
//! the API can show by them which state of the thing a call found and which it left.

use std::collections::BTreeMap;

use sallyport_audit::{Draft, Kind, Outcome};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::caller::Caller;

/// Fields that are ids, states, times, numbers, and words that no person chose.
const PLAIN: &[&str] = &[
    "accept_by",
    "action",
    "answer_by",
    "asked",
    "begun",
    "conditions",
    "deadline",
    "decided",
    "digest",
    "enrolled",
    "escalated",
    "expires",
    "grant",
    "hold",
    "id",
    "issued",
    "kind",
    "minutes",
    "minutes_from_first_use",
    "name",
    "object",
    "once",
    "offered",
    "opened",
    "policy",
    "population",
    "proposed",
    "protocol",
    "purpose",
    "record",
    "renews",
    "request",
    "reviewers",
    "revoked",
    "role",
    "scope",
    "since",
    "started",
    "starts",
    "state",
    "ticket",
    "tunnel",
    "until",
    "workflows",
];

/// What a thing is, as far as it is no person's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen(String);

/// The digest of a thing as the API shows it.
pub(super) fn seen(shown: &impl Serialize) -> Seen {
    let fields = match serde_json::to_value(shown) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let plain: BTreeMap<String, Value> = fields
        .into_iter()
        .filter(|(name, value)| PLAIN.contains(&name.as_str()) && is_plain(value))
        .collect();
    // Names are sorted and values are texts, integers and lists of texts, so this is the canonical form.
    let text = serde_json::to_vec(&plain).unwrap_or_default();
    Seen(hex::encode(Sha256::digest(text)))
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Bool(_) | Value::Null => true,
        Value::Number(number) => number.is_u64(),
        Value::Array(items) => items.iter().all(Value::is_string),
        Value::Object(_) => false,
    }
}

impl Caller {
    /// Records that a call has changed something. The change has its own record, which was durable before it took effect;
    /// so a ledger that takes no more now undoes nothing.
    pub(super) async fn changed(&self, call: &'static str, before: Option<Seen>, after: &impl Serialize) {
        let mut draft = Draft::new(Kind::AdminCalled, Outcome::Success)
            .subject(self.identity.subject().as_str())
            .object("gateway:api")
            .source(self.source.to_string())
            .correlation(self.correlation.0.as_str())
            .detail("call", call)
            .detail("after", seen(after).0);
        if let Some(before) = before {
            draft = draft.detail("before", before.0);
        }
        if let Err(error) = self.ledger().append(draft).await {
            warn!(%error, call, "a call that changed something could not be recorded; the change itself is");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_changes_with_the_state_and_never_with_what_is_personal() {
        let grant = json!({ "id": "grant-1", "state": "live", "subject": "user:alice", "status": { "by": "user:bob" } });
        let mut other = grant.clone();
        for (name, value) in
            [("subject", "user:carol"), ("reason", "because"), ("source", "192.0.2.1"), ("what", "user:x")]
        {
            other[name] = value.into();
        }
        assert_eq!(seen(&grant), seen(&other));
        other["state"] = "revoked".into();
        assert_ne!(seen(&grant), seen(&other));
    }

    #[test]
    fn a_digest_can_be_made_by_anybody_who_has_the_answer() {
        // printf '{"id":"grant-1","state":"live"}' | sha256sum
        let expected = "cfda8d9a4b59d0abdc37d5e161ceb76958463317ef21e2969c3d61ef1dec117f";
        assert_eq!(seen(&json!({ "subject": "user:alice", "state": "live", "id": "grant-1" })).0, expected);
    }

    #[test]
    fn every_order_that_changes_something_says_what() {
        // What asks, opens or begins something, and what has a record of its own that names before and after.
        let others = [
            "begin_passkey",
            "explain_policy",
            "replay_policy",
            "scrub_ledger",
            "disclose",
            "erase",
            "rotate_key",
            "prune",
            "make_report",
        ];
        let mut orders = 0;
        for source in [
            include_str!("certificates.rs"),
            include_str!("devices.rs"),
            include_str!("disclosing.rs"),
            include_str!("glass.rs"),
            include_str!("grants.rs"),
            include_str!("keys.rs"),
            include_str!("ledger.rs"),
            include_str!("passkeys.rs"),
            include_str!("policy.rs"),
            include_str!("requests.rs"),
            include_str!("retention.rs"),
            include_str!("reviews.rs"),
            include_str!("sessions.rs"),
            include_str!("shares.rs"),
            include_str!("subjects.rs"),
            include_str!("tokens.rs"),
            include_str!("tunnels.rs"),
        ] {
            for handler in source
                .split("#[utoipa::path(")
                .skip(1)
                .filter(|handler| handler.trim_start().starts_with("post,"))
            {
                let name = handler
                    .split("operation_id = \"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next())
                    .unwrap();
                orders += 1;
                let told = [".changed(", "change(&shared, caller, ", "revoked(&caller, "];
                let told = told.map(|call| format!("{call}\"{name}\""));
                let says = told.iter().any(|told| handler.contains(told));
                assert_ne!(says, others.contains(&name), "{name}");
            }
        }
        assert!(orders > 30, "{orders}");
    }
}
