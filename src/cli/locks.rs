//! `sallyport lock`, `sallyport unlock`, `sallyport locks`, `sallyport policy reload`: an admin's quick hands.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::policy::{Question, print_explanation, print_proposal, print_replay};
use super::profile::Connection;
use super::requests::print_json;
use super::table::{moment, table};

/// What, why, and for how long.
#[derive(Debug, Args)]
pub(super) struct Lock {
    /// user:NAME, role:NAME, device:dev-…, tunnel:NAME or tenant:NAME
    what: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    /// Ends by itself after so many minutes; without it, when it is lifted
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u32>,
}

/// What, and why.
#[derive(Debug, Args)]
pub(super) struct Unlock {
    /// user:NAME, role:NAME, device:dev-…, tunnel:NAME or tenant:NAME
    what: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
}

/// The policy in force
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Read the policy files again; with one fault in them the policy in force stays
    Reload,
    /// Show which rule decides now: the policy in force, with grants and locks
    Explain(Box<Question>),
    /// Decide again what the ledger holds, under the policy files as they are; nothing comes into force by it
    Replay {
        /// Leave out decisions recorded before this instant, such as 2026-12-01T00:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<jiff::Timestamp>,
    },
    /// Propose the policy files as they are, where `access.policy_change` is `second-person`
    Propose {
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
    /// Show the policy that waits for a second person, and who would gain or lose what
    Pending,
    /// Approve the policy that waits, as a second person; it comes into force at once
    Approve {
        /// Its digest, as `policy pending` shows it
        digest: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    target: String,
    since: String,
    until: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs `sallyport lock`.
pub(super) async fn lock(connection: &Connection, lock: &Lock) -> Result<(), Failure> {
    let body = json!({ "what": lock.what, "reason": lock.reason, "minutes": lock.minutes });
    change(connection, "/api/v1/locks", &lock.what, &body, "locked; open sessions are cut").await
}

/// Runs `sallyport unlock`.
pub(super) async fn unlock(connection: &Connection, unlock: &Unlock) -> Result<(), Failure> {
    let body = json!({ "what": unlock.what, "reason": unlock.reason });
    change(connection, "/api/v1/locks/release", &unlock.what, &body, "unlocked").await
}

async fn change(
    connection: &Connection,
    path: &str,
    what: &str,
    body: &Value,
    done: &str,
) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let answer: Value = Api::new(&profile).post(path, body).await?;
    if connection.json {
        return print_json(&answer);
    }
    say(format_args!("{what}: {done}"));
    Ok(())
}

/// Runs `sallyport locks`.
pub(super) async fn list(connection: &Connection) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let locks: Vec<Held> = Api::new(&profile).list("/api/v1/locks").await?;
    if connection.json {
        return print_json(&locks);
    }
    let rows = locks.iter().map(|lock| {
        let until = lock.until.as_deref().map_or_else(|| "lifted".to_owned(), moment);
        let said = |key: &str| lock.more.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        vec![lock.target.clone(), moment(&lock.since), until, said("by"), said("reason")]
    });
    say(format_args!("{}", table(&["WHAT", "SINCE", "UNTIL", "BY", "REASON"], rows)));
    Ok(())
}

fn shown(json: bool, answer: &Value, print: fn(&Value)) -> Result<(), Failure> {
    if json {
        return print_json(answer);
    }
    print(answer);
    Ok(())
}

/// Runs `sallyport policy …`.
pub(super) async fn policy(connection: &Connection, command: &Policy) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let answer: Value = match command {
        Policy::Reload => api.post("/api/v1/policy/reload", &json!({})).await?,
        Policy::Explain(question) => {
            let answer: Value = api.post("/api/v1/policy/explain", &question.body()).await?;
            return shown(connection.json, &answer, print_explanation);
        }
        Policy::Replay { since } => {
            let body = json!({ "since": since.map(|since| since.to_string()) });
            let answer: Value = api.post("/api/v1/policy/replay", &body).await?;
            return shown(connection.json, &answer, print_replay);
        }
        Policy::Propose { reason } => {
            let answer: Value = api.post("/api/v1/policy/proposal", &json!({ "reason": reason })).await?;
            return shown(connection.json, &answer, print_proposal);
        }
        Policy::Pending => {
            let answer: Value = api.get("/api/v1/policy/proposal").await?;
            return shown(connection.json, &answer, print_proposal);
        }
        Policy::Approve { digest, reason } => {
            let body = json!({ "digest": digest, "reason": reason });
            api.post("/api/v1/policy/proposal/approve", &body).await?
        }
    };
    if connection.json {
        return print_json(&answer);
    }
    let digest = answer.get("policy").and_then(Value::as_str).unwrap_or_default();
    say(format_args!("the policy in force is {digest}"));
    Ok(())
}
