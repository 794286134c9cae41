//! Visitors who fall behind in reading what a publisher sends for them: they share the credit of its connection.

use std::sync::Arc;

use tracing::info;

use super::live::{Ending, Live};
use crate::tunnel::{Taker, Takers, Taking};

/// Those who read.
pub(super) type Readers = Takers<Reader>;
/// One who reads, for as long as this lives.
pub(super) type Reading = Taking<Reader>;

/// One who reads what comes over one registration.
pub(super) struct Reader {
    live: Arc<Live>,
    tunnel_id: Arc<str>,
}

impl Reader {
    pub(super) fn of(live: &Arc<Live>) -> Self {
        Self { live: Arc::clone(live), tunnel_id: live.tunnel_id() }
    }
}

impl Taker for Reader {
    fn credit(&self) -> &str {
        &self.tunnel_id
    }

    fn is_cut(&self) -> bool {
        self.live.cut.is_cancelled()
    }

    fn cut(&self) {
        let live = &self.live;
        info!(session = %live.id, tunnel = %live.tunnel, "cut: too many visitors don't read, and this one for longest");
        live.note_ending(Ending::Stalled);
        live.cut.cancel();
    }
}
