//! What the tests stand on: an organisation with a root and a gateway identity in memory, and a real gateway door
//! (axum over rustls on loopback) that hands each registration to the test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use axum::Router;
use axum::extract::{Extension, Path, WebSocketUpgrade};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::tunnel::client::{
    Backoff, Event, GatewayAddress, KnownGateways, Publication, PublishError, Publisher, PublisherOptions,
    SUCCESSION_PATH, Target, TlsRoots,
};
use crate::tunnel::handshake::{
    CertificateBody, IdentityCertificate, IdentitySignatures, RootKey, Signing, ToSign,
};
use crate::tunnel::transport::MessageStream;
use crate::tunnel::{
    ALPN, Acceptance, AcceptedTunnel, Answer, GatewayIdentity, HandshakeError, Limits, Link, LinkError,
    Offer, Registration, Secret, Tickets, TunnelId, TunnelKind, TunnelName, TunnelStream, accept,
    channel_binding, websocket_limits,
};

/// Long enough for a loaded machine; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have happened by now")
}

pub(crate) fn name(text: &str) -> TunnelName {
    TunnelName::parse(text).unwrap()
}

pub(crate) fn http(text: &str) -> Offer {
    Offer { name: name(text), kind: TunnelKind::Http, join: false }
}

pub(crate) fn tcp(text: &str) -> Offer {
    Offer { name: name(text), kind: TunnelKind::Tcp { port: None }, join: false }
}

/// An organisation's root in memory.
pub(crate) struct Organisation {
    key: EcdsaKeyPair,
}

impl Organisation {
    pub(crate) fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(crate) fn root(&self) -> RootKey {
        RootKey::from_point(self.key.public_key().as_ref().try_into().unwrap())
    }

    /// A gateway with keys from `seed`, certified from second 1000 to second 4 000 000 000.
    pub(crate) fn gateway(&self, seed: u8) -> TestIdentity {
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let ml_dsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &[seed; 32]).unwrap();
        let body = CertificateBody {
            organisation: "Example Ltd".to_owned(),
            gateway: "localhost".to_owned(),
            ed25519: ed25519.public_key().as_ref().try_into().unwrap(),
            ml_dsa: Box::new(ml_dsa.public_key().as_ref().try_into().unwrap()),
            not_before: 1000,
            not_after: 4_000_000_000,
        };
        let signature = self.key.sign(&SystemRandom::new(), &body.to_be_signed().unwrap()).unwrap();
        let certificate = IdentityCertificate::new(body, signature.as_ref().try_into().unwrap()).unwrap();
        TestIdentity { ed25519, ml_dsa, certificate }
    }
}

/// A gateway's identity keys in memory.
pub(crate) struct TestIdentity {
    ed25519: Ed25519KeyPair,
    ml_dsa: PqdsaKeyPair,
    pub(crate) certificate: IdentityCertificate,
}

impl TestIdentity {
    pub(crate) fn sign_now(&self, to_sign: &ToSign) -> IdentitySignatures {
        let mut ml_dsa = Box::new([0; 3309]);
        self.ml_dsa.sign(&to_sign.ml_dsa(), ml_dsa.as_mut_slice()).unwrap();
        let ed25519 = self.ed25519.sign(&to_sign.ed25519()).as_ref().try_into().unwrap();
        IdentitySignatures { ed25519, ml_dsa }
    }
}

impl GatewayIdentity for TestIdentity {
    fn certificate(&self) -> IdentityCertificate {
        self.certificate.clone()
    }

    fn sign(&self, to_sign: ToSign) -> Signing<'_> {
        Box::pin(async move { Ok(self.sign_now(&to_sign)) })
    }
}

/// What arrives at the gateway's door.
pub(crate) type Arrival = Result<Registration, HandshakeError>;
/// A visitor's stream that arrived at the gateway, with the tunnel's name and the token.
pub(crate) type Visit = (String, String, MessageStream<axum::extract::ws::WebSocket>);

/// A gateway's door on loopback.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) visits: mpsc::Receiver<Visit>,
    task: JoinHandle<()>,
    ca: PathBuf,
    directory: TempDir,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct DoorState {
    identity: Arc<TestIdentity>,
    tickets: Tickets,
    limits: Limits,
    arrivals: mpsc::Sender<Arrival>,
    visits: mpsc::Sender<Visit>,
    /// An ingress that ends TLS knows another exporter than the client's, or none.
    behind_ingress: bool,
}

impl Door {
    pub(crate) async fn open(identity: TestIdentity, limits: Limits) -> Self {
        Self::open_as(identity, limits, false, &[]).await
    }

    pub(crate) async fn open_behind_ingress(identity: TestIdentity, limits: Limits) -> Self {
        Self::open_as(identity, limits, true, &[]).await
    }

    /// One behind something that takes the tunnel's protocol on TLS, and swallows what is said in it.
    pub(crate) async fn open_behind_a_swallower(identity: TestIdentity, limits: Limits) -> Self {
        Self::open_as(identity, limits, false, &[ALPN]).await
    }

