//! Receivers over HTTP that show who they are and want to know who we are, and that die and come back.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use sallyport_audit::{
    Kind,
    sink::{ClientIdentity, HttpTarget, HttpUrl, Protocol, Sink, Target, TlsOptions},
};

use crate::{
    authority::Authority,
    http::{eventually, options, start, taken, target, until},
    mortal::Mortal,
    receiver::{Asked, Reaction, Receiver},
    source::Source,
};

/// A webhook over TLS: whose root is trusted, the name that is expected, and who we say we are.
fn secured(
    port: u16,
    (trusted, name): (&Authority, &str),
    client: Option<&Authority>,
    directory: &Path,
) -> Target {
    let file = |name: &str, content: &str| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let url = HttpUrl::parse(&format!("https://127.0.0.1:{port}/in")).unwrap();
    let mut target = HttpTarget::new(url, Protocol::Webhook);
    let client = client.map(|authority| {
        let leaf = authority.leaf("gateway.example");
        ClientIdentity {
            certificate: file("client.pem", &leaf.certificate),
            key: file("client.key", &leaf.key),
        }
    });
    let roots = file("root.pem", &trusted.root);
    target.tls = Some(TlsOptions { roots, server_name: Some(name.to_owned()), client });
    Target::Http(target)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_both_sides_show_certificates_of_a_private_root_and_records_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let acceptor = authority.leaf("hooks.example").acceptor_of(Some(&authority.root));
    let receiver = Receiver::at(0, Some(acceptor), |_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(60);
    let target = secured(receiver.port, (&authority, "hooks.example"), Some(&authority), directory.path());
    let sink = start(options(target, directory.path()), &source).await;
    until(&sink, "all is delivered", |status| status.settled >= 60).await;
    assert_eq!(sink.stop(Duration::from_secs(5)).await.last_error, None);
    assert_eq!(taken(&receiver, |_| true)[..60], (0..60).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_receiver_of_another_name_or_root_gets_nothing_and_one_that_wants_a_certificate_takes_nothing_without()
 {
    let (ours, others) = (Authority::new(), Authority::new());
    for (what, trusted, name, client) in [
        ("another name", &ours, "other.example", Some(&ours)),
        ("another root", &others, "hooks.example", Some(&ours)),
        ("no certificate of ours", &ours, "hooks.example", None),
        ("a certificate of another root", &ours, "hooks.example", Some(&others)),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let acceptor = ours.leaf("hooks.example").acceptor_of(Some(&ours.root));
        let receiver = Receiver::at(0, Some(acceptor), |_| Reaction::ok()).await;
        let source = Source::new();
        source.sessions(3);
        let target = secured(receiver.port, (trusted, name), client, directory.path());
        let sink = start(options(target, directory.path()), &source).await;
        until(&sink, what, |status| status.last_error.is_some()).await;
        eventually("it is recorded", || source.count(Kind::SinkFailed) == 1).await;
        let status = sink.stop(Duration::ZERO).await;
        assert_eq!((status.settled, receiver.count()), (0, 0), "{what}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_when_an_http_receiver_is_killed_under_load_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let kept: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    // What was answered is kept, whichever receiver it was.
    let keep = |kept: &Arc<Mutex<BTreeMap<u64, String>>>| {
        let kept = Arc::clone(kept);
        move |asked: &Asked| {
            let mut kept = kept.lock().unwrap();
            for (seq, line) in asked.numbers().into_iter().zip(asked.body.lines()) {
                let before = kept.insert(seq, line.to_owned());
                assert!(before.is_none_or(|before| before == line), "sent again, it is the same");
            }
            Reaction::ok()
        }
    };
    let mut receiver = Receiver::at(0, None, keep(&kept)).await;
    let port = receiver.port;
    let source = Source::new();
    let loading = source.clone();
    let load = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        for _ in 0..600 {
            pace.tick().await;
            loading.sessions(5);
        }
    });
    let sink = start(options(Target::Http(target(port, Protocol::Webhook)), directory.path()), &source).await;
    for round in 1_u64..=3 {
        until(&sink, "records flow", |status| status.settled >= round * 500).await;
        drop(receiver);
        until(&sink, "the sink notices", |status| !status.connected).await;
        receiver = Receiver::at(port, None, keep(&kept)).await;
    }
    load.await.unwrap();
    let total = source.len();
    until(&sink, "all is delivered", |status| status.settled >= total).await;
    sink.stop(Duration::from_secs(5)).await;
    drop(receiver);
    let missing: Vec<u64> = (0..total).filter(|seq| !kept.lock().unwrap().contains_key(seq)).collect();
    assert_eq!(missing, Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_reaches_an_http_receiver_when_the_sender_dies_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Reaction::ok()).await;
    let source = Source::new();
    source.sessions(2_000);
    let mut starts = Vec::new();
    for round in 1_u64..=3 {
        let cursor = Arc::new(Mortal::new(directory.path()));
        let (feed, notice) = (Arc::new(source.clone()), Arc::new(source.clone()));
        let options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
        let sink = Sink::start_with(options, cursor.clone(), feed, notice).await.unwrap();
        starts.push(sink.status().borrow().settled);
        until(&sink, "records flow", |status| status.settled >= round * 500).await;
        // Like a killed process: not even the cursor is saved any more.
        cursor.die();
        drop(sink);
        source.sessions(10);
    }
    let options = options(Target::Http(target(receiver.port, Protocol::Webhook)), directory.path());
    let sink = start(options, &source).await;
    let total = source.len();
    until(&sink, "all is delivered", |status| status.settled >= total).await;
    sink.stop(Duration::from_secs(5)).await;
    assert!(starts.is_sorted(), "the cursor never goes back: {starts:?}");
    let arrived = taken(&receiver, |_| true);
    let missing: Vec<u64> = (0..total).filter(|seq| !arrived.contains(seq)).collect();
    assert_eq!(missing, Vec::<u64>::new());
}
