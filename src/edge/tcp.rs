//! TCP tunnels by port. A visitor on a bare port says nothing of who it is, so policy decides about `user:anonymous` from
//! its address; tunnels that need a known person are reached with `sallyport connect`, which carries a token.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, error_span, warn};

use super::admission::{Stop, admit};
use super::app_health::{self, How};
use super::arrival::Arrival;
use super::forward::trace_parent;
use super::front;
use super::listener::refused;
use super::onward::lasting;
use super::ports::{Port, Ports, first_free};
use super::route::Correlation;
use super::seats::Seat;
use super::unannounced::{ForeignHeader, Unannounced};
use super::{Connection, Edge, TcpRange, Whence};
use crate::session::{Copied, Ending, Protocol, Route, Session, copy_both_ways};
use crate::traces::StreamSpan;
use crate::tunnel::{Breakable, Ends, LinkError, TunnelName};

/// Connections that may wait to be accepted.
const QUEUE: u32 = 1024;

/// Why a TCP tunnel got no port.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortError {
    /// The wanted port is not one of ours to give.
    #[error("port {wanted} is outside the range {}-{}", range.start(), range.end())]
    OutOfRange {
        /// The wanted port.
        wanted: u16,
        /// What may be had.
        range: std::ops::RangeInclusive<u16>,
    },
    /// The wanted port is taken.
    #[error("port {wanted} is in use")]
    InUse {
        /// The wanted port.
        wanted: u16,
    },
    /// Every port of the range is taken.
    #[error("no port is free between {} and {}", range.start(), range.end())]
    AllInUse {
        /// The range.
        range: std::ops::RangeInclusive<u16>,
    },
}

/// The ports in use; clones share them.
#[derive(Clone)]
pub struct TcpPorts {
    range: TcpRange,
    open: Ports,
    tasks: TaskTracker,
}

impl TcpPorts {
    /// Ports of `range`, none open.
    pub fn new(range: TcpRange) -> Self {
        Self { range, open: Ports::default(), tasks: TaskTracker::new() }
    }

    /// The port on which `name` is reached: the one it has, or a newly opened one. A new one is given up again unless
    /// [`Port::keep`] is called.
    pub(super) fn open(
        &self,
        edge: &Edge,
        name: &TunnelName,
        wanted: Option<u16>,
    ) -> Result<Port, PortError> {
        let fits = |port: u16| wanted.is_none_or(|wanted| wanted == port);
        self.open.hold(name, fits, |stop| {
            let (number, listener) = self.bind(name, wanted)?;
            self.tasks.spawn(accept(edge.clone(), name.clone(), listener, stop, self.tasks.clone()));
            Ok(number)
        })
    }

    /// Gives up the port of `name`, if that is so `once` nobody can get it any more.
    pub(super) fn close_if(&self, name: &TunnelName, once: impl FnOnce() -> bool) {
        self.open.close_if(name, once);
    }

    /// Stops accepting on every port. Open sessions are the broker's to end.
    pub fn close_all(&self) {
        self.open.close_all();
    }

    fn bind(&self, name: &TunnelName, wanted: Option<u16>) -> Result<(u16, TcpListener), PortError> {
        let range = &self.range.ports;
        let bind = |number: u16| listen(SocketAddr::from((self.range.address, number)));
        if let Some(wanted) = wanted {
            if !range.contains(&wanted) {
                return Err(PortError::OutOfRange { wanted, range: range.clone() });
            }
            return first_free([wanted], bind).ok_or(PortError::InUse { wanted });
        }
        let favourite = favourite(name, range);
        first_free((favourite..=*range.end()).chain(*range.start()..favourite), bind)
            .ok_or_else(|| PortError::AllInUse { range: range.clone() })
    }
}

/// As [`TcpListener::bind`], with the same queue, at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port whose last connections have not quite gone may be had again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// The port that a name is given first of all: the same one each time, so that a tunnel keeps its address when its publisher
/// was away for longer than its name was kept, or the gateway was.
fn favourite(name: &TunnelName, range: &std::ops::RangeInclusive<u16>) -> u16 {
    let size = u64::from(range.end().saturating_sub(*range.start())) + 1;
    let digest: [u8; 32] = Sha256::digest(name.as_str()).into();
    let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    u16::try_from(number % size).map_or(*range.start(), |offset| range.start().saturating_add(offset))
}

