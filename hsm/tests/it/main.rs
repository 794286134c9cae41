//! The key provider against a real SoftHSM, each test with a token of its own.

mod authority;
mod opening;
mod outage;
mod secrets;
mod signing;
mod software;
mod tls;
