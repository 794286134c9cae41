//! What a publisher is told before it runs. Proves nothing and checks nothing: whoever makes the options has read them from a person.

use std::time::Duration;

use super::{
    Backoff, CertificateFiles, GatewayAddress, KnownGateways, Proxies, Publication, TlsRoots, Transport,
};
use crate::traces::Traces;
use crate::tunnel::handshake::{Fingerprint, RootKey, Secret, Suite};

/// What a publisher needs to know.
pub struct PublisherOptions {
    /// Where the gateway is.
    pub gateway: GatewayAddress,
    /// Its weight among its equals; default 1.
    pub weight: u32,
    /// Others that may serve first as well, each with its weight: one of them all is drawn; default none.
    pub equals: Vec<(GatewayAddress, u32)>,
    /// Others that serve in their place while these are away, the best first.
    pub backups: Vec<GatewayAddress>,
    /// How often it is looked for while one of them serves; default 30 s.
    pub look_back: Duration,
    /// How to speak to it, the best first; each that does not come up gives way to the next.
    pub transports: Vec<Transport>,
    /// How many connections to have, all of them up at the same time; default 1, at most [`crate::tunnel::MAX_LANES`].
    pub connections: usize,
    /// Whether each request is told, as [`super::Event::Request`], and what becomes of connections to apps; default no. Telling costs, on
    /// every one of them.
    pub tells_requests: bool,
    /// Proxies on the way; default none.
    pub proxies: Proxies,
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
    /// Connections to each web app that are made before they are needed, at most [`super::MAX_WARM`] (none to an app of HTTP/2); default none.
    pub warm: usize,
    /// Who may vouch for the certificates of apps that have one.
    pub app_roots: TlsRoots,
    /// Program and version, for the gateway's log.
    pub client_version: String,
    /// Suites that are allowed, best first.
    pub suites: Vec<Suite>,
    /// Who hears of each request as it passes; default nobody.
    pub traces: Traces,
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
            weight: 1,
            equals: Vec::new(),
            backups: Vec::new(),
            look_back: Duration::from_secs(30),
            transports: Transport::USUAL.to_vec(),
            connections: 1,
            tells_requests: false,
            proxies: Proxies::none(),
            roots: TlsRoots::System,
            certificate: None,
            organisation_roots: Vec::new(),
            pin: None,
            known_gateways,
            secret,
            publications,
            warm: 0,
            app_roots: TlsRoots::System,
            client_version: concat!("sallyport/", env!("CARGO_PKG_VERSION")).to_owned(),
            suites: Suite::by_hardware(),
            traces: Traces::default(),
            backoff: Backoff::default(),
            patience: Duration::from_secs(15),
        }
    }
}
