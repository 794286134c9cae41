//! Moves the datagrams of a UDP session, both ways, until either side is done, nothing has moved for its idle bound, or the
//! session is cut.
//!
//! A flow of UDP has no end of its own: silence is the end of it.

use std::time::Duration;

use super::live::{Ending, Session};
use crate::tunnel::datagram::{Drain, Source, pass};

/// Passes datagrams from the visitor (`up.0`) to the publisher (`up.1`) and back (`down`), and counts them.
pub async fn pass_datagrams(
    session: &Session,
    up: (impl Source, impl Drain),
    down: (impl Source, impl Drain),
    idle: Duration,
) {
    let up = pass(up.0, up.1, |bytes| session.count_datagram_up(bytes));
    let down = pass(down.0, down.1, |bytes| session.count_datagram_down(bytes));
    tokio::select! {
        // Asked first: once the session is cut, nothing moves that was ready at the same time.
        biased;
        () = session.cut() => {}
        ended = up => session.note_ending(match ended {
            Ok(()) => Ending::VisitorClosed,
            Err(_) => Ending::PublisherClosed,
        }),
        _ended = down => session.note_ending(Ending::PublisherClosed),
        () = session.quiet_for(idle) => session.note_ending(Ending::Idle),
    }
}
