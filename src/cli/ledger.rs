//! `sallyport ledger …`: what an admin can have done to the ledger.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;

/// The gateway's ledger
#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// Have journal and query store read again and compared, now; `sallyport status` says what was found
    Scrub,
}

/// Runs `sallyport ledger …`.
pub(super) async fn run(connection: &Connection, command: &Ledger) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let answer: Value = match command {
        Ledger::Scrub => Api::new(&profile).post("/api/v1/ledger/scrub", &json!({})).await?,
    };
    if connection.json {
        return print_json(&answer);
    }
    say(format_args!(
        "the scrub has begun; its result is a record ledger.scrubbed, and in `sallyport status`"
    ));
    Ok(())
}
