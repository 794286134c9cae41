//! `sallyport passkeys`: the keys that approvers sign with. One is made in a browser, on the gateway's own page.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::profile::Connection;
use super::revocable::{because, list, revoke};
use super::table::moment;

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

const PATH: &str = "/api/v1/passkeys";

pub(super) async fn run(connection: &Connection, command: &Passkeys) -> Result<(), Failure> {
    match command {
        Passkeys::List => {
            let row = |key: &Listed| {
                let shown = [&key.id, &key.state, &key.subject, &key.algorithm, &key.rp_id];
                shown.into_iter().cloned().chain([moment(&key.enrolled)]).collect()
            };
            list(connection, PATH, &["ID", "STATE", "WHOSE", "KIND", "SITE", "SINCE"], row).await
        }
        Passkeys::Revoke { id, reason } => revoke(connection, PATH, id, &because(reason)).await,
    }
}
