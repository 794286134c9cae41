//! `auditctl report`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::tz::TimeZone;
use sallyport_audit::verify::Trust;
use sallyport_compliance::pack::Signer;
use sallyport_compliance::{
    Basis, BasisError, Builtin, Cryptography, Period, Report, Standing, ToExplain, html,
};

use crate::Failure;
use crate::output::{count, ledger, plain};
use crate::progress::Bar;
use crate::signing::SigningKeyFile;
use crate::verify::{Keys, checkpoint, conclusion, keys};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which framework: soc2, iso27001, hipaa, pci or nist.
    framework: Builtin,
    /// The ledger's directory.
    ledger: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// A checkpoint of this ledger that was kept elsewhere: the ledger must still contain it.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The first day (2026-01-31) or instant (2026-01-31T12:00:00Z) of the period.
    #[arg(long, value_name = "DATE")]
    from: String,
    /// The last day of the period, included, or the instant at which it ends.
    #[arg(long, value_name = "DATE")]
    to: String,
    /// The time zone whose days these are, by its IANA name, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    timezone: TimeZone,
    /// Accept the gaps that the ledger itself declares, up to and with this declaration, as `auditctl verify`
    /// shows it.
    #[arg(long, value_name = "N:FIRST:LEAFHASH")]
    accept_epoch: Option<String>,
    /// Write the report as one HTML page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write an evidence pack: page, tables, OSCAL, and the records they were made from, in a new folder or, if the
    /// name ends in .zip, a file. `auditctl verify-pack` checks it without the ledger.
    #[arg(long, value_name = "PACK")]
    out: Option<PathBuf>,
    /// Sign the pack with this Ed25519 key, in the form of Go's note package: PRIVATE+KEY+name+hash+key.
    #[arg(long, value_name = "FILE", requires = "out")]
    sign_key: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| "give a name such as UTC or Europe/Berlin".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let period = Period::parse_in(&arguments.from, &arguments.to, &arguments.timezone)
        .map_err(|error| Failure::usage(error, "give --from and --to as days or RFC 3339 times"))?;
    let signer = arguments.sign_key.as_deref().map(SigningKeyFile::read).transpose()?;
    // No clock: the same ledger and the same words on the command line must give the same bytes.
    let trust = Trust {
        keys: keys(&arguments.keys)?,
        checkpoint: arguments.checkpoint.as_deref().map(checkpoint).transpose()?,
        accept_epoch: arguments.accept_epoch.clone(),
        ..Trust::default()
    };
    let framework = arguments
        .framework
        .load()
        .map_err(|error| Failure::not_evaluated(error, "this auditctl is damaged: install it anew"))?;
    ledger(&arguments.ledger)?;
    let failure = |error: BasisError| failure(&arguments.ledger, &error);
    let bar = Bar::of("verifying");
    let basis = Basis::verify(&arguments.ledger, &trust, &mut |progress| bar.show(progress));
    drop(bar);
    let basis = basis.map_err(failure)?;
    eprintln!("{}", conclusion(basis.verdict()));
    let code = basis.verdict().overall().exit_code();
    let bar = Bar::of("reading");
    let report = basis.report(&framework, period, &arguments.timezone, &mut |progress| bar.show(progress));
    drop(bar);
    let report = report.map_err(failure)?;
    if let Some(path) = &arguments.html {
        write_html(path, &report)?;
    }
    if let Some(path) = &arguments.out {
        let signer = signer.as_ref().map(|signer| signer as &dyn Signer);
        let mut progress = |name: &str| eprintln!("packing: {name}");
        basis.pack(path, (&framework, &report), signer, &mut progress).map_err(failure)?;
        eprintln!("written: {} (`auditctl verify-pack` checks it anywhere)", path.display());
    }
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        report.json().map_err(io::Error::other).and_then(|text| out.write_all(text.as_bytes()))
    } else {
        print(&mut out, &report)
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    let code = if code == 0 && !report.is_evaluated() { 3 } else { code };
    Ok(ExitCode::from(code))
}

