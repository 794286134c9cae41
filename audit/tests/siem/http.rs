//! Receivers that answer: what counts as delivered, and that nothing is lost, followed or hidden whatever they answer.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sallyport_audit::{
    Draft, HeadSigner as _, Kind, Outcome, Record, SignError,
    sink::{
        Assurance, FileTarget, Filter, HttpTarget, HttpUrl, Protocol, RequestSigner, Shape, Sink, SinkName,
        SinkOptions, SinkStatus, Target,
    },
    testing::SoftwareSigner,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    formats::foreign,
    receiver::{Asked, Reaction, Receiver},
    source::{ORIGIN, Source},
};

pub(crate) fn target(port: u16, protocol: Protocol) -> HttpTarget {
    let mut target =
        HttpTarget::new(HttpUrl::parse(&format!("http://127.0.0.1:{port}/in")).unwrap(), protocol);
    target.batch_records = 50;
    target
}

pub(crate) fn options(target: Target, directory: &Path) -> SinkOptions {
    let name = SinkName::parse("siem").unwrap();
    let mut options = SinkOptions::new(name, target, directory.to_owned());
    options.shape = Shape::Json;
    options.retry_least = Duration::from_millis(20);
    options.retry_most = Duration::from_millis(200);
    options.write_timeout = Duration::from_secs(3);
    // The source's records are of a day long past.
    options.late_after = Duration::from_hours(1_000_000);
    options
}

pub(crate) async fn start(options: SinkOptions, source: &Source) -> Sink {
    Sink::start(options, Arc::new(source.clone()), Arc::new(source.clone())).await.unwrap()
}

/// Waits until the status says so.
pub(crate) async fn until(sink: &Sink, what: &str, is: impl FnMut(&SinkStatus) -> bool) -> SinkStatus {
    let mut status = sink.status();
    let found = tokio::time::timeout(Duration::from_mins(1), status.wait_for(is)).await;
    let found = found.map(|found| found.map(|found| found.clone()));
    match found {
        Ok(Ok(found)) => found,
        _ => panic!("{what}: {:?}", sink.status().borrow().clone()),
    }
}

pub(crate) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_mins(1), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The numbers that requests with a good answer brought, in the order in which they came.
pub(crate) fn taken(receiver: &Receiver, good: impl Fn(&Asked) -> bool) -> Vec<u64> {
    receiver.asked().iter().filter(|asked| good(asked)).flat_map(Asked::numbers).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_every_record_in_order_signed_and_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(120);
    let mut target = target(receiver.port, Protocol::Webhook);
    target.credential = Some(secret);
    let sink = start(options(Target::Http(target), directory.path()), &source).await;
    until(&sink, "all is delivered", |status| status.settled >= 120).await;
    sink.stop(Duration::from_secs(5)).await;

    let arrived = taken(&receiver, |_| true);
    assert_eq!(arrived[..120], (0..120).collect::<Vec<u64>>());
    let signed = |asked: &Asked| {
        json!({
            "shape": "webhook", "kind": "webhook", "seq": 0, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "text": asked.body, "headers": asked.headers,
        })
    };
    let items: Vec<Value> = receiver.asked().iter().map(signed).collect();
    assert_eq!(foreign(&items), "", "a library of the standard accepts the signatures");
    let mut forged = items[0].clone();
    forged["text"] = "{}\n".into();
    assert_ne!(foreign(&[forged]), "");
    for asked in receiver.asked() {
        for line in asked.body.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let entry = source.entry(event["seq"].as_u64().unwrap());
            assert_eq!(event["leaf"], entry.digest().to_string());
            assert_eq!(event["origin"], ORIGIN);
            let record = line.split_once(",\"record\":").unwrap().1.strip_suffix('}').unwrap();
            assert_eq!(record.as_bytes(), entry.bytes);
            assert_eq!(Record::parse(record.as_bytes()).unwrap(), entry.record);
        }
    }
}

/// Signs with a key in memory, or says that it can't.
#[derive(Debug)]
struct Signer {
    can: AtomicBool,
}

fn note_signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

