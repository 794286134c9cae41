//! `sallyportd ca …`: certificates of the private root for people.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::daemon::Settings;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::requests::print_json;
use crate::gateway::{issuing, open_keys};

#[derive(Debug, Subcommand)]
pub(super) enum Authority {
    /// Issue a certificate with which a client proves in TLS to be a person (tls.clients)
    IssueClient {
        /// Whom it names: user:NAME
        person: String,
        /// For how long, in days
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=397))]
        days: u32,
        /// Folder for the certificate and its private key (mode 0600); neither may exist yet
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
}

pub(super) async fn run(command: Authority) -> Result<(), Failure> {
    let Authority::IssueClient { person, days, out, json, settings } = command;
    let config = settings.load()?;
    let issued = tokio::task::spawn_blocking(move || {
        let keys = open_keys(&config)?;
        issuing::issue_client(&config, &keys, &person, days, &out)
    });
    let issued = issued
        .await
        .map_err(|error| Failure::new(ExitCode::Failed, error.to_string(), ""))?
        .map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))?;
    let (certificate, key) = (issued.certificate_file.display(), issued.key_file.display());
    if json {
        return print_json(&json!({
            "id": issued.id,
            "certificate": certificate.to_string(),
            "key": key.to_string(),
        }));
    }
    say(format_args!(
        "{}\ncertificate {certificate}\nprivate key {key}\nhand both over by a safe way and keep no copy; an admin revokes it with `sallyport certificates revoke {}`",
        issued.id, issued.id
    ));
    Ok(())
}
