//! Whether a publisher gets what it wants: who it is, what policy says of each name, whether the names and ports are free.
//!
//! Either all of it or nothing: names are reserved and ports opened on the way, and are given up again when a later step fails.

use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::{Draft, Kind, Outcome};
use secrecy::ExposeSecret as _;
use tracing::warn;

use super::ports::Port;
use super::route::Correlation;
use super::{Connection, Edge};
use crate::access::{
    Action, AuthError, Context, Decision, DeviceId, Explanation, Identity, Object, Permit, TlsFacts,
    TunnelFacts,
};
use crate::clock;
use crate::session::{Doubted, Naming, NotReserved, Reservation, Wanted};
use crate::tunnel::transport::MessageSocket;
use crate::tunnel::{
    Link, Offer, Possession, Proof, Refusal, RefusalCode, Registration, Suite, TunnelId, TunnelKind,
    TunnelName,
};

/// How long a publisher may take to say that it is still there, when another of the same user wants its name. One round trip
/// over the slowest of links; less than the other waits for its answer.
const LAST_CHANCE: Duration = Duration::from_secs(3);
/// Bytes of a resume ticket: nobody guesses it.
const TICKET: usize = 32;

/// A registration in the course of being decided.
pub(super) struct Wish<'a> {
    pub(super) edge: &'a Edge,
    pub(super) connection: &'a Connection,
    pub(super) correlation: &'a Correlation,
    /// What carries the tunnel: `quic`, `tls` or `websocket`.
    pub(super) transport: &'static str,
}

/// What a publisher shows and wants.
pub(super) struct Claim {
    proof: Proof,
    possession: Option<Possession>,
    resumed: bool,
    offers: Vec<Offer>,
    resume: Vec<u8>,
    suite: Suite,
    sealed: bool,
    version: String,
}

impl Claim {
    pub(super) fn of<M: MessageSocket>(registration: &Registration<M>) -> Self {
        Self {
            proof: registration.proof().clone(),
            possession: registration.possession().cloned(),
            resumed: registration.is_resumed(),
            offers: registration.offers().to_vec(),
            resume: registration.resume().to_vec(),
            suite: registration.suite(),
            sealed: registration.sealed(),
            version: registration.client_version().to_owned(),
        }
    }

    /// Whether it wants nothing but to be a further connection of a publisher that is here.
    pub(super) fn is_joining(&self) -> bool {
        self.offers.is_empty() && !self.resume.is_empty()
    }

    /// What its handshake was agreed on, over this connection.
    fn protection(&self, connection: &Connection) -> TunnelFacts {
        let suite = (self.suite.name(), self.suite.is_post_quantum());
        TunnelFacts::new(suite, self.sealed, connection.tls.as_ref())
    }
}

/// What a publisher is given.
pub(super) struct Granted {
    pub(super) identity: Identity,
    pub(super) reservation: Reservation,
    /// What the handshake was agreed on.
    pub(super) protection: TunnelFacts,
    /// Known to this publisher alone: it comes back with it.
    pub(super) ticket: Vec<u8>,
    pub(super) tunnels: Vec<Tunnel>,
}

/// What a further connection of a publisher joins.
pub(super) struct Further {
    pub(super) link: Link,
    /// For each tunnel that will travel over it: what was decided of the publisher's first address says nothing of this one's.
    pub(super) permits: Vec<Permit>,
}

/// One tunnel that a publisher is given.
pub(super) struct Tunnel {
    pub(super) offer: Offer,
    pub(super) id: TunnelId,
    pub(super) url: String,
    pub(super) port: Option<Public>,
    pub(super) permit: Permit,
}

/// The public port of a tunnel.
pub(super) enum Public {
    Tcp(Port),
    Udp(Port),
}

