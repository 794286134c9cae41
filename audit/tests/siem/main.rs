//! The sink against a real rsyslog: what arrives, and that nothing is lost when either side dies.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod authority;
#[cfg(feature = "testing")]
mod cost;
mod detecting;
mod failing;
mod formats;
mod http;
mod https;
mod mortal;
mod receiver;
mod rsyslog;
mod searches;
mod source;
mod splunk;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sallyport_audit::{
    Digest, Draft, Kind, Outcome, Record,
    sink::{
        Address, ClientIdentity, Feed as _, PersonalView, Sink, SinkError, SinkName, SinkOptions, Target,
        TlsOptions, Transport, format::Format,
    },
};

use authority::Authority;
use mortal::Mortal;
use rsyslog::{Received, Rsyslog};
use source::{ORIGIN, Source};

fn options(port: u16, transport: Transport, directory: &Path) -> SinkOptions {
    let name = SinkName::parse("siem").unwrap();
    let address = Address::parse(&format!("127.0.0.1:{port}")).unwrap();
    let mut options = SinkOptions::new(name, Target::Syslog { address, transport }, directory.to_owned());
    options.retry_least = Duration::from_millis(50);
    options.retry_most = Duration::from_millis(400);
    options.process = Some(4711);
    // The source's records are of a day long past.
    options.late_after = Duration::from_hours(1_000_000);
    options
}

async fn start(options: SinkOptions, source: &Source) -> Sink {
    Sink::start(options, Arc::new(source.clone()), Arc::new(source.clone())).await.unwrap()
}

fn formatted(options: &SinkOptions) -> Format {
    Format {
        origin: ORIGIN.to_owned(),
        sink: options.name.clone(),
        facility: options.facility,
        enterprise: options.enterprise,
        process: options.process,
        personal: options.personal,
        shape: options.shape,
    }
}

fn numbers(received: &[Received]) -> BTreeSet<u64> {
    received.iter().map(Received::seq).collect()
}

/// Whether each of the first records arrived. More may have: what the sink itself records, of a connection that it
/// made anew, comes when it comes.
fn has_all(received: &[Received], below: u64) -> bool {
    let numbers = numbers(received);
    (0..below).all(|number| numbers.contains(&number))
}

async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_over_tcp_is_the_ledger_in_order_and_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let server = Rsyslog::tcp();
    let source = Source::new();
    source.sessions(500);
    let options = options(server.port(), Transport::Tcp, directory.path());
    let format = formatted(&options);
    let sink = start(options, &source).await;
    // 500 sessions, and then the record that says that the sink is connected.
    let received =
        unblocked(move || server.until("501 records arrive", |received| received.len() >= 501)).await;
    sink.stop(Duration::from_secs(5)).await;
    assert_eq!(source.count(Kind::SinkConnected), 1);
    for (place, message) in received.iter().enumerate() {
        let entry = source.entry(place as u64);
        assert_eq!(message.seq(), place as u64, "in order");
        assert_eq!(message.param("sinkseq").unwrap(), (place + 1).to_string());
        assert_eq!(
            message.raw.as_bytes(),
            format.message(&entry, place as u64 + 1),
            "nothing is changed on the way"
        );
        assert_eq!(message.param("origin"), Some(ORIGIN));
        assert_eq!(message.param("leaf"), Some(Digest::leaf(message.msg.as_bytes()).to_string().as_str()));
        assert_eq!(message.param("prev"), Some(entry.record.prev.to_string().as_str()));
        assert_eq!(Record::parse(message.msg.as_bytes()).unwrap(), entry.record);
        assert_eq!(
            (message.host.as_str(), message.app.as_str(), message.procid.as_str()),
            ("node-1", "sallyport", "4711")
        );
        assert_eq!(message.msgid, entry.record.kind.as_str());
    }
    assert_eq!(received[0].pri, "110", "facility 13, severity 6");
    assert_eq!(received[0].time, "2026-09-21T14:13:20.123456Z");
}

