//! Calls of the admin API: one HTTPS request, one JSON answer.
//!
//! An order carries a key of its own (`Idempotency-Key`). When its answer is lost on the way it is given again under the same
//! key, and the gateway carries it out once. What never left this machine isn't repeated: its user is told at once.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;

use super::failure::{ExitCode, Failure, chain};
use super::profile::Profile;
use super::publish::{dial_failure, gateway, roots};
use crate::tunnel::client::{DialError, tls_config_showing};

/// An admin's list is long, but not longer than this.
const LARGEST_ANSWER: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_mins(1);
/// Time for a connection of TCP, over all addresses of the gateway.
const CONNECTING: Duration = Duration::from_secs(15);
/// Between two attempts of the same order: first, and at most.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why there is no answer.
struct Lost {
    failure: Failure,
    /// Whether the gateway may have got the request all the same.
    sent: bool,
}

impl Lost {
    fn before(failure: Failure) -> Self {
        Self { failure, sent: false }
    }

    fn after(failure: Failure) -> Self {
        Self { failure, sent: true }
    }
}

/// The most entries that the gateway gives at once.
pub(super) const PAGE: usize = 1000;

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// What is to be done, and the key by which the gateway knows it again.
struct Order {
    key: String,
    body: Vec<u8>,
}

/// A gateway to be called with one person's token.
pub(super) struct Api<'p> {
    profile: &'p Profile,
}

impl<'p> Api<'p> {
    pub(super) fn new(profile: &'p Profile) -> Self {
        Self { profile }
    }

