//! A publisher that has more than one gateway to go to.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bed::{Door, Organisation, Running, name, soon};
use super::lifecycle::{CUT, is_connected, publishing, request, slow_app};
use crate::tunnel::client::{Event, GatewayAddress, PublishError};
use crate::tunnel::{CloseReason, Farewell, FarewellCode, Limits, Refusal, RefusalCode};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gateway_serves_while_the_first_takes_nobody_and_the_first_again_when_it_does() {
    let organisation = Organisation::new();
    let mut first = Door::open(organisation.gateway(1), Limits::default()).await;
    let mut second = Door::open(organisation.gateway(2), Limits::default()).await;
    first.trust_too(&second);
    let mut options = publishing(&first, Router::new().route("/", get(async || "here"))).await;
    options.backups = vec![second.gateway()];
    options.look_back = Duration::from_millis(20);
    // The next gateway is tried at once: a pause of a minute would end the test.
    options.backoff.first = Duration::from_mins(1);
    let mut publisher = Running::start(options);
    let away = Refusal::new(RefusalCode::Draining, "the gateway is about to stop");
    first.registration().await.refuse(away).await;
    let beside = second.link().await;
    publisher.event(is_connected).await;
    let link = first.link().await;
    assert_eq!(soon(beside.closed()).await, CloseReason::PublisherLeft);
    let answer = soon(link.request(&name("demo"), request())).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_left_when_the_first_takes_the_publisher_and_what_is_under_way_on_it_is_finished() {
    let organisation = Organisation::new();
    let mut first = Door::open(organisation.gateway(1), Limits::default()).await;
    let mut second = Door::open(organisation.gateway(2), Limits::default()).await;
    first.trust_too(&second);
    let (router, go) = slow_app();
    let mut options = publishing(&first, router).await;
    options.backups = vec![second.gateway()];
    options.look_back = Duration::from_millis(20);
    let mut publisher = Running::start(options);
    // It answers, and takes nobody.
    let unready = || Refusal::new(RefusalCode::Unavailable, "the ledger is down");
    first.registration().await.refuse(unready()).await;
    let beside = second.link().await;
    let mut stream = soon(beside.connect(&name("demo"))).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n").await.unwrap();
    for _ in 0..3 {
        first.registration().await.refuse(unready()).await;
        assert!(beside.is_open());
    }
    let link = first.link().await;
    let elsewhere = publisher.event(|event| matches!(event, Event::Disconnected { .. })).await;
    assert!(
        matches!(&elsewhere, Event::Disconnected { reason } if reason.contains("first")),
        "{elsewhere:?}"
    );
    publisher.event(is_connected).await;
    assert!(link.is_open());
    assert_eq!(soon(beside.closed()).await, CloseReason::PublisherLeft, "it is sent nobody who comes now");
    go.notify_one();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("at last"), "{answer}");
    drop(stream);
    soon(beside.gone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_refuses_for_good_ends_no_publisher_whose_first_gateway_is_only_away() {
    let organisation = Organisation::new();
    let mut first = Door::open(organisation.gateway(1), Limits::default()).await;
    let mut second = Door::open(organisation.gateway(2), Limits::default()).await;
    first.trust_too(&second);
    let mut options = publishing(&first, Router::new().route("/", get(async || "here"))).await;
    options.backups = vec![second.gateway()];
    let mut publisher = Running::start(options);
    let away = Refusal::new(RefusalCode::Draining, "the gateway is about to stop");
    first.registration().await.refuse(away).await;
    let no_leave = || Refusal::new(RefusalCode::NotAllowed, "you may not publish here");
    second.registration().await.refuse(no_leave()).await;
    // The first is back, and takes it.
    let link = first.link().await;
    publisher.event(is_connected).await;
    link.close(Farewell { code: FarewellCode::Draining, grace: CUT });
    // Now both refuse for good.
    second.registration().await.refuse(no_leave()).await;
    first.registration().await.refuse(no_leave()).await;
    publisher.event(|event| matches!(event, Event::Refused { .. })).await;
    let error = publisher.ended().await.unwrap_err();
    assert!(matches!(error, PublishError::Refused(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_gateways_one_with_weight_is_first_and_the_others_serve_when_it_is_gone() {
    let organisation = Organisation::new();
    let mut light = Door::open(organisation.gateway(1), Limits::default()).await;
    let mut heavy = Door::open(organisation.gateway(2), Limits::default()).await;
    light.trust_too(&heavy);
    let mut options = publishing(&light, Router::new().route("/", get(async || "here"))).await;
    // Though it is the profile's own.
    options.weight = 0;
    options.equals = vec![(heavy.gateway(), 7)];
    let mut publisher = Running::start(options);
    let link = heavy.link().await;
    publisher.event(is_connected).await;
    link.close(Farewell { code: FarewellCode::Draining, grace: CUT });
    let link = light.link().await;
    publisher.event(is_connected).await;
    let answer = soon(link.request(&name("demo"), request())).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "here");
}

/// The way to a door, which from some time on leads nowhere, and nobody says so: its host is gone.
async fn way_to(door: SocketAddr) -> (GatewayAddress, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = GatewayAddress::parse(&format!("localhost:{}", listener.local_addr().unwrap().port()));
    let gone = CancellationToken::new();
    let told = gone.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let gone = told.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(door).await.unwrap();
                tokio::select! {
                    _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    () = gone.cancelled() => std::future::pending().await,
                }
            });
        }
    });
    (address.unwrap(), gone)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_gateway_that_serves_is_gone_without_a_word_the_backup_is_gone_to_at_once() {
    const BEAT: Duration = Duration::from_millis(200);
    let limits = || Limits { heartbeat_interval: BEAT, heartbeat_timeout: BEAT, ..Limits::default() };
    let organisation = Organisation::new();
    let mut first = Door::open(organisation.gateway(1), limits()).await;
    let mut second = Door::open(organisation.gateway(2), limits()).await;
    first.trust_too(&second);
    let (address, gone) = way_to(first.address).await;
    let mut options = publishing(&first, Router::new().route("/", get(async || "here"))).await;
    options.gateway = address;
    options.backups = vec![second.gateway()];
    // A pause, or a look for the first, would end the test.
    options.backoff.first = Duration::from_mins(1);
    options.look_back = Duration::from_mins(1);
    let mut publisher = Running::start(options);
    let _link = first.link().await;
    publisher.event(|event| matches!(event, Event::Registered { .. })).await;
    gone.cancel();
    let since = Instant::now();
    let link = second.link().await;
    let answer = soon(link.request(&name("demo"), request())).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "here");
    println!(
        "a visitor of the backup was answered {} ms after the first was gone; its heartbeat allows {} ms",
        since.elapsed().as_millis(),
        (BEAT * 2).as_millis()
    );
    // By the heartbeat's bound, and with no pause before the next.
    let lost = soon(publisher.events.recv()).await.unwrap();
    assert!(matches!(&lost, Event::Disconnected { reason } if reason.contains("heartbeat")), "{lost:?}");
    let next = soon(publisher.events.recv()).await.unwrap();
    let backup = second.gateway().to_string();
    assert!(matches!(&next, Event::Connecting { gateway } if *gateway == backup), "{next:?}");
    let up = soon(publisher.events.recv()).await.unwrap();
    assert!(is_connected(&up), "{up:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_gateway_goes_away_the_next_is_gone_to_at_once_and_what_is_under_way_goes_on() {
    let organisation = Organisation::new();
    let mut first = Door::open(organisation.gateway(1), Limits::default()).await;
    let mut second = Door::open(organisation.gateway(2), Limits::default()).await;
    first.trust_too(&second);
    let (router, go) = slow_app();
    let mut options = publishing(&first, router.route("/now", get(async || "here"))).await;
    options.backups = vec![second.gateway()];
    options.look_back = Duration::from_mins(10);
    let mut publisher = Running::start(options);
    let link = first.link().await;
    publisher.event(is_connected).await;
    let mut stream = soon(link.connect(&name("demo"))).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n").await.unwrap();
    // Longer than the test has.
    link.close(Farewell { code: FarewellCode::Draining, grace: Duration::from_mins(10) });
    let beside = second.link().await;
    let now = Request::get("http://demo/now").body(Empty::<Bytes>::new()).unwrap();
    let answer = soon(beside.request(&name("demo"), now)).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "here");
    go.notify_one();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("at last"), "{answer}");
    drop(stream);
    assert_eq!(soon(link.closed()).await, CloseReason::Closed(FarewellCode::Draining));
    assert!(beside.is_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_with_one_gateway_does_not_give_up_while_that_lets_a_stream_end() {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let (router, go) = slow_app();
    let mut options = publishing(&door, router).await;
    options.backoff.give_up_after = Some(2);
    let publisher = Running::start(options);
    let link = door.link().await;
    let mut stream = soon(link.connect(&name("demo"))).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n").await.unwrap();
    link.close(Farewell { code: FarewellCode::Draining, grace: Duration::from_mins(10) });
    for _ in 0..5 {
        door.registration().await.refuse(Refusal::new(RefusalCode::Draining, "about to stop")).await;
    }
    go.notify_one();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("at last"), "{answer}");
    drop(stream);
    soon(link.closed()).await;
    // Now its failures count.
    let error = soon(async {
        let mut ended = std::pin::pin!(publisher.ended());
        loop {
            tokio::select! {
                ended = &mut ended => return ended.unwrap_err(),
                Some(Ok(registration)) = door.arrivals.recv() => {
                    registration.refuse(Refusal::new(RefusalCode::Draining, "about to stop")).await;
                }
            }
        }
    });
    assert!(matches!(error.await, PublishError::GaveUp { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_several_gateways_of_which_none_serves_is_one_failure() {
    let door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let nowhere = || GatewayAddress::parse("localhost:1").unwrap();
    let mut options = publishing(&door, Router::new()).await;
    options.gateway = nowhere();
    options.backups = vec![nowhere(), nowhere()];
    options.backoff.give_up_after = Some(3);
    let mut publisher = Running::start(options);
    let mut tried = 0;
    let gave_up = publisher
        .event(|event| match event {
            Event::GaveUp { .. } => true,
            Event::Failed { .. } => {
                tried += 1;
                false
            }
            _ => false,
        })
        .await;
    assert!(matches!(gave_up, Event::GaveUp { failures: 3, .. }), "{gave_up:?}");
    assert_eq!(tried, 9);
}
