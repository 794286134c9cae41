//! The task that reads the ledger for detections: a durable position, as a sink has one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::watch,
    task::{self, JoinHandle},
    time::{Instant, sleep},
};

use super::{Raised, Rules, Watch};
use crate::kind::Kind;
use crate::sink::{CursorError, CursorStore, Feed, FeedError, Notice, Position};

/// Records read at a time.
const BATCH: usize = 256;
/// So many records before the position are looked at again after a start, so that counting goes on.
const WARM: u64 = 20_000;
/// How often the position is put on disk; what comes after it is looked at again after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// How long to wait after the ledger could not be read.
const PAUSE: Duration = Duration::from_secs(5);

/// How detecting goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DetectingStatus {
    /// Records before this one were looked at.
    pub next: u64,
    /// How often each rule raised something since the start. The rules that raised nothing are there with 0.
    pub raised: BTreeMap<String, u64>,
    /// How grave what each rule finds is: `low`, `medium`, `high` or `critical`.
    pub severity: BTreeMap<String, &'static str>,
}

/// A running detection. Dropping it ends it.
pub struct Detecting {
    status: watch::Receiver<DetectingStatus>,
    task: JoinHandle<()>,
}

impl Drop for Detecting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Detecting {
    /// Goes on at the saved position; without one at the end of the ledger, for what is long past needs no alarm.
    pub async fn start(
        rules: &Rules,
        cursor: Arc<dyn CursorStore>,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
    ) -> Result<Self, CursorError> {
        let head = *feed.heads().borrow();
        let opening = Arc::clone(&cursor);
        let opened = task::spawn_blocking(move || {
            let position = opening.load()?.unwrap_or(Position { next: head, sequence: 1 });
            opening.save(position)?;
            Ok(position)
        });
        let position = opened.await.unwrap_or_else(|panic| {
            Err(CursorError::Io {
                doing: "opened",
                path: std::path::PathBuf::new(),
                source: std::io::Error::other(panic),
            })
        })?;
        // A ledger that was set back: its records are looked at from where it ends now.
        let position = Position { next: position.next.min(head), ..position };
        let raised = rules.names().map(|(name, _)| (name.to_owned(), 0)).collect();
        let severity = rules.names().map(|(name, grade)| (name.to_owned(), grade.as_str())).collect();
        let (sender, status) = watch::channel(DetectingStatus { next: position.next, raised, severity });
        let watch = Watch::new(rules);
        let kinds = Arc::new(watch.kinds());
        let looking = Looking { watch, kinds, begun: false, cursor, feed, notice, status: sender };
        Ok(Self { status, task: task::spawn(looking.run(position)) })
    }

    /// How it goes.
    pub fn status(&self) -> watch::Receiver<DetectingStatus> {
        self.status.clone()
    }
}

struct Looking {
    watch: Watch,
    /// What the rules look at: of busy gateways' records few, and only those are opened.
    kinds: Arc<BTreeSet<Kind>>,
    /// Whether it is known when the first record was made.
    begun: bool,
    cursor: Arc<dyn CursorStore>,
    feed: Arc<dyn Feed>,
    notice: Arc<dyn Notice>,
    status: watch::Sender<DetectingStatus>,
}

impl Looking {
    async fn run(mut self, mut position: Position) {
        while let Err(error) = self.recall(position.next).await {
            tracing::warn!(%error, "detections cannot read the ledger");
            sleep(PAUSE).await;
        }
        let mut warm = position.next.saturating_sub(WARM).max(self.feed.pruned().min(position.next));
        let mut heads = self.feed.heads();
        let mut saved = position;
        let mut save_due = Instant::now();
        loop {
            let from = warm.min(position.next);
            let head = *heads.borrow_and_update();
            if from >= head {
                if saved != position && Instant::now() >= save_due {
                    save_due = Instant::now() + SAVE_EVERY;
                    saved = self.save(position, saved).await;
                }
                tokio::select! {
                    changed = heads.changed() => if changed.is_err() { return },
                    () = sleep(SAVE_EVERY), if saved != position => {}
                }
                continue;
            }
            match self.look(from, position.next).await {
                Ok((next, found)) => {
                    for raised in found {
                        position.sequence += 1;
                        self.tell(&raised).await;
                    }
                    warm = next;
                    position.next = position.next.max(next);
                    self.status.send_modify(|status| status.next = position.next);
                }
                Err(error) => {
                    tracing::warn!(%error, "detections cannot read the ledger");
                    sleep(PAUSE).await;
                }
            }
            if saved != position && Instant::now() >= save_due {
                save_due = Instant::now() + SAVE_EVERY;
                saved = self.save(position, saved).await;
            }
        }
    }