    /// `GET path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(Method::GET, path, None)).await;
        let (status, bytes) = answer
            .map_err(|_| self.unreachable("no answer within a minute"))?
            .map_err(|lost| lost.failure)?;
        understood(path, status, &bytes)
    }

    /// All entries of the list at `path`, page after page.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        let (joint, mut cursor) = (if path.contains('?') { '&' } else { '?' }, String::new());
        loop {
            let page: Page<T> = self.get(&format!("{path}{joint}limit={PAGE}{cursor}")).await?;
            all.extend(page.items);
            match page.next {
                // What the gateway gave goes back as it is; it is base64url, which needs no escape.
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// `POST path` with a JSON body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Failure::new(ExitCode::Failed, format!("cannot write the request: {error}"), "")
        })?;
        let order = Order { key: uuid::Uuid::new_v4().to_string(), body };
        let (status, bytes) = self.once(path, &order).await?;
        understood(path, status, &bytes)
    }

    /// Gives an order until there is an answer to it, for a minute.
    async fn once(&self, path: &str, order: &Order) -> Result<(StatusCode, Bytes), Failure> {
        let until = tokio::time::Instant::now() + PATIENCE;
        let (mut pause, mut sent) = (PAUSE, false);
        loop {
            let attempt =
                tokio::time::timeout_at(until, self.exchange(Method::POST, path, Some(order))).await;
            let lost = match attempt {
                // An earlier attempt still runs; its answer will be this one's.
                Ok(Ok((status, bytes))) if sent && still_runs(status, &bytes) => refusal(status, &bytes),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(lost)) if !lost.sent && !sent => return Err(lost.failure),
                Ok(Err(lost)) => lost.failure,
                Err(_) => self.unreachable("no answer within a minute"),
            };
            sent = true;
            if tokio::time::Instant::now() + pause >= until {
                return Err(Failure {
                    hint: "whether it was carried out is not known: look first (`sallyport log`, or the list), then \
                           do it again"
                        .to_owned(),
                    ..lost
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// `GET path` into a file that is not there yet. Gives its length.
    pub(super) async fn download(&self, path: &str, to: &Path) -> Result<u64, Failure> {
        let local = |error: std::io::Error| {
            Failure::new(
                ExitCode::Failed,
                format!("cannot write {}: {error}", to.display()),
                "name a new file",
            )
        };
        let asking = tokio::time::timeout(PATIENCE, self.send(Method::GET, path, None)).await;
        let asked = asking.map_err(|_| self.unreachable("no answer within a minute"))?;
        let (response, driver) = asked.map_err(|lost| lost.failure)?;
        let (status, mut body) = (response.status(), response.into_body());
        if !status.is_success() {
            let bytes = self.whole(body).await?;
            return Err(refusal(status, &bytes));
        }
        let mut file = tokio::fs::File::create_new(to).await.map_err(local)?;
        let mut length = 0;
        loop {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            let frame = frame.map_err(|_| self.unreachable("the answer stood still for a minute"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| self.unreachable(&format!("the answer broke off: {error}")))?;
            if let Ok(data) = frame.into_data() {
                length += data.len() as u64;
                file.write_all(&data).await.map_err(local)?;
            }
        }
        file.sync_all().await.map_err(local)?;
        driver.abort();
        Ok(length)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        order: Option<&Order>,
    ) -> Result<(StatusCode, Bytes), Lost> {
        let (response, driver) = self.send(method, path, order).await?;
        let status = response.status();
        let bytes = self.whole(response.into_body()).await.map_err(Lost::after)?;
        driver.abort();
        Ok((status, bytes))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, Failure> {
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| self.unreachable(&format!("the answer broke off: {error}")))?;
        Ok(body.to_bytes())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        order: Option<&Order>,
    ) -> Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>), Lost> {
        let mut sender = self.connect().await.map_err(Lost::before)?;
        let request = self.request(method, path, order).map_err(Lost::before)?;
        let response = sender.0.send_request(request).await;
        let response = response.map_err(|error| Lost::after(self.unreachable(&chain(&error))))?;
        Ok((response, sender.1))
    }

    async fn connect(&self) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>), Failure> {
        let tls = tls_config_showing(&roots(self.profile), self.profile.certificate.as_ref())
            .map_err(|error| dial_failure(&error))?;
        let gateway = gateway(self.profile)?;
        let connecting = self.profile.proxies.connect(&gateway, CONNECTING).await;
        let tcp = connecting.map_err(|error| match error {
            DialError::Connect { source, .. } => self.unreachable(&source.to_string()),
            error => dial_failure(&error),
        })?;
        let name = ServerName::try_from(self.profile.host.clone())
            .map_err(|_| self.unreachable("the host name is not valid"))?;
        let stream = tokio_rustls::TlsConnector::from(tls)
            .connect(name, tcp)
            .await
            .map_err(|error| self.unreachable(&chain(&error)))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error.to_string()))?;
        Ok((sender, tokio::spawn(connection)))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        order: Option<&Order>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let token = self.profile.token_if_needed()?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.profile.authority());
        if let Some(token) = token {
            let mut bearer =
                HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                    Failure::new(
                        ExitCode::Usage,
                        "the token holds characters that no token has",
                        "check the token file",
                    )
                })?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some(order) = order {
            request = request.header("idempotency-key", format!("\"{}\"", order.key));
        }
        let body = order.map(|order| order.body.clone()).unwrap_or_default();
        request
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(ExitCode::Usage, format!("cannot ask for {path}: {error}"), ""))
    }

    fn unreachable(&self, why: &str) -> Failure {
        let hint = if why.contains("UnknownIssuer") {
            "the gateway's certificate is not signed by a root you trust: give --ca-file with the organisation's root"
        } else {
            "is the gateway running, and is the address right? `--gateway` or SALLYPORT_GATEWAY names it"
        };
        Failure::new(ExitCode::Unreachable, format!("cannot reach {}: {why}", self.profile.authority()), hint)
    }
}

fn understood<T: DeserializeOwned>(path: &str, status: StatusCode, bytes: &[u8]) -> Result<T, Failure> {
    if !status.is_success() {
        return Err(refusal(status, bytes));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("the gateway's answer to {path} is not understood: {error}"),
            "is this program as new as the gateway? compare `sallyport --version` on both sides",
        )
    })
}

/// Whether this is the answer that another attempt of the same order is under way.
fn still_runs(status: StatusCode, bytes: &[u8]) -> bool {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let code = problem.get("code").and_then(Value::as_str);
    status == StatusCode::CONFLICT && code == Some("idempotency-running")
}

/// The gateway answers errors as problem+json (RFC 9457), with our `hint` beside `detail`.
fn refusal(status: StatusCode, bytes: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let code = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ExitCode::Refused,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => ExitCode::Usage,
        _ => ExitCode::Failed,
    };
    let detail = text("detail");
    let message = if detail.is_empty() { format!("the gateway answered {status}") } else { detail };
    Failure::new(code, message, text("hint"))
}
