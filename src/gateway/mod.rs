//! Wiring: configuration → parts → run → drain. Nothing here decides anything; it builds the floors and stops them in order.
//!
//! The order of stopping is that of dependence: no new connections, sessions end, publishers are told, sinks catch up, and
//! the ledger is closed last, so that everything before it could still be recorded.

mod adapters;
mod aside;
pub mod backup;
mod canaries;
pub mod config;
mod detections;
mod drain;
mod erasures;
mod evidence;
mod exchange;
mod for_edge;
mod heartbeat;
mod holds;
mod issuers;
pub mod issuing;
mod notify;
mod parts;
mod probes;
mod quic_secret;
pub mod replaying;
mod reports;
pub mod retention;
pub mod rotation;
mod run;
pub mod s3;
pub mod schedule;
mod server;
pub mod setup;
mod signals;
mod silence;
mod sinks;
mod tls;
mod witnesses;

pub use parts::{GatewayError, Parts, fingerprint, open_keys};
pub use run::run;
