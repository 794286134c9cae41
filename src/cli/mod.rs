//! What people type. One file per command; each returns a [`Failure`] that says what failed, on what, and what to do next.
//!
//! Exit codes of `sallyport` and `sallyportd`: 0 done · 1 failed · 2 wrong usage or configuration · 3 not reachable ·
//! 4 refused (not allowed, or not allowed yet). They are documented in `docs/errors.md` and never reused.

pub mod client;
pub mod daemon;

mod api;
mod authority;
mod certificates;
mod completions;
mod connect;
mod demo_app;
mod device;
mod device_file;
mod doctor;
mod failure;
mod flows;
mod glass;
mod grants;
mod init;
mod key_desk;
mod keys;
mod ledger;
mod locks;
mod log;
mod log_level;
mod logging;
mod login;
mod maintenance;
mod out;
mod passkeys;
mod policy;
mod profile;
mod publish;
mod reports;
mod requests;
mod retention;
mod reviews;
mod revocable;
mod search;
mod sessions;
mod shares;
mod subjects;
mod table;
mod tokens;
mod tunnels;
mod version;

pub use failure::{ExitCode, Failure};
