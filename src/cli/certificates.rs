//! `sallyport certificates`: client certificates that this gateway takes no more.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::profile::Connection;
use super::revocable::{because, list, revoke};
use super::table::moment;

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

const PATH: &str = "/api/v1/certificates";

/// Runs `sallyport certificates …`.
pub(super) async fn run(connection: &Connection, command: &Certificates) -> Result<(), Failure> {
    match command {
        Certificates::List => {
            let row = |one: &Listed| vec![one.id.clone(), moment(&one.revoked)];
            list(connection, PATH, &["ID", "REVOKED"], row).await
        }
        Certificates::Revoke { id, reason } => revoke(connection, PATH, id, &because(reason)).await,
    }
}
