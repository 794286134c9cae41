//! Receivers that refuse, are busy or keep nothing, and a sink that breaks: it goes on where it can, and is seen to fail where
//! it can't.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sallyport_audit::{
    Draft, Kind, Outcome,
    sink::{Address, Notice, Protocol, Sink, SinkStatus, Target, Transport},
};
use serde_json::{Value, json};

use crate::{
    http::{eventually, options, start, taken, target, until},
    receiver::{Asked, Reaction, Receiver},
    source::Source,
    splunk::{Splunk, hec, indexing},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_busy_for_long_is_asked_again_until_it_takes_all() {
    const BUSY: usize = 30;
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|asked| {
        if asked.number < BUSY {
            Reaction::AnswerWith(429, "retry-after", "0".to_owned(), String::new())
        } else {
            Reaction::ok()
        }
    })
    .await;
    let source = Source::new();
    source.sessions(10);
    let mut options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    // Jitter adds to the longest pause, too.
    options.retry_most = options.retry_least;
    let sink = start(options, &source).await;
    let status =
        until(&sink, "all is delivered, or the sink broke", |status| status.settled >= 10 || !status.running)
            .await;
    assert!(status.running, "{status:?}");
    sink.stop(Duration::from_secs(5)).await;
    assert_eq!(taken(&receiver, |asked| asked.number >= BUSY)[..10], (0..10).collect::<Vec<u64>>());
}

/// Takes the sink's task with it, once.
struct Breaking {
    source: Source,
    breaks: AtomicBool,
}

impl Notice for Breaking {
    fn record(&self, draft: Draft) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        assert!(!self.breaks.swap(false, Ordering::SeqCst), "as told by the test");
        self.source.record(draft)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_whose_task_breaks_says_that_it_runs_no_more_and_since_when_it_fails() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::Answer(503, String::new())).await;
    let source = Source::new();
    source.sessions(3);
    let notice = Breaking { source: source.clone(), breaks: AtomicBool::new(true) };
    let options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    let sink = Sink::start(options, Arc::new(source.clone()), Arc::new(notice)).await.unwrap();
    let status = until(&sink, "its end is told", |status| {
        !status.running && status.last_error.as_ref().is_some_and(|error| error.contains("restart"))
    })
    .await;
    assert!(!status.connected && status.failing_since.is_some(), "{status:?}");
    eventually("it is recorded", || source.count(Kind::SinkFailed) == 1).await;
    let record = source.entry(3).record;
    assert_eq!(record.object.as_deref(), Some("sink:siem"));
    assert!(record.details["reason"].as_str().unwrap().contains("ended by itself"), "{record:?}");
    assert!(!sink.stop(Duration::from_secs(5)).await.running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_stopped_runs_no_more_and_has_not_failed() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(3);
    let options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    let sink = start(options, &source).await;
    assert!(until(&sink, "all is delivered", |status| status.settled >= 3).await.running);
    let status = sink.stop(Duration::from_secs(5)).await;
    assert_eq!((status.running, status.failing_since, status.last_error), (false, None, None));
    assert_eq!(source.count(Kind::SinkFailed), 0);
}

/// Elastic's answer to a `_bulk`, item by item.
fn bulk(asked: &Asked, status: impl Fn(u64) -> u16) -> Reaction {
    let items: Vec<Value> = asked
        .numbers()
        .into_iter()
        .map(|seq| json!({ "create": { "status": status(seq), "error": { "type": "mapper_parsing_exception" } } }))
        .collect();
    Reaction::Answer(200, json!({ "errors": true, "items": items }).to_string())
}

