//! The task behind one way: reads on in the ledger, sends, records, and only then moves its cursor.
//!
//! Two cursors, both durable: how far it has read, and until when reminders are told. One message at a time, in the order of the
//! records. A message that can't be sent is tried again with growing pauses until it is older than the operator's patience; in
//! a backlog older than that each is tried once, so a dead receiver costs little and is found alive soon. One to somebody in person
//! is soon set aside ([`super::set_aside`]): nobody waits for another one's mailbox.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::ledger::OnStall;
use sallyport_audit::sink::{CursorError, CursorStore as _, FileCursor, Position, SinkName};
use sallyport_audit::{Digest, Draft, Ledger, Seq};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::event::Event;
use super::news::{self, News};
use super::recorded::draft;
use super::set_aside::{Sending, SetAside};
use super::wants::{MOST_AN_HOUR, Next, Told, Wants};
use super::way::{Message, Unsent, Way};
use super::words::Words;
use crate::access::{Access, Caller, GrantFilter, Subject, Tenant};
use crate::clock;

/// Records that are looked at in one go.
const BATCH: usize = 4_096;
/// How long records may gather before they are looked at: nobody notices, and a busy ledger is read in larger pieces.
const GATHER: Duration = Duration::from_millis(200);
/// How often reminders are thought of.
const REMIND_EVERY: Duration = Duration::from_secs(30);
/// How soon a ledger that can't be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// How long the ledger may take over the record of a message.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt may take, whatever the way does.
const SEND_PATIENCE: Duration = Duration::from_mins(1);

/// What all ways share.
pub struct Desk {
    /// Whom things concern.
    pub access: Access,
    /// What happened, and where it is recorded what was told.
    pub ledger: Ledger,
    /// What is said.
    pub words: Words,
    /// The tenant of this gateway.
    pub tenant: Tenant,
    /// How this gateway is called in texts.
    pub gateway: String,
    /// What links begin with, without a slash at the end.
    pub base_url: String,
    /// Until which age a message is tried again.
    pub patience: Duration,
    /// How long before the end of an access review its reviewers are reminded; `None`: never.
    pub remind: Option<Duration>,
    /// How long before the end of a grant its holder is reminded; `None`: never.
    pub remind_grant: Option<Duration>,
}

/// One way, and how far it is.
pub struct Courier {
    way: Arc<dyn Way>,
    wants: Wants,
    told_lately: Told,
    desk: Arc<Desk>,
    cursors: Arc<(FileCursor, FileCursor)>,
    next: u64,
    /// How far `next` is on disk.
    saved: u64,
    reminded: Timestamp,
    set_aside: SetAside,
    /// Messages sent or given up, ever.
    told: u64,
}

/// The gateway stops: what was under way is told again by the next start.
struct Stopped;

impl Courier {
    /// Reads the cursors in `directory`; a way that is new begins with what happens from now on. Blocks.
    ///
    /// # Errors
    ///
    /// A cursor that can't be read or kept, or that belongs to something else.
    pub fn open(
        way: Arc<dyn Way>,
        wants: Wants,
        desk: Arc<Desk>,
        directory: &Path,
    ) -> Result<Self, CursorError> {
        let reader = desk.ledger.reader();
        let origin = reader.checkpoint().lines().next().unwrap_or_default().to_owned();
        let epochs: Vec<_> = reader.epochs().iter().map(|epoch| (epoch.number, epoch.start)).collect();
        let name = SinkName::parse(way.name()).map_err(|error| CursorError::Damaged {
            path: directory.to_owned(),
            reason: error.to_string(),
        })?;
        let cursor = |directory: &Path| {
            std::fs::create_dir_all(directory).map_err(|source| CursorError::Io {
                doing: "made room for",
                path: directory.to_owned(),
                source,
            })?;
            Ok::<_, CursorError>(FileCursor::new(directory, name.clone(), &origin).over(epochs.clone()))
        };
        let (records, times) = (cursor(directory)?, cursor(&directory.join("reminders"))?);
        let (len, now) = (reader.len(), clock::now());
        let at = records.load()?.unwrap_or(Position { next: len, sequence: 1 });
        let second = |time: Timestamp| u64::try_from(time.as_second()).unwrap_or(0);
        let since = times.load()?.map_or(second(now), |position| position.next);
        let mut courier = Self {
            wants,
            told_lately: Told::default(),
            desk,
            next: at.next.min(len),
            saved: u64::MAX,
            reminded: i64::try_from(since).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(now),
            set_aside: SetAside::default(),
            told: at.sequence,
            cursors: Arc::new((records, times)),
            way,
        };
        if at.next > len {
            warn!(
                way = courier.way.name(),
                "the cursor of notifications stood behind the ledger's end, and was set back"
            );
        }
        // A place that can't be written shows at the start.
        courier.cursors.0.save(courier.position())?;
        courier.cursors.1.save(Position { next: since, sequence: 1 })?;
        courier.saved = courier.next;
        Ok(courier)
    }

