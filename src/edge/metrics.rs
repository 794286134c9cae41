//! What is counted of requests as they pass: rate, errors and duration by tunnel, refusals by their code.
//!
//! Names of tunnels are the only label that people choose; whoever may publish chooses them, so their number is bounded here.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::tunnel::{AppConnection, TunnelName};

/// Tunnels that are told apart; the rest is counted together.
const MOST_TUNNELS: usize = 1000;
/// What the rest is called: no tunnel can be, for a name has no capital letter.
const REST: &str = "OTHER";

/// From half a millisecond to half a minute.
const BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    tunnel: String,
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTunnel {
    tunnel: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Turned {
    tunnel: String,
    turn: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reached {
    tunnel: String,
    connection: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCode {
    code: &'static str,
}

/// The counters; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<OfTunnel, Histogram, fn() -> Histogram>,
    refusals: Family<OfCode, Counter>,
    turns: Family<Turned, Counter>,
    reached: Family<Reached, Counter>,
    resumed: Family<OfTunnel, Counter>,
    lost: Family<OfTunnel, Counter>,
    known: Mutex<HashSet<TunnelName>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sallyport");
        let requests = Family::default();
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let (refusals, turns, reached) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "requests",
            "Requests to tunnels, by the class of their status",
            Family::clone(&requests),
        );
        registry.register(
            "request_seconds",
            "Seconds from a request to the begin of its answer",
            Family::clone(&seconds),
        );
        registry.register("refusals", "Answers that were the gateway's own no", Family::clone(&refusals));
        registry.register(
            "app_breaker_turns",
            "Turns of the circuit breakers of apps: opened, half-open, closed",
            Family::clone(&turns),
        );
        registry.register(
            "app_connections",
            "Answers of apps over HTTP/1.1, by whether the publisher made a connection for it (new) or had one (again)",
            Family::clone(&reached),
        );
        let (resumed, lost) = (Family::default(), Family::default());
        registry.register(
            "streams_resumed",
            "Byte streams that lost their publisher's connection and went on over another",
            Family::clone(&resumed),
        );
        registry.register(
            "streams_resume_failed",
            "Byte streams that lost their publisher's connection and were broken off, as no other came in time",
            Family::clone(&lost),
        );
        let known = Mutex::default();
        let counters =
            Counters { registry, requests, seconds, refusals, turns, reached, resumed, lost, known };
        Self(Arc::new(counters))
    }
}

impl Metrics {
    /// The answer to a request to `tunnel` begins. `None`: its visitor left before there was one.
    pub(super) fn answered(&self, tunnel: &TunnelName, status: Option<StatusCode>, took: Duration) {
        let tunnel = self.label(tunnel);
        let class = match status.map(|status| status.as_u16() / 100) {
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
            None => "cancelled",
        };
        self.0.requests.get_or_create(&Answered { tunnel: tunnel.clone(), class }).inc();
        self.0.seconds.get_or_create(&OfTunnel { tunnel }).observe(took.as_secs_f64());
    }

    /// The gateway said no by itself.
    pub(super) fn refused(&self, code: &'static str) {
        self.0.refusals.get_or_create(&OfCode { code }).inc();
    }

    /// The breaker of an app behind `tunnel` turned so.
    pub(super) fn turned(&self, tunnel: &TunnelName, turn: &'static str) {
        let tunnel = self.label(tunnel);
        self.0.turns.get_or_create(&Turned { tunnel, turn }).inc();
    }

    /// An app behind `tunnel` answered, reached so.
    pub(super) fn reached(&self, tunnel: &TunnelName, by: AppConnection) {
        let (tunnel, connection) = (self.label(tunnel), by.word());
        self.0.reached.get_or_create(&Reached { tunnel, connection }).inc();
    }

    /// A byte stream of `tunnel` went on over another connection.
    pub(super) fn stream_resumed(&self, tunnel: &TunnelName) {
        let tunnel = self.label(tunnel);
        self.0.resumed.get_or_create(&OfTunnel { tunnel }).inc();
    }

    /// A byte stream of `tunnel` found no connection on which to go on.
    pub(super) fn stream_lost(&self, tunnel: &TunnelName) {
        let tunnel = self.label(tunnel);
        self.0.lost.get_or_create(&OfTunnel { tunnel }).inc();
    }

    /// Writes all of them in the text format of `OpenMetrics`, without its end.
    pub fn write(&self, text: &mut String) -> fmt::Result {
        encode_registry(text, &self.0.registry)
    }

    /// How `tunnel` is called in a label: by its name, as long as there are not too many.
    pub fn label(&self, tunnel: &TunnelName) -> String {
        // A set of names, changed in one step: a panic elsewhere leaves it whole.
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(tunnel) {
            return tunnel.to_string();
        }
        if known.len() >= MOST_TUNNELS {
            return REST.to_owned();
        }
        known.insert(tunnel.clone());
        tunnel.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_tunnel_and_class() {
        let (metrics, demo) = (Metrics::default(), TunnelName::parse("demo").unwrap());
        metrics.answered(&demo, Some(StatusCode::OK), Duration::from_millis(2));
        metrics.answered(&demo, None, Duration::from_millis(2));
        metrics.refused("denied");
        let mut text = String::new();
        metrics.write(&mut text).unwrap();
        for line in [
            "sallyport_requests_total{tunnel=\"demo\",class=\"2xx\"} 1",
            "sallyport_requests_total{tunnel=\"demo\",class=\"cancelled\"} 1",
            "sallyport_request_seconds_count{tunnel=\"demo\"} 2",
            "sallyport_request_seconds_bucket{le=\"0.0025\",tunnel=\"demo\"} 2",
            "sallyport_refusals_total{code=\"denied\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn more_names_than_the_bound_are_counted_together() {
        let metrics = Metrics::default();
        for number in 0..MOST_TUNNELS + 3 {
            let name = TunnelName::parse(&format!("t{number}")).unwrap();
            metrics.answered(&name, Some(StatusCode::OK), Duration::ZERO);
        }
        let mut text = String::new();
        metrics.write(&mut text).unwrap();
        assert!(text.contains("sallyport_requests_total{tunnel=\"OTHER\",class=\"2xx\"} 3"));
    }
}
