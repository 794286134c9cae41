//! `auditctl verify-pack`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::note::PublicKey;
use sallyport_compliance::Report;
use sallyport_compliance::pack::{Checked, PackReader, StoreError, Trust, check};
use serde_json::json;

use crate::Failure;
use crate::output::{count, plain};
use crate::verify::read_keys;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The pack: a folder or a zip file.
    pack: PathBuf,
    #[command(flatten)]
    keys: MaybeKeys,
    /// The public key under whose signature the pack must stand, as whoever answers for it published it.
    #[arg(long, value_name = "KEY")]
    signer: Option<String>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Keys that need not be given: a pack has those of its maker, for comparison.
#[derive(Args)]
pub(crate) struct MaybeKeys {
    /// The ledger's public key, as its owner published it: name+hash+base64. May be given again.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A file with public keys, one in a line; empty lines and lines that begin with # do not count.
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

impl MaybeKeys {
    pub(crate) fn read(&self) -> Result<Vec<PublicKey>, Failure> {
        read_keys(("--key", &self.key), ("--key-file", &self.key_file), PublicKey::parse)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let signer = arguments.signer.as_deref().map(PublicKey::parse).transpose();
    let signer = signer.map_err(|error| Failure::usage(format!("--signer: {error}"), error.hint()))?;
    let trust = Trust { keys: arguments.keys.read()?, signer };
    let failure = |error: StoreError| Failure::not_evaluated(&error, error.hint());
    let mut pack = PackReader::open(&arguments.pack).map_err(failure)?;
    let checked = check(&mut pack, &trust).map_err(failure)?;
    let mut out = io::stdout().lock();
    let printed = if arguments.json { print_json(&mut out, &checked) } else { print(&mut out, &checked) };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::from(checked.exit_code()))
}

/// What to compare with the page.
fn figures(report: &Report) -> serde_json::Value {
    json!({
        "framework": report.framework,
        "period": report.period,
        "time_zone": report.time_zone,
        "origin": report.head.origin,
        "size": report.head.size,
        "root": report.head.root,
        "records": report.population.sum.count,
        "checksum": report.population.sum.checksum,
        "gaps": report.gaps.len(),
        "silences": report.silences.len(),
        "exceptions": report.to_explain.records,
        "exceptions_of_tables": report.to_explain.findings,
        "controls": report.controls.iter().map(|control| json!({"id": control.id, "state": control.state})).collect::<Vec<_>>(),
    })
}

fn print_json(out: &mut impl Write, checked: &Checked) -> io::Result<()> {
    let value = json!({
        "findings": checked.findings,
        "figures": checked.report.as_ref().map(figures),
        "not_proved": checked.not_proved,
        "exit_code": checked.exit_code(),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn print(out: &mut impl Write, checked: &Checked) -> io::Result<()> {
    for finding in &checked.findings {
        writeln!(out, "  {:<11} {:<14} {}", finding.part, finding.state.as_str(), plain(&finding.sentence))?;
    }
    if let Some(report) = &checked.report {
        writeln!(out, "\n{} ({})", plain(&report.title), plain(&report.edition))?;
        writeln!(out, "Period: {} up to and not including {}", report.period.from, report.period.to)?;
        writeln!(
            out,
            "{}; {}, {} of silence; to explain: {} and {}",
            count(report.population.sum.count, "record", "records"),
            count(report.gaps.len() as u64, "gap", "gaps"),
            count(report.silences.len() as u64, "time", "times"),
            count(report.to_explain.records, "record", "records"),
            count(report.to_explain.findings, "finding of tables", "findings of tables"),
        )?;
        writeln!(out, "Checksum of the population: {}", report.population.sum.checksum)?;
    }
    writeln!(out, "\nThis check does not prove:")?;
    for item in &checked.not_proved {
        writeln!(out, "  - {item}")?;
    }
    let end = match checked.exit_code() {
        0 => "Verified: the pack follows from records of the ledger, byte by byte.",
        1 => "BROKEN: do not rely on this pack.",
        _ => "Not verified: something could not be evaluated.",
    };
    writeln!(out, "\n{end}")
}
