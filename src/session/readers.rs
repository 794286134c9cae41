//! Visitors who fall behind in reading what a publisher sends for them: they share the credit of its connection.

use std::sync::Arc;

use tracing::info;

use super::live::{Ending, Live};
use crate::tunnel::{Taker, Takers, Taking};

/// Those who read.
pub(super) type Readers = Takers<Reader>;
/// One who reads, for as long as this lives.
pub(super) type Reading = Taking<Reader>;

/// One who reads what comes over the registration of their session.
pub(super) struct Reader(pub(super) Arc<Live>);

impl Taker for Reader {
    type Credit = Arc<str>;

    fn credit(&self) -> Arc<str> {
        // What a session that moved has not read is sent over the new one.
        self.0.tunnel_id()
    }

    fn is_cut(&self) -> bool {
        self.0.cut.is_cancelled()
    }

    fn cut(&self) {
        let live = &self.0;
        info!(session = %live.id, tunnel = %live.tunnel, "cut: too many visitors don't read, and this one for longest");
        live.note_ending(Ending::Stalled);
        live.cut.cancel();
    }
}
