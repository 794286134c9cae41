//! The quick way through a record that holds nothing unusual, as nearly all do.
//!
//! A record has one spelling, so it can be held against that spelling as it stands: known keys in a known order,
//! nothing between them, texts that end at the next quote. What has an escape, or is in any way not as expected, is
//! given up on: then the thorough reader decides, and says why. So this reader may refuse whatever it likes, and
//! must never accept what the other does not, or as something else; the tests and the fuzz target that hold the
//! thorough reader against the slow one go through this one first.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use jiff::Timestamp;

use super::super::spelling::by_utf16;
use super::super::{MAX_DETAIL_DEPTH, MAX_INTEGER, Outcome, Seq, time_text};
use super::RecordView;
use crate::commitment::Personal;
use crate::digest::Digest;
use crate::kind::Kind;

/// Remembers the second of the time that was read last: most records are of the same one.
#[derive(Default)]
pub(super) struct Seconds {
    front: [u8; FRONT],
    second: Option<i64>,
}

/// How long `2026-01-01T00:00:00` is.
const FRONT: usize = 19;
/// How long `.000000000Z` is.
const FRACTION: usize = 11;

/// Reads a record; `None` says nothing about it.
pub(super) fn read<'a>(text: &'a str, seconds: &mut Seconds) -> Option<RecordView<'a>> {
    // In canonical form a control character is written as an escape, and nothing stands between the parts.
    let plain = |all: bool, byte: &u8| all & matches!(byte, b' '..=b'[' | b']'..=u8::MAX);
    if !text.as_bytes().iter().fold(true, plain) {
        return None;
    }
    let mut rest = Rest { text, at: 0 };
    rest.eat("{")?;
    let action = rest.maybe("\"action\":\"").ok()?;
    let correlation = rest.maybe("\"correlation\":\"").ok()?;
    let details = rest.part("\"details\":", Rest::details)?;
    let grant = rest.maybe("\"grant\":\"").ok()?;
    let kind = Kind::parse(rest.text("\"kind\":\"")?)?;
    let node = rest.text("\"node\":\"")?;
    let object = rest.maybe("\"object\":\"").ok()?;
    let personal = rest.part("\"personal\":", Rest::commitments)?;
    let policy = rest.maybe("\"policy\":\"").ok()?;
    let prev = Digest::parse(rest.text("\"prev\":\"")?)?;
    let result = Outcome::parse(rest.text("\"result\":\"")?)?;
    rest.eat("\"seq\":")?;
    let seq = Seq::new(u64::try_from(rest.integer()?).ok()?);
    rest.eat(",")?;
    let session = rest.maybe("\"session\":\"").ok()?;
    let time = seconds.time(rest.text("\"time\":\"")?)?;
    rest.eat("\"v\":1}")?;
    let text_of = |text: Option<&'a str>| text.map(Cow::Borrowed);
    (rest.at == text.len()).then(|| RecordView {
        bytes: text.as_bytes(),
        seq,
        time,
        prev,
        kind,
        result,
        action: text_of(action),
        object: text_of(object),
        session: text_of(session),
        grant: text_of(grant),
        policy: text_of(policy),
        correlation: text_of(correlation),
        node: Cow::Borrowed(node),
        personal,
        details,
    })
}

/// The other reader has to decide.
struct Unusual;

