//! Reading and writing the handshake's fields: big-endian numbers, fixed arrays, and byte strings behind a length.
//!
//! Strict on purpose: a message has one encoding, every length has a bound that is checked before anything is copied,
//! and bytes left over are an error. So two different byte strings never mean the same message, which the transcript
//! relies on.

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends inside a field.
    #[error("it ends inside the field `{field}`")]
    Truncated {
        /// The field being read.
        field: &'static str,
    },
    /// There is more than the message.
    #[error("{extra} bytes follow its end")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A length above its bound.
    #[error("the field `{field}` announces {announced}, at most {limit} are allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// What the length says.
        announced: usize,
        /// Its bound.
        limit: usize,
    },
    /// A value that the field cannot have.
    #[error("the field `{field}` has a value that is not defined")]
    BadValue {
        /// The field.
        field: &'static str,
    },
}

/// A cursor over a received message.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A byte string behind a two-byte length, at most `limit` long.
    pub(crate) fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let announced = usize::from(self.u16(field)?);
        if announced > limit {
            return Err(DecodeError::TooLong { field, announced, limit });
        }
        let (head, rest) = self.rest.split_at_checked(announced).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    /// Printable UTF-8 behind a two-byte length; control characters are refused, so that a peer's text cannot forge
    /// a log line or drive a terminal.
    pub(crate) fn text(&mut self, field: &'static str, limit: usize) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes(field, limit)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::BadValue { field })?;
        if text.chars().any(char::is_control) {
            return Err(DecodeError::BadValue { field });
        }
        Ok(text)
    }

    /// A count in two bytes, at most `limit`.
    pub(crate) fn count(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let announced = usize::from(self.u16(field)?);
        if announced > limit {
            return Err(DecodeError::TooLong { field, announced, limit });
        }
        Ok(announced)
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { extra: self.rest.len() }) }
    }
}

/// Builds a message.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.array(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.array(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.array(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.array(&value.to_be_bytes())
    }

    pub(crate) fn array(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// A count in two bytes.
    pub(crate) fn count(
        &mut self,
        field: &'static str,
        count: usize,
        limit: usize,
    ) -> Result<(), DecodeError> {
        let small = u16::try_from(count).ok().filter(|_| count <= limit);
        let value = small.ok_or(DecodeError::TooLong { field, announced: count, limit })?;
        self.u16(value);
        Ok(())
    }

    /// A byte string behind a two-byte length.
    pub(crate) fn bytes(
        &mut self,
        field: &'static str,
        value: &[u8],
        limit: usize,
    ) -> Result<(), DecodeError> {
        self.count(field, value.len(), limit)?;
        self.array(value);
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16("n"), Ok(0x0102));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing { extra: 1 }));
    }

    #[test]
    fn a_length_above_its_bound_is_refused_before_the_bytes_are_looked_at() {
        let mut reader = Reader::new(&[0xff, 0xff]);
        assert_eq!(
            reader.bytes("token", 8),
            Err(DecodeError::TooLong { field: "token", announced: 0xffff, limit: 8 })
        );
    }

    #[test]
    fn a_field_cut_short_is_named() {
        assert_eq!(
            Reader::new(&[0, 2, b'x']).bytes("name", 9),
            Err(DecodeError::Truncated { field: "name" })
        );
    }

    #[test]
    fn control_characters_in_text_are_refused() {
        assert!(Reader::new(b"\x00\x03a\nb").text("reason", 9).is_err());
        assert!(Reader::new(b"\x00\x04\x1b[2J").text("reason", 9).is_err());
        assert_eq!(Reader::new(b"\x00\x02ok").text("reason", 9), Ok("ok"));
    }

    #[test]
    fn nothing_longer_than_its_bound_is_written() {
        assert!(Writer::default().bytes("f", &[0; 9], 8).is_err());
        assert!(Writer::default().bytes("f", &vec![0; 70_000], 80_000).is_err());
    }
}
