//! `wss://…/connect`, or the same straight on TLS or on QUIC: a publisher's registration, from the handshake to the day it leaves.
//!
//! A publisher is known by its token, and may publish what policy says. Its names are its own while it is connected, and
//! for the grace period after its connection is lost; the resume ticket, which only it was given, brings them back.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, Response};
use sallyport_audit::{Draft, Kind, Outcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{Instrument as _, error_span, info};

use super::admission::note;
use super::publication::{Claim, Further, Granted, Refused, Tunnel, Wish};
use super::refusals::unready_refusal;
use super::route::Correlation;
use super::{Connection, Edge, app_health};
use crate::access::{Death, Identity, Permit, TlsFacts};
use crate::clock;
use crate::session::{AppHealth, Breaker, Heir, Route};
use crate::tunnel::transport::MessageSocket;
use crate::tunnel::{
    Acceptance, AcceptedTunnel, BareSocket, Blame, CloseReason, Farewell, FarewellCode, HandshakeError,
    Limits, Link, Offer, Refusal, RefusalCode, Registration, TunnelId, TunnelKind, accept, turn_away,
    websocket_limits,
};

/// How long a publisher may take to finish what it has when it leaves: as long as its program does when it goes to another gateway.
const LEAVING: Duration = Duration::from_hours(1);

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
    if let Err(refusal) = edge.attempts.check_handshake(connection.peer.ip()) {
        return refusal.respond(&headers, &correlation.0);
    }
    websocket_limits(upgrade).on_upgrade(move |socket| {
        let publishers = edge.publishers.clone();
        publishers.track_future(serve(edge, connection, correlation, (socket, "websocket")))
    })
}

/// Serves a publisher that speaks the tunnel's protocol straight on `transport`.
pub(super) async fn serve_bare<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: Edge,
    connection: Arc<Connection>,
    socket: BareSocket<S>,
    transport: &'static str,
) {
    let correlation = Correlation::fresh();
    let unready = edge.readiness.check().err().map(|unready| unready.in_public().to_owned());
    let barred = || edge.attempts.check_handshake(connection.peer.ip()).err().map(|refusal| refusal.detail);
    if let Some(reason) = unready.or_else(barred) {
        info!(peer = %connection.peer, reason, "a publisher is not taken now");
        let refusal = Refusal::new(RefusalCode::Unavailable, reason);
        return turn_away(socket, &refusal, edge.bounds.tls_handshake).await;
    }
    // A task of its own, as a WebSocket that was upgraded is: it outlives the listener, and hears goodbye.
    let publishers = edge.publishers.clone();
    publishers.spawn(serve(edge, connection, correlation, (socket, transport)));
}

