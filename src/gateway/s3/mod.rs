//! An archive in a bucket of an S3-compatible service.
//!
//! Promised: an object that is there is never replaced (the service is asked to refuse it), each request is bounded in
//! time and memory and repeated a few times if that can help, no redirect is followed, and no credential stands in an
//! error. What was put there counts only once it was read back and compared, which [`sallyport_audit::archive::store`]
//! does for every archive.
//!
//! Trusted: the service keeps what it showed. Not trusted: that it does. Whoever may write to the bucket can destroy
//! copies, but not change them unseen: their digests lead to a record in the ledger.
//!
//! The signature is in the address (a presigned request), so addresses are secret for five minutes and never printed.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use rusty_s3::S3Action;
use sallyport_audit::Digest;
use sallyport_audit::archive::{Archive, ArchiveError};

use super::config::{Lock, S3Place};
use super::server::Server;
use crate::clock;
use crate::tunnel::client::DialError;

mod credentials;
mod exchange;
mod fault;

#[cfg(test)]
pub(in crate::gateway) mod service;
#[cfg(test)]
mod tests;

use exchange::{Answer, Ask, Pace, exchange};
pub use fault::S3Fault;

/// How long a signature is good: time for a request to arrive, and for clocks that differ.
const SIGNED_FOR: Duration = Duration::from_mins(5);

const CHECKSUM: &str = "x-amz-checksum-sha256";
const LOCK_MODE: &str = "x-amz-object-lock-mode";
const LOCK_UNTIL: &str = "x-amz-object-lock-retain-until-date";

/// Objects in a bucket.
pub(super) struct S3Archive {
    place: S3Place,
    server: Server,
    pauses: ExponentialBuilder,
}

impl S3Archive {
    /// The archive at `place`. Reads the roots, and asks nobody yet.
    pub(super) fn new(place: S3Place) -> Result<Self, DialError> {
        let server = Server::new(place.url.clone(), place.root_file.as_deref())?;
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(5);
        Ok(Self { place, server, pauses })
    }

    /// To read what may have been written long ago: a lock that has ended is no fault.
    pub(super) fn for_reading(mut place: S3Place) -> Result<Self, DialError> {
        place.lock = None;
        Self::new(place)
    }

    /// Asks until there is an answer that another try would not change.
    async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, S3Fault> {
        let mut pauses = self.pauses.build();
        loop {
            let fault = match self.ask_once(ask).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let Some(pause) = pauses.next().filter(|_| fault.may_pass()) else { return Err(fault) };
            tracing::warn!(archive = %self.place.location(), object = ask.object, %fault, ?pause, "the archive is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Answer, S3Fault> {
        let credentials = credentials::read(self.place.credentials_file.as_deref())?;
        let (bucket, credentials) = (&self.place.bucket, Some(&credentials));
        let target = match ask.method {
            Method::PUT => sign(bucket.put_object(credentials, ask.object), &ask.headers),
            _ => sign(bucket.get_object(credentials, ask.object), &ask.headers),
        };
        let answer = exchange(&self.server, &target, ask, Pace::new(self.place.timeout)).await?;
        if answer.status.is_success()
            || ask.expected.contains(&answer.status) && !answer.names("NoSuchBucket")
        {
            return Ok(answer);
        }
        Err(S3Fault::of(&answer, &self.place))
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> Result<bool, S3Fault> {
        let object = self.place.object(name);
        let headers = self.conditions(bytes)?;
        let body = Bytes::copy_from_slice(bytes);
        let ask = Ask {
            method: Method::PUT,
            object: &object,
            headers,
            body,
            expected: &[StatusCode::PRECONDITION_FAILED],
        };
        Ok(self.ask(&ask).await?.status != StatusCode::PRECONDITION_FAILED)
    }

    /// What the service is to hold to: nothing is replaced, the content is this one, and it is locked if that is asked.
    fn conditions(&self, bytes: &[u8]) -> Result<Vec<(&'static str, String)>, S3Fault> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let digest = STANDARD.encode(Digest::of(&[bytes]).as_bytes());
        let mut headers = vec![("if-none-match", "*".to_owned()), (CHECKSUM, digest)];
        if let Some(Lock { mode, days }) = self.place.lock {
            let until = clock::now().checked_add(SignedDuration::from_hours(24 * i64::from(days)));
            let until = until.map_err(|_| S3Fault::NotLocked)?;
            headers.push((LOCK_MODE, mode.as_str().to_owned()));
            headers.push((LOCK_UNTIL, format!("{until:.0}")));
        }
        Ok(headers)
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, S3Fault> {
        let object = self.place.object(name);
        let ask = Ask {
            method: Method::GET,
            object: &object,
            headers: Vec::new(),
            body: Bytes::new(),
            expected: &[StatusCode::NOT_FOUND],
        };
        let answer = self.ask(&ask).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        match self.place.lock {
            Some(lock) if !is_locked(&answer.headers, lock, clock::now()) => Err(S3Fault::NotLocked),
            _ => Ok(Some(answer.body)),
        }
    }

    fn error(&self, doing: &'static str, name: &str, fault: S3Fault) -> ArchiveError {
        ArchiveError::Service {
            doing,
            location: self.location(),
            name: name.to_owned(),
            hint: fault.hint(),
            source: Box::new(fault),
        }
    }
}

/// Whether an object is locked as it is to be, at least from now on: it may have been put there by an earlier run.
fn is_locked(headers: &HeaderMap, lock: Lock, now: Timestamp) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text(LOCK_MODE) == Some(lock.mode.as_str())
        && text(LOCK_UNTIL).and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|until| until > now)
}

/// Path and question of a request, signed with these headers; the host is the one that was configured.
fn sign<'a>(mut action: impl S3Action<'a>, headers: &[(&'static str, String)]) -> String {
    for (name, value) in headers {
        action.headers_mut().insert(*name, value.clone());
    }
    let url = action.sign(SIGNED_FOR);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// Waits for a request from within a call that may block.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

impl Archive for S3Archive {
    fn location(&self) -> String {
        self.place.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        if wait(self.write(name, bytes)).map_err(|fault| self.error("write", name, fault))? {
            return Ok(());
        }
        // Something is there: perhaps this, from an answer that was lost.
        if self.get(name)?.is_some_and(|found| found == bytes) {
            return Ok(());
        }
        Err(ArchiveError::Exists { location: self.location(), name: name.to_owned() })
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        wait(self.read(name)).map_err(|fault| self.error("read", name, fault))
    }
}
