//! `auditctl export` and `auditctl verify-export`

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::export::{self, Checked, ExportError, Exporter};
use sallyport_audit::snapshot::{Shown, Snapshot, SnapshotError};

use crate::Failure;
use crate::filter::Filter;
use crate::output::{count, plain};
use crate::prove::snapshot;
use crate::verify::{Keys, keys};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// Where to write; without it, to the standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Export up to this checkpoint of the ledger, such as one with cosignatures, and not up to the last.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let snapshot = snapshot(&arguments.ledger, arguments.checkpoint.as_deref())?;
    let shown = match &arguments.out {
        None => export(&snapshot, &arguments.filter, io::stdout().lock()),
        Some(path) => {
            let file = File::create(path).map_err(|error| Failure::unwritable(path, &error))?;
            export(&snapshot, &arguments.filter, file)
        }
    };
    let shown = shown.map_err(|error| match error {
        SnapshotError::Output(error) => Failure::output(&error),
        other => Failure::snapshot(&other),
    })?;
    eprintln!(
        "exported: {} of {}, with what is needed to check them: `auditctl verify-export`",
        shown,
        count(snapshot.checkpoint().size, "record", "records")
    );
    Ok(ExitCode::SUCCESS)
}

fn export(snapshot: &Snapshot, filter: &Filter, out: impl Write) -> Result<u64, SnapshotError> {
    let selection = filter.selection();
    let mut exporter =
        Exporter::new(BufWriter::new(out), snapshot.note(), &selection).map_err(SnapshotError::Output)?;
    snapshot.records(&mut |shown| match shown {
        Shown::Record { seq, bytes, leaf } => exporter.record(seq, bytes, leaf),
        Shown::Omitted(run) => {
            exporter.pruned(run);
            Ok(())
        }
    })?;
    exporter.finish().map_err(SnapshotError::Output)
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// The export; `-` for the standard input.
    export: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let path = &arguments.export;
    let checked = if path == Path::new("-") {
        export::check(io::stdin().lock(), &keys)
    } else {
        let file = File::open(path).map_err(|error| Failure::unreadable_file(path, &error))?;
        export::check(BufReader::new(file), &keys)
    };
    let checked = checked.map_err(|error| {
        let message = format!("{}: {error}", path.display());
        match error {
            ExportError::Read(_) => Failure::not_evaluated(message, error.hint()),
            ExportError::Bad { .. } => Failure::broken(message, error.hint()),
        }
    })?;
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        serde_json::to_writer_pretty(&mut out, &checked)
            .map_err(io::Error::other)
            .and_then(|()| writeln!(out))
    } else {
        print(&mut out, &checked)
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, checked: &Checked) -> io::Result<()> {
    let Checked { origin, size, shown, left_out, selection, .. } = checked;
    writeln!(out, "Export of ledger {}, up to a signed head over {}", plain(origin), records(*size))?;
    let stated = serde_json::to_string(selection).map_err(io::Error::other)?;
    writeln!(out, "Selection: {}\n", if stated == "{}" { "everything".to_owned() } else { plain(&stated) })?;
    writeln!(out, "  shown         {}", records(*shown))?;
    writeln!(
        out,
        "  left out      {} in the selection's range, each stated by its number",
        records(*left_out)
    )?;
    if let (Some(first), Some(last)) = (checked.first_time, checked.last_time) {
        writeln!(out, "  times         {first:.0} to {last:.0}")?;
    }
    writeln!(out, "\nThis check does not prove:")?;
    for item in &checked.not_proved {
        writeln!(out, "  - {item}")?;
    }
    writeln!(out, "\nVerified: every record that is shown is as it was signed, and in its place.")
}

fn records(number: u64) -> String {
    count(number, "record", "records")
}
