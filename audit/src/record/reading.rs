//! Reads a record in one pass, and proves on the way that its bytes are the one spelling of what they say.
//!
//! Nearly every record is read by [`plain`], which is quick and gives up on whatever is unusual. For the rest, and for
//! the reason why something is no record, `serde_json` reads. Each key and value is written again as it comes, in the spelling of RFC 8785, into a
//! buffer that serves for all records; keys must come in their canonical order, so nothing needs to be
//! sorted or kept. At the end what was written must be, byte by byte, what was read. A string without
//! escapes is its own canonical form and is only copied.
//!
//! The slow way to the same answer (a map of everything, `serde_json_canonicalizer`) is kept in
//! [`crate::testing`]; property tests and a fuzz target hold one against the other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::ops::Range;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::spelling::{Commitments, Details, PlainText, Refusal, refuse, write_number, write_plain};
use super::{FORMAT_VERSION, MAX_INTEGER, MAX_RECORD_BYTES, Outcome, Record, RecordError, Seq};
use crate::commitment::Personal;
use crate::digest::Digest;
use crate::kind::Kind;

mod plain;

/// A record that was read, without copies of its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    /// Its number.
    pub seq: Seq,
    /// When it was numbered.
    pub time: Timestamp,
    /// The leaf hash of the record before it.
    pub prev: Digest,
    /// What happened.
    pub kind: Kind,
    /// How it ended.
    pub result: Outcome,
    /// What was done.
    pub action: Option<Cow<'a, str>>,
    /// To what it was done.
    pub object: Option<Cow<'a, str>>,
    /// The session it belongs to.
    pub session: Option<Cow<'a, str>>,
    /// The grant that allowed it.
    pub grant: Option<Cow<'a, str>>,
    /// The digest of the policy that decided it.
    pub policy: Option<Cow<'a, str>>,
    /// An id which ties it to other records of the same cause.
    pub correlation: Option<Cow<'a, str>>,
    /// The gateway that wrote it.
    pub node: Cow<'a, str>,
    /// Where in the bytes the commitments stand; empty if there are none.
    personal: Range<usize>,
    /// Where the details stand.
    details: Range<usize>,
}

impl<'a> RecordView<'a> {
    /// The bytes it was read from.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What else is said about this kind of event.
    pub fn details(&self) -> Map<String, Value> {
        self.part(&self.details)
    }

    /// Commitments to the personal values.
    pub fn personal(&self) -> BTreeMap<Personal, Digest> {
        self.part(&self.personal)
    }

    /// Everything, with texts of its own.
    pub fn to_record(&self) -> Record {
        let owned = |text: &Option<Cow<'a, str>>| text.as_deref().map(str::to_owned);
        Record {
            v: FORMAT_VERSION,
            seq: self.seq,
            time: self.time,
            prev: self.prev,
            kind: self.kind,
            result: self.result,
            action: owned(&self.action),
            object: owned(&self.object),
            session: owned(&self.session),
            grant: owned(&self.grant),
            policy: owned(&self.policy),
            correlation: owned(&self.correlation),
            node: self.node.clone().into_owned(),
            personal: self.personal(),
            details: self.details(),
        }
    }

    /// An object within the record, read once more; it was found right before.
    fn part<T: Default + Deserialize<'a>>(&self, range: &Range<usize>) -> T {
        let text = self.bytes.get(range.clone()).unwrap_or_default();
        serde_json::from_slice(text).unwrap_or_default()
    }
}

/// Reads records, one after the other, with one buffer.
#[derive(Default)]
pub struct RecordReader {
    /// The record that is being read, in canonical form.
    again: Vec<u8>,
    seconds: plain::Seconds,
}

impl RecordReader {
    /// Reads a record, and refuses bytes which are not the one spelling of what they say.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<RecordView<'a>, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| RecordError::Malformed { reason: error.to_string() })?;
        if let Some(record) = plain::read(text, &mut self.seconds) {
            return Ok(record);
        }
        self.again.clear();
        let mut refusal = None;
        let mut source = serde_json::Deserializer::from_str(text);
        let fields = Fields { bytes, out: &mut self.again, refusal: &mut refusal };
        let read = fields.deserialize(&mut source).and_then(|read| source.end().map(|()| read));
        match read {
            Ok((found, _)) if found != FORMAT_VERSION => Err(RecordError::Version { found }),
            Ok((_, record)) if self.again == bytes => Ok(record),
            Ok(_) => Err(RecordError::NotCanonical),
            Err(error) => Err(match later_version(text) {
                Some(found) => RecordError::Version { found },
                None => refusal.unwrap_or_else(|| RecordError::Malformed { reason: error.to_string() }),
            }),
        }
    }
}

/// A record of a later format must be told apart from garbage, whatever else it holds.
fn later_version(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    serde_json::from_str::<Version>(text).ok().map(|version| version.v).filter(|v| *v != FORMAT_VERSION)
}

