//! Readers who fall behind.
//!
//! What a publisher sends for a visitor who doesn't read waits in the gateway, up to a stream's window, and all streams of a
//! connection share one credit. With enough of them it is used up, and nobody else's answer moves. So only so many may be behind for
//! long: one more, and whoever has been behind longest is cut, which the closing record says. Somebody who reads slowly takes a piece
//! now and then, and is not behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tracing::info;

use super::live::{Ending, Live};

/// Who was given a piece and has not asked for the next one for so long is behind.
const BEHIND: Duration = Duration::from_secs(5);
/// So many of one publisher's visitors may be: with [`crate::tunnel::Limits::stream_window`] each they hold a quarter of
/// [`crate::tunnel::Limits::connection_window`].
const MOST: usize = 32;
/// How often they are counted.
const EVERY: Duration = Duration::from_secs(1);
/// In place of a time: waits for the publisher.
const WAITS: u64 = u64::MAX;

/// Those who read; clones share them.
#[derive(Clone)]
pub(super) struct Readers(Arc<Everyone>);

struct Everyone {
    began: Instant,
    numbers: AtomicU64,
    readers: Mutex<HashMap<u64, Arc<Reader>>>,
}

struct Reader {
    live: Arc<Live>,
    /// When it was given what it has, in milliseconds since the beginning; or [`WAITS`].
    given: AtomicU64,
}

/// One who reads, for as long as this lives.
pub(super) struct Reading {
    everyone: Arc<Everyone>,
    number: u64,
    reader: Arc<Reader>,
}

impl Readers {
    /// Nobody yet. Looks after them until the last clone is dropped.
    pub(super) fn start() -> Self {
        let (began, numbers, readers) = (Instant::now(), AtomicU64::new(0), Mutex::default());
        let everyone = Arc::new(Everyone { began, numbers, readers });
        tokio::spawn(look_after(Arc::downgrade(&everyone)));
        Self(everyone)
    }

    /// One more, of this session.
    pub(super) fn enter(&self, live: &Arc<Live>) -> Reading {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let reader = Arc::new(Reader { live: Arc::clone(live), given: AtomicU64::new(WAITS) });
        self.0.readers().insert(number, Arc::clone(&reader));
        Reading { everyone: Arc::clone(&self.0), number, reader }
    }
}

impl Reading {
    /// It was given a piece, and is expected to come for the next.
    pub(super) fn given(&self) {
        self.reader.given.store(self.everyone.now(), Ordering::Relaxed);
    }

    /// It came for a piece that the publisher has not sent yet.
    pub(super) fn waits(&self) {
        self.reader.given.store(WAITS, Ordering::Relaxed);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.everyone.readers().remove(&self.number);
    }
}

impl Everyone {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(WAITS - 1)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Reader>>> {
        // Only inserted into and removed from: a panic elsewhere leaves it whole.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_who_is_too_many(&self) {
        let all: Vec<Arc<Reader>> = self.readers().values().map(Arc::clone).collect();
        let seen = all.iter().map(|reader| {
            // One that is cut already goes by itself.
            let given = reader.given.load(Ordering::Relaxed);
            (reader.live.tunnel_id.as_str(), if reader.live.cut.is_cancelled() { WAITS } else { given })
        });
        for place in too_many(seen, self.now()) {
            let Some(reader) = all.get(place) else { continue };
            info!(session = %reader.live.id, tunnel = %reader.live.tunnel, "cut: too many visitors don't read, and this one for longest");
            reader.live.note_ending(Ending::Stalled);
            reader.live.cut.cancel();
        }
    }
}

/// The places of those who are to be cut, of readers with their publisher and since when they have what they were given.
fn too_many<'a>(readers: impl Iterator<Item = (&'a str, u64)>, now: u64) -> Vec<usize> {
    let bound = u64::try_from(BEHIND.as_millis()).unwrap_or(u64::MAX);
    let mut behind: HashMap<&str, Vec<(u64, usize)>> = HashMap::new();
    for (place, (publisher, given)) in readers.enumerate() {
        if given != WAITS && now.saturating_sub(given) >= bound {
            behind.entry(publisher).or_default().push((given, place));
        }
    }
    let over = behind.into_values().flat_map(|mut of_one| {
        of_one.sort_unstable();
        let over = of_one.len().saturating_sub(MOST);
        of_one.into_iter().take(over)
    });
    over.map(|(_, place)| place).collect()
}

async fn look_after(everyone: Weak<Everyone>) {
    let mut beat = tokio::time::interval(EVERY);
    loop {
        beat.tick().await;
        let Some(everyone) = everyone.upgrade() else { return };
        everyone.cut_who_is_too_many();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 60_000;

    #[test]
    fn of_those_who_are_behind_the_longest_are_too_many_and_only_of_that_publisher() {
        let most = u64::try_from(MOST).unwrap();
        let of_one = (0..most + 2).map(|number| ("tun-1", NOW - 20_000 + number));
        let others = (0..most).map(|_| ("tun-2", 0));
        assert_eq!(too_many(of_one.clone().rev().chain(others), NOW), [MOST + 1, MOST]);
        assert_eq!(too_many(of_one.take(MOST), NOW).len(), 0);
    }

    #[test]
    fn who_waits_for_the_publisher_or_took_something_just_now_is_not_behind() {
        let readers =
            (0..10 * MOST).map(|number| ("tun-1", if number % 2 == 0 { WAITS } else { NOW - 4_999 }));
        assert_eq!(too_many(readers, NOW).len(), 0);
        assert_eq!(too_many((0..=MOST).map(|_| ("tun-1", NOW - 5_000)), NOW).len(), 1);
    }
}
