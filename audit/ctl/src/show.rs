//! `auditctl show` and `auditctl checkpoint`

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::journal::scan::scan;
use sallyport_audit::snapshot::{Snapshot, SnapshotError};
use sallyport_audit::{Digest, Record, Seq};
use serde_json::json;

use crate::Failure;
use crate::log::finish;
use crate::output::{ledger, plain};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    /// The record's number.
    seq: u64,
    /// Print the record and its digest as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let mut found = None;
    let mut pruned = false;
    let end = scan(&files, Seq::new(arguments.seq), &mut |seq, bytes, sealed| {
        pruned = seq.get() > arguments.seq;
        found = (!pruned).then(|| (bytes.to_vec(), sealed.len()));
        ControlFlow::Break(())
    });
    let end = end.map_err(|error| Failure::unreadable(&files.journal(), &error))?;
    if pruned {
        let error = SnapshotError::PrunedRecord { seq: Seq::new(arguments.seq) };
        return Err(Failure::snapshot(&error));
    }
    let Some((bytes, sealed)) = found else {
        finish(&arguments.ledger, &end)?;
        return Err(Failure::not_evaluated(
            format!("there is no record {}", arguments.seq),
            format!("`auditctl log {}` lists what there is", arguments.ledger.display()),
        ));
    };
    let record = Record::parse(&bytes)
        .map_err(|error| Failure::broken(format!("record {}: {error}", arguments.seq), error.hint()))?;
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        let value = json!({ "record": record, "digest": Digest::leaf(&bytes), "sealed_bytes": sealed });
        serde_json::to_writer_pretty(&mut out, &value).map_err(io::Error::other).and_then(|()| writeln!(out))
    } else {
        print(&mut out, &record, &bytes)
    };
    printed.map_err(|error| Failure::output(&error))?;
    finish(&arguments.ledger, &end)
}

pub(crate) fn print(out: &mut impl Write, record: &Record, bytes: &[u8]) -> io::Result<()> {
    writeln!(out, "Record {}: {}, {}", record.seq, record.kind, record.result)?;
    writeln!(out, "  {}\n", record.kind.meaning().trim())?;
    let mut field = |name: &str, value: &str| writeln!(out, "  {name:<12} {}", plain(value));
    field("time", &sallyport_audit::record::time_text(record.time))?;
    field("node", &record.node)?;
    for (name, value) in [
        ("action", &record.action),
        ("object", &record.object),
        ("session", &record.session),
        ("grant", &record.grant),
        ("policy", &record.policy),
        ("correlation", &record.correlation),
    ] {
        if let Some(value) = value {
            field(name, value)?;
        }
    }
    for (name, value) in &record.details {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        field(&plain(name), &text)?;
    }
    for (name, commitment) in &record.personal {
        field(name.as_str(), &format!("sealed (commitment {commitment})"))?;
    }
    field("prev", &record.prev.to_string())?;
    field("digest", &Digest::leaf(bytes).to_string())
}

/// Prints the last signed head of the journal.
pub(crate) fn checkpoint(directory: &Path) -> Result<ExitCode, Failure> {
    let files = ledger(directory)?;
    let snapshot = Snapshot::latest(files).map_err(|error| Failure::snapshot(&error))?;
    let mut out = io::stdout().lock();
    out.write_all(snapshot.note().as_bytes()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
