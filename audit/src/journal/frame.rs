//! A checksummed piece of a file: magic, length, checksums, body.
//!
//! The sixteen bytes in front carry a checksum of their own, so a reader knows whether the length can be
//! believed before it believes it: a frame that ends beyond the file was not finished, a frame whose front
//! is wrong was damaged.

/// How long the front of a frame is, in bytes.
pub const FRONT_BYTES: usize = 16;

/// The longest body that is written or read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// The beginning of a segment file.
    Segment,
    /// Records and their signed head.
    Group,
    /// A signed head in the head file.
    Head,
}

impl FrameKind {
    /// The four bytes with which a frame of this kind begins; the last one is the format version.
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Segment => *b"SPS1",
            Self::Group => *b"SPG1",
            Self::Head => *b"SPH1",
        }
    }

    fn of(magic: [u8; 4]) -> Option<Self> {
        [Self::Segment, Self::Group, Self::Head].into_iter().find(|kind| kind.magic() == magic)
    }
}

/// One frame, as found in a file.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: FrameKind,
    /// The whole of it, front and body.
    pub bytes: &'a [u8],
    /// Whether the body has the checksum that the front names.
    pub sound: bool,
}

impl<'a> Frame<'a> {
    /// Reads the frame that begins at `offset`; `None` at the very end of `file`.
    pub fn read(file: &'a [u8], offset: usize) -> Result<Option<Self>, FrameFault> {
        let rest = file.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((front, _)) = rest.split_first_chunk::<FRONT_BYTES>() else {
            return Err(FrameFault::Unfinished { found: rest.len() });
        };
        let (head, check) = front.split_at(12);
        if crc32c::crc32c(head).to_le_bytes() != *check {
            return Err(FrameFault::Front);
        }
        let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3, ..] = *front;
        let kind = FrameKind::of([m0, m1, m2, m3]).ok_or(FrameFault::Unknown { magic: [m0, m1, m2, m3] })?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_BODY_BYTES {
            return Err(FrameFault::Front);
        }
        let Some(bytes) = rest.get(..FRONT_BYTES + length) else {
            return Err(FrameFault::Unfinished { found: rest.len() });
        };
        let body = bytes.get(FRONT_BYTES..).unwrap_or_default();
        Ok(Some(Self { kind, bytes, sound: crc32c::crc32c(body) == u32::from_le_bytes([c0, c1, c2, c3]) }))
    }

    /// What stands behind the front.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(FRONT_BYTES..).unwrap_or_default()
    }
}

/// Leaves room for the front; [`close`] fills it when the body is complete.
pub fn open(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; FRONT_BYTES]);
}

/// Fills in the front of a frame that is the whole of `frame`. `None` when its body is too long.
pub fn close(kind: FrameKind, frame: &mut [u8]) -> Option<()> {
    let (front, body) = frame.split_first_chunk_mut::<FRONT_BYTES>()?;
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let length = u32::try_from(body.len()).ok()?;
    let mut head = [0_u8; 12];
    let (magic, rest) = head.split_at_mut(4);
    magic.copy_from_slice(&kind.magic());
    let (len, check) = rest.split_at_mut(4);
    len.copy_from_slice(&length.to_le_bytes());
    check.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let (front_head, front_check) = front.split_at_mut(12);
    front_head.copy_from_slice(&head);
    front_check.copy_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    Some(())
}

/// Why no frame could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The file ends before the frame does.
    #[error("the file ends in the middle of it ({found} bytes are there)")]
    Unfinished {
        /// How many bytes of it there are.
        found: usize,
    },
    /// The front is damaged.
    #[error("its first sixteen bytes are damaged")]
    Front,
    /// A sound front of a kind that this program does not know.
    #[error(
        "it is of a kind that this program does not know ({magic:02x?}); a newer program may have written it"
    )]
    Unknown {
        /// The four bytes it begins with.
        magic: [u8; 4],
    },
}

/// A reader of numbers and byte strings that never reads past the end.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte string with its length in four bytes before it.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// Writes a byte string with its length in four bytes before it.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        open(&mut bytes);
        bytes.extend_from_slice(body);
        close(FrameKind::Group, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_frame_cut_anywhere_is_unfinished_and_never_damaged() {
        let whole = frame(b"some body");
        for cut in 1..whole.len() {
            let fault = Frame::read(&whole[..cut], 0).unwrap_err();
            assert_eq!(fault, FrameFault::Unfinished { found: cut });
        }
        assert!(Frame::read(&whole, 0).unwrap().unwrap().sound);
        assert!(Frame::read(&whole, whole.len()).unwrap().is_none());
    }

    #[test]
    fn a_frame_with_any_byte_changed_is_not_sound() {
        let whole = frame(b"some body");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            let read = Frame::read(&changed, 0);
            assert!(!matches!(read, Ok(Some(Frame { sound: true, .. }))), "byte {at}");
        }
    }

    #[test]
    fn a_frame_of_a_later_version_is_told_from_a_damaged_one() {
        let mut bytes = frame(b"x");
        bytes[3] = b'2';
        let check = crc32c::crc32c(&bytes[..12]).to_le_bytes();
        bytes[12..16].copy_from_slice(&check);
        assert!(matches!(Frame::read(&bytes, 0), Err(FrameFault::Unknown { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_frame_reader_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100), at in 0_usize..120
        ) {
            let _ = Frame::read(&bytes, at);
        }
    }
}
