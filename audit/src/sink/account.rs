//! What a sink says in the ledger about itself: where it stands, how far it has delivered, what it set aside, and that records
//! wait for too long.

use std::{sync::Arc, time::Duration};

use tokio::{
    task,
    time::{Instant, timeout},
};

use crate::{
    kind::Kind,
    record::{Draft, Outcome},
};

use super::{
    delivery::{Delivery, wall_clock},
    notice::about_a_sink,
    parcel::Item,
    window::Position,
};

/// How often it is looked how long the next record has been waiting.
const AGE_EVERY: Duration = Duration::from_millis(500);
/// How long the ledger may take over a record about the sink.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);

impl Delivery {
    pub(super) async fn give_receipt(&mut self, now: Instant) {
        let settled = self.window.settled();
        let Some(since) = self.receipts.due(settled, now) else { return };
        // What the receipt says must not be lost with a crash right after it.
        self.save().await;
        let feed = Arc::clone(&self.feed);
        let last = settled.next.saturating_sub(1);
        let read = task::spawn_blocking(move || feed.range(last, 1)).await;
        let leaf = read.ok().and_then(Result::ok).and_then(|entries| {
            entries
                .first()
                .filter(|entry| entry.record.seq.get() == last)
                .map(|entry| entry.digest().to_string())
        });
        let mut draft = self
            .about(Kind::SinkDelivered, Outcome::Success, settled)
            .detail("assurance", self.options.target.assurance().as_str())
            .detail("since", since.next)
            .detail("since_sequence", since.sequence)
            .detail("quarantined", self.status.borrow().quarantined);
        if let Some(leaf) = leaf {
            draft = draft.detail("leaf", leaf);
        }
        self.tell(draft).await;
    }

    /// Says in sight that a record was set aside, for the reason for which the receiver refused it, or as a pointer took its
    /// place. Once; again only if it is sent again and the ledger took no record of it.
    pub(super) async fn quarantine(&mut self, item: &Item, refused: Option<&str>) {
        let seq = item.seq;
        if seq < self.reported {
            return;
        }
        if seq >= self.counted {
            self.counted = seq + 1;
            self.status.send_modify(|status| status.quarantined += 1);
        }
        let octets = item.oversize.filter(|_| refused.is_none()).unwrap_or(item.bytes.len());
        let reason = match refused {
            Some(reason) => format!("the receiver refused it: {reason}"),
            None => "larger than the sink's bound; a pointer was sent in its place".to_owned(),
        };
        tracing::warn!(sink = %self.options.name, record = seq, octets, reason, "record set aside by a sink");
        if about_a_sink(item.kind) {
            self.reported = seq + 1;
            return;
        }
        let draft = Draft::new(Kind::SinkQuarantined, Outcome::Failure)
            .object(format!("sink:{}", self.options.name))
            .detail("record", seq)
            .detail("octets", octets)
            .detail("max_octets", self.options.max_message())
            .detail("pointer", refused.is_none())
            .detail("reason", reason);
        if self.tell(draft).await {
            self.reported = seq + 1;
        }
    }

    pub(super) fn about(&self, kind: Kind, result: Outcome, position: Position) -> Draft {
        Draft::new(kind, result)
            .object(format!("sink:{}", self.options.name))
            .detail("address", self.options.target.to_string())
            .detail("transport", self.options.target.kind())
            .detail("format", self.options.shape.as_str())
            .detail("filter", self.options.filter.as_str())
            .detail("from", self.started_at.next)
            .detail("personal", self.options.personal.as_str())
            .detail("next", position.next)
            .detail("sequence", position.sequence)
    }

    /// Whether the ledger took it.
    pub(super) async fn tell(&self, draft: Draft) -> bool {
        let taken = timeout(NOTICE_PATIENCE, self.notice.record(draft)).await.is_ok();
        if !taken {
            tracing::warn!(sink = %self.options.name, "the ledger took no record about the sink; going on without it");
        }
        taken
    }

