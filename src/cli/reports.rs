//! `sallyport reports`: evidence packs that the gateway makes.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;
use super::table::table;
use crate::console::{ReportSchedule, ReportView};

/// Evidence packs that the gateway makes
#[derive(Debug, Subcommand)]
pub(super) enum Reports {
    /// Show the packs there are, and the one that is being made
    List,
    /// Have a pack made of a period; it is signed by the gateway
    Make {
        /// soc2, iso27001, hipaa, pci or nist
        framework: String,
        /// The first day (2026-01-31) or instant (2026-01-31T12:00:00Z)
        #[arg(long, value_name = "DATE")]
        from: String,
        /// The last day, included, or the instant at which it ends
        #[arg(long, value_name = "DATE")]
        to: String,
        /// The time zone whose days these are, such as Europe/Berlin
        #[arg(long, value_name = "ZONE")]
        timezone: Option<String>,
    },
    /// Show of what a pack is made when a month is over; with --of or --none, decide on it
    Schedule {
        /// soc2, iso27001, hipaa, pci or nist, and no other; several times
        #[arg(long, value_name = "FRAMEWORK", conflicts_with = "none", requires = "reason")]
        of: Vec<String>,
        /// No pack is made by itself
        #[arg(long, requires = "reason")]
        none: bool,
        /// Why; it is recorded
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take a pack away: check it with `auditctl verify-pack`
    Get {
        /// Its name, as `reports list` shows it
        name: String,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Delete a pack that the gateway keeps
    Delete {
        /// Its name, as `reports list` shows it
        name: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

/// Runs `sallyport reports`.
pub(super) async fn run(connection: &Connection, command: &Reports) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Reports::List => {
            let all: Vec<ReportView> = api.list("/api/v1/reports").await?;
            if connection.json {
                return print_json(&all);
            }
            let rows = all.into_iter().map(|view| {
                let what = if view.state == "made" { view.sha256 } else { view.what };
                vec![
                    view.name,
                    view.state,
                    view.from,
                    view.to,
                    view.records.to_string(),
                    view.exceptions.to_string(),
                    what,
                ]
            });
            let head = ["NAME", "STATE", "FROM", "TO", "RECORDS", "EXCEPTIONS", "SHA-256 OR WHAT IS DONE"];
            say(table(&head, rows));
            Ok(())
        }
        Reports::Make { framework, from, to, timezone } => {
            let body = json!({ "framework": framework, "from": from, "to": to, "timezone": timezone });
            let view: ReportView = api.post("/api/v1/reports", &body).await?;
            if connection.json {
                return print_json(&view);
            }
            say(format_args!(
                "begun: {}\n`sallyport reports list` shows how far it is, `sallyport reports get` takes it away",
                view.name
            ));
            Ok(())
        }
        Reports::Schedule { of, none, reason } => {
            let place = "/api/v1/reports/schedule";
            let view: ReportSchedule = if *none || !of.is_empty() {
                api.post(place, &json!({ "frameworks": of, "reason": reason })).await?
            } else {
                api.get(place).await?
            };
            if connection.json {
                return print_json(&view);
            }
            let by = if view.decided { "decided while the gateway ran" } else { "as configured" };
            if view.frameworks.is_empty() {
                say(format_args!("no pack is made by itself ({by})"));
            } else {
                let (of, next, zone) = (view.frameworks.join(", "), view.next, view.time_zone);
                say(format_args!(
                    "a pack is made of each month of {zone} for {of}, next from {next} on ({by})"
                ));
            }
            Ok(())
        }
        Reports::Get { name, out } => {
            plain(name)?;
            let bytes = api.download(&format!("/api/v1/reports/{name}/pack"), out).await?;
            say(format_args!("written: {} ({bytes} bytes); `auditctl verify-pack` checks it", out.display()));
            Ok(())
        }
        Reports::Delete { name, reason } => {
            plain(name)?;
            let body = json!({ "reason": reason });
            let gone: Value = api.post(&format!("/api/v1/reports/{name}/delete"), &body).await?;
            if connection.json {
                return print_json(&gone);
            }
            say(format_args!("deleted: {name}"));
            Ok(())
        }
    }
}

/// What may stand in a path.
fn plain(name: &str) -> Result<(), Failure> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Ok(());
    }
    let message = format!("`{name}` is no name of a report");
    Err(Failure::new(ExitCode::Usage, message, "`sallyport reports list` shows them"))
}
