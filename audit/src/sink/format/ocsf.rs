//! The Open Cybersecurity Schema Framework, version 1.8.0, with the attestation of the profile `record_integrity`.
//!
//! Class and activity of a kind stand in `mapping.toml`; what a class demands beside them is filled in here. OCSF has no class
//! for an approval: those are Entity Management, and their facts are in `unmapped`.
//!
//! `raw_data` is the record's canonical text. The attestation's fingerprint is the record's leaf hash, SHA-256 over a zero byte
//! and that text (RFC 6962), and `prev_event` names the record before it: the chain is the ledger's own, so that what a
//! SIEM gives back can be checked against the signed tree. The profile stands in the schema's main branch and in no release
//! yet. It computes a fingerprint over the OCSF event; ours covers the record in `raw_data`, and not what was derived from it.
//!
//! `signatures` is left out: the profile wants each computed over this one event's fingerprint, and the ledger's signatures are over
//! heads of its tree. Which head covers a record, and the way from one to the other, is what `auditctl prove` gives; and a text
//! that named the newest head would not be the same each time that a record is sent.

use serde_json::{Value, json};

use crate::{Digest, commitment::Personal, record::Outcome};

use super::{
    address,
    ecs::{put, sentence},
    event::Event,
    mapping,
};

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

const SHA_256: u32 = 3;

/// The methods that the schema knows.
const METHODS: &[&str] = &["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"];

pub(super) fn text(event: &Event<'_>) -> Vec<u8> {
    let record = event.record;
    let mapping = mapping::of(record.kind);
    let (class, activity) = (mapping.class(), mapping.activity());
    let uid = format!("{}:{}", event.origin, record.seq);
    // Of a finding it says how far somebody is with it: it is new. What was found stands elsewhere.
    let status = if record.result == Outcome::Success || is_finding(class) { 1 } else { 2 };
    let mut out = json!({
        "class_uid": class,
        "category_uid": class / 1000,
        "activity_id": activity,
        "type_uid": u64::from(class) * 100 + u64::from(activity),
        "time": record.time.as_millisecond(),
        "severity_id": severity(event.severity),
        "status_id": status,
        "status_detail": record.result.as_str(),
        "message": sentence(event),
        "metadata": {
            "version": VERSION,
            "product": { "name": "Sallyport", "vendor_name": "Sallyport", "version": env!("CARGO_PKG_VERSION") },
            "profiles": ["record_integrity"],
            "uid": uid,
            "event_code": record.kind.as_str(),
            "sequence": event.sequence,
            "log_name": event.origin,
            "original_time": crate::record::time_text(record.time),
        },
        "unmapped": {
            "origin": event.origin,
            "seq": record.seq.get(),
            "sink": event.sink,
            "sinkseq": event.sequence,
            "node": record.node,
        },
        "attestation": {
            "uid": uid,
            // A key of the ledger has the ledger's name (C2SP signed-note); keys change, the name stays.
            "authority_uid": event.origin,
            "chain_uid": event.origin,
            "fingerprint": fingerprint(event.leaf),
        },
    });
    if activity == 99 {
        put(&mut out, &["activity_name"], record.kind.as_str().into());
    }
    if let Some(before) = record.seq.get().checked_sub(1) {
        let before =
            json!({ "uid": format!("{}:{before}", event.origin), "fingerprint": fingerprint(record.prev) });
        put(&mut out, &["attestation", "prev_event"], before);
    }
    match event.text {
        Some(text) => {
            put(&mut out, &["raw_data"], text.into());
            put(&mut out, &["raw_data_size"], text.len().into());
        }
        None => {
            put(&mut out, &["metadata", "is_truncated"], true.into());
            put(&mut out, &["metadata", "untruncated_size"], event.oversize.unwrap_or_default().into());
        }
    }
    if let Some(correlation) = &record.correlation {
        put(&mut out, &["metadata", "correlation_uid"], correlation.as_str().into());
    }
    unmapped(event, &mut out);
    fill(event, class, &mut out);
    out.to_string().into_bytes()
}

/// What the schema has no place for.
fn unmapped(event: &Event<'_>, out: &mut Value) {
    let record = event.record;
    for (name, value) in [
        ("action", &record.action),
        ("object", &record.object),
        ("session", &record.session),
        ("grant", &record.grant),
        ("policy", &record.policy),
    ] {
        if let Some(value) = value {
            put(out, &["unmapped", name], value.as_str().into());
        }
    }
    if !record.details.is_empty() && event.oversize.is_none() {
        put(out, &["unmapped", "details"], Value::Object(record.details.clone()));
    }
    let people = event.people();
    if !people.is_empty() {
        put(out, &["unmapped", "who"], people.into());
    }
}

