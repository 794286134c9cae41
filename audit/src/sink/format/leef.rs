//! `QRadar`'s Log Event Extended Format (LEEF:2.0), values parted by tabs.
//!
//! A value can hold neither tab nor line break: they are written as JSON would write them. The record's canonical text comes
//! last, as `record`.

use std::fmt::Write as _;

use crate::commitment::Personal;

use super::{address, cef, event::Event, mapping};

pub(super) fn text(event: &Event<'_>) -> Vec<u8> {
    let record = event.record;
    let mut out =
        format!("LEEF:2.0|Sallyport|Sallyport|{}|{}|x09|", env!("CARGO_PKG_VERSION"), record.kind.as_str());
    let mut first = true;
    let mut put = |key: &str, value: &str| {
        if !first {
            out.push('\t');
        }
        first = false;
        out.push_str(key);
        out.push('=');
        for c in value.chars() {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            } else {
                out.push(c);
            }
        }
    };
    put("devTime", &record.time.as_millisecond().to_string());
    put("cat", mapping::of(record.kind).name());
    put("sev", &cef::severity(event.severity).to_string());
    put("identHostName", &record.node);
    put("result", record.result.as_str());
    for (key, value) in [
        ("action", &record.action),
        ("resource", &record.object),
        ("session", &record.session),
        ("grant", &record.grant),
        ("policy", &record.policy),
    ] {
        if let Some(value) = value {
            put(key, value);
        }
    }
    for (key, field) in [
        ("usrName", Personal::Subject),
        ("target", Personal::Target),
        ("url", Personal::Path),
        ("agent", Personal::Agent),
        ("reason", Personal::Reason),
    ] {
        if let Some(value) = event.person(field) {
            put(key, value);
        }
    }
    if let Some((ip, port)) = event.person(Personal::Source).and_then(address::parts) {
        put("src", &ip.to_string());
        if let Some(port) = port {
            put("srcPort", &port.to_string());
        }
    }
    put("origin", event.origin);
    put("seq", &record.seq.to_string());
    put("leaf", &event.leaf.to_string());
    put("prev", &record.prev.to_string());
    put("sink", event.sink);
    put("sinkseq", &event.sequence.to_string());
    if let Some(octets) = event.oversize {
        put("oversize", &octets.to_string());
    }
    if let Some(record) = event.text {
        put("record", &super::event::in_one_line(record));
    }
    out.into_bytes()
}