    /// Tells what there is to tell, until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut heads = self.desk.ledger.reader().heads();
        loop {
            let caught_up = match self.step(&stop).await {
                Ok(caught_up) => caught_up,
                Err(Stopped) => break,
            };
            if stop.is_cancelled() {
                break;
            }
            if !caught_up {
                continue;
            }
            let next = self.next;
            let more = async {
                let _ = heads.wait_for(|head| *head > next).await;
                tokio::time::sleep(GATHER).await;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = more => {}
                () = tokio::time::sleep(REMIND_EVERY) => {}
                () = self.set_aside.wait() => {}
            }
        }
        self.save().await;
    }

    /// The next records and reminders. Whether nothing more is there.
    async fn step(&mut self, stop: &CancellationToken) -> Result<bool, Stopped> {
        // One at a time: many mailboxes that answer slowly must not keep everybody else from what is new.
        if let Some(sending) = self.set_aside.take_due() {
            self.attempt(sending, stop).await?;
            self.save().await;
        }
        let reader = self.desk.ledger.reader();
        let (read, from) = (reader.clone(), Seq::new(self.next));
        let read = spawn_blocking(move || read.of_kinds(from, BATCH, news::concerns)).await;
        let (entries, next) = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                warn!(way = self.way.name(), %error, "the ledger can't be read for notifications");
                return pause(READ_AGAIN, stop).await.map(|()| false);
            }
            Err(panic) => {
                error!(way = self.way.name(), %panic, "reading the ledger for notifications panicked");
                return pause(READ_AGAIN, stop).await.map(|()| false);
            }
        };
        if !entries.is_empty() && self.desk.access.caught_up().await.is_err() {
            // Access is closed, so the gateway stops: the next start knows whom it concerns.
            return Err(Stopped);
        }
        for entry in entries {
            if let Some(news) = news::of_record(&entry, &self.desk.access, &self.desk.tenant) {
                self.tell(&news, stop).await?;
            }
            self.next = entry.record.seq.get() + 1;
            self.save().await;
        }
        let caught_up = next.get() >= reader.len();
        self.next = next.get();
        // Records without news cost nothing to read again.
        if self.next - self.saved.min(self.next) >= BATCH as u64 {
            self.save().await;
        }
        self.remind(stop).await?;
        Ok(caught_up)
    }

    async fn remind(&mut self, stop: &CancellationToken) -> Result<(), Stopped> {
        let now = clock::now();
        let due = self.due(now);
        if due.is_empty() {
            return Ok(());
        }
        for news in &due {
            self.tell(news, stop).await?;
        }
        self.reminded = now;
        let (cursors, next) = (Arc::clone(&self.cursors), u64::try_from(now.as_second()).unwrap_or(0));
        let saved = spawn_blocking(move || cursors.1.save(Position { next, sequence: 1 })).await;
        self.complain(saved);
        Ok(())
    }

    /// What falls due between the last reminders and `now`.
    fn due(&self, now: Timestamp) -> Vec<News> {
        let (access, since) = (&self.desk.access, self.reminded);
        let last = self.desk.ledger.reader().len().saturating_sub(1);
        let wanted = |event, notice: Option<Duration>| {
            let notice = notice.filter(|_| self.wants.take(event, None))?;
            SignedDuration::try_from(notice).ok()
        };
        let mut due = Vec::new();
        if let Some(notice) = wanted(Event::ReviewDue, self.desk.remind) {
            let reviews = access.reviews(Caller::Operator);
            due.extend(news::reminders(&reviews, &access.policy(), (since, now), notice, last));
        }
        if let Some(notice) = wanted(Event::GrantDue, self.desk.remind_grant) {
            let live = GrantFilter { live: true, ..GrantFilter::default() };
            due.extend(news::ending(&access.grants(Caller::Operator, &live), (since, now), notice, last));
        }
        due
    }

    /// Tells everyone whom it concerns.
    async fn tell(&mut self, news: &News, stop: &CancellationToken) -> Result<(), Stopped> {
        if !self.wants.take(news.event, news.detected.as_ref()) {
            return Ok(());
        }
        if let Some(found) = &news.detected {
            match self.told_lately.next(&found.rule, news.time) {
                Next::Tell => {}
                Next::Silent => return Ok(()),
                Next::Stop => {
                    let why = format!("more than {MOST_AN_HOUR} detections of one rule within an hour");
                    warn!(
                        way = self.way.name(),
                        rule = found.rule,
                        why,
                        "what the rule finds is not told for now"
                    );
                    return self.record(draft(&*self.way, news, None, 0, Some(&why))).await;
                }
            }
        }
        let message = match self.message(news) {
            Ok(message) => message,
            Err(error) => {
                warn!(way = self.way.name(), %error, hint = error.hint(), "a notification has no text");
                return self.record(draft(&*self.way, news, None, 0, Some("its template is faulty"))).await;
            }
        };
        if !self.way.is_personal() {
            return self.attempt(Sending::new(news, &message, None), stop).await;
        }
        if news.to.is_empty() {
            return self
                .record(draft(&*self.way, news, None, 0, Some("it concerns nobody who could be told")))
                .await;
        }
        for person in &news.to {
            self.attempt(Sending::new(news, &message, Some(person)), stop).await?;
        }
        Ok(())
    }

    fn message(&self, news: &News) -> Result<Message, super::words::WordsError> {
        let link = format!("{}/{}", self.desk.base_url, news.page);
        let mut facts = news.facts.clone();
        let names: Vec<&str> = news.to.iter().map(Subject::as_str).collect();
        facts.insert("to", names.join(", "));
        facts.insert("event", news.event.as_str().to_owned());
        facts.insert("time", news.time.to_string());
        facts.insert("gateway", self.desk.gateway.clone());
        facts.insert("link", link.clone());
        let text = self.desk.words.text(news.event, &facts)?;
        let about = news.grant.as_deref().filter(|_| news.event == Event::GrantDue);
        let about = about.or(news.about.as_deref()).unwrap_or_default();
        let parts = [self.desk.gateway.as_str(), self.way.name(), news.event.as_str(), about];
        let number = news.record.to_be_bytes();
        // A reminder's record is whichever was last; what it is about names it.
        let also: &[u8] = if news.event.is_reminder() { b"" } else { &number };
        let name = Digest::of(&[parts.join("\n").as_bytes(), also]).to_string();
        Ok(Message {
            id: format!("msg_{}", name.get(..32).unwrap_or(&name)),
            event: news.event,
            time: news.time,
            to: news.to.clone(),
            title: text.title,
            body: text.body,
            link,
            facts,
        })
    }

    /// Sends one message, as often as it takes within the patience, or sets it aside.
    async fn attempt(&mut self, mut sending: Sending, stop: &CancellationToken) -> Result<(), Stopped> {
        let event = sending.news.event;
        let failure = loop {
            sending.attempts += 1;
            let sent = self.way.send(&sending.message, sending.to.as_ref());
            let sent = tokio::time::timeout(SEND_PATIENCE, sent).await;
            let why = match sent.unwrap_or_else(|_| Err(Unsent::Away("it took too long".to_owned()))) {
                Ok(()) => break None,
                Err(Unsent::Refused(why)) => break Some(why),
                Err(Unsent::Away(why)) => why,
            };
            let age = Duration::try_from(clock::now().duration_since(sending.news.time)).unwrap_or_default();
            if age >= self.desk.patience {
                break Some(why);
            }
            if sending.attempts == 1 {
                warn!(way = self.way.name(), %event, why, "a notification can't be sent yet and is tried again");
            }
            let time = sending.pause();
            if self.set_aside.takes(&sending) {
                self.set_aside.add(sending);
                return Ok(());
            }
            if let Err(stopped) = pause(time, stop).await {
                // The cursor stays before it.
                self.set_aside.add(sending);
                return Err(stopped);
            }
        };
        let Sending { news, to, attempts, .. } = sending;
        match &failure {
            None => info!(way = self.way.name(), %event, record = news.record, "told"),
            Some(why) => {
                warn!(way = self.way.name(), %event, record = news.record, why, "a notification was given up");
            }
        }
        self.told += 1;
        self.record(draft(&*self.way, &news, to.as_ref(), attempts, failure.as_deref())).await
    }

    /// That a message went out is recorded before the cursor moves; if the ledger doesn't take it, what was done isn't undone.
    async fn record(&self, draft: Draft) -> Result<(), Stopped> {
        let ledger = self.desk.ledger.clone().on_stall(OnStall::Refuse);
        match tokio::time::timeout(RECORD_PATIENCE, ledger.append(draft)).await {
            Ok(Ok(_receipt)) => {}
            Ok(Err(error)) => warn!(way = self.way.name(), %error, "a notification isn't recorded"),
            Err(_) => warn!(way = self.way.name(), "the ledger took no record of a notification in time"),
        }
        Ok(())
    }

    /// What is to be told after a start.
    fn position(&self) -> Position {
        let next = self.set_aside.oldest().map_or(self.next, |oldest| oldest.min(self.next));
        Position { next, sequence: self.told }
    }

    async fn save(&mut self) {
        let (cursors, position) = (Arc::clone(&self.cursors), self.position());
        if self.saved == position.next {
            return;
        }
        let saved = spawn_blocking(move || cursors.0.save(position)).await;
        if self.complain(saved) {
            self.saved = position.next;
        }
    }

    /// A cursor that stays behind only means that something is told twice.
    fn complain(&self, saved: Result<Result<(), CursorError>, tokio::task::JoinError>) -> bool {
        match saved {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => {
                warn!(way = self.way.name(), %error, hint = error.hint(), "the cursor of notifications isn't saved");
            }
            Err(panic) => {
                error!(way = self.way.name(), %panic, "saving the cursor of notifications panicked");
            }
        }
        false
    }
}

async fn pause(time: Duration, stop: &CancellationToken) -> Result<(), Stopped> {
    tokio::select! {
        () = stop.cancelled() => Err(Stopped),
        () = tokio::time::sleep(time) => Ok(()),
    }
}
