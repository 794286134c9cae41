//! One end of a resumable stream, as a pure state machine: what was sent and is not acknowledged, what came and is not handed on.
//!
//! Promised: whatever the connections under it do, what [`End::write`] took at one end comes out of [`End::hand_on`] of the other
//! once, in order and whole, and the end of a direction only behind all of its bytes; or not at all.
//!
//! Offsets count the bytes of a direction from its beginning; its end counts for one more, so that it is acknowledged as bytes are.
//! Memory: at most [`WINDOW`] bytes that were sent, in [`PIECES`] pieces, and as many that came, in four times as many parts.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::frame::{ACK_LENGTH, DATA_HEAD, Decoder, Frame, Misbehaved, put_ack, put_data_head, put_end};

/// Bytes that may be on the way to whoever takes them at the other end: more than a stream's window over the longest way
/// ([`crate::tunnel::window`]), so that it is HTTP/2 that says when a writer waits.
pub(crate) const WINDOW: u64 = 9 << 19;
/// Pieces that may.
pub(crate) const PIECES: usize = 1 << 14;
/// Bytes that are written at once: with its head and an acknowledgement a frame of HTTP/2 is full.
pub(crate) const PIECE: usize = 64 * 1024 - DATA_HEAD - ACK_LENGTH;
/// After so many bytes they are acknowledged,
const ACK_BYTES: u64 = 256 << 10;
/// or after so many parts of frames.
const ACK_PARTS: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct End {
    sent: Sent,
    came: Came,
}

/// The direction to the other end.
#[derive(Debug, Default)]
struct Sent {
    /// What is not acknowledged.
    kept: VecDeque<Bytes>,
    /// The offset at which that begins.
    acknowledged: u64,
    /// The offset behind all that was taken.
    taken: u64,
    /// Whether the last of it is the end.
    ended: bool,
    /// Of what is kept, what is to be sent once more.
    again: VecDeque<Bytes>,
    /// Whether the end is.
    end_again: bool,
}

/// The direction from the other end.
#[derive(Debug, Default)]
struct Came {
    decoder: Decoder,
    waiting: VecDeque<Bytes>,
    /// The offset behind all that came.
    taken: u64,
    /// Whether the last of it is the end.
    ended: bool,
    /// The offset behind all that was handed on.
    handed_on: u64,
    /// What of that the other end was told.
    told: u64,
    /// Parts that came since.
    parts: usize,
    /// Something must be told, even if nothing is new.
    must_tell: bool,
}

impl End {
    /// Takes what came from the other end.
    pub(crate) fn take(&mut self, mut bytes: Bytes) -> Result<(), Misbehaved> {
        while let Some(frame) = self.came.decoder.next(&mut bytes)? {
            match frame {
                Frame::Ack(offset) => self.sent.acknowledge(offset)?,
                Frame::Data(_) | Frame::End if self.came.ended => return Err(Misbehaved::BehindTheEnd),
                Frame::End => {
                    self.came.ended = true;
                    self.came.taken += 1;
                }
                Frame::Data(part) => self.came.put(part)?,
            }
        }
        Ok(())
    }

    /// Whether more may be written.
    pub(crate) fn has_room(&self) -> bool {
        self.unacknowledged() < WINDOW && self.sent.kept.len() < PIECES
    }

