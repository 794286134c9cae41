//! One thread's connection to the child.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use crate::abilities::Ability;
use crate::error::{Fault, KeyError};
use crate::info::KeyInfo;
use crate::locked::Secret;
use crate::provider::Provider;
use crate::public::PublicKey;
use crate::role::{Role, Term};

use super::Limits;
use super::wire::{self, Answer, Bytes, Reply, Request};

pub(super) struct Connection {
    /// Gone once a call failed in it: what would come next might answer an older question.
    stream: Option<UnixStream>,
    limits: Limits,
    /// Set when the child did not answer in time: then only its end helps.
    silent: Arc<AtomicBool>,
}

impl Connection {
    /// Connects to the child `pid`, and to nobody else.
    pub(super) fn open(
        socket: &Path,
        pid: u32,
        limits: Limits,
        silent: Arc<AtomicBool>,
    ) -> Result<Self, KeyError> {
        let open = || -> io::Result<UnixStream> {
            let stream = UnixStream::connect(socket)?;
            let peer = socket_peercred(&stream)?;
            if u32::try_from(peer.pid.as_raw_nonzero().get()) != Ok(pid)
                || peer.uid != rustix::process::geteuid()
            {
                return Err(io::Error::other("another process is at its socket"));
            }
            stream.set_write_timeout(Some(limits.sign))?;
            Ok(stream)
        };
        let stream = open().map_err(unreachable)?;
        Ok(Self { stream: Some(stream), limits, silent })
    }

    pub(super) fn call(&mut self, request: &Request, limit: Duration) -> Reply {
        let Some(stream) = &mut self.stream else {
            return Err(unreachable(io::ErrorKind::NotConnected.into()));
        };
        let mut call = || -> io::Result<Reply> {
            stream.set_read_timeout(Some(limit))?;
            wire::write(stream, request)?;
            wire::read(stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        let outcome = call();
        outcome.unwrap_or_else(|error| {
            self.stream = None;
            match error.kind() {
                // Its time is over; which of the two depends on the system.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    self.silent.store(true, Ordering::Release);
                    Err(KeyError::Stuck)
                }
                io::ErrorKind::UnexpectedEof => Err(unreachable(io::Error::other("its process has ended"))),
                _ => Err(unreachable(error)),
            }
        })
    }

    fn sign_like(&mut self, request: &Request) -> Reply {
        self.call(request, self.limits.sign)
    }

    fn admin(&mut self, request: &Request) -> Reply {
        self.call(request, self.limits.admin)
    }

    fn bytes(&mut self, request: &Request) -> Result<Bytes, KeyError> {
        match self.sign_like(request)? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(another()),
        }
    }

    fn key(&mut self, request: &Request) -> Result<Option<KeyInfo>, KeyError> {
        match self.admin(request)? {
            Answer::Key(key) => Ok(Some(*key)),
            Answer::NoKey => Ok(None),
            _ => Err(another()),
        }
    }
}

fn unreachable(error: io::Error) -> KeyError {
    KeyError::operation("reach the key worker", Fault::from(error))
}

pub(super) fn another() -> KeyError {
    KeyError::operation("understand the key worker", Fault::new("it answered another question"))
}

impl Provider for Connection {
    fn list(&mut self) -> Result<Vec<KeyInfo>, KeyError> {
        match self.admin(&Request::List)? {
            Answer::Keys(keys) => Ok(keys),
            _ => Err(another()),
        }
    }

    fn generate(&mut self, role: Role, term: Term) -> Result<KeyInfo, KeyError> {
        self.key(&Request::Generate(role, term))?.ok_or_else(another)
    }

    fn successor(&mut self, role: Role) -> Result<Option<KeyInfo>, KeyError> {
        self.key(&Request::Successor(role))
    }

    fn promote(&mut self, role: Role, wanted: &str) -> Result<(), KeyError> {
        self.admin(&Request::Promote { role, wanted: wanted.to_owned() }).map(drop)
    }

    fn public_key(&mut self, role: Role, term: Term) -> Result<PublicKey, KeyError> {
        match self.admin(&Request::PublicKey(role, term))? {
            Answer::PublicKey { algorithm, bytes } => {
                PublicKey::from_bytes(algorithm, &bytes.0).ok_or_else(another)
            }
            _ => Err(another()),
        }
    }

    fn sign(&mut self, role: Role, term: Term, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = self.bytes(&Request::Sign { role, term, message: Bytes::of(message) })?;
        Ok(std::mem::take(&mut *signature.0))
    }

    fn sign_by(&mut self, role: Role, id: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let message = Bytes::of(message);
        let mut signature = self.bytes(&Request::SignBy { role, id: id.to_owned(), message })?;
        Ok(std::mem::take(&mut *signature.0))
    }

    fn wrapping_key(&mut self) -> Result<String, KeyError> {
        match self.sign_like(&Request::WrappingKey)? {
            Answer::Text(id) => Ok(id),
            _ => Err(another()),
        }
    }

    fn rewrap_seeds(&mut self) -> Result<usize, KeyError> {
        match self.admin(&Request::RewrapSeeds)? {
            Answer::Count(count) => Ok(count),
            _ => Err(another()),
        }
    }

    fn wrap(&mut self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        let secret = Bytes::of(secret);
        let mut wrapped = self.bytes(&Request::Wrap { purpose: purpose.to_owned(), secret })?;
        Ok(std::mem::take(&mut *wrapped.0))
    }

    fn unwrap(&mut self, purpose: &str, wrapped: &[u8]) -> Result<Secret, KeyError> {
        let wrapped = Bytes::of(wrapped);
        let secret = self.bytes(&Request::Unwrap { purpose: purpose.to_owned(), wrapped })?;
        Secret::copy_of(&secret.0)
    }

    fn abilities(&mut self) -> Result<Vec<Ability>, KeyError> {
        match self.admin(&Request::Abilities)? {
            Answer::Abilities(abilities) => Ok(abilities),
            _ => Err(another()),
        }
    }

    fn probe(&mut self) -> Result<(), KeyError> {
        self.sign_like(&Request::Probe).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_process_that_is_not_the_worker_is_refused_although_it_listens_at_the_workers_socket() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("0");
        let _listener = UnixListener::bind(&socket).unwrap();
        let second = Duration::from_secs(1);
        let limits = Limits { sign: second, admin: second, open: second, pause: second };
        let open = |pid| Connection::open(&socket, pid, limits, Arc::default()).map(drop);
        let own = std::process::id();
        assert!(open(own).is_ok());
        let refused = open(own + 1).unwrap_err();
        let why = std::error::Error::source(&refused).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{refused} {why}").contains("another process is at its socket"), "{refused}: {why}");
    }
}
