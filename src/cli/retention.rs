//! `sallyportd retention`: what may go, what stays and why, legal holds, pruning.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use sallyport_audit::archive::{Fetched, PrunedCopy};
use sallyport_audit::retention::{Survey, Tally};
use sallyport_audit::selection::Selection;
use sallyport_audit::{Kind, Seq};
use serde_json::json;

use super::failure::{ExitCode, Failure};
use super::out::say;
use super::requests::print_json;
use super::table::table;
use crate::clock;
use crate::gateway::config::Config;
use crate::gateway::retention::{self, RetentionError};

/// The commands; the daemon's settings stand before them.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say which records may go now, which stay, and why. Changes nothing, and works while the gateway runs
    Plan {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Archive and prune what may go. Without --yes it only says what it would do. The gateway must be stopped
    Run {
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        who: Asker,
    },
    /// Get what was pruned out of the archive and compare its digests with the ledger's records. Works while the gateway
    /// runs
    Fetch {
        /// Where to put it, as `auditctl verify --archive` takes it; made if it is not there
        directory: PathBuf,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Put records under legal hold. The gateway must be stopped
    Hold {
        /// A handle such as a case number; it is not secret
        name: String,
        #[command(flatten)]
        reason: Why,
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        who: Asker,
    },
    /// Lift a legal hold. The gateway must be stopped
    Release {
        /// The hold's name
        name: String,
        #[command(flatten)]
        reason: Why,
        #[command(flatten)]
        who: Asker,
    },
    /// List the legal holds. Works while the gateway runs
    List {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Why {
    /// Why; kept sealed beside the record
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Asker {
    /// File with the token of the person who asks; without it, the operator does
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What a hold selects; without any condition, everything.
#[derive(Debug, Args)]
pub(super) struct What {
    /// The number of the first record
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// The number of the last record
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Only records of this kind; may be given again, like all that follow
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<Kind>,
    /// Only records about this object
    #[arg(long)]
    object: Vec<String>,
    /// Only records of this session
    #[arg(long)]
    session: Vec<String>,
    /// Only records under this grant
    #[arg(long)]
    grant: Vec<String>,
    /// Only records from this instant on, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from_time: Option<Timestamp>,
    /// Only records before this instant
    #[arg(long, value_name = "TIME")]
    to_time: Option<Timestamp>,
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).ok_or_else(|| "there is no such kind; `docs/events.md` lists them".to_owned())
}

impl What {
    fn selection(self) -> Selection {
        Selection {
            from: Seq::new(self.from),
            to: self.to.map(Seq::new),
            kinds: self.kind,
            objects: self.object,
            sessions: self.session,
            grants: self.grant,
            from_time: self.from_time,
            to_time: self.to_time,
            ..Selection::default()
        }
    }
}

pub(super) async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    let failed = |error: RetentionError| Failure::caused(ExitCode::Failed, &error, error.hint());
    match command {
        Command::Plan { json } => {
            let survey =
                tokio::task::block_in_place(|| retention::plan(config, clock::now())).map_err(failed)?;
            show(&survey, json)
        }
        Command::Run { yes: false, json, .. } => {
            let survey =
                tokio::task::block_in_place(|| retention::plan(config, clock::now())).map_err(failed)?;
            show(&survey, json)?;
            if !json {
                say("\nNothing was changed. With --yes, what may go is archived and pruned.");
            }
            Ok(())
        }
        Command::Run { json, who, .. } => {
            let token = who.token()?;
            let done = retention::run(config, clock::now(), token.as_deref()).await.map_err(failed)?;
            if json {
                return print_json(&json!({ "record": done.receipt.seq, "manifest": done.manifest }));
            }
            say(format_args!(
                "pruned, as record {} declares; the copy in the archive is listed in {}",
                done.receipt.seq, done.manifest
            ));
            Ok(())
        }
        Command::Fetch { directory, json } => fetch(config, &directory, json).map_err(failed)?,
        Command::Hold { name, reason, what, who } => {
            let token = who.token()?;
            let selection = what.selection();
            let receipt = retention::hold(config, &name, &reason.reason, &selection, token.as_deref()).await;
            say(format_args!("hold `{name}` stands, as record {} says", receipt.map_err(failed)?.seq));
            Ok(())
        }
        Command::Release { name, reason, who } => {
            let token = who.token()?;
            let receipt = retention::release(config, &name, &reason.reason, token.as_deref()).await;
            say(format_args!("hold `{name}` is lifted, as record {} says", receipt.map_err(failed)?.seq));
            Ok(())
        }
        Command::List { json } => list(config, json).map_err(failed)?,
    }
}

impl Asker {
    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the token file {}: {error}", path.display());
            Failure::new(ExitCode::Usage, message, "give a file that `sallyport tokens` or `init` wrote")
        })?;
        Ok(Some(text.trim().to_owned()))
    }
}

