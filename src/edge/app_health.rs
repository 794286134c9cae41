//! Apps that are not to be visited now: one that its publisher finds unwell, one that fails and is left alone.
//!
//! Promised: a visitor of such a tunnel hears so at once, with 503 and when to come again; both end by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use sallyport_audit::{Draft, Kind, Outcome};
use tracing::{info, warn};

use super::Edge;
use super::admission::note;
use super::page::Refusal;
use crate::clock;
use crate::session::{AppHealth, Route, Turn, Went};
use crate::tunnel::{AppReport, Link, TunnelName};

/// Before a publisher is asked again, when its answer broke off.
const BREATH: Duration = Duration::from_secs(1);

/// Whether a visitor may be sent to the app behind `route` now.
pub(super) fn admit(route: &Route) -> Result<(), Refusal> {
    let name = &route.name;
    if !route.app.is_well() {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "app-unwell",
            format!("the publisher of `{name}` finds that its app is not well"),
            "try again in a few seconds; its owner sees why in the publisher's output",
        ));
    }
    route.breaker.admit(clock::monotonic()).map_err(|wait| {
        let mut refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "app-resting",
            format!("the app behind `{name}` failed several times in a row, and is left alone for a while"),
            "try again after as long as Retry-After says; its owner should look at the app",
        );
        refusal.retry_after = wait.as_secs().saturating_add(1);
        refusal
    })
}

/// Hears how it went with an app.
pub(super) fn tell(edge: &Edge, route: &Route, went: Went) {
    match route.breaker.tell(went, clock::monotonic()) {
        None => return,
        Some(Turn::Opened) => warn!(tunnel = %route.name, "the app fails, and is left alone for a while"),
        Some(Turn::Closed) => info!(tunnel = %route.name, "the app answers again"),
    }
    edge.metrics.resting(&route.name, route.breaker.is_open());
}

/// Tunnels of one publisher, by name: their registrations, and how their apps are.
pub(super) type Watched = BTreeMap<TunnelName, (String, Arc<AppHealth>)>;

/// Listens to what a publisher says of its apps, until its link is closed.
pub(super) async fn watch(edge: Edge, link: Link, who: String, apps: Watched) {
    while link.is_open() {
        match link.health().await {
            Ok(Some(mut reports)) => {
                while let Some(report) = reports.next().await {
                    hear(&edge, &who, &apps, report).await;
                }
            }
            Ok(None) => return,
            Err(_) if !link.is_open() => return,
            Err(_) => {}
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn hear(edge: &Edge, who: &str, apps: &Watched, report: AppReport) {
    let Some((id, app)) = apps.get(&report.tunnel) else { return };
    if !app.set_well(report.well) {
        return;
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
}
