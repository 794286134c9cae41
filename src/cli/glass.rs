//! `sallyport break-glass`, `sallyport glass`: going in when nobody can be asked, and answering for it.

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// Go in at once, without the approval that policy demands: everyone who would be asked is told, and somebody else reviews it
#[derive(Debug, Args)]
pub(super) struct BreakGlass {
    /// Name of the tunnel
    pub tunnel: String,
    /// Why nobody could be asked; those who are told and the reviewer read this
    #[arg(long)]
    pub reason: String,
    /// For how long, in minutes
    #[arg(long, default_value_t = 15)]
    pub minutes: u32,
}

/// See who broke the glass, and review it
#[derive(Debug, Subcommand)]
pub(super) enum Glass {
    /// Show what you may see, newest last
    List {
        /// Only what nobody has reviewed yet
        #[arg(long)]
        unreviewed: bool,
    },
    /// Say whether it was right; if it wasn't, what is left of the grant ends
    Review {
        /// Id, grant-…
        id: String,
        /// Your verdict
        verdict: Verdict,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Verdict {
    /// It was right
    Justified,
    /// It was wrong
    Unjustified,
}

#[derive(Debug, Serialize, Deserialize)]
struct Broken {
    id: String,
    state: String,
    subject: String,
    object: String,
    starts: String,
    expires: String,
    break_glass: Details,
    #[serde(default)]
    told: bool,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Details {
    reason: String,
    skipped: u32,
    review: Option<Review>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Review {
    by: String,
    verdict: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs `sallyport break-glass`.
pub(super) async fn break_it(connection: &Connection, command: &BreakGlass) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let body = json!({ "tunnel": command.tunnel, "reason": command.reason, "minutes": command.minutes });
    let broken: Broken = Api::new(&profile).post("/api/v1/glass", &body).await?;
    if connection.json {
        return print_json(&broken);
    }
    let skipped = broken.break_glass.skipped;
    say(format_args!("BREAK-GLASS {} for {} until {}", broken.id, broken.object, moment(&broken.expires)));
    say(format_args!(
        "{skipped} who could have been asked were told; the next time needs a review of this one"
    ));
    Ok(())
}

/// Runs `sallyport glass …`.
pub(super) async fn run(connection: &Connection, command: &Glass) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Glass::List { unreviewed } => {
            let query = if *unreviewed { "?unreviewed=true" } else { "" };
            let broken: Vec<Broken> = api.list(&format!("/api/v1/glass{query}")).await?;
            list(connection, &broken)
        }
        Glass::Review { id, verdict, reason } => {
            let verdict = match verdict {
                Verdict::Justified => "justified",
                Verdict::Unjustified => "unjustified",
            };
            let body = json!({ "verdict": verdict, "reason": reason });
            let broken: Broken = api.post(&format!("/api/v1/glass/{}/review", segment(id)?), &body).await?;
            if connection.json {
                return print_json(&broken);
            }
            say(format_args!("{}: {}, {}", broken.id, broken.state, reviewed(&broken)));
            Ok(())
        }
    }
}

fn reviewed(broken: &Broken) -> String {
    let review = broken.break_glass.review.as_ref();
    review.map_or_else(|| "NOT REVIEWED".to_owned(), |review| format!("{} by {}", review.verdict, review.by))
}

fn list(connection: &Connection, broken: &[Broken]) -> Result<(), Failure> {
    if connection.json {
        return print_json(&broken);
    }
    if broken.is_empty() {
        say(format_args!("nobody broke the glass, as far as you may see"));
        return Ok(());
    }
    let rows = broken.iter().map(|broken| {
        vec![
            broken.id.clone(),
            broken.state.clone(),
            broken.subject.clone(),
            broken.object.clone(),
            moment(&broken.starts),
            if broken.told { "told" } else { "-" }.to_owned(),
            reviewed(broken),
            broken.break_glass.reason.clone(),
        ]
    });
    say(format_args!("{}", table(&["ID", "STATE", "WHO", "WHAT", "WHEN", "YOU", "REVIEW", "WHY"], rows)));
    Ok(())
}
