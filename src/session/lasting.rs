//! A stream of a session that outlives its connection, as the session sees it.
//!
//! A session is on one registration of its tunnel, and ends with it. When the publisher comes back, its sessions with such streams
//! are moved to the new registration ([`super::Broker::tunnel_moved`]), so that whatever ends a session of that one ends them too; the
//! others end. This holds no session open: one that is cut has no stream that goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::live::Live;

/// Counts as such a stream until it is dropped.
pub struct LastingStream(Arc<Live>);

impl LastingStream {
    pub(super) fn of(live: &Arc<Live>) -> Self {
        live.lasting.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(live))
    }

    /// Whether bytes of the session may still move.
    pub fn is_open(&self) -> bool {
        !self.0.cut.is_cancelled()
    }

    /// Whether the session is on this registration.
    pub fn is_of(&self, tunnel_id: &str) -> bool {
        self.0.is_of(tunnel_id)
    }

    /// It went on over another connection.
    pub fn resumed(&self) {
        self.0.resumed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for LastingStream {
    fn drop(&mut self) {
        self.0.lasting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bed;
    use super::super::readers::Reader;
    use super::*;
    use crate::tunnel::Taker as _;

    #[tokio::test]
    async fn a_session_that_moves_is_of_the_new_registration_alone_and_so_are_those_who_read_there() {
        let folder = tempfile::tempdir().unwrap();
        let (live, _) = bed::open(folder.path(), "192.0.2.1:1");
        let session = live.handle();
        live.follow("tun-2");
        assert!(live.is_of("tun-1"), "one without such a stream ends with its registration");
        let stream = session.lasting();
        let reader = Reader(Arc::clone(&live));
        assert_eq!(*reader.credit(), *"tun-1");
        assert!(stream.is_open() && stream.is_of("tun-1"));
        live.follow("tun-2");
        assert!(stream.is_of("tun-2") && !stream.is_of("tun-1"));
        assert_eq!(*reader.credit(), *"tun-2", "and it holds no less of what is sent there");
        drop(reader);
        live.cut.cancel();
        assert!(!stream.is_open());
        drop(session);
        assert!(live.last_byte().is_some(), "a stream that waits holds no session open");
    }
}