async fn accept(
    edge: Edge,
    name: TunnelName,
    listener: TcpListener,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => match front::seat(&edge, peer) {
                Ok(seat) => {
                    tasks.spawn(serve(edge.clone(), name.clone(), socket, peer, seat));
                }
                Err(full) if full.first => {
                    tasks.spawn(refused(edge.clone(), peer));
                }
                Err(_) => {}
            },
            Err(error) => {
                warn!(%error, tunnel = %name, "a TCP connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(edge: Edge, name: TunnelName, socket: TcpStream, peer: SocketAddr, seat: Seat) {
    // Only a speed-up: a socket without it still works.
    let _ = socket.set_nodelay(true);
    let mut arrival = Arrival::new(socket);
    let Some((whence, seat)) = front::introduce(&edge, &mut arrival, peer, seat).await else { return };
    carry(&edge, &name, arrival, (whence, seat), Protocol::Tcp).await;
}

/// Decides about a visitor of whom no more is known than whence it comes, and moves its bytes. What is logged meanwhile stands
/// under its id.
pub(super) async fn carry(
    edge: &Edge,
    name: &TunnelName,
    arrival: Arrival,
    visitor: (Whence, Seat),
    protocol: Protocol,
) {
    let correlation = Correlation::fresh();
    let span = error_span!("stream", correlation = correlation.0, tunnel = name.as_str());
    decide_and_join(edge, name, arrival, visitor, (protocol, correlation)).instrument(span).await;
}

async fn decide_and_join(
    edge: &Edge,
    name: &TunnelName,
    arrival: Arrival,
    (whence, seat): (Whence, Seat),
    (protocol, correlation): (Protocol, Correlation),
) {
    let peer = whence.peer;
    // Also one who is refused must not take it for an empty answer.
    arrival.breaks();
    let connection = Connection::new(whence, None, None, None, Some(seat));
    match admit(edge, &connection, name, &HeaderMap::new(), protocol, &correlation).await {
        Ok((session, route)) => {
            connection.forget_sessions();
            let span = edge.traces.root_stream(&correlation.0, route.name.as_str(), protocol.as_str());
            join(edge, &session, &route, (&connection, &correlation), arrival, span).await;
        }
        // A TCP visitor has no way to read why: the record and the log say it.
        Err(Stop::Refused(refusal)) => {
            debug!(%peer, tunnel = %name, code = refusal.code, "TCP visitor refused");
        }
        Err(_) => debug!(%peer, tunnel = %name, "TCP visitor refused: leave is needed"),
    }
}

/// Opens a stream to the publisher and moves the bytes of `visitor`, for as long as the session may. The visitor sees it break
/// unless app and visitor both came to their end. `span` is that of the stream, ended with it.
pub(super) async fn join(
    edge: &Edge,
    session: &Session,
    route: &Arc<Route>,
    (connection, correlation): (&Connection, &Correlation),
    mut visitor: impl Breakable,
    mut span: Option<StreamSpan>,
) {
    visitor.breaks();
    let Ok(sent) = app_health::admit(edge, route).await else {
        session.note_ending(Ending::PublisherClosed);
        return debug!(tunnel = %route.name, "the app is unwell, or is left alone");
    };
    let _busy = route.app.busy();
    let ends = Ends { visitor: connection.peer, reached: connection.reached };
    let person = session.person();
    let (about, lasting) = ((Some(ends), trace_parent(correlation)), lasting(edge, session, route));
    let opening = route.link.connect_lasting(&person, &route.name, about, lasting);
    let opened = tokio::select! {
        biased;
        () = session.cut() => return,
        opened = tokio::time::timeout(edge.bounds.request, opening) => opened,
    };
    match opened {
        Ok(Ok(stream)) => {
            sent.went(edge, route, How::Answered).await;
            let broken = stream.broken();
            let copying = async {
                if edge.house_rules.of(&route.name).foreign_header == ForeignHeader::Pass {
                    copy_both_ways(session, &mut visitor, stream).await
                } else {
                    let on_header = || session.note_ending(Ending::HeaderUntrusted);
                    copy_both_ways(session, Unannounced::new(&mut visitor, on_header), stream).await
                }
            };
            let copied = tokio::select! {
                // Whoever moves bytes sees it first, and why.
                biased;
                copied = copying => copied,
                // Also while the visitor reads nothing, and nobody looks at the stream.
                () = broken.cancelled() => {
                    session.note_ending(Ending::PublisherClosed);
                    Copied::BrokenOff
                }
            };
            if copied == Copied::InOrder {
                visitor.ended();
                span.iter_mut().for_each(StreamSpan::ended);
            }
        }
        Ok(Err(error)) => {
            if let LinkError::Origin { fault } = error {
                sent.went(edge, route, How::Failed(fault.word())).await;
            }
            session.note_ending(not_opened(&error));
            debug!(%error, tunnel = %route.name, "the publisher did not take a TCP stream");
        }
        Err(_) => {
            sent.went(edge, route, How::Failed("late")).await;
            session.note_ending(Ending::PublisherClosed);
            debug!(tunnel = %route.name, "the publisher did not answer to a TCP stream in time");
        }
    }
}

/// How a session ends that got no stream.
pub(super) fn not_opened(error: &LinkError) -> Ending {
    if matches!(error, LinkError::Full) { Ending::TunnelFull } else { Ending::PublisherClosed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_port_in_mind_each_time_and_names_are_spread_over_the_range() {
        let range = 20_000..=20_099;
        let of = |name: &str| favourite(&TunnelName::parse(name).unwrap(), &range);
        assert_eq!(of("db"), of("db"));
        let ports: std::collections::BTreeSet<u16> =
            (0..1000).map(|number| of(&format!("db-{number}"))).collect();
        assert!(ports.iter().all(|port| range.contains(port)));
        assert_eq!(ports.len(), 100);
        assert_eq!(favourite(&TunnelName::parse("db").unwrap(), &(7..=7)), 7);
    }
}
