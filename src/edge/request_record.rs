//! The record of one HTTP request: begun when it is sent on, written when its answer is over, however that came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use sallyport_audit::{AppendError, Draft, Kind, Outcome};

use super::Edge;
use super::lines::Place;
use super::route::Correlation;
use crate::clock;
use crate::session::{Busy, Copied, Counted, Passed, Route, Session};
use crate::traces::{Said, What};
use crate::tunnel::TunnelName;

/// Longest path that is recorded, in characters.
const PATH_BOUND: usize = 1024;

/// Counts what has passed of a request's body; clones count the same one.
#[derive(Clone, Default)]
pub(super) struct Uploaded(Arc<AtomicU64>);

impl Counted for Uploaded {
    fn passed(&mut self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn finished(&mut self) {}
}

/// Written on drop, so that an answer which breaks off is recorded too.
pub(super) struct RequestRecord {
    session: Session,
    pub(super) tunnel: TunnelName,
    edge: Edge,
    /// What the span is to say, where somebody hears of it: the correlation id and the method.
    traced: Option<(String, String)>,
    draft: Option<Draft>,
    began: Instant,
    /// `None`: the visitor left before there was an answer.
    status: Option<StatusCode>,
    /// Whether it is made again: then this was not its answer.
    repeated: bool,
    bytes: u64,
    uploaded: Uploaded,
    /// The app has this to do until the answer is over.
    _busy: Busy,
    /// And this place in front of it.
    place: Option<Place>,
    whole: bool,
}

impl RequestRecord {
    pub(super) fn begin(
        edge: &Edge,
        session: &Session,
        route: &Route,
        name: &TunnelName,
        request: &Request<Body>,
        correlation: &Correlation,
    ) -> Self {
        let path: String = request.uri().path().chars().take(PATH_BOUND).collect();
        let mut draft = Draft::new(Kind::HttpRequest, Outcome::Success)
            .subject(session.subject())
            .action(request.method().as_str())
            .object(format!("tunnel:{name}"))
            .session(session.id().to_string())
            .correlation(correlation.0.as_str())
            .path(path);
        if let Some(grant) = session.grant() {
            draft = draft.grant(grant);
        }
        Self {
            session: session.clone(),
            tunnel: name.clone(),
            edge: edge.clone(),
            traced: edge.traces.are_on().then(|| (correlation.0.clone(), request.method().to_string())),
            draft: Some(draft),
            began: clock::monotonic(),
            status: None,
            repeated: false,
            bytes: 0,
            uploaded: Uploaded::default(),
            _busy: route.app.busy(),
            place: None,
            whole: false,
        }
    }

    /// Writes the record before the answer is released, and returns when it is durable; what it gives back keeps the place until
    /// the answer is over. `length` is that of the answer, where it is known to be whole; else the closing record of the session
    /// counts its bytes.
    pub(super) async fn write_now(mut self, length: Option<u64>) -> Result<Self, AppendError> {
        let Some(draft) = self.draft.take() else { return Ok(self) };
        let draft = self.finished_draft(draft).detail("released", "after");
        let draft = match length {
            Some(length) => draft.detail("bytes_down", length).detail("whole", true),
            None => draft,
        };
        self.session.write_now(draft).await?;
        Ok(self)
    }

    fn finished_draft(&mut self, draft: Draft) -> Draft {
        let elapsed = clock::monotonic().saturating_duration_since(self.began);
        let draft = draft
            .detail("elapsed_us", u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
            .detail("bytes_up", self.uploaded.0.load(Ordering::Relaxed));
        if self.repeated {
            return draft.detail("retried", true);
        }
        if self.status.is_none() {
            self.edge.metrics.answered(&self.tunnel, None, elapsed);
        }
        if let Some((correlation, method)) = self.traced.take() {
            let said = Said {
                tunnel: self.tunnel.to_string(),
                what: What::Request { method, status: self.status.map(|status| status.as_u16()) },
                began: SystemTime::from(clock::now()) - elapsed,
                took: elapsed,
            };
            self.edge.traces.root(&correlation, said);
        }
        match self.status {
            Some(status) => draft.detail("status", status.as_u16()),
            None => draft.detail("cancelled", true),
        }
    }

    /// What counts the request's body for it.
    pub(super) fn uploaded(&self) -> Uploaded {
        self.uploaded.clone()
    }

    /// What it was upgraded to is over.
    pub(super) fn upgraded(mut self, passed: &Passed, copied: Copied) {
        self.uploaded.0.fetch_add(passed.up(), Ordering::Relaxed);
        self.bytes = passed.down();
        self.whole = copied == Copied::InOrder;
    }

    /// Keeps a place until the answer is over.
    pub(super) fn keep(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// It is made again, and counted then.
    pub(super) fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    /// The answer's status is known. It is counted now: how long the rest of it takes is the visitor's doing, and a WebSocket's
    /// whole life.
    pub(super) fn answered(mut self, status: StatusCode) -> Self {
        let elapsed = clock::monotonic().saturating_duration_since(self.began);
        self.edge.metrics.answered(&self.tunnel, Some(status), elapsed);
        self.status = Some(status);
        self
    }
}

impl Counted for RequestRecord {
    fn passed(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn finished(&mut self) {
        self.whole = true;
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let Some(draft) = self.draft.take() else { return };
        let draft = self.finished_draft(draft).detail("bytes_down", self.bytes).detail("whole", self.whole);
        self.session.write_behind(draft);
    }
}
