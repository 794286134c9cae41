//! Apps behind tunnels, small and in this process, where the built-in demo app does not do.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{Context, SHA256, digest};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::AppendHeaders;
use axum::routing::{any, get, put};
use futures_util::{StreamExt as _, stream};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Runs the apps and the hand-made peers of all tests.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// An app that ends with this value.
pub(crate) struct App {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl App {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn on<F>(serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: RUNTIME.spawn(serve(listener)) }
    }

    /// These paths.
    pub(crate) fn web(router: Router) -> Self {
        Self::on(|listener| async move { axum::serve(listener, router).await.unwrap() })
    }

    /// The same by HTTP/2, on whose connections as many requests as anybody likes may be under way.
    pub(crate) fn web_by_http2(router: Router) -> Self {
        Self::web_by_http2_that_takes(10_000, router)
    }

    /// The same, with this many on each.
    pub(crate) fn web_by_http2_that_takes(most: u32, router: Router) -> Self {
        Self::each_connection(move |socket| {
            let service = TowerToHyperService::new(router.clone());
            async move {
                let mut http2 = http2::Builder::new(TokioExecutor::new());
                http2.max_concurrent_streams(most);
                let _ended = http2.serve_connection(TokioIo::new(socket), service).await;
            }
        })
    }

    fn each_connection<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(|listener| async move {
            // Ended together with the app, as the connections of a real process are.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket));
            }
        })
    }

    /// `PUT /hash` answers the length and the SHA-256 of what it got; `PUT /hold` reads nothing of it. Little fits in between.
    pub(crate) fn for_uploads() -> Self {
        let router = Router::new().route("/hash", put(hash_body)).route("/hold", put(hold_body));
        Self::on(|listener| {
            hold_little(&listener);
            async move { axum::serve(listener, router).await.unwrap() }
        })
    }

    /// `PUT /hash` answers the length and the SHA-256 of what it got; `GET /block` sends `block`; `GET /echo` is a
    /// WebSocket that sends back what it gets.
    pub(crate) fn for_transfers(block: Bytes) -> Self {
        let send = move || {
            let pieces: Vec<Bytes> = block.chunks(64 * 1024).map(|piece| block.slice_ref(piece)).collect();
            async move { Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>))) }
        };
        Self::web(
            Router::new()
                .route("/hash", put(hash_body))
                .route("/block", get(send))
                .route("/echo", any(echo_socket)),
        )
    }

    /// `/answer/STATUS` answers with that status, two cookies, what was asked for and no more.
    pub(crate) fn for_answers() -> Self {
        let answer = |Path(status): Path<u16>, request: Request| async move {
            let asked = format!("{} {}", request.method(), request.uri());
            let headers = AppendHeaders([
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("x-app", "kept"),
                ("location", "/next"),
            ]);
            (StatusCode::from_u16(status).unwrap(), headers, asked)
        };
        Self::web(Router::new().route("/answer/{status}", any(answer)))
    }

    /// `GET /events` sends what `events` sends, one piece at a time.
    pub(crate) fn of_events(events: mpsc::Receiver<String>) -> Self {
        let events = Arc::new(Mutex::new(events));
        let send = move || {
            let events = Arc::clone(&events);
            async move {
                let pieces = stream::unfold(events, |events| async move {
                    let piece = events.lock().await.recv().await?;
                    Some((Ok::<_, std::io::Error>(piece), events))
                });
                ([("content-type", "text/event-stream")], Body::from_stream(pieces))
            }
        };
        Self::web(Router::new().route("/events", get(send)))
    }

    /// Accepts and never answers.
    pub(crate) fn that_stalls() -> Self {
        Self::each_connection(|mut socket| async move {
            let _ended = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        })
    }

    /// Breaks every connection off after it has read something.
    pub(crate) fn that_breaks_off() -> Self {
        Self::each_connection(|mut socket| async move {
            let _read = socket.read(&mut [0; 64]).await;
        })
    }

    /// Takes all until the visitor's side ends, and answers only then: the SHA-256 of what came, then `block`. Without
    /// half-close kept on the whole way it would never answer.
    pub(crate) fn that_answers_at_the_end(block: Bytes) -> Self {
        Self::each_connection(move |mut socket| {
            let block = block.clone();
            async move {
                let Ok(hash) = hash_stream(&mut socket).await else { return };
                if socket.write_all(&hash).await.is_ok() && socket.write_all(&block).await.is_ok() {
                    let _done = socket.shutdown().await;
                }
            }
        })
    }

    /// Reads the head of a request, and is told what comes of it by `answer`; then it reads whatever else comes, to its end.
    pub(crate) fn that_answers_heads(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> Self {
        Self::each_connection(move |socket| {
            let answer = answer.clone();
            async move {
                let mut socket = BufReader::new(socket);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if socket.read_line(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                if socket.write_all(answer(&head).as_bytes()).await.is_ok() {
                    let _ended = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
                }
            }
        })
    }

    /// These paths over TLS, with a certificate for `host` that is written to `certificate`; in HTTP/1.1 or HTTP/2, as is agreed on.
    pub(crate) fn web_by_tls(router: Router, host: &str, certificate: &std::path::Path) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        std::fs::write(certificate, certified.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        Self::each_connection(move |socket| {
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        })
    }

    /// Answers every connection with these bytes once it has read something, and ends it.
    pub(crate) fn that_answers_raw(answer: &'static str) -> Self {
        Self::each_connection(move |mut socket| async move {
            let _read = socket.read(&mut [0; 4096]).await;
            if socket.write_all(answer.as_bytes()).await.is_ok() {
                let _done = socket.shutdown().await;
            }
        })
    }

    /// Says the same each time it has read something, and keeps the connection.
    pub(crate) fn that_says_always(answer: &'static str) -> Self {
        Self::each_connection(move |mut socket| async move {
            while socket.read(&mut [0; 4096]).await.unwrap_or(0) > 0 {
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Answers every request by switching to `protocol`, in which it sends back what comes.
    pub(crate) fn that_switches_to(protocol: &'static str) -> Self {
        Self::each_connection(move |mut socket| async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            );
            if socket.write_all(answer.as_bytes()).await.is_ok() {
                let (mut read, mut write) = socket.split();
                let _ended = tokio::io::copy(&mut read, &mut write).await;
            }
        })
    }

    /// Sends back what comes, unless the first byte is an `h`: then it holds the connection and reads no more.
    pub(crate) fn that_echoes_or_holds() -> Self {
        Self::each_connection(|mut socket| async move {
            let mut first = [0];
            if socket.read_exact(&mut first).await.is_err() || first == *b"h" {
                std::future::pending::<()>().await;
            }
            let (mut read, mut write) = socket.split();
            let _ended = tokio::io::copy(&mut read, &mut write).await;
        })
    }

    /// Sends back what comes.
    pub(crate) fn that_echoes() -> Self {
        Self::each_connection(|mut socket| async move {
            let (mut read, mut write) = socket.split();
            let _ended = tokio::io::copy(&mut read, &mut write).await;
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn hash_body(body: Body) -> String {
    let mut context = Context::new(&SHA256);
    let mut length = 0;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return "broken off".to_owned() };
        length += piece.len();
        context.update(&piece);
    }
    format!("{length} {}", hex::encode(context.finish()))
}

/// The kernel keeps more for a connection whose segments are large, as on loopback: megabytes before a sender notices anything.
fn hold_little(listener: &TcpListener) {
    socket2::SockRef::from(listener).set_tcp_mss(1400).unwrap();
}

async fn hold_body(body: Body) {
    std::future::pending::<()>().await;
    drop(body);
}

async fn echo_socket(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err()
            {
                return;
            }
        }
    })
}

/// SHA-256 of all that comes until the end.
pub(crate) async fn hash_stream(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(context.finish().as_ref().try_into().unwrap()),
            length => context.update(&buffer[..length]),
        }
    }
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

/// Random bytes: no compression or repetition on the way can hide a fault.
pub(crate) fn random(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes.into()
}

/// Sends `block` and ends that direction, then reads the answer of [`App::that_answers_at_the_end`] to its end.
pub(crate) async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    block: &[u8],
) -> ([u8; 32], Vec<u8>) {
    stream.write_all(block).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut hash = [0; 32];
    stream.read_exact(&mut hash).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    (hash, rest)
}
