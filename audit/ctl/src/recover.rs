//! `auditctl recover`: what is left of a ledger that the gateway refuses, and the way to go on with it.
//!
//! Shows what it would do unless it is told to do it. The one command that writes into a ledger's directory: it
//! moves files aside and leaves a plan; the gateway records it. It needs no secret, and deletes nothing.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::disk::RealDisk;
use sallyport_audit::journal::Files;
use sallyport_audit::note::PublicKey;
use sallyport_audit::recovery::{
    Evidence, Move, Plan, RecoveryError, Survey, carry_out, interrupted, survey, waiting,
};

use crate::Failure;
use crate::output::{count, plain};
use crate::verify::{Keys, checkpoint, keys};

#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory. Stop the gateway first, and run this as its user.
    ledger: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// A checkpoint of this ledger that was kept elsewhere (a witness's, a SIEM's), so that the new epoch can say
    /// what is missing. May be given again; give all that you can find.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// An older copy of the whole directory was put back, and nothing in it shows that.
    #[arg(long)]
    restored: bool,
    /// The ledger's key was replaced by KEY, which the gateway has now, and the record of that is among the lost ones. Give
    /// KEY among the keys, too. The new epoch says so, and only who is given KEY believes it.
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    handed_over_to: Option<PublicKey>,
    /// Only show what was found and what would be done. This is what happens without --apply, too.
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    /// Do it: move aside what is damaged or surplus, and leave a plan for the gateway's next start.
    #[arg(long, requires = "by", requires = "reason")]
    apply: bool,
    /// Who decided this, such as `user:alice`. Sealed beside the record.
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Why, in a sentence. Sealed beside the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Let tokens that were issued before stay valid, although a lost record may have revoked one, or locked its
    /// person. Without this all of them end, and so does every grant in any case.
    #[arg(long)]
    keep_tokens: bool,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::parse(text).map_err(|error| error.to_string())
}

/// The longest text of a person that is taken, in bytes.
const MAX_WORDS: usize = 2000;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let directory = arguments.ledger.as_path();
    let (by, reason) =
        (words("--by", arguments.by.as_deref())?, words("--reason", arguments.reason.as_deref())?);
    std::fs::read_dir(directory).map_err(|error| Failure::unreadable(directory, &error))?;
    let files = Files::new(directory);
    let _held = lock(&files, arguments.apply)?;
    let mut out = io::stdout().lock();
    if let Some(plan) = interrupted(&files).map_err(failed)? {
        return go_on(&mut out, &files, &plan, arguments.apply);
    }
    let evidence = Evidence {
        keys: keys(&arguments.keys)?,
        checkpoints: arguments.checkpoint.iter().map(|path| checkpoint(path)).collect::<Result<_, _>>()?,
        restored: arguments.restored,
        handed_over_to: arguments.handed_over_to.clone(),
    };
    let found = survey(&files, &evidence).map_err(failed)?;
    show(&mut out, directory, &found).map_err(|error| Failure::output(&error))?;
    let Some(plan) = found.plan(&files, by, reason, arguments.keep_tokens) else {
        let last = "Nothing to recover: the gateway can go on with this by itself.";
        writeln!(out, "\n{last}").map_err(|error| Failure::output(&error))?;
        return Ok(ExitCode::SUCCESS);
    };
    // A plan that was made earlier is good for as long as nothing has changed and no more is known to be lost.
    let ready = waiting(&files).map_err(failed)?;
    let is_ready = |ready: &Plan| {
        ready.kept == plan.kept
            && ready.resumed.at_least >= plan.resumed.at_least
            && ready.resumed.key == plan.resumed.key
    };
    if ready.as_ref().is_some_and(is_ready) {
        let last = "A plan lies ready: start the gateway, which records it.";
        writeln!(out, "\n{last}").map_err(|error| Failure::output(&error))?;
        return Ok(ExitCode::SUCCESS);
    }
    show_plan(&mut out, &plan, &found).map_err(|error| Failure::output(&error))?;
    if !arguments.apply {
        let last = "Nothing was changed. Compare the size and root that are kept with a checkpoint kept elsewhere \
                    (--checkpoint); then run this again with --apply --by WHO --reason TEXT.";
        writeln!(out, "\n{last}").map_err(|error| Failure::output(&error))?;
        return Ok(ExitCode::from(1));
    }
    apply(&mut out, &files, &plan)
}

