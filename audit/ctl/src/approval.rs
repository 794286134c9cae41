//! `auditctl check-approval`: whether an approval was signed by the approver's own passkey, over exactly that request.
//!
//! Needs records and nothing else: the request's record gives what was to be signed, the record of the passkey's enrolment
//! gives the key, the record of the approval gives the signature. Of an export or a pack it is checked at the same time that
//! they are the ledger's, for which its public key is needed; of a ledger's directory `verify` says that.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::approval::{ApprovalRecords, Found, RecordFault, SignedApproval, Wanted};
use sallyport_audit::export::{self, ExportError};
use sallyport_audit::journal::scan::scan;
use sallyport_audit::note::PublicKey;
use sallyport_audit::snapshot::Shown;
use sallyport_audit::{Record, Seq};
use sallyport_compliance::pack::{PackReader, RECORDS};
use serde_json::json;

use crate::Failure;
use crate::log::finish;
use crate::output::{ledger, plain};
use crate::verify_pack::MaybeKeys;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory, an export, or an evidence pack (a folder or a zip file).
    records: PathBuf,
    /// The number of the record `access.approved`.
    seq: u64,
    #[command(flatten)]
    keys: MaybeKeys,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Where the records are.
enum Source {
    Ledger,
    Export,
    Pack,
}

