//! What Prometheus reads: the edge's counters, and the state of everything below them at this moment.
//!
//! No label names a person. Names of tunnels are shown, so it is told to people who may read the gateway's state, and, without
//! a token, at the address that the operator sets aside for it (`gateway.metrics_listen`).

use std::fmt;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use sallyport_audit::sink::SinkStatus;

use super::caller::Caller;
use super::errors::Problem;
use super::{Parts, Shared};
use crate::access::{Action, Object, Part};
use crate::clock;
use crate::tunnel::TunnelName;

/// The media type of `OpenMetrics` 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// What Prometheus reads, for people with a token
#[utoipa::path(get, path = "/metrics", tag = "status", operation_id = "metrics", responses(
    (status = 200, description = "OpenMetrics 1.0", content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn for_callers(State(shared): State<Shared>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Ledger)).await?;
    Ok(answer(&shared))
}

/// For whoever reaches the address that is set aside for it.
pub(super) fn aside(shared: Shared) -> Router {
    Router::new().route("/metrics", get(for_scrapers)).with_state(shared)
}

async fn for_scrapers(State(shared): State<Shared>) -> Response {
    answer(&shared)
}

fn answer(shared: &Parts) -> Response {
    let mut text = String::new();
    match write(shared, &mut text) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        // Writing into a string cannot fail.
        Err(fmt::Error) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn write(shared: &Parts, text: &mut String) -> fmt::Result {
    shared.metrics.write(text)?;
    encode_registry(text, &present(shared))?;
    encode_eof(text)
}

/// The gateway's state as gauges, read now.
fn present(shared: &Parts) -> Registry {
    let mut registry = Registry::with_prefix("sallyport");
    registry.register("build", "This program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let ready = shared.readiness.check().is_ok();
    let vitals = shared.keys.vitals();
    gauge("ready", "Whether a new session could be opened (1) or not (0)", u64::from(ready));
    gauge(
        "ledger_open",
        "Whether the ledger takes records",
        u64::from(shared.ledger.status().borrow().is_open()),
    );
    gauge("ledger_records", "Records that are durable under a signed head", shared.ledger.reader().len());
    gauge(
        "records_waiting",
        "Records of requests that wait for the ledger's queue",
        shared.broker.records_waiting() as u64,
    );
    gauge(
        "requests_waiting",
        "Requests that wait for an app that has enough to do",
        shared.lines.waiting() as u64,
    );
    gauge("hsm_up", "Whether keys can be used", u64::from(vitals.health.outage().is_none()));
    gauge("hsm_outages", "Outages of the key provider since the start that are over", vitals.outages);
    gauge("hsm_stuck_calls", "Calls to the key provider that have not ended", vitals.stuck_calls as u64);
    sessions_and_tunnels(shared, &mut registry);
    ways(shared, &mut registry);
    sinks(shared, &mut registry);
    detections(shared, &mut registry);
    registry
}

fn sessions_and_tunnels(shared: &Parts, registry: &mut Registry) {
    let live = Family::<Labels, Gauge>::default();
    for session in shared.broker.live() {
        let labels = vec![("tunnel", session.tunnel), ("protocol", session.protocol.to_owned())];
        live.get_or_create(&labels).inc();
    }
    registry.register("sessions", "Sessions that are open", live);
    let tunnels = Family::<Labels, Gauge>::default();
    for state in ["live", "away", "unwell", "resting"] {
        tunnels.get_or_create(&vec![("state", state.to_owned())]).set(0);
    }
    let resting = Family::<Labels, Gauge>::default();
    let connections = Family::<Labels, Gauge>::default();
    let streams = Family::<Labels, Gauge>::default();
    let streams_most = Family::<Labels, Gauge>::default();
    let (lines, absent) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    let add = |family: &Family<Labels, Gauge>, tunnel: &str, number: usize| {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let name = TunnelName::parse(tunnel).map(|name| shared.metrics.label(&name));
        family.get_or_create(&vec![("tunnel", name.unwrap_or_default())]).inc_by(number);
    };
    for view in shared.routes.views() {
        add(&connections, &view.name, view.connections);
        add(&streams, &view.name, view.streams.0);
        add(&streams_most, &view.name, view.streams.1);
        tunnels.get_or_create(&vec![("state", view.state.to_owned())]).inc();
        add(&resting, &view.name, usize::from(view.resting));
        // There from the start, so that the first who waits is an increase.
        add(&lines, &view.name, 0);
        add(&absent, &view.name, 0);
    }
    for (tunnel, waiting) in shared.lines.waiting_at() {
        add(&lines, tunnel.as_str(), waiting);
    }
    for (tunnel, waiting) in shared.routes.waiting() {
        add(&absent, tunnel.as_str(), waiting);
    }
    registry.register("app_waiting", "Requests that wait for an app that has enough to do", lines);
    registry.register("visitors_waiting", "Visitors who wait for a publisher that is away", absent);
    registry.register("publisher_connections", "Connections of the publishers of a name", connections);
    registry.register(
        "publisher_streams",
        "Streams that visitors have on these, of all names of a publisher",
        streams,
    );
    registry.register("publisher_streams_most", "Streams that they carry for visitors", streams_most);
    registry.register("app_resting", "Publishers whose app failed and is left alone", resting);
    registry.register(
        "tunnels",
        "Published tunnels; away ones wait for their publisher to come back",
        tunnels,
    );
    let opened = Family::<Labels, Counter>::default();
    let bytes = Family::<Labels, Counter>::default();
    for (tunnel, totals) in shared.broker.totals() {
        let tunnel = || tunnel.as_ref().map_or_else(|| "OTHER".to_owned(), ToString::to_string);
        opened.get_or_create(&vec![("tunnel", tunnel())]).inc_by(totals.sessions);
        for (direction, sum) in [("up", totals.bytes_up), ("down", totals.bytes_down)] {
            bytes.get_or_create(&vec![("tunnel", tunnel()), ("direction", direction.to_owned())]).inc_by(sum);
        }
    }
    registry.register("sessions_opened", "Sessions that were opened", opened);
    registry.register("bytes", "Bytes of sessions, up to publishers and down to visitors", bytes);
}

/// The ways to publishers: of several to one name the narrowest window and the longest round trip.
fn ways(shared: &Parts, registry: &mut Registry) {
    let windows = Family::<Labels, Gauge>::default();
    let round_trips = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    for view in shared.routes.views() {
        let name = TunnelName::parse(&view.name).map(|name| shared.metrics.label(&name)).unwrap_or_default();
        let labels = vec![("tunnel", name)];
        let (window, round_trip) = view.windows;
        let narrowest = windows.get_or_create(&labels);
        let before = narrowest.get();
        narrowest.set(if before == 0 { i64::from(window) } else { before.min(i64::from(window)) });
        if let Some(took) = round_trip {
            let longest = round_trips.get_or_create(&labels);
            longest.set(longest.get().max(took.as_secs_f64()));
        }
    }
    registry.register(
        "publisher_window_bytes",
        "What each stream from publishers may have under way now: less while something waits for many",
        windows,
    );
    registry.register(
        "publisher_round_trip_seconds",
        "How long publishers took to answer the last ping",
        round_trips,
    );
}

/// Every rule is there from the start, so that the first thing that it finds is an increase.
fn detections(shared: &Parts, registry: &mut Registry) {
    let raised = Family::<Labels, Counter>::default();
    if let Some(status) = &shared.detections {
        let status = status.borrow();
        for (rule, count) in &status.raised {
            let severity = status.severity.get(rule).copied().unwrap_or("medium");
            let labels = vec![("rule", rule.clone()), ("severity", severity.to_owned())];
            raised.get_or_create(&labels).inc_by(*count);
        }
    }
    registry.register("detections", "What rules found in the records", raised);
}

fn sinks(shared: &Parts, registry: &mut Registry) {
    let now = clock::now();
    let gauges = [
        ("running", "Whether the sink's task runs (1) or ended by itself (0)"),
        ("connected", "Whether a connection to the receiver stands"),
        ("lag_records", "Durable records that do not count as delivered yet"),
        ("lag_bytes", "Octets of these, estimated from the records sent last"),
        ("lag_seconds", "How long the oldest of these has been waiting"),
        ("late", "Whether that is longer than it may (1) or not (0)"),
        ("failing_seconds", "For how long nothing more has come to count as delivered; 0 while it is well"),
    ];
    let families = gauges.map(|(name, help)| (name, help, Family::<Labels, Gauge>::default()));
    let quarantined = Family::<Labels, Counter>::default();
    for sink in &shared.sinks {
        let status = sink.borrow();
        let labels = vec![("sink", status.name.clone())];
        for ((_, _, family), value) in families.iter().zip(figures(&status, now)) {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        quarantined.get_or_create(&labels).inc_by(status.quarantined);
    }
    for (name, help, family) in families {
        registry.register(format!("sink_{name}"), help, family);
    }
    registry.register("sink_quarantined", "Records that a sink set aside since the start", quarantined);
}

/// What the gauges of a sink say, in their order.
fn figures(status: &SinkStatus, now: Timestamp) -> [u64; 7] {
    let seconds = |since: Option<Timestamp>| {
        since.map_or(0, |since| u64::try_from(now.duration_since(since).as_secs()).unwrap_or_default())
    };
    [
        u64::from(status.running),
        u64::from(status.connected),
        status.lag,
        status.lag.saturating_mul(status.octets_each),
        seconds(status.waiting_since),
        u64::from(status.late),
        // Failing for less than a second is failing.
        status.failing_since.map_or(0, |since| seconds(Some(since)).max(1)),
    ]
}

#[cfg(test)]
mod tests {
    use sallyport_audit::sink::Assurance;

    use super::*;

    fn status() -> SinkStatus {
        SinkStatus {
            name: "soc".to_owned(),
            address: "siem.example:6514".to_owned(),
            transport: "tls",
            format: "rfc5424",
            filter: "all".to_owned(),
            assurance: Assurance::Written,
            running: true,
            connected: true,
            next: 10,
            received: 10,
            settled: 10,
            sequence: 11,
            lag: 0,
            octets_each: 500,
            waiting_since: None,
            late: false,
            quarantined: 0,
            failing_since: None,
            last_error: None,
        }
    }

    #[test]
    fn a_sink_that_is_behind_says_so_in_records_octets_and_seconds_and_since_when_it_fails() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let ago = |seconds: i64| Some(Timestamp::from_second(1_800_000_000 - seconds).unwrap());
        assert_eq!(figures(&status(), now), [1, 1, 0, 0, 0, 0, 0]);
        let behind =
            SinkStatus { lag: 40, waiting_since: ago(90), late: true, failing_since: ago(60), ..status() };
        assert_eq!(figures(&behind, now), [1, 1, 40, 20_000, 90, 1, 60]);
        let just_now = SinkStatus { running: false, connected: false, failing_since: ago(0), ..status() };
        assert_eq!(figures(&just_now, now), [0, 0, 0, 0, 0, 0, 1]);
    }
}
