//! The child's side: opens the provider, listens, and does what it is asked until its parent is gone.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, geteuid, getpid, getppid, kill_process};

use crate::crew::spawn;
use crate::error::{Fault, KeyError};
use crate::keys::open_store;
use crate::locked::{forbid_dumps, locked_memory};
use crate::provider::{Provider, Store};

use super::wire::{self, Answer, Bytes, Opened, Opening, Reply, Request};

/// More than the parent's threads, those left behind included.
const MOST_CONNECTIONS: usize = 64;

/// Serves the provider that standard input names, until standard input ends. Blocks.
///
/// Whoever starts this must have SIGTERM and SIGINT do nothing: the gateway needs its keys to stop in order, and ends
/// the worker itself.
pub fn serve() -> Result<(), KeyError> {
    let failed = |error: io::Error| KeyError::operation("serve keys", Fault::from(error));
    if let Err(error) = forbid_dumps() {
        tracing::warn!(%error, "this process can be dumped");
    }
    let parent = getppid();
    let Some(Opening { provider, socket }) = wire::read(&mut io::stdin().lock()).map_err(failed)? else {
        return Ok(());
    };
    let listener = UnixListener::bind(&socket).map_err(failed)?;
    // From here on, so that a module which hangs while it is opened cannot outlive the gateway.
    spawn("keys-lifeline", move || follow(parent, &socket))?;
    match open_store(&provider) {
        Ok(store) => {
            let opened = Opened { provider: store.describe(), memory: locked_memory() };
            wire::write::<Result<Opened, KeyError>>(&mut io::stdout(), &Ok(opened)).map_err(failed)?;
            accept(&listener, parent, &store);
        }
        Err(error) => {
            wire::write::<Result<Opened, KeyError>>(&mut io::stdout(), &Err(error)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Ends this process when its parent closes standard input, or has died.
fn follow(parent: Option<Pid>, socket: &Path) {
    // Nothing more comes.
    let _ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
    // A parent that was killed removes nothing; one that lives may need its directory for the next worker.
    if getppid() != parent {
        let _removed = std::fs::remove_file(socket);
        let _removed = socket.parent().map(std::fs::remove_dir);
    }
    // At once: a module's exit handlers must not run beside calls into it, and may wait for one that hangs.
    let _gone = kill_process(getpid(), Signal::KILL);
}

fn accept(listener: &UnixListener, parent: Option<Pid>, store: &Arc<dyn Store>) {
    let connections = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let ours =
            socket_peercred(&stream).is_ok_and(|peer| Some(peer.pid) == parent && peer.uid == geteuid());
        if !ours || connections.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            tracing::warn!("a connection to the key worker is refused");
            continue;
        }
        let (store, connections) = (Arc::clone(store), Arc::clone(&connections));
        connections.fetch_add(1, Ordering::Relaxed);
        let serving = spawn("keys-connection", move || {
            if let Err(error) = converse(stream, store.as_ref()) {
                tracing::debug!(%error, "a connection to the key worker broke");
            }
            connections.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = serving {
            tracing::error!(%error, "a connection to the key worker is dropped");
        }
    }
}

fn converse(mut stream: UnixStream, store: &dyn Store) -> io::Result<()> {
    let mut provider = None;
    while let Some(request) = wire::read(&mut stream)? {
        wire::write::<Reply>(&mut stream, &answer(request, store, &mut provider))?;
    }
    Ok(())
}

fn answer(request: Request, store: &dyn Store, provider: &mut Option<Box<dyn Provider>>) -> Reply {
    match request {
        Request::Recover(step) => return store.recover(step).map(|()| Answer::Done),
        Request::MayLogIn { told } => return Ok(Answer::Yes(store.may_log_in(told))),
        _ => {}
    }
    if provider.is_none() {
        *provider = Some(store.connect()?);
    }
    let provider = provider.as_deref_mut().ok_or(KeyError::Closed)?;
    let key = |info| Answer::Key(Box::new(info));
    Ok(match request {
        Request::Recover(_) | Request::MayLogIn { .. } => return Err(KeyError::Closed),
        Request::List => Answer::Keys(provider.list()?),
        Request::Generate(role, term) => key(provider.generate(role, term)?),
        Request::Successor(role) => provider.successor(role)?.map_or(Answer::NoKey, key),
        Request::Promote { role, wanted } => {
            provider.promote(role, &wanted)?;
            Answer::Done
        }
        Request::PublicKey(role, term) => {
            let public = provider.public_key(role, term)?;
            Answer::PublicKey { algorithm: public.algorithm(), bytes: Bytes::of(public.as_bytes()) }
        }
        Request::Sign { role, term, message } => {
            Answer::Bytes(Bytes::of(&provider.sign(role, term, &message.0)?))
        }
        Request::SignBy { role, id, message } => {
            Answer::Bytes(Bytes::of(&provider.sign_by(role, &id, &message.0)?))
        }
        Request::WrappingKey => Answer::Text(provider.wrapping_key()?),
        Request::RewrapSeeds => Answer::Count(provider.rewrap_seeds()?),
        Request::Wrap { purpose, secret } => Answer::Bytes(Bytes::of(&provider.wrap(&purpose, &secret.0)?)),
        Request::Unwrap { purpose, wrapped } => {
            Answer::Bytes(Bytes::of(provider.unwrap(&purpose, &wrapped.0)?.expose()))
        }
        Request::Abilities => Answer::Abilities(provider.abilities()?),
        Request::Probe => {
            provider.probe()?;
            Answer::Done
        }
    })
}