impl Source {
    fn of(path: &Path) -> Self {
        let is_pack = path.join(RECORDS).exists() || path.extension().is_some_and(|name| name == "zip");
        match path.is_dir() {
            _ if is_pack => Self::Pack,
            true => Self::Ledger,
            false => Self::Export,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (found, code) = match Source::of(&arguments.records) {
        Source::Ledger => in_ledger(arguments)?,
        Source::Export => in_export(arguments, &mut |take| {
            let file = File::open(&arguments.records);
            let file = file.map_err(|error| Failure::unreadable_file(&arguments.records, &error))?;
            Ok(take(&mut BufReader::new(file)))
        })?,
        Source::Pack => {
            let failure =
                |error: sallyport_compliance::pack::StoreError| Failure::not_evaluated(&error, error.hint());
            let mut pack = PackReader::open(&arguments.records).map_err(failure)?;
            in_export(arguments, &mut |take| {
                let read = pack.file(RECORDS, |input| Ok(take(input))).map_err(failure)?;
                read.ok_or_else(|| {
                    Failure::not_evaluated(
                        format!("there are no {RECORDS} in {}", arguments.records.display()),
                        "give a whole pack; `auditctl verify-pack` checks it",
                    )
                })
            })?
        }
    };
    let mut out = io::stdout().lock();
    let printed = if arguments.json { print_json(&mut out, &found) } else { print(&mut out, &found) };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(code)
}

fn refused(seq: u64, fault: &RecordFault) -> Failure {
    let (message, hint) = (format!("record {seq}: {fault}"), fault.hint());
    match fault {
        RecordFault::Missing(_) | RecordFault::Unsigned | RecordFault::NoApproval => {
            Failure::not_evaluated(message, hint)
        }
        RecordFault::Unreadable(_)
        | RecordFault::Revoked { .. }
        | RecordFault::Twice { .. }
        | RecordFault::NotSigned(_) => Failure::broken(message, hint),
    }
}

fn parsed(seq: Seq, bytes: &[u8]) -> Result<Record, Failure> {
    Record::parse(bytes).map_err(|error| Failure::broken(format!("record {seq}: {error}"), error.hint()))
}

/// The approval is looked for first: then only what belongs to it is kept of all records before.
fn in_ledger(arguments: &Arguments) -> Result<(SignedApproval, ExitCode), Failure> {
    let files = ledger(&arguments.records)?;
    let unreadable = |error: io::Error| Failure::unreadable(&files.journal(), &error);
    let mut approval = None;
    scan(&files, Seq::new(arguments.seq), &mut |seq, bytes, _sealed| {
        approval = (seq.get() == arguments.seq).then(|| parsed(seq, bytes));
        ControlFlow::Break(())
    })
    .map_err(unreadable)?;
    let missing = || refused(arguments.seq, &RecordFault::NoApproval);
    let wanted = Wanted::new(approval.ok_or_else(missing)??);
    let mut records = ApprovalRecords::new(wanted.map_err(|fault| refused(arguments.seq, &fault))?);
    let mut broken = None;
    let end = scan(&files, Seq::ZERO, &mut |seq, bytes, _sealed| match parsed(seq, bytes) {
        _ if seq.get() >= arguments.seq => ControlFlow::Break(()),
        Ok(record) => {
            records.see(&record, bytes);
            ControlFlow::Continue(())
        }
        Err(failure) => {
            broken = Some(failure);
            ControlFlow::Break(())
        }
    })
    .map_err(unreadable)?;
    if let Some(failure) = broken {
        return Err(failure);
    }
    let found = records.check().map_err(|fault| refused(arguments.seq, &fault))?;
    Ok((found, finish(&arguments.records, &end)?))
}

/// Gives a reader of the export's lines, from the beginning, each time it is called.
type Reading<'r> = dyn FnMut(
        &mut dyn FnMut(&mut dyn BufRead) -> Result<(), ExportError>,
    ) -> Result<Result<(), ExportError>, Failure>
    + 'r;

/// Twice through the export, each time checked whole: what it shows counts only when it leads to the signed root.
fn in_export(arguments: &Arguments, read: &mut Reading<'_>) -> Result<(SignedApproval, ExitCode), Failure> {
    let keys = arguments.keys.read()?;
    if keys.is_empty() {
        return Err(Failure::usage(
            "an export or a pack is checked against the ledger's public key",
            "give it with --key, as its owner published it",
        ));
    }
    let mut approval = None;
    checked(arguments, &keys, read, &mut |seq, bytes| {
        if seq.get() == arguments.seq {
            approval = Some(parsed(seq, bytes));
        }
        Ok(())
    })?;
    let missing = || refused(arguments.seq, &RecordFault::NoApproval);
    let wanted = Wanted::new(approval.ok_or_else(missing)??);
    let mut records = ApprovalRecords::new(wanted.map_err(|fault| refused(arguments.seq, &fault))?);
    checked(arguments, &keys, read, &mut |seq, bytes| {
        records.see(&parsed(seq, bytes)?, bytes);
        Ok(())
    })?;
    let found = records.check().map_err(|fault| refused(arguments.seq, &fault))?;
    Ok((found, ExitCode::SUCCESS))
}

/// Is shown each record of an export.
type Visit<'v> = dyn FnMut(Seq, &[u8]) -> Result<(), Failure> + 'v;

fn checked(
    arguments: &Arguments,
    keys: &[PublicKey],
    read: &mut Reading<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), Failure> {
    let mut failed = None;
    let mut take = |input: &mut dyn BufRead| {
        let mut each = |shown: Shown<'_>| {
            if let (Shown::Record { seq, bytes, .. }, None) = (&shown, &failed) {
                failed = visit(*seq, bytes).err();
            }
        };
        export::replay(input, keys, &mut each).map(drop)
    };
    read(&mut take)?.map_err(|error| {
        let message = format!("{}: {error}", arguments.records.display());
        match error {
            ExportError::Read(_) => Failure::not_evaluated(message, error.hint()),
            ExportError::Bad { .. } => Failure::broken(message, error.hint()),
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// What the check leaves open.
fn not_proved(found: &SignedApproval) -> Vec<String> {
    let Found { approval, enrolment, .. } = found.records;
    let mut open = vec![
        "that a ledger's directory is as it was signed: `auditctl verify` checks that".to_owned(),
        "that whoever enrolled the passkey was the person: see the record of its enrolment".to_owned(),
        format!(
            "that the approval names whose passkey it is: have the subject of records {enrolment} and {approval} disclosed, and \
             compare"
        ),
        "that the person read what they approved".to_owned(),
    ];
    if found.unseen > 0 {
        open.push(format!(
            "that the passkey was not revoked before: {} records between {enrolment} and {approval} are not here",
            found.unseen
        ));
    }
    open
}

fn print_json(out: &mut impl Write, found: &SignedApproval) -> io::Result<()> {
    let Found { approval, request, enrolment } = found.records;
    let value = json!({
        "approval": approval, "request": request, "enrolment": enrolment,
        "request_digest": found.request_digest, "passkey": found.passkey, "approver": found.approver.text(),
        "algorithm": found.key.algorithm(), "key": found.key.text(), "rp_id": found.rp_id,
        "origin": found.origin, "counter": found.counter, "minutes": found.minutes,
        "conditions": found.conditions, "once": found.once, "user_verified": true, "unseen": found.unseen,
        "not_proved": not_proved(found),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn print(out: &mut impl Write, found: &SignedApproval) -> io::Result<()> {
    let Found { approval, request, enrolment } = found.records;
    writeln!(out, "Signed: record {approval} approves the request in record {request}.\n")?;
    let mut field = |name: &str, value: &str| writeln!(out, "  {name:<12} {}", plain(value));
    field("request", &found.request_digest.to_string())?;
    field("minutes", &found.minutes.map_or_else(|| "as asked".to_owned(), |minutes| minutes.to_string()))?;
    for condition in &found.conditions {
        field("only if", condition)?;
    }
    if found.once {
        field("sessions", "one")?;
    }
    field("passkey", &format!("{} (enrolled in record {enrolment})", found.passkey))?;
    field("approver", &found.approver.text())?;
    field("key", &format!("{} {}", found.key.algorithm(), found.key.text()))?;
    field("site", &found.rp_id)?;
    field("page", &found.origin)?;
    field("user", "verified by the authenticator")?;
    field("counter", &found.counter.to_string())?;
    writeln!(out, "\nThis does not prove:")?;
    not_proved(found).iter().try_for_each(|item| writeln!(out, "  - {item}"))
}
