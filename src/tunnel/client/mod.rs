//! The publisher: dials the gateway, proves itself, serves local apps, and comes back when the connection is lost.
//!
//! Promised: the gateway's identity is checked before the token is sent; a refusal that a person must deal with ends the
//! publisher, with what to do, at once if there is no other gateway; everything else is tried again with growing delays. [`visit`] is the other dial:
//! a byte stream to somebody's tunnel.
//!
//! Trusted: this machine's files. Not trusted: the network and whoever answers on it.
//!
//! Start with [`Publisher`]; `connection` is one connection's life, `origin` one stream's.

mod address;
mod app;
mod backoff;
mod connection;
mod dial;
mod dial_error;
mod event;
mod further;
mod health;
mod holding;
mod http2_app;
mod known_gateways;
mod lanes;
mod options;
mod origin;
mod pool;
mod proxy;
mod publish_error;
mod quic;
mod reach;
mod resting;
mod resuming;
mod seats;
mod socket;
mod successor;
mod target;
mod tls;
mod to_app;
mod upload;
mod visit;
mod visitor_header;
mod warm;
mod ways;
mod weights;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use address::GatewayAddress;
pub use backoff::Backoff;
pub use dial::{Socket, reach_by_websocket};
pub use dial_error::DialError;
pub use event::{AppConnectionTurn, Event};
pub use health::{HealthCheck, Probe};
pub use known_gateways::{KnownGateways, KnownGatewaysError, Trust};
pub use options::PublisherOptions;
pub use origin::Publication;
pub use proxy::{Proxies, ProxyError};
pub use publish_error::PublishError;
pub use quic::reach_by_quic;
pub use socket::Transport;
pub use target::{AppProtocol, Target};
pub use tls::{
    CertificateFiles, TlsRoots, app_tls_config, root_certificates, tls_config, tls_config_showing,
};
pub use visit::{VisitStream, VisitorOptions, visit, visit_datagrams};
pub use visitor_header::ProxyVersion;

use self::connection::{Ending, Ends, Established, Kept, Terms, enroll, establish};
use self::lanes::{Lanes, Up};
use self::origin::Origin;
use self::socket::GatewaySocket;
use self::ways::{SetBack, Ways};
use super::FarewellCode;
use super::handshake::Enrolled;
use super::name::Offer;
use crate::traces::Traces;

/// The path at which a gateway takes publishers.
pub const CONNECT_PATH: &str = "/connect";
/// The path at which a gateway says which keys followed its identity's.
pub const SUCCESSION_PATH: &str = "/.well-known/sallyport/succession";
/// Where a gateway gives its private roots, the next one beside the one that issues.
pub const ROOTS_PATH: &str = "/.well-known/sallyport/roots.pem";
/// The path below which a gateway takes visitors' byte streams.
pub const VISIT_PATH: &str = "/visit";

/// How long connections that were left may take to end, once the publisher has ended.
const FAREWELL: Duration = Duration::from_mins(1);
/// Failures in a row that count at most while a connection that was left has not ended: pauses are some seconds long by then.
const AWAY: u32 = 4;
/// Connections to an app that may be made before they are needed: more would fill the pool, in which those rest that were used.
pub const MAX_WARM: usize = 64;

/// A publisher, ready to run.
pub struct Publisher {
    gateway: GatewayAddress,
    backups: Vec<GatewayAddress>,
    look_back: Duration,
    transports: Vec<Transport>,
    set_back: SetBack,
    connections: usize,
    tells_requests: bool,
    proxies: Proxies,
    tls: Arc<rustls::ClientConfig>,
    terms: Terms,
    publications: Vec<Publication>,
    warm: usize,
    app_tls: Arc<rustls::ClientConfig>,
    traces: Traces,
    backoff: Backoff,
}