impl RequestSigner for Signer {
    fn sign(&self, text: &dyn Fn(&str) -> String) -> Result<(String, [u8; 64]), SignError> {
        if !self.can.load(Ordering::SeqCst) {
            return Err(SignError::new("the token is gone"));
        }
        let name = note_signer().verifier().to_string();
        let signature = note_signer().sign(text(&name).as_bytes())?;
        Ok((name, signature))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_signed_by_the_ledgers_key_is_accepted_by_a_library_of_rfc_9421_and_no_other_is() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(60);
    let signer = Arc::new(Signer { can: AtomicBool::new(true) });
    let mut options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    options.signer = Some(signer);
    let sink = start(options, &source).await;
    until(&sink, "all is delivered", |status| status.settled >= 60).await;
    sink.stop(Duration::from_secs(5)).await;

    let key = note_signer().verifier().to_string();
    let item = |asked: &Asked| {
        json!({
            "shape": "signed", "kind": "webhook", "seq": 0, "key": key, "text": asked.body, "headers": asked.headers,
            "url": format!("http://127.0.0.1:{}{}", receiver.port, asked.path),
        })
    };
    let items: Vec<Value> = receiver.asked().iter().map(item).collect();
    assert!(items.len() > 1, "several requests, each signed");
    assert_eq!(foreign(&items), "");
    assert!(items[0]["headers"].get("webhook-signature").is_none(), "no secret is shared");

    let other = SoftwareSigner::new(ORIGIN, [8; 32]).verifier().to_string();
    let input = items[0]["headers"]["signature-input"].as_str().unwrap().to_owned();
    let (created, rest) = input.split_once(";created=").unwrap().1.split_once(';').unwrap();
    let old = created.parse::<i64>().unwrap() - 3_600;
    let moved = input.replace(&format!(";created={created};{rest}"), &format!(";created={old};{rest}"));
    for (name, change) in [
        ("another body", &(|item: &mut Value| item["text"] = "{}\n".into()) as &dyn Fn(&mut Value)),
        ("another digest", &|item| item["headers"]["content-digest"] = "sha-256=:AAAA:".into()),
        ("another id", &|item| item["headers"]["webhook-id"] = "msg_0_1_2".into()),
        ("another path", &|item| item["url"] = item["url"].as_str().unwrap().replace("/in", "/out").into()),
        ("another host", &|item| {
            item["url"] = item["url"].as_str().unwrap().replace("127.0.0.1", "b.example").into();
        }),
        ("another time", &|item| item["headers"]["signature-input"] = moved.clone().into()),
        ("another key", &|item| item["key"] = other.clone().into()),
        ("none", &|item| {
            item["headers"].as_object_mut().unwrap().remove("signature");
        }),
    ] {
        let mut forged = items[0].clone();
        change(&mut forged);
        assert_ne!(foreign(&[forged]), "", "{name}");
    }
}

/// Reads a request's head, and its body unless it is to be left.
async fn read_request(socket: &mut TcpStream, with_body: bool) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<u64>().ok()?;
    if with_body {
        tokio::io::copy(&mut socket.take(length), &mut tokio::io::sink()).await.ok()?;
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_and_never_takes_the_rest_of_a_request_holds_up_nothing_that_follows() {
    let directory = tempfile::tempdir().unwrap();
    let source = Source::new();
    // More than the buffers between two sockets hold.
    source.sessions(30_000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = target(listener.local_addr().unwrap().port(), Protocol::Webhook);
    (target.batch_records, target.batch_bytes) = (30_000, 64 << 20);
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        let mut kept = Vec::new();
        for connection in 0.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let is_first = connection == 0;
            while read_request(&mut socket, !is_first).await.is_some() {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                answers.send(connection).unwrap();
                if is_first {
                    break;
                }
            }
            // Open, and never read again.
            kept.push(socket);
        }
    });
    let mut options = options(Target::Http(target), directory.path());
    options.write_timeout = Duration::from_secs(1);
    let sink = start(options, &source).await;
    assert_eq!(answered.recv().await, Some(0));
    source.sessions(1);
    until(&sink, "what follows is delivered", |status| status.settled >= 30_001).await;
    assert_eq!(answered.recv().await, Some(1), "by another connection");
    sink.stop(Duration::from_secs(5)).await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_signed_is_not_sent_and_goes_once_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(5);
    let signer = Arc::new(Signer { can: AtomicBool::new(false) });
    let mut options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    options.signer = Some(Arc::clone(&signer) as Arc<dyn RequestSigner>);
    let sink = start(options, &source).await;
    let failing = until(&sink, "it says so", |status| status.last_error.is_some()).await;
    assert!(failing.last_error.unwrap().contains("the token is gone"));
    assert_eq!((failing.next, receiver.asked().len()), (0, 0));
    signer.can.store(true, Ordering::SeqCst);
    until(&sink, "all is delivered", |status| status.settled >= 5).await;
    assert!(receiver.asked().iter().all(|asked| asked.headers.contains_key("signature")));
    sink.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_reordered_when_the_receiver_is_busy_breaks_off_or_fails() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|asked| match asked.number {
        1 => Reaction::Answer(503, "restarting".to_owned()),
        2 => Reaction::AnswerWith(429, "retry-after", "0".to_owned(), String::new()),
        3 | 6 => Reaction::Cut,
        5 => Reaction::Answer(500, "\u{1b}[31mboom\n".to_owned()),
        _ => Reaction::ok(),
    })
    .await;
    let source = Source::new();
    source.sessions(400);
    let sink =
        start(options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path()), &source)
            .await;
    let status = until(&sink, "all is delivered", |status| status.settled >= 400).await;
    assert!(!status.last_error.unwrap().contains('\u{1b}'), "what a receiver says can't steer a terminal");
    sink.stop(Duration::from_secs(5)).await;
    let good = |asked: &Asked| ![1, 2, 3, 5, 6].contains(&asked.number);
    assert_eq!(taken(&receiver, good)[..400], (0..400).collect::<Vec<u64>>());
    assert!(source.count(Kind::SinkFailed) >= 1);
    assert_eq!(source.count(Kind::SinkQuarantined), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_the_same_one_whatever_came_into_the_ledger_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&well);
    let receiver = Receiver::start(move |_| {
        if told.load(Ordering::SeqCst) { Reaction::ok() } else { Reaction::Answer(503, String::new()) }
    })
    .await;
    let source = Source::new();
    source.sessions(5);
    let sink =
        start(options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path()), &source)
            .await;
    eventually("it is sent", || receiver.count() >= 1).await;
    source.sessions(20);
    let before = receiver.count();
    eventually("it is sent again, twice", || receiver.count() >= before + 2).await;
    well.store(true, Ordering::SeqCst);
    until(&sink, "all is delivered", |status| status.settled >= 25).await;
    sink.stop(Duration::from_secs(5)).await;
    let asked = receiver.asked();
    let again = asked.iter().filter(|one| one.numbers()[0] == 0).collect::<Vec<_>>();
    assert!(again.len() >= 4, "{}", again.len());
    for one in &again {
        assert_eq!(
            (&one.headers["webhook-id"], &one.body),
            (&again[0].headers["webhook-id"], &again[0].body)
        );
    }
    let others = asked.iter().filter(|one| one.headers["webhook-id"] != again[0].headers["webhook-id"]);
    assert_eq!(others.flat_map(Asked::numbers).next(), Some(5), "and what came meanwhile comes behind it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = Receiver::start(|_| Reaction::ok()).await;
    let there = format!("http://127.0.0.1:{}/in", elsewhere.port);
    let receiver =
        Receiver::start(move |_| Reaction::AnswerWith(307, "location", there.clone(), String::new())).await;
    let source = Source::new();
    source.sessions(3);
    let sink =
        start(options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path()), &source)
            .await;
    let status = until(&sink, "it fails", |status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("redirect"));
    eventually("it tries again", || receiver.count() >= 3).await;
    assert_eq!((elsewhere.count(), sink.stop(Duration::ZERO).await.settled), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_in_its_file_is_used_without_a_restart_and_shown_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "old-token").unwrap();
    let receiver = Receiver::start(|asked| match asked.headers.get("authorization").map(String::as_str) {
        Some("Bearer new-token") => Reaction::ok(),
        _ => Reaction::Answer(401, "no".to_owned()),
    })
    .await;
    let source = Source::new();
    source.sessions(3);
    let mut target = target(receiver.port, Protocol::OtlpHttp);
    target.credential = Some(token.clone());
    let sink = start(options(Target::Http(target), directory.path()), &source).await;
    let status = until(&sink, "it is refused", |status| status.last_error.is_some()).await;
    std::fs::write(&token, "new-token\n").unwrap();
    until(&sink, "all is delivered", |status| status.settled >= 3).await;
    sink.stop(Duration::from_secs(5)).await;
    let records: String =
        (0..source.len()).map(|seq| String::from_utf8(source.entry(seq).bytes).unwrap()).collect();
    assert!(!format!("{status:?}{records}").contains("-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_elastics_items_the_refused_are_set_aside_in_sight_and_what_had_no_room_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let full = AtomicBool::new(true);
    let receiver = Receiver::start(move |asked| {
        let mut items = Vec::new();
        let ids: Vec<u64> = asked
            .body
            .lines()
            .step_by(2)
            .map(|action| {
                let action: Value = serde_json::from_str(action).unwrap();
                let id = action["create"]["_id"].as_str().unwrap().to_owned();
                id.rsplit_once('-').unwrap().1.parse().unwrap()
            })
            .collect();
        for id in ids {
            items.push(match id {
                7 | 31 => {
                    json!({ "create": { "status": 400, "error": { "type": "mapper_parsing_exception" } } })
                }
                20 if full.swap(false, Ordering::SeqCst) => json!({ "create": { "status": 429 } }),
                _ => json!({ "create": { "status": if id < 5 { 409 } else { 201 } } }),
            });
        }
        Reaction::Answer(200, json!({ "errors": true, "items": items }).to_string())
    })
    .await;
    let source = Source::new();
    source.sessions(40);
    let elastic = target(receiver.port, Protocol::ElasticBulk { index: "audit".to_owned() });
    let sink = start(options(Target::Http(elastic), directory.path()), &source).await;
    let status = until(&sink, "all is delivered", |status| status.settled >= 40).await;
    assert_eq!(status.quarantined, 2);
    sink.stop(Duration::from_secs(5)).await;
    let asked = receiver.asked();
    assert_eq!(asked[0].path, "/in/_bulk");
    assert_eq!(asked[1].numbers()[0], 20, "from the item that had no room on");
    let set_aside: Vec<u64> = (0..source.len())
        .map(|seq| source.entry(seq).record)
        .filter(|record| record.kind == Kind::SinkQuarantined)
        .map(|record| {
            assert!(record.details["reason"].as_str().unwrap().contains("mapper_parsing_exception"));
            assert_eq!(record.details["pointer"], false);
            record.details["record"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(set_aside, [7, 31], "once each, although 7 was refused again or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_only_how_many_it_refused_gets_halves_until_the_record_stands_alone() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|asked| {
        let poisoned = asked.body.contains("\"poison\"") || asked.body.contains("poison");
        let rejected = if poisoned { "1" } else { "0" };
        Reaction::Answer(
            200,
            json!({ "partialSuccess": { "rejectedLogRecords": rejected, "errorMessage": "bad" } })
                .to_string(),
        )
    })
    .await;
    let source = Source::new();
    source.sessions(30);
    let poison = source.append(Draft::new(Kind::AdminCalled, Outcome::Success).detail("note", "poison"));
    source.sessions(30);
    let sink =
        start(options(Target::Http(target(receiver.port, Protocol::OtlpHttp)), directory.path()), &source)
            .await;
    let status = until(&sink, "all is delivered", |status| status.settled >= 61).await;
    assert_eq!(status.quarantined, 1);
    sink.stop(Duration::from_secs(5)).await;
    let quarantined =
        (0..source.len()).map(|seq| source.entry(seq).record).find(|r| r.kind == Kind::SinkQuarantined);
    assert_eq!(quarantined.unwrap().details["record"], poison);
    let good: BTreeSet<u64> = receiver
        .asked()
        .iter()
        .filter(|asked| !asked.body.contains("poison"))
        .flat_map(|asked| otlp_numbers(&asked.body))
        .collect();
    let missing: Vec<u64> = (0..61).filter(|seq| !good.contains(seq)).collect();
    assert_eq!(missing, [poison], "all others arrived");
}

fn otlp_numbers(body: &str) -> Vec<u64> {
    let body: Value = serde_json::from_str(body).unwrap();
    let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().clone();
    records
        .iter()
        .map(|record| {
            let event: Value = serde_json::from_str(record["body"]["stringValue"].as_str().unwrap()).unwrap();
            assert_eq!(record["eventName"], event["kind"]);
            event["seq"].as_u64().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_everything_does_not_send_the_whole_ledger_into_quarantine() {
    let directory = tempfile::tempdir().unwrap();
    let well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&well);
    let receiver = Receiver::start(move |_| {
        if told.load(Ordering::SeqCst) {
            Reaction::ok()
        } else {
            Reaction::Answer(400, "wrong format".to_owned())
        }
    })
    .await;
    let source = Source::new();
    source.sessions(200);
    let sink =
        start(options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path()), &source)
            .await;
    let status = until(&sink, "it gives up", |status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("refuses every record"));
    assert_eq!(status.quarantined, 32);
    well.store(true, Ordering::SeqCst);
    until(&sink, "the rest is delivered", |status| status.settled >= 200).await;
    let status = sink.stop(Duration::from_secs(5)).await;
    assert_eq!(status.quarantined, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_filter_leaves_out_makes_no_gap_in_the_sinks_own_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    for _ in 0..30 {
        source.append(Draft::new(Kind::GatewayHeartbeat, Outcome::Success));
        source.sessions(1);
    }
    let mut options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    options.filter = Filter::parse("session").unwrap();
    let sink = start(options, &source).await;
    until(&sink, "all is delivered", |status| status.settled >= 60).await;
    sink.stop(Duration::from_secs(5)).await;
    let events: Vec<Value> = receiver
        .asked()
        .iter()
        .flat_map(|asked| {
            asked.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect();
    let numbers = |key: &str| events.iter().map(|event| event[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers("seq"), (0..30).map(|n| 2 * n + 1).collect::<Vec<_>>());
    assert_eq!(numbers("sinkseq"), (1..=30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_say_how_far_it_is_and_do_not_bring_forth_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(10);
    let mut options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    options.receipts = Duration::from_millis(300);
    let sink = start(options, &source).await;
    eventually("a receipt is given", || source.count(Kind::SinkDelivered) == 1).await;
    let receipt = |source: &Source| {
        (0..source.len())
            .map(|seq| source.entry(seq).record)
            .rfind(|r| r.kind == Kind::SinkDelivered)
            .unwrap()
    };
    let first = receipt(&source);
    let next = first.details["next"].as_u64().unwrap();
    assert!(next >= 10);
    assert_eq!(first.details["leaf"], source.entry(next - 1).digest().to_string());
    assert_eq!((&first.details["assurance"], &first.details["since"]), (&json!("received"), &json!(0)));
    assert_eq!((&first.details["filter"], &first.details["from"]), (&json!("all"), &json!(0)));
    // Nothing but records about the sink from here on: no receipt. Then one session: one more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(source.count(Kind::SinkDelivered), 1);
    source.sessions(1);
    eventually("another receipt is given", || source.count(Kind::SinkDelivered) == 2).await;
    assert_eq!(receipt(&source).details["since"], next);
    sink.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_wait_too_long_are_an_alarm_once() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::Answer(503, String::new())).await;
    let source = Source::new();
    source.sessions(3);
    let mut options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    options.late_after = Duration::ZERO;
    let sink = start(options, &source).await;
    eventually("the alarm is raised", || source.count(Kind::SinkLate) == 1).await;
    eventually("it tries on", || receiver.count() > 5).await;
    assert_eq!(source.count(Kind::SinkLate), 1);
    let status = sink.stop(Duration::ZERO).await;
    assert!(status.late && status.waiting_since.is_some() && status.failing_since.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_holds_every_record_once_also_after_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let source = Source::new();
    for _ in 0..3 {
        source.sessions(50);
        let target = FileTarget { path: path.clone(), max_bytes: 1 << 30, keep: 1 };
        let sink = start(options(Target::File(target), directory.path()), &source).await;
        let held = source.len();
        until(&sink, "all is written", move |status| status.settled >= held).await;
        sink.stop(Duration::from_secs(5)).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let numbers: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_carries_a_message_a_datagram_and_claims_nothing() {
    use sallyport_audit::sink::{Address, Transport};
    let directory = tempfile::tempdir().unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&socket.local_addr().unwrap().to_string()).unwrap();
    let source = Source::new();
    source.sessions(20);
    let mut options = options(Target::Syslog { address, transport: Transport::Udp }, directory.path());
    options.shape = Shape::Record;
    let sink = start(options, &source).await;
    let mut datagram = vec![0; 65_536];
    for seq in 0..20_u64 {
        let length = socket.recv(&mut datagram).await.unwrap();
        let message = String::from_utf8(datagram[..length].to_vec()).unwrap();
        assert!(message.starts_with("<110>1 ") && message.contains(&format!(" seq=\"{seq}\"")), "{message}");
        assert!(message.ends_with(std::str::from_utf8(&source.entry(seq).bytes).unwrap()));
    }
    let status = sink.stop(Duration::from_secs(5)).await;
    assert_eq!((status.assurance, status.transport), (Assurance::Nothing, "udp"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for `make bench-siem`"]
async fn throughput_of_a_webhook() {
    const RECORDS: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(RECORDS);
    let mut target = target(receiver.port, Protocol::Webhook);
    target.batch_records = 1000;
    let began = std::time::Instant::now();
    let sink = start(options(Target::Http(target), directory.path()), &source).await;
    until(&sink, "all is delivered", |status| status.settled >= RECORDS as u64).await;
    let per_second = RECORDS as u128 * 1_000_000 / began.elapsed().as_micros();
    println!(
        "{}",
        json!({ "receiver": "webhook", "format": "json", "records": RECORDS, "events_per_second": u64::try_from(per_second).unwrap() })
    );
    sink.stop(Duration::from_secs(5)).await;
}
