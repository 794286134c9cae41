//! A real S3-compatible service on this host, for tests: s3s, which checks signatures, over a temporary folder. In front
//! of it a list of faults, one for each request that comes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::gateway::config::{S3Place, ServerUrl};

pub(in crate::gateway) const BUCKET: &str = "archive";
pub(in crate::gateway) const PREFIX: &str = "gateway/one";

/// What becomes of one request.
#[derive(Clone, Debug)]
pub(in crate::gateway) enum Fault {
    /// Nothing: it is served.
    Pass,
    /// Refused with a status and a word.
    Answer(u16, &'static str),
    /// Sent to another address.
    Redirect(String),
    /// Never answered.
    Silence,
    /// Done, but the connection ends before the answer.
    LostAnswer,
    /// Done, and then somebody changes the object.
    Tampering,
    /// Answered with an object that is far too long.
    Endless,
    /// The connection ends before anything is done.
    Down,
}

#[derive(Default)]
struct Seen {
    faults: VecDeque<Fault>,
    /// For every request that no fault is left for.
    always: Option<Fault>,
    requests: Vec<(Method, http::HeaderMap)>,
    answered_with: Vec<(&'static str, String)>,
}

/// The service.
pub(in crate::gateway) struct TestService {
    folder: tempfile::TempDir,
    seen: Arc<Mutex<Seen>>,
    address: String,
}

impl TestService {
    pub(in crate::gateway) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Over TLS, if there is an acceptor; its certificate is for `localhost`.
    pub(in crate::gateway) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("objects").join(BUCKET)).unwrap();
        std::fs::write(
            folder.path().join("credentials"),
            "access_key_id = \"AKTEST\"\nsecret_access_key = \"the-secret\"\n",
        )
        .unwrap();
        let service = {
            let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path().join("objects")).unwrap());
            builder.set_auth(SimpleAuth::from_single("AKTEST", "the-secret"));
            builder.build()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, objects) = (Arc::clone(&seen), folder.path().join("objects"));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, seen, objects) = (service.clone(), Arc::clone(&shared), objects.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, service, seen, objects).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(socket).await else { return };
                            serve(stream, service, seen, objects).await;
                        }
                    }
                });
            }
        });
        Self { folder, seen, address }
    }

    /// Where it is, for the settings.
    pub(in crate::gateway) fn endpoint(&self) -> &str {
        &self.address
    }

    pub(in crate::gateway) fn credentials_file(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// The place of an archive in it.
    pub(super) fn place(&self) -> S3Place {
        let endpoint = self.address.parse().unwrap();
        let bucket = rusty_s3::Bucket::new(endpoint, rusty_s3::UrlStyle::Path, BUCKET, "us-east-1").unwrap();
        S3Place {
            url: ServerUrl::parse(bucket.base_url().as_str()).unwrap(),
            bucket,
            prefix: PREFIX.to_owned(),
            credentials_file: Some(self.credentials_file()),
            root_file: None,
            timeout: std::time::Duration::from_secs(30),
            lock: None,
        }
    }

    /// The file in which the service keeps an object.
    pub(in crate::gateway) fn object(&self, name: &str) -> PathBuf {
        self.folder.path().join("objects").join(BUCKET).join(PREFIX).join(name)
    }

    /// What becomes of the next requests, in order.
    pub(in crate::gateway) fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.seen).faults = faults.into_iter().collect();
    }

    /// What becomes of every request behind those.
    pub(in crate::gateway) fn always(&self, fault: Option<Fault>) {
        locked(&self.seen).always = fault;
    }

    /// Headers that every answer has besides.
    pub(super) fn answer_with(&self, headers: Vec<(&'static str, String)>) {
        locked(&self.seen).answered_with = headers;
    }

    /// How many requests came.
    pub(in crate::gateway) fn requests(&self) -> usize {
        locked(&self.seen).requests.len()
    }

    /// The headers of the last request with this method.
    pub(super) fn last(&self, method: &Method) -> http::HeaderMap {
        let seen = locked(&self.seen);
        seen.requests.iter().rev().find(|(other, _)| other == method).unwrap().1.clone()
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S3Service,
    seen: Arc<Mutex<Seen>>,
    objects: PathBuf,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, seen, objects) = (service.clone(), Arc::clone(&seen), objects.clone());
        async move {
            let (fault, headers) = {
                let mut seen = locked(&seen);
                seen.requests.push((request.method().clone(), request.headers().clone()));
                let fault = seen.faults.pop_front().or_else(|| seen.always.clone());
                (fault.unwrap_or(Fault::Pass), seen.answered_with.clone())
            };
            let object = objects.join(request.uri().path().trim_start_matches('/'));
            match fault {
                Fault::Down => return Err("down"),
                Fault::Silence => std::future::pending::<()>().await,
                Fault::Answer(status, word) => {
                    let words = format!(
                        "<?xml version=\"1.0\"?><Error><Code>{word}</Code><Message>No</Message></Error>"
                    );
                    return Ok(response(status, words));
                }
                Fault::Redirect(to) => {
                    let mut answer = response(307, String::new());
                    answer.headers_mut().insert("location", to.parse().unwrap());
                    return Ok(answer);
                }
                Fault::Endless => {
                    let piece = || Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 4096])));
                    let body = StreamBody::new(futures_util::stream::repeat_with(piece));
                    let mut answer = Response::new(Body::http_body(body));
                    answer.headers_mut().insert("content-length", "99999999999".parse().unwrap());
                    return Ok(answer);
                }
                Fault::Pass | Fault::LostAnswer | Fault::Tampering => {}
            }
            let mut answer = done(service, request).await;
            match fault {
                Fault::LostAnswer => return Err("lost"),
                Fault::Tampering => std::fs::write(object, b"something else").unwrap(),
                _ => {}
            }
            for (name, value) in headers {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            Ok(answer)
        }
    });
    // It ends with an error whenever a fault ends it.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

async fn done(service: S3Service, request: Request<Incoming>) -> Response<Body> {
    match service.call(request.map(Body::from)).await {
        Ok(answer) => answer,
        Err(error) => response(500, format!("{error:?}")),
    }
}

fn response(status: u16, words: String) -> Response<Body> {
    let mut response = Response::new(Body::from(words));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