    /// Takes the beginning of `bytes`, as much as there is room for, and says what is to be sent. Not behind the end.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> (usize, Bytes) {
        let room = WINDOW.saturating_sub(self.unacknowledged());
        let room = usize::try_from(room).unwrap_or(PIECE).min(PIECE);
        let taken = bytes.get(..room).unwrap_or(bytes);
        let mut chunk = Vec::with_capacity(taken.len() + DATA_HEAD + ACK_LENGTH);
        if self.came.told < self.came.handed_on {
            self.put_ack(&mut chunk);
        }
        put_data_head(&mut chunk, taken.len());
        let head = chunk.len();
        chunk.extend_from_slice(taken);
        let chunk = Bytes::from(chunk);
        self.sent.kept.push_back(chunk.slice(head..));
        self.sent.taken += taken.len() as u64;
        (taken.len(), chunk)
    }

    /// Ends the direction to the other end, and says what is to be sent.
    pub(crate) fn end(&mut self) -> Bytes {
        let mut chunk = Vec::with_capacity(1 + ACK_LENGTH);
        self.put_ack(&mut chunk);
        put_end(&mut chunk);
        self.sent.taken += 1;
        self.sent.ended = true;
        chunk.into()
    }

    /// The offset before which all is known to have been handed on at the other end.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.sent.acknowledged
    }

    fn unacknowledged(&self) -> u64 {
        self.sent.taken - self.sent.acknowledged
    }

    /// What that takes of memory, in bytes, with what stands around each piece.
    pub(crate) fn kept(&self) -> u64 {
        const AROUND: u64 = 128;
        self.unacknowledged() + self.sent.kept.len() as u64 * AROUND
    }

    /// Whether it was ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.sent.ended
    }

    /// Whether the other end has handed on all that was written, and the end.
    pub(crate) fn is_all_acknowledged(&self) -> bool {
        self.sent.ended && self.sent.acknowledged == self.sent.taken
    }

    /// Hands on what came, at most `most` bytes; `None` if nothing waits.
    pub(crate) fn hand_on(&mut self, most: usize) -> Option<Bytes> {
        let first = self.came.waiting.front_mut()?;
        let part = first.split_to(most.min(first.len()));
        if first.is_empty() {
            self.came.waiting.pop_front();
        }
        self.came.handed_on += part.len() as u64;
        Some(part)
    }

    /// Whether all was handed on, and the end came.
    pub(crate) fn is_at_the_end(&self) -> bool {
        self.came.ended && self.came.waiting.is_empty()
    }

    /// Whether the end was handed on, too.
    pub(crate) fn is_past_the_end(&self) -> bool {
        self.came.ended && self.came.handed_on == self.came.taken
    }

    /// Hands on the end, where all before it was.
    pub(crate) fn hand_on_end(&mut self) {
        if self.is_at_the_end() {
            self.came.handed_on = self.came.taken;
        }
    }

    /// Whether anything was handed on of which the other end doesn't know.
    pub(crate) fn owes(&self) -> bool {
        self.came.told < self.came.handed_on
    }

    /// Whether that is so much that it is to be told now.
    pub(crate) fn owes_much(&self) -> bool {
        self.came.handed_on - self.came.told >= ACK_BYTES || (self.owes() && self.came.parts >= ACK_PARTS)
    }

    /// An acknowledgement of all that was handed on.
    pub(crate) fn acknowledge(&mut self) -> Bytes {
        let mut chunk = Vec::with_capacity(ACK_LENGTH);
        self.put_ack(&mut chunk);
        chunk.into()
    }

    /// Whether nothing is left to be done: both directions have ended, and both ends know.
    pub(crate) fn is_finished(&self) -> bool {
        let knows = self.came.ended && self.came.told == self.came.taken && !self.came.must_tell;
        knows && self.is_all_acknowledged()
    }

    /// The other end says that it is finished, in answer to this one that came back.
    pub(crate) fn other_has_finished(&mut self) -> bool {
        // It has this end's last acknowledgement, then, so all was handed on here.
        let is_so = self.sent.ended && self.came.ended && self.came.handed_on == self.came.taken;
        if is_so {
            self.sent.acknowledged = self.sent.taken;
            self.sent.kept.clear();
            self.came.told = self.came.taken;
            self.came.must_tell = false;
        }
        is_so
    }

    /// The connection is gone, wherever in a frame that was.
    pub(crate) fn detach(&mut self) {
        self.came.decoder = Decoder::default();
        self.sent.again.clear();
        self.sent.end_again = false;
    }

    /// The offset up to which everything came.
    pub(crate) fn received(&self) -> u64 {
        self.came.taken
    }

    /// There is another connection, and the other end says that it has all before `received`: the rest is to be sent once more.
    pub(crate) fn attach(&mut self, received: u64) -> Result<(), Misbehaved> {
        self.detach();
        let sent = &mut self.sent;
        if received > sent.taken {
            return Err(Misbehaved::AckAhead);
        }
        let Some(has) = received.checked_sub(sent.acknowledged) else { return Err(Misbehaved::AckBackwards) };
        let mut has = usize::try_from(has).unwrap_or(usize::MAX);
        for piece in &sent.kept {
            let known = has.min(piece.len());
            has -= known;
            if known < piece.len() {
                sent.again.push_back(piece.slice(known..));
            }
        }
        sent.end_again = sent.ended && received < sent.taken;
        // What was told before may have been lost with the connection.
        self.came.must_tell = true;
        Ok(())
    }

    /// What is to be sent next on a connection that is new; `None` when all was. The first that goes over it is an acknowledgement.
    pub(crate) fn again(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        if self.came.must_tell {
            // Alone: of many streams on a slow way none is to wait for another's data until it says its first word.
            self.put_ack(&mut chunk);
            return Some(chunk.into());
        }
        while let Some(piece) = self.sent.again.pop_front() {
            put_data_head(&mut chunk, piece.len());
            chunk.extend_from_slice(&piece);
            if chunk.len() >= PIECE / 2 {
                return Some(chunk.into());
            }
        }
        if std::mem::take(&mut self.sent.end_again) {
            put_end(&mut chunk);
        }
        if chunk.is_empty() { None } else { Some(chunk.into()) }
    }

    /// Whether something that came has not been handed on.
    pub(super) fn has_waiting(&self) -> bool {
        !self.came.waiting.is_empty()
    }

    /// How much came and has not been handed on; its end counts for one.
    pub(super) fn waiting(&self) -> u64 {
        self.came.taken - self.came.handed_on
    }

    fn put_ack(&mut self, chunk: &mut Vec<u8>) {
        put_ack(chunk, self.came.handed_on);
        self.came.told = self.came.handed_on;
        self.came.parts = 0;
        self.came.must_tell = false;
    }
}

impl Sent {
    fn acknowledge(&mut self, offset: u64) -> Result<(), Misbehaved> {
        if offset > self.taken {
            return Err(Misbehaved::AckAhead);
        }
        let Some(more) = offset.checked_sub(self.acknowledged) else { return Err(Misbehaved::AckBackwards) };
        let mut more = usize::try_from(more).unwrap_or(usize::MAX);
        while let Some(first) = self.kept.front_mut() {
            if more < first.len() {
                first.advance(more);
                break;
            }
            more -= first.len();
            self.kept.pop_front();
        }
        self.acknowledged = offset;
        Ok(())
    }
}

/// Parts below so many bytes are copied.
const SMALL: usize = 16 << 10;

impl Came {
    fn put(&mut self, part: Bytes) -> Result<(), Misbehaved> {
        self.taken += part.len() as u64;
        self.parts += 1;
        if self.taken - self.handed_on > WINDOW || self.waiting.len() >= 4 * PIECES {
            return Err(Misbehaved::BeyondTheWindow);
        }
        // A small one would hold on to all that it was read with.
        let part = if part.len() < SMALL { Bytes::copy_from_slice(&part) } else { part };
        self.waiting.push_back(part);
        Ok(())
    }
}
