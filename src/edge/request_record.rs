//! The record of one HTTP request: begun when it is sent on, written when its answer is over, however that came.

use std::time::Instant;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use sallyport_audit::{Draft, Kind, Outcome};

use super::route::Correlation;
use crate::clock;
use crate::session::{Counted, Session};
use crate::tunnel::TunnelName;

/// Longest path that is recorded, in characters.
const PATH_BOUND: usize = 1024;

/// Written on drop, so that an answer which breaks off is recorded too.
pub(super) struct RequestRecord {
    session: Session,
    draft: Option<Draft>,
    began: Instant,
    /// `None`: the visitor left before there was an answer.
    status: Option<StatusCode>,
    bytes: u64,
    whole: bool,
}

impl RequestRecord {
    pub(super) fn begin(
        session: &Session,
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
            draft: Some(draft),
            began: clock::monotonic(),
            status: None,
            bytes: 0,
            whole: false,
        }
    }

    /// The answer's status is known.
    pub(super) fn answered(mut self, status: StatusCode) -> Self {
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
        let elapsed = clock::monotonic().saturating_duration_since(self.began);
        let draft = match self.status {
            Some(status) => draft.detail("status", status.as_u16()),
            None => draft.detail("cancelled", true),
        };
        let draft = draft
            .detail("bytes_down", self.bytes)
            .detail("whole", self.whole)
            .detail("elapsed_us", u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        self.session.write_behind(draft);
    }
}
