//! The parts of a record that have free texts or free keys, read and at once written in canonical form.
//!
//! Each type here is a [`DeserializeSeed`] that appends to a buffer the one spelling of what it reads. Keys
//! must come in the order of RFC 8785 section 3.2.3 (by UTF-16 code units), so a key that comes twice is
//! refused, too.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::{MAX_DETAIL_DEPTH, MAX_INTEGER, RecordError};
use crate::commitment::Personal;
use crate::digest::Digest;

/// Why a reader gave up, where that is more than the JSON reader can say.
pub(super) type Refusal = Option<RecordError>;

/// Keeps the reason, and gives the error that ends the reading.
pub(super) fn refuse<E: Error>(refusal: &mut Refusal, reason: RecordError) -> E {
    let error = E::custom(&reason);
    *refusal = Some(reason);
    error
}

/// Writes a text that needs no escapes.
pub(super) fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Writes an integer.
pub(super) fn write_number(out: &mut Vec<u8>, number: impl serde::Serialize) {
    // Writing a number to a vector cannot fail.
    let _ = serde_json::to_writer(out, &number);
}

#[expect(clippy::ptr_arg, reason = "borrowed or owned tells whether it had escapes")]
fn write_text(out: &mut Vec<u8>, text: &Cow<'_, str>) {
    match text {
        // Borrowed means that it stood there without escapes. All that must be escaped cannot stand in JSON
        // without, so this is its canonical form.
        Cow::Borrowed(text) => write_plain(out, text.as_bytes()),
        // Writing a text to a vector cannot fail.
        Cow::Owned(text) => drop(serde_json::to_writer(out, text)),
    }
}

/// A text.
pub(super) struct PlainText<'o> {
    pub(super) out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for PlainText<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let text = deserializer.deserialize_str(AsItIs)?;
        write_text(self.out, &text);
        Ok(text)
    }
}

/// Takes a text without a copy, if it has no escapes.
struct AsItIs;

impl<'de> DeserializeSeed<'de> for AsItIs {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for AsItIs {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The object of commitments, with at least one.
pub(super) struct Commitments<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) refusal: &'o mut Refusal,
}

impl<'de> DeserializeSeed<'de> for Commitments<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Commitments<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of commitments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut last = None;
        while let Some(field) = map.next_key::<Personal>()? {
            if last.is_some_and(|last| last >= field) {
                return Err(refuse(self.refusal, RecordError::NotCanonical));
            }
            self.out.push(if last.is_none() { b'{' } else { b',' });
            last = Some(field);
            write_plain(self.out, field.as_str().as_bytes());
            self.out.push(b':');
            // Not turned into a digest and back: 64 such digits are their own spelling.
            let commitment = map.next_value_seed(AsItIs)?;
            if !Digest::is_spelled(&commitment) {
                return Err(A::Error::invalid_value(Unexpected::Str(&commitment), &Digest::SPELLING));
            }
            write_plain(self.out, commitment.as_bytes());
        }
        if last.is_none() {
            return Err(refuse(self.refusal, RecordError::NotCanonical));
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// The object of details, with at least one.
pub(super) struct Details<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) refusal: &'o mut Refusal,
}

impl<'de> DeserializeSeed<'de> for Details<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Details<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of details")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let start = self.out.len();
        AnyValue { out: &mut *self.out, refusal: &mut *self.refusal, depth: 0 }.visit_map(map)?;
        // Without details the key is absent.
        if self.out.len() == start + "{}".len() {
            return Err(refuse(self.refusal, RecordError::NotCanonical));
        }
        Ok(())
    }
}

/// Anything that may stand in the details, so many levels below them.
struct AnyValue<'o> {
    out: &'o mut Vec<u8>,
    refusal: &'o mut Refusal,
    depth: usize,
}

impl AnyValue<'_> {
    /// What stands within this.
    fn inner(&mut self) -> AnyValue<'_> {
        AnyValue { out: &mut *self.out, refusal: &mut *self.refusal, depth: self.depth + 1 }
    }

    fn number<E: Error>(self, number: impl fmt::Display) -> E {
        refuse(self.refusal, RecordError::Number { number: number.to_string() })
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > MAX_DETAIL_DEPTH {
            return Err(refuse(self.refusal, RecordError::TooDeep));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(self.number(number)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        if !(-MAX_INTEGER..=MAX_INTEGER).contains(&number) {
            return Err(self.number(number));
        }
        write_number(self.out, number);
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        Err(self.number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        write_text(self.out, &Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        write_text(self.out, &Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        let start = self.out.len();
        loop {
            // The comma is taken back if nothing follows.
            let before = self.out.len();
            if before > start {
                self.out.push(b',');
            }
            if items.next_element_seed(self.inner())?.is_none() {
                self.out.truncate(before);
                break;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let mut last: Option<Cow<'de, str>> = None;
        while let Some(key) = members.next_key_seed(AsItIs)? {
            if let Some(last) = &last {
                if by_utf16(last, &key) != Ordering::Less {
                    return Err(refuse(self.refusal, RecordError::NotCanonical));
                }
                self.out.push(b',');
            }
            write_text(self.out, &key);
            self.out.push(b':');
            members.next_value_seed(self.inner())?;
            last = Some(key);
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// The order of RFC 8785. For ASCII, that of the bytes.
pub(super) fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}