    /// Finds out how long the oldest record that does not count as delivered has been waiting, shows it, and raises the alarm
    /// before the receiver would refuse it for its age.
    pub(super) async fn watch_age(&mut self) {
        self.age_due = Instant::now() + AGE_EVERY;
        let position = self.window.settled();
        let head = *self.feed.heads().borrow();
        if position.next >= head {
            self.oldest = None;
        } else if self.oldest.is_none_or(|(seq, _)| seq != position.next) {
            let feed = Arc::clone(&self.feed);
            let read = task::spawn_blocking(move || feed.range(position.next, 1)).await;
            let time = read.ok().and_then(Result::ok).and_then(|entries| Some(entries.first()?.record.time));
            self.oldest = time.map(|time| (position.next, time));
        }
        let since = self.oldest.map(|(_, time)| time);
        self.status.send_if_modified(|status| std::mem::replace(&mut status.waiting_since, since) != since);
        let age = since.map_or(Duration::ZERO, |since| {
            Duration::try_from(wall_clock().duration_since(since)).unwrap_or_default()
        });
        // A sink that catches up is not late again at once for every record that it still has to send.
        if self.late && age < self.options.late_after / 2 {
            self.late = false;
        } else if !self.late && since.is_some() && age >= self.options.late_after {
            self.late = true;
            tracing::warn!(sink = %self.options.name, ?age, "records wait for the sink longer than they may");
            let draft = self
                .about(Kind::SinkLate, Outcome::Failure, position)
                .detail("waiting_secs", age.as_secs())
                .detail("limit_secs", self.options.late_after.as_secs())
                .detail("records", head.saturating_sub(position.next));
            self.tell(draft).await;
        }
        let late = self.late;
        self.status.send_if_modified(|status| std::mem::replace(&mut status.late, late) != late);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use jiff::Timestamp;
    use tokio::sync::watch;

    use super::super::{
        Address, CursorError, CursorStore, Feed, FeedError, Filter, Notice, PersonalView, SinkName,
        SinkOptions, SinkStatus, Target, Transport, format::Format, parcel::Packer,
    };
    use super::*;
    use crate::ledger::Entry;

    const ORIGIN: &str = "a.example/ledger";

    /// A ledger that takes nothing the first time.
    #[derive(Default)]
    struct Stuck {
        asked: AtomicUsize,
    }

    impl Notice for Stuck {
        fn record(&self, draft: Draft) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            assert_eq!(draft.kind, Kind::SinkQuarantined);
            let is_first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
            Box::pin(async move {
                if is_first {
                    std::future::pending::<()>().await;
                }
            })
        }
    }

    impl Feed for Stuck {
        fn origin(&self) -> String {
            ORIGIN.to_owned()
        }
        fn range(&self, _from: u64, _limit: usize) -> Result<Vec<Entry>, FeedError> {
            Ok(Vec::new())
        }
        fn heads(&self) -> watch::Receiver<u64> {
            watch::Sender::new(9).subscribe()
        }
    }

    impl CursorStore for Stuck {
        fn load(&self) -> Result<Option<Position>, CursorError> {
            Ok(None)
        }
        fn save(&self, _position: Position) -> Result<(), CursorError> {
            Ok(())
        }
    }

    fn delivery(ledger: &Arc<Stuck>) -> Delivery {
        let address = Address::parse("127.0.0.1:1").unwrap();
        let target = Target::Syslog { address, transport: Transport::Tcp };
        let options = SinkOptions::new(SinkName::parse("siem").unwrap(), target, "nowhere".into());
        let format = Format {
            origin: ORIGIN.to_owned(),
            sink: options.name.clone(),
            facility: options.facility,
            enterprise: options.enterprise,
            process: None,
            personal: PersonalView::Commitments,
            shape: options.shape,
        };
        let packer = Packer { format, filter: Filter::default(), syslog: true, max_message: 2_048 };
        let from = Position { next: 0, sequence: 0 };
        let status = watch::Sender::new(SinkStatus::new(&options, from, 9));
        Delivery::new(options, packer, ledger.clone(), ledger.clone(), ledger.clone(), status, from)
    }

    #[tokio::test]
    async fn a_pointer_of_which_the_ledger_took_no_record_is_told_when_it_is_sent_again_and_counted_once() {
        let ledger = Arc::new(Stuck::default());
        let mut delivery = delivery(&ledger);
        let item = Item {
            seq: 4,
            kind: Kind::AdminCalled,
            time: Timestamp::UNIX_EPOCH,
            severity: 6,
            node: "n".to_owned(),
            bytes: Vec::new(),
            oversize: Some(70_000),
            after: Position { next: 5, sequence: 5 },
        };
        for asked in [1, 2, 2] {
            delivery.quarantine(&item, None).await;
            assert_eq!(ledger.asked.load(Ordering::SeqCst), asked);
            assert_eq!(delivery.status.borrow().quarantined, 1);
        }
    }
}
