//! Small pieces of a body, gathered when there are very many of them.
//!
//! Each piece is a frame of its own, and a frame that nobody takes costs the other end far more memory than a few bytes. So HTTP/2's
//! library ends a connection on which too many small ones wait: one visitor who sends single bytes to an app that doesn't read, or
//! doesn't read the single bytes of one, could cost everybody else the tunnel. Here a body may be cut as small as it likes for a
//! while; one that goes on so at a pace which no person types or watches has its pieces wait for each other for an instant.
//! Not those of a conversation, whose small questions are answered: there is somebody who takes them.
//!
//! A piece with nothing in it, which is not the last, goes no further at all: the library counts those of a connection's whole life,
//! and ends it at the hundred and first. Nobody's bytes are missing without it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Pieces below so many bytes are small: below this a waiting frame is more bookkeeping than data (`h2`).
const SMALL: usize = 256;
/// So many small pieces go at once, and then so many in a second.
const FREE: (u32, u32) = (256, 200);
/// And so many for each piece that comes the other way. Few, since an app can send much and read nothing.
const FOR_AN_ANSWER: u32 = 4;
/// How long a piece waits for more.
const INSTANT: Duration = Duration::from_millis(5);
/// With so many bytes it waits no longer.
const FULL: usize = 4096;

/// `body`, with its pieces gathered if it has any; `answers` are counted in what comes the other way.
pub(crate) fn gathered<B>(body: B, answers: Answers) -> UnsyncBoxBody<Bytes, B::Error>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Unpin + Send,
{
    if body.is_end_stream() {
        UnsyncBoxBody::new(body)
    } else {
        UnsyncBoxBody::new(Gathered::in_conversation(body, answers))
    }
}

/// A body whose pieces are not too small for too long.
pub(crate) struct Gathered<B: Body> {
    inner: B,
    leave: Leave,
    held: BytesMut,
    /// Runs while something is held.
    until: Option<Pin<Box<Sleep>>>,
    /// What came behind what was held.
    next: VecDeque<Result<Frame<Bytes>, B::Error>>,
}

/// How many more small pieces may go at once.
struct Leave {
    left: u32,
    since: Instant,
    answers: Answers,
}

/// What came the other way since it was last asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<AtomicU32>);

