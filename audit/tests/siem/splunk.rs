//! Splunk: what it received, what it indexed, and what its refusals cost.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sallyport_audit::{
    Draft, Kind, Outcome,
    sink::{Assurance, HttpTarget, Protocol, Target},
};
use serde_json::{Value, json};

use crate::{
    http::{eventually, options, start, taken, target, until},
    receiver::{Asked, Reaction, Receiver},
    source::{ORIGIN, Source},
};

/// A Splunk that receives all and indexes what it is told to.
pub(crate) struct Splunk {
    pub(crate) receiver: Receiver,
    pub(crate) indexes: Arc<AtomicBool>,
}

/// One that indexes nothing, or all.
pub(crate) async fn indexing() -> Splunk {
    splunk(|ids, indexes| {
        let acks: serde_json::Map<String, Value> =
            ids.iter().map(|id| (id.to_string(), indexes.into())).collect();
        json!({ "acks": acks })
    })
    .await
}

async fn splunk(acks: impl Fn(&[u64], bool) -> Value + Send + Sync + 'static) -> Splunk {
    let indexes = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&indexes);
    let next = Mutex::new(0_u64);
    let receiver = Receiver::start(move |asked| {
        if asked.path.contains("/ack") {
            let ids: Value = serde_json::from_str(&asked.body).unwrap();
            let ids: Vec<u64> =
                ids["acks"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
            return Reaction::Answer(200, acks(&ids, told.load(Ordering::SeqCst)).to_string());
        }
        let mut next = next.lock().unwrap();
        *next += 1;
        Reaction::Answer(200, json!({ "text": "Success", "code": 0, "ackId": *next }).to_string())
    })
    .await;
    Splunk { receiver, indexes }
}

