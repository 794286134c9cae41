//! UDP tunnels by port. All that comes from one address and port is one flow, and one flow is one session: decided, recorded
//! before its first datagram passes, counted, and cut when leave ends.
//!
//! Not trusted: the source of a datagram, which anybody can write. So there is a bound on the flows of a port and one on those of
//! an address, and whoever must know its visitors uses `sallyport connect --udp`, which carries a token.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error_span, warn};

use super::admission::{Stop, admit};
use super::app_health::{self, How};
use super::forward::trace_parent;
use super::listener::refused;
use super::ports::{Port, Ports, first_free};
use super::route::Correlation;
use super::seats::Seat;
use super::tcp::not_opened;
use super::{Connection, Edge, TcpRange};
use crate::session::{Ending, Protocol, Route, Session, pass_datagrams};
use crate::traces::StreamSpan;
use crate::tunnel::datagram::{Drain, MAX_DATAGRAM, Source, Towards, WAITING};
use crate::tunnel::{LinkError, TunnelName};

/// Flows that one port may have at a time. More than that are dropped: a flood of made-up addresses must not fill the ledger.
const FLOWS: usize = 256;

/// Why a UDP tunnel got no port.
#[derive(Debug, thiserror::Error)]
pub(super) enum UdpPortError {
    /// The wanted port is not one of ours to give.
    #[error("port {wanted} is outside the range {}-{}", range.start(), range.end())]
    OutOfRange {
        /// The wanted port.
        wanted: u16,
        /// What may be had.
        range: std::ops::RangeInclusive<u16>,
    },
    /// Taken, all of them or the one that was wanted.
    #[error("no UDP port is free between {} and {}", range.start(), range.end())]
    InUse {
        /// What was tried.
        range: std::ops::RangeInclusive<u16>,
    },
}

/// The UDP ports in use; clones share them. They are of the same range as those of TCP tunnels.
#[derive(Clone)]
pub struct UdpPorts {
    range: TcpRange,
    idle: Duration,
    open: Ports,
}

impl UdpPorts {
    /// Ports of `range`, none open. A flow on which nothing moves for `idle` is over.
    pub fn new(range: TcpRange, idle: Duration) -> Self {
        Self { range, idle, open: Ports::default() }
    }

    /// How long a flow may be silent.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// The port on which `name` is reached: the one it has, or a new one, which is closed again unless it is kept.
    pub(super) fn open(
        &self,
        edge: &Edge,
        name: &TunnelName,
        wanted: Option<u16>,
    ) -> Result<Port, UdpPortError> {
        let fits = |port: u16| wanted.is_none_or(|wanted| wanted == port);
        self.open.hold(name, fits, |stop| {
            let (number, socket) = self.bind(wanted)?;
            let door = Door { edge: edge.clone(), name: name.clone(), socket: Arc::new(socket) };
            tokio::spawn(door.serve(stop));
            Ok(number)
        })
    }

    /// Gives up the port of `name`, if that is so `once` nobody can get it any more.
    pub(super) fn close_if(&self, name: &TunnelName, once: impl FnOnce() -> bool) {
        self.open.close_if(name, once);
    }

    /// Stops on every port. Open sessions are the broker's to end.
    pub fn close_all(&self) {
        self.open.close_all();
    }

    fn bind(&self, wanted: Option<u16>) -> Result<(u16, UdpSocket), UdpPortError> {
        let all = self.range.ports.clone();
        if let Some(wanted) = wanted.filter(|wanted| !all.contains(wanted)) {
            return Err(UdpPortError::OutOfRange { wanted, range: all });
        }
        let range = wanted.map_or(all, |wanted| wanted..=wanted);
        let bind = |number: u16| {
            let socket = std::net::UdpSocket::bind((self.range.address, number))?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        };
        first_free(range.clone(), bind).ok_or(UdpPortError::InUse { range })
    }
}

/// One public port.
struct Door {
    edge: Edge,
    name: TunnelName,
    socket: Arc<UdpSocket>,
}

