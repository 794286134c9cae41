//! Who falls behind in taking what waits for them.
//!
//! What is sent for somebody who does not take it waits at this end, up to a stream's window, and all streams of a connection share
//! one credit. With enough of them it is used up, and nothing of anybody else's moves. So only so many may be behind for long: one
//! more, and whoever has been behind longest is cut.
//!
//! Who takes all there is and waits for more holds nothing, however slowly that comes, and is never behind. Who takes a trickle
//! of much is.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Who was given a piece and has not asked for the next one for so long is behind; so is who, in such a time, never had all there
/// was, and took less than [`LEAST`].
const BEHIND: Duration = Duration::from_secs(5);
/// Bytes in a second. At this pace a full window (2 MiB, or more over a long way) is held for longer than eight minutes.
const LEAST: u64 = 4 << 10;
/// So many who share a credit may be: with a stream's window each ([`super::window`]) they hold a quarter of it, or half over a long
/// way ([`super::Limits::connection_window`]).
const MOST: usize = 32;
/// One whose pieces are smaller than that on average counts for so many: a waiting frame costs more than the bytes in it, and what
/// that may come to in a connection is bounded too ([`super::gather`]).
const FINE: (u64, usize) = (256, 4);
/// How often they are counted.
const EVERY: Duration = Duration::from_secs(1);
/// In place of a time: waits for more.
const WAITS: u64 = u64::MAX;

/// Somebody for whom something may wait.
pub(crate) trait Taker: Send + Sync + 'static {
    /// Names a credit.
    type Credit: Eq + Hash;
    /// The one that is used for them now.
    fn credit(&self) -> Self::Credit;
    /// Whether they are cut already, and go by themselves.
    fn is_cut(&self) -> bool;
    /// Cuts them, for being behind longest among too many.
    fn cut(&self);
}

/// Those who take; clones share them.
pub(crate) struct Takers<T>(Arc<Everyone<T>>);

struct Everyone<T> {
    began: Instant,
    numbers: AtomicU64,
    places: Mutex<HashMap<u64, Arc<Place<T>>>>,
}

struct Place<T> {
    taker: Arc<T>,
    /// When they were given what they have, in milliseconds since the beginning; or [`WAITS`].
    given: AtomicU64,
    /// Bytes they were given in all.
    bytes: AtomicU64,
    /// In so many pieces.
    pieces: AtomicU64,
    /// Whether they have waited since they were looked at.
    waited: AtomicBool,
}

/// One who takes, for as long as this lives.
pub(crate) struct Taking<T> {
    everyone: Arc<Everyone<T>>,
    number: u64,
    place: Arc<Place<T>>,
}

impl<T> Clone for Takers<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Taker> Takers<T> {
    /// Nobody yet. Looks after them until the last clone is dropped.
    pub(crate) fn start() -> Self {
        let (began, numbers, places) = (Instant::now(), AtomicU64::new(0), Mutex::default());
        let everyone = Arc::new(Everyone { began, numbers, places });
        tokio::spawn(look_after(Arc::downgrade(&everyone)));
        Self(everyone)
    }

    /// One more.
    pub(crate) fn enter(&self, taker: &Arc<T>) -> Taking<T> {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place {
            taker: Arc::clone(taker),
            given: AtomicU64::new(WAITS),
            bytes: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            waited: AtomicBool::new(true),
        });
        self.0.places().insert(number, Arc::clone(&place));
        Taking { everyone: Arc::clone(&self.0), number, place }
    }
}

impl<T> Taking<T> {
    /// They were given a piece of so many bytes, and are expected to come for the next.
    pub(crate) fn given(&self, bytes: usize) {
        self.place.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.place.pieces.fetch_add(1, Ordering::Relaxed);
        self.place.given.store(self.everyone.now(), Ordering::Relaxed);
    }

    /// They came for a piece that has not been sent yet.
    pub(crate) fn waits(&self) {
        self.place.given.store(WAITS, Ordering::Relaxed);
        self.place.waited.store(true, Ordering::Relaxed);
    }
}

impl<T> Drop for Taking<T> {
    fn drop(&mut self) {
        self.everyone.places().remove(&self.number);
    }
}