pub(crate) fn hec(port: u16, patience: Duration) -> HttpTarget {
    target(port, Protocol::SplunkHec { acknowledge: Some(patience), index: Some("audit".to_owned()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn splunks_received_is_not_indexed_and_only_indexed_moves_the_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let splunk = indexing().await;
    let source = Source::new();
    source.sessions(100);
    let options = options(Target::Http(hec(splunk.receiver.port, Duration::from_mins(5))), directory.path());
    let sink = start(options, &source).await;
    let status = until(&sink, "all is received", |status| status.received >= 100).await;
    assert_eq!((status.settled, status.assurance), (0, Assurance::Indexed));
    eventually("it asks what is indexed", || {
        splunk.receiver.asked().iter().any(|asked| asked.path.contains("/ack"))
    })
    .await;
    assert_eq!(sink.status().borrow().settled, 0);
    splunk.indexes.store(true, Ordering::SeqCst);
    until(&sink, "all is indexed", |status| status.settled >= 100).await;
    sink.stop(Duration::from_secs(5)).await;
    let events: Vec<Asked> =
        splunk.receiver.asked().into_iter().filter(|asked| asked.path.ends_with("/event")).collect();
    assert_eq!(events[0].path, "/in/services/collector/event");
    let first: Value =
        serde_json::Deserializer::from_str(&events[0].body).into_iter::<Value>().next().unwrap().unwrap();
    assert_eq!(
        (&first["index"], &first["host"], &first["event"]["seq"]),
        (&json!("audit"), &json!("node-1"), &json!(0))
    );
    assert_eq!(first["source"], ORIGIN);
    assert_eq!(events[0].headers["x-splunk-request-channel"].len(), 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_acknowledgement_moves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // True for what was not asked, and nothing but words for what was.
    let splunk = splunk(|ids, _| {
        let mut acks: serde_json::Map<String, Value> =
            (1000..1100_u64).map(|id| (id.to_string(), true.into())).collect();
        acks.extend(ids.iter().map(|id| (id.to_string(), Value::from("true"))));
        json!({ "acks": acks })
    })
    .await;
    let source = Source::new();
    source.sessions(60);
    let options = options(Target::Http(hec(splunk.receiver.port, Duration::from_mins(5))), directory.path());
    let sink = start(options, &source).await;
    until(&sink, "all is received", |status| status.received >= 60).await;
    eventually("it asks twice", || {
        splunk.receiver.asked().iter().filter(|asked| asked.path.contains("/ack")).count() >= 2
    })
    .await;
    assert_eq!(sink.stop(Duration::ZERO).await.settled, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_splunk_does_not_index_in_time_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let splunk = indexing().await;
    let source = Source::new();
    source.sessions(20);
    let options = options(Target::Http(hec(splunk.receiver.port, Duration::from_secs(1))), directory.path());
    let sink = start(options, &source).await;
    let events = |splunk: &Splunk| {
        splunk
            .receiver
            .asked()
            .iter()
            .filter(|asked| asked.path.ends_with("/event") && asked.numbers()[0] == 0)
            .count()
    };
    eventually("the first record is sent again", || events(&splunk) >= 2).await;
    splunk.indexes.store(true, Ordering::SeqCst);
    until(&sink, "all is indexed", |status| status.settled >= 20).await;
    sink.stop(Duration::from_secs(5)).await;
}

/// A token without indexer acknowledgement.
fn unacknowledged(port: u16) -> Target {
    Target::Http(target(port, Protocol::SplunkHec { acknowledge: None, index: None }))
}

fn refusal(status: u16, text: &str, code: u64) -> Reaction {
    Reaction::Answer(status, json!({ "text": text, "code": code }).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_that_is_too_large_for_splunk_goes_in_parts_whatever_code_its_refusal_has() {
    const MOST: usize = 12;
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|asked| match asked.numbers().len() {
        ..=MOST => refusal(200, "Success", 0),
        _ => refusal(413, "Content-Length is too large", 27),
    })
    .await;
    let source = Source::new();
    source.sessions(200);
    let sink = start(options(unacknowledged(receiver.port), directory.path()), &source).await;
    let status = until(&sink, "all is delivered, or it fails", |status| {
        status.settled >= 200 || status.last_error.is_some()
    })
    .await;
    assert_eq!((status.last_error, status.quarantined), (None, 0));
    sink.stop(Duration::from_secs(5)).await;
    let arrived = taken(&receiver, |asked| asked.numbers().len() <= MOST);
    assert_eq!(arrived[..200], (0..200).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_splunk_cannot_parse_is_found_by_halves_and_set_aside_alone() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|asked| {
        if asked.body.contains("poison") {
            refusal(400, "Invalid data format", 6)
        } else {
            refusal(200, "Success", 0)
        }
    })
    .await;
    let source = Source::new();
    source.sessions(30);
    let poison = source.append(Draft::new(Kind::AdminCalled, Outcome::Success).detail("note", "poison"));
    source.sessions(30);
    let sink = start(options(unacknowledged(receiver.port), directory.path()), &source).await;
    let status = until(&sink, "all is delivered", |status| status.settled >= 61).await;
    assert_eq!((status.quarantined, status.last_error), (1, None));
    sink.stop(Duration::from_secs(5)).await;
    let records = (0..source.len()).map(|seq| source.entry(seq).record);
    let set_aside: Vec<Value> = records
        .filter(|record| record.kind == Kind::SinkQuarantined)
        .map(|record| record.details["record"].clone())
        .collect();
    assert_eq!(set_aside, [json!(poison)]);
    let arrived = taken(&receiver, |asked| !asked.body.contains("poison"));
    let others = (0..61).filter(|seq| *seq != poison).collect::<Vec<u64>>();
    assert_eq!(arrived[..60], others, "all others, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_splunk_that_refuses_token_channel_or_index_costs_no_record() {
    for (text, code) in [("Token disabled", 1), ("Incorrect index", 7), ("Data channel is missing", 10)] {
        let directory = tempfile::tempdir().unwrap();
        let well = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&well);
        let receiver = Receiver::start(move |_| {
            if told.load(Ordering::SeqCst) { refusal(200, "Success", 0) } else { refusal(400, text, code) }
        })
        .await;
        let source = Source::new();
        source.sessions(20);
        let sink = start(options(unacknowledged(receiver.port), directory.path()), &source).await;
        let status = until(&sink, "it fails", |status| status.last_error.is_some()).await;
        assert!(status.last_error.unwrap().contains(text), "what it says is told");
        eventually("it is asked again", || receiver.count() >= 3).await;
        well.store(true, Ordering::SeqCst);
        until(&sink, "all is delivered", |status| status.settled >= 20).await;
        assert_eq!(sink.stop(Duration::from_secs(5)).await.quarantined, 0, "{text}");
    }
}
