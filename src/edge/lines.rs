//! The lines before all tunnels: who waits is woken when it is their turn, and leaves when they no longer want to.
//!
//! Promised: a place is given back when its holder is dropped, however that comes; nobody waits longer than for an absent
//! publisher (`tunnels.queue_secs`). A visitor may make its own request less urgent than its tunnel is (RFC 9218), never more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::oneshot;

use super::line::{Line, Priority, Stands, Ticket};
use super::page::Refusal;
use crate::tunnel::TunnelName;

/// Tells a visitor that it would do well to send less.
pub(super) const BACKPRESSURE: HeaderName = HeaderName::from_static("sallyport-backpressure");
/// Its value: so much of the line is taken.
pub(super) const PRESSED: HeaderValue = HeaderValue::from_static("80%");

/// RFC 9218.
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// Clones share the lines.
#[derive(Clone)]
pub struct Lines {
    at_once: usize,
    most_waiting: usize,
    doors: Arc<Mutex<HashMap<TunnelName, Door>>>,
}

struct Door {
    line: Line,
    /// Those who wait, by their ticket.
    bells: HashMap<Ticket, oneshot::Sender<()>>,
}

/// A place at an app, given back when it is dropped.
pub(super) struct Place {
    lines: Lines,
    name: TunnelName,
    /// Whether the line was nearly full when its holder came.
    pub(super) pressed: bool,
    /// Whether it is a place at the app, and not one in the line that was given up.
    held: bool,
}

/// A ticket, given back when whoever holds it gives up.
struct Waiting {
    place: Option<Place>,
    ticket: Ticket,
}

impl Lines {
    /// For each tunnel so many requests at once (0 is any number), and so many that wait.
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        Self { at_once, most_waiting, doors: Arc::default() }
    }

    /// A place at the app of `name`, for `person`, after a wait of `patience` at most. `at_once` is what the tunnel says of it.
    pub(super) async fn enter(
        &self,
        name: &TunnelName,
        at_once: Option<usize>,
        (person, priority): (&str, Priority),
        patience: Duration,
    ) -> Result<Option<Place>, Refusal> {
        let at_once = at_once.unwrap_or(self.at_once);
        if at_once == 0 {
            return Ok(None);
        }
        let (waiting, bell) = {
            let mut lines = self.doors();
            let door = lines.entry(name.clone()).or_insert_with(|| Door {
                line: Line::new(at_once, self.most_waiting),
                bells: HashMap::new(),
            });
            let stands = door.line.come(person, priority);
            let pressed = door.line.is_pressed();
            let place = || Place { lines: self.clone(), name: name.clone(), pressed, held: true };
            match stands {
                Stands::Inside => return Ok(Some(place())),
                Stands::Outside => return Err(full(name)),
                Stands::Waits(ticket) => {
                    let (ring, bell) = oneshot::channel();
                    door.bells.insert(ticket, ring);
                    (Waiting { place: Some(place()), ticket }, bell)
                }
            }
        };
        match tokio::time::timeout(patience, bell).await {
            Ok(Ok(())) => Ok(waiting.called()),
            _ => Err(late(name)),
        }
    }

    /// Requests that wait now, for all tunnels together.
    pub fn waiting(&self) -> usize {
        self.doors().values().map(|door| door.line.waiting()).sum()
    }

    /// How many of them wait for each tunnel before which somebody does.
    pub fn waiting_at(&self) -> Vec<(TunnelName, usize)> {
        let doors = self.doors();
        let lines = doors.iter().map(|(name, door)| (name.clone(), door.line.waiting()));
        lines.filter(|(_, waiting)| *waiting > 0).collect()
    }

    fn doors(&self) -> MutexGuard<'_, HashMap<TunnelName, Door>> {
        // Every change is complete before the lock is let go.
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn called(mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(place) = &mut self.place else { return };
        let gave_up = place.lines.doors().get_mut(&place.name).is_some_and(|door| {
            door.bells.remove(&self.ticket);
            door.line.give_up(self.ticket)
        });
        // Whoever was called in the meantime, and did not hear it, gives the place to the next.
        place.held = !gave_up;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let mut lines = self.lines.doors();
        let Some(door) = lines.get_mut(&self.name) else { return };
        if let Some(bell) = door.line.go().and_then(|ticket| door.bells.remove(&ticket)) {
            // Whoever is just giving up finds that it was called, and passes the place on.
            let _heard = bell.send(());
        }
        if door.line.is_empty() {
            lines.remove(&self.name);
        }
    }
}

