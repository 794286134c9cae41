//! The public side: listeners, TLS, and the way from a host name to a tunnel.
//!
//! Promised: a peer can hold only what its bounds allow (connections, header bytes, time); nothing reaches a publisher
//! but through [`crate::session::Broker`]; every refusal has a page or a problem document with a correlation id.
//! Not trusted: everything that a visitor sends, forwarding headers included.
//!
//! Start with [`listener`], which accepts; [`route`] sends a request to the console or to a tunnel; [`http`] carries it.

mod admission;
mod app_health;
mod arrival;
mod asking;
mod attempts;
mod client_certificate;
mod connection;
mod credential;
mod enrollment;
mod first_bytes;
mod forward;
mod front;
mod head;
mod head_timer;
mod house_rules;
mod http;
mod http3;
mod in_clear;
mod line;
mod lines;
mod linger;
mod listener;
mod metrics;
mod onward;
mod page;
mod pass_through;
mod ports;
mod protection;
mod publication;
mod publisher;
mod quic;
mod rates;
mod refusals;
mod request_record;
mod route;
mod seats;
mod sign_in;
mod sources;
mod tcp;
mod tls_refusals;
mod udp;
mod unannounced;
mod upgrade;
mod upload;
mod visit;
mod waits;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sallyport_audit::Ledger;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Tenant};
use crate::session::{BreakerRules, Broker, Readiness, Routes};
use crate::traces::Traces;
use crate::tunnel::{GatewayIdentity, Suite, Tickets};

pub use attempts::Attempts;
pub use client_certificate::{ClientCertificates, NamedBy, Presented};
pub use connection::Connection;
pub use credential::{bearer_token, identify, identify_caller, of_tenant};
pub use front::{Fronts, Whence};
pub use house_rules::{HeaderRules, HouseRules, TunnelRules};
pub use http3::{ALPN as HTTP3, alternative};
pub use line::Priority;
pub use lines::Lines;
pub use listener::{ListenError, Listener};
pub use metrics::Metrics;
pub use page::Refusal;
pub use quic::QuicListener;
pub use rates::{Counted, Left, Rates};
pub use route::Correlation;
pub use seats::Seats;
pub use sign_in::{Challenge, Providers, SignIns, console_session};
pub use sources::Sources;
pub use tcp::TcpPorts;
pub use tls_refusals::TlsRefusals;
pub use udp::UdpPorts;
pub use unannounced::ForeignHeader;
pub use waits::Waits;

/// Sees to it that a host name has a certificate to be shown.
pub trait NameCertificates: Send + Sync {
    /// Returns when `host` has one, or when it is clear that it gets none of its own.
    fn ensure(self: Arc<Self>, host: String) -> BoxFuture<'static, ()>;
}

/// Bounds on visitors and publishers.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Time for TLS.
    pub tls_handshake: Duration,
    /// Time for a request head.
    pub header: Duration,
    /// Time between two requests on a connection of HTTP/1.1.
    pub keep_alive: Duration,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Time until a publisher's answer begins.
    pub request: Duration,
    /// When an app that fails is left alone.
    pub breaker: BreakerRules,
    /// How long a visitor waits for a publisher that is away.
    pub queue: Duration,
    /// Tunnels a user may publish at once.
    pub tunnels_per_user: usize,
    /// Cipher suites that publishers may use.
    pub suites: &'static [Suite],
    /// Interval of the tunnel's ping.
    pub heartbeat: Duration,
    /// How long its answer may take.
    pub heartbeat_timeout: Duration,
    /// How long a byte stream waits for another connection of its publisher; zero is not at all.
    pub resume: Duration,
    /// Whether TLS may go through to an app that ends it.
    pub pass_through: bool,
    /// How long a browser stays signed in.
    pub browser_session: Duration,
    /// Whether a session at the console is good in the network alone in which it began.
    pub console_at_home: bool,
}

/// Where TCP tunnels may listen.
#[derive(Debug, Clone)]
pub struct TcpRange {
    /// Address.
    pub address: IpAddr,
    /// Ports, both ends included.
    pub ports: RangeInclusive<u16>,
}

