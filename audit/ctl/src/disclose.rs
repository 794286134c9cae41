//! `auditctl disclose` and `auditctl check-disclosure`
//!
//! Opening a value takes the gateway's keys, and this program has none: it hands the question on to `sallyport`,
//! which asks the gateway. What comes back is checked here, with public keys and nothing else.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use sallyport_audit::Digest;
use sallyport_audit::disclosure::{Disclosure, DisclosureError, MAX_DISCLOSURE_BYTES};
use sallyport_audit::proof::Shown;
use serde_json::json;

use crate::Failure;
use crate::output::{plain, read_bounded};
use crate::prove::NOT_PROVED;
use crate::verify::{Keys, keys};

/// `sallyport` stands beside this program, or on the path.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("sallyport"));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| "sallyport".into());
    let status = Command::new(&program).arg("disclose").args(arguments).status().map_err(|error| {
        Failure::not_evaluated(
            format!("cannot run {}: {error}", program.display()),
            "install `sallyport` beside auditctl; or have the value disclosed where it is, and check the file here",
        )
    })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(3).into())
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// The disclosure.
    disclosure: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Print what is shown as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let text = read_bounded(&arguments.disclosure, MAX_DISCLOSURE_BYTES as u64)?;
    let text = String::from_utf8(text).map_err(|_| DisclosureError::Form("it is not UTF-8".to_owned()));
    let checked = text.and_then(|text| Disclosure::parse(&text)).and_then(|disclosure| {
        let shown = disclosure.check(&keys)?;
        Ok((disclosure, shown))
    });
    let (disclosure, shown) = checked.map_err(|error| {
        Failure::broken(format!("{}: {error}", arguments.disclosure.display()), error.hint())
    })?;
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        print_json(&mut out, &disclosure, &shown)
    } else {
        print(&mut out, &disclosure, &shown)
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// The last of what a proof leaves open is what a disclosure is for.
fn not_proved() -> impl Iterator<Item = &'static str> {
    NOT_PROVED.into_iter().take(4).chain(["who is behind the name: the gateway recorded it as it knew it"])
}

fn print_json(out: &mut impl Write, disclosure: &Disclosure, shown: &Shown) -> io::Result<()> {
    let value = json!({
        "seq": disclosure.seq,
        "field": disclosure.field,
        "value": disclosure.value,
        "record": shown.record,
        "digest": Digest::leaf(&shown.bytes),
        "origin": shown.checkpoint.origin,
        "size": shown.checkpoint.size,
        "root": shown.checkpoint.root,
        "not_proved": not_proved().collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn print(out: &mut impl Write, disclosure: &Disclosure, shown: &Shown) -> io::Result<()> {
    let (field, value) = (disclosure.field, plain(&disclosure.value));
    writeln!(out, "{field} of record {}: {value}\n", shown.record.seq)?;
    crate::show::print(out, &shown.record, &shown.bytes)?;
    writeln!(
        out,
        "\nShown: the ledger {} committed to this {field} when it wrote the record, under a signed head over {} records.",
        plain(&shown.checkpoint.origin),
        shown.checkpoint.size
    )?;
    writeln!(out, "\nThis does not prove:")?;
    not_proved().try_for_each(|item| writeln!(out, "  - {item}"))
}