impl Publisher {
    /// Reads the roots and prepares TLS.
    pub fn new(options: PublisherOptions) -> Result<Self, DialError> {
        let tls = tls_config_showing(&options.roots, options.certificate.as_ref())?;
        let with_tls = options.publications.iter().any(|one| one.target.protocol().is_tls());
        // Roots that nobody needs need not be there.
        let app_tls = if with_tls { app_tls_config(&options.app_roots)? } else { Arc::clone(&tls) };
        let terms = Terms {
            secret: options.secret,
            offers: options.publications.iter().map(|one| one.offer.clone()).collect(),
            client_version: options.client_version,
            suites: options.suites,
            roots: options.organisation_roots,
            pin: options.pin,
            known: options.known_gateways,
            patience: options.patience,
        };
        let equals = [(options.gateway.clone(), options.weight)].into_iter().chain(options.equals).collect();
        // An order that is no surprise does no harm: without randomness it is the one in which they were named.
        let random =
            |below: u64| getrandom::u64().map_or(0, |number| number.checked_rem(below).unwrap_or_default());
        let mut order = weights::drawn(equals, random).into_iter();
        Ok(Self {
            gateway: order.next().unwrap_or(options.gateway),
            backups: order.chain(options.backups).collect(),
            look_back: options.look_back,
            transports: options.transports,
            set_back: SetBack::default(),
            connections: options.connections.clamp(1, super::MAX_LANES),
            tells_requests: options.tells_requests,
            proxies: options.proxies,
            tls,
            terms,
            publications: options.publications,
            warm: options.warm.min(MAX_WARM),
            app_tls,
            traces: options.traces,
            backoff: options.backoff,
        })
    }

    /// Has the device of [`Secret::Join`] enrolled, once, and does nothing else: offers and backoff play no role.
    pub async fn enroll(&self) -> Result<Enrolled, DialError> {
        match self.enroll_once().await {
            Err(error) if self.is_succession(&self.gateway, &error).await? => self.enroll_once().await,
            outcome => outcome,
        }
    }