impl<T> Everyone<T> {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(WAITS - 1)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<u64, Arc<Place<T>>>> {
        // Only inserted into and removed from: a panic elsewhere leaves it whole.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Taker> Everyone<T> {
    fn cut_who_is_too_many(&self, paces: &mut HashMap<u64, Pace>) {
        let all: Vec<(u64, Arc<Place<T>>)> =
            self.places().iter().map(|(number, place)| (*number, Arc::clone(place))).collect();
        let now = self.now();
        let mut before = std::mem::take(paces);
        let seen = all.iter().map(|(number, place)| {
            let seen = Seen {
                given: place.given.load(Ordering::Relaxed),
                bytes: place.bytes.load(Ordering::Relaxed),
                waited: place.waited.swap(false, Ordering::Relaxed),
            };
            let mut pace = before.remove(number).unwrap_or(Pace { since: now, bytes: seen.bytes });
            let behind = pace.behind(&seen, now).filter(|_| !place.taker.is_cut());
            paces.insert(*number, pace);
            let (finest, weight) = FINE;
            let is_fine = seen.bytes < place.pieces.load(Ordering::Relaxed).saturating_mul(finest);
            let behind = behind.map(|since| (since, if is_fine { weight } else { 1 }));
            (place.taker.credit(), behind)
        });
        for at in too_many(seen) {
            if let Some((_, place)) = all.get(at) {
                place.taker.cut();
            }
        }
    }
}

/// What is seen of one who takes.
struct Seen {
    given: u64,
    bytes: u64,
    waited: bool,
}

/// From when on somebody is measured, and how much they had been given then.
struct Pace {
    since: u64,
    bytes: u64,
}

impl Pace {
    /// Since when they are behind, if they are.
    fn behind(&mut self, seen: &Seen, now: u64) -> Option<u64> {
        let bound = u64::try_from(BEHIND.as_millis()).unwrap_or(u64::MAX);
        let again = Self { since: now, bytes: seen.bytes };
        if seen.given == WAITS || seen.waited {
            *self = again;
            return None;
        }
        if now.saturating_sub(seen.given) >= bound {
            return Some(seen.given);
        }
        let measured = now.saturating_sub(self.since);
        if measured < bound {
            return None;
        }
        if seen.bytes.saturating_sub(self.bytes) < LEAST.saturating_mul(measured) / 1000 {
            return Some(self.since);
        }
        *self = again;
        None
    }
}

/// The places of those who are to be cut, of takers with their credit, and since when they are behind and how much they count for.
fn too_many<C: Eq + Hash>(takers: impl Iterator<Item = (C, Option<(u64, usize)>)>) -> Vec<usize> {
    let mut behind: HashMap<C, Vec<(u64, usize, usize)>> = HashMap::new();
    for (place, (credit, since)) in takers.enumerate() {
        if let Some((since, weight)) = since {
            behind.entry(credit).or_default().push((since, weight, place));
        }
    }
    let over = behind.into_values().flat_map(|mut of_one| {
        of_one.sort_unstable();
        let mut over = of_one.iter().map(|(_, weight, _)| weight).sum::<usize>().saturating_sub(MOST);
        of_one.into_iter().take_while(move |(_, weight, _)| {
            let cut = over > 0;
            over = over.saturating_sub(*weight);
            cut
        })
    });
    over.map(|(_, _, place)| place).collect()
}

async fn look_after<T: Taker>(everyone: Weak<Everyone<T>>) {
    let mut beat = tokio::time::interval(EVERY);
    let mut paces = HashMap::new();
    loop {
        beat.tick().await;
        let Some(everyone) = everyone.upgrade() else { return };
        everyone.cut_who_is_too_many(&mut paces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second at somebody who is given so many bytes each time, and says when they are found behind.
    fn found_behind(taken: impl Fn(u64) -> u64, waits: impl Fn(u64) -> bool) -> Option<u64> {
        let (mut pace, mut bytes, mut given) = (Pace { since: 0, bytes: 0 }, 0, 0);
        (1..=60).find(|second| {
            let now = second * 1000;
            if taken(*second) > 0 {
                bytes += taken(*second);
                given = now;
            }
            let seen = Seen { given, bytes, waited: waits(*second) };
            pace.behind(&seen, now).is_some()
        })
    }

    #[test]
    fn who_takes_nothing_for_five_seconds_or_a_trickle_of_much_is_behind() {
        assert_eq!(found_behind(|_| 0, |_| false), Some(5));
        assert_eq!(found_behind(|_| 1, |_| false), Some(5));
        assert_eq!(found_behind(|_| LEAST - 1, |_| false), Some(5));
        let a_window_and_then_a_trickle = |second| if second < 10 { 2 << 20 } else { 1 };
        assert_eq!(found_behind(a_window_and_then_a_trickle, |_| false), Some(15));
    }

    #[test]
    fn who_waits_for_more_or_takes_it_at_a_fair_pace_is_not_behind() {
        assert_eq!(found_behind(|_| LEAST, |_| false), None);
        // A piece of 64 KiB now and then, and nothing in between.
        assert_eq!(found_behind(|second| if second % 4 == 0 { 64 << 10 } else { 0 }, |_| false), None);
        // A few bytes now and then, and all of them: an idle stream.
        assert_eq!(found_behind(|second| second % 2, |_| true), None);
        assert_eq!(
            Pace { since: 0, bytes: 0 }.behind(&Seen { given: WAITS, bytes: 1, waited: false }, 60_000),
            None
        );
    }

    #[test]
    fn of_those_who_are_behind_the_longest_are_too_many_and_only_of_that_credit() {
        let most = u64::try_from(MOST).unwrap();
        let of_one = (0..most + 2).map(|number| ("one", Some((number, 1))));
        let others = (0..most).map(|_| ("other", Some((0, 1)))).chain((0..most).map(|_| ("one", None)));
        assert_eq!(too_many(of_one.clone().rev().chain(others)), [MOST + 1, MOST]);
        assert_eq!(too_many(of_one.take(MOST)).len(), 0);
    }

    #[test]
    fn of_those_who_are_behind_in_very_small_pieces_fewer_may_stay() {
        let fine = |count| (0..count).map(|number| ("one", Some((number, FINE.1))));
        let may_stay = u64::try_from(MOST / FINE.1).unwrap();
        assert_eq!(too_many(fine(may_stay)).len(), 0);
        assert_eq!(too_many(fine(may_stay + 2)), [0, 1]);
    }
}
