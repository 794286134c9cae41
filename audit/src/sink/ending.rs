//! The end of a sink's task, told: a status that nobody changes any more looks like a receiver that has nothing to do.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::timeout,
};

use crate::{
    kind::Kind,
    record::{Draft, Outcome},
};

use super::{Notice, SinkStatus, delivery::wall_clock};

/// How long the ledger may take over the record of it.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);
const WHY: &str = "its task ended by itself; restart the gateway: it goes on where it stood";

/// What is needed to tell of it.
pub(super) struct Ending {
    pub(super) status: watch::Sender<SinkStatus>,
    pub(super) notice: Arc<dyn Notice>,
}

impl Ending {
    /// Waits for the end. One that nobody asked for is an error in the log, the sink's trouble, and a record.
    pub(super) async fn told(self, running: JoinHandle<()>) {
        let ended = running.await;
        self.status.send_modify(|status| (status.running, status.connected) = (false, false));
        if let Err(fault) = ended {
            self.broken(&fault).await;
        }
    }

    async fn broken(&self, fault: &JoinError) {
        self.status.send_modify(|status| {
            status.last_error = Some(WHY.to_owned());
            status.failing_since.get_or_insert_with(wall_clock);
        });
        let draft = {
            let status = self.status.borrow();
            tracing::error!(sink = status.name, %fault, "the sink delivers nothing any more: {WHY}");
            Draft::new(Kind::SinkFailed, Outcome::Failure)
                .object(format!("sink:{}", status.name))
                .detail("address", status.address.as_str())
                .detail("transport", status.transport)
                .detail("format", status.format)
                .detail("filter", status.filter.as_str())
                .detail("next", status.settled)
                .detail("reason", WHY)
        };
        if timeout(NOTICE_PATIENCE, self.notice.record(draft)).await.is_err() {
            tracing::warn!("the ledger took no record about a sink that ended");
        }
    }
}
