//! The key provider against a real token, each test with one of its own: SoftHSM, or kryoptic (`make test-kryoptic`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod authority;
mod keyring;
mod opening;
mod outage;
mod post_quantum;
mod secrets;
mod signing;
mod software;
mod succession;
mod tls;
mod worker;

/// The roles of which every provider has a key: all but those that are made on request.
fn usual() -> Vec<sallyport_hsm::Role> {
    sallyport_hsm::Role::ALL.into_iter().filter(|role| !role.is_optional()).collect()
}