fn failure(ledger: &Path, error: &BasisError) -> Failure {
    match error {
        BasisError::Read(error) => Failure::unreadable(ledger, error),
        broken if broken.is_broken() => Failure::broken(broken, broken.hint()),
        other => Failure::not_evaluated(other, other.hint()),
    }
}

fn write_html(path: &Path, report: &Report) -> Result<(), Failure> {
    let page = html(report).map_err(|error| {
        Failure::not_evaluated(format!("the page could not be made: {error}"), "use --json instead")
    })?;
    std::fs::write(path, page).map_err(|error| {
        Failure::not_evaluated(
            format!("cannot write {}: {error}", path.display()),
            "give a file in a directory that you may write to",
        )
    })?;
    eprintln!("written: {}", path.display());
    Ok(())
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report { title, edition, period, population, .. } = report;
    writeln!(out, "{title} ({edition})")?;
    writeln!(out, "Period: {} up to and not including {}", period.from, period.to)?;
    write!(out, "{}", count(population.sum.count, "record", "records"))?;
    if let (Some(first), Some(last)) = (population.sum.first, population.sum.last) {
        write!(out, ", numbers {first} to {last}")?;
    }
    writeln!(
        out,
        "; {}, {} of silence\n",
        count(report.gaps.len() as u64, "gap in the numbers", "gaps in the numbers"),
        count(report.silences.len() as u64, "time", "times"),
    )?;
    if let Some(reason) = &report.unproved {
        writeln!(out, "NOTHING MAY BE CONCLUDED: {reason}.\n")?;
    }
    for control in &report.controls {
        let state = match &control.state {
            Standing::Evidence => "evidence".to_owned(),
            Standing::Exceptions { count } => format!("{count} to explain"),
            Standing::NotEvaluated { reason } => format!("not evaluated: {reason}"),
        };
        writeln!(out, "  {:<24} {}", control.id, plain(&state))?;
    }
    let ToExplain { records, findings } = report.to_explain;
    if report.unproved.is_none() && records.saturating_add(findings) > 0 {
        writeln!(
            out,
            "\nTo explain in all: {}, each counted once, and {}",
            count(records, "record", "records"),
            count(findings, "finding of tables", "findings of tables"),
        )?;
    }
    for listing in report.controls.iter().flat_map(|control| &control.exceptions) {
        if let Some(first) = listing.rows.first() {
            let times = count(listing.table.sum.count, "record", "records");
            writeln!(out, "\nTo explain: {} ({times}, the first is {})", listing.table.shows, first.seq)?;
        }
    }
    for (sheet, found) in
        report.sheets.iter().flat_map(|sheet| sheet.exceptions.iter().map(move |found| (sheet, found)))
    {
        writeln!(out, "\nTo explain: {} ({}, table {})", found.what, found.count, sheet.id)?;
    }
    print_cryptography(out, &report.cryptography)?;
    writeln!(out, "\nThis report does not prove:")?;
    for item in &report.not_proved {
        writeln!(out, "  - {item}")?;
    }
    Ok(())
}

fn print_cryptography(out: &mut impl Write, crypto: &Cryptography) -> io::Result<()> {
    writeln!(out, "\nSessions: {}", crypto.sessions.sentence)?;
    writeln!(out, "Tunnels:  {}", crypto.tunnels.sentence)?;
    let keys = &crypto.inventory.keys;
    writeln!(
        out,
        "Keys:     {}; {} in the period",
        count(keys.len() as u64, "key", "keys"),
        count(crypto.changes.rotations, "rotation", "rotations")
    )?;
    for key in keys {
        let due = key.due.as_deref().unwrap_or("no date");
        writeln!(
            out,
            "  {:<22} {:<14} {}; extractable: {}; made {}; due {}; {}",
            plain(&key.role),
            plain(&key.algorithm),
            plain(&key.home),
            plain(&key.extractable),
            plain(key.created.as_deref().unwrap_or("not known")),
            plain(due),
            key.state.as_str(),
        )?;
    }
    Ok(())
}
