//! `wss://…/visit/NAME`: a known person's way into a TCP tunnel, used by `sallyport connect`. One WebSocket is one session.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::{HeaderMap, Response, StatusCode};

use super::admission::{admit, answer_stop};
use super::page::Refusal;
use super::route::Correlation;
use super::tcp::join;
use super::{Connection, Edge, credential, udp};
use crate::session::Protocol;
use crate::tunnel::datagram::Framed;
use crate::tunnel::transport::MessageStream;
use crate::tunnel::{TunnelName, websocket_limits};

/// Answers `GET /visit/NAME`.
pub(super) async fn visit(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    Path(name): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    enter(edge, connection, correlation, (name, Protocol::Tcp), headers, upgrade).await
}

/// Answers `GET /visit/NAME/udp`: the same for a UDP tunnel, with datagrams on the stream. One WebSocket is one flow.
pub(super) async fn visit_datagrams(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    Path(name): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    enter(edge, connection, correlation, (name, Protocol::Udp), headers, upgrade).await
}

async fn enter(
    edge: Edge,
    connection: Arc<Connection>,
    correlation: Correlation,
    (name, protocol): (String, Protocol),
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    let name = match TunnelName::parse(&name) {
        Ok(name) => name,
        Err(error) => {
            return Refusal::new(StatusCode::NOT_FOUND, "unknown-name", error.to_string(), error.hint())
                .respond(&headers, &correlation.0);
        }
    };
    // A browser shows a certificate whatever page made it ask, and a WebSocket asks nobody for leave: a page of another site must
    // not speak into a tunnel as its visitor.
    if credential::is_from_another_site(&headers, None) {
        return Refusal::new(
            StatusCode::FORBIDDEN,
            "foreign-page",
            "a page of another site asked for this",
            "use `sallyport connect`, or open it from the gateway's own pages",
        )
        .respond(&headers, &correlation.0);
    }
    // A connection of its own, so that each visit is a session of its own.
    let own = Connection::new(
        connection.whence(),
        None,
        connection.tls.clone(),
        connection.certificate.clone(),
        None,
    );
    let (session, route) = match admit(&edge, &own, &name, &headers, protocol, &correlation).await {
        Ok(admitted) => admitted,
        Err(stop) => return answer_stop(&edge, stop, &name, &headers, "/", &correlation),
    };
    own.forget_sessions();
    websocket_limits(upgrade).on_upgrade(move |socket| async move {
        let stream = MessageStream::plain(socket);
        if protocol == Protocol::Udp {
            let (read, write) = tokio::io::split(stream);
            let visitor = (Framed::new(read), Framed::new(write));
            udp::join(&edge, &session, &route, &correlation, visitor).await;
        } else {
            let span = edge.traces.root_stream(&correlation.0, route.name.as_str(), protocol.as_str());
            join(&edge, &session, &route, (&own, &correlation), stream, span).await;
        }
        // Held so long: the seat of the connection, and what ends a visitor who reads nothing.
        drop((connection, own));
    })
}
