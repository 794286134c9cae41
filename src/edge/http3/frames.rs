//! Where in a stream of HTTP/3 its frames begin and end, and which of them go on.
//!
//! Pure: bytes in, bytes out, however they are cut. A frame that announces more than the bound is refused at its announcement, and
//! DATA without payload is left out.

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

/// DATA (RFC 9114 section 7.2.1).
const DATA: u64 = 0;
/// The type of a control stream (section 6.2.1); the only one-way stream that the library reads beyond its type.
const CONTROL: u64 = 0;

/// Where in a stream the next byte is.
enum At {
    /// In the type of a one-way stream.
    Stream(Number),
    /// In the type of a frame.
    Kind(Number),
    /// In the length of a frame of this kind.
    Length(u64, Number),
    /// In its payload, so many bytes before its end.
    Payload(u64),
    /// In something that nobody reads.
    Unread,
}

/// A number of variable length (RFC 9000 section 16) that has come in part.
#[derive(Clone, Copy, Default)]
struct Number {
    value: u64,
    left: Option<u8>,
}

impl Number {
    /// The number, once `byte` completes it.
    fn take(&mut self, byte: u8) -> Option<u64> {
        let left = match self.left {
            None => {
                self.value = u64::from(byte & 0x3f);
                (1_u8 << (byte >> 6)) - 1
            }
            Some(left) => {
                self.value = (self.value << 8) | u64::from(byte);
                left - 1
            }
        };
        self.left = Some(left);
        (left == 0).then_some(self.value)
    }
}

/// Follows one stream's frames.
pub(super) struct Frames {
    at: At,
    most: u64,
    /// Whether DATA may come: on a control stream it is a fault, also without payload.
    has_data: bool,
    /// The beginning of a frame whose length has not come whole: sixteen bytes at the most, fifteen of them here.
    begun: Bytes,
}

/// A frame was announced that is longer than the bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What is found in some bytes.
struct Found {
    /// Where DATA without payload stands.
    empty: Vec<Range<usize>>,
    /// Where the last frame begins, if its length is not whole.
    begun: Option<usize>,
}

impl Frames {
    pub(super) fn of_request(most: u64) -> Self {
        Self { at: At::Kind(Number::default()), most, has_data: true, begun: Bytes::new() }
    }

    pub(super) fn of_one_way(most: u64) -> Self {
        Self { at: At::Stream(Number::default()), most, has_data: false, begun: Bytes::new() }
    }

    /// What goes on of `bytes`, and of what was held back before. It may be nothing.
    pub(super) fn pass(&mut self, bytes: Bytes) -> Result<Bytes, TooLong> {
        let mut bytes = if self.begun.is_empty() {
            bytes
        } else {
            let mut whole = BytesMut::with_capacity(self.begun.len() + bytes.len());
            whole.put(std::mem::take(&mut self.begun));
            whole.put(bytes);
            whole.freeze()
        };
        let Found { empty, begun } = self.look(&bytes)?;
        if let Some(begun) = begun {
            self.begun = bytes.split_off(begun);
        }
        if empty.is_empty() || !self.has_data {
            return Ok(bytes);
        }
        let mut left = BytesMut::with_capacity(bytes.len());
        let mut from = 0;
        for Range { start, end } in empty {
            left.put_slice(bytes.get(from..start).unwrap_or_default());
            from = end;
        }
        left.put_slice(bytes.get(from..).unwrap_or_default());
        Ok(left.freeze())
    }

