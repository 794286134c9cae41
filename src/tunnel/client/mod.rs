//! The publisher: dials the gateway, proves itself, serves local apps, and comes back when the connection is lost.
//!
//! Promised: the gateway's identity is checked before the token is sent; a refusal that a person must deal with ends the
//! publisher at once, with what to do; everything else is tried again with growing delays. [`visit`] is the other dial:
//! a byte stream to somebody's tunnel.
//!
//! Trusted: this machine's files. Not trusted: the network and whoever answers on it.
//!
//! Start with [`Publisher`]; `connection` is one connection's life, `origin` one stream's.

mod backoff;
mod connection;
mod dial;
mod event;
mod known_gateways;
mod origin;
mod successor;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use dial::{
    CertificateFiles, DialError, GatewayAddress, Socket, TlsRoots, root_certificates, tls_config,
    tls_config_showing,
};
pub use event::Event;
pub use known_gateways::{KnownGateways, KnownGatewaysError, Trust};
pub use origin::{Publication, Target};
pub use visit::{VisitStream, VisitorOptions, visit};

use self::connection::{Ending, Established, Kept, Terms, enroll, establish, serve};
use self::dial::dial;
use self::origin::Origin;
use super::FarewellCode;
use super::handshake::{Enrolled, Exporter, Fingerprint, RootKey, Secret, Suite, channel_binding};

/// The path at which a gateway takes publishers.
pub const CONNECT_PATH: &str = "/connect";
/// The path at which a gateway says which keys followed its identity's.
pub const SUCCESSION_PATH: &str = "/.well-known/sallyport/succession";
/// Where a gateway gives its private roots, the next one beside the one that issues.
pub const ROOTS_PATH: &str = "/.well-known/sallyport/roots.pem";
/// The path below which a gateway takes visitors' byte streams.
pub const VISIT_PATH: &str = "/visit";

/// What a publisher needs to know.
pub struct PublisherOptions {
    /// Where the gateway is.
    pub gateway: GatewayAddress,
    /// Who may vouch for its TLS certificate.
    pub roots: TlsRoots,
    /// What to show in TLS; needed by [`Secret::Certificate`].
    pub certificate: Option<CertificateFiles>,
    /// The organisation's roots, one of which must have certified the identity; without them, it is pinned at the first
    /// meeting.
    pub organisation_roots: Vec<RootKey>,
    /// The only identity that will do, whoever vouches for others.
    pub pin: Option<Fingerprint>,
    /// The file of known gateways.
    pub known_gateways: KnownGateways,
    /// The token that the gateway issued, or a device's keys.
    pub secret: Secret,
    /// What to publish.
    pub publications: Vec<Publication>,
    /// Program and version, for the gateway's log.
    pub client_version: String,
    /// Suites that are allowed, best first.
    pub suites: Vec<Suite>,
    /// When to try again, and when to give up.
    pub backoff: Backoff,
    /// Time for each step of a connection; default 15 s.
    pub patience: Duration,
}

impl PublisherOptions {
    /// Options with defaults for everything that has one.
    pub fn new(
        gateway: GatewayAddress,
        secret: Secret,
        known_gateways: KnownGateways,
        publications: Vec<Publication>,
    ) -> Self {
        Self {
            gateway,
            roots: TlsRoots::System,
            certificate: None,
            organisation_roots: Vec::new(),
            pin: None,
            known_gateways,
            secret,
            publications,
            client_version: concat!("sallyport/", env!("CARGO_PKG_VERSION")).to_owned(),
            suites: Suite::by_hardware(),
            backoff: Backoff::default(),
            patience: Duration::from_secs(15),
        }
    }
}

/// Why a publisher ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Trying again would not help.
    #[error(transparent)]
    Refused(DialError),
    /// The gateway ended it for good.
    #[error("{}", Ending::Farewell(*.0))]
    Dismissed(FarewellCode),
    /// Too many failures in a row.
    #[error("gave up after {failures} failures in a row; the last: {last}")]
    GaveUp {
        /// How many.
        failures: u32,
        /// The last reason.
        last: String,
    },
}

impl PublishError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(error) => error.hint(),
            Self::Dismissed(FarewellCode::Replaced) => "stop one of the two publishers".to_owned(),
            Self::Dismissed(_) => {
                "ask the gateway's operator for a new token or for leave to publish".to_owned()
            }
            Self::GaveUp { .. } => {
                "check the gateway and the network, then start the publisher again".to_owned()
            }
        }
    }
}

/// A publisher, ready to run.
pub struct Publisher {
    gateway: GatewayAddress,
    tls: Arc<rustls::ClientConfig>,
    terms: Terms,
    publications: Vec<Publication>,
    backoff: Backoff,
}

impl Publisher {
    /// Reads the roots and prepares TLS.
    pub fn new(options: PublisherOptions) -> Result<Self, DialError> {
        let tls = tls_config_showing(&options.roots, options.certificate.as_ref())?;
        let terms = Terms {
            endpoint: options.gateway.to_string(),
            secret: options.secret,
            offers: options.publications.iter().map(|one| one.offer.clone()).collect(),
            client_version: options.client_version,
            suites: options.suites,
            roots: options.organisation_roots,
            pin: options.pin,
            known: options.known_gateways,
            patience: options.patience,
        };
        Ok(Self {
            gateway: options.gateway,
            tls,
            terms,
            publications: options.publications,
            backoff: options.backoff,
        })
    }

