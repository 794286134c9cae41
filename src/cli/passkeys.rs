//! `sallyport passkeys`: the keys that approvers sign with. One is made in a browser, on the gateway's own page.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// See and revoke the passkeys that approvers sign with
#[derive(Debug, Subcommand)]
pub(super) enum Passkeys {
    /// Show your own, or for an admin of people everybody's
    List,
    /// Have one count no more
    Revoke {
        /// Id, passkey-…
        id: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    id: String,
    state: String,
    subject: String,
    algorithm: String,
    rp_id: String,
    enrolled: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

pub(super) async fn run(connection: &Connection, command: &Passkeys) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Passkeys::List => {
            let passkeys: Vec<Listed> = api.list("/api/v1/passkeys").await?;
            if connection.json {
                return print_json(&passkeys);
            }
            let rows = passkeys.iter().map(|key| {
                let shown = [&key.id, &key.state, &key.subject, &key.algorithm, &key.rp_id];
                shown.into_iter().cloned().chain([moment(&key.enrolled)]).collect()
            });
            say(format_args!("{}", table(&["ID", "STATE", "WHOSE", "KIND", "SITE", "SINCE"], rows)));
        }
        Passkeys::Revoke { id, reason } => {
            let path = format!("/api/v1/passkeys/{}/revoke", segment(id)?);
            let answer: Value = api.post(&path, &json!({ "reason": reason })).await?;
            if connection.json {
                return print_json(&answer);
            }
            say(format_args!("{id}: revoked"));
        }
    }
    Ok(())
}
