//! `sallyport subjects erase` and `sallyport disclose`: what may be done with the names in the records.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;

/// The people in the records
#[derive(Debug, Subcommand)]
pub(super) enum Subjects {
    /// Erase a person: what they have is ended, and the key that seals their name in the records is destroyed, for good
    Erase {
        /// The person: user:NAME
        who: String,
        /// Why, without the name; it is recorded and stays
        #[arg(long)]
        reason: String,
        /// The same person again: what is erased never comes back
        #[arg(long, value_name = "WHO")]
        confirm: String,
    },
}

/// Open one personal value of one record, for an auditor
#[derive(Debug, Args)]
pub(super) struct Disclose {
    /// The record's number
    seq: u64,
    /// Which value: agent, path, reason, source, subject or target
    field: String,
    /// For whom; it is recorded
    #[arg(long)]
    to: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    /// Where to write it; `auditctl check-disclosure` checks the file anywhere
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs `sallyport subjects …`.
pub(super) async fn run(connection: &Connection, command: &Subjects) -> Result<(), Failure> {
    let Subjects::Erase { who, reason, confirm } = command;
    if who != confirm {
        let hint = "give the same person twice: what is erased never comes back";
        return Err(Failure::new(ExitCode::Usage, "--confirm does not repeat the person".to_owned(), hint));
    }
    let profile = connection.profile()?;
    let body = json!({ "who": who, "confirm": confirm, "reason": reason });
    let answer: Value = Api::new(&profile).post("/api/v1/subjects/erase", &body).await?;
    if connection.json {
        return print_json(&answer);
    }
    let key = answer.get("key").and_then(Value::as_str).unwrap_or_default();
    say(format_args!("erased; the records name key {key} where the person was"));
    Ok(())
}

/// Runs `sallyport disclose`.
pub(super) async fn disclose(connection: &Connection, disclose: &Disclose) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let body = json!({ "field": disclose.field, "to": disclose.to, "reason": disclose.reason });
    let path = format!("/api/v1/records/{}/disclose", disclose.seq);
    let answer: Value = Api::new(&profile).post(&path, &body).await?;
    let text = answer.get("disclosure").and_then(Value::as_str).unwrap_or_default();
    let file = disclose.out.display();
    crate::secret_file::write(&disclose.out, text.as_bytes()).map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot write {file}: {error}"),
            "choose a file that you may write",
        )
    })?;
    say(format_args!("wrote {file}; `auditctl check-disclosure {file} --key-file KEYS` checks it anywhere"));
    Ok(())
}
