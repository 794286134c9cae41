//! One flow of a UDP tunnel between gateway and publisher: a stream of the tunnel and, on QUIC, datagrams beside it.
//!
//! A QUIC datagram (RFC 9221) carries the flow's number, four bytes, and the flow's datagram: one that is lost on the way is lost, and
//! holds up nothing. One that doesn't fit into a packet goes on the stream, behind its length, as everything does where the
//! tunnel is not on QUIC or its frames are sealed. The flow begins and ends with its stream.
//!
//! Not trusted: the peer. What comes for a flow that isn't there, or finds no room, is dropped.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::datagram::{Drain, Framed, Source, WAITING};
use super::stream::TunnelStream;

type Table = HashMap<u32, mpsc::Sender<Bytes>>;

/// The datagrams of one QUIC connection. Clones share it; with the last of them it lets go of the connection.
#[derive(Clone)]
pub struct DatagramPath(Arc<Path>);

struct Path {
    connection: quinn::Connection,
    flows: Arc<Mutex<Table>>,
    last: AtomicU32,
    _reading: DropGuard,
}

/// A flow's place among the datagrams of its connection, given up when it is dropped.
pub(crate) struct Place {
    path: DatagramPath,
    number: u32,
}

impl DatagramPath {
    /// That of `connection`, which must not have another.
    pub(crate) fn of(connection: quinn::Connection) -> Self {
        let (flows, over) = (Arc::<Mutex<Table>>::default(), CancellationToken::new());
        let (table, quic, stop) = (Arc::clone(&flows), connection.clone(), over.clone());
        tokio::spawn(async move {
            let reading = async {
                while let Ok(mut datagram) = quic.read_datagram().await {
                    if datagram.len() >= size_of::<u32>() {
                        let number = datagram.get_u32();
                        let flow = locked(&table).get(&number).cloned();
                        // One that finds no room is lost, as ever on UDP.
                        let _room = flow.map(|flow| flow.try_send(datagram));
                    }
                }
            };
            stop.run_until_cancelled(reading).await;
        });
        let path = Path { connection, flows, last: AtomicU32::new(0), _reading: over.drop_guard() };
        Self(Arc::new(path))
    }

    /// A place for a new flow, under a number of its own.
    pub(crate) fn begin(&self) -> (Place, mpsc::Receiver<Bytes>) {
        self.enter(self.0.last.fetch_add(1, Ordering::Relaxed))
    }

    /// The place for a flow that the other end has numbered.
    pub(crate) fn enter(&self, number: u32) -> (Place, mpsc::Receiver<Bytes>) {
        let (inbox, flow) = mpsc::channel(WAITING);
        locked(&self.0.flows).insert(number, inbox);
        (Place { path: self.clone(), number }, flow)
    }
}

impl Place {
    /// The flow's number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it could be sent so.
    fn send(&self, datagram: &Bytes) -> bool {
        let mut packet = BytesMut::with_capacity(size_of::<u32>() + datagram.len());
        packet.put_u32(self.number);
        packet.put_slice(datagram);
        self.path.0.connection.send_datagram(packet.freeze()).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.path.0.flows).remove(&self.number);
    }
}

fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Nothing panics while it is held; a poisoned lock would still hold a good value.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes out of a flow.
pub struct FlowSource {
    stream: Framed<ReadHalf<TunnelStream>>,
    beside: Option<mpsc::Receiver<Bytes>>,
}

/// What goes into it.
pub struct FlowDrain {
    stream: Framed<WriteHalf<TunnelStream>>,
    beside: Option<Place>,
}

/// Both ways of the flow on `stream`, and beside it if it has a place there.
pub(crate) fn flow(
    stream: TunnelStream,
    place: Option<(Place, mpsc::Receiver<Bytes>)>,
) -> (FlowSource, FlowDrain) {
    let (read, write) = tokio::io::split(stream);
    let (place, inbox) = place.unzip();
    let source = FlowSource { stream: Framed::new(read), beside: inbox };
    (source, FlowDrain { stream: Framed::new(write), beside: place })
}

impl Source for FlowSource {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(beside) = &mut self.beside else { return self.stream.next().await };
        tokio::select! {
            // The stream alone says when the flow ends.
            datagram = self.stream.next() => datagram,
            Some(datagram) = beside.recv() => Ok(Some(datagram)),
        }
    }
}

impl Drain for FlowDrain {
    async fn put(&mut self, datagram: Bytes) -> io::Result<()> {
        if self.beside.as_ref().is_some_and(|place| place.send(&datagram)) {
            return Ok(());
        }
        self.stream.put(datagram).await
    }

    async fn end(&mut self) -> io::Result<()> {
        self.stream.end().await
    }
}
