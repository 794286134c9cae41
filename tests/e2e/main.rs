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
mod crowd;
mod curl;
mod frames;
mod issuer;
mod measured;
mod mounts;
mod patience;
mod process;
mod quic_client;
mod receiver;
mod socket;
mod world;

mod api;
mod approval;
mod bounds;
mod breaking_off;
mod canaries;
mod compression;
mod configuration;
mod conformance;
mod connections;
mod console;
mod console_addresses;
mod console_forms;
mod console_load;
mod cryptography;
mod devices;
mod early_answers;
mod erasure;
mod evasion;
mod evidence;
mod fronts;
mod grpc;
mod heads;
mod hostile_peers;
mod hsm_faults;
mod hsm_worker;
mod http3;
mod http3_requests;
mod http_edge;
mod identity;
mod lasting;
mod life;
mod limits;
mod log_level;
mod maintenance;
mod mtls;
mod notifying;
mod one_port;
mod outage;
mod outsiders;
mod pass_through;
mod passkeys;
mod policies;
mod proxies;
mod publishing;
mod quic;
mod refusals;
mod reloading;
mod repeating;
mod retention;
mod revocation;
mod root_rotation;
mod rotation;
mod secrecy;
mod several;
mod siem;
mod siem_faults;
mod sign_in;
mod smuggling;
mod sources;
mod stalling;
mod starting;
mod tcp;
mod tls;
mod tls_apps;
mod traces;
mod trailers;
mod transfer;
mod udp;
mod visiting;
mod witnessing;
