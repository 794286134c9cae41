//! `auditctl witness serve`: the same witness over HTTP (c2sp.org/tlog-witness).
//!
//! Anybody may ask; what is cosigned is decided by keys and proofs alone. So all that a stranger can use up
//! is bounded: connections, the length and time of a request, and the work on one at a time. TLS, where it is
//! wanted, is the business of a proxy in front: nothing here is secret.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sallyport_audit::note::PublicKey;
use sallyport_audit::witness::{MAX_REQUEST_BYTES, Refusal, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::state::Witness;
use crate::Failure;
use crate::verify::{Keys, keys};

/// The most connections at a time; a witness answers in milliseconds.
const MAX_CONNECTIONS: usize = 64;

/// How long the head or the body of a request may take.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long a connection may be kept.
const CONNECTION_TIME: Duration = Duration::from_mins(2);

#[derive(Args)]
pub(crate) struct Arguments {
    /// The witness's directory.
    witness: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// The address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let witness = Witness::open(&arguments.witness)?;
    let service = Arc::new(Service { witness, keys, one_at_a_time: Semaphore::new(1) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let listening = |error: io::Error| {
        Failure::not_evaluated(
            format!("cannot listen on {}: {error}", arguments.listen),
            "give an address of this machine that is free",
        )
    };
    runtime.map_err(listening)?.block_on(listen(arguments.listen, service)).map_err(listening)?;
    Ok(ExitCode::SUCCESS)
}

async fn listen(address: SocketAddr, service: Arc<Service>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    {
        let mut out = io::stdout().lock();
        writeln!(out, "listening on http://{}", listener.local_addr()?)?;
        out.flush()?;
    }
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, or gone again: the next one may fare better.
                Err(error) => {
                    eprintln!("note: a connection was not accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            connection(stream, service).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, service: Arc<Service>) {
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .serve_connection(TokioIo::new(stream), answer);
    // What goes wrong with a connection concerns its peer alone.
    let _ = timeout(CONNECTION_TIME, serving).await;
}

struct Service {
    witness: Witness,
    keys: Vec<PublicKey>,
    /// Signing is work; strangers wait for each other.
    one_at_a_time: Semaphore,
}

type Answer = Response<Full<Bytes>>;

impl Service {
    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Answer {
        if request.uri().path() != "/add-checkpoint" {
            return text(StatusCode::NOT_FOUND, "there is only /add-checkpoint\n".to_owned());
        }
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned());
        }
        let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
        let body = match timeout(REQUEST_TIME, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return refuse(&Refusal::Form("it is cut off, or too long")),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the request took too long\n".to_owned()),
        };
        let Ok(body) = std::str::from_utf8(&body) else { return refuse(&Refusal::Form("it is not UTF-8")) };
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(refusal) => return refuse(&refusal),
        };
        let Ok(_turn) = self.one_at_a_time.acquire().await else { return broken() };
        let service = Arc::clone(&self);
        let cosigned = tokio::task::spawn_blocking(move || service.witness.cosign(&request, &service.keys));
        match cosigned.await {
            Ok(Ok(Ok(cosigned))) => {
                let [classic, post_quantum] = cosigned.lines;
                text(StatusCode::OK, format!("{classic}\n{post_quantum}\n"))
            }
            Ok(Ok(Err(refusal))) => {
                eprintln!("note: not cosigned: {refusal}");
                refuse(&refusal)
            }
            Ok(Err(failure)) => {
                // Everything to our own log, nothing of it to a stranger.
                failure.report();
                broken()
            }
            Err(_) => broken(),
        }
    }
}

fn refuse(refusal: &Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal {
        Refusal::Conflict { size } | Refusal::TwoHistories { size } => {
            let mut answer = text(status, format!("{size}\n"));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"));
            answer
        }
        _ => text(status, format!("{refusal}\n")),
    }
}

fn broken() -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot answer\n".to_owned())
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