/// A plan that was being carried out needs no other look: what it says was found before anything was moved.
fn go_on(out: &mut impl Write, files: &Files, plan: &Plan, apply_it: bool) -> Result<ExitCode, Failure> {
    let told = writeln!(out, "A recovery was begun and not finished.");
    told.map_err(|error| Failure::output(&error))?;
    if apply_it {
        return apply(out, files, plan);
    }
    let last =
        "Run this again with --apply: it goes on where it stopped, with the reason that was given then.";
    writeln!(out, "{last}").map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::from(1))
}

fn apply(out: &mut impl Write, files: &Files, plan: &Plan) -> Result<ExitCode, Failure> {
    carry_out(&RealDisk, files, plan).map_err(failed)?;
    let owner = |path: &Path| path.metadata().map(|metadata| metadata.uid()).ok();
    if owner(&files.recovery()) != owner(files.directory()) {
        eprintln!(
            "note: what was written belongs to another user than the ledger; give it to the gateway's user: \
             chown -R --reference={0} {0}",
            files.directory().display()
        );
    }
    let origin = plain(&plan.resumed.origin);
    writeln!(
        out,
        "\nDone. Start the gateway: it goes on as {origin}, and its first record says what is missing.\n\
         Tell everybody who watches this ledger (auditors, witnesses) that epoch {} begins at record {}.",
        plan.resumed.epoch, plan.resumed.first
    )
    .map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut impl Write, directory: &Path, found: &Survey) -> io::Result<()> {
    writeln!(out, "Ledger {} in {}", plain(&found.base), directory.display())?;
    for finding in &found.findings {
        writeln!(out, "  - {}", plain(finding))?;
    }
    let kept = &found.kept;
    writeln!(out, "\nWhole, and under a signed head: {}", count(kept.records, "record", "records"))?;
    writeln!(out, "  root {}", kept.root)?;
    if let Some((head, _, place)) = &found.lost {
        writeln!(out, "Best known lost head: {} records, root {} ({})", head.size, head.root, plain(place))?;
    }
    Ok(())
}

fn show_plan(out: &mut impl Write, plan: &Plan, found: &Survey) -> io::Result<()> {
    let resumed = &plan.resumed;
    writeln!(out, "\nWhat has to be done, because {}:", resumed.cause.meaning())?;
    for step in &plan.moves {
        match step {
            Move::Aside(path) => writeln!(out, "  - move {path} to {}", resumed.set_aside)?,
            Move::Cut { path, bytes } => writeln!(
                out,
                "  - copy {path} to {}, and cut it behind its last whole group, at byte {bytes}",
                resumed.set_aside
            )?,
        }
    }
    if found.kept.records > 0 {
        writeln!(out, "  - write the head file for the {} records that are kept", found.kept.records)?;
    }
    writeln!(out, "  - the gateway's next start: {}", plain(&resumed.origin))?;
    writeln!(out, "\nWhat the ledger will say: {}.", plain(&resumed.to_string()))?;
    writeln!(
        out,
        "What ends: every grant and waiting request{}. Nothing is deleted.",
        if resumed.tokens_kept { "; tokens stay, which you chose" } else { ", and every token" }
    )
}

fn words<'a>(option: &str, text: Option<&'a str>) -> Result<&'a str, Failure> {
    let text = text.unwrap_or_default();
    if text.len() > MAX_WORDS || text.contains(char::is_control) {
        return Err(Failure::usage(
            format!("{option} is too long or has control characters"),
            format!("write one line of at most {MAX_WORDS} bytes"),
        ));
    }
    Ok(text)
}

/// Keeps a gateway from starting meanwhile.
fn lock(files: &Files, make: bool) -> Result<Option<File>, Failure> {
    let path = files.lock();
    let file = match File::options().write(true).create(make).truncate(false).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::unreadable_file(&path, &error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(failed(RecoveryError::InUse { directory: files.directory().to_owned() }))
        }
        Err(TryLockError::Error(error)) => Err(Failure::unreadable_file(&path, &error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn failed(error: RecoveryError) -> Failure {
    match error {
        RecoveryError::Checkpoint { .. } | RecoveryError::Key { .. } => Failure::usage(&error, error.hint()),
        _ => Failure::not_evaluated(&error, error.hint()),
    }
}
