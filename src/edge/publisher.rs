//! `wss://…/connect`: a publisher's registration, from the handshake to the day it leaves.
//!
//! A publisher is known by its token, and may publish what policy says. Its names are its own while it is connected, and
//! for the grace period after its connection is lost; the resume ticket, which only it was given, brings them back.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::ws::WebSocket;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, Response};
use sallyport_audit::{Draft, Kind, Outcome};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::{info, warn};

use super::http::{note, unready_refusal};
use super::route::Correlation;
use super::tcp::PortError;
use super::{Connection, Edge};
use crate::access::{Action, AuthError, Context, Decision, Identity, Object, Permit};
use crate::clock;
use crate::session::{NameTaken, Route, explain};
use crate::tunnel::{
    Acceptance, AcceptedTunnel, CloseReason, Farewell, FarewellCode, HandshakeError, Limits, Link, Offer,
    Refusal, RefusalCode, Registration, Suite, TunnelId, TunnelKind, accept, websocket_limits,
};

/// Bytes of a resume ticket: nobody guesses it.
const TICKET: usize = 32;

/// Answers `GET /connect`.
pub(super) async fn connect(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    if let Err(unready) = edge.readiness.check() {
        return unready_refusal(&unready).respond(&headers, &correlation.0);
    }
    // Each hello costs two signatures of the token: an address that fails again and again does not get that far.
    if let Err(refusal) = edge.attempts.check(connection.peer.ip()) {
        return refusal.respond(&headers, &correlation.0);
    }
    websocket_limits(upgrade).on_upgrade(move |socket| {
        let publishers = edge.publishers.clone();
        publishers.track_future(serve(edge, connection, correlation, socket))
    })
}

async fn serve(edge: Edge, connection: Arc<Connection>, correlation: Correlation, socket: WebSocket) {
    let limits = Limits {
        handshake_timeout: edge.bounds.tls_handshake,
        heartbeat_interval: edge.bounds.heartbeat,
        heartbeat_timeout: edge.bounds.heartbeat_timeout,
        ..Limits::default()
    };
    let registration = match accept(socket, edge.identity.as_ref(), connection.exporter, limits).await {
        Ok(registration) => registration,
        Err(error) => return handshake_refused(&edge, &connection, &correlation, &error).await,
    };
    let wish = Wish { edge: &edge, connection: &connection, correlation: &correlation };
    // Copied out: a registration holds the socket, which no other task may look at while this one waits.
    let claim = Claim::of(&registration);
    match wish.grant(&claim).await {
        Ok(granted) => wish.bring_up(registration, granted).await,
        Err(refused) => {
            let (draft, refusal) = *refused;
            info!(peer = %connection.peer, reason = refusal.reason, "publisher refused");
            note(&edge, draft).await;
            registration.refuse(refusal).await;
        }
    }
}

async fn handshake_refused(
    edge: &Edge,
    connection: &Connection,
    correlation: &Correlation,
    error: &HandshakeError,
) {
    info!(peer = %connection.peer, %error, "handshake refused");
    edge.attempts.failed(connection.peer.ip());
    let draft = Draft::new(Kind::HandshakeRefused, Outcome::Denied)
        .source(connection.peer.to_string())
        .correlation(correlation.0.as_str())
        .detail("reason", error.to_string());
    note(edge, draft).await;
}

/// A registration in the course of being decided.
struct Wish<'a> {
    edge: &'a Edge,
    connection: &'a Connection,
    correlation: &'a Correlation,
}

/// What a publisher shows and wants.
struct Claim {
    credential: SecretString,
    offers: Vec<Offer>,
    resume: Vec<u8>,
    suite: Suite,
    sealed: bool,
    version: String,
}

impl Claim {
    fn of(registration: &Registration<WebSocket>) -> Self {
        Self {
            credential: SecretString::from(registration.credential()),
            offers: registration.offers().to_vec(),
            resume: registration.resume().to_vec(),
            suite: registration.suite(),
            sealed: registration.sealed(),
            version: registration.client_version().to_owned(),
        }
    }
}

/// What a publisher is given.
struct Granted {
    identity: Identity,
    publisher: String,
    ticket: Vec<u8>,
    tunnels: Vec<(Offer, TunnelId, String, Permit)>,
}

/// A refusal, and the record of it. Boxed: a record is large, and refusing is rare.
type Refused = Box<(Draft, Refusal)>;

