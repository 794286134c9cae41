//! The two ends of a stream against each other, over connections that break wherever they like.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::end::{End, PIECE, PIECES, WINDOW};
use super::frame::Misbehaved;

/// One end, what its app wrote and read, and the bytes on the wire away from it.
#[derive(Default)]
struct Side {
    end: End,
    written: Vec<u8>,
    read: Vec<u8>,
    has_read_the_end: bool,
    wire: VecDeque<u8>,
    /// Whether what was lost is still to be sent.
    again: bool,
}

impl Side {
    fn send(&mut self, chunk: &Bytes) {
        self.wire.extend(chunk.iter());
    }

    fn write(&mut self, length: usize) {
        if self.again || self.end.has_ended() || !self.end.has_room() || length == 0 {
            return;
        }
        let from = self.written.len();
        let bytes: Vec<u8> = (from..from + length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (taken, chunk) = self.end.write(&bytes);
        assert!(taken > 0, "there was room");
        self.written.extend_from_slice(&bytes[..taken]);
        self.send(&chunk);
    }

    fn shut_down(&mut self) {
        if !self.again && !self.end.has_ended() {
            let chunk = self.end.end();
            self.send(&chunk);
        }
    }

    fn read(&mut self, most: usize) {
        match self.end.hand_on(most) {
            Some(part) => {
                assert!(!self.has_read_the_end, "bytes behind the end");
                self.read.extend_from_slice(&part);
            }
            None if self.end.is_at_the_end() && !self.again && !self.has_read_the_end => {
                self.end.hand_on_end();
                self.has_read_the_end = true;
                let chunk = self.end.acknowledge();
                self.send(&chunk);
            }
            None => {}
        }
    }

    fn tell(&mut self) {
        if !self.again && self.end.owes() {
            let chunk = self.end.acknowledge();
            self.send(&chunk);
        }
    }

    fn send_again(&mut self) {
        if self.again {
            match self.end.again() {
                Some(chunk) => self.send(&chunk),
                None => self.again = false,
            }
        }
    }
}

/// So many bytes arrive.
fn arrive(from: &mut Side, to: &mut Side, length: usize) {
    let length = length.min(from.wire.len());
    let bytes: Bytes = from.wire.drain(..length).collect::<Vec<u8>>().into();
    to.end.take(bytes).unwrap();
}

/// The connection is lost with what is on it, and there is another one.
fn lose(left: &mut Side, right: &mut Side) {
    left.wire.clear();
    right.wire.clear();
    left.end.detach();
    let received = (left.end.received(), right.end.received());
    right.end.attach(received.0).unwrap();
    left.end.attach(received.1).unwrap();
    (left.again, right.again) = (true, true);
}

#[derive(Debug, Clone)]
enum Step {
    Write(bool, usize),
    Read(bool, usize),
    Arrive(bool, usize),
    Tell(bool),
    Again(bool),
    ShutDown(bool),
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 1..40_000_usize).prop_map(|(side, length)| Step::Write(side, length)),
        2 => (any::<bool>(), 1..20_usize).prop_map(|(side, length)| Step::Write(side, length)),
        4 => (any::<bool>(), 1..50_000_usize).prop_map(|(side, most)| Step::Read(side, most)),
        6 => (any::<bool>(), 1..50_000_usize).prop_map(|(side, length)| Step::Arrive(side, length)),
        3 => (any::<bool>(), 1..12_usize).prop_map(|(side, length)| Step::Arrive(side, length)),
        2 => any::<bool>().prop_map(Step::Tell),
        4 => any::<bool>().prop_map(Step::Again),
        1 => any::<bool>().prop_map(Step::ShutDown),
        2 => Just(Step::Lose),
    ]
}

fn take(step: &Step, left: &mut Side, right: &mut Side) {
    let is_left = match *step {
        Step::Write(side, _)
        | Step::Read(side, _)
        | Step::Arrive(side, _)
        | Step::Tell(side)
        | Step::Again(side)
        | Step::ShutDown(side) => side,
        Step::Lose => true,
    };
    let (own, other) = if is_left { (left, right) } else { (right, left) };
    match *step {
        Step::Write(_, length) => own.write(length),
        Step::Read(_, most) => own.read(most),
        Step::Arrive(_, length) => arrive(own, other, length),
        Step::Tell(_) => own.tell(),
        Step::Again(_) => own.send_again(),
        Step::ShutDown(_) => own.shut_down(),
        Step::Lose => lose(own, other),
    }
}

