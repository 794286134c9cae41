//! `sallyport connect --udp`: a local UDP port that leads into a tunnel. Each local address that sends is a flow, and each flow a
//! session of the gateway's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::{ExitCode, Failure};
use super::out::say;
use super::publish::dial_failure;
use crate::tunnel::TunnelName;
use crate::tunnel::client::{VisitorOptions, visit_datagrams};
use crate::tunnel::datagram::{Framed, MAX_DATAGRAM, Towards, WAITING, pass};

/// Flows at a time: programs of one machine have no need of more.
const FLOWS: usize = 64;

/// After a refusal: how long what the same address sends is dropped.
const REST: Duration = Duration::from_secs(5);

/// Passes datagrams until Ctrl-C.
pub(super) async fn serve(
    options: VisitorOptions,
    name: TunnelName,
    listen: SocketAddr,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot listen on {listen}: {error}");
        Failure::new(ExitCode::Failed, message, "choose another address with --listen")
    };
    let socket = Arc::new(UdpSocket::bind(listen).await.map_err(failed)?);
    let address = socket.local_addr().unwrap_or(listen);
    say(format_args!("{name} is at {address}; Ctrl-C ends it"));
    let options = Arc::new(options);
    let mut flows: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok(peer) = ended {
                    flows.remove(&peer);
                }
                continue;
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let (length, peer) = match received {
            Ok(received) => received,
            Err(error) => {
                eprintln!("a local datagram could not be received: {error}");
                continue;
            }
        };
        if !flows.contains_key(&peer) {
            if flows.len() >= FLOWS {
                continue;
            }
            let (flow, inbox) = mpsc::channel(WAITING);
            let (options, name) = (Arc::clone(&options), name.clone());
            let towards = Towards { socket: Arc::clone(&socket), peer };
            tasks.spawn(async move {
                carry(&options, &name, inbox, towards).await;
                peer
            });
            flows.insert(peer, flow);
        }
        if let Some(flow) = flows.get(&peer) {
            let datagram = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
            // One that finds no room is lost, as ever on UDP.
            let _room = flow.try_send(datagram);
        }
    }
}

/// The gateway ends a flow that is silent; the next datagram begins another.
async fn carry(
    options: &VisitorOptions,
    name: &TunnelName,
    mut inbox: mpsc::Receiver<Bytes>,
    local: Towards,
) {
    match visit_datagrams(options, name).await {
        Ok(stream) => {
            let (read, write) = tokio::io::split(stream);
            tokio::select! {
                _ended = pass(inbox, Framed::new(write), |_| {}) => {}
                _ended = pass(Framed::new(read), local, |_| {}) => {}
            }
        }
        Err(error) => {
            eprintln!("{}", dial_failure(&error));
            // A program that sends on and on must not ask the gateway on and on.
            let _over = tokio::time::timeout(REST, async { while inbox.recv().await.is_some() {} }).await;
        }
    }
}