fn elastic(port: u16) -> Target {
    let mut target = target(port, Protocol::ElasticBulk { index: "audit".to_owned() });
    target.batch_records = 500;
    Target::Http(target)
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_records_among_accepted_ones_are_not_in_a_row_however_many_one_parcel_has() {
    let directory = tempfile::tempdir().unwrap();
    // 40 in the first 120, none beside another.
    let refused = |seq: u64| seq < 120 && seq % 3 == 1;
    let receiver =
        Receiver::start(move |asked| bulk(asked, |seq| if refused(seq) { 400 } else { 201 })).await;
    let source = Source::new();
    source.sessions(200);
    let sink = start(options(elastic(receiver.port), directory.path()), &source).await;
    let status = until(&sink, "all is delivered, or nothing more is", |status| {
        status.settled >= 200 || status.last_error.is_some()
    })
    .await;
    assert_eq!((status.last_error, status.quarantined), (None, 40));
    sink.stop(Duration::from_secs(5)).await;
    let mut set_aside = Vec::new();
    for seq in 0..source.len() {
        let record = source.entry(seq).record;
        if record.kind == Kind::SinkQuarantined {
            set_aside.push(record.details["record"].as_u64().unwrap());
        }
    }
    assert_eq!(set_aside, (0..200).filter(|seq| refused(*seq)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_refuses_record_after_record_gets_no_more_of_them_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&well);
    let receiver = Receiver::start(move |asked| {
        bulk(asked, |seq| if seq >= 10 && !told.load(Ordering::SeqCst) { 400 } else { 201 })
    })
    .await;
    let source = Source::new();
    source.sessions(200);
    let sink = start(options(elastic(receiver.port), directory.path()), &source).await;
    let status = until(&sink, "it gives up", |status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("refuses every record"));
    assert_eq!((status.quarantined, status.settled), (32, 42), "what was decided stays decided");
    well.store(true, Ordering::SeqCst);
    until(&sink, "the rest is delivered", |status| status.settled >= 200).await;
    assert_eq!(sink.stop(Duration::from_secs(5)).await.quarantined, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_splunk_that_receives_everything_and_indexes_nothing_fails_since_the_first_time() {
    let directory = tempfile::tempdir().unwrap();
    let splunk = indexing().await;
    let source = Source::new();
    source.sessions(20);
    let mut options =
        options(Target::Http(hec(splunk.receiver.port, Duration::from_secs(1))), directory.path());
    options.late_after = Duration::ZERO;
    let sink = start(options, &source).await;
    let first = until(&sink, "it fails", |status| status.failing_since.is_some()).await;
    let asked = |splunk: &Splunk| {
        splunk.receiver.asked().iter().filter(|asked| asked.path.ends_with("/event")).count()
    };
    let before = asked(&splunk);
    // It answers well, again and again, and its answers hold for long enough to count as a connection.
    eventually("it is tried again", || asked(&splunk) >= before + 4).await;
    let status = sink.status().borrow().clone();
    assert_eq!(status.failing_since, first.failing_since, "an answer is no delivery");
    assert!(status.lag >= 20, "and what is not indexed is behind: {status:?}");
    assert!(status.late && status.waiting_since == Some(source.entry(0).record.time), "{status:?}");
    splunk.indexes.store(true, Ordering::SeqCst);
    let held = source.len();
    let fails_no_more = |status: &SinkStatus| status.settled >= held && status.failing_since.is_none();
    until(&sink, "all is indexed, and it fails no more", fails_no_more).await;
    sink.stop(Duration::from_secs(5)).await;
}

/// Takes no record, so that a sink has nothing to send of itself.
struct Deaf;

impl Notice for Deaf {
    fn record(&self, _draft: Draft) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_comes_back_with_nothing_to_be_sent_fails_no_more() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens at first.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();
    let source = Source::new();
    let address = Address::parse(&address.to_string()).unwrap();
    let syslog = Target::Syslog { address, transport: Transport::Tcp };
    let options = options(syslog, directory.path());
    let sink = Sink::start(options, Arc::new(source.clone()), Arc::new(Deaf)).await.unwrap();
    until(&sink, "it fails", |status| status.failing_since.is_some()).await;
    let listener = closed.listen(8).unwrap();
    let _open = listener.accept().await.unwrap();
    let status = until(&sink, "it fails no more", |status| status.failing_since.is_none()).await;
    assert!(status.connected);
    sink.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_taken_beside_a_refused_one_is_worth_a_receipt() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(move |asked| bulk(asked, |seq| if seq == 1 { 400 } else { 201 })).await;
    let source = Source::new();
    source.append(Draft::new(Kind::SessionOpened, Outcome::Success));
    source.sessions(1);
    let mut options = options(elastic(receiver.port), directory.path());
    options.receipts = Duration::from_millis(100);
    let sink = start(options, &source).await;
    eventually("a receipt is given", || source.count(Kind::SinkDelivered) >= 1).await;
    sink.stop(Duration::from_secs(5)).await;
}