#[cfg(feature = "testing")]
#[tokio::test(flavor = "multi_thread")]
async fn a_real_ledger_arrives_whole_with_its_personal_values_and_the_records_about_the_sink() {
    use sallyport_audit::{
        Ledger, LedgerOptions,
        testing::{PlainVault, SoftwareSigner},
    };
    let directory = tempfile::tempdir().unwrap();
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let options_of_ledger = LedgerOptions::new(directory.path().join("ledger"), ORIGIN, "gw-1");
    let (ledger, _) = Ledger::open(options_of_ledger, Box::new(signer), Arc::new(PlainVault)).unwrap();
    let server = Rsyslog::tcp();
    let options = options(server.port(), Transport::Tcp, directory.path());
    let sink = Sink::start(options, Arc::new(ledger.reader()), Arc::new(ledger.clone())).await.unwrap();
    for _ in 0..200 {
        ledger.enqueue(Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice")).await.unwrap();
    }
    let last = ledger.append(Draft::new(Kind::GatewayStopped, Outcome::Success)).await.unwrap().seq.get();
    // ledger.created, 200 requests, gateway.stopped, and sink.connected somewhere.
    let (received, _server) = unblocked(move || {
        (server.until("the ledger arrives", |received| received.len() as u64 > last.max(202)), server)
    })
    .await;
    let stopped = sink.stop(Duration::from_secs(5)).await;
    let reader = ledger.reader();
    assert_eq!(stopped.next, reader.len());
    for (place, message) in received.iter().enumerate() {
        let entry = reader.get(sallyport_audit::Seq::new(place as u64)).unwrap().unwrap();
        assert_eq!(message.msg.as_bytes(), entry.bytes);
        assert_eq!(message.param("origin"), Some(ORIGIN));
        let asks = entry.record.kind == Kind::HttpRequest;
        assert_eq!(message.param("subject"), asks.then_some("user:alice"));
    }
    assert!(received.iter().any(|message| message.msgid == "sink.connected"));
    ledger.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_both_sides_show_certificates_and_records_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let leaf = authority.leaf("siem.example");
    let server = Rsyslog::tls(&authority.root, &leaf.certificate, &leaf.key, Some("gateway.example"));
    let source = Source::new();
    source.sessions(50);
    let tls = trusting(&authority, "siem.example", Some("gateway.example"), directory.path());
    let sink = start(options(server.port(), tls, directory.path()), &source).await;
    let (received, _server) =
        unblocked(move || (server.until("50 records arrive", |received| received.len() >= 50), server)).await;
    assert!(received.iter().enumerate().all(|(place, message)| message.seq() == place as u64));
    assert_eq!(sink.stop(Duration::from_secs(5)).await.last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_another_name_or_another_root_gets_nothing_and_is_recorded_once() {
    let authority = Authority::new();
    let leaf = authority.leaf("siem.example");
    let server = Rsyslog::tls(&authority.root, &leaf.certificate, &leaf.key, None);
    for (trusted, name) in [(&authority, "other.example"), (&Authority::new(), "siem.example")] {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::new();
        source.sessions(3);
        let tls = trusting(trusted, name, None, directory.path());
        let sink = start(options(server.port(), tls, directory.path()), &source).await;
        let mut status = sink.status();
        let refused = status.wait_for(|status| status.last_error.is_some()).await.unwrap().clone();
        assert!(refused.last_error.as_ref().unwrap().contains("certificate"), "{refused:?}");
        // Several attempts later there is still one record.
        let again =
            tokio::time::timeout(Duration::from_secs(2), status.wait_for(|status| status.connected)).await;
        assert!(again.is_err(), "it must never connect");
        assert_eq!(source.count(Kind::SinkFailed), 1);
        assert_eq!(sink.stop(Duration::from_millis(100)).await.next, 0);
    }
    assert!(server.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_demands_a_certificate_refuses_a_sink_without_one_and_the_sink_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let leaf = authority.leaf("siem.example");
    let server = Rsyslog::tls(&authority.root, &leaf.certificate, &leaf.key, Some("gateway.example"));
    let source = Source::new();
    source.sessions(3);
    let tls = trusting(&authority, "siem.example", None, directory.path());
    let sink = start(options(server.port(), tls, directory.path()), &source).await;
    let mut status = sink.status();
    status.wait_for(|status| status.last_error.is_some()).await.unwrap();
    source.heads().wait_for(|records| *records > 3).await.unwrap();
    assert_eq!(sink.stop(Duration::from_millis(100)).await.settled, 0);
    assert!(server.received().is_empty());
    assert_eq!((source.count(Kind::SinkFailed), source.count(Kind::SinkConnected)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_when_the_receiver_is_killed_under_load_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Rsyslog::tcp();
    let source = Source::new();
    let sink = start(options(server.port(), Transport::Tcp, directory.path()), &source).await;
    let load = load(&source, 6_000);
    let server = unblocked(move || {
        for round in 1_u64..=3 {
            server.until("records flow", |received| numbers(received).len() as u64 >= round * 600);
            server.kill();
            server.start();
        }
        server
    })
    .await;
    load.await.unwrap();
    let total = source.len();
    assert!(total >= 6_000);
    let received =
        unblocked(move || server.until("every number arrives", |received| has_all(received, total))).await;
    sink.stop(Duration::from_secs(5)).await;
    duplicates_are_equal(&received);
    let (failed, connected) = (source.count(Kind::SinkFailed), source.count(Kind::SinkConnected));
    // That it holds again is told when it has done so for a while, which the last time may be after the end.
    assert!(failed <= connected + 1, "one record of each outage, not of each try: {failed} and {connected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_when_the_sender_dies_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Rsyslog::tcp();
    let source = Source::new();
    let load = load(&source, 4_000);
    let mut options = options(server.port(), Transport::Tcp, directory.path());
    options.write_timeout = Duration::from_millis(200);
    options.settle = Duration::from_millis(1200);
    let mut starts = Vec::new();
    for round in 1_u64..=4 {
        let cursor = Arc::new(Mortal::new(directory.path()));
        let (feed, notice) = (Arc::new(source.clone()), Arc::new(source.clone()));
        let sink = Sink::start_with(options.clone(), cursor.clone(), feed, notice).await.unwrap();
        let mut status = sink.status();
        starts.push(status.borrow().settled);
        status.wait_for(|status| status.settled >= round * 300 || status.next >= 4_000).await.unwrap();
        // Like a killed process: nothing is flushed, and not even the cursor is saved any more.
        cursor.die();
        drop(sink);
        status.wait_for(|status| !status.connected).await.ok();
    }
    load.await.unwrap();
    let sink = start(options, &source).await;
    let total = source.len();
    let received =
        unblocked(move || server.until("every number arrives", |received| has_all(received, total))).await;
    sink.stop(Duration::from_secs(5)).await;
    assert!(starts.is_sorted(), "the cursor never goes back: {starts:?}");
    assert!(*starts.last().unwrap() > 0, "and a restart doesn't begin at the first record again: {starts:?}");
    duplicates_are_equal(&received);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_took_just_before_it_died_is_sent_to_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let source = Source::new();
    source.sessions(10);
    let sink = start(options(port, Transport::Tcp, directory.path()), &source).await;
    for _ in 0..3 {
        // Takes everything, as far as the sender's kernel can tell, and dies with it.
        let (mut socket, _) = listener.accept().await.unwrap();
        assert_eq!(sequences(&mut socket, 10).await, (0..10).collect::<Vec<_>>());
    }
    assert_eq!(sink.stop(Duration::from_millis(100)).await.settled, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_over_a_connection_that_stayed_healthy_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(listener.local_addr().unwrap().port(), Transport::Tcp, directory.path());
    options.write_timeout = Duration::from_millis(50);
    options.settle = Duration::ZERO;
    let source = Source::new();
    source.sessions(10);
    let sink = start(options, &source).await;
    let (mut socket, _) = listener.accept().await.unwrap();
    sequences(&mut socket, 11).await;
    sink.status().wait_for(|status| status.settled == 11).await.unwrap();
    drop(socket);
    let (mut socket, _) = listener.accept().await.unwrap();
    source.sessions(1);
    assert_eq!(sequences(&mut socket, 1).await, [11], "the record of the loss comes next");
    sink.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_closes_is_sent_again_what_may_have_been_in_flight_and_nothing_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(listener.local_addr().unwrap().port(), Transport::Tcp, directory.path());
    // Short of the time in which a receiver that acknowledges nothing would show: the kernel's count must tell.
    options.settle = Duration::from_secs(2);
    assert!(options.write_timeout > Duration::from_secs(12));
    let source = Source::new();
    source.sessions(200);
    let sink = start(options, &source).await;
    let mut next = 0;
    for round in 0..3 {
        let (mut socket, _) = listener.accept().await.unwrap();
        // What was in flight when the last one closed comes again, with the records about it, and nothing before.
        let held = 201 + 7 * round;
        let taken = sequences(&mut socket, usize::try_from(held - next).unwrap()).await;
        assert_eq!(taken, (next..held).collect::<Vec<_>>());
        let mut status = sink.status();
        let all = status.wait_for(|status| status.settled == held);
        tokio::time::timeout(Duration::from_secs(12), all).await.expect("it settles in time").unwrap();
        source.sessions(5);
        assert_eq!(sequences(&mut socket, 5).await, (held..held + 5).collect::<Vec<_>>());
        next = held;
    }
    sink.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_is_given_up_and_does_not_hold_up_the_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(listener.local_addr().unwrap().port(), Transport::Tcp, directory.path());
    options.write_timeout = Duration::from_millis(300);
    let source = Source::new();
    // Far more than the buffers of both kernels hold.
    let padding = "x".repeat(60_000);
    for _ in 0..400 {
        source.append(Draft::new(Kind::HttpRequest, Outcome::Success).detail("padding", padding.clone()));
    }
    let sink = start(options, &source).await;
    let (_open, _) = listener.accept().await.unwrap();
    let mut status = sink.status();
    let given_up = status.wait_for(|status| status.last_error.is_some()).await.unwrap().clone();
    assert!(given_up.lag > 0 && given_up.settled == 0, "{given_up:?}");
    source.heads().wait_for(|records| *records == 401).await.unwrap();
    source.sessions(1);
    assert_eq!((source.len(), source.count(Kind::SinkFailed)), (402, 1), "the ledger goes on");
    sink.stop(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_receiver_shows_as_lag_and_one_record() {
    let directory = tempfile::tempdir().unwrap();
    // Bound and not listening: whoever connects is refused, and nobody else can take the port.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = closed.local_addr().unwrap().port();
    let source = Source::new();
    let sink = start(options(port, Transport::Tcp, directory.path()), &source).await;
    let mut status = sink.status();
    source.heads().wait_for(|records| *records == 1).await.unwrap();
    source.sessions(100);
    status.wait_for(|status| status.lag == 101).await.unwrap();
    assert_eq!(source.kinds()[0], Kind::SinkFailed);
    assert_eq!(source.count(Kind::SinkFailed), 1);
    let failed = source.entry(0).record;
    assert_eq!(failed.object.as_deref(), Some("sink:siem"));
    assert!(failed.details["reason"].as_str().unwrap().contains("no connection"), "{failed:?}");
    sink.stop(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivering_the_record_about_the_sink_makes_no_further_record() {
    let directory = tempfile::tempdir().unwrap();
    let server = Rsyslog::tcp();
    let source = Source::new();
    let mut options = options(server.port(), Transport::Tcp, directory.path());
    options.write_timeout = Duration::from_millis(50);
    options.settle = Duration::ZERO;
    let sink = start(options, &source).await;
    let mut status = sink.status();
    for expected in 1_u64..=3 {
        // All is sent, and has settled; had the sink more to say, it would be here.
        status.wait_for(|status| status.settled == expected && status.lag == 0).await.unwrap();
        assert_eq!(source.len(), expected);
        source.sessions(1);
    }
    assert_eq!(source.entry(0).record.details["personal"], "values");
    assert_eq!(source.count(Kind::SinkConnected), 1);
    sink.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_larger_than_the_bound_is_replaced_by_a_pointer_and_stalls_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = Rsyslog::tcp();
    let source = Source::new();
    source.sessions(1);
    source.append(Draft::new(Kind::AdminCalled, Outcome::Success).detail("padding", "x".repeat(10_000)));
    source.sessions(1);
    let mut options = options(server.port(), Transport::Tcp, directory.path());
    options.max_message = 4_096;
    let sink = start(options, &source).await;
    let received = unblocked(move || server.until("all arrive", |received| received.len() >= 5)).await;
    assert_eq!(received[1].seq(), 1);
    assert_eq!(received[1].msg, "");
    assert!(received[1].param("oversize").unwrap().parse::<usize>().unwrap() > 10_000);
    assert_eq!(received[1].param("leaf"), Some(Digest::leaf(&source.entry(1).bytes).to_string().as_str()));
    assert_eq!(received[2].seq(), 2);
    let told: Vec<_> = (0..source.len())
        .map(|seq| source.entry(seq))
        .filter(|entry| entry.record.kind == Kind::SinkQuarantined)
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].record.details["pointer"], true);
    sink.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_commitments_only_no_personal_value_leaves_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let server = Rsyslog::tcp();
    let source = Source::new();
    source.sessions(20);
    let mut options = options(server.port(), Transport::Tcp, directory.path());
    options.personal = PersonalView::Commitments;
    let sink = start(options, &source).await;
    let received = unblocked(move || server.until("all arrive", |received| received.len() >= 20)).await;
    assert!(
        received.iter().all(|message| !message.raw.contains("alice") && !message.raw.contains("203.0.113.7"))
    );
    sink.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ahead_of_the_ledger_is_refused_because_records_are_missing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("siem.cursor"),
        format!("{{\"version\":1,\"sink\":\"siem\",\"origin\":\"{ORIGIN}\",\"next\":7,\"sequence\":8}}"),
    )
    .unwrap();
    let source = Source::new();
    source.sessions(5);
    let refused = Sink::start(
        options(1, Transport::Tcp, directory.path()),
        Arc::new(source.clone()),
        Arc::new(source.clone()),
    )
    .await;
    assert!(matches!(&refused, Err(SinkError::Ahead { sent: 7, held: 5, .. })), "{refused:?}");
    assert!(refused.unwrap_err().hint().contains("backup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_certificate_is_reported_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("root.pem");
    for (content, expected) in [(None, "cannot be used"), (Some("not a certificate"), "holds no certificate")]
    {
        if let Some(content) = content {
            fs::write(&roots, content).unwrap();
        }
        let tls = Transport::Tls(TlsOptions { roots: roots.clone(), server_name: None, client: None });
        let source = Source::new();
        let refused = Sink::start(
            options(1, tls, directory.path()),
            Arc::new(source.clone()),
            Arc::new(source.clone()),
        )
        .await
        .unwrap_err();
        let SinkError::Transport { source, .. } = refused else { panic!("{refused}") };
        assert!(source.to_string().contains(expected), "{source}");
    }
}

fn trusting(authority: &Authority, server: &str, client: Option<&str>, directory: &Path) -> Transport {
    let file = |name: &str, content: &str| -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let client = client.map(|name| {
        let leaf = authority.leaf(name);
        ClientIdentity {
            certificate: file("client.pem", &leaf.certificate),
            key: file("client.key", &leaf.key),
        }
    });
    Transport::Tls(TlsOptions {
        roots: file("root.pem", &authority.root),
        server_name: Some(server.to_owned()),
        client,
    })
}

/// Appends `count` records, a few at a time.
fn load(source: &Source, count: usize) -> tokio::task::JoinHandle<()> {
    let source = source.clone();
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        for _ in 0..count / 5 {
            pace.tick().await;
            source.sessions(5);
        }
    })
}

/// Reads frames until `count` have come, and says which records they hold.
async fn sequences(socket: &mut tokio::net::TcpStream, count: usize) -> Vec<u64> {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
    let mut reader = BufReader::new(socket);
    let mut found = Vec::new();
    while found.len() < count {
        let mut length = Vec::new();
        reader.read_until(b' ', &mut length).await.unwrap();
        let length: usize = std::str::from_utf8(&length).unwrap().trim().parse().unwrap();
        let mut message = vec![0; length];
        reader.read_exact(&mut message).await.unwrap();
        let message = String::from_utf8(message).unwrap();
        let seq = message.split(" seq=\"").nth(1).unwrap().split('"').next().unwrap();
        found.push(seq.parse().unwrap());
    }
    found
}

fn duplicates_are_equal(received: &[Received]) {
    let mut first = std::collections::BTreeMap::new();
    for message in received {
        let kept = first.entry(message.seq()).or_insert(&message.raw);
        assert_eq!(*kept, &message.raw);
    }
}

/// The records of a ledger in memory, to a TLS receiver that reads and counts: how fast the sink alone is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for `make bench-siem`"]
async fn throughput_over_tls() {
    use tokio::io::AsyncReadExt as _;
    const RECORDS: usize = 200_000;
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let leaf = authority.leaf("siem.example");
    let acceptor = leaf.acceptor();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let source = Source::new();
    source.sessions(RECORDS);
    let transport = trusting(&authority, "siem.example", None, directory.path());
    let options = options(port, transport, directory.path());
    let format = formatted(&options);
    let expected: usize = (0..RECORDS as u64)
        .map(|seq| {
            let length = format.message(&source.entry(seq), seq + 1).len();
            length + 1 + length.to_string().len()
        })
        .sum();
    let began = std::time::Instant::now();
    let sink = start(options, &source).await;
    let (socket, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(socket).await.unwrap();
    let (mut read, mut buffer) = (0, vec![0; 256 * 1024]);
    while read < expected {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the sink went on");
        read += count;
    }
    let per_second = RECORDS as u128 * 1_000_000 / began.elapsed().as_micros();
    println!(
        "{}",
        serde_json::json!({
            "receiver": "syslog over TLS 1.3", "format": "rfc5424", "records": RECORDS, "octets": expected,
            "events_per_second": u64::try_from(per_second).unwrap(),
        })
    );
    sink.stop(Duration::from_secs(1)).await;
}
