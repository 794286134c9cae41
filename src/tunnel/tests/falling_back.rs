//! From transport to transport: what does not take the tunnel's protocol, or takes it and carries nothing.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{Door, Organisation, Running, name, soon};
use super::lifecycle::{is_connected, publishing, request};
use crate::tunnel::client::{Event, GatewayAddress, PublisherOptions, Transport};
use crate::tunnel::{ALPN, Limits, Link};

async fn options(door: &Door) -> PublisherOptions {
    publishing(door, Router::new().route("/", get(async || "here"))).await
}

async fn is_answered(link: &Link) {
    let answer = soon(link.request(&name("demo"), request())).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_connects_and_carries_nothing_gives_way_and_is_not_tried_first_the_next_time() {
    let identity = Organisation::new().gateway(1);
    let mut door = Door::open_behind_a_swallower(identity, Limits::default()).await;
    let mut options = options(&door).await;
    options.patience = Duration::from_secs(2);
    let mut publisher = Running::start(options);
    let link = door.link().await;
    let fallen = publisher.event(|event| matches!(event, Event::Fallback { .. })).await;
    let Event::Fallback { from, reason, .. } = &fallen else { unreachable!() };
    assert!(*from == "tls" && reason.contains("GatewayHello"), "{fallen:?}");
    let connected = publisher.event(is_connected).await;
    assert!(matches!(connected, Event::Connected { transport: "websocket", .. }), "{connected:?}");
    is_answered(&link).await;
    drop(link);
    let _link = door.link().await;
    let mut fell = false;
    publisher
        .event(|event| {
            fell |= matches!(event, Event::Fallback { .. });
            is_connected(event)
        })
        .await;
    assert!(!fell, "it was tried again at once");
}

/// What a middlebox does to whoever says that they speak the tunnel's protocol.
#[derive(Clone, Copy)]
enum Refuses {
    ByAnAlert,
    ByClosing,
}

/// The way to `door`, which lets pass what it knows.
async fn middlebox(door: SocketAddr, how: Refuses) -> GatewayAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = GatewayAddress::parse(&format!("localhost:{}", listener.local_addr().unwrap().port()));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Its length stands in the record that it comes in.
                let mut hello = vec![0; 5];
                client.read_exact(&mut hello).await.unwrap();
                let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
                hello.resize(5 + length, 0);
                client.read_exact(&mut hello[5..]).await.unwrap();
                if hello.windows(ALPN.len()).any(|part| part == ALPN) {
                    if matches!(how, Refuses::ByAnAlert) {
                        // Fatal: no_application_protocol (RFC 7301 section 3.2).
                        client.write_all(&[21, 3, 3, 0, 2, 2, 120]).await.unwrap();
                        let _closed = client.read_u8().await;
                    }
                    return;
                }
                let mut server = TcpStream::connect(door).await.unwrap();
                server.write_all(&hello).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_is_ended_for_a_protocol_that_nobody_knows_the_publisher_comes_by_websocket() {
    for how in [Refuses::ByAnAlert, Refuses::ByClosing] {
        let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
        let mut options = options(&door).await;
        options.gateway = middlebox(door.address, how).await;
        let mut publisher = Running::start(options);
        let link = door.link().await;
        // At once, as part of the same attempt.
        let told =
            publisher.event(|event| is_connected(event) || matches!(event, Event::Fallback { .. })).await;
        assert!(matches!(told, Event::Connected { transport: "websocket", .. }), "{told:?}");
        is_answered(&link).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_takes_no_tunnel_the_same_connection_goes_on_as_a_websocket_if_that_is_allowed() {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let mut publisher = Running::start(options(&door).await);
    is_answered(&door.link().await).await;
    let told = publisher.event(|event| is_connected(event) || matches!(event, Event::Fallback { .. })).await;
    assert!(matches!(told, Event::Connected { transport: "websocket", .. }), "{told:?}");
    let only = PublisherOptions { transports: vec![Transport::Tls], ..options(&door).await };
    let mut publisher = Running::start(only);
    let failed = publisher.event(|event| matches!(event, Event::Failed { .. })).await;
    let Event::Failed { reason, hint } = &failed else { unreachable!() };
    assert!(
        reason.contains("does not take a tunnel straight on TLS") && hint.contains("websocket"),
        "{failed:?}"
    );
}
