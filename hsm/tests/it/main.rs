//! The key provider against a real SoftHSM, each test with a token of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod authority;
mod keyring;
mod opening;
mod outage;
mod secrets;
mod signing;
mod software;
mod succession;
mod tls;