    async fn enroll_once(&self) -> Result<Enrolled, DialError> {
        let (mut ways, endpoint) = (self.ways(&self.gateway, None), self.gateway.to_string());
        loop {
            let socket = ways.open().await?;
            let exporter = socket.exporter();
            match enroll(socket, exporter, (&endpoint, &self.terms)).await {
                // A token that works once may be used up by one that broke off later.
                Err(error) if error.is_before_the_credential() && ways.go_on(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// The first, or one of the backups.
    fn gateway_at(&self, at: usize) -> &GatewayAddress {
        at.checked_sub(1).and_then(|backup| self.backups.get(backup)).unwrap_or(&self.gateway)
    }

    fn way(&self) -> (&Arc<rustls::ClientConfig>, &Proxies) {
        (&self.tls, &self.proxies)
    }

    fn ways<'a>(&'a self, gateway: &'a GatewayAddress, events: Option<&'a mpsc::Sender<Event>>) -> Ways<'a> {
        Ways::to(gateway, self.way(), (&self.transports, &self.set_back), self.terms.patience, events)
    }

    /// Publishes until `stop` is cancelled (then `Ok`) or nothing can be done any more. Tells every step to `events`,
    /// and requests if that is wanted.
    ///
    /// Goes to the next gateway at once when one is lost or says that it goes away, and pauses only when all of them were tried. While
    /// another than the first serves, the first is looked for, and gone back to. A refusal that a person must deal with ends it only if
    /// all of them refuse so: the one that would not may be away for a moment.
    pub async fn run(
        &self,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<(), PublishError> {
        let leaving = TaskTracker::new();
        let (apps, told) = ((self.publications.as_slice(), self.warm), (events.clone(), self.tells_requests));
        let origin = Arc::new(Origin::new(apps, &self.app_tls, told, self.traces.clone()));
        let ended = Box::pin(self.run_beside(&origin, &leaving, &events, &stop)).await;
        // Streams that wait for another connection wait in vain.
        origin.begin_anew();
        leaving.close();
        let _cut = tokio::time::timeout(FAREWELL, leaving.wait()).await;
        ended
    }

    /// The same beside connections that are left, which may go on for a while after it.
    async fn run_beside(
        &self,
        origin: &Arc<Origin>,
        leaving: &TaskTracker,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        let mut kept: HashMap<usize, Kept> = HashMap::new();
        // Which gateway knew this publisher last, and by which name: streams go on where it still does.
        let mut known = None;
        // Gateways whose last word was that trying again would not help.
        let mut refused = HashSet::new();
        let (mut failures, mut at) = (0, 0);
        // A connection to the first gateway, made while another served.
        let mut made: Option<Established<GatewaySocket>> = None;
        loop {
            let gateway = self.gateway_at(at);
            let attempt = match made.take() {
                Some(established) => Ok(established),
                None => {
                    tell(events, Event::Connecting { gateway: gateway.to_string() });
                    let own = kept.entry(at).or_default().for_an_attempt();
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        attempt = self.connect(gateway, own, Some(events)) => attempt,
                    }
                }
            };
            let last = match attempt {
                Err(error) => {
                    if error.is_final() {
                        refused.insert(at);
                    } else {
                        refused.remove(&at);
                    }
                    if refused.len() > self.backups.len() {
                        tell(events, Event::Refused { reason: error.to_string(), hint: error.hint() });
                        return Err(PublishError::Refused(error));
                    }
                    tell(events, Event::Failed { reason: error.to_string(), hint: error.hint() });
                    at += 1;
                    error.to_string()
                }
                Ok(mut established) => {
                    refused.remove(&at);
                    let own = std::mem::take(&mut established.kept);
                    let name = own.publisher.clone();
                    let gateway_now = (at, name.clone(), established.certificate.fingerprint());
                    if known.as_ref() != Some(&gateway_now) {
                        origin.begin_anew();
                    }
                    known = Some(gateway_now);
                    kept.insert(at, own);
                    let since = Instant::now();
                    let leave = stop.child_token();
                    let ends = Ends { stop, leave: &leave, leaving };
                    let publishing = self.publish(established, (gateway, name), origin, events, ends);
                    let mut publishing = std::pin::pin!(publishing);
                    // One that refused for good is not gone back to as long as another serves.
                    let mut behind = at > 0 && !refused.contains(&0);
                    let ending = loop {
                        tokio::select! {
                            ending = &mut publishing => break ending,
                            first = self.first_again(kept.entry(0).or_default()), if behind => {
                                behind = false;
                                match first {
                                    Some(established) => {
                                        made = Some(established);
                                        leave.cancel();
                                    }
                                    None => drop(refused.insert(0)),
                                }
                            }
                        }
                    };
                    tell(events, Event::Disconnected { reason: ending.to_string() });
                    match ending {
                        Ending::Stopped => return Ok(()),
                        Ending::Farewell(code @ (FarewellCode::Revoked | FarewellCode::Replaced)) => {
                            return Err(PublishError::Dismissed(code));
                        }
                        _ if made.is_some() => {
                            at = 0;
                            continue;
                        }
                        _ => {}
                    }
                    // A gateway that takes us and drops us at once must not be hammered either.
                    let settled = since.elapsed() >= self.backoff.settled_after;
                    if settled {
                        failures = 0;
                    }
                    at = usize::from(at == 0 && !self.backups.is_empty());
                    if settled && ending == Ending::Farewell(FarewellCode::Draining) {
                        // Others may be where it was, and visitors are waiting.
                        continue;
                    }
                    ending.to_string()
                }
            };
            if (1..=self.backups.len()).contains(&at) {
                continue;
            }
            at = 0;
            // A round in which none of them served: what takes one gateway away often takes all, and is over at the same time.
            failures += 1;
            if !leaving.is_empty() {
                // A gateway that lets what is under way end, and is then started anew, is away for longer than it may seem to be.
                failures = failures.min(self.backoff.before_giving_up(AWAY));
            }
            self.pause(failures, last, events, stop).await?;
        }
    }

    /// While another gateway serves: a connection to the first, as soon as that takes this publisher again. That it answers is not
    /// enough: sessions of the one that serves would be given up for one that takes nobody. `None`: a person must deal with it.
    async fn first_again(&self, own: &mut Kept) -> Option<Established<GatewaySocket>> {
        loop {
            tokio::time::sleep(self.look_back).await;
            match self.connect(&self.gateway, own.for_an_attempt(), None).await {
                Ok(established) => return Some(established),
                Err(error) if error.is_final() => return None,
                Err(error) => tracing::debug!(%error, "the first gateway does not take this publisher yet"),
            }
        }
    }

    async fn connect(
        &self,
        gateway: &GatewayAddress,
        kept: Kept,
        events: Option<&mpsc::Sender<Event>>,
    ) -> Result<Established<GatewaySocket>, DialError> {
        let publisher = kept.publisher.clone();
        match self.connect_once(gateway, (&self.terms.offers, kept), events).await {
            Err(error) if self.is_succession(gateway, &error).await? => {
                let kept = Kept { publisher, ticket: None };
                self.connect_once(gateway, (&self.terms.offers, kept), events).await
            }
            outcome => outcome,
        }
    }

    /// A further connection of the publisher that `kept` names: it wants no tunnels of its own.
    async fn further(
        &self,
        gateway: &GatewayAddress,
        kept: Kept,
        events: &mpsc::Sender<Event>,
    ) -> Result<Established<GatewaySocket>, DialError> {
        self.connect_once(gateway, (&[], kept), Some(events)).await
    }

    /// By the first transport over which the handshake is carried.
    async fn connect_once(
        &self,
        gateway: &GatewayAddress,
        (offers, mut kept): (&[Offer], Kept),
        events: Option<&mpsc::Sender<Event>>,
    ) -> Result<Established<GatewaySocket>, DialError> {
        let (mut ways, endpoint) = (self.ways(gateway, events), gateway.to_string());
        loop {
            let socket = ways.open().await?;
            let (exporter, own) = (socket.exporter(), kept.for_an_attempt());
            match establish(socket, exporter, (&endpoint, &self.terms), (offers, own)).await {
                Err(error) if ways.go_on(&error) => {}
                Err(error) => return Err(error),
                Ok(established) => {
                    ways.arrived();
                    return Ok(established);
                }
            }
        }
    }

    /// Whether other keys answered than those that are known, and were named by those; they are known from then on.
    async fn is_succession(&self, gateway: &GatewayAddress, error: &DialError) -> Result<bool, DialError> {
        let DialError::Identity(KnownGatewaysError::Changed { known, shown, .. }) = error else {
            return Ok(false);
        };
        let (keys, limits) = ((*known, *shown), (connection::now(), self.terms.patience));
        Ok(successor::is_named(gateway, self.way(), &self.terms.known, keys, limits).await?)
    }

    async fn publish(
        &self,
        established: Established<GatewaySocket>,
        (gateway, name): (&GatewayAddress, Vec<u8>),
        origin: &Arc<Origin>,
        events: &mpsc::Sender<Event>,
        ends: Ends<'_>,
    ) -> Ending {
        let Established {
            stream,
            accepted,
            certificate,
            trust,
            suite,
            mode,
            id,
            window,
            resumed,
            transport,
            ..
        } = established;
        let body = certificate.body();
        let connected = Event::Connected {
            gateway: gateway.to_string(),
            identity: format!("{}/{}", body.organisation, body.gateway),
            fingerprint: certificate.fingerprint(),
            trust,
            suite,
            mode,
            resumed,
            transport,
            proxy: self.proxies.shown(gateway),
        };
        tell(events, connected);
        for tunnel in &accepted.tunnels {
            tell(events, Event::registered(tunnel, id));
        }
        let Ends { stop, leave, leaving } = ends;
        let (up, draining) = (AtomicUsize::new(0), AtomicBool::new(false));
        let lanes =
            Lanes { publisher: self, gateway, name, origin, events, stop, leave, leaving, up, draining };
        lanes.serve(Up { stream, limits: accepted.limits, window }).await
    }

    async fn pause(
        &self,
        failures: u32,
        last: String,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        let Some(after) = self.backoff.delay(failures, getrandom::u32().unwrap_or(u32::MAX)) else {
            tell(events, Event::GaveUp { failures, reason: last.clone() });
            return Err(PublishError::GaveUp { failures, last });
        };
        tell(events, Event::Retrying { after, failures });
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(after) => {}
        }
        Ok(())
    }
}

/// Nobody needs to listen, and whoever does not, such as a pager that is left alone, must keep no publisher from coming back: what
/// finds no room is lost. [`has_room_for_requests`] leaves some to what is told here.
fn tell(events: &mpsc::Sender<Event>, event: Event) {
    let _heard = events.try_send(event);
}

/// Whether requests may be told: of the room that there is they have three quarters.
fn has_room_for_requests(events: &mpsc::Sender<Event>) -> bool {
    events.capacity() > events.max_capacity() / 4
}