fn check(from: &Side, to: &Side) {
    assert!(from.written.starts_with(&to.read), "what comes out is not what went in");
    assert!(!to.has_read_the_end || to.read == from.written, "an end before all of it");
    if from.end.is_all_acknowledged() {
        assert!(to.has_read_the_end, "acknowledged, and not handed on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_breaks_wherever_what_comes_out_is_what_went_in_once_in_order_and_the_end_behind_it(
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let (mut left, mut right) = (Side::default(), Side::default());
        for step in &steps {
            take(step, &mut left, &mut right);
            check(&left, &right);
            check(&right, &left);
        }
        // In the end nothing breaks any more.
        for _ in 0..2000 {
            for is_left in [true, false] {
                for step in [
                    Step::Again(is_left),
                    Step::ShutDown(is_left),
                    Step::Arrive(is_left, usize::MAX),
                    Step::Read(is_left, usize::MAX),
                    Step::Tell(is_left),
                ] {
                    take(&step, &mut left, &mut right);
                    check(&left, &right);
                    check(&right, &left);
                }
            }
        }
        assert!(left.end.is_finished() && right.end.is_finished());
        assert!(left.has_read_the_end && right.has_read_the_end);
    }
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read_and_goes_on_when_it_does() {
    let (mut left, mut right) = (Side::default(), Side::default());
    while left.end.has_room() {
        left.write(PIECE);
        arrive(&mut left, &mut right, usize::MAX);
    }
    assert_eq!(left.written.len() as u64, WINDOW);
    right.read(300 << 10);
    right.read(300 << 10);
    right.read(300 << 10);
    right.read(300 << 10);
    right.read(300 << 10);
    assert!(right.end.owes_much(), "{} bytes were read", right.read.len());
    right.tell();
    arrive(&mut right, &mut left, usize::MAX);
    assert!(left.end.has_room());
    let mut small = Side::default();
    while small.end.has_room() {
        small.write(1);
    }
    assert_eq!(small.written.len(), PIECES);
}

#[test]
fn what_the_other_end_must_not_send_is_refused() {
    fn after(bytes: &[u8]) -> Result<(), Misbehaved> {
        let mut end = End::default();
        let (_taken, _chunk) = end.write(b"four");
        end.take(Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 2]))?;
        end.take(Bytes::copy_from_slice(bytes))
    }
    assert_eq!(after(&[1, 0, 0, 0, 0, 0, 0, 0, 2]), Ok(()), "the same once more, as after a loss");
    assert_eq!(after(&[1, 0, 0, 0, 0, 0, 0, 0, 1]), Err(Misbehaved::AckBackwards));
    assert_eq!(after(&[1, 0, 0, 0, 0, 0, 0, 0, 5]), Err(Misbehaved::AckAhead));
    assert_eq!(after(&[2, 0, 0, 0, 1, 7]), Err(Misbehaved::BehindTheEnd));
    assert_eq!(after(&[2, 2]), Err(Misbehaved::BehindTheEnd));
    assert_eq!(after(&[9]), Err(Misbehaved::UnknownFrame(9)));
    let mut flood = End::default();
    let frame = [vec![0, 1, 0, 0], vec![0; 65_536]].concat();
    let refused = (0..100).find_map(|_| flood.take(Bytes::copy_from_slice(&frame)).err());
    assert_eq!(refused, Some(Misbehaved::BeyondTheWindow));
    let mut end = End::default();
    let (_taken, _chunk) = end.write(b"four");
    end.take(Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 2])).unwrap();
    assert_eq!(end.attach(5), Err(Misbehaved::AckAhead));
    assert_eq!(end.attach(1), Err(Misbehaved::AckBackwards));
    assert_eq!(end.attach(3), Ok(()));
    // An acknowledgement, and then what it lacks.
    assert_eq!(end.again().unwrap(), [1, 0, 0, 0, 0, 0, 0, 0, 0].as_slice());
    assert_eq!(end.again().unwrap(), [0, 0, 0, 1, b'r'].as_slice());
    assert_eq!(end.again(), None);
}