/// How urgent a request is: as its tunnel is, or less if it says so.
pub(super) fn priority(tunnel: Priority, headers: &HeaderMap) -> Priority {
    let said = headers.get(PRIORITY).and_then(|value| value.to_str().ok()).and_then(|text| {
        let urgency = text.split(',').find_map(|part| part.trim().strip_prefix("u="))?;
        match urgency {
            "0" | "1" | "2" | "3" => Some(Priority::Interactive),
            "4" | "5" => Some(Priority::Batch),
            "6" | "7" => Some(Priority::Background),
            _ => None,
        }
    });
    said.map_or(tunnel, |said| said.max(tunnel))
}

fn full(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "line-full",
        format!("more requests wait for `{name}` than may wait"),
        "send fewer at a time; Sallyport-Backpressure tells before it comes to this",
    )
}

fn late(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "line-slow",
        format!("the app behind `{name}` has more to do than it can, and your request waited for too long"),
        "try again later, or send fewer requests at a time",
    )
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn name() -> TunnelName {
        TunnelName::parse("shop").unwrap()
    }

    #[tokio::test]
    async fn a_place_is_given_to_whoever_waits_and_nothing_is_left_in_the_end() {
        let lines = Lines::new(1, 2);
        let someone = ("a", Priority::Interactive);
        let first = lines.enter(&name(), None, someone, LONG).await.ok().unwrap();
        let shop = name();
        let mut second = Box::pin(lines.enter(&shop, None, someone, LONG));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!((lines.waiting(), lines.waiting_at()), (1, vec![(name(), 1)]));
        drop(first);
        assert_eq!((lines.waiting(), lines.waiting_at()), (0, Vec::new()));
        drop(second.await.ok().unwrap());
        assert!(lines.doors().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_too_long_or_gives_up_leaves_no_trace() {
        let lines = Lines::new(1, 2);
        let someone = ("a", Priority::Interactive);
        let first = lines.enter(&name(), None, someone, LONG).await.ok().unwrap();
        let late = lines.enter(&name(), None, someone, Duration::ZERO).await;
        assert_eq!(late.err().unwrap().code, "line-slow");
        let shop = name();
        let mut given_up = Box::pin(lines.enter(&shop, None, someone, LONG));
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        drop(first);
        assert!(lines.doors().is_empty());
    }

    #[tokio::test]
    async fn without_a_number_there_is_no_line() {
        assert!(
            Lines::new(0, 0).enter(&name(), None, ("a", Priority::Batch), LONG).await.ok().unwrap().is_none()
        );
    }

    #[test]
    fn a_request_may_be_less_urgent_than_its_tunnel_and_never_more() {
        let of = |tunnel, header: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PRIORITY, HeaderValue::from_static(header));
            priority(tunnel, &headers)
        };
        assert_eq!(of(Priority::Interactive, "u=7"), Priority::Background);
        assert_eq!(of(Priority::Interactive, "i, u=4"), Priority::Batch);
        assert_eq!(of(Priority::Batch, "u=0"), Priority::Batch);
        assert_eq!(of(Priority::Batch, "u=9"), Priority::Batch);
        assert_eq!(priority(Priority::Batch, &HeaderMap::new()), Priority::Batch);
    }
}