    /// Finds out who was active before `upto`, as far back as rules about dormant people ask, which is much further than the records
    /// that are looked at again. What was pruned nobody knows.
    async fn recall(&mut self, upto: u64) -> Result<(), FeedError> {
        let Some((secs, kinds)) = self.watch.memory() else { return Ok(()) };
        let mut from = self.feed.pruned();
        if from >= upto {
            return Ok(());
        }
        let kinds = Arc::new(kinds);
        let (first, last) = (self.time_of(from).await?, self.time_of(upto - 1).await?);
        let since = last.saturating_sub(SignedDuration::from_secs(secs)).unwrap_or(first).max(first);
        self.watch.recall_since(since.as_second());
        while from < upto {
            let (feed, kinds) = (Arc::clone(&self.feed), Arc::clone(&kinds));
            let read =
                task::spawn_blocking(move || feed.kinds_since(&kinds, (from, upto), since, BATCH)).await;
            let (entries, next) = read.map_err(|panic| FeedError::new(panic.to_string()))??;
            for entry in &entries {
                self.watch.recall(entry);
            }
            from = next.max(from + 1);
        }
        Ok(())
    }

    async fn time_of(&self, seq: u64) -> Result<Timestamp, FeedError> {
        let feed = Arc::clone(&self.feed);
        let read = task::spawn_blocking(move || feed.range(seq, 1)).await;
        let entries = read.map_err(|panic| FeedError::new(panic.to_string()))??;
        let missing = || FeedError::new(format!("record {seq} cannot be read"));
        entries.first().map(|entry| entry.record.time).ok_or_else(missing)
    }

    /// Looks at the records from `from` on; of those before `new` nothing is raised.
    async fn look(&mut self, from: u64, new: u64) -> Result<(u64, Vec<Raised>), FeedError> {
        if !self.begun {
            let first = self.time_of(from).await?;
            self.watch.begin(first.as_second());
            self.begun = true;
        }
        let (feed, kinds) = (Arc::clone(&self.feed), Arc::clone(&self.kinds));
        let read = task::spawn_blocking(move || feed.of_kinds(&kinds, from, BATCH)).await;
        let (entries, next) = read.map_err(|panic| FeedError::new(panic.to_string()))??;
        let mut found = Vec::new();
        for entry in &entries {
            let raised = self.watch.see(entry);
            if entry.record.seq.get() >= new {
                found.extend(raised);
            }
        }
        if next == from {
            return Err(FeedError::new(format!("record {from} is announced but cannot be read")));
        }
        Ok((next, found))
    }

    async fn tell(&self, raised: &Raised) {
        tracing::warn!(rule = raised.rule, severity = raised.severity, records = ?raised.records, "{}", raised.says);
        self.status.send_modify(|status| *status.raised.entry(raised.rule.clone()).or_default() += 1);
        self.notice.record(raised.draft()).await;
    }

    async fn save(&self, position: Position, saved: Position) -> Position {
        let cursor = Arc::clone(&self.cursor);
        match task::spawn_blocking(move || cursor.save(position)).await {
            Ok(Ok(())) => position,
            Ok(Err(error)) => {
                tracing::warn!(%error, hint = error.hint(), "the position of detections is not saved");
                saved
            }
            Err(panic) => {
                tracing::error!(%panic, "saving the position of detections failed");
                saved
            }
        }
    }
}
