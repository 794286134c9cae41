//! Elastic Common Schema, and under `sallyport` what it has no field for.
//!
//! `event.original` is the record's canonical text and `event.hash` its leaf hash: SHA-256 over a zero byte and that text.

use serde_json::{Value, json};

use crate::{commitment::Personal, record::Outcome};

use super::{address, event::Event, mapping};

/// The version of ECS whose fields are used.
pub const VERSION: &str = "9.4.0";

pub(super) fn text(event: &Event<'_>) -> Vec<u8> {
    let record = event.record;
    let mapping = mapping::of(record.kind);
    let alert = record.kind == crate::kind::Kind::DetectionRaised;
    let mut out = json!({
        "@timestamp": crate::record::time_text(record.time),
        "ecs": { "version": VERSION },
        "message": sentence(event),
        "event": {
            "kind": if alert { "alert" } else { "event" },
            "category": mapping.categories().collect::<Vec<_>>(),
            "type": mapping.types().collect::<Vec<_>>(),
            "action": record.kind.as_str(),
            "outcome": if record.result == Outcome::Success { "success" } else { "failure" },
            "module": "sallyport",
            "dataset": "sallyport.audit",
            "provider": event.origin,
            "id": format!("{}:{}", event.origin, record.seq),
            "sequence": record.seq.get(),
            "severity": event.severity,
            "hash": event.leaf.to_string(),
        },
        "observer": { "vendor": "Sallyport", "product": "Sallyport", "type": "proxy", "version": env!("CARGO_PKG_VERSION") },
        "host": { "name": record.node },
        "sallyport": {
            "origin": event.origin,
            "seq": record.seq.get(),
            "leaf": event.leaf.to_string(),
            "prev": record.prev.to_string(),
            "sink": event.sink,
            "sinkseq": event.sequence,
            "result": record.result.as_str(),
        },
    });
    let mut put = |path: &[&str], value: Value| put(&mut out, path, value);
    for (name, value) in [
        ("action", &record.action),
        ("object", &record.object),
        ("session", &record.session),
        ("grant", &record.grant),
        ("policy", &record.policy),
        ("correlation", &record.correlation),
    ] {
        if let Some(value) = value {
            put(&["sallyport", name], value.as_str().into());
        }
    }
    match event.oversize {
        Some(octets) => put(&["sallyport", "oversize"], octets.into()),
        None if !record.details.is_empty() => {
            // As one text: fields of free form would each become a field of the index.
            put(&["sallyport", "details"], Value::Object(record.details.clone()).to_string().into());
        }
        None => {}
    }
    if alert && event.oversize.is_none() {
        put(&["rule", "ruleset"], "sallyport".into());
        for (name, detail) in [("name", "rule"), ("description", "says")] {
            if let Some(text) = record.details.get(detail).and_then(Value::as_str) {
                put(&["rule", name], text.into());
            }
        }
    }
    if let Some(text) = event.text {
        put(&["event", "original"], text.into());
    }
    for (path, field) in [
        (&["user", "name"][..], Personal::Subject),
        (&["user", "target", "name"][..], Personal::Target),
        (&["source", "address"][..], Personal::Source),
        (&["user_agent", "original"][..], Personal::Agent),
        (&["url", "path"][..], Personal::Path),
        (&["event", "reason"][..], Personal::Reason),
    ] {
        if let Some(value) = event.person(field) {
            put(path, value.into());
        }
    }
    if let Some((ip, port)) = event.person(Personal::Source).and_then(address::parts) {
        put(&["source", "ip"], ip.to_string().into());
        if let Some(port) = port {
            put(&["source", "port"], port.into());
        }
    }
    for (name, field) in [("erased", "erased"), ("withheld", "withheld")] {
        if let Some(fields) = event.people().get(field) {
            put(&["sallyport", name], fields.clone());
        }
    }
    out.to_string().into_bytes()
}

/// What happened, in words.
pub(super) fn sentence(event: &Event<'_>) -> String {
    let record = event.record;
    let name = mapping::of(record.kind).name();
    let object = record.object.as_deref().map_or_else(String::new, |object| format!(" ({object})"));
    match record.result {
        Outcome::Success => format!("{name}{object}"),
        Outcome::Denied => format!("{name}{object}: denied"),
        Outcome::Failure => format!("{name}{object}: failed"),
    }
}

/// Puts a value at a path, making the objects on the way.
pub(super) fn put(out: &mut Value, path: &[&str], value: Value) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(object) = out.as_object_mut() else { return };
    if rest.is_empty() {
        object.insert((*name).to_owned(), value);
    } else {
        put(object.entry(*name).or_insert_with(|| json!({})), rest, value);
    }
}
