//! How fast a ledger is verified on one core: every record read again, its form, number, link and place in
//! the tree, and every head's signature.
//!
//! The reader of records runs in turns with the slow one that it is held against in tests, so that whatever
//! else the machine does meets both. The last line is one line of JSON. `--records N` (200000), `--turns N` (5).
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so and end")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sallyport_audit::record::RecordReader;
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner, read_slowly};
use sallyport_audit::verify::{Overall, Segment, Trust, verify};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::json;

const ORIGIN: &str = "gateway.example.org/ledger";

/// How many records stand under one head.
const GROUPS: [u64; 4] = [1, 16, 256, 4096];

/// What a gateway records of one visit, in turns.
fn draft(n: u64) -> Draft {
    let session = "sess-01983b9c2f7a7d31a4b5c6d7e8f90123";
    let request = Draft::new(Kind::HttpRequest, Outcome::Success)
        .subject("user:alice")
        .source("203.0.113.7:44321")
        .path("/reports/2026/january?page=4")
        .action("GET")
        .object("tunnel:demo")
        .session(session)
        .detail("status", 200)
        .detail("bytes", n);
    match n % 8 {
        0 => Draft::new(Kind::SessionOpened, Outcome::Success)
            .subject("user:alice")
            .source("203.0.113.7:44321")
            .action("connect")
            .object("tunnel:demo")
            .session(session)
            .detail("protocol", json!({"name": "http", "versions": ["1.1", "2"]})),
        1 => Draft::new(Kind::AccessDecided, Outcome::Denied)
            .subject("user:bob")
            .action("connect")
            .object("tunnel:demo")
            .policy("5f3c".repeat(16))
            .detail("rule", "nobody at night: \"quiet hours\"")
            .detail("roles", json!(["reader", "auditor"])),
        _ => request,
    }
}

fn journal(records: u64, group: u64) -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [7; 32]));
    let key = journal.signer.verifier().to_string();
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", key)
        .detail("format", 1)]);
    for first in (0..records).step_by(usize::try_from(group).unwrap_or(1)) {
        if journal.segments.last().is_some_and(|(_, bytes)| bytes.len() > 64 << 20) {
            journal.rotate();
        }
        journal.group((first..records.min(first + group)).map(draft));
    }
    journal
}

fn rate(records: u64, time: Duration) -> u64 {
    (u128::from(records) * 1_000_000 / time.as_micros().max(1)).try_into().unwrap_or(u64::MAX)
}

fn number(name: &str, usual: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(usual, |text| text.parse().expect("a number"))
}

fn main() {
    let (records, turns) = (number("--records", 200_000), number("--turns", 5));
    let mut verified = serde_json::Map::new();
    for group in GROUPS {
        // With a head each, the signatures take nearly all of the time, and fewer show as much.
        let records = records.min(group * 20_000);
        let journal = journal(records, group);
        let trust = Trust { keys: vec![journal.signer.verifier()], ..Trust::default() };
        let head = journal.head_file();
        let segments = || {
            let copy =
                |(name, bytes): &(String, Vec<u8>)| Segment { name: name.clone(), bytes: bytes.clone() };
            journal.segments.iter().map(copy).map(Ok).collect::<Vec<_>>()
        };
        let best = (0..turns).map(|_| {
            let segments = segments();
            let before = Instant::now();
            let verdict = verify(segments, Some(&head), &trust);
            let time = before.elapsed();
            assert_eq!(verdict.overall(), Overall::Verified);
            time
        });
        let rate = rate(records, best.min().unwrap_or_default());
        println!("verified, {group:>4} records under a head: {rate:>9} records/s");
        verified.insert(group.to_string(), rate.into());
    }

    let journal = journal(records.min(50_000), 256);
    let (mut fast, mut slow) = (Duration::MAX, Duration::MAX);
    let records = journal.records();
    let bytes = records.iter().map(Vec::len).sum::<usize>() / records.len();
    for _ in 0..turns {
        let before = Instant::now();
        let mut reader = RecordReader::default();
        for record in &records {
            black_box(reader.read(record)).expect("a record");
        }
        fast = fast.min(before.elapsed());
        let before = Instant::now();
        for record in &records {
            black_box(read_slowly(record)).expect("a record");
        }
        slow = slow.min(before.elapsed());
    }
    let count = records.len() as u64;
    let (fast, slow) = (rate(count, fast), rate(count, slow));
    println!("read: {fast} records/s of {bytes} bytes; the slow way: {slow} records/s");
    println!(
        "{}",
        json!({
            "bench": "verify", "cores": 1, "record_bytes": bytes, "verified_per_s_by_group": verified,
            "read_per_s": fast, "read_slowly_per_s": slow,
        })
    );
}
