//! Sealed frames: what travels after the handshake when something ends the TLS between the two ends.
//!
//! One frame is one ciphertext of the suite's AEAD (AES-256-GCM or ChaCha20-Poly1305) of at most [`MAX_PLAINTEXT`] bytes with its tag, and nothing else: the nonce
//! is a counter that both ends keep. So a frame that was altered, dropped, repeated, moved or reflected does not open,
//! and the connection ends. An empty frame is the authenticated end of a direction; a stream that stops without it was
//! cut. The key moves on by itself after [`FRAMES_PER_KEY`] frames or [`BYTES_PER_KEY`] bytes, far below the bounds of
//! either algorithm, and the key before it is gone: whoever takes a key from memory reads nothing older.
//!
//! Pure: bytes in, bytes out.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use bytes::{Bytes, BytesMut};

use super::handshake::schedule::{Key, aead_key, expand};
use super::handshake::{HandshakeError, Suite};

/// Largest plaintext of a frame, in bytes.
pub const MAX_PLAINTEXT: usize = 64 * 1024;
/// Bytes that sealing adds: the GCM tag.
pub const TAG: usize = 16;
/// Frames under one key: 2^20 frames of 64 KiB are 2^32 AES blocks, so that the birthday bound of GCM (blocks² / 2^129)
/// stays below 2^-64.
pub const FRAMES_PER_KEY: u64 = 1 << 20;

/// Bytes of plaintext after which the key moves on: 4 GiB, a minute or so of a fast link.
pub const BYTES_PER_KEY: u64 = 1 << 32;

const NEXT_KEY_LABEL: &[u8] = b"sallyport/1 next frame key\0";

/// A key for each direction.
pub struct FrameKeys {
    pub(crate) suite: Suite,
    pub(crate) send: Key,
    pub(crate) receive: Key,
}

impl FrameKeys {
    /// For benches: the two ends of one direction, under a key that everybody knows.
    #[doc(hidden)]
    pub fn looped(key: [u8; 32]) -> Result<(Sealer, Opener), HandshakeError> {
        let key = || Key::new(key);
        Self { suite: Suite::XWingEd25519MlDsa65Aes256Gcm, send: key(), receive: key() }.split()
    }

    /// Both directions, ready.
    pub(crate) fn split(self) -> Result<(Sealer, Opener), HandshakeError> {
        Ok((
            Sealer(Direction::new(self.suite, self.send)?),
            Opener(Direction::new(self.suite, self.receive)?),
        ))
    }
}

/// Why a frame was not accepted or made; the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("a sealed frame of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Altered, out of order, repeated, or of another connection.
    #[error("a sealed frame does not open: it was altered, repeated or is out of order")]
    Unopenable,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed on a frame")]
    Library,
}

impl From<FrameError> for std::io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

struct Direction {
    suite: Suite,
    secret: Key,
    key: LessSafeKey,
    counter: u64,
    bytes: u64,
}

impl Direction {
    fn new(suite: Suite, secret: Key) -> Result<Self, HandshakeError> {
        let key = aead_key(suite, &secret)?;
        Ok(Self { suite, secret, key, counter: 0, bytes: 0 })
    }

