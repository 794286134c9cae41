//! The provider in a process of its own, so that a crash in a vendor's module cannot end the gateway.
//!
//! A PKCS#11 module is somebody else's code and runs in the process that loads it: whatever it does wrong there, it does
//! to everybody. Here it is loaded by a child process instead, which this one reaches over a Unix socket. The child only
//! does what the seam of [`crate::provider`] names; queues, limits in time, health and recovery stay on this side.
//!
//! Promised:
//! - A child that crashes, hangs or is killed is an outage like any other of the token: callers are refused at once, the
//!   child is started again (ever less often while it keeps dying), and nobody restarts the gateway. A child that does
//!   not answer is killed: unlike a thread, it can be.
//! - Keys and seeds stay in the child. What crosses the socket is what is to be signed, signatures, public keys and
//!   listings, and secrets that this process asked to have sealed or opened for its own use (data keys).
//! - A PIN that was refused is not presented again by a new child either.
//!
//! Trusted: the child, as far as the module in it is. Not trusted: other users. The socket is in a directory of mode 0700
//! that is made for it, and each side takes only the other's process and user (`SO_PEERCRED`) for its peer.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod process;
mod serve;
mod session;
mod store;
mod wire;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::locked::LockedMemory;

pub use serve::serve;
pub(crate) use store::Remote;

/// The argument with which the program is started as a worker.
pub const ARGUMENT: &str = "hsm-worker";

/// How long each kind of call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Signatures, probes.
    pub(crate) sign: Duration,
    /// Listings, new keys.
    pub(crate) admin: Duration,
    /// From the start of the process until its provider is open.
    pub(crate) open: Duration,
    /// The longest pause between two starts of a process that keeps ending.
    pub(crate) pause: Duration,
}

/// The process that holds the provider, for status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its process id; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u64,
    /// Where its secrets lie, as it said when it had opened them.
    pub memory: LockedMemory,
}
