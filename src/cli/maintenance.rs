//! `sallyport maintenance`: tells publishers that the gateway will be away.

use clap::Args;
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;

/// Tell all publishers that the gateway will be away; it does nothing else
#[derive(Debug, Args)]
pub(super) struct Maintenance {
    /// When, as in 2027-01-31T22:00:00Z
    #[arg(long, value_name = "TIME")]
    pub at: jiff::Timestamp,
    /// What they should know of it; it is recorded
    #[arg(long)]
    pub reason: String,
}

/// Runs `sallyport maintenance`.
pub(super) async fn run(connection: &Connection, command: &Maintenance) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let order = json!({ "at": command.at.to_string(), "reason": command.reason });
    let answer: Value = Api::new(&profile).post("/api/v1/maintenance", &order).await?;
    if connection.json {
        return print_json(&answer);
    }
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    say(format_args!("{} of {} publishers heard it", number("heard"), number("publishers")));
    Ok(())
}
