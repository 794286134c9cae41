//! The frames of a resumable stream, and their decoder.
//!
//! Pure. Not trusted: a byte of it. What is not a frame is refused as soon as it is seen, and nothing is allocated for what is only
//! announced: the bytes of a data frame are handed on as they come, however they were cut on the way.

use bytes::{Buf, Bytes};

/// Begins data: then their length in three bytes, then they.
const DATA: u8 = 0;
/// Begins an acknowledgement: then the offset in eight bytes.
const ACK: u8 = 1;
/// Is the end of a direction.
const END: u8 = 2;

/// Most bytes that one data frame carries.
pub(crate) const MAX_DATA: usize = 64 * 1024;
/// Bytes of a data frame before its data.
pub(crate) const DATA_HEAD: usize = 4;
/// Bytes of an acknowledgement.
pub(crate) const ACK_LENGTH: usize = 9;

/// What the other end must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misbehaved {
    #[error("no frame begins with {0}")]
    UnknownFrame(u8),
    #[error("a data frame of {0} bytes")]
    Length(usize),
    #[error("more bytes than may wait")]
    BeyondTheWindow,
    #[error("a frame behind the end")]
    BehindTheEnd,
    #[error("bytes are said to have come that were never sent")]
    AckAhead,
    #[error("bytes that had come are said not to have")]
    AckBackwards,
}

/// A frame, or a part of one: data come in as many parts as they came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Data(Bytes),
    /// All before this offset was handed on.
    Ack(u64),
    End,
}

/// Where in a frame the bytes stopped.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    head: [u8; ACK_LENGTH],
    /// Bytes of the head that are there.
    have: usize,
    /// Bytes of data that are still to come.
    left: usize,
}

impl Decoder {
    /// The next frame, or part of one, at the front of `bytes`; `None` means that more of them are needed. Never empty data.
    pub(crate) fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Frame>, Misbehaved> {
        loop {
            if bytes.is_empty() {
                return Ok(None);
            }
            if self.left > 0 {
                let part = bytes.split_to(self.left.min(bytes.len()));
                self.left -= part.len();
                return Ok(Some(Frame::Data(part)));
            }
            if let Some(slot) = self.head.get_mut(self.have) {
                *slot = bytes.get_u8();
                self.have += 1;
            }
            let [kind, a, b, c, ..] = self.head;
            match (kind, self.have) {
                (DATA, DATA_HEAD) => {
                    let length = u32::from_be_bytes([0, a, b, c]) as usize;
                    if !(1..=MAX_DATA).contains(&length) {
                        return Err(Misbehaved::Length(length));
                    }
                    (self.have, self.left) = (0, length);
                }
                (ACK, ACK_LENGTH) => {
                    let [_, offset @ ..] = self.head;
                    self.have = 0;
                    return Ok(Some(Frame::Ack(u64::from_be_bytes(offset))));
                }
                (END, _) => {
                    self.have = 0;
                    return Ok(Some(Frame::End));
                }
                (DATA | ACK, _) => {}
                (kind, _) => return Err(Misbehaved::UnknownFrame(kind)),
            }
        }
    }
}

/// Writes the head of a data frame of so many bytes, at most [`MAX_DATA`].
pub(crate) fn put_data_head(chunk: &mut Vec<u8>, length: usize) {
    let [_, length @ ..] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    chunk.push(DATA);
    chunk.extend_from_slice(&length);
}

/// Writes an acknowledgement.
pub(crate) fn put_ack(chunk: &mut Vec<u8>, offset: u64) {
    chunk.push(ACK);
    chunk.extend_from_slice(&offset.to_be_bytes());
}

/// Writes the end of a direction.
pub(crate) fn put_end(chunk: &mut Vec<u8>) {
    chunk.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Frame>, Misbehaved> {
        let mut bytes = Bytes::copy_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next(&mut bytes)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_read_however_they_were_cut_on_the_way() {
        let mut written = Vec::new();
        put_ack(&mut written, 0x0102_0304_0506_0708);
        put_data_head(&mut written, 300);
        written.extend_from_slice(&[7; 300]);
        put_end(&mut written);
        assert_eq!(written[..13], [1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 44]);
        for size in 1..=written.len() {
            let mut decoder = Decoder::default();
            let (mut data, mut rest) = (Vec::new(), Vec::new());
            for piece in written.chunks(size) {
                for frame in all(&mut decoder, piece).unwrap() {
                    match frame {
                        Frame::Data(part) => data.extend_from_slice(&part),
                        other => rest.push(other),
                    }
                }
            }
            assert_eq!(data, [7; 300], "in pieces of {size}");
            assert_eq!(rest, [Frame::Ack(0x0102_0304_0506_0708), Frame::End], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_at_its_first_byte_and_a_bad_length_before_its_data() {
        let refused = |bytes: &[u8]| all(&mut Decoder::default(), bytes).unwrap_err();
        assert_eq!(refused(&[3]), Misbehaved::UnknownFrame(3));
        assert_eq!(refused(&[255, 0, 0]), Misbehaved::UnknownFrame(255));
        assert_eq!(refused(&[0, 0, 0, 0]), Misbehaved::Length(0));
        assert_eq!(refused(&[0, 1, 0, 1]), Misbehaved::Length(65_537));
        assert_eq!(all(&mut Decoder::default(), &[0, 1, 0, 0]).unwrap(), []);
    }
}
