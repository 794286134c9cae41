//! The child process: started, asked to open its provider, and ended.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::ProviderConfig;
use crate::crew::{now, spawn};
use crate::error::{Fault, KeyError};

use super::ARGUMENT;
use super::wire::{self, Opened, Opening};

/// How long it may take to end by itself. It does nothing then but leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// A child whose provider is open.
pub(super) struct Process {
    child: Child,
    /// Closed, it tells the child to end; it closes by itself if this process dies.
    lifeline: Option<ChildStdin>,
    pub(super) socket: PathBuf,
    pub(super) began: Instant,
}

impl Process {
    /// Starts `program` and has it open the provider. Blocks for at most `limit`.
    pub(super) fn start(
        program: &Path,
        provider: &ProviderConfig,
        socket: PathBuf,
        limit: Duration,
    ) -> Result<(Self, Opened), KeyError> {
        let failed = |error: io::Error| KeyError::operation("start the key worker", Fault::from(error));
        let mut command = Command::new(program);
        // In a group of its own: a Ctrl-C at the terminal is for the gateway, which still needs its keys to stop.
        command.arg(ARGUMENT).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (lifeline, said) = (child.stdin.take(), child.stdout.take());
        // From here on whatever fails ends the child: `Process` does so when it is dropped.
        let mut process = Self { child, lifeline, socket: socket.clone(), began: now() };
        let (Some(to), Some(mut said)) = (process.lifeline.as_mut(), said) else {
            return Err(KeyError::Closed);
        };
        wire::write(to, &Opening { provider: provider.clone(), socket }).map_err(failed)?;
        let (sender, opened) = mpsc::sync_channel(1);
        spawn("keys-worker-start", move || {
            let _caller_left = sender.try_send(wire::read::<Result<Opened, KeyError>>(&mut said));
        })?;
        match opened.recv_timeout(limit) {
            Ok(Ok(Some(opened))) => Ok((process, opened?)),
            Ok(Ok(None)) => Err(failed(io::Error::other(process.ended()))),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(KeyError::Stuck),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, in words.
    fn ended(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => format!("it ended before its keys were open: {status}"),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.lifeline = None;
        let until = now() + FAREWELL;
        while self.is_alive() && now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        // No effect on one that has ended; and waited for, so that none is left as a zombie.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        let _removed = std::fs::remove_file(&self.socket);
    }
}