impl Public {
    /// The registration is complete: what the name had of the other kind is not its own any more.
    pub(super) fn keep(self, edge: &Edge, name: &TunnelName) {
        match self {
            Self::Tcp(port) => {
                edge.udp.close_if(name, || true);
                port.keep();
            }
            Self::Udp(port) => {
                edge.tcp.close_if(name, || true);
                port.keep();
            }
        }
    }
}

/// A refusal, and the record of it. Boxed: a record is large, and refusing is rare.
pub(super) type Refused = Box<(Draft, Refusal)>;

impl Wish<'_> {
    /// Who it is; what comes with them is to be held until the last record that names them is written.
    pub(super) async fn identify(&self, claim: &Claim) -> Result<(Identity, Naming), Refused> {
        let edge = self.edge;
        let known = self
            .authenticate(claim)
            .await
            .and_then(|identity| super::credential::of_tenant(identity, &edge.tenant))
            .and_then(|identity| {
                let naming = edge.broker.naming(identity.subject().as_str());
                // Again: whoever was erased in between must not be named.
                Ok((edge.access.standing(identity, clock::now())?, naming))
            });
        known.map_err(|error| self.not_authenticated(&error))
    }

    pub(super) async fn grant(&self, claim: &Claim, identity: Identity) -> Result<Granted, Refused> {
        let edge = self.edge;
        let accepted = self.accepted(claim, &identity);
        edge.ledger.append(accepted).await.map_err(|error| self.unavailable(&error.to_string()))?;

        let protection = claim.protection(self.connection);
        let offers = claim.offers.as_slice();
        let mut permits = Vec::with_capacity(offers.len());
        for (index, offer) in offers.iter().enumerate() {
            if offers.iter().take(index).any(|earlier| earlier.name == offer.name) {
                let reason = format!("`{}` is offered twice", offer.name);
                return Err(self.refused(&identity, offer, RefusalCode::Malformed, "offered-twice", reason));
            }
            permits.push(self.permit(&identity, offer, protection)?);
        }
        let (reservation, ticket) = match self.reserve(&identity, claim)? {
            Ok(reserved) => reserved,
            Err(error) => {
                let doubted = match error {
                    NotReserved::Taken { same_owner: true, .. } => {
                        Some(self.doubt_the_silent(&identity, claim).await)
                    }
                    _ => None,
                };
                let (reservation, ticket) = self
                    .reserve(&identity, claim)?
                    .map_err(|error| self.not_reserved(&identity, claim, &error))?;
                (reservation.in_place_of(doubted), ticket)
            }
        };
        let mut tunnels = Vec::with_capacity(offers.len());
        for (offer, permit) in offers.iter().zip(permits) {
            self.own(&identity, &offer.name).await;
            let (url, port) = self.address(&identity, offer).await?;
            tunnels.push(Tunnel { offer: offer.clone(), id: TunnelId::new(), url, port, permit });
        }
        Ok(Granted { identity, reservation, protection, ticket, tunnels })
    }

    /// The link that a further connection joins, if its publisher is here and may publish from there too.
    pub(super) async fn further(&self, claim: &Claim, identity: &Identity) -> Result<Further, Refused> {
        let publisher = hex::encode(&claim.resume);
        let routes = self.edge.routes.of_publisher(identity.subject().as_str(), &publisher);
        let Some(link) = routes.first().map(|route| route.link.clone()).filter(Link::has_room) else {
            let draft = self
                .draft(Kind::TunnelRefused, Outcome::Denied)
                .subject(identity.subject().to_string())
                .detail("reason", "nothing-to-join");
            let told =
                "there is no publisher here that this connection could join, or it has all that it may have";
            return Err(Box::new((draft, Refusal::new(RefusalCode::Unavailable, told))));
        };
        let protection = claim.protection(self.connection);
        // Visitors are let in, and recorded, for how the publisher's first connection is protected.
        if let Some(route) = routes.iter().find(|route| route.protection != protection) {
            let offer = Offer { name: route.name.clone(), kind: route.kind, join: false };
            let told = "this connection is not protected as the publisher's first one is".to_owned();
            return Err(self.refused(identity, &offer, RefusalCode::NotAllowed, "other-protection", told));
        }
        let mut permits = Vec::with_capacity(routes.len());
        for route in &routes {
            let offer = Offer { name: route.name.clone(), kind: route.kind, join: false };
            permits.push(self.permit(identity, &offer, protection)?);
        }
        let joined: Vec<&str> = routes.iter().map(|route| route.id.as_str()).collect();
        let accepted = self.accepted(claim, identity).detail("joins", joined.join(" "));
        let recorded = self.edge.ledger.append(accepted).await;
        recorded.map_err(|error| self.unavailable(&error.to_string()))?;
        Ok(Further { link, permits })
    }

    /// The record of a handshake that went well.
    fn accepted(&self, claim: &Claim, identity: &Identity) -> Draft {
        let accepted = self
            .draft(Kind::HandshakeAccepted, Outcome::Success)
            .subject(identity.subject().to_string())
            .detail("suite", claim.suite.name())
            .detail("post_quantum", claim.suite.is_post_quantum())
            .detail("sealed", claim.sealed)
            .detail("transport", self.transport)
            .detail("credential", identity.proof().to_string())
            .detail("resumed", claim.resumed)
            .detail("client", claim.version.as_str());
        TlsFacts::note(self.connection.tls.as_ref(), accepted)
    }

    async fn authenticate(&self, claim: &Claim) -> Result<Identity, AuthError> {
        let identity = self.proved(claim).await?;
        let shown = self.connection.certificate.as_ref().and_then(|shown| shown.person.as_ref());
        // Behind an ingress the certificate is the ingress's, and says nothing of the publisher.
        match shown.filter(|_| !claim.sealed) {
            Some(person) if person.subject != *identity.subject() => Err(AuthError::TwoPeople),
            _ => Ok(identity),
        }
    }

    async fn proved(&self, claim: &Claim) -> Result<Identity, AuthError> {
        let (access, now) = (&self.edge.access, clock::now());
        match (&claim.proof, &claim.possession) {
            (Proof::Token(token), _) => access.recognize(token.expose_secret(), now).await,
            (Proof::Device(id), Some(shown)) => {
                let proves = |keys: &crate::access::DeviceKeys| shown.is_of(&keys.ed25519, &keys.ml_dsa);
                access.authenticate_device(DeviceId::from_bytes(*id), proves, now)
            }
            // Shown in the session before this one, which left a secret with nobody but that device.
            (Proof::Device(id), None) if claim.resumed => {
                access.authenticate_device(DeviceId::from_bytes(*id), |_| true, now)
            }
            // The exporter in the signed transcript says that it is this very TLS connection that the client speaks through.
            (Proof::Certificate, _) if claim.sealed => Err(AuthError::CertificateElsewhere),
            (Proof::Certificate, _) => {
                let person = self.connection.certificate.as_ref().and_then(|shown| shown.person.as_ref());
                let person = person.ok_or(AuthError::CertificateOfNobody)?;
                access.authenticate_certificate(person, &self.edge.tenant, now)
            }
            (Proof::Device(_) | Proof::Join { .. }, _) => Err(AuthError::Possession),
        }
    }

    fn permit(&self, identity: &Identity, offer: &Offer, protection: TunnelFacts) -> Result<Permit, Refused> {
        let context = Context::at(clock::now())
            .from_source(self.connection.peer)
            .on(self.connection.tls.as_ref())
            .through(Some(protection.into()));
        let object = Object::tunnel(offer.name.as_str()).map_err(|error| {
            self.refused(identity, offer, RefusalCode::Malformed, "bad-name", error.to_string())
        })?;
        let explanation = match self.edge.access.authorize(identity, &object, Action::Publish, &context) {
            Decision::Allowed(permit) => return Ok(permit),
            Decision::NeedsApproval { explanation, .. } | Decision::Denied { explanation } => explanation,
        };
        let reason = format!("{} may not publish `{}`: {}", identity.subject(), offer.name, explanation.why);
        let draft = self.decided(&explanation, Kind::TunnelRefused).detail("reason", "not-allowed");
        Err(Box::new((draft, Refusal::new(RefusalCode::NotAllowed, reason))))
    }

    /// Holds the names from here until the publisher has been told that they are its own.
    /// The name is theirs for now. If nobody has had a part in it yet, so is the tunnel, where the operator wants it so.
    async fn own(&self, identity: &Identity, name: &TunnelName) {
        let Ok(object) = Object::tunnel(name.as_str()) else { return };
        if !self.edge.first_publisher_owns {
            return;
        }
        if let Err(error) = self.edge.access.own_if_first(identity, object).await {
            warn!(%error, %name, "whoever published it first does not own it");
        }
    }

    /// A publisher whose host or network is gone says nothing, and holds its name until the heartbeat finds that out. If it comes
    /// back before, it must not be turned away for itself: whoever holds the name and does not answer now gives way to it. If it does
    /// not come after all, whoever was only slow has the name still.
    async fn doubt_the_silent(&self, identity: &Identity, claim: &Claim) -> Doubted {
        let routes = &self.edge.routes;
        let held =
            claim.offers.iter().flat_map(|offer| routes.held(identity.subject().as_str(), &offer.name));
        let silent = futures_util::future::join_all(held.map(|route| async move {
            let answer = tokio::time::timeout(LAST_CHANCE, route.link.health()).await;
            (!matches!(answer, Ok(Ok(_)))).then_some(route)
        }))
        .await;
        routes.doubt(silent.into_iter().flatten().collect(), clock::monotonic())
    }

    fn reserve(
        &self,
        identity: &Identity,
        claim: &Claim,
    ) -> Result<Result<(Reservation, Vec<u8>), NotReserved>, Refused> {
        let mut ticket = vec![0; TICKET];
        getrandom::fill(&mut ticket).map_err(|_| self.unavailable("there is no randomness"))?;
        let (fresh, shown) = (hex::encode(&ticket), hex::encode(&claim.resume));
        let owner = identity.subject().to_string();
        let wanted = Wanted {
            owner: &owner,
            publisher: (!shown.is_empty()).then_some(shown.as_str()),
            fresh: &fresh,
            offers: &claim.offers,
            most: self.edge.bounds.tunnels_per_user,
        };
        Ok(self.edge.routes.reserve(&wanted, clock::monotonic()).map(|reservation| {
            let ticket = if reservation.resumed { claim.resume.clone() } else { ticket };
            (reservation, ticket)
        }))
    }

    fn not_reserved(&self, identity: &Identity, claim: &Claim, error: &NotReserved) -> Refused {
        let (code, word) = match error {
            NotReserved::Taken { .. } => (RefusalCode::NameTaken, "name-taken"),
            NotReserved::TooMany { .. } => (RefusalCode::TooMany, "too-many-tunnels"),
        };
        let wanted = claim.offers.iter().find(|offer| match error {
            NotReserved::Taken { name, .. } => offer.name == *name,
            NotReserved::TooMany { .. } => true,
        });
        match wanted {
            Some(offer) => self.refused(identity, offer, code, word, error.to_string()),
            None => self.unavailable("nothing is offered"),
        }
    }

    /// Where visitors reach it. A TCP tunnel gets its port here.
    async fn address(&self, identity: &Identity, offer: &Offer) -> Result<(String, Option<Public>), Refused> {
        let edge = self.edge;
        // A TCP tunnel's too: whoever opens it in a browser is told how to reach it.
        let host = format!("{}.{}", offer.name, edge.domain);
        if matches!(offer.kind, TunnelKind::Tls) {
            return self.pass_through(identity, offer, &host).map(|url| (url, None));
        }
        for host in std::iter::once(host).chain(edge.house_rules.domains_of(&offer.name)) {
            Arc::clone(&edge.certificates).ensure(host).await;
        }
        match offer.kind {
            TunnelKind::Http | TunnelKind::Tls => {
                let port = if edge.port == 443 { String::new() } else { format!(":{}", edge.port) };
                Ok((format!("https://{}.{}{port}", offer.name, edge.domain), None))
            }
            TunnelKind::Tcp { port } => match edge.tcp.open(edge, &offer.name, port) {
                Ok(port) => Ok((format!("tcp://{}:{}", edge.domain, port.number), Some(Public::Tcp(port)))),
                Err(error) => Err(self.no_port(identity, offer, &error)),
            },
            TunnelKind::Udp { port } => match edge.udp.open(edge, &offer.name, port) {
                Ok(port) => Ok((format!("udp://{}:{}", edge.domain, port.number), Some(Public::Udp(port)))),
                Err(error) => Err(self.no_port(identity, offer, &error)),
            },
        }
    }

    /// Where a TLS tunnel is reached, if this gateway has any.
    fn pass_through(&self, identity: &Identity, offer: &Offer, host: &str) -> Result<String, Refused> {
        if self.edge.bounds.pass_through {
            return Ok(format!("tls://{host}:{}", self.edge.port));
        }
        let reason = "this gateway passes no TLS through to apps (tunnels.pass_through)".to_owned();
        Err(self.refused(identity, offer, RefusalCode::NotAllowed, "pass-through-off", reason))
    }

    fn no_port(&self, identity: &Identity, offer: &Offer, error: &dyn std::error::Error) -> Refused {
        self.refused(identity, offer, RefusalCode::PortTaken, "port-taken", error.to_string())
    }

    pub(super) fn not_authenticated(&self, error: &AuthError) -> Refused {
        let barred = self.edge.attempts.failed(self.connection.peer.ip());
        let draft = self
            .draft(Kind::AuthFailed, Outcome::Denied)
            .object("gateway:connect")
            .detail("reason", error.code());
        let draft = if barred { draft.detail("address_barred", true) } else { draft };
        let code = match error {
            AuthError::Expired { .. } => RefusalCode::TokenExpired,
            AuthError::UnknownDevice
            | AuthError::DeviceRevoked
            | AuthError::DeviceExpired { .. }
            | AuthError::Possession => RefusalCode::BadDevice,
            _ => RefusalCode::BadToken,
        };
        let refusal = Refusal { code, reason: error.to_string(), hint: error.hint().to_owned() };
        Box::new((draft, refusal))
    }

    fn refused(
        &self,
        identity: &Identity,
        offer: &Offer,
        code: RefusalCode,
        word: &'static str,
        reason: String,
    ) -> Refused {
        let draft = self
            .draft(Kind::TunnelRefused, Outcome::Denied)
            .subject(identity.subject().to_string())
            .action(Action::Publish.to_string())
            .object(format!("tunnel:{}", offer.name))
            // The sentence may name people; the word does not.
            .detail("reason", word);
        Box::new((draft, Refusal::new(code, reason)))
    }

    /// A record of a decision, from this connection.
    pub(super) fn decided(&self, explanation: &Explanation, kind: Kind) -> Draft {
        explanation
            .draft(kind)
            .source(self.connection.peer.to_string())
            .correlation(self.correlation.0.as_str())
    }

    pub(super) fn unavailable(&self, why: &str) -> Refused {
        warn!(why, "no tunnel can be taken");
        let draft = self.draft(Kind::TunnelRefused, Outcome::Failure).detail("reason", "unavailable");
        let told = "the gateway cannot record a tunnel now, so it takes none";
        Box::new((draft, Refusal::new(RefusalCode::Unavailable, told)))
    }
}