/// What this class demands and what it has a place for.
fn fill(event: &Event<'_>, class: u32, out: &mut Value) {
    let record = event.record;
    let object = record.object.as_deref().unwrap_or(record.kind.as_str());
    let subject = event.person(Personal::Subject);
    // A name is demanded. Commitments, or an erased person, leave none.
    let user = |name: Option<&str>| json!({ "name": name.unwrap_or("withheld") });
    let source = event.person(Personal::Source).map(|source| match address::parts(source) {
        Some((ip, Some(port))) => json!({ "ip": ip.to_string(), "port": port }),
        Some((ip, None)) => json!({ "ip": ip.to_string() }),
        None => json!({ "name": source }),
    });
    let here = json!({ "svc_name": object, "hostname": record.node });
    if let Some(subject) = subject
        && matches!(class, 1008 | 3000..=3999 | 6003)
    {
        put(out, &["actor"], json!({ "user": user(Some(subject)) }));
    }
    if let Some(source) = &source
        && !(is_finding(class) || class == 6002)
    {
        put(out, &["src_endpoint"], source.clone());
    }
    match class {
        1008 => put(out, &["log_name"], event.origin.into()),
        2003 => {
            let control = record.details.get("control").and_then(Value::as_str).unwrap_or(object);
            put(out, &["finding_info"], finding(event, control));
            // Pass or fail: a control that could not be tried did not pass.
            let (status, status_id) =
                if record.result == Outcome::Success { ("Pass", 1) } else { ("Fail", 3) };
            put(
                out,
                &["compliance"],
                json!({ "control": control, "status": status, "status_id": status_id }),
            );
        }
        2004 => {
            let rule = record.details.get("rule").and_then(Value::as_str).unwrap_or(record.kind.as_str());
            put(out, &["finding_info"], finding(event, rule));
        }
        2008 => {
            put(out, &["finding_info"], finding(event, mapping::of(record.kind).name()));
            let whose = user(event.person(Personal::Target));
            put(out, &["access_analysis_result"], json!({ "accessors": [whose.clone()] }));
            put(out, &["user"], whose);
        }
        3001 => put(out, &["user"], user(event.person(Personal::Target).or(subject))),
        3002 => {
            put(out, &["user"], user(subject));
            put(out, &["service"], json!({ "name": "sallyport" }));
        }
        3003 => {
            put(out, &["user"], user(subject));
            let action = record.action.as_deref().unwrap_or("use");
            put(out, &["privileges"], json!([format!("{action} {object}")]));
        }
        3004 => {
            let family = object.split(':').next().unwrap_or(object);
            put(out, &["entity"], json!({ "name": object, "uid": object, "type": family }));
        }
        4001 => put(out, &["dst_endpoint"], here),
        4002 => {
            put(out, &["dst_endpoint"], here);
            let mut request = json!({ "uid": record.correlation.as_deref().unwrap_or(object) });
            if let Some(method) = record.action.as_deref().filter(|method| METHODS.contains(method)) {
                put(&mut request, &["http_method"], method.into());
            }
            if let Some(path) = event.person(Personal::Path) {
                put(&mut request, &["url"], json!({ "path": path }));
            }
            if let Some(agent) = event.person(Personal::Agent) {
                put(&mut request, &["user_agent"], agent.into());
            }
            put(out, &["http_request"], request);
            if let Some(status) = record.details.get("status").and_then(Value::as_u64) {
                put(out, &["http_response"], json!({ "code": status }));
            }
        }
        4014 => {
            put(out, &["dst_endpoint"], here);
            let session = record.session.as_deref().unwrap_or(object);
            put(out, &["session"], json!({ "uid": session, "is_remote": true }));
            if let Some(subject) = subject {
                put(out, &["user"], user(Some(subject)));
            }
        }
        6002 => {
            put(
                out,
                &["app"],
                json!({ "name": "sallyportd", "vendor_name": "Sallyport", "version": env!("CARGO_PKG_VERSION") }),
            );
        }
        6003 => {
            let operation = record.action.as_deref().unwrap_or(record.kind.as_str());
            put(out, &["api"], json!({ "operation": operation, "service": { "name": object } }));
            if subject.is_none() {
                put(out, &["actor"], json!({ "user": user(None) }));
            }
            if source.is_none() {
                put(out, &["src_endpoint"], json!({ "name": "withheld" }));
            }
        }
        _ => {}
    }
}

/// Whether the class is one of findings.
fn is_finding(class: u32) -> bool {
    class / 1000 == 2
}

fn finding(event: &Event<'_>, title: &str) -> Value {
    json!({ "uid": format!("{}:{}", event.origin, event.record.seq), "title": title })
}

fn fingerprint(digest: Digest) -> Value {
    json!({ "algorithm_id": SHA_256, "algorithm": "SHA-256", "value": digest.to_string() })
}

/// OCSF's severity for syslog's.
fn severity(syslog: u8) -> u8 {
    match syslog {
        0..=2 => 5,
        3 => 4,
        4 => 3,
        5 => 2,
        _ => 1,
    }
}
