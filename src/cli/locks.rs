//! `sallyport lock`, `sallyport unlock`, `sallyport policy reload`: an admin's quick hands.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;

/// Who, and why.
#[derive(Debug, Args)]
pub(super) struct Lock {
    /// A person or a role: user:NAME or role:NAME
    who: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
}

/// The policy in force
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Read the policy files again; with one fault in them the policy in force stays
    Reload,
}

/// Runs `sallyport lock` (`locked`) and `sallyport unlock`.
pub(super) async fn run(connection: &Connection, lock: &Lock, locked: bool) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let path = if locked { "/api/v1/locks" } else { "/api/v1/locks/release" };
    let body = json!({ "who": lock.who, "reason": lock.reason });
    let answer: Value = Api::new(&profile).post(path, &body).await?;
    if connection.json {
        return print_json(&answer);
    }
    say(format_args!("{}: {}", lock.who, if locked { "locked; open sessions are cut" } else { "unlocked" }));
    Ok(())
}

/// Runs `sallyport policy …`.
pub(super) async fn policy(connection: &Connection, command: &Policy) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let answer: Value = match command {
        Policy::Reload => Api::new(&profile).post("/api/v1/policy/reload", &json!({})).await?,
    };
    if connection.json {
        return print_json(&answer);
    }
    let digest = answer.get("policy").and_then(Value::as_str).unwrap_or_default();
    say(format_args!("the policy in force is {digest}"));
    Ok(())
}
