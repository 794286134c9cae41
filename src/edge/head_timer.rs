//! How long a visitor by HTTP/1.1 may take: little for a head, once it has begun one; longer between two requests.
//!
//! Why: the library has one time limit, which runs from the end of an answer to the end of the next head. So an idle connection
//! would either be dropped after the few seconds that are enough for a head, or whoever sends one a byte at a time could take as
//! long as an idle connection may. The library asks this timer, which knows whether anything has come since.
//!
//! A head whose beginning came together with the end of the request before it counts as idle: whoever does that gains nothing that
//! an idle connection hasn't.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::clock;

/// The time limits of one connection, whose library has `head` for its own.
pub(super) struct HeadTimer {
    /// Bytes that came so far.
    heard: Arc<AtomicU64>,
    head: Duration,
    idle: Duration,
    /// Whether there was a head before: a connection that has only begun is not idle.
    begun: AtomicBool,
}

impl HeadTimer {
    pub(super) fn new(came: Arc<AtomicU64>, head: Duration, idle: Duration) -> Self {
        Self { heard: came, head, idle: idle.max(head), begun: AtomicBool::new(false) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.wait(deadline))
    }

    fn now(&self) -> Instant {
        clock::monotonic()
    }
}

impl HeadTimer {
    /// The library takes `deadline` for that of a head.
    fn wait(&self, deadline: Instant) -> Waiting {
        let idles = self.begun.swap(true, Ordering::Relaxed);
        let until = if idles { deadline + self.idle.saturating_sub(self.head) } else { deadline };
        let idle = idles.then(|| Idle {
            heard: Arc::clone(&self.heard),
            before: self.heard.load(Ordering::Relaxed),
            head: self.head,
        });
        Waiting { sleep: Box::pin(tokio::time::sleep_until(until.into())), idle }
    }
}

/// Waits for a head.
struct Waiting {
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// Until something of it has come.
    idle: Option<Idle>,
}

struct Idle {
    heard: Arc<AtomicU64>,
    /// Bytes that had come when it began.
    before: u64,
    head: Duration,
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    /// Looked at whenever something has come and is no whole head.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let begun = self.idle.take_if(|idle| idle.heard.load(Ordering::Relaxed) != idle.before);
        if let Some(Idle { head, .. }) = begun {
            self.sleep.as_mut().reset((clock::monotonic() + head).into());
        }
        self.sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const HEAD: Duration = Duration::from_mins(10);
    const IDLE: Duration = Duration::from_hours(1);

    fn timer() -> (HeadTimer, Arc<AtomicU64>) {
        let heard = Arc::<AtomicU64>::default();
        (HeadTimer::new(Arc::clone(&heard), HEAD, IDLE), heard)
    }

    /// How long it would wait after `now`, once it has been looked at.
    fn left(waiting: &mut Waiting, now: Instant) -> Duration {
        assert!((&mut *waiting).now_or_never().is_none());
        waiting.sleep.deadline().into_std() - now
    }

    #[tokio::test]
    async fn a_connection_that_has_only_begun_has_the_time_of_a_head() {
        let (timer, heard) = timer();
        let now = timer.now();
        let mut first = timer.wait(now + HEAD);
        assert_eq!(left(&mut first, now), HEAD);
        heard.fetch_add(1, Ordering::Relaxed);
        assert_eq!(left(&mut first, now), HEAD);
    }

    #[tokio::test]
    async fn one_that_idles_has_longer_until_something_of_a_head_has_come() {
        let (timer, heard) = timer();
        let now = timer.now();
        drop(timer.wait(now + HEAD));
        let mut next = timer.wait(now + HEAD);
        assert_eq!(left(&mut next, now), IDLE);
        heard.fetch_add(1, Ordering::Relaxed);
        let begun = left(&mut next, now);
        assert!(begun >= HEAD && begun < IDLE, "{begun:?}: the time of a head, from now on");
        heard.fetch_add(1, Ordering::Relaxed);
        assert_eq!(left(&mut next, now), begun, "no other byte gives it more");
    }
}