    /// Has the device of [`Secret::Join`] enrolled, once, and does nothing else: offers and backoff play no role.
    pub async fn enroll(&self) -> Result<Enrolled, DialError> {
        let (socket, exporter) = self.dial().await?;
        match enroll(socket, exporter, &self.terms).await {
            Err(error) if self.is_succession(&error).await? => {
                let (socket, exporter) = self.dial().await?;
                enroll(socket, exporter, &self.terms).await
            }
            outcome => outcome,
        }
    }

    async fn dial(&self) -> Result<(Socket, Option<Exporter>), DialError> {
        let socket =
            dial(&self.gateway, Arc::clone(&self.tls), CONNECT_PATH, None, self.terms.patience).await?;
        let exporter = channel_binding(socket.get_ref().get_ref().1);
        Ok((socket, exporter))
    }

    /// Publishes until `stop` is cancelled (then `Ok`) or nothing can be done any more. Tells every step to `events`.
    pub async fn run(
        &self,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<(), PublishError> {
        let origin = Arc::new(Origin::new(&self.publications, events.clone()));
        let mut kept = Kept::default();
        let mut failures = 0;
        loop {
            tell(&events, Event::Connecting { gateway: self.gateway.to_string() }).await;
            let attempt = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // A ticket works once: whatever comes of this attempt, it is gone; the name stays.
                attempt = self.connect(Kept { publisher: kept.publisher.clone(), ticket: kept.ticket.take() }) => attempt,
            };
            let last = match attempt {
                Err(error) if error.is_final() => {
                    tell(&events, Event::Refused { reason: error.to_string(), hint: error.hint() }).await;
                    return Err(PublishError::Refused(error));
                }
                Err(error) => {
                    failures += 1;
                    tell(&events, Event::Failed { reason: error.to_string(), hint: error.hint() }).await;
                    error.to_string()
                }
                Ok(mut established) => {
                    kept = std::mem::take(&mut established.kept);
                    let since = Instant::now();
                    let ending = self.publish(established, &origin, &events, &stop).await;
                    tell(&events, Event::Disconnected { reason: ending.to_string() }).await;
                    match ending {
                        Ending::Stopped => return Ok(()),
                        Ending::Farewell(code @ (FarewellCode::Revoked | FarewellCode::Replaced)) => {
                            return Err(PublishError::Dismissed(code));
                        }
                        _ => {}
                    }
                    // A gateway that takes us and drops us at once must not be hammered either.
                    failures = if since.elapsed() < self.backoff.settled_after { failures + 1 } else { 1 };
                    ending.to_string()
                }
            };
            self.pause(failures, last, &events, &stop).await?;
        }
    }

    async fn connect(&self, kept: Kept) -> Result<Established<Socket>, DialError> {
        let publisher = kept.publisher.clone();
        let (socket, exporter) = self.dial().await?;
        match establish(socket, exporter, &self.terms, kept).await {
            Err(error) if self.is_succession(&error).await? => {
                let (socket, exporter) = self.dial().await?;
                establish(socket, exporter, &self.terms, Kept { publisher, ticket: None }).await
            }
            outcome => outcome,
        }
    }

    /// Whether other keys answered than those that are known, and were named by those; they are known from then on.
    async fn is_succession(&self, error: &DialError) -> Result<bool, DialError> {
        let DialError::Identity(KnownGatewaysError::Changed { known, shown, .. }) = error else {
            return Ok(false);
        };
        let (keys, limits) = ((*known, *shown), (connection::now(), self.terms.patience));
        Ok(successor::is_named(&self.gateway, &self.tls, &self.terms.known, keys, limits).await?)
    }

    async fn publish(
        &self,
        established: Established<Socket>,
        origin: &Arc<Origin>,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Ending {
        let Established { stream, accepted, certificate, trust, suite, mode, id, resumed, .. } = established;
        let body = certificate.body();
        let connected = Event::Connected {
            gateway: self.gateway.to_string(),
            identity: format!("{}/{}", body.organisation, body.gateway),
            fingerprint: certificate.fingerprint(),
            trust,
            suite,
            mode,
            resumed,
        };
        tell(events, connected).await;
        for tunnel in &accepted.tunnels {
            tell(events, Event::registered(tunnel, id)).await;
        }
        serve(stream, accepted.limits, Arc::clone(origin), stop).await
    }

    async fn pause(
        &self,
        failures: u32,
        last: String,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        let Some(after) = self.backoff.delay(failures, getrandom::u32().unwrap_or(u32::MAX)) else {
            tell(events, Event::GaveUp { failures, reason: last.clone() }).await;
            return Err(PublishError::GaveUp { failures, last });
        };
        tell(events, Event::Retrying { after, failures }).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(after) => {}
        }
        Ok(())
    }
}

/// Nobody needs to listen.
async fn tell(events: &mpsc::Sender<Event>, event: Event) {
    let _heard = events.send(event).await;
}
