//! One request to the service and its answer, bounded in time and memory.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_xml::FromXml;
use sallyport_audit::archive::MAX_ARCHIVED_BYTES;
use tokio::time::{Instant, timeout, timeout_at};

use super::fault::S3Fault;
use crate::gateway::server::Server;

/// The slowest transfer that is waited for, in bytes a second.
const SLOWEST: u64 = 64 << 10;

/// The longest answer that is not an object, in bytes: an error in XML.
const MAX_WORDS: u64 = 64 << 10;

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) object: &'a str,
    /// Sent and signed.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// Refusals that are answers.
    pub(super) expected: &'a [StatusCode],
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The error document of S3, as far as it is of use.
#[derive(FromXml)]
#[xml(rename = "Error")]
struct Words {
    #[xml(rename = "Code")]
    code: Option<String>,
}

impl Answer {
    /// The service's own word for why it refused, if it is one: it goes to logs and terminals.
    pub(super) fn code(&self) -> Option<String> {
        let words: Words = instant_xml::from_str(std::str::from_utf8(&self.body).ok()?).ok()?;
        let is_word = |code: &String| {
            (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        words.code.filter(is_word)
    }

    pub(super) fn names(&self, code: &str) -> bool {
        self.code().as_deref() == Some(code)
    }
}

/// How long is waited.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    silence: Duration,
}

impl Pace {
    pub(super) fn new(silence: Duration) -> Self {
        Self { silence }
    }

    /// For a transfer of so many bytes.
    fn whole(self, bytes: u64) -> Duration {
        self.silence.saturating_add(Duration::from_secs(bytes / SLOWEST))
    }
}

/// Asks once, on a connection of its own.
pub(super) async fn exchange(
    server: &Server,
    target: &str,
    ask: &Ask<'_>,
    pace: Pace,
) -> Result<Answer, S3Fault> {
    let mut request =
        Request::builder().method(&ask.method).uri(target).header(HOST, &server.url().authority);
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(ask.body.clone())).map_err(|_| S3Fault::Unsendable)?;

    let late = |_| S3Fault::Silent;
    let stream =
        timeout(pace.silence, server.connect()).await.map_err(late)?.map_err(S3Fault::Unreachable)?;
    let shaking = http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) =
        timeout(pace.silence, shaking).await.map_err(late)?.map_err(S3Fault::Broken)?;
    let asking = async {
        let sending = sender.send_request(request);
        let answered = timeout(pace.whole(ask.body.len() as u64), sending).await.map_err(late)?;
        let (head, body) = answered.map_err(S3Fault::Broken)?.into_parts();
        let most = if head.status.is_success() { MAX_ARCHIVED_BYTES } else { MAX_WORDS };
        let announced =
            head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let body = receive(body, most, announced.unwrap_or(most), pace).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    // Both in this future: whoever stops waiting drops the connection with it.
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => match ended {
            Ok(()) => asking.await,
            Err(error) => Err(S3Fault::Broken(error)),
        },
    }
}

/// Collects a body of at most `most` bytes. Each piece has its time, and so has the whole.
async fn receive(mut body: Incoming, most: u64, announced: u64, pace: Pace) -> Result<Vec<u8>, S3Fault> {
    if announced > most {
        return Err(S3Fault::TooLong);
    }
    let end = Instant::now() + pace.whole(announced);
    let mut bytes = Vec::new();
    loop {
        let next = end.min(Instant::now() + pace.silence);
        let Some(frame) = timeout_at(next, body.frame()).await.map_err(|_| S3Fault::Silent)? else {
            return Ok(bytes);
        };
        if let Ok(data) = frame.map_err(S3Fault::Broken)?.into_data() {
            if (bytes.len() + data.len()) as u64 > most {
                return Err(S3Fault::TooLong);
            }
            bytes.extend_from_slice(&data);
        }
    }
}
