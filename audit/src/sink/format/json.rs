//! The record as a member of a JSON object, beside its place in the ledger.
//!
//! The record's bytes stand in it as they are in the ledger. A receiver that keeps the object and not its bytes changes
//! spaces and order of keys at most; brought into canonical form (RFC 8785) again, the record has its leaf hash.

use serde_json::{Map, Value};

use super::event::Event;

pub(super) fn text(event: &Event<'_>) -> Vec<u8> {
    let record = event.record;
    let mut envelope = Map::new();
    let mut put = |name: &str, value: Value| {
        envelope.insert(name.to_owned(), value);
    };
    put("time", crate::record::time_text(record.time).into());
    put("node", record.node.as_str().into());
    put("kind", record.kind.as_str().into());
    put("result", record.result.as_str().into());
    put("severity", event.severity.into());
    put("origin", event.origin.into());
    put("seq", record.seq.get().into());
    put("leaf", event.leaf.to_string().into());
    put("prev", record.prev.to_string().into());
    put("sink", event.sink.into());
    put("sinkseq", event.sequence.into());
    if let Some(octets) = event.oversize {
        put("oversize", octets.into());
    }
    let people = event.people();
    if !people.is_empty() {
        put("who", people.into());
    }
    let mut text = Value::Object(envelope).to_string().into_bytes();
    if let Some(record) = event.text {
        text.pop();
        text.extend_from_slice(b",\"record\":");
        text.extend_from_slice(record.as_bytes());
        text.push(b'}');
    }
    text
}
