//! A month that is over: its pack is made once, told to those who may audit the ledger, made again if that was broken off, and not made
//! again if somebody deleted it.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{Timestamp, ToSpan as _};
use sallyport_audit::Entry;
use sallyport_audit::detection::Grade;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::monthly::make_what_is_missing;
use super::*;
use crate::access::Subject;
use crate::clock;
use crate::gateway::open_keys;
use crate::gateway::setup::{CONFIG_FILE, Wishes, set_up};
use crate::notify::{self, Courier, Event, Message, Unsent, Wants, Way, Words};

/// A way to somebody who is here.
struct Here(UnboundedSender<Message>);

impl Way for Here {
    fn name(&self) -> &'static str {
        "here"
    }

    fn kind(&self) -> &'static str {
        "chat"
    }

    fn is_personal(&self) -> bool {
        false
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        _to: Option<&'a Subject>,
    ) -> BoxFuture<'a, Result<(), Unsent>> {
        let sent = self.0.send(message.clone());
        async move { sent.map_err(|_| Unsent::Refused("nobody is here".to_owned())) }.boxed()
    }
}

/// A gateway that has just been set up, and somebody who hears of reports.
struct World {
    config: Config,
    parts: Parts,
    desk: Arc<Desk>,
    heard: UnboundedReceiver<Message>,
    stop: CancellationToken,
    state: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let wishes = Wishes {
            state: state.path().to_owned(),
            module: None,
            domain: "localhost".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            tcp_ports: "20000-20001".to_owned(),
            people: vec!["user:admin".to_owned(), "user:alice".to_owned()],
        };
        set_up(&wishes).await.unwrap();
        let config = Config::load(&state.path().join(CONFIG_FILE), std::iter::empty(), &[]).unwrap();
        let keys = tokio::task::block_in_place(|| open_keys(&config)).unwrap();
        let parts = Parts::open(&config, keys, &[]).await.unwrap();
        let (sender, heard) = unbounded_channel();
        let desk = notify::Desk {
            access: parts.access.clone(),
            ledger: parts.ledger.clone(),
            words: Words::load(None).unwrap(),
            tenant: config.access.tenant.parse().unwrap(),
            gateway: "localhost".to_owned(),
            base_url: "https://localhost/console".to_owned(),
            patience: Duration::ZERO,
            remind: None,
            remind_grant: None,
        };
        let wants = Wants { events: [Event::Report].into(), detections_from: Grade::Low };
        let folder = state.path().join("notify");
        let courier = Courier::open(Arc::new(Here(sender)), wants, Arc::new(desk), &folder).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(courier.run(stop.clone()));
        Self { desk: Arc::new(Desk::new(&config, &parts)), config, parts, heard, stop, state }
    }

    /// What is missing, as of the first hour of the next month.
    async fn look(&self) {
        self.look_in(1).await;
    }

    /// What is missing, as of the first hour of a month to come.
    async fn look_in(&self, months: i64) {
        let zone = TimeZone::UTC;
        let month = clock::now().to_zoned(zone.clone()).date().first_of_month();
        let next = month.checked_add(months.months()).unwrap().to_zoned(zone.clone()).unwrap().timestamp();
        let now: Timestamp = next.checked_add(1.hour()).unwrap();
        make_what_is_missing(&self.desk, &["pci".parse().unwrap()], &(zone, "UTC".to_owned()), now).await;
    }

    async fn hears(&mut self) -> Message {
        tokio::time::timeout(Duration::from_mins(1), self.heard.recv()).await.unwrap().unwrap()
    }

    fn recorded(&self) -> Vec<Entry> {
        let reader = self.parts.ledger.reader();
        reader.of_kinds(Seq::ZERO, 10_000, |kind| kind == Kind::ReportMade).unwrap().0
    }

    async fn end(self) {
        self.stop.cancel();
        self.parts.access.close().await;
        self.parts.ledger.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_is_over_is_packed_once_and_told_to_who_may_audit_and_nobodys_own_report_is() {
    let mut world = World::new().await;
    let day = clock::now().strftime("%Y-%m-%d").to_string();
    let order = ReportOrder { framework: "pci".to_owned(), from: day.clone(), to: day, timezone: None };
    let asked = Arc::clone(&world.desk).begin(&order).unwrap().name;
    let mut heads = world.parts.ledger.reader().heads();
    while world.recorded().is_empty() {
        heads.changed().await.unwrap();
    }
    assert!(world.desk.file(&asked).is_some());
    world.look().await;
    world.look().await;
    let recorded = world.recorded();
    let [own, monthly] = &recorded[..] else { panic!("{recorded:?}") };
    let scheduled = |entry: &Entry| entry.record.details["scheduled"].clone();
    assert_eq!((scheduled(own), scheduled(monthly)), (false.into(), true.into()));

    let told = world.hears().await;
    assert_eq!((told.event, &told.facts["framework"][..]), (Event::Report, "pci"));
    let name = monthly.record.object.as_deref().unwrap().trim_start_matches("report:");
    assert_eq!(told.facts["report"], name, "and not what somebody asked for and waits for");
    assert_eq!(told.to, ["user:admin".parse::<Subject>().unwrap()], "alice may not audit the ledger");
    assert!(told.title.starts_with("The evidence for pci from "), "{}", told.title);
    assert_eq!(told.link, "https://localhost/console/reports");
    assert!(world.heard.try_recv().is_err());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_was_broken_off_between_its_file_and_its_listing_is_made_again() {
    let mut world = World::new().await;
    world.look().await;
    let first = world.hears().await.facts["report"].clone();
    let pack = world.desk.file(&first).unwrap();
    let listing = pack.with_extension("json");
    std::fs::remove_file(&listing).unwrap();
    assert!(world.desk.file(&first).is_none() && pack.exists());
    world.look().await;
    assert_eq!(world.hears().await.facts["report"], first);
    assert_eq!(world.recorded().len(), 2);
    assert!(world.recorded().iter().all(|entry| entry.record.result == Outcome::Success));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_months_pack_that_somebody_deleted_is_not_made_again_unless_somebody_asks_for_its_period() {
    let mut world = World::new().await;
    world.look().await;
    let name = world.hears().await.facts["report"].clone();
    let pack = world.desk.file(&name).unwrap();
    let (bytes, view) = (std::fs::read(&pack).unwrap(), world.desk.list().remove(0));
    world.desk.remove(&name).unwrap();
    world.look().await;
    assert!(world.desk.list().is_empty() && !pack.exists());
    assert!(world.desk.remove(&name).is_err(), "it is gone");

    // Nor after a start, nor if the deletion had been broken off before the file was gone.
    // What a killed gateway was writing goes, too.
    std::fs::write(pack.with_file_name(".pci-1.zip.unfinished"), "PK").unwrap();
    world.desk = Arc::new(Desk::new(&world.config, &world.parts));
    std::fs::write(&pack, bytes).unwrap();
    world.look().await;
    assert!(world.desk.list().is_empty() && !pack.exists());
    assert_eq!(world.recorded().len(), 1);

    let order = ReportOrder { framework: view.framework, from: view.from, to: view.to, timezone: None };
    let asked = Arc::clone(&world.desk).begin(&order).unwrap().name;
    let mut heads = world.parts.ledger.reader().heads();
    while world.recorded().len() < 2 {
        heads.changed().await.unwrap();
    }
    assert!(world.desk.file(&asked).is_some());
    // What somebody asked for and deleted leaves nothing behind.
    world.desk.remove(&asked).unwrap();
    let left = std::fs::read_dir(world.state.path().join("reports")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, [format!("{name}.deleted")]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_fails_is_no_news_of_a_report_and_its_record_says_what_to_look_at() {
    let mut world = World::new().await;
    std::fs::write(world.state.path().join("reports"), "a file where packs should lie").unwrap();
    world.look().await;
    let failed = world.recorded();
    assert_eq!((failed.len(), failed[0].record.result), (1, Outcome::Failure));
    let what = failed[0].record.details["what"].as_str().unwrap();
    assert!(what.contains("reports") && what.contains("see that it can be written"), "{what}");
    // With room for it, the next look makes it, and that is what is told.
    std::fs::remove_file(world.state.path().join("reports")).unwrap();
    world.look().await;
    assert_eq!(
        world.hears().await.facts["report"],
        world.recorded()[1].record.object.as_deref().unwrap()[7..]
    );
    assert!(world.heard.try_recv().is_err());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_was_missed_is_packed_months_later_and_those_without_a_record_are_no_failure() {
    let mut world = World::new().await;
    // The gateway was away for the whole of the next two months.
    world.look_in(3).await;
    let name = world.hears().await.facts["report"].clone();
    assert_eq!(name, clock::now().to_zoned(TimeZone::UTC).strftime("pci-%Y-%m").to_string());
    world.look_in(4).await;
    let recorded = world.recorded();
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0].record.result, Outcome::Success);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_which_no_record_can_come_any_more_is_noted_and_not_tried_again() {
    let world = World::new().await;
    let wanted = Wanted {
        name: "pci-2020-01".to_owned(),
        framework: "pci".parse().unwrap(),
        period: Period::parse("2020-01-01", "2020-01-31").unwrap(),
        zone: TimeZone::UTC,
        zone_name: "UTC".to_owned(),
        scheduled: true,
    };
    world.desk.enter(&wanted).unwrap();
    Arc::clone(&world.desk).make(wanted.clone()).await;
    assert!(world.recorded().is_empty() && world.desk.list().is_empty());
    assert!(world.desk.nothing(&wanted.name).exists());
    // Whoever asks for such a period is told.
    let asked = Wanted { scheduled: false, ..wanted };
    Arc::clone(&world.desk).make(asked).await;
    let told = world.recorded();
    assert_eq!((told.len(), told[0].record.result), (1, Outcome::Failure));
    world.end().await;
}
