//! Elasticsearch's and `OpenSearch`'s `_bulk`.
//!
//! Each record is `create`d under an id made of ledger and number, so that a record sent again is found to be there (409)
//! instead of standing there twice. The answer says of each item what became of it, in order. What the receiver had no room
//! for (429, 5xx), or won't take from us or into this index (401, 403, 404: a full disk blocks writing with one of these), ends the
//! parcel there: it and all after it are sent again, and none is set aside.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::Digest;

use super::{
    super::parcel::Parcel,
    Answer, LinkError, credential,
    http::{Client, secret},
    said,
};

pub(in crate::sink) struct Elastic {
    pub(super) client: Client,
    credential: Option<PathBuf>,
    index: String,
    ledger: String,
}

impl Elastic {
    pub(super) fn new(client: Client, credential: Option<PathBuf>, index: &str, origin: &str) -> Self {
        let mut ledger = Digest::of(&[origin.as_bytes()]).to_string();
        ledger.truncate(16);
        Self { client, credential, index: index.to_owned(), ledger }
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        let mut body = Vec::with_capacity(parcel.octets + 128 * parcel.items.len());
        for item in &parcel.items {
            let id = format!("{}-{}", self.ledger, item.seq);
            let action = json!({ "create": { "_index": self.index, "_id": id } });
            body.extend_from_slice(action.to_string().as_bytes());
            body.push(b'\n');
            body.extend_from_slice(&item.bytes);
            body.push(b'\n');
        }
        let mut headers = Vec::new();
        if let Some(path) = &self.credential {
            let credential = credential::read(path)?;
            let text = credential.expose_to_receiver();
            let value = if text.contains(':') {
                format!("Basic {}", STANDARD.encode(text))
            } else {
                format!("ApiKey {text}")
            };
            headers.push(("authorization", secret(&value)?));
        }
        let reply = self.client.post("/_bulk", "application/x-ndjson", headers, body).await?;
        if !reply.is_taken()? {
            return Ok(Answer::Refused { reason: reply.reason() });
        }
        answer(&reply.json()?, parcel.items.len())
    }
}

/// What a `_bulk` of `count` items says. Pure.
fn answer(reply: &Value, count: usize) -> Result<Answer, LinkError> {
    let unfit = |what: &str| LinkError::Answer { what: what.to_owned() };
    let items = reply.get("items").and_then(Value::as_array).ok_or_else(|| unfit("it has no items"))?;
    if items.len() != count {
        return Err(unfit("it has another number of items than were sent"));
    }
    let (mut refused, mut again) = (Vec::new(), None);
    for (place, item) in items.iter().enumerate() {
        let item = item.get("create").ok_or_else(|| unfit("an item is not of a create"))?;
        let status =
            item.get("status").and_then(Value::as_u64).ok_or_else(|| unfit("an item has no status"))?;
        match status {
            // 409: sent before, and there.
            200..=299 | 409 => {}
            // Of the index, or of who we are, and not of the record: blocked, gone, not for us.
            401 | 403 | 404 | 408 | 429 | 500..=599 => {
                again = Some(place);
                break;
            }
            _ => {
                let reason = item.get("error").map(|error| said(error.to_string().as_bytes()));
                refused.push((place, format!("status {status}, {}", reason.unwrap_or_default())));
            }
        }
    }
    Ok(if refused.is_empty() && again.is_none() { Answer::Taken } else { Answer::Partly { refused, again } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(statuses: &[u64]) -> Value {
        let items: Vec<Value> = statuses
            .iter()
            .map(|status| json!({ "create": { "status": status, "error": { "type": "x" } } }))
            .collect();
        json!({ "errors": true, "items": items })
    }

    #[test]
    fn each_item_is_judged_by_itself_and_what_comes_after_a_full_receiver_is_sent_again() {
        assert!(matches!(answer(&items(&[201, 409, 201]), 3), Ok(Answer::Taken)));
        let Ok(Answer::Partly { refused, again }) = answer(&items(&[201, 400, 201]), 3) else { panic!() };
        assert_eq!((refused.len(), refused[0].0, again), (1, 1, None));
        let Ok(Answer::Partly { refused, again }) = answer(&items(&[201, 400, 429, 400]), 4) else {
            panic!()
        };
        assert_eq!((refused.len(), again), (1, Some(2)));
    }

    #[test]
    fn an_index_that_is_blocked_or_closed_to_us_costs_no_record() {
        for status in [401, 403, 404, 408, 429, 500, 503] {
            let Ok(Answer::Partly { refused, again }) = answer(&items(&[201, status, status]), 3) else {
                panic!()
            };
            assert_eq!((refused.len(), again), (0, Some(1)), "{status}");
        }
    }

    #[test]
    fn an_answer_that_does_not_speak_of_every_item_moves_nothing() {
        for (reply, count) in [
            (json!({}), 1),
            (json!({ "items": [] }), 1),
            (items(&[201]), 2),
            (items(&[201, 201]), 1),
            (json!({ "items": [{ "create": {} }] }), 1),
            (json!({ "items": [{ "index": { "status": 201 } }] }), 1),
            (json!("ok"), 1),
        ] {
            assert!(answer(&reply, count).is_err(), "{reply}");
        }
    }
}