    /// The nonce for the next frame, of so many bytes; moves to the next key when this one has done its share. Both ends
    /// count the same, so nothing has to be said about it.
    fn next_nonce(&mut self, length: usize) -> Result<Nonce, FrameError> {
        if self.counter >= FRAMES_PER_KEY || self.bytes >= BYTES_PER_KEY {
            let prk = Prk::new_less_safe(HKDF_SHA256, self.secret.as_slice());
            let secret = expand(&prk, &[NEXT_KEY_LABEL]).map_err(|_| FrameError::Library)?;
            *self = Self::new(self.suite, secret).map_err(|_| FrameError::Library)?;
        }
        let mut nonce = [0; 12];
        nonce.iter_mut().skip(4).zip(self.counter.to_be_bytes()).for_each(|(to, from)| *to = from);
        self.counter += 1;
        self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals the frames of one direction, in order.
pub struct Sealer(Direction);

impl Sealer {
    /// Seals `frame` in place; it grows by [`TAG`] bytes.
    pub fn seal(&mut self, frame: &mut BytesMut) -> Result<(), FrameError> {
        if frame.len() > MAX_PLAINTEXT {
            return Err(FrameError::TooLong { length: frame.len(), limit: MAX_PLAINTEXT });
        }
        let nonce = self.0.next_nonce(frame.len())?;
        self.0.key.seal_in_place_append_tag(nonce, Aad::empty(), frame).map_err(|_| FrameError::Library)
    }
}

/// Opens the frames of one direction, in order.
pub struct Opener(Direction);

impl Opener {
    /// Opens a frame; without a copy when `frame` is the only handle on its bytes.
    pub fn open(&mut self, frame: Bytes) -> Result<Bytes, FrameError> {
        if frame.len() > MAX_PLAINTEXT + TAG {
            return Err(FrameError::TooLong { length: frame.len(), limit: MAX_PLAINTEXT + TAG });
        }
        let nonce = self.0.next_nonce(frame.len().saturating_sub(TAG))?;
        let mut frame = BytesMut::from(frame);
        let plaintext =
            self.0.key.open_in_place(nonce, Aad::empty(), &mut frame).map_err(|_| FrameError::Unopenable)?;
        let length = plaintext.len();
        frame.truncate(length);
        Ok(frame.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    fn pair() -> (Sealer, Opener) {
        pair_of(Suite::XWingEd25519MlDsa65Aes256Gcm)
    }

    fn pair_of(suite: Suite) -> (Sealer, Opener) {
        let end = |send: u8, receive: u8| FrameKeys {
            suite,
            send: Zeroizing::new([send; 32]),
            receive: Zeroizing::new([receive; 32]),
        };
        let (sealer, _) = end(1, 2).split().unwrap();
        let (_, opener) = end(2, 1).split().unwrap();
        (sealer, opener)
    }

    fn sealed(sealer: &mut Sealer, text: &[u8]) -> Bytes {
        let mut frame = BytesMut::from(text);
        sealer.seal(&mut frame).unwrap();
        frame.freeze()
    }

    #[test]
    fn frames_open_in_the_order_they_were_sealed() {
        let (mut sealer, mut opener) = pair();
        for text in [b"one".as_slice(), b"", b"three"] {
            let frame = sealed(&mut sealer, text);
            assert_eq!(opener.open(frame).unwrap(), text);
        }
    }

    #[test]
    fn a_frame_with_any_bit_flipped_does_not_open() {
        let (mut sealer, _) = pair();
        let frame = sealed(&mut sealer, b"payload");
        for position in 0..frame.len() {
            for bit in 0..8 {
                let mut altered = frame.to_vec();
                altered[position] ^= 1 << bit;
                assert_eq!(pair().1.open(altered.into()), Err(FrameError::Unopenable));
            }
        }
    }

    #[test]
    fn a_repeated_a_dropped_and_a_swapped_frame_do_not_open() {
        let (mut sealer, _) = pair();
        let frames: Vec<_> = (0..3).map(|n| sealed(&mut sealer, &[n])).collect();
        let open = |order: &[usize]| {
            let (_, mut opener) = pair();
            order.iter().map(|n| opener.open(frames[*n].clone())).collect::<Vec<_>>()
        };
        assert_eq!(open(&[0, 0])[1], Err(FrameError::Unopenable));
        assert_eq!(open(&[0, 2])[1], Err(FrameError::Unopenable));
        assert_eq!(open(&[1, 0])[0], Err(FrameError::Unopenable));
    }

    #[test]
    fn a_frame_reflected_to_its_sender_does_not_open() {
        let keys = FrameKeys {
            suite: Suite::XWingEd25519MlDsa65Aes256Gcm,
            send: Zeroizing::new([1; 32]),
            receive: Zeroizing::new([2; 32]),
        };
        let (mut sealer, mut opener) = keys.split().unwrap();
        let frame = sealed(&mut sealer, b"mine");
        assert_eq!(opener.open(frame), Err(FrameError::Unopenable));
    }

    #[test]
    fn a_frame_longer_than_the_bound_is_neither_made_nor_opened() {
        let (mut sealer, mut opener) = pair();
        let mut long = BytesMut::zeroed(MAX_PLAINTEXT + 1);
        assert!(matches!(sealer.seal(&mut long), Err(FrameError::TooLong { .. })));
        assert!(matches!(
            opener.open(vec![0; MAX_PLAINTEXT + TAG + 1].into()),
            Err(FrameError::TooLong { .. })
        ));
    }

    #[test]
    fn the_key_moves_on_after_its_share_and_both_ends_follow() {
        for suite in Suite::ALL {
            for (frames, bytes) in [(FRAMES_PER_KEY, 0), (3, BYTES_PER_KEY - 1)] {
                let (mut sealer, mut opener) = pair_of(*suite);
                (sealer.0.counter, sealer.0.bytes) = (frames - 1, bytes);
                (opener.0.counter, opener.0.bytes) = (frames - 1, bytes);
                let last = sealed(&mut sealer, b"last of the first key");
                assert_eq!(opener.open(last).unwrap(), b"last of the first key".as_slice());
                let frame = sealed(&mut sealer, b"after");
                assert_eq!(opener.open(frame.clone()).unwrap(), b"after".as_slice());
                assert_eq!((sealer.0.counter, opener.0.counter), (1, 1));
                assert_eq!((sealer.0.bytes, opener.0.bytes), (5, 5));
                let refused = pair_of(*suite).1.open(frame);
                assert_eq!(refused, Err(FrameError::Unopenable), "the first key must not open it");
            }
        }
    }

    #[test]
    fn a_frame_of_one_suite_does_not_open_under_the_other() {
        let (mut sealer, _) = pair_of(Suite::XWingEd25519MlDsa65ChaCha20Poly1305);
        let frame = sealed(&mut sealer, b"mine");
        assert_eq!(pair().1.open(frame), Err(FrameError::Unopenable));
    }

    proptest! {
        #[test]
        fn whatever_bytes_arrive_the_opener_answers_with_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(pair().1.open(bytes.into()).is_err());
        }

        #[test]
        fn whatever_is_sealed_opens_to_the_same(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..8)) {
            let (mut sealer, mut opener) = pair();
            for text in texts {
                let frame = sealed(&mut sealer, &text);
                prop_assert_eq!(opener.open(frame).unwrap(), text);
            }
        }
    }
}
