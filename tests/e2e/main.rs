//! End to end: the real `sallyportd` and `sallyport`, a SoftHSM token of each test's own, real curl, loopback.
//!
//! A test here is a sentence about what people see: an answer, an exit code, a record. Each has a [`world::World`] of its
//! own (state directory, token, ports), so all of them may run at once; a `World` that goes out of scope ends every process
//! it started, by its own id. Nothing waits for a length of time: everything waits for a condition, with a deadline.
//!
//! Needs what `scripts/prepare test` installs. Start with [`world`]; the stories begin at [`visiting`].

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken fixture must fail its test loudly"
)]

mod app;
mod curl;
mod mounts;
mod patience;
mod process;
mod socket;
mod world;

mod approval;
mod configuration;
mod evasion;
mod hostile_peers;
mod identity;
mod life;
mod outage;
mod publishing;
mod secrecy;
mod siem;
mod starting;
mod tcp;
mod transfer;
mod visiting;
