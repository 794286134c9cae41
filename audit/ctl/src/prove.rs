//! `auditctl prove` and `auditctl check-proof`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::journal::scan::note_closing;
use sallyport_audit::note::CosignerKey;
use sallyport_audit::proof::{MAX_PROOF_BYTES, Proof, ProofError, Shown};
use sallyport_audit::record::MAX_RECORD_BYTES;
use sallyport_audit::snapshot::Snapshot;
use sallyport_audit::{Digest, Seq};
use serde_json::json;

use crate::Failure;
use crate::output::{ledger, plain, read_bounded, write_whole};
use crate::show;
use crate::verify::{Cosigners, Keys, checkpoint, keys};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    /// The record's number.
    seq: u64,
    /// Where to write the proof, by custom a name that ends in `.tlog-proof`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the record's bytes to this file, and not into the proof.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Prove it under this checkpoint of the ledger, such as one with cosignatures, and not under the last.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Prove it under the head that closed its group, as a witness is shown that the ledger's key was replaced.
    #[arg(long, conflicts_with = "checkpoint")]
    closing: bool,
}

/// The records up to the given head, or to the last one.
pub(crate) fn snapshot(directory: &Path, given: Option<&Path>) -> Result<Snapshot, Failure> {
    let files = ledger(directory)?;
    let snapshot = match given {
        Some(path) => Snapshot::at(files, checkpoint(path)?),
        None => Snapshot::latest(files),
    };
    snapshot.map_err(|error| Failure::snapshot(&error))
}

/// The records up to the head that closed the group of one.
fn closing(directory: &Path, seq: Seq) -> Result<Snapshot, Failure> {
    let files = ledger(directory)?;
    let note = note_closing(&files, seq).map_err(|error| Failure::unreadable(&files.journal(), &error))?;
    let note = note.ok_or_else(|| {
        Failure::not_evaluated(
            format!("no group of the journal holds record {seq}"),
            "give the number of a record that is there and was not pruned",
        )
    })?;
    Snapshot::at(files, note).map_err(|error| Failure::snapshot(&error))
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let snapshot = if arguments.closing {
        closing(&arguments.ledger, Seq::new(arguments.seq))?
    } else {
        snapshot(&arguments.ledger, arguments.checkpoint.as_deref())?
    };
    let (record, path) =
        snapshot.prove(Seq::new(arguments.seq)).map_err(|error| Failure::snapshot(&error))?;
    let beside = match &arguments.record {
        Some(file) => {
            write_whole(file, &record)?;
            None
        }
        None => Some(record),
    };
    let note = snapshot.note().to_owned();
    let proof = Proof { record: beside, index: Seq::new(arguments.seq), path, note };
    write_whole(&arguments.out, proof.to_string().as_bytes())?;
    eprintln!(
        "note: `auditctl check-proof {} --key-file KEYS` checks it anywhere, without the ledger",
        arguments.out.display()
    );
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// The proof.
    proof: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// The record's bytes, if they are not in the proof.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    cosigners: Cosigners,
    /// Print what is shown as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let (cosigners, quorum) = arguments.cosigners.read()?;
    let text = read_bounded(&arguments.proof, MAX_PROOF_BYTES as u64)?;
    let beside = arguments.record.as_deref().map(|path| read_bounded(path, MAX_RECORD_BYTES as u64));
    let beside = beside.transpose()?;
    let text = String::from_utf8(text).map_err(|_| ProofError::Form("it is not UTF-8"));
    let shown = text
        .and_then(|text| Proof::parse(&text))
        .and_then(|proof| proof.check(beside.as_deref(), &keys))
        .map_err(|error| {
            let message = format!("{}: {error}", arguments.proof.display());
            match error {
                ProofError::NoRecord => Failure::not_evaluated(message, error.hint()),
                _ => Failure::broken(message, error.hint()),
            }
        })?;
    cosigned(&shown, &cosigners, quorum.unwrap_or(cosigners.len()))?;
    let mut out = io::stdout().lock();
    let printed = if arguments.json { print_json(&mut out, &shown) } else { print(&mut out, &shown) };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether enough cosigners have seen the head.
fn cosigned(shown: &Shown, cosigners: &[CosignerKey], needed: usize) -> Result<(), Failure> {
    let hint = "ask for a proof under a cosigned head (`auditctl prove --checkpoint`)";
    let mut seen = 0;
    for cosigner in cosigners {
        let time = cosigner.verify(&shown.checkpoint, &shown.note);
        let time = time.map_err(|error| Failure::broken(format!("its checkpoint: {error}"), hint))?;
        seen += usize::from(time.is_some());
    }
    if seen < needed {
        let what = format!(
            "{seen} of {} given cosigners signed its checkpoint, {needed} are needed",
            cosigners.len()
        );
        return Err(Failure::broken(what, hint));
    }
    if !cosigners.is_empty() {
        eprintln!("cosigned: by {seen} of {} given cosigners", cosigners.len());
    }
    Ok(())
}

fn print_json(out: &mut impl Write, shown: &Shown) -> io::Result<()> {
    let value = json!({
        "record": shown.record,
        "digest": Digest::leaf(&shown.bytes),
        "origin": shown.checkpoint.origin,
        "size": shown.checkpoint.size,
        "root": shown.checkpoint.root,
        "not_proved": NOT_PROVED,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

pub(crate) const NOT_PROVED: [&str; 5] = [
    "that what was recorded is true, or that everything that happened was recorded",
    "that the given key is the organisation's own: that must be known from elsewhere",
    "that the signing key is still the ledger's: one that was replaced can still sign such a head and any record under it",
    "that other records say nothing to the contrary: only this one was looked at",
    "who the people are: personal values stand in the record as commitments and were not opened",
];

fn print(out: &mut impl Write, shown: &Shown) -> io::Result<()> {
    show::print(out, &shown.record, &shown.bytes)?;
    writeln!(
        out,
        "\nShown: this is record {} of the ledger {}, under a signed head over {} records.",
        shown.record.seq,
        plain(&shown.checkpoint.origin),
        shown.checkpoint.size
    )?;
    writeln!(out, "\nThis proof does not prove:")?;
    NOT_PROVED.iter().try_for_each(|item| writeln!(out, "  - {item}"))
}
