//! What a sink and its receipts cost the ledger that they are about.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sallyport_audit::{
    Draft, Kind, Ledger, LedgerOptions, Outcome, Seq,
    sink::{Protocol, Sink, Target},
    testing::{PlainVault, SoftwareSigner},
};
use serde_json::{Value, json};

use crate::{
    http::{options, target, until},
    receiver::{Reaction, Receiver},
    source::ORIGIN,
};

const RECORDS: u64 = 50_000;

/// A ledger takes its records, beside a sink that gives a receipt so often, or beside none.
async fn measured(what: &str, receipts: Option<Duration>) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let ledger_options = LedgerOptions::new(directory.path().join("ledger"), ORIGIN, "gw-1");
    let (ledger, _) = Ledger::open(ledger_options, Box::new(signer), Arc::new(PlainVault)).unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let sink = match receipts {
        None => None,
        Some(every) => {
            let mut target = target(receiver.port, Protocol::Webhook);
            target.batch_records = 1000;
            let mut options = options(Target::Http(target), directory.path());
            options.receipts = every;
            let (feed, notice) = (Arc::new(ledger.reader()), Arc::new(ledger.clone()));
            Some(Sink::start(options, feed, notice).await.unwrap())
        }
    };
    let began = Instant::now();
    for _ in 1..RECORDS {
        let draft =
            Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").detail("status", 200);
        ledger.enqueue(draft).await.unwrap();
    }
    let last = ledger.append(Draft::new(Kind::GatewayHeartbeat, Outcome::Success)).await.unwrap().seq.get();
    let taken = began.elapsed();
    if let Some(sink) = sink {
        until(&sink, "all is delivered", |status| status.settled > last).await;
        sink.stop(Duration::from_secs(5)).await;
    }
    let reader = ledger.reader();
    let (mut count, mut octets, mut all) = (0_u64, 0, 0);
    for seq in 0..reader.len() {
        let entry = reader.get(Seq::new(seq)).unwrap().unwrap();
        all += entry.bytes.len();
        if entry.record.kind == Kind::SinkDelivered {
            (count, octets) = (count + 1, octets + entry.bytes.len());
        }
    }
    ledger.close().await.unwrap();
    json!({
        "ledger": what,
        "records": RECORDS,
        "records_per_second": u64::try_from(u128::from(RECORDS) * 1_000_000 / taken.as_micros()).unwrap(),
        "receipts": count,
        "octets_of_receipts": octets,
        "octets_of_all_records": all,
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for `make bench-siem`"]
async fn throughput_of_a_ledger_beside_a_sink_and_its_receipts() {
    // The first run warms disk and caches.
    measured("warm", None).await;
    for (what, receipts) in [
        ("without a sink", None),
        ("with a sink, receipts as by default", Some(Duration::from_mins(5))),
        ("with a sink, a receipt each second", Some(Duration::from_secs(1))),
    ] {
        println!("{}", measured(what, receipts).await);
    }
}