    /// What was held back when the stream ends.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.begun)
    }

    fn look(&mut self, all: &[u8]) -> Result<Found, TooLong> {
        let (mut bytes, mut head, mut empty) = (all, 0, Vec::new());
        while let Some((byte, rest)) = bytes.split_first() {
            let here = all.len() - bytes.len();
            match &mut self.at {
                At::Unread => return Ok(Found { empty, begun: None }),
                At::Payload(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= here as u64;
                    bytes = bytes.get(here..).unwrap_or_default();
                    if *left == 0 {
                        self.at = At::Kind(Number::default());
                    }
                    continue;
                }
                At::Stream(number) => {
                    if let Some(kind) = number.take(*byte) {
                        self.at = if kind == CONTROL { At::Kind(Number::default()) } else { At::Unread };
                    }
                }
                At::Kind(number) => {
                    if number.left.is_none() {
                        head = here;
                    }
                    if let Some(kind) = number.take(*byte) {
                        self.at = At::Length(kind, Number::default());
                    }
                }
                At::Length(kind, number) => {
                    if let Some(length) = number.take(*byte) {
                        if *kind != DATA && length > self.most {
                            return Err(TooLong);
                        }
                        if *kind == DATA && length == 0 {
                            empty.push(head..here + 1);
                        }
                        self.at = if length == 0 { At::Kind(Number::default()) } else { At::Payload(length) };
                    }
                }
            }
            bytes = rest;
        }
        let begun = match self.at {
            At::Kind(Number { left: None, .. }) | At::Stream(_) | At::Payload(_) | At::Unread => None,
            At::Kind(_) | At::Length(..) => {
                // It is looked at again, from its beginning.
                self.at = At::Kind(Number::default());
                Some(head)
            }
        };
        Ok(Found { empty, begun })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kind and length, each in as few bytes as it takes, and the payload.
    fn frame(kind: u64, length: u64, payload: usize) -> Vec<u8> {
        let number = |value: u64| -> Vec<u8> {
            match u16::try_from(value) {
                Ok(value @ 0..64) => vec![value.to_be_bytes()[1]],
                Ok(value @ 64..16_384) => (value | 0x4000).to_be_bytes().to_vec(),
                _ => (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes().to_vec(),
            }
        };
        [number(kind), number(length), vec![0xff; payload]].concat()
    }

    /// What goes on of `bytes`, cut into pieces.
    fn passed(mut frames: Frames, bytes: &[u8], cut: usize) -> Result<Vec<u8>, TooLong> {
        let mut passed = Vec::new();
        for piece in bytes.chunks(cut) {
            passed.extend(frames.pass(Bytes::copy_from_slice(piece))?);
        }
        passed.extend(frames.rest());
        Ok(passed)
    }

    #[test]
    fn a_frame_is_refused_by_its_announced_length_before_its_payload_comes() {
        let whole = frame(1, 100, 100);
        assert_eq!(passed(Frames::of_request(100), &whole, 1000), Ok(whole));
        assert_eq!(passed(Frames::of_request(100), &frame(1, 101, 0), 1000), Err(TooLong));
        // Kinds that nobody knows are kept just the same.
        assert_eq!(passed(Frames::of_request(100), &frame(0x21, 70_000, 0), 1000), Err(TooLong));
    }

    #[test]
    fn data_may_be_as_long_as_it_likes_and_what_follows_is_looked_at_again() {
        let data = frame(0, 70_000, 70_000);
        assert_eq!(passed(Frames::of_request(100), &data, 100_000), Ok(data.clone()));
        let followed = [data, frame(1, 101, 0)].concat();
        assert_eq!(passed(Frames::of_request(100), &followed, 100_000), Err(TooLong));
    }

    #[test]
    fn of_one_way_streams_only_the_control_stream_has_frames() {
        let begun = |kind: u8, frame: Vec<u8>| [vec![kind], frame].concat();
        assert_eq!(passed(Frames::of_one_way(100), &begun(0, frame(4, 101, 0)), 1000), Err(TooLong));
        let qpack = begun(2, frame(4, 101, 0));
        assert_eq!(passed(Frames::of_one_way(100), &qpack, 1000), Ok(qpack));
        // What is a fault there stays one.
        let data = begun(0, frame(0, 0, 0));
        assert_eq!(passed(Frames::of_one_way(100), &data, 1), Ok(data));
    }

    #[test]
    fn data_without_payload_is_left_out_however_it_is_written_and_wherever_it_stands() {
        let some = frame(0, 3, 3);
        let empties: [&[u8]; 4] =
            [&[0, 0], &[0x40, 0, 0], &[0, 0x80, 0, 0, 0], &[0xc0, 0, 0, 0, 0, 0, 0, 0, 0]];
        for empty in empties {
            let mixed = [empty, &some, empty, empty, &frame(1, 2, 2), empty].concat();
            let wanted = [some.clone(), frame(1, 2, 2)].concat();
            for cut in 1..=mixed.len() {
                assert_eq!(
                    passed(Frames::of_request(100), &mixed, cut),
                    Ok(wanted.clone()),
                    "{empty:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn a_frame_that_breaks_off_in_its_head_comes_to_whoever_says_what_is_wrong_with_that() {
        assert_eq!(passed(Frames::of_request(100), &[0, 0x40], 1), Ok(vec![0, 0x40]));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            frames in prop::collection::vec((0_u64..8, 0_usize..300), 0..8), last in 101_u64..1000, cut in 1_usize..9,
        ) {
            let mut bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(kind, length)| {
                    let length = if *kind == 0 { *length } else { length % 101 };
                    frame(*kind, length as u64, length)
                })
                .collect();
            let whole = passed(Frames::of_request(100), &bytes, bytes.len().max(1));
            prop_assert!(whole.is_ok());
            prop_assert_eq!(passed(Frames::of_request(100), &bytes, cut), whole);
            bytes.extend(frame(1, last, 0));
            prop_assert_eq!(passed(Frames::of_request(100), &bytes, cut), Err(TooLong));
        }
    }
}