fn fetch(config: &Config, directory: &Path, json: bool) -> Result<Result<(), Failure>, RetentionError> {
    let mut all = Vec::new();
    let mut told = |copy: &PrunedCopy, fetched: Fetched| {
        if !json {
            say(format_args!(
                "{}: {} segments, {} bytes, as record {} declares",
                copy.manifest, fetched.segments, fetched.bytes, copy.seq
            ));
        }
        all.push(json!({
            "record": copy.seq, "archive": copy.archive, "manifest": copy.manifest,
            "segments": fetched.segments, "bytes": fetched.bytes,
        }));
    };
    tokio::task::block_in_place(|| retention::fetch(config, directory, &mut told))?;
    if json {
        return Ok(print_json(&all));
    }
    if all.is_empty() {
        say("Nothing was ever pruned, so there is nothing to fetch.");
    } else {
        say(format_args!(
            "Every digest is the one that the ledger's records declare. Next: auditctl verify {} --archive {}",
            config.ledger.directory.display(),
            directory.display()
        ));
    }
    Ok(Ok(()))
}

fn list(config: &Config, json: bool) -> Result<Result<(), Failure>, RetentionError> {
    let holds = tokio::task::block_in_place(|| retention::standing_holds(config))?;
    if json {
        let holds: Vec<_> = holds
            .iter()
            .map(|hold| json!({ "hold": hold.name, "since": hold.since, "record": hold.placed, "selection": hold.selection }))
            .collect();
        return Ok(print_json(&holds));
    }
    let rows = holds.iter().map(|hold| {
        let selection = serde_json::to_string(&hold.selection).unwrap_or_default();
        let selection = if selection == "{}" { "everything".to_owned() } else { selection };
        vec![hold.name.clone(), format!("{:.0}", hold.since), hold.placed.to_string(), selection]
    });
    say(table(&["HOLD", "SINCE", "RECORD", "WHAT"], rows));
    Ok(Ok(()))
}

fn show(survey: &Survey, json: bool) -> Result<(), Failure> {
    let plan = &survey.plan;
    let tally = |tally: &Tally| json!({ "records": tally.records, "bytes": tally.bytes, "first": tally.first, "last": tally.last });
    if json {
        let stay: Vec<_> = plan
            .stay
            .iter()
            .map(|(why, found)| json!({ "why": why.to_string(), "what": tally(found) }))
            .collect();
        return print_json(&json!({
            "records": survey.records, "pruned_before": survey.pruned, "gone": plan.gone,
            "prune_before": plan.size, "go": tally(&plan.go), "stay": stay, "rules": survey.policy().digest(),
        }));
    }
    let frameworks: Vec<_> = survey
        .policy()
        .frameworks()
        .map(|framework| format!("{framework} {} days", framework.days()))
        .collect();
    say(format_args!("Rules: {} (digest {})", frameworks.join(", "), survey.policy().digest()));
    say(format_args!("Records: {}, of which {} were pruned earlier", survey.records, plan.gone));
    if plan.size == 0 {
        say("Nothing may go now.\n");
    } else {
        say(format_args!(
            "{} may go now, {}. What stays of the records before {} is written anew.\n",
            plan.go.records,
            extent(&plan.go),
            plan.size
        ));
    }
    let rows =
        plan.stay.iter().map(|(why, found)| vec![found.records.to_string(), extent(found), why.to_string()]);
    say(table(&["STAY", "", "WHY"], rows));
    Ok(())
}

fn extent(tally: &Tally) -> String {
    match (tally.first, tally.last) {
        (Some(first), Some(last)) => format!("{} bytes, between {first} and {last}", tally.bytes),
        _ => String::new(),
    }
}
