//! `sallyportd retention`, and `sallyport retention` through the running gateway: what may go, what stays and why, legal holds,
//! pruning.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use sallyport_audit::archive::{Fetched, PrunedCopy};
use sallyport_audit::selection::Selection;
use sallyport_audit::{Kind, Seq};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;
use super::table::table;
use crate::clock;
use crate::console::{HoldView, PlanView, TallyView};
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
    /// Archive and prune what may go. Without --yes it only says what it would do. The gateway must be stopped:
    /// a running one is asked with `sallyport retention`
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
    /// Put records under legal hold. The gateway must be stopped: a running one is asked with `sallyport retention`
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
    /// Lift a legal hold. The gateway must be stopped: a running one is asked with `sallyport retention`
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

/// Minimum ages, legal holds and pruning, through the running gateway
#[derive(Debug, Subcommand)]
pub(super) enum Asked {
    /// Say which records may go now, which stay, and why
    Plan,
    /// Have the gateway archive and prune what may go. Without --yes it only says what it would do. The records leave the
    /// gateway's files when it is started next
    Run {
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Put records under legal hold
    Hold {
        /// A handle such as a case number; it is not secret
        name: String,
        #[command(flatten)]
        reason: Why,
        #[command(flatten)]
        what: Box<What>,
    },
    /// Lift a legal hold
    Release {
        /// The hold's name
        name: String,
        #[command(flatten)]
        reason: Why,
    },
    /// List the legal holds
    List,
}

/// Runs `sallyport retention …`.
pub(super) async fn ask(connection: &Connection, command: &Asked) -> Result<(), Failure> {
    let (profile, json) = (connection.profile()?, connection.json);
    let api = Api::new(&profile);
    match command {
        Asked::Plan | Asked::Run { yes: false } => {
            show(&api.get("/api/v1/retention/plan").await?, json)?;
            if !json && matches!(command, Asked::Run { .. }) {
                say(NOTHING_CHANGED);
            }
            Ok(())
        }
        Asked::List => list(&api.list::<HoldView>("/api/v1/retention/holds").await?, json),
        Asked::Run { .. } => {
            let answer: Value = api.post("/api/v1/retention/run", &json!({})).await?;
            if json {
                return print_json(&answer);
            }
            match (answer.get("record"), answer.get("manifest").and_then(Value::as_str)) {
                (Some(record), Some(manifest)) => say(format_args!(
                    "pruned, as record {record} declares; the copy in the archive is listed in {manifest}. The records leave \
                     the gateway's files when it is started next"
                )),
                _ => say("it goes on; `sallyport log` shows the record retention.pruned when it is done"),
            }
            Ok(())
        }
        Asked::Hold { name, reason, what } => {
            let body = json!({ "hold": name, "reason": reason.reason, "selection": what.selection() });
            let answer: Value = api.post("/api/v1/retention/holds", &body).await?;
            recorded(&answer, json, &format!("hold `{name}` stands"))
        }
        Asked::Release { name, reason } => {
            // A name of a hold has only characters that stand in a path; any other is refused as unknown.
            let name: String = name.chars().filter(char::is_ascii_graphic).collect();
            let path = format!("/api/v1/retention/holds/{}/release", name.replace(['/', '?', '#', '%'], "_"));
            let answer: Value = api.post(&path, &json!({ "reason": reason.reason })).await?;
            recorded(&answer, json, &format!("hold `{name}` is lifted"))
        }
    }
}

fn recorded(answer: &Value, json: bool, what: &str) -> Result<(), Failure> {
    if json {
        return print_json(answer);
    }
    let record = answer.get("record").and_then(Value::as_u64).unwrap_or_default();
    say(format_args!("{what}, as record {record} says"));
    Ok(())
}

const NOTHING_CHANGED: &str = "\nNothing was changed. With --yes, what may go is archived and pruned.";

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
    fn selection(&self) -> Selection {
        Selection {
            from: Seq::new(self.from),
            to: self.to.map(Seq::new),
            kinds: self.kind.clone(),
            objects: self.object.clone(),
            sessions: self.session.clone(),
            grants: self.grant.clone(),
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
            show(&retention::plan_view(&survey), json)
        }
        Command::Run { yes: false, json, .. } => {
            let survey =
                tokio::task::block_in_place(|| retention::plan(config, clock::now())).map_err(failed)?;
            show(&retention::plan_view(&survey), json)?;
            if !json {
                say(NOTHING_CHANGED);
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
        Command::List { json } => {
            let holds = tokio::task::block_in_place(|| retention::standing_holds(config)).map_err(failed)?;
            list(&retention::hold_views(&holds), json)
        }
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

fn list(holds: &[HoldView], json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&holds);
    }
    let rows = holds.iter().map(|hold| {
        let selection = serde_json::to_string(&hold.selection).unwrap_or_default();
        let selection = if selection == "{}" { "everything".to_owned() } else { selection };
        vec![hold.hold.clone(), format!("{:.0}", hold.since), hold.record.to_string(), selection]
    });
    say(table(&["HOLD", "SINCE", "RECORD", "WHAT"], rows));
    Ok(())
}

fn show(plan: &PlanView, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(plan);
    }
    say(format_args!("Rules: {} (digest {})", plan.frameworks.join(", "), plan.rules));
    say(format_args!("Records: {}, of which {} were pruned earlier", plan.records, plan.gone));
    if plan.prune_before == 0 {
        say("Nothing may go now.\n");
    } else {
        say(format_args!(
            "{} may go now, {}. What stays of the records before {} is written anew.\n",
            plan.go.records,
            extent(&plan.go),
            plan.prune_before
        ));
    }
    let rows = plan
        .stay
        .iter()
        .map(|stay| vec![stay.what.records.to_string(), extent(&stay.what), stay.why.clone()]);
    say(table(&["STAY", "", "WHY"], rows));
    Ok(())
}

fn extent(tally: &TallyView) -> String {
    match (tally.first, tally.last) {
        (Some(first), Some(last)) => format!("{} bytes, between {first} and {last}", tally.bytes),
        _ => String::new(),
    }
}
