//! `sallyport grants`: who has leave for what, until when; and taking it away.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// See and revoke grants
#[derive(Debug, Subcommand)]
pub(super) enum Grants {
    /// Show grants, newest last
    List {
        /// Also those that have ended
        #[arg(long)]
        all: bool,
    },
    /// End a grant now; open sessions that stand on it are cut
    Revoke {
        /// Id, grant-…
        id: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Grant {
    id: String,
    state: String,
    subject: String,
    object: String,
    expires: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// A grant that nobody approved says so wherever it is listed, and one for a single session whether that has been.
fn state(grant: &Grant) -> String {
    if grant.more.get("once") == Some(&Value::Bool(true)) {
        let unused = grant.more.get("begun").is_none_or(Value::is_null);
        return format!("{}, one session{}", grant.state, if unused { "" } else { " (used)" });
    }
    match grant.more.get("break_glass") {
        None | Some(Value::Null) => grant.state.clone(),
        Some(glass) if glass.get("review").is_none_or(Value::is_null) => {
            format!("{} BREAK-GLASS, not reviewed", grant.state)
        }
        Some(_) => format!("{} BREAK-GLASS", grant.state),
    }
}

/// Runs `sallyport grants …`.
pub(super) async fn run(connection: &Connection, command: &Grants) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Grants::List { all } => {
            let query = if *all { "?all=true" } else { "" };
            let grants: Vec<Grant> = api.list(&format!("/api/v1/grants{query}")).await?;
            if connection.json {
                return print_json(&grants);
            }
            if grants.is_empty() {
                say(format_args!("no grants"));
                return Ok(());
            }
            let rows = grants.iter().map(|grant| {
                vec![
                    grant.id.clone(),
                    state(grant),
                    grant.subject.clone(),
                    grant.object.clone(),
                    moment(&grant.expires),
                ]
            });
            say(format_args!("{}", table(&["ID", "STATE", "WHO", "WHAT", "UNTIL"], rows)));
            Ok(())
        }
        Grants::Revoke { id, reason } => {
            let path = format!("/api/v1/grants/{}/revoke", segment(id)?);
            let grant: Grant = api.post(&path, &json!({ "reason": reason })).await?;
            if connection.json {
                return print_json(&grant);
            }
            say(format_args!("{}: {}", grant.id, grant.state));
            Ok(())
        }
    }
}
