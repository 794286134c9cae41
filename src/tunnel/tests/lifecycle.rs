//! A publisher's life: trust, refusals, loss and return, goodbye.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{Door, Organisation, Running, http, name, publication, soon};
use crate::tunnel::client::{
    Backoff, DialError, Event, KnownGateways, PublishError, Publisher, PublisherOptions, TlsRoots, Trust,
    VisitorOptions, visit,
};
use crate::tunnel::{
    CloseReason, Farewell, FarewellCode, HandshakeError, Limits, LinkError, Refusal, RefusalCode, Secret,
    TunnelName,
};

pub(super) const CUT: Duration = Duration::ZERO;

async fn door() -> Door {
    Door::open(Organisation::new().gateway(1), Limits::default()).await
}

/// Options for a publisher of `demo`, whose app is `router`.
pub(super) async fn publishing(door: &Door, router: Router) -> PublisherOptions {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    door.options(vec![publication(http("demo"), address)])
}

async fn publisher(door: &Door) -> Running {
    Running::start(publishing(door, Router::new().route("/", get(async || "here"))).await)
}

pub(super) fn request() -> Request<Empty<Bytes>> {
    Request::get("http://demo/").body(Empty::new()).unwrap()
}

pub(super) fn is_connected(event: &Event) -> bool {
    matches!(event, Event::Connected { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_tells_who_the_gateway_is_and_where_its_tunnel_is() {
    let mut door = door().await;
    let mut publisher = publisher(&door).await;
    let link = door.link().await;
    let connected = publisher.event(is_connected).await;
    let registered = publisher.event(|event| matches!(event, Event::Registered { .. })).await;
    let Event::Connected { identity, trust, suite, .. } = &connected else { unreachable!() };
    assert_eq!((identity.as_str(), *trust), ("Example Ltd/localhost", Trust::FirstUse));
    assert!(suite.is_post_quantum());
    let Event::Registered { name, url, id, link: shown } = &registered else { unreachable!() };
    assert_eq!((name.as_str(), url.as_str(), *shown), ("demo", "https://demo.localhost", link.id()));
    assert!(id.starts_with("tun-"));
    let json = serde_json::to_value(&connected).unwrap();
    assert_eq!((json["event"].as_str(), json["sealed"].as_bool()), (Some("connected"), Some(false)));
    assert_eq!(json["trust"], "first-use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_comes_back_by_itself_with_its_ticket_when_the_gateway_drains() {
    let mut door = door().await;
    let mut publisher = publisher(&door).await;
    let first = door.link().await;
    publisher.event(is_connected).await;
    first.close(Farewell { code: FarewellCode::Draining, grace: CUT });
    assert_eq!(soon(first.closed()).await, CloseReason::Closed(FarewellCode::Draining));

    let registration = door.registration().await;
    assert_eq!(registration.resume(), b"ticket");
    let acceptance = super::bed::everything(&registration);
    let second = soon(registration.accept(acceptance)).await.unwrap();
    assert_eq!(soon(second.request(&name("demo"), request())).await.unwrap().status(), 200);
    let connected = publisher.event(is_connected).await;
    assert!(
        matches!(connected, Event::Connected { trust: Trust::Pinned, .. }),
        "and knows the gateway again"
    );
    assert!(matches!(soon(first.request(&name("demo"), request())).await, Err(LinkError::Closed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_comes_back_when_the_connection_just_breaks() {
    let mut door = door().await;
    let mut publisher = publisher(&door).await;
    let link = door.link().await;
    publisher.event(is_connected).await;
    drop(link);
    publisher.event(|event| matches!(event, Event::Disconnected { .. })).await;
    publisher.event(|event| matches!(event, Event::Retrying { .. })).await;
    let link = door.link().await;
    assert_eq!(soon(link.request(&name("demo"), request())).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_whose_leave_is_revoked_or_whose_place_is_taken_does_not_come_back() {
    for code in [FarewellCode::Revoked, FarewellCode::Replaced] {
        let mut door = door().await;
        let publisher = publisher(&door).await;
        door.link().await.close(Farewell { code, grace: CUT });
        let error = publisher.ended().await.unwrap_err();
        assert!(matches!(error, PublishError::Dismissed(told) if told == code), "{error}");
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_publisher_at_once_with_what_to_do() {
    let mut door = door().await;
    let mut publisher = publisher(&door).await;
    let refusal =
        Refusal { hint: "ask Alice".to_owned(), ..Refusal::new(RefusalCode::BadToken, "unknown token") };
    door.registration().await.refuse(refusal).await;
    let refused = publisher.event(|event| matches!(event, Event::Refused { .. })).await;
    assert!(matches!(&refused, Event::Refused { hint, .. } if hint == "ask Alice"), "{refused:?}");
    let PublishError::Refused(error) = publisher.ended().await.unwrap_err() else { panic!("not refused") };
    assert_eq!(error.refusal(), Some(RefusalCode::BadToken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_take_tunnels_now_is_asked_again() {
    let mut door = door().await;
    let mut publisher = publisher(&door).await;
    door.registration().await.refuse(Refusal::new(RefusalCode::Unavailable, "the ledger is down")).await;
    let failed = publisher.event(|event| matches!(event, Event::Failed { .. })).await;
    assert!(matches!(&failed, Event::Failed { reason, .. } if reason.contains("the ledger is down")));
    assert!(door.link().await.is_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_other_keys_than_last_time_is_refused_and_never_sees_the_token() {
    let mut door = door().await;
    let options = publishing(&door, Router::new()).await;
    let before = Organisation::new().gateway(2).certificate;
    KnownGateways::new(door.known_gateways()).check(&door.gateway().to_string(), &before).unwrap();
    let mut publisher = Running::start(options);
    let refused = publisher.event(|event| matches!(event, Event::Refused { .. })).await;
    assert!(matches!(&refused, Event::Refused { reason, .. } if reason.contains("CHANGED")), "{refused:?}");
    let error = publisher.ended().await.unwrap_err();
    assert!(matches!(error, PublishError::Refused(DialError::Identity(_))));
    let arrival = soon(door.arrivals.recv()).await.unwrap();
    assert!(matches!(arrival, Err(HandshakeError::Socket(_))), "no credential may arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_organisations_root_the_certificate_decides_and_nothing_is_pinned() {
    let organisation = Organisation::new();
    let mut door = Door::open(organisation.gateway(1), Limits::default()).await;
    let good = PublisherOptions {
        organisation_roots: vec![organisation.root()],
        ..publishing(&door, Router::new()).await
    };
    let mut publisher = Running::start(good);
    let _link = door.link().await;
    assert!(matches!(publisher.event(is_connected).await, Event::Connected { trust: Trust::Root, .. }));
    assert!(!door.known_gateways().exists());

    let foreign = PublisherOptions {
        organisation_roots: vec![Organisation::new().root()],
        ..publishing(&door, Router::new()).await
    };
    let error = Running::start(foreign).ended().await.unwrap_err();
    assert!(
        matches!(error, PublishError::Refused(DialError::Handshake(HandshakeError::Certificate(_)))),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_gives_up_after_the_failures_it_was_allowed() {
    let door = door().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = publishing(&door, Router::new()).await;
    let options = PublisherOptions {
        gateway: crate::tunnel::client::GatewayAddress::parse(&format!("localhost:{}", nobody.port()))
            .unwrap(),
        backoff: Backoff { give_up_after: Some(3), ..options.backoff },
        ..options
    };
    let mut publisher = Running::start(options);
    let gave_up = publisher.event(|event| matches!(event, Event::GaveUp { .. })).await;
    assert!(matches!(gave_up, Event::GaveUp { failures: 3, .. }));
    let error = publisher.ended().await.unwrap_err();
    assert!(
        matches!(error, PublishError::GaveUp { failures: 3, .. })
            && error.to_string().contains("cannot connect")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_tls_certificate_nobody_vouches_for_is_not_spoken_to() {
    let (honest, other) = (door().await, door().await);
    let options = publishing(&honest, Router::new()).await;
    let options = PublisherOptions {
        roots: other.roots(),
        backoff: Backoff { give_up_after: Some(1), ..options.backoff },
        ..options
    };
    let mut publisher = Running::start(options);
    let failed = publisher.event(|event| matches!(event, Event::Failed { .. })).await;
    assert!(matches!(&failed, Event::Failed { hint, .. } if hint.contains("--ca")), "{failed:?}");
}

#[tokio::test]
async fn tls_is_hybrid_first_and_nothing_below_1_3() {
    let door = door().await;
    let config = crate::tunnel::client::tls_config(&door.roots()).unwrap();
    let first = config.crypto_provider().kx_groups.first().unwrap();
    assert_eq!(first.name(), rustls::NamedGroup::X25519MLKEM768);
    let mut tcp = TcpStream::connect(door.address).await.unwrap();
    let mut connection =
        rustls::ClientConnection::new(config, rustls::pki_types::ServerName::try_from("localhost").unwrap())
            .unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    // supported_versions (extension 43) with TLS 1.3 alone.
    assert!(hello.windows(7).any(|window| window == [0, 43, 0, 3, 2, 3, 4]));
    tcp.write_all(&hello).await.unwrap();
    assert!(soon(tcp.read_u8()).await.is_ok(), "the gateway answers it");
}

#[test]
fn a_file_of_roots_that_is_missing_or_empty_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for path in [empty, directory.path().join("missing.pem")] {
        let error = crate::tunnel::client::tls_config(&TlsRoots::File(path.clone())).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error.is_final());
    }
}

/// An app that answers only when the test says so.
pub(super) fn slow_app() -> (Router, Arc<tokio::sync::Notify>) {
    let (router, go, _begun) = slow_app_that_tells();
    (router, go)
}

/// The same, and tells when it has got a request.
fn slow_app_that_tells() -> (Router, Arc<tokio::sync::Notify>, Arc<tokio::sync::Notify>) {
    let (go, begun) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (waits, tells) = (Arc::clone(&go), Arc::clone(&begun));
    let router = Router::new().route(
        "/",
        get(async move || {
            tells.notify_one();
            waits.notified().await;
            AxumBody::from("at last")
        }),
    );
    (router, go, begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_publisher_finishes_what_it_is_serving() {
    let mut door = door().await;
    let (router, go, begun) = slow_app_that_tells();
    let publisher = Running::start(publishing(&door, router).await);
    let link = door.link().await;
    let asking = tokio::spawn({
        let link = link.clone();
        async move { link.request(&name("demo"), request()).await.unwrap().into_body().collect().await.unwrap() }
    });
    soon(begun.notified()).await;
    publisher.stop.cancel();
    go.notify_one();
    assert_eq!(soon(asking).await.unwrap().to_bytes(), "at last");
    publisher.ended().await.unwrap();
    assert_eq!(soon(link.closed()).await, CloseReason::PublisherLeft);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_lets_open_streams_finish_and_takes_no_new_ones() {
    let mut door = door().await;
    let (router, go) = slow_app();
    let _publisher = Running::start(publishing(&door, router).await);
    let link = door.link().await;
    let mut stream = soon(link.connect(&name("demo"))).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n").await.unwrap();
    link.close(Farewell { code: FarewellCode::Draining, grace: super::bed::PATIENCE });
    assert!(matches!(soon(link.connect(&name("demo"))).await, Err(LinkError::Closed(_))));
    go.notify_one();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("at last"), "{answer}");
    drop(stream);
    assert_eq!(soon(link.closed()).await, CloseReason::Closed(FarewellCode::Draining));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cuts_a_link_cuts_its_open_streams() {
    let mut door = door().await;
    let (router, _never) = slow_app();
    let _publisher = Running::start(publishing(&door, router).await);
    let link = door.link().await;
    let mut stream = soon(link.connect(&name("demo"))).await.unwrap();
    link.close(Farewell { code: FarewellCode::Revoked, grace: CUT });
    assert!(soon(stream.read_u8()).await.is_err());
}

fn visitor(door: &Door, token: &str) -> VisitorOptions {
    VisitorOptions {
        gateway: door.gateway(),
        roots: door.roots(),
        token: Some(SecretString::from(token.to_owned())),
        certificate: None,
        proxies: crate::tunnel::client::Proxies::none(),
        patience: super::bed::PATIENCE,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_stream_goes_both_ways_and_keeps_a_half_open() {
    let mut door = door().await;
    let mut visitor =
        soon(visit(&visitor(&door, "visitor token"), &TunnelName::parse("db").unwrap())).await.unwrap();
    let (tunnel, token, mut inside) = soon(door.visits.recv()).await.unwrap();
    assert_eq!((tunnel.as_str(), token.as_str()), ("db", "visitor token"));
    visitor.write_all(b"question").await.unwrap();
    visitor.shutdown().await.unwrap();
    let mut heard = String::new();
    soon(inside.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "question");
    inside.write_all(b"answer").await.unwrap();
    inside.shutdown().await.unwrap();
    let mut heard = String::new();
    soon(visitor.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_without_leave_gets_the_gateways_explanation() {
    let door = door().await;
    let refused = soon(visit(&visitor(&door, "no leave"), &TunnelName::parse("db").unwrap())).await;
    let Err(DialError::Status { status, message, .. }) = refused else { panic!("not refused") };
    assert_eq!((status, message.as_str()), (403, "ask with `sallyport request`"));
}

#[test]
fn a_publisher_cannot_be_made_without_its_roots() {
    let options = PublisherOptions {
        roots: TlsRoots::File("missing.pem".into()),
        ..PublisherOptions::new(
            crate::tunnel::client::GatewayAddress::parse("localhost").unwrap(),
            Secret::Token(SecretString::from("t")),
            KnownGateways::new("unused"),
            Vec::new(),
        )
    };
    assert!(matches!(Publisher::new(options), Err(DialError::Roots { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_who_give_up_all_at_once_cost_nobody_else_the_tunnel() {
    let mut door = door().await;
    let _publisher = publisher(&door).await;
    let link = door.link().await;
    let demo = name("demo");
    for _ in 0..50 {
        let given_up = (0..200)
            .map(|_| tokio::time::timeout(Duration::from_micros(300), link.request(&demo, request())));
        drop(futures_util::future::join_all(given_up).await);
    }
    assert!(link.is_open());
    // Those of the last ones who gave up may not be let go of yet.
    let answered = soon(async {
        loop {
            match link.request(&demo, request()).await {
                Err(LinkError::Full) => tokio::task::yield_now().await,
                answered => break answered,
            }
        }
    });
    assert_eq!(answered.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_no_stream_is_told_at_once_and_the_gateways_own_questions_find_one() {
    let limits = Limits { max_streams: 24, ..Limits::default() };
    let mut door = Door::open(Organisation::new().gateway(1), limits).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _publisher =
        Running::start(door.options(vec![publication(http("demo"), listener.local_addr().unwrap())]));
    let (link, demo) = (door.link().await, name("demo"));
    let open = async |person: &str| soon(link.connect_of(person, &demo, None, None)).await;
    let mut streams = Vec::new();
    // Three of four for one, and what is left for others; sixteen are nobody's.
    for person in ["a", "a", "a", "a", "a", "a"] {
        streams.push(open(person).await.unwrap());
    }
    assert!(matches!(open("a").await, Err(LinkError::Full)));
    for person in ["b", "b"] {
        streams.push(open(person).await.unwrap());
    }
    assert!(matches!(open("c").await, Err(LinkError::Full)));
    assert!(matches!(link.request_of("c", &demo, request()).await, Err(LinkError::Full)));
    assert!(soon(link.health()).await.is_ok(), "the publisher is there, and can be asked");
    drop(streams);
    soon(async {
        while open("a").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_whose_events_nobody_reads_comes_back_all_the_same() {
    let mut door = door().await;
    let options = publishing(&door, Router::new().route("/", get(async || "here"))).await;
    let publisher = Publisher::new(options).unwrap();
    // Room for four, which is never read.
    let (sender, mut events) = tokio::sync::mpsc::channel(4);
    let stop = tokio_util::sync::CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let _running = tokio::spawn(async move { Box::pin(publisher.run(sender, stop)).await });
    for _ in 0..3 {
        let link = door.link().await;
        for _ in 0..4 {
            let answer = soon(link.request(&name("demo"), request())).await.unwrap();
            soon(answer.into_body().collect()).await.unwrap();
        }
    }
    // Requests have left room for what is more important.
    let told: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().any(|event| matches!(event, Event::Disconnected { .. })), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_told_only_where_that_is_wanted() {
    let mut door = door().await;
    let router = Router::new().route("/", get(async || "here"));
    let options = PublisherOptions { tells_requests: false, ..publishing(&door, router).await };
    let mut publisher = Running::start(options);
    let link = door.link().await;
    let answer = soon(link.request(&name("demo"), request())).await.unwrap();
    soon(answer.into_body().collect()).await.unwrap();
    publisher.stop.cancel();
    // All that it tells until it ends.
    while let Some(event) = soon(publisher.events.recv()).await {
        assert!(!matches!(event, Event::Request { .. }), "{event:?}");
    }
}