/// A record's keys, in canonical order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Action,
    Correlation,
    Details,
    Grant,
    Kind,
    Node,
    Object,
    Personal,
    Policy,
    Prev,
    Result,
    Seq,
    Session,
    Time,
    V,
}

impl Key {
    /// As it stands in a record, with its quotes and the colon.
    const fn spelled(self) -> &'static str {
        match self {
            Self::Action => "\"action\":",
            Self::Correlation => "\"correlation\":",
            Self::Details => "\"details\":",
            Self::Grant => "\"grant\":",
            Self::Kind => "\"kind\":",
            Self::Node => "\"node\":",
            Self::Object => "\"object\":",
            Self::Personal => "\"personal\":",
            Self::Policy => "\"policy\":",
            Self::Prev => "\"prev\":",
            Self::Result => "\"result\":",
            Self::Seq => "\"seq\":",
            Self::Session => "\"session\":",
            Self::Time => "\"time\":",
            Self::V => "\"v\":",
        }
    }
}

/// Reads a whole record, and writes it again.
struct Fields<'b, 'o> {
    bytes: &'b [u8],
    out: &'o mut Vec<u8>,
    refusal: &'o mut Refusal,
}

impl<'de> DeserializeSeed<'de> for Fields<'de, '_> {
    /// With the format version that it names.
    type Value = (u64, RecordView<'de>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'de, '_> {
    type Value = (u64, RecordView<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { bytes, out, refusal } = self;
        let [mut action, mut correlation, mut grant, mut object, mut policy, mut session] =
            [const { None }; 6];
        let (mut kind, mut node, mut prev, mut result, mut seq, mut time, mut v) =
            (None, None, None, None, None, None, None);
        let (mut details, mut personal) = (0..0, 0..0);
        let mut last = None;
        while let Some(key) = map.next_key::<Key>()? {
            if last.is_some_and(|last| last >= key) {
                return Err(refuse(refusal, RecordError::NotCanonical));
            }
            out.push(if last.is_none() { b'{' } else { b',' });
            out.extend_from_slice(key.spelled().as_bytes());
            last = Some(key);
            match key {
                Key::Action => action = Some(map.next_value_seed(PlainText { out })?),
                Key::Correlation => correlation = Some(map.next_value_seed(PlainText { out })?),
                Key::Grant => grant = Some(map.next_value_seed(PlainText { out })?),
                Key::Node => node = Some(map.next_value_seed(PlainText { out })?),
                Key::Object => object = Some(map.next_value_seed(PlainText { out })?),
                Key::Policy => policy = Some(map.next_value_seed(PlainText { out })?),
                Key::Session => session = Some(map.next_value_seed(PlainText { out })?),
                Key::Details => {
                    let start = out.len();
                    map.next_value_seed(Details { out, refusal })?;
                    details = start..out.len();
                }
                Key::Personal => {
                    let start = out.len();
                    map.next_value_seed(Commitments { out, refusal })?;
                    personal = start..out.len();
                }
                Key::Kind => {
                    let value: Kind = map.next_value()?;
                    write_plain(out, value.as_str().as_bytes());
                    kind = Some(value);
                }
                Key::Result => {
                    let value: Outcome = map.next_value()?;
                    write_plain(out, value.as_str().as_bytes());
                    result = Some(value);
                }
                Key::Prev => {
                    let value: Digest = map.next_value()?;
                    write_plain(out, &value.hex());
                    prev = Some(value);
                }
                Key::Seq => {
                    let value: u64 = map.next_value()?;
                    // Beyond, RFC 8785 would round it: a number that many records do not have.
                    if value > MAX_INTEGER.unsigned_abs() {
                        return Err(refuse(refusal, RecordError::NotCanonical));
                    }
                    write_number(out, value);
                    seq = Some(Seq::new(value));
                }
                Key::Time => {
                    let value: Timestamp = map.next_value()?;
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "\"{value:.9}\"");
                    time = Some(value);
                }
                Key::V => {
                    let value: u64 = map.next_value()?;
                    write_number(out, value);
                    v = Some(value);
                }
            }
        }
        out.push(b'}');
        let record = RecordView {
            bytes,
            seq: seq.ok_or_else(|| A::Error::missing_field("seq"))?,
            time: time.ok_or_else(|| A::Error::missing_field("time"))?,
            prev: prev.ok_or_else(|| A::Error::missing_field("prev"))?,
            kind: kind.ok_or_else(|| A::Error::missing_field("kind"))?,
            result: result.ok_or_else(|| A::Error::missing_field("result"))?,
            action,
            object,
            session,
            grant,
            policy,
            correlation,
            node: node.ok_or_else(|| A::Error::missing_field("node"))?,
            personal,
            details,
        };
        Ok((v.ok_or_else(|| A::Error::missing_field("v"))?, record))
    }
}