impl Wish<'_> {
    async fn grant(&self, claim: &Claim) -> Result<Granted, Refused> {
        let edge = self.edge;
        let identity = edge
            .access
            .authenticate(claim.credential.expose_secret(), clock::now())
            .map_err(|error| self.not_authenticated(&error))?;
        let accepted = self
            .draft(Kind::HandshakeAccepted, Outcome::Success)
            .subject(identity.subject().to_string())
            .detail("suite", claim.suite.name())
            .detail("post_quantum", claim.suite.is_post_quantum())
            .detail("sealed", claim.sealed)
            .detail("client", claim.version.as_str());
        edge.ledger.append(accepted).await.map_err(|error| self.unavailable(&error.to_string()))?;

        let offers = claim.offers.as_slice();
        let (ticket, publisher) = match claim.resume.as_slice() {
            [] => {
                let mut ticket = vec![0; TICKET];
                getrandom::fill(&mut ticket).map_err(|_| self.unavailable("there is no randomness"))?;
                let publisher = hex::encode(&ticket);
                (ticket, publisher)
            }
            resumed => (resumed.to_vec(), hex::encode(resumed)),
        };
        let mut tunnels = Vec::with_capacity(offers.len());
        for (index, offer) in offers.iter().enumerate() {
            if offers.iter().take(index).any(|earlier| earlier.name == offer.name) {
                let reason = format!("`{}` is offered twice", offer.name);
                return Err(self.refused(&identity, offer, RefusalCode::Malformed, reason));
            }
            let permit = self.permit(&identity, offer)?;
            self.name_is_free(&identity, &publisher, offer)?;
            tunnels.push((offer, permit));
        }
        self.not_too_many(&identity, &publisher, offers)?;
        let mut granted = Vec::with_capacity(tunnels.len());
        for (offer, permit) in tunnels {
            let id = TunnelId::new();
            let url = self.address(&identity, offer).await?;
            granted.push((offer.clone(), id, url, permit));
        }
        Ok(Granted { identity, publisher, ticket, tunnels: granted })
    }

    fn permit(&self, identity: &Identity, offer: &Offer) -> Result<Permit, Refused> {
        let context = Context::at(clock::now()).from_source(self.connection.peer);
        let object = Object::tunnel(offer.name.as_str())
            .map_err(|error| self.refused(identity, offer, RefusalCode::Malformed, error.to_string()))?;
        let explanation = match self.edge.access.authorize(identity, &object, Action::Publish, &context) {
            Decision::Allowed(permit) => return Ok(permit),
            Decision::NeedsApproval { explanation, .. } | Decision::Denied { explanation } => explanation,
        };
        let reason = format!("{} may not publish `{}`: {}", identity.subject(), offer.name, explanation.why);
        let (draft, refusal) = *self.refused(identity, offer, RefusalCode::NotAllowed, reason);
        Err(Box::new((explain(draft, &explanation), refusal)))
    }

    fn name_is_free(&self, identity: &Identity, publisher: &str, offer: &Offer) -> Result<(), Refused> {
        let owner = identity.subject().to_string();
        self.edge.routes.check(&offer.name, &owner, publisher, clock::monotonic()).map_err(
            |taken: NameTaken| self.refused(identity, offer, RefusalCode::NameTaken, taken.to_string()),
        )
    }

    fn not_too_many(&self, identity: &Identity, publisher: &str, offers: &[Offer]) -> Result<(), Refused> {
        let most = self.edge.bounds.tunnels_per_user;
        let others = self.edge.routes.count_of(&identity.subject().to_string(), publisher);
        match offers.first() {
            Some(offer) if others + offers.len() > most => {
                let reason = format!("{} has {others} tunnels; {most} are allowed", identity.subject());
                Err(self.refused(identity, offer, RefusalCode::TooMany, reason))
            }
            _ => Ok(()),
        }
    }

    /// Where visitors reach it. A TCP tunnel gets its port here.
    async fn address(&self, identity: &Identity, offer: &Offer) -> Result<String, Refused> {
        let edge = self.edge;
        // A TCP tunnel's too: whoever opens it in a browser is told how to reach it.
        let host = format!("{}.{}", offer.name, edge.domain);
        Arc::clone(&edge.certificates).ensure(host).await;
        match offer.kind {
            TunnelKind::Http => {
                let port = if edge.port == 443 { String::new() } else { format!(":{}", edge.port) };
                Ok(format!("https://{}.{}{port}", offer.name, edge.domain))
            }
            TunnelKind::Tcp { port } => match edge.tcp.open(edge, &offer.name, port).await {
                Ok(port) => Ok(format!("tcp://{}:{port}", edge.domain)),
                Err(
                    error @ (PortError::OutOfRange { .. }
                    | PortError::InUse { .. }
                    | PortError::AllInUse { .. }),
                ) => Err(self.refused(identity, offer, RefusalCode::PortTaken, error.to_string())),
            },
        }
    }

    /// Records the tunnels, tells the publisher, and stands by until it is gone.
    async fn bring_up(&self, registration: Registration<WebSocket>, granted: Granted) {
        let edge = self.edge;
        let Granted { identity, publisher, ticket, tunnels } = granted;
        for (offer, id, url, permit) in &tunnels {
            let draft = explain(self.draft(Kind::TunnelRegistered, Outcome::Success), permit.explanation())
                .detail("tunnel_id", id.to_string())
                .detail("kind", offer.kind.as_str())
                .detail("address", url.as_str())
                .detail("resumed", !registration.resume().is_empty());
            if let Err(error) = edge.ledger.append(draft).await {
                let (_, refusal) = *self.unavailable(&error.to_string());
                return registration.refuse(refusal).await;
            }
        }
        let acceptance = Acceptance {
            tunnels: tunnels
                .iter()
                .map(|(offer, id, url, _)| AcceptedTunnel {
                    id: *id,
                    name: offer.name.clone(),
                    url: url.clone(),
                })
                .collect(),
            resume: ticket,
        };
        let link = match registration.accept(acceptance).await {
            Ok(link) => link,
            Err(error) => {
                for (offer, id, ..) in &tunnels {
                    self.record_end(Kind::TunnelLost, &identity, offer, *id, &error.to_string()).await;
                }
                return;
            }
        };
        let mut permits = Vec::with_capacity(tunnels.len());
        let mut registered = Vec::with_capacity(tunnels.len());
        for (offer, id, _, permit) in tunnels {
            let route = Route {
                name: offer.name.clone(),
                kind: offer.kind,
                owner: identity.subject().to_string(),
                publisher: publisher.clone(),
                id: id.to_string(),
                since: clock::now(),
                link: link.clone(),
            };
            match edge.routes.register(route, clock::monotonic()) {
                Ok(Some(old)) => old
                    .link
                    .close(Farewell { code: FarewellCode::Replaced, grace: std::time::Duration::ZERO }),
                Ok(None) => {}
                // Somebody took the name between the check and now; both were told that they have it, this one is put right.
                Err(taken) => warn!(%taken, "two publishers raced for a name"),
            }
            permits.push(permit);
            registered.push((offer, id));
        }
        info!(subject = %identity.subject(), tunnels = registered.len(), "publisher connected");
        let reason = stand_by(&link, permits).await;
        info!(subject = %identity.subject(), %reason, "publisher disconnected");
        self.leave(&identity, &registered, &reason).await;
    }

    async fn leave(&self, identity: &Identity, registered: &[(Offer, TunnelId)], reason: &CloseReason) {
        let edge = self.edge;
        let lost = matches!(reason, CloseReason::HeartbeatLost | CloseReason::Broken(_));
        for (offer, id) in registered {
            let kind = if lost { Kind::TunnelLost } else { Kind::TunnelClosed };
            self.record_end(kind, identity, offer, *id, &reason.to_string()).await;
            let id = id.to_string();
            if !lost {
                if edge.routes.free(&offer.name, &id) {
                    edge.tcp.close(&offer.name);
                }
                continue;
            }
            if edge.routes.lost(&offer.name, &id, clock::monotonic()) {
                let (edge, name) = (edge.clone(), offer.name.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(edge.routes.grace()).await;
                    if edge.routes.free(&name, &id) {
                        edge.tcp.close(&name);
                        edge.broker.tunnel_gone(&name);
                    }
                });
            }
        }
    }

    async fn record_end(&self, kind: Kind, identity: &Identity, offer: &Offer, id: TunnelId, reason: &str) {
        let draft = self
            .draft(kind, Outcome::Success)
            .subject(identity.subject().to_string())
            .object(format!("tunnel:{}", offer.name))
            .detail("tunnel_id", id.to_string())
            .detail("reason", reason);
        note(self.edge, draft).await;
    }

    fn draft(&self, kind: Kind, outcome: Outcome) -> Draft {
        Draft::new(kind, outcome)
            .source(self.connection.peer.to_string())
            .correlation(self.correlation.0.as_str())
    }

    fn not_authenticated(&self, error: &AuthError) -> Refused {
        self.edge.attempts.failed(self.connection.peer.ip());
        let draft = self
            .draft(Kind::AuthFailed, Outcome::Denied)
            .object("gateway:connect")
            .detail("reason", error.code());
        let code = if matches!(error, AuthError::Expired { .. }) {
            RefusalCode::TokenExpired
        } else {
            RefusalCode::BadToken
        };
        Box::new((draft, Refusal::new(code, error.to_string())))
    }

    fn refused(&self, identity: &Identity, offer: &Offer, code: RefusalCode, reason: String) -> Refused {
        let draft = self
            .draft(Kind::TunnelRefused, Outcome::Denied)
            .subject(identity.subject().to_string())
            .action(Action::Publish.to_string())
            .object(format!("tunnel:{}", offer.name))
            .detail("reason", reason.as_str());
        Box::new((draft, Refusal::new(code, reason)))
    }

    fn unavailable(&self, why: &str) -> Refused {
        warn!(why, "no tunnel can be taken");
        let draft = self.draft(Kind::TunnelRefused, Outcome::Failure).detail("reason", why);
        Box::new((
            draft,
            Refusal::new(
                RefusalCode::Unavailable,
                "the gateway cannot record a tunnel now, so it takes none",
            ),
        ))
    }
}

/// Waits until the link closes, or until the leave to publish any of its tunnels ends; then the link is closed.
async fn stand_by(link: &Link, permits: Vec<Permit>) -> CloseReason {
    let mut deaths = tokio::task::JoinSet::new();
    for permit in permits {
        deaths.spawn(async move { permit.died().await });
    }
    tokio::select! {
        reason = link.closed() => return reason,
        Some(_) = deaths.join_next() => {}
    }
    link.close(Farewell { code: FarewellCode::Revoked, grace: std::time::Duration::ZERO });
    link.closed().await
}