/// What is still to be read. Each step is `None` where the text is not as it takes it to be.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Goes past these words, which must come next.
    fn eat(&mut self, words: &str) -> Option<()> {
        self.has(words).then_some(())
    }

    /// Goes past these words if they come next.
    fn has(&mut self, words: &str) -> bool {
        let found = self.left().starts_with(words.as_bytes());
        if found {
            self.at += words.len();
        }
        found
    }

    /// Up to the next quote, and past it.
    fn quoted(&mut self) -> Option<&'a str> {
        let length = memchr::memchr(b'"', self.left())?;
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }

    /// A text with its key, which comes next, and the comma behind it.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        self.eat(key)?;
        let text = self.quoted()?;
        self.eat(",")?;
        Some(text)
    }

    /// The same, if the key comes next.
    fn maybe(&mut self, key: &str) -> Result<Option<&'a str>, Unusual> {
        if !self.left().starts_with(key.as_bytes()) {
            return Ok(None);
        }
        self.text(key).map(Some).ok_or(Unusual)
    }

    /// Where an object with its key stands, if the key comes next; empty if not.
    fn part(&mut self, key: &str, read: impl Fn(&mut Self) -> Option<()>) -> Option<Range<usize>> {
        if !self.has(key) {
            return Some(0..0);
        }
        let start = self.at;
        read(self)?;
        let part = start..self.at;
        self.eat(",")?;
        Some(part)
    }

    /// At least one commitment, in their order.
    fn commitments(&mut self) -> Option<()> {
        self.eat("{\"")?;
        let mut last = None;
        loop {
            let field = Personal::parse(self.quoted()?)?;
            if last.replace(field).is_some_and(|last| last >= field) {
                return None;
            }
            self.eat(":\"")?;
            if !Digest::is_spelled(self.quoted()?) {
                return None;
            }
            if !self.has(",\"") {
                return self.eat("}");
            }
        }
    }

    /// At least one detail.
    fn details(&mut self) -> Option<()> {
        if self.left().starts_with(b"{}") {
            return None;
        }
        self.eat("{")?;
        self.members(0)
    }

    /// Members up to the brace that ends them, so many levels below the details.
    fn members(&mut self, depth: usize) -> Option<()> {
        if self.has("}") {
            return Some(());
        }
        let mut last: Option<&str> = None;
        loop {
            self.eat("\"")?;
            let key = self.quoted()?;
            if last.replace(key).is_some_and(|last| by_utf16(last, key) != Ordering::Less) {
                return None;
            }
            self.eat(":")?;
            self.value(depth + 1)?;
            if !self.has(",") {
                return self.eat("}");
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<()> {
        if self.has("]") {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            if !self.has(",") {
                return self.eat("]");
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DETAIL_DEPTH {
            return None;
        }
        let first = *self.left().first()?;
        match first {
            b'"' => {
                self.at += 1;
                self.quoted().map(drop)
            }
            b'{' => {
                self.at += 1;
                self.members(depth)
            }
            b'[' => {
                self.at += 1;
                self.items(depth)
            }
            b't' => self.eat("true"),
            b'f' => self.eat("false"),
            b'n' => self.eat("null"),
            _ => self.integer().map(drop),
        }
    }

    /// An integer in its one spelling, of at most 2^53 − 1 in size.
    fn integer(&mut self) -> Option<i64> {
        let negative = self.has("-");
        let left = self.left();
        // More digits than 2^53 has are left to the other reader; these fit 64 bits.
        let digits = left.iter().take(17).take_while(|byte| byte.is_ascii_digit()).count();
        let leading_zero = left.first() == Some(&b'0') && (digits > 1 || negative);
        if digits == 0 || digits > 16 || leading_zero {
            return None;
        }
        let size = left.iter().take(digits).fold(0, |sum: i64, byte| sum * 10 + i64::from(byte - b'0'));
        self.at += digits;
        // A fraction or an exponent is no integer, and what follows must be one of these anyway.
        let ends = matches!(self.left().first(), Some(b',' | b'}' | b']'));
        (ends && size <= MAX_INTEGER).then_some(if negative { -size } else { size })
    }
}

impl Seconds {
    /// A time as it stands in a record.
    fn time(&mut self, text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        if let Some(second) = self.second
            && bytes.len() == FRONT + FRACTION
            && bytes.starts_with(&self.front)
        {
            return Timestamp::new(second, fraction(bytes.get(FRONT..)?)?).ok();
        }
        let time: Timestamp = text.parse().ok()?;
        if time_text(time) != text {
            return None;
        }
        // Before 1970 the second that a time has is not the one that is written.
        let usual = time >= Timestamp::UNIX_EPOCH && bytes.len() == FRONT + FRACTION;
        self.second = usual.then(|| time.as_second());
        if usual && let Some(front) = bytes.first_chunk() {
            self.front = *front;
        }
        Some(time)
    }
}

/// The nanoseconds of `.000000000Z`.
fn fraction(text: &[u8]) -> Option<i32> {
    let (digits, end) = text.strip_prefix(b".")?.split_first_chunk::<9>()?;
    if end != b"Z" || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')))
}