impl Answers {
    /// One more piece came.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A body as the tunnel brings it. Each piece that is taken is an answer to what goes the other way.
#[derive(Debug)]
pub struct Heard<B> {
    inner: B,
    answers: Answers,
}

impl<B> Heard<B> {
    pub(super) fn new(inner: B, answers: Answers) -> Self {
        Self { inner, answers }
    }
}

impl<B: Body + Unpin> Body for Heard<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if matches!(polled, Some(Ok(_))) {
            this.answers.count();
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Leave {
    fn take(&mut self, now: Instant) -> bool {
        let (most, a_second) = FREE;
        let millis = u32::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u32::MAX);
        let more = millis.saturating_mul(a_second) / 1000;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(most);
            self.since = now;
        }
        let answers = self.answers.0.swap(0, Ordering::Relaxed);
        self.left = self.left.saturating_add(answers.saturating_mul(FOR_AN_ANSWER)).min(most);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl<B: Body<Data = Bytes>> Gathered<B> {
    /// One direction of a stream in whose other one `answers` are counted.
    pub(super) fn in_conversation(inner: B, answers: Answers) -> Self {
        let leave = Leave { left: FREE.0, since: Instant::now(), answers };
        Self { inner, leave, held: BytesMut::new(), until: None, next: VecDeque::new() }
    }

    fn flush(&mut self) -> Frame<Bytes> {
        self.until = None;
        Frame::data(self.held.split().freeze())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Gathered<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(next) = this.next.pop_front() {
            return Poll::Ready(Some(next));
        }
        loop {
            let polled = Pin::new(&mut this.inner).poll_frame(cx);
            let Poll::Ready(came) = polled else {
                if let Some(until) = &mut this.until {
                    ready!(until.as_mut().poll(cx));
                    return Poll::Ready(Some(Ok(this.flush())));
                }
                return Poll::Pending;
            };
            let data = match came {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) if this.held.is_empty() => return Poll::Ready(Some(Ok(trailers))),
                    Err(trailers) => {
                        this.next.push_back(Ok(trailers));
                        return Poll::Ready(Some(Ok(this.flush())));
                    }
                },
                Some(Err(error)) if this.held.is_empty() => return Poll::Ready(Some(Err(error))),
                Some(Err(error)) => {
                    this.next.push_back(Err(error));
                    return Poll::Ready(Some(Ok(this.flush())));
                }
                None if this.held.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Ok(this.flush()))),
            };
            let is_last = this.inner.is_end_stream();
            if data.is_empty() && !is_last {
                continue;
            }
            let is_small = data.len() < SMALL && !is_last;
            if this.held.is_empty() && (!is_small || this.leave.take(Instant::now())) {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if !is_small {
                // A large piece is not copied behind small ones.
                this.next.push_back(Ok(Frame::data(data)));
                return Poll::Ready(Some(Ok(this.flush())));
            }
            this.held.extend_from_slice(&data);
            if this.held.len() >= FULL {
                return Poll::Ready(Some(Ok(this.flush())));
            }
            this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(INSTANT)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.next.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.next.iter().filter_map(|next| next.as_ref().ok()?.data_ref());
        let here = (self.held.len() + here.map(Bytes::len).sum::<usize>()) as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + here);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + here);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, StreamExt as _};
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, &'static str>;

    fn body(pieces: Vec<Piece>) -> Gathered<impl Body<Data = Bytes, Error = &'static str> + Unpin> {
        gathered_alone(StreamBody::new(stream::iter(pieces)))
    }

    /// Without anything that comes the other way.
    fn gathered_alone<B: Body<Data = Bytes>>(body: B) -> Gathered<B> {
        Gathered::in_conversation(body, Answers::default())
    }

    fn bytes(count: usize) -> impl Iterator<Item = Piece> {
        (0..count).map(|number| Ok(Frame::data(Bytes::from(vec![u8::try_from(number % 251).unwrap()]))))
    }

    #[tokio::test]
    async fn very_many_small_pieces_become_few_and_nothing_is_lost_or_moved() {
        let mut gathered = body(bytes(100_000).collect());
        let (mut frames, mut all) = (0, Vec::new());
        while let Some(frame) = gathered.frame().await {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
            frames += 1;
        }
        assert!(frames < 2000, "{frames}");
        assert!(all.iter().enumerate().all(|(place, byte)| usize::from(*byte) == place % 251));
        assert_eq!(all.len(), 100_000);
    }

    /// How many of so many small pieces, one each so many milliseconds, go at once.
    fn at_once(pieces: u32, apart: u64) -> usize {
        let began = Instant::now();
        let mut leave = Leave { left: FREE.0, since: began, answers: Answers::default() };
        let times = (1..=pieces).map(|number| began + Duration::from_millis(apart) * number);
        times.filter(|now| leave.take(*now)).count()
    }

    #[test]
    fn small_questions_that_are_answered_never_wait_however_fast_they_come() {
        let now = Instant::now();
        let answers = Answers::default();
        let mut leave = Leave { left: FREE.0, since: now, answers: answers.clone() };
        for _ in 0..100_000 {
            assert!(leave.take(now));
            answers.count();
        }
        // What was answered long ago is no leave for a flood.
        assert!((0..10_000).filter(|_| leave.take(now)).count() <= usize::try_from(FREE.0).unwrap());
    }

    #[test]
    fn pieces_that_come_at_the_pace_of_people_never_wait_and_those_of_a_flood_do() {
        assert_eq!(at_once(10_000, 5), 10_000);
        assert_eq!(at_once(10_000, 40), 10_000);
        let (most, a_second) = FREE;
        let flood = at_once(10_000, 1);
        assert!(flood <= usize::try_from(most + 10 * a_second).unwrap(), "{flood}");
    }

    #[tokio::test]
    async fn large_pieces_pass_as_they_are() {
        let large = Bytes::from(vec![7; SMALL]);
        let mut large = body((0..1000).map(|_| Ok(Frame::data(large.clone()))).collect());
        for _ in 0..1000 {
            assert_eq!(large.frame().await.unwrap().unwrap().into_data().unwrap().len(), SMALL);
        }
        assert!(large.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_piece_with_nothing_in_it_goes_no_further_wherever_it_stands() {
        let small = usize::try_from(FREE.0).unwrap() + 10;
        let nothing = || Ok(Frame::data(Bytes::new()));
        // Before, between and behind pieces that go at once, and such as wait for each other.
        let mixed = bytes(small).flat_map(|piece| [nothing(), piece, nothing(), nothing()]);
        let mut mixed = body(mixed.collect());
        let mut all = 0;
        while let Some(frame) = mixed.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(!data.is_empty());
            all += data.len();
        }
        assert_eq!(all, small);
        assert!(body((0..1000).map(|_| nothing()).collect()).frame().await.is_none());
    }

    #[tokio::test]
    async fn what_is_held_goes_on_after_an_instant_and_before_trailers_and_errors() {
        let small = usize::try_from(FREE.0).unwrap() + 1;
        let silent = stream::iter(bytes(small)).chain(stream::pending());
        let mut silent = gathered_alone(StreamBody::new(silent));
        for _ in 0..small {
            assert_eq!(silent.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        let trailed = body(bytes(small).chain([Ok(Frame::trailers(trailers))]).collect());
        let whole = trailed.collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-sum"], "1");
        assert_eq!(whole.to_bytes().len(), small);
        let mut broken = body(bytes(small).chain([Err("gone")]).collect());
        let mut seen = 0;
        let error = loop {
            match broken.frame().await.unwrap() {
                Ok(frame) => seen += frame.into_data().unwrap().len(),
                Err(error) => break error,
            }
        };
        assert_eq!((seen, error), (small, "gone"));
    }
}
