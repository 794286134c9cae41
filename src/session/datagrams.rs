//! Moves the datagrams of a UDP session, both ways, until either side is done, nothing has moved for its idle bound, or the
//! session is cut.
//!
//! A flow of UDP has no end of its own: silence is the end of it.

use std::pin::pin;
use std::time::Duration;

use super::handle::Session;
use super::live::Ending;
use crate::tunnel::datagram::{Drain, Source, pass};

/// How long the publisher may take to hear that a silent flow is over.
const GOODBYE: Duration = Duration::from_secs(1);

/// Passes datagrams from the visitor (`up.0`) to the publisher (`up.1`) and back (`down`), and counts them.
pub async fn pass_datagrams(
    session: &Session,
    (visitor, mut publisher): (impl Source, impl Drain),
    down: (impl Source, impl Drain),
    idle: Duration,
) {
    let mut down = pin!(pass(down.0, down.1, |bytes| session.count_datagram_down(bytes)));
    let up = pass(visitor, &mut publisher, |bytes| session.count_datagram_up(bytes));
    let fell_silent = tokio::select! {
        // Asked first: once the session is cut, nothing moves that was ready at the same time.
        biased;
        () = session.cut() => false,
        ended = up => {
            session.note_ending(match ended {
                Ok(()) => Ending::VisitorClosed,
                Err(_) => Ending::PublisherClosed,
            });
            false
        }
        _ended = &mut down => {
            session.note_ending(Ending::PublisherClosed);
            false
        }
        () = session.quiet_for(idle) => {
            session.note_ending(Ending::Idle);
            true
        }
    };
    if !fell_silent {
        return;
    }
    // Said in order, and waited for: a stream that is dropped looks to the publisher like one that broke off.
    let goodbye = async {
        if publisher.end().await.is_ok() {
            let _ended = down.await;
        }
    };
    tokio::select! {
        biased;
        () = session.cut() => {}
        _told = tokio::time::timeout(GOODBYE, goodbye) => {}
    }
}
