//! What happens at the gateway's door, and at the publisher, when the other side does not play by the rules.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use super::bed::{Organisation, TestIdentity, everything, http, name, soon};
use crate::tunnel::handshake::kem::DecapsulationKey;
use crate::tunnel::handshake::{ClientHandshake, Secret, Signing, SigningFailed, Suite, ToSign, Wishes};
use crate::tunnel::transport::{receive, send, websocket_config};
use crate::tunnel::{
    CloseReason, Farewell, FarewellCode, GatewayIdentity, HandshakeError, IdentityCertificate, Limits,
    LinkError, Refusal, RefusalCode, Registration, Tickets, accept,
};

pub(super) type Socket = WebSocketStream<DuplexStream>;
pub(super) type Accepting = JoinHandle<Result<Registration<Socket>, HandshakeError>>;

/// A gateway that accepts in the background, and the socket of whoever knocks.
pub(super) async fn door(identity: impl GatewayIdentity + 'static, limits: Limits) -> (Socket, Accepting) {
    let (left, right) = duplex(256 * 1024);
    let config = Some(websocket_config());
    let client = WebSocketStream::from_raw_socket(left, Role::Client, config).await;
    let server = WebSocketStream::from_raw_socket(right, Role::Server, config).await;
    let accepting =
        tokio::spawn(async move { accept(server, &identity, &Tickets::default(), None, limits).await });
    (client, accepting)
}

pub(super) fn gateway() -> TestIdentity {
    Organisation::new().gateway(1)
}

fn impatient() -> Limits {
    Limits {
        handshake_timeout: Duration::from_secs(2),
        heartbeat_interval: Duration::from_millis(500),
        heartbeat_timeout: Duration::from_secs(1),
        ..Limits::default()
    }
}

async fn refused(accepting: Accepting) -> HandshakeError {
    soon(accepting).await.unwrap().err().expect("it should have been refused")
}

fn hello() -> (ClientHandshake, Vec<u8>) {
    ClientHandshake::start(DecapsulationKey::generate().unwrap(), [0; 32], None, Suite::ALL).unwrap()
}

/// An honest client's handshake up to the credential.
pub(super) async fn knock(socket: &mut Socket) -> crate::tunnel::handshake::AwaitingAnswer {
    let (client, hello) = hello();
    send(socket, hello).await.unwrap();
    let presented = client.receive_gateway_hello(&soon(receive(socket)).await.unwrap()).unwrap();
    let secret = Secret::Token(SecretString::from("a token"));
    let wishes = Wishes { offers: vec![http("demo")], client_version: "test".to_owned(), resume: Vec::new() };
    let (awaiting, message) = presented.credential(&secret, &wishes).unwrap();
    send(socket, message).await.unwrap();
    awaiting
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away_in_time() {
    let (_client, accepting) = door(gateway(), impatient()).await;
    assert!(matches!(refused(accepting).await, HandshakeError::Timeout { message: "ClientHello", .. }));
}

#[tokio::test]
async fn a_client_that_stops_after_its_hello_is_sent_away_in_time() {
    let (mut client, accepting) = door(gateway(), impatient()).await;
    send(&mut client, hello().1).await.unwrap();
    assert!(matches!(refused(accepting).await, HandshakeError::Timeout { message: "Credential", .. }));
}

#[tokio::test]
async fn a_client_that_leaves_is_no_registration() {
    let (client, accepting) = door(gateway(), Limits::default()).await;
    drop(client);
    assert!(matches!(refused(accepting).await, HandshakeError::Socket(_)));
}

#[tokio::test]
async fn a_message_above_the_bound_is_refused_without_being_read_whole() {
    let (mut client, accepting) = door(gateway(), Limits::default()).await;
    let sending = tokio::spawn(async move { client.send(Message::binary(vec![1; 10 << 20])).await });
    assert!(matches!(refused(accepting).await, HandshakeError::Socket(_)));
    let _hung_up = soon(sending).await.unwrap();
}

#[tokio::test]
async fn a_malformed_hello_is_answered_with_a_code_and_nothing_else() {
    let (mut client, accepting) = door(gateway(), Limits::default()).await;
    send(&mut client, b"GET / HTTP/1.1".to_vec()).await.unwrap();
    assert!(matches!(refused(accepting).await, HandshakeError::Malformed { message: "ClientHello", .. }));
    let told = soon(receive(&mut client)).await.unwrap();
    let (handshake, _) = hello();
    let Err(HandshakeError::RefusedInClear(refusal)) = handshake.receive_gateway_hello(&told) else {
        panic!("not a refusal")
    };
    assert_eq!(refusal.code, RefusalCode::Malformed);
    assert!(soon(client.next()).await.is_none_or(|last| matches!(last, Ok(Message::Close(_)))));
}

/// A key provider that is down.
struct NoKeys(IdentityCertificate);

impl GatewayIdentity for NoKeys {
    fn certificate(&self) -> IdentityCertificate {
        self.0.clone()
    }

    fn sign(&self, _: ToSign) -> Signing<'_> {
        Box::pin(async { Err(SigningFailed("the token was pulled out of slot 7".into())) })
    }
}

