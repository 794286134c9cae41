//! Many live sessions of every kind at once, each held by a peer in this process that notices when its last byte came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::{any, get};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use rustls::pki_types::ServerName;
use sallyport::tunnel::client::{TlsRoots, tls_config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::app::{App, RUNTIME};
use super::patience::PATIENCE;
use super::process::Process;
use super::world::World;

/// How often each live session sends something: the gateway cuts what moves.
const BEAT: Duration = Duration::from_millis(250);

/// How many TLS handshakes are under way at a time.
const DOORS: usize = 16;

/// The apps, and their publishers.
pub(crate) struct Stage {
    web: String,
    tcp: String,
    apps: (App, JoinHandle<()>),
    publishers: Vec<Process>,
}

/// What a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    WebSocket,
    Tcp,
}

/// Live sessions.
pub(crate) struct Crowd(Vec<(Kind, JoinHandle<Instant>)>);

impl Stage {
    /// Publishes two tunnels by these names.
    pub(crate) fn open(world: &World, web: &str, tcp: &str) -> Self {
        Self::open_as(world, "publisher", (web, tcp), &[])
    }

    /// The same by somebody else; `more` is what the publishers are told besides.
    pub(crate) fn open_as(world: &World, person: &str, (web, tcp): (&str, &str), more: &[&str]) -> Self {
        let app = web_app();
        let (address, echo) = echo();
        let publish = |name: &str, kind: &str, address: &SocketAddr| {
            world.publish_as(person, name, &[&[kind, &address.to_string()][..], more].concat())
        };
        let publishers = vec![publish(web, "http", &app.address()), publish(tcp, "tcp", &address)];
        Self { web: web.to_owned(), tcp: tcp.to_owned(), apps: (app, echo), publishers }
    }

    /// Publishes again what the gateway took away.
    pub(crate) fn publish_again(&mut self, world: &World) {
        for mut publisher in std::mem::take(&mut self.publishers) {
            publisher.kill();
        }
        *self = Self::open(world, &self.web.clone(), &self.tcp.clone());
    }

    /// Opens so many sessions of each kind with this token, and returns when all are live.
    pub(crate) fn fill(&self, world: &World, token: &str, each: usize) -> Crowd {
        let gate = Arc::new(Gate {
            config: tls_config(&TlsRoots::File(world.root())).unwrap(),
            port: world.port(),
            token: token.to_owned(),
            web: self.web.clone(),
            tcp: self.tcp.clone(),
            doors: Semaphore::new(DOORS),
        });
        let opening: Vec<_> = (0..each)
            .flat_map(|_| [Kind::Http, Kind::WebSocket, Kind::Tcp])
            .map(|kind| {
                let gate = Arc::clone(&gate);
                RUNTIME.spawn(async move { (kind, gate.enter(kind).await) })
            })
            .collect();
        RUNTIME.block_on(async {
            let mut crowd = Vec::new();
            for task in opening {
                crowd.push(tokio::time::timeout(PATIENCE * 3, task).await.expect("a session opens").unwrap());
            }
            Crowd(crowd)
        })
    }
}

impl Crowd {
    /// Waits until every session has ended, and says when each got its last byte.
    pub(crate) fn ended(self) -> Vec<(Kind, Instant)> {
        RUNTIME.block_on(async {
            let mut ends = Vec::new();
            for (kind, task) in self.0 {
                let end = tokio::time::timeout(PATIENCE, task).await;
                ends.push((kind, end.unwrap_or_else(|_| panic!("a {kind:?} session lives on")).unwrap()));
            }
            ends
        })
    }
}

struct Gate {
    config: Arc<rustls::ClientConfig>,
    port: u16,
    token: String,
    web: String,
    tcp: String,
    doors: Semaphore,
}

impl Gate {
    /// Opens one session, and leaves behind a task that ends with it.
    async fn enter(&self, kind: Kind) -> JoinHandle<Instant> {
        let _door = self.doors.acquire().await.unwrap();
        match kind {
            Kind::Http => {
                let host = format!("{}.localhost", self.web);
                let mut stream = self.tls(&host).await;
                let request = format!(
                    "GET /beat HTTP/1.1\r\nhost: {host}:{}\r\nsallyport-token: {}\r\n\r\n",
                    self.port, self.token
                );
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut head = Vec::new();
                while !head.windows(4).any(|window| window == b"beat") {
                    let mut piece = [0; 2048];
                    let length = stream.read(&mut piece).await.unwrap();
                    assert!(length > 0, "no answer: {}", String::from_utf8_lossy(&head));
                    head.extend_from_slice(&piece[..length]);
                }
                assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
                RUNTIME.spawn(async move {
                    let (mut piece, mut last) = ([0; 2048], Instant::now());
                    while let Ok(1..) = stream.read(&mut piece).await {
                        last = Instant::now();
                    }
                    last
                })
            }
            Kind::WebSocket => self.socket(&format!("{}.localhost", self.web), "/echo").await,
            Kind::Tcp => self.socket("localhost", &format!("/visit/{}", self.tcp)).await,
        }
    }

    async fn socket(&self, host: &str, path: &str) -> JoinHandle<Instant> {
        let mut request = format!("wss://{host}:{}{path}", self.port).into_client_request().unwrap();
        request.headers_mut().insert("sallyport-token", self.token.parse().unwrap());
        let (mut socket, _) = client_async(request, self.tls(host).await).await.unwrap();
        socket.send(Message::binary(Bytes::from_static(b"beat"))).await.unwrap();
        loop {
            let answer = socket.next().await.expect("an echo").unwrap();
            if answer.is_binary() {
                break;
            }
        }
        RUNTIME.spawn(async move {
            let (mut last, mut beat) = (Instant::now(), tokio::time::interval(BEAT));
            loop {
                tokio::select! {
                    message = socket.next() => match message {
                        Some(Ok(message)) if !message.is_close() => last = Instant::now(),
                        _ => return last,
                    },
                    _ = beat.tick() => {
                        if socket.send(Message::binary(Bytes::from_static(b"beat"))).await.is_err() {
                            return last;
                        }
                    }
                }
            }
        })
    }

    async fn tls(&self, host: &str) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp).await.unwrap()
    }
}

fn web_app() -> App {
    let beat = || async {
        let beats = stream::unfold((), |()| async {
            tokio::time::sleep(BEAT).await;
            Some((Ok::<_, std::io::Error>("beat\n"), ()))
        });
        Body::from_stream(stream::iter([Ok("beat\n")]).chain(beats))
    };
    let echo = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    App::web(Router::new().route("/beat", get(beat)).route("/echo", any(echo)))
}

fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let task = RUNTIME.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ended = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (address, task)
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.apps.1.abort();
    }
}
