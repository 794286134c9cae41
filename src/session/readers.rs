//! Visitors who fall behind in reading what a publisher sends for them: they share the credit of its connection.

use tracing::info;

use super::live::{Ending, Live};
use crate::tunnel::{Taker, Takers, Taking};

/// Those who read.
pub(super) type Readers = Takers<Live>;
/// One who reads, for as long as this lives.
pub(super) type Reading = Taking<Live>;

impl Taker for Live {
    fn credit(&self) -> &str {
        &self.tunnel_id
    }

    fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    fn cut(&self) {
        info!(session = %self.id, tunnel = %self.tunnel, "cut: too many visitors don't read, and this one for longest");
        self.note_ending(Ending::Stalled);
        self.cut.cancel();
    }
}