    async fn open_as(
        identity: TestIdentity,
        limits: Limits,
        behind_ingress: bool,
        swallowed: &[&[u8]],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, certified.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let protocols = swallowed.iter().copied().chain([b"http/1.1".as_slice()]);
        tls.alpn_protocols = protocols.map(<[u8]>::to_vec).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrivals_in, arrivals) = mpsc::channel(16);
        let (visits_in, visits) = mpsc::channel(16);
        let state = DoorState {
            identity: Arc::new(identity),
            tickets: Tickets::default(),
            limits,
            arrivals: arrivals_in,
            visits: visits_in,
            behind_ingress,
        };
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), state));
        Self { address, arrivals, visits, task, ca, directory }
    }

    pub(crate) fn gateway(&self) -> GatewayAddress {
        GatewayAddress::parse(&format!("localhost:{}", self.address.port())).unwrap()
    }

    pub(crate) fn roots(&self) -> TlsRoots {
        TlsRoots::File(self.ca.clone())
    }

    /// Has whoever trusts this door trust the other one, too.
    pub(crate) fn trust_too(&self, other: &Self) {
        let both = [&self.ca, &other.ca].map(|ca| std::fs::read_to_string(ca).unwrap());
        std::fs::write(&self.ca, both.concat()).unwrap();
    }

    pub(crate) fn known_gateways(&self) -> PathBuf {
        self.directory.path().join("known_gateways")
    }

    pub(crate) fn options(&self, publications: Vec<Publication>) -> PublisherOptions {
        let known = KnownGateways::new(self.known_gateways());
        let token = Secret::Token(SecretString::from("a token"));
        PublisherOptions {
            roots: self.roots(),
            tells_requests: true,
            backoff: Backoff {
                first: Duration::from_millis(20),
                settled_after: Duration::ZERO,
                ..Backoff::default()
            },
            ..PublisherOptions::new(self.gateway(), token, known, publications)
        }
    }

    /// The next arrival, which must have passed the handshake.
    pub(crate) async fn registration(&mut self) -> Registration {
        match soon(self.arrivals.recv()).await.unwrap() {
            Ok(registration) => registration,
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    /// Accepts the next arrival with all that it wants.
    pub(crate) async fn link(&mut self) -> Link {
        let registration = self.registration().await;
        let acceptance = everything(&registration);
        soon(registration.accept(acceptance)).await.unwrap()
    }
}

pub(crate) fn everything<M: crate::tunnel::transport::MessageSocket>(
    registration: &Registration<M>,
) -> Acceptance {
    let names: Vec<&str> = registration.offers().iter().map(|offer| offer.name.as_str()).collect();
    Acceptance { tunnels: everything_named(&names), resume: b"ticket".to_vec() }
}

pub(crate) fn everything_named(names: &[&str]) -> Vec<AcceptedTunnel> {
    names
        .iter()
        .map(|one| AcceptedTunnel {
            id: TunnelId::new(),
            name: name(one),
            url: format!("https://{one}.localhost"),
        })
        .collect()
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: DoorState) {
    let router = Router::new()
        .route("/connect", any(connect))
        .route(SUCCESSION_PATH, get(async || ""))
        .route("/visit/{name}", any(visit))
        .layer(Extension(state));
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            tcp.set_nodelay(true).unwrap();
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let exporter = channel_binding(tls.get_ref().1);
            if tls.get_ref().1.alpn_protocol() == Some(ALPN) {
                let (mut swallowed, mut nothing) = (tls, tokio::io::sink());
                let _ended = tokio::io::copy(&mut swallowed, &mut nothing).await;
                return;
            }
            let service = TowerToHyperService::new(router.layer(Extension(exporter)));
            let _ended = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(tls), service)
                .await;
        });
    }
}

async fn connect(
    Extension(state): Extension<DoorState>,
    Extension(exporter): Extension<Option<[u8; 32]>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    websocket_limits(upgrade).on_upgrade(async move |socket| {
        let exporter = exporter.filter(|_| !state.behind_ingress);
        let arrival =
            accept(socket, state.identity.as_ref(), &state.tickets, exporter, state.limits.clone()).await;
        let _listening = state.arrivals.send(arrival).await;
    })
}

async fn visit(
    Extension(state): Extension<DoorState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let bearer = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    if bearer == "no leave" {
        return (axum::http::StatusCode::FORBIDDEN, "ask with `sallyport request`").into_response();
    }
    websocket_limits(upgrade).on_upgrade(async move |socket| {
        let _listening = state.visits.send((name, bearer, MessageStream::plain(socket))).await;
    })
}

/// A publisher at work.
pub(crate) struct Running {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), PublishError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub(crate) fn start(options: PublisherOptions) -> Self {
        let publisher = Publisher::new(options).unwrap();
        let (sender, events) = mpsc::channel(1024);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { Box::pin(publisher.run(sender, stopped)).await });
        Self { events, stop, task }
    }

    /// The next event that `wanted` likes; the others are passed over.
    pub(crate) async fn event(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        soon(async {
            loop {
                let event = self.events.recv().await.expect("the publisher ended first");
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    pub(crate) async fn ended(mut self) -> Result<(), PublishError> {
        soon(&mut self.task).await.unwrap()
    }
}

pub(crate) fn publication(offer: Offer, target: SocketAddr) -> Publication {
    Publication { offer, target: Target::parse(&target.to_string()).unwrap(), health: None }
}

/// A door, a publisher of one service and the link between them.
pub(crate) struct Pair {
    pub(crate) link: Link,
    pub(crate) publisher: Running,
    _door: Door,
}

impl Pair {
    pub(crate) async fn of(offer: Offer, target: SocketAddr) -> Self {
        Self::at(Door::open(Organisation::new().gateway(1), Limits::default()).await, offer, target).await
    }

    pub(crate) async fn at(mut door: Door, offer: Offer, target: SocketAddr) -> Self {
        let publisher = Running::start(door.options(vec![publication(offer, target)]));
        let link = door.link().await;
        Self { link, publisher, _door: door }
    }
}

/// For whoever asks, where that makes no difference.
impl Link {
    pub(crate) async fn request<B>(
        &self,
        tunnel: &TunnelName,
        request: Request<B>,
    ) -> Result<http::Response<Answer>, LinkError>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.request_of("somebody", tunnel, request).await
    }

    pub(crate) async fn connect(&self, tunnel: &TunnelName) -> Result<TunnelStream, LinkError> {
        self.connect_of("somebody", tunnel, None, None).await
    }
}
