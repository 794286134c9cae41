//! The one spelling of a record.
//!
//! RFC 8785 sorts keys, and a record's keys are known: `action`, `correlation`, `details`, `grant`, `kind`,
//! `node`, `object`, `personal`, `policy`, then `prev`, `result`, `seq`, `session`, `time`, `v`. All that
//! comes before `prev` is known as soon as a draft is made, so it is written once, on the caller's own
//! thread; the ledger's thread only adds the place. Strings are escaped by `serde_json`, whose escapes are
//! those of RFC 8785; numbers are integers, which everybody writes alike. A property test holds the result
//! against `serde_json_canonicalizer` over the whole record.

use std::collections::BTreeMap;
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serializer;
use serde_json::{Map, Value};

use super::spelling::by_utf16;
use super::{FORMAT_VERSION, MAX_DETAIL_DEPTH, MAX_INTEGER, Outcome, RecordError, Seq};
use crate::commitment::Personal;
use crate::digest::Digest;
use crate::kind::Kind;

/// The part of a record that does not depend on its place.
pub(super) struct Front<'a> {
    pub(super) action: Option<&'a str>,
    pub(super) correlation: Option<&'a str>,
    pub(super) details: &'a Map<String, Value>,
    pub(super) grant: Option<&'a str>,
    pub(super) kind: Kind,
    pub(super) node: &'a str,
    pub(super) object: Option<&'a str>,
    pub(super) personal: &'a BTreeMap<Personal, Digest>,
    pub(super) policy: Option<&'a str>,
}

impl Front<'_> {
    /// Writes `{"action":…` up to and without the comma before `"prev"`.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.push(b'{');
        let mut members = Members { out, first: true };
        members.text("action", self.action)?;
        members.text("correlation", self.correlation)?;
        if !self.details.is_empty() {
            let out = members.key("details");
            write_object(self.details, out)?;
        }
        members.text("grant", self.grant)?;
        members.text("kind", Some(self.kind.as_str()))?;
        members.text("node", Some(self.node))?;
        members.text("object", self.object)?;
        if !self.personal.is_empty() {
            let out = members.key("personal");
            out.push(b'{');
            let mut fields = Members { out, first: true };
            for (field, commitment) in self.personal {
                let out = fields.key(field.as_str());
                out.push(b'"');
                out.extend_from_slice(&commitment.hex());
                out.push(b'"');
            }
            members.out.push(b'}');
        }
        members.text("policy", self.policy)
    }
}

/// The part that depends on the record's place.
pub(super) struct Place<'a> {
    pub(super) seq: Seq,
    pub(super) time: &'a str,
    pub(super) prev: Digest,
}

impl Place<'_> {
    /// The longest that [`Place::write`] can add, without the session.
    pub(super) const MAX_BYTES: usize = 192;

    /// Writes `,"prev":…` to the end. `session` is a JSON string with its quotes.
    pub(super) fn write(&self, result: Outcome, session: Option<&[u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"prev\":\"");
        out.extend_from_slice(&self.prev.hex());
        // Writing to a vector cannot fail.
        let _ = write!(out, "\",\"result\":\"{}\",\"seq\":{}", result.as_str(), self.seq);
        if let Some(session) = session {
            out.extend_from_slice(b",\"session\":");
            out.extend_from_slice(session);
        }
        let _ = write!(out, ",\"time\":\"{}\",\"v\":{FORMAT_VERSION}}}", self.time);
    }
}

/// Writes the members of an object, in the order in which they are given.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Members<'_> {
    /// Writes the key, which is plain ASCII; the caller writes the value.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn text(&mut self, key: &str, value: Option<&str>) -> Result<(), RecordError> {
        if let Some(value) = value {
            write_scalar(value, self.key(key))?;
        }
        Ok(())
    }
}

/// Members in the order of RFC 8785, in which they are given more often than not.
fn write_object(members: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), RecordError> {
    if members.keys().is_sorted_by(|a, b| by_utf16(a, b).is_lt()) {
        return write_members(members, out);
    }
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| by_utf16(a, b));
    write_members(sorted, out)
}

fn write_members<'a>(
    members: impl IntoIterator<Item = (&'a String, &'a Value)>,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    out.push(b'{');
    for (at, (key, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_scalar(key, out)?;
        out.push(b':');
        write_value(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// A value that [`check_details`] lets pass.
fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), RecordError> {
    match value {
        Value::Object(members) => write_object(members, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(scalar: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) -> Result<(), RecordError> {
    serde_json::to_writer(out, scalar).map_err(|error| malformed(&error))
}

/// A string as JSON, with its quotes.
pub(super) fn json_string(text: &str) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec(text).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> RecordError {
    RecordError::Malformed { reason: error.to_string() }
}

/// RFC 3339 in UTC with exactly nine digits of a second, as it stands in a record.
pub fn time_text(time: Timestamp) -> String {
    format!("{time:.9}")
}

pub(super) fn serialize_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_text(*time))
}

/// Refuses what could not be read back the same by every reader.
pub(super) fn check_details(details: &Map<String, Value>) -> Result<(), RecordError> {
    details.values().try_for_each(|value| check_value(value, 1))
}

fn check_value(value: &Value, depth: usize) -> Result<(), RecordError> {
    if depth > MAX_DETAIL_DEPTH {
        return Err(RecordError::TooDeep);
    }
    match value {
        Value::Number(number) => {
            let exact = number.as_i64().is_some_and(|n| (-MAX_INTEGER..=MAX_INTEGER).contains(&n));
            if exact { Ok(()) } else { Err(RecordError::Number { number: number.to_string() }) }
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        Value::Object(members) => members.values().try_for_each(|member| check_value(member, depth + 1)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}
