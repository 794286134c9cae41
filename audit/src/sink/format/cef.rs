//! `ArcSight`'s Common Event Format (CEF:0).
//!
//! Keys of CEF's own dictionary where there is one; the record's canonical bytes come last, as `sallyportRecord`. In the
//! header pipe and backslash are escaped, in values equals sign and backslash; line breaks are `\n` and `\r`.

use crate::commitment::Personal;

use super::{address, event::Event, mapping};

pub(super) fn text(event: &Event<'_>) -> Vec<u8> {
    let record = event.record;
    let mapping = mapping::of(record.kind);
    let mut out = format!(
        "CEF:0|Sallyport|Sallyport|{}|{}|{}|{}|",
        header(env!("CARGO_PKG_VERSION")),
        header(record.kind.as_str()),
        header(mapping.name()),
        severity(event.severity),
    );
    let mut first = true;
    let mut put = |key: &str, value: &str| {
        if !first {
            out.push(' ');
        }
        first = false;
        out.push_str(key);
        out.push('=');
        out.push_str(&escaped(value));
    };
    put("rt", &record.time.as_millisecond().to_string());
    put("externalId", &record.seq.to_string());
    put("outcome", record.result.as_str());
    put("dvchost", &record.node);
    for (key, value) in [("act", &record.action), ("destinationServiceName", &record.object)] {
        if let Some(value) = value {
            put(key, value);
        }
    }
    for (key, field) in [
        ("suser", Personal::Subject),
        ("duser", Personal::Target),
        ("request", Personal::Path),
        ("requestClientApplication", Personal::Agent),
        ("reason", Personal::Reason),
    ] {
        if let Some(value) = event.person(field) {
            put(key, value);
        }
    }
    if let Some((ip, port)) = event.person(Personal::Source).and_then(address::parts) {
        put(if ip.is_ipv6() { "c6a2" } else { "src" }, &ip.to_string());
        if let Some(port) = port {
            put("spt", &port.to_string());
        }
    }
    let numbers =
        [("cn1", "sinkseq", Some(event.sequence)), ("cn2", "oversize", event.oversize.map(|n| n as u64))];
    for (key, label, value) in numbers {
        if let Some(value) = value {
            put(key, &value.to_string());
            put(&format!("{key}Label"), label);
        }
    }
    let (leaf, prev) = (event.leaf.to_string(), record.prev.to_string());
    for (key, label, value) in [
        ("cs1", "origin", Some(event.origin)),
        ("cs2", "leaf", Some(leaf.as_str())),
        ("cs3", "prev", Some(prev.as_str())),
        ("cs4", "sink", Some(event.sink)),
        ("cs5", "session", record.session.as_deref()),
        ("cs6", "grant", record.grant.as_deref()),
    ] {
        if let Some(value) = value {
            put(key, value);
            put(&format!("{key}Label"), label);
        }
    }
    if let Some(record) = event.text {
        put("sallyportRecord", &super::event::in_one_line(record));
    }
    out.into_bytes()
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '=' => out.push_str("\\="),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            // Whoever chose the value must not begin a line of their own in a file that the receiver keeps.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// 0 to 10 for a syslog severity.
pub(super) fn severity(syslog: u8) -> u8 {
    match syslog {
        0..=2 => 10,
        3 => 8,
        4 => 6,
        5 => 4,
        _ => 2,
    }
}
