//! One connection to a receiver that speaks HTTP/1.1, kept between requests.
//!
//! Promised: every answer is bounded in time and size; no redirect is followed; a connection that was closed between two
//! requests is made anew; the files of TLS are read at each connection.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinSet, time::timeout};

use super::{
    super::{
        options::SinkOptions,
        target::HttpTarget,
        transport::{self, Route},
    },
    LinkError, said,
};

/// Largest answer that is read: a `_bulk` answers some hundred octets an item.
const MOST_ANSWER: usize = 8 << 20;
/// Longest pause that a receiver may ask for.
const MOST_PAUSE: Duration = Duration::from_mins(10);

pub(super) fn route(target: &HttpTarget, options: &SinkOptions) -> Route {
    Route {
        address: target.url.address.clone(),
        tls: target.tls.clone().filter(|_| target.url.tls),
        connect_timeout: options.connect_timeout,
        write_timeout: options.write_timeout,
    }
}

pub(super) struct Client {
    route: Route,
    authority: String,
    path: String,
    pub(super) bounds: (usize, usize),
    open: Option<SendRequest<Full<Bytes>>>,
    /// Drives the connection; dropped with this, it ends it.
    driving: JoinSet<()>,
}

/// A header's name and value.
pub(super) type Header = (&'static str, HeaderValue);

/// What was answered.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) pause: Option<Duration>,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(target: &HttpTarget, options: &SinkOptions) -> Self {
        Self {
            route: route(target, options),
            authority: target.url.authority.clone(),
            path: target.url.path.clone(),
            bounds: (target.batch_records.max(1), target.batch_bytes),
            open: None,
            driving: JoinSet::new(),
        }
    }

    /// Whom it asks and under which path, as a signature has them: the host in lower case, and a port only where it is not the
    /// scheme's own (RFC 9421 section 2.2.3).
    pub(super) fn target(&self) -> (String, String) {
        let authority = self.authority.to_ascii_lowercase();
        let own = if self.route.tls.is_some() { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own).map_or(authority.clone(), str::to_owned);
        (authority, if self.path.is_empty() { "/".to_owned() } else { self.path.clone() })
    }

    /// Asks and waits for the whole answer. `under` is put behind the address's path.
    pub(super) async fn post(
        &mut self,
        under: &str,
        media_type: &'static str,
        headers: Vec<Header>,
        body: Vec<u8>,
    ) -> Result<Reply, LinkError> {
        let path = format!("{}{under}", self.path);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(if path.is_empty() { "/" } else { &path })
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, "sallyport")
            .header(header::CONTENT_TYPE, media_type);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let unfit = |error: http::Error| LinkError::Broken { what: error.to_string() };
        let request = request.body(Full::new(Bytes::from(body))).map_err(unfit)?;
        let waited = self.route.write_timeout;
        let mut kept = self.open.take();
        // A receiver that answered before it had read everything may never take the rest.
        let still_open = match &mut kept {
            Some(sender) => matches!(timeout(waited, sender.ready()).await, Ok(Ok(()))),
            None => false,
        };
        let mut sender = match kept.filter(|_| still_open) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let asking = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let (status, pause) = (response.status(), pause(response.headers()));
            let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
            let body = body.map_err(|error| LinkError::Broken { what: error.to_string() })?.to_bytes();
            Ok::<_, LinkError>(Reply { status, pause, body })
        };
        let reply = timeout(waited, asking).await.map_err(|_| LinkError::Late { waited })??;
        self.open = Some(sender);
        Ok(reply)
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        self.driving.abort_all();
        let connected = transport::connect(&self.route).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(connected.wire)).await.map_err(broken)?;
        self.driving.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a sink's receiver ended");
            }
        });
        while self.driving.try_join_next().is_some() {}
        Ok(sender)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits `map_err`")]
fn broken(error: hyper::Error) -> LinkError {
    LinkError::Broken { what: transport::in_full(&error) }
}

/// `Retry-After` in seconds; its other form, a date, would let a receiver's clock decide.
fn pause(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MOST_PAUSE))
}

impl Reply {
    /// What every protocol agrees on: success (`Ok(true)`), a refusal of the parcel (`Ok(false)`), and faults.
    pub(super) fn is_taken(&self) -> Result<bool, LinkError> {
        let status = self.status.as_u16();
        match status {
            200..=299 => Ok(true),
            300..=399 => Err(LinkError::Redirect { status }),
            401 | 403 | 407 => Err(LinkError::Unauthorized { status }),
            // The content: malformed, too large, or of a kind that it won't process.
            400 | 413 | 422 => Ok(false),
            408 | 429 | 502 | 503 | 504 => Err(LinkError::Busy {
                said: format!("status {status}, {}", said(&self.body)),
                pause: self.pause,
            }),
            _ => Err(LinkError::Status { status, said: said(&self.body) }),
        }
    }

    /// Why a parcel was refused.
    pub(super) fn reason(&self) -> String {
        format!("status {}, {}", self.status.as_u16(), said(&self.body))
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<serde_json::Value, LinkError> {
        serde_json::from_slice(&self.body).map_err(|error| LinkError::Answer { what: error.to_string() })
    }
}

/// A header value that is never shown.
pub(super) fn secret(text: &str) -> Result<HeaderValue, LinkError> {
    let unfit = |_| LinkError::Broken { what: "the credential does not fit into a header".to_owned() };
    let mut value = HeaderValue::from_str(text).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn plain(text: &str) -> Result<HeaderValue, LinkError> {
    let unfit = |_| LinkError::Broken { what: format!("{text:?} does not fit into a header") };
    HeaderValue::from_str(text).map_err(unfit)
}