#[tokio::test]
async fn a_gateway_without_its_keys_says_unavailable_and_keeps_the_reason_to_itself() {
    let (mut client, accepting) = door(NoKeys(gateway().certificate), Limits::default()).await;
    let (handshake, hello) = hello();
    send(&mut client, hello).await.unwrap();
    let told = soon(receive(&mut client)).await.unwrap();
    let Err(HandshakeError::RefusedInClear(refusal)) = handshake.receive_gateway_hello(&told) else {
        panic!("not a refusal")
    };
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(!refusal.reason.contains("slot"));
    assert!(refused(accepting).await.to_string().contains("slot 7"), "the gateway's own log has it");
}

/// A key provider that never answers.
struct SlowKeys(IdentityCertificate);

impl GatewayIdentity for SlowKeys {
    fn certificate(&self) -> IdentityCertificate {
        self.0.clone()
    }

    fn sign(&self, _: ToSign) -> Signing<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn keys_that_do_not_answer_do_not_hold_a_connection_for_ever() {
    let (mut client, accepting) = door(SlowKeys(gateway().certificate), impatient()).await;
    send(&mut client, hello().1).await.unwrap();
    let error = refused(accepting).await;
    assert!(matches!(error, HandshakeError::Signing(_)), "{error}");
}

#[tokio::test]
async fn a_refusal_reaches_the_client_under_seal() {
    let (mut client, accepting) = door(gateway(), Limits::default()).await;
    let awaiting = knock(&mut client).await;
    let registration = soon(accepting).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert!(registration.sealed());
    registration.refuse(Refusal::new(RefusalCode::BadToken, "the token is not of this gateway")).await;
    let answer = soon(receive(&mut client)).await.unwrap();
    let Err(HandshakeError::Refused(refusal)) = awaiting.receive_answer(&answer) else {
        panic!("not a refusal")
    };
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (RefusalCode::BadToken, "the token is not of this gateway")
    );
}

/// A publisher that finished its handshake and is silent from then on, though its connection stands.
async fn stalled() -> (Socket, crate::tunnel::Link) {
    let (mut client, accepting) = door(gateway(), impatient()).await;
    let _awaiting = knock(&mut client).await;
    let registration = soon(accepting).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    let acceptance = everything(&registration);
    let link = soon(registration.accept(acceptance)).await.unwrap();
    (client, link)
}

#[tokio::test]
async fn a_publisher_that_stalls_is_noticed_by_the_heartbeat() {
    let (_silent, link) = stalled().await;
    assert!(link.is_open());
    assert_eq!(soon(link.closed()).await, CloseReason::HeartbeatLost);
    assert!(!link.is_open());
    let late = http::Request::get("http://demo/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let error = soon(link.request(&name("demo"), late)).await.unwrap_err();
    assert!(matches!(error, LinkError::Closed(CloseReason::HeartbeatLost)), "{error}");
}

#[tokio::test]
async fn a_publisher_that_stalls_in_the_middle_of_a_request_fails_that_request() {
    let (_silent, link) = stalled().await;
    let request =
        http::Request::get("http://demo/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    assert!(soon(link.request(&name("demo"), request)).await.is_err());
    assert_eq!(soon(link.closed()).await, CloseReason::HeartbeatLost);
}

#[tokio::test]
async fn a_publisher_that_vanishes_closes_the_link() {
    let (client, link) = stalled().await;
    drop(client);
    assert!(matches!(soon(link.closed()).await, CloseReason::Broken(_) | CloseReason::PublisherLeft));
}

#[tokio::test]
async fn a_publisher_that_sends_garbage_instead_of_frames_closes_the_link() {
    let (mut client, link) = stalled().await;
    client.send(Message::binary(vec![7; 500])).await.unwrap();
    let CloseReason::Broken(why) = soon(link.closed()).await else { panic!("not broken") };
    assert!(why.contains("does not open"), "{why}");
}

#[tokio::test]
async fn closing_a_link_does_not_wait_for_a_publisher_that_stalls() {
    let (_silent, link) = stalled().await;
    link.close(Farewell { code: FarewellCode::Revoked, grace: Duration::ZERO });
    assert!(!link.is_open(), "no request passes from here on");
    assert!(matches!(
        soon(link.closed()).await,
        CloseReason::Closed(FarewellCode::Revoked) | CloseReason::HeartbeatLost
    ));
}