/// What is logged of a publisher stands under the id of its registration.
async fn serve<M: MessageSocket>(
    edge: Edge,
    connection: Arc<Connection>,
    correlation: Correlation,
    socket: (M, &'static str),
) {
    let span = error_span!("publisher", correlation = correlation.0);
    register(edge, connection, correlation, socket).instrument(span).await;
}

async fn register<M: MessageSocket>(
    edge: Edge,
    connection: Arc<Connection>,
    correlation: Correlation,
    (socket, transport): (M, &'static str),
) {
    let limits = Limits {
        handshake_timeout: edge.bounds.tls_handshake,
        suites: edge.bounds.suites.to_vec(),
        heartbeat_interval: edge.bounds.heartbeat,
        heartbeat_timeout: edge.bounds.heartbeat_timeout,
        ..Limits::default()
    };
    let identity = Arc::clone(&edge.identity.borrow());
    let accepted = accept(socket, identity.as_ref(), &edge.tickets, connection.exporter, limits).await;
    // Held no longer than the handshake: an identity that was replaced goes when nobody shows it any more.
    drop(identity);
    let registration = match accepted {
        Ok(registration) => registration,
        Err(error) => return handshake_refused(&edge, &connection, &correlation, &error).await,
    };
    let wish = Wish { edge: &edge, connection: &connection, correlation: &correlation, transport };
    let Some(registration) = wish.enroll(registration).await else { return };
    // Copied out: a registration holds the socket, which no other task may look at while this one waits.
    let claim = Claim::of(&registration);
    // Nobody's name is erased while a record of theirs is still to be written.
    let (identity, _naming) = match wish.identify(&claim).await {
        Ok(known) => known,
        Err(refused) => return wish.refuse(registration, refused).await,
    };
    if claim.is_joining() {
        return match wish.further(&claim, &identity).await {
            Ok(further) => wish.join(registration, further).await,
            Err(refused) => wish.refuse(registration, refused).await,
        };
    }
    match wish.grant(&claim, identity).await {
        Ok(granted) => wish.bring_up(registration, granted).await,
        Err(refused) => wish.refuse(registration, refused).await,
    }
}

async fn handshake_refused(
    edge: &Edge,
    connection: &Connection,
    correlation: &Correlation,
    error: &HandshakeError,
) {
    info!(peer = %connection.peer, %error, "handshake refused");
    let address = connection.peer.ip();
    let barred = match error.blame() {
        Blame::Peer => edge.attempts.failed(address),
        Blame::Nobody => edge.attempts.fruitless(address),
        Blame::Own => false,
    };
    let draft = Draft::new(Kind::HandshakeRefused, Outcome::Denied)
        .source(connection.peer.to_string())
        .correlation(correlation.0.as_str())
        .detail("reason", error.to_string());
    note(edge, if barred { draft.detail("address_barred", true) } else { draft }).await;
}

impl Wish<'_> {
    async fn refuse<M: MessageSocket>(&self, registration: Registration<M>, refused: Refused) {
        let (draft, refusal) = *refused;
        info!(peer = %self.connection.peer, reason = refusal.reason, "publisher refused");
        note(self.edge, draft).await;
        registration.refuse(refusal).await;
    }

    /// Adds a further connection to its publisher's link, and stands by until it is gone, or the leave that it came with.
    async fn join<M: MessageSocket>(&self, registration: Registration<M>, further: Further) {
        let Further { link, permits } = further;
        let joined = match registration.join(&link).await {
            Ok(joined) => joined,
            Err(error) => {
                return info!(peer = %self.connection.peer, %error, "a further connection was not taken");
            }
        };
        // What is published is the first connection's business, and outlives this one.
        drop(link);
        info!(peer = %self.connection.peer, transport = self.transport, "a further connection of a publisher");
        let mut deaths = deaths(permits);
        let reason = tokio::select! {
            reason = joined.ended() => reason,
            Some(_dead) = deaths.join_next() => {
                joined.close(Farewell { code: FarewellCode::Revoked, grace: Duration::ZERO });
                joined.ended().await
            }
        };
        info!(peer = %self.connection.peer, %reason, "a further connection of a publisher ended");
    }

    /// Records the tunnels, tells the publisher, and stands by until it is gone.
    async fn bring_up<M: MessageSocket>(&self, registration: Registration<M>, granted: Granted) {
        let edge = self.edge;
        let Granted { identity, reservation, protection, ticket, tunnels } = granted;
        for tunnel in &tunnels {
            let draft = self
                .decided(tunnel.permit.explanation(), Kind::TunnelRegistered)
                .detail("tunnel_id", tunnel.id.to_string())
                .detail("kind", tunnel.offer.kind.as_str())
                .detail("address", tunnel.url.as_str())
                .detail("transport", self.transport)
                .detail("resumed", reservation.resumed);
            let draft = protection.note(TlsFacts::note(self.connection.tls.as_ref(), draft));
            if let Err(error) = edge.ledger.append(draft).await {
                let (_, refusal) = *self.unavailable(&error.to_string());
                return registration.refuse(refusal).await;
            }
        }
        let accepted = |tunnel: &Tunnel| AcceptedTunnel {
            id: tunnel.id,
            name: tunnel.offer.name.clone(),
            url: tunnel.url.clone(),
        };
        let acceptance = Acceptance { tunnels: tunnels.iter().map(accepted).collect(), resume: ticket };
        let link = match registration.accept(acceptance).await {
            Ok(link) => link,
            Err(error) => {
                for tunnel in &tunnels {
                    self.record_end(
                        Kind::TunnelLost,
                        &identity,
                        &tunnel.offer,
                        tunnel.id,
                        &error.to_string(),
                    )
                    .await;
                }
                return;
            }
        };
        let mut permits = Vec::with_capacity(tunnels.len());
        let mut apps = app_health::Watched::new();
        let mut registered = Vec::with_capacity(tunnels.len());
        for Tunnel { offer, id, port, permit, .. } in tunnels {
            let route = Route {
                name: offer.name.clone(),
                kind: offer.kind,
                owner: identity.subject().to_string(),
                id: id.to_string(),
                since: clock::now(),
                protection,
                transport: self.transport,
                link: link.clone(),
                breaker: Arc::new(Breaker::new(edge.bounds.breaker)),
                app: Arc::default(),
                heir: Heir::default(),
            };
            apps.insert(offer.name.clone(), (route.id.clone(), Arc::clone(&route.app)));
            let follows = |old: &Route, new: &Arc<Route>| {
                // Moved first: what goes on there is a session of the new registration.
                edge.broker.tunnel_moved(&old.id, &new.id);
                old.heir.is(new);
            };
            for old in reservation.succeed(route, follows) {
                old.link.close(Farewell { code: FarewellCode::Replaced, grace: Duration::ZERO });
                edge.broker.tunnel_gone(&old.id);
            }
            match port {
                Some(port) => port.keep(edge, &offer.name),
                // The name was another kind of tunnel's before: its port is not this one's.
                None => edge.close_ports(&offer.name),
            }
            permits.push(permit);
            registered.push((offer, id));
        }
        drop(reservation);
        info!(subject = %identity.subject(), tunnels = registered.len(), "publisher connected");
        let ids: Vec<TunnelId> = registered.iter().map(|(_, id)| *id).collect();
        // Not a task of its own: what it records names the publisher, which nobody erases as long as this one waits.
        let who = identity.subject().to_string();
        let working: Vec<_> = apps.values().map(|(_, app)| Arc::clone(app)).collect();
        let watching = app_health::watch(edge.clone(), link.clone(), who, apps);
        let mut deaths = deaths(permits);
        let reason = tokio::select! {
            reason = stand_by(edge, &link, &mut deaths, &ids) => reason,
            never = async { watching.await; std::future::pending::<std::convert::Infallible>().await } => match never {},
        };
        info!(subject = %identity.subject(), %reason, "publisher disconnected");
        self.leave(&identity, &registered, &reason).await;
        if reason == CloseReason::PublisherLeft {
            finish(edge, (&link, &working), &mut deaths, &ids).await;
        } else if matches!(reason, CloseReason::HeartbeatLost | CloseReason::Broken(_)) {
            // What waits for it ends with its leave to publish, also while it is away.
            let edge = edge.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(edge.routes.grace()) => {}
                    Some(death) = deaths.join_next() => owner_removed(&edge, death, &ids),
                }
            });
        }
    }

    /// Records that the tunnels are gone, and keeps their names or frees them.
    async fn leave(&self, identity: &Identity, registered: &[(Offer, TunnelId)], reason: &CloseReason) {
        let edge = self.edge;
        let lost = matches!(reason, CloseReason::HeartbeatLost | CloseReason::Broken(_));
        for (offer, id) in registered {
            let kind = if lost { Kind::TunnelLost } else { Kind::TunnelClosed };
            self.record_end(kind, identity, offer, *id, &reason.to_string()).await;
            let id = id.to_string();
            if !lost {
                edge.routes.free(&offer.name, &id);
                // Flows of UDP have no end of their own, and go with the port. What else there is goes on to its end.
                let has_ends = !matches!(offer.kind, TunnelKind::Udp { .. });
                if !has_ends || *reason != CloseReason::PublisherLeft {
                    edge.broker.tunnel_gone(&id);
                }
                edge.close_ports_of_the_last(&offer.name);
                continue;
            }
            if edge.routes.lost(&offer.name, &id, clock::monotonic()) {
                let (edge, name) = (edge.clone(), offer.name.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(edge.routes.grace()).await;
                    if edge.routes.free(&name, &id) {
                        edge.close_ports_of_the_last(&name);
                        edge.broker.tunnel_gone(&id);
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

    pub(super) fn draft(&self, kind: Kind, outcome: Outcome) -> Draft {
        Draft::new(kind, outcome)
            .source(self.connection.peer.to_string())
            .correlation(self.correlation.0.as_str())
    }
}

/// Tells of each permit's end.
fn deaths(permits: Vec<Permit>) -> tokio::task::JoinSet<Death> {
    permits.into_iter().map(|permit| async move { permit.died().await }).collect()
}

/// Waits until the link closes, or until the leave to publish any of its tunnels ends; then the link is closed.
async fn stand_by(
    edge: &Edge,
    link: &Link,
    deaths: &mut tokio::task::JoinSet<Death>,
    ids: &[TunnelId],
) -> CloseReason {
    let death = tokio::select! {
        reason = link.closed() => return reason,
        Some(death) = deaths.join_next() => death,
    };
    // Before the link, which would take the sessions with it and tell nobody why.
    owner_removed(edge, death, ids);
    link.close(Farewell { code: FarewellCode::Revoked, grace: Duration::ZERO });
    link.closed().await
}

/// A publisher that leaves in order brings to its end what it has begun: its sessions go on until then, or until the leave to
/// publish ends, and not for ever.
async fn finish(
    edge: &Edge,
    (link, working): (&Link, &[Arc<AppHealth>]),
    deaths: &mut tokio::task::JoinSet<Death>,
    ids: &[TunnelId],
) {
    let over = async {
        link.gone().await;
        // What came last may still be on its way to its visitor.
        futures_util::future::join_all(working.iter().map(|app| app.idle())).await;
    };
    tokio::select! {
        () = over => {}
        Some(death) = deaths.join_next() => owner_removed(edge, death, ids),
        () = tokio::time::sleep(LEAVING) => {}
    }
    for id in ids {
        edge.broker.tunnel_gone(&id.to_string());
    }
}

fn owner_removed(edge: &Edge, death: Result<Death, tokio::task::JoinError>, ids: &[TunnelId]) {
    let decided_at = death.map_or_else(|_| clock::monotonic(), |death| death.decided_at);
    for id in ids {
        edge.broker.tunnel_ended(&id.to_string(), decided_at, "owner-removed");
    }
}
