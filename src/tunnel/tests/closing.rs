//! How the tunnel's WebSockets end, as something that ends TLS in between sees it: with code 1000 (RFC 6455 section 7.4.1), whoever
//! makes an end in order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::bed::{Door, Organisation, PATIENCE, Pair, Running, http, name, soon};
use super::lifecycle::{publishing, request};
use crate::tunnel::client::{
    Event, GatewayAddress, PublisherOptions, TlsRoots, Transport, VisitorOptions, tls_config, visit,
};
use crate::tunnel::{Farewell, FarewellCode, Limits};

/// Who spoke last on a WebSocket, and the code of its goodbye; `None` without one.
type Goodbye = (&'static str, Option<u16>);

/// Ends TLS before a door, and passes messages on.
struct Ingress {
    address: SocketAddr,
    root: NamedTempFile,
    goodbyes: mpsc::UnboundedReceiver<Goodbye>,
}

impl Ingress {
    async fn before(door: &Door) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let root = NamedTempFile::new().unwrap();
        std::fs::write(root.path(), certified.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, goodbyes) = mpsc::unbounded_channel();
        let (behind, tls) = (door.address, tls_config(&door.roots()).unwrap());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, tls, tell) = (acceptor.clone(), Arc::clone(&tls), tell.clone());
                tokio::spawn(async move {
                    let before = acceptor.accept(tcp).await.unwrap();
                    pass(before, (behind, tls), tell).await;
                });
            }
        });
        Self { address, root, goodbyes }
    }

    fn gateway(&self) -> GatewayAddress {
        GatewayAddress::parse(&format!("localhost:{}", self.address.port())).unwrap()
    }

    fn roots(&self) -> TlsRoots {
        TlsRoots::File(self.root.path().to_owned())
    }

    /// The goodbyes of both ends of the next WebSocket that ends, that of the gateway first.
    async fn goodbyes(&mut self) -> [Goodbye; 2] {
        let mut both = [soon(self.goodbyes.recv()).await.unwrap(), soon(self.goodbyes.recv()).await.unwrap()];
        both.sort_unstable_by_key(|(who, _)| *who != "gateway");
        both
    }
}

/// What a WebSocket was asked for with.
#[derive(Default)]
struct Asked {
    path: String,
    authorization: Option<http::HeaderValue>,
}

impl Callback for &mut Asked {
    fn on_request(self, request: &Request, answer: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut self.path);
        self.authorization = request.headers().get(http::header::AUTHORIZATION).cloned();
        Ok(answer)
    }
}

async fn pass(
    before: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (behind, tls): (SocketAddr, Arc<rustls::ClientConfig>),
    tell: mpsc::UnboundedSender<Goodbye>,
) {
    let mut asked = Asked::default();
    let client = accept_hdr_async(before, &mut asked).await.unwrap();
    let Asked { path, authorization } = asked;
    let tcp = TcpStream::connect(behind).await.unwrap();
    let mut config = rustls::ClientConfig::clone(&tls);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let mut request = format!("wss://localhost:{}{path}", behind.port()).into_client_request().unwrap();
    request.headers_mut().extend(authorization.map(|value| (http::header::AUTHORIZATION, value)));
    let (gateway, _) = client_async(request, stream).await.unwrap();
    let ((to_client, from_client), (to_gateway, from_gateway)) = (client.split(), gateway.split());
    tokio::spawn(forward("client", from_client, to_gateway, tell.clone()));
    forward("gateway", from_gateway, to_client, tell).await;
}

async fn forward<A, B>(
    who: &'static str,
    mut from: SplitStream<WebSocketStream<A>>,
    mut to: SplitSink<WebSocketStream<B>, Message>,
    tell: mpsc::UnboundedSender<Goodbye>,
) where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = from.next().await {
        let goodbye = match &message {
            Message::Close(frame) => Some(frame.as_ref().map(|frame| frame.code.into())),
            _ => None,
        };
        let _gone = to.send(message).await;
        if let Some(code) = goodbye {
            let _heard = tell.send((who, code));
            return;
        }
    }
    let _heard = tell.send((who, None));
    let _gone = to.close().await;
}

