//! Apps that are not to be visited now: one that its publisher finds unwell, one that fails and is left alone.
//!
//! Promised: a visitor of such a tunnel hears so at once, with 503 and when to come again; both end by themselves, and both are
//! recorded, with why.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use governor::clock::Clock as _;
use governor::{Quota, RateLimiter};
use sallyport_audit::{Draft, Kind, Outcome};
use tracing::{info, warn};

use super::Edge;
use super::admission::note;
use super::page::Refusal;
use crate::clock;
use crate::session::{Admitted, AppHealth, Route, Turn, Went};
use crate::tunnel::{AppReport, Link, TunnelName};

/// Before a publisher is asked again, when its answer broke off.
const BREATH: Duration = Duration::from_secs(1);

/// Changes of its apps' health that one publisher may tell in a minute, all of them at once if it likes; each is a record. One that
/// tells more is heard late: its word must not fill the ledger.
const CHANGES: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// Somebody who was let through to an app, and owes word of how it went.
#[derive(Clone, Copy)]
#[must_use]
pub(super) struct Sent {
    began: Instant,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// The app answered, whatever it said.
    Answered,
    /// It did not, for this reason; a word.
    Failed(&'static str),
}

/// Whether a visitor would be sent to the app behind `route` now.
pub(super) fn look(route: &Route) -> Result<(), Refusal> {
    let name = &route.name;
    if !route.app.is_well() {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "app-unwell",
            format!("the publisher of `{name}` finds that its app is not well"),
            "try again in a few seconds; its owner sees why in the publisher's output",
        ));
    }
    route.breaker.wait(clock::monotonic()).map_or(Ok(()), |wait| Err(resting(route, wait)))
}

/// Sends a visitor to the app behind `route`, if it may be visited now.
pub(super) async fn admit(edge: &Edge, route: &Route) -> Result<Sent, Refusal> {
    look(route)?;
    match route.breaker.admit(clock::monotonic()) {
        Ok(Admitted { began, turn }) => {
            if let Some(turn) = turn {
                turned(edge, route, turn, None).await;
            }
            Ok(Sent { began })
        }
        Err(wait) => Err(resting(route, wait)),
    }
}

impl Sent {
    /// Tells how it went.
    pub(super) async fn went(self, edge: &Edge, route: &Route, how: How) {
        let (went, why) = match how {
            How::Answered => (Went::Answered, None),
            How::Failed(why) => (Went::Failed, Some(why)),
        };
        if let Some(turn) = route.breaker.tell(went, self.began, clock::monotonic()) {
            turned(edge, route, turn, why).await;
        }
    }
}

fn resting(route: &Route, wait: Duration) -> Refusal {
    let mut refusal = Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "app-resting",
        format!(
            "the app behind `{}` failed several times in a row, and is left alone for a while",
            route.name
        ),
        "try again after as long as Retry-After says; its owner should look at the app",
    );
    refusal.retry_after = wait.as_secs().saturating_add(1);
    refusal
}

/// Records that the breaker of an app turned. At most three records for each rest, so that nobody fills the ledger by it. No
/// person is named: who published it stands in the record of its registration.
async fn turned(edge: &Edge, route: &Route, turn: Turn, why: Option<&'static str>) {
    let word = turn.as_str();
    edge.metrics.turned(&route.name, word);
    let outcome = match turn {
        Turn::Opened(rest) => {
            warn!(tunnel = %route.name, why, ?rest, "the app fails, and is left alone for a while");
            Outcome::Failure
        }
        Turn::HalfOpened => {
            info!(tunnel = %route.name, "one request tries whether the app answers again");
            Outcome::Success
        }
        Turn::Closed => {
            info!(tunnel = %route.name, "the app answers again");
            Outcome::Success
        }
    };
    let mut draft = Draft::new(Kind::TunnelHealth, outcome)
        .object(format!("tunnel:{}", route.name))
        .detail("tunnel_id", route.id.as_str())
        .detail("breaker", word);
    if let Turn::Opened(rest) = turn {
        draft = draft.detail("rest_secs", rest.as_secs());
    }
    if let Some(why) = why {
        draft = draft.detail("reason", why);
    }
    note(edge, draft).await;
}

/// Tunnels of one publisher, by name: their registrations, and how their apps are.
pub(super) type Watched = BTreeMap<TunnelName, (String, Arc<AppHealth>)>;

/// Listens to what a publisher says of its apps, until its link is closed.
pub(super) async fn watch(edge: Edge, link: Link, who: String, apps: Watched) {
    let pace = RateLimiter::direct(Quota::per_minute(CHANGES));
    while link.is_open() {
        match link.health().await {
            Ok(Some(mut reports)) => {
                while let Some(report) = reports.next().await {
                    if hear(&edge, &who, &apps, report).await
                        && let Err(not_until) = pace.check()
                    {
                        tokio::time::sleep(not_until.wait_time_from(pace.clock().now())).await;
                    }
                }
            }
            Ok(None) => return,
            Err(_) if !link.is_open() => return,
            Err(_) => {}
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// Whether it was news.
async fn hear(edge: &Edge, who: &str, apps: &Watched, report: AppReport) -> bool {
    let Some((id, app)) = apps.get(&report.tunnel) else { return false };
    if !app.set_well(report.well) {
        return false;
    }
    info!(tunnel = %report.tunnel, well = report.well, why = report.why, "an app's health changed");
    let outcome = if report.well { Outcome::Success } else { Outcome::Failure };
    let draft = Draft::new(Kind::TunnelHealth, outcome)
        .subject(who)
        .object(format!("tunnel:{}", report.tunnel))
        .detail("tunnel_id", id.as_str())
        .detail("well", report.well);
    let draft = if report.why.is_empty() { draft } else { draft.detail("reason", report.why) };
    note(edge, draft).await;
    true
}
