//! What Sallyport's two programs are made of. `docs/architecture.md` is the map.
//!
//! Modules are floors; a floor knows nothing of those above it (`tests/architecture.rs` holds this):
//! `cli` → `gateway` → `console` → `edge` → `session` and `notify` → `access` and `tunnel`; those on one floor do not know each other.

pub mod access;
pub mod cli;
pub mod clock;
pub mod console;
pub mod edge;
pub mod gateway;
pub mod notify;
pub mod secret_file;
pub mod session;
pub mod traces;
pub mod tunnel;
