//! `sallyport sessions`: who is connected now; and ending it.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// See and end open sessions
#[derive(Debug, Subcommand)]
pub(super) enum Sessions {
    /// Show open sessions, oldest first
    List,
    /// End a session now
    Kill {
        /// Id, sess-…
        id: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    id: String,
    subject: String,
    tunnel: String,
    protocol: String,
    source: String,
    opened: String,
    bytes_up: u64,
    bytes_down: u64,
    requests: u64,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs `sallyport sessions …`.
pub(super) async fn run(connection: &Connection, command: &Sessions) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Sessions::List => {
            let sessions: Vec<Session> = api.list("/api/v1/sessions").await?;
            if connection.json {
                return print_json(&sessions);
            }
            if sessions.is_empty() {
                say(format_args!("no open sessions"));
                return Ok(());
            }
            let rows = sessions.iter().map(|session| {
                vec![
                    session.id.clone(),
                    session.subject.clone(),
                    session.tunnel.clone(),
                    session.protocol.clone(),
                    session.source.clone(),
                    moment(&session.opened),
                    session.bytes_up.to_string(),
                    session.bytes_down.to_string(),
                    session.requests.to_string(),
                ]
            });
            let heads =
                ["ID", "WHO", "TUNNEL", "KIND", "FROM", "SINCE", "BYTES UP", "BYTES DOWN", "REQUESTS"];
            say(format_args!("{}", table(&heads, rows)));
            Ok(())
        }
        Sessions::Kill { id, reason } => {
            let path = format!("/api/v1/sessions/{}/kill", segment(id)?);
            let answer: Value = api.post(&path, &json!({ "reason": reason })).await?;
            if connection.json {
                return print_json(&answer);
            }
            say(format_args!("{id}: ended"));
            Ok(())
        }
    }
}
