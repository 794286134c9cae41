//! `sallyport certificates`: client certificates that this gateway takes no more.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// Revoke client certificates, and list what was revoked
#[derive(Debug, Subcommand)]
pub(super) enum Certificates {
    /// Show certificates that were revoked here
    List,
    /// Revoke a certificate, whether it was ever used or not; what stands on it is cut
    Revoke {
        /// Id: crt- and the SHA-256 of the certificate in hexadecimal
        id: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    id: String,
    revoked: String,
}

/// Runs `sallyport certificates …`.
pub(super) async fn run(connection: &Connection, command: &Certificates) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Certificates::List => {
            let revoked: Vec<Listed> = api.list("/api/v1/certificates").await?;
            if connection.json {
                return print_json(&revoked);
            }
            let rows = revoked.iter().map(|one| vec![one.id.clone(), moment(&one.revoked)]);
            say(format_args!("{}", table(&["ID", "REVOKED"], rows)));
        }
        Certificates::Revoke { id, reason } => {
            let path = format!("/api/v1/certificates/{}/revoke", segment(id)?);
            let answer: Value = api.post(&path, &json!({ "reason": reason })).await?;
            if connection.json {
                return print_json(&answer);
            }
            say(format_args!("{id}: revoked"));
        }
    }
    Ok(())
}