impl Door {
    async fn serve(self, stop: CancellationToken) {
        let mut flows: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => break,
                Some(_ended) = tasks.join_next(), if !tasks.is_empty() => {
                    // Also those whose task has panicked: what took up their datagrams is gone.
                    flows.retain(|_, flow| !flow.is_closed());
                    continue;
                }
                received = self.socket.recv_from(&mut buffer) => received,
            };
            match received {
                Ok((length, peer)) => {
                    let datagram = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                    match flows.get(&peer) {
                        // One that finds no room is lost, as ever on UDP.
                        Some(flow) => drop(flow.try_send(datagram)),
                        None if flows.len() < FLOWS => {
                            if let Some(flow) = self.begin(peer, &mut tasks) {
                                let _room = flow.try_send(datagram);
                                flows.insert(peer, flow);
                            }
                        }
                        None => {}
                    }
                }
                Err(error) => {
                    warn!(%error, tunnel = %self.name, "a datagram could not be received");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // Sessions that are open are the broker's to end.
        tasks.detach_all();
    }

    /// A flow from `peer`, if there is a seat for it.
    fn begin(&self, peer: SocketAddr, tasks: &mut JoinSet<()>) -> Option<mpsc::Sender<Bytes>> {
        match self.edge.seats.take(peer.ip()) {
            Ok(seat) => {
                let (flow, inbox) = mpsc::channel(WAITING);
                let towards = Towards { socket: Arc::clone(&self.socket), peer };
                let serving = serve(self.edge.clone(), self.name.clone(), (inbox, towards), seat);
                tasks.spawn(serving);
                Some(flow)
            }
            Err(full) => {
                if full.first {
                    tokio::spawn(refused(self.edge.clone(), peer));
                }
                None
            }
        }
    }
}

async fn serve(edge: Edge, name: TunnelName, visitor: (mpsc::Receiver<Bytes>, Towards), seat: Seat) {
    let correlation = Correlation::fresh();
    let span = error_span!("flow", correlation = correlation.0, tunnel = name.as_str());
    decide_and_join(edge, name, visitor, (seat, correlation)).instrument(span).await;
}

async fn decide_and_join(
    edge: Edge,
    name: TunnelName,
    visitor: (mpsc::Receiver<Bytes>, Towards),
    (seat, correlation): (Seat, Correlation),
) {
    let peer = visitor.1.peer;
    let connection = Connection::new(peer, None, None, None, Some(seat));
    match admit(&edge, &connection, &name, &HeaderMap::new(), Protocol::Udp, &correlation).await {
        Ok((session, route)) => {
            connection.forget_sessions();
            if let Err(refusal) = app_health::look(&route) {
                session.note_ending(Ending::PublisherClosed);
                drop(session);
                debug!(%peer, tunnel = %name, code = refusal.code, "UDP visitor refused");
                let patience = Duration::from_secs(refusal.retry_after).min(edge.udp.idle());
                return quarantine(patience, visitor.0).await;
            }
            join(&edge, &session, &route, &correlation, visitor).await;
        }
        Err(Stop::Refused(refusal)) => {
            debug!(%peer, tunnel = %name, code = refusal.code, "UDP visitor refused");
            quarantine(edge.udp.idle(), visitor.0).await;
        }
        Err(_) => {
            debug!(%peer, tunnel = %name, "UDP visitor refused: leave is needed");
            quarantine(edge.udp.idle(), visitor.0).await;
        }
    }
}

/// Takes what comes from one who was refused, and drops it: else each datagram would be decided, and recorded, anew. Not for longer
/// than this, and than a flow may be silent, however much comes: then it is asked again whether it may, for leave can be given
/// meanwhile, and an app be well again.
async fn quarantine(patience: Duration, mut inbox: mpsc::Receiver<Bytes>) {
    let drained = async { while inbox.recv().await.is_some() {} };
    let _over = tokio::time::timeout(patience, drained).await;
}

/// Opens a stream to the publisher and moves the datagrams of `visitor`, for as long as the session may.
pub(super) async fn join(
    edge: &Edge,
    session: &Session,
    route: &Route,
    correlation: &Correlation,
    visitor: (impl Source, impl Drain),
) {
    let Ok(sent) = app_health::admit(edge, route).await else {
        session.note_ending(Ending::PublisherClosed);
        return debug!(tunnel = %route.name, "the app is unwell, or is left alone");
    };
    let protocol = Protocol::Udp.as_str();
    let mut span = edge.traces.root_stream(&correlation.0, route.name.as_str(), protocol);
    let _busy = route.app.busy();
    let person = session.person();
    let opening = route.link.connect_flow(&person, &route.name, trace_parent(correlation));
    let opened = tokio::select! {
        biased;
        () = session.cut() => return,
        opened = tokio::time::timeout(edge.bounds.request, opening) => opened,
    };
    match opened {
        Ok(Ok((source, drain))) => {
            sent.went(edge, route, How::Answered).await;
            let (from, to) = visitor;
            pass_datagrams(session, (from, drain), (source, to), edge.udp.idle()).await;
            // A flow has no end of its own but silence.
            if session.is_open() {
                span.iter_mut().for_each(StreamSpan::ended);
            }
        }
        Ok(Err(error)) => {
            if let LinkError::Origin { fault } = error {
                sent.went(edge, route, How::Failed(fault.word())).await;
            }
            session.note_ending(not_opened(&error));
            debug!(%error, tunnel = %route.name, "the publisher did not take a UDP flow");
        }
        Err(_) => {
            sent.went(edge, route, How::Failed("late")).await;
            session.note_ending(Ending::PublisherClosed);
            debug!(tunnel = %route.name, "the publisher did not answer to a UDP flow in time");
        }
    }
}