/// What every part of the edge works with.
pub struct Parts {
    /// Public domain.
    pub domain: String,
    /// Port that visitors use, for the links on pages.
    pub port: u16,
    /// Tenant to which this gateway's tunnels belong.
    pub tenant: Tenant,
    /// Identities and decisions.
    pub access: Access,
    /// Sessions.
    pub broker: Broker,
    /// Published names.
    pub routes: Routes,
    /// Records that belong to no session.
    pub ledger: Ledger,
    /// Whether ledger and HSM can serve new sessions.
    pub readiness: Readiness,
    /// What the gateway proves itself with to publishers: one identity for the whole of a handshake.
    pub identity: watch::Receiver<Arc<dyn GatewayIdentity>>,
    /// Publishers that may come back.
    pub tickets: Tickets,
    /// Certificates of single names.
    pub certificates: Arc<dyn NameCertificates>,
    /// What knows clients by their certificates; `None` where nobody is asked for one.
    pub clients: Option<Arc<dyn ClientCertificates>>,
    /// TLS handshakes that were refused.
    pub tls_refusals: TlsRefusals,
    /// Visitors who wait for an answer.
    pub waits: Waits,
    /// Publishers that are connected; each leaves a record when it goes.
    pub publishers: TaskTracker,
    /// Ports of TCP tunnels.
    pub tcp: TcpPorts,
    /// Whose word is taken for where a visitor comes from.
    pub fronts: Fronts,
    /// Ports of UDP tunnels.
    pub udp: UdpPorts,
    /// Seats for connections.
    pub seats: Seats,
    /// Failed authentications by address.
    pub attempts: Arc<Attempts>,
    /// Whether whoever publishes a tunnel first owns it.
    pub first_publisher_owns: bool,
    /// Requests to tunnels by person and address.
    pub visits: Rates,
    /// Where people sign in with a browser, besides by a token.
    pub providers: Option<Arc<dyn Providers>>,
    /// Sign-ins that are under way.
    pub sign_ins: SignIns,
    /// Who waits for an app that has enough to do.
    pub lines: Lines,
    /// Who hears of each request as it passes.
    pub traces: Traces,
    /// What is counted of requests.
    pub metrics: Metrics,
    /// What is laid down for single tunnels.
    pub house_rules: HouseRules,
    /// What tells visitors that HTTP/3 is spoken too, where it is.
    pub alternative: Option<(axum::http::HeaderName, axum::http::HeaderValue)>,
    /// Bounds.
    pub bounds: Bounds,
}

/// The edge; clones share everything.
#[derive(Clone)]
pub struct Edge(Arc<Parts>);

impl Edge {
    /// An edge made of `parts`.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Edge {
    /// Where a browser reaches the gateway itself.
    fn own_origin(&self) -> String {
        format!("https://{}{}", self.domain, self.shown_port())
    }

    /// Where a browser reaches a tunnel.
    fn tunnel_origin(&self, name: &crate::tunnel::TunnelName) -> String {
        format!("https://{name}.{}{}", self.domain, self.shown_port())
    }

    /// Whether a host that a visitor asked for is the gateway's own or a tunnel's.
    fn serves(&self, authority: &str) -> bool {
        route::serves(self, authority)
    }

    /// The public ports of a tunnel that is gone, or has become another.
    fn close_ports(&self, name: &crate::tunnel::TunnelName) {
        self.tcp.close_if(name, || true);
        self.udp.close_if(name, || true);
    }

    /// The same, if none of its publishers is left. One that is about to come has its port.
    fn close_ports_of_the_last(&self, name: &crate::tunnel::TunnelName) {
        let gone = || self.routes.kind(name).is_none();
        self.tcp.close_if(name, gone);
        self.udp.close_if(name, gone);
    }

    fn shown_port(&self) -> String {
        if self.port == 443 { String::new() } else { format!(":{}", self.port) }
    }
}

impl Edge {
    /// The edge's own paths on the gateway's host, to be joined with those of the console.
    pub fn router(&self) -> axum::Router {
        use axum::routing::{any, get, post};
        use sign_in::desk;
        axum::Router::new()
            .route("/connect", any(publisher::connect))
            .route("/visit/{name}", any(visit::visit))
            .route("/visit/{name}/udp", any(visit::visit_datagrams))
            .route("/oidc/callback", get(desk::callback))
            .route("/console/sign-in", get(desk::console_page).post(desk::console_by_token))
            .route("/console/sign-in/{provider}", get(desk::console_at_provider))
            .route("/console/sign-out", post(desk::console_sign_out))
            .route("/sign-in/{name}", get(desk::page).post(desk::by_token))
            .route("/sign-in/{name}/{provider}", get(desk::at_provider))
            .with_state(self.clone())
    }
}

impl std::ops::Deref for Edge {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