/// Behind an ingress: a door, and a publisher of an app that answers when it is told to.
async fn behind_ingress() -> (Door, Ingress, Running) {
    let door = Door::open_behind_ingress(Organisation::new().gateway(1), Limits::default()).await;
    let ingress = Ingress::before(&door).await;
    let options = publishing(&door, Router::new().route("/", get(async || "here"))).await;
    let publisher = Running::start(PublisherOptions {
        gateway: ingress.gateway(),
        roots: ingress.roots(),
        transports: vec![Transport::WebSocket],
        ..options
    });
    (door, ingress, publisher)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_ends_the_tunnels_websocket_with_code_1000_and_so_does_the_publisher() {
    let (mut door, mut ingress, _publisher) = behind_ingress().await;
    let link = door.link().await;
    assert_eq!(soon(link.request(&name("demo"), request())).await.unwrap().status(), 200);
    link.close(Farewell { code: FarewellCode::Draining, grace: PATIENCE });
    assert_eq!(ingress.goodbyes().await, [("gateway", Some(1000)), ("client", Some(1000))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_stops_ends_the_tunnels_websocket_with_code_1000_and_so_does_the_gateway() {
    let (mut door, mut ingress, mut publisher) = behind_ingress().await;
    let _link = door.link().await;
    // Before that it is still connecting, and would just go.
    publisher.event(|event| matches!(event, Event::Registered { .. })).await;
    publisher.stop.cancel();
    publisher.ended().await.unwrap();
    assert_eq!(ingress.goodbyes().await, [("gateway", Some(1000)), ("client", Some(1000))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_stream_that_ends_in_order_ends_with_code_1000_and_not_before_both_have_ended() {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let mut ingress = Ingress::before(&door).await;
    let options = VisitorOptions {
        gateway: ingress.gateway(),
        roots: ingress.roots(),
        token: Some(secrecy::SecretString::from("a token")),
        certificate: None,
        proxies: crate::tunnel::client::Proxies::none(),
        patience: PATIENCE,
    };
    let mut visitor = soon(visit(&options, &name("db"))).await.unwrap();
    let (_, _, mut gateways) = soon(door.visits.recv()).await.unwrap();
    visitor.write_all(b"all of it").await.unwrap();
    visitor.shutdown().await.unwrap();
    let mut heard = String::new();
    soon(gateways.read_to_string(&mut heard)).await.unwrap();
    gateways.write_all(b"thanks").await.unwrap();
    gateways.shutdown().await.unwrap();
    let mut answer = String::new();
    soon(visitor.read_to_string(&mut answer)).await.unwrap();
    assert_eq!((heard.as_str(), answer.as_str()), ("all of it", "thanks"));
    let told = soon(ingress.goodbyes.recv()).await.unwrap();
    assert_eq!(told, ("gateway", Some(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_tells_that_its_gateway_drains_while_what_is_under_way_goes_on() {
    let (go, waits) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (ready, begun) = (Arc::clone(&go), Arc::clone(&waits));
    let app = Router::new().route(
        "/",
        get(async move || {
            begun.notify_one();
            ready.notified().await;
            "at last"
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let mut pair = Pair::of(http("demo"), address).await;
    let link = pair.link.clone();
    let asking = tokio::spawn(async move { link.request(&name("demo"), request()).await.unwrap() });
    soon(waits.notified()).await;
    pair.link.close(Farewell { code: FarewellCode::Draining, grace: PATIENCE });
    pair.publisher.event(|event| *event == Event::Draining).await;
    go.notify_one();
    let answer = soon(asking).await.unwrap().into_body().collect();
    assert_eq!(soon(answer).await.unwrap().to_bytes(), "at last");
    let ended = pair.publisher.event(|event| matches!(event, Event::Disconnected { .. })).await;
    let Event::Disconnected { reason } = ended else { unreachable!() };
    assert_eq!(reason, "the gateway is going away for a while");
}
