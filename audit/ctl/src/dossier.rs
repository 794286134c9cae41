//! `auditctl dossier` and `auditctl check-dossier`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::Seq;
use sallyport_compliance::Reel;
use sallyport_compliance::dossier::{Dossier, Fault, GatherError, MAX_BYTES, Story, check, gather};
use serde_json::json;

use crate::Failure;
use crate::output::{count, plain, read_bounded, write_whole};
use crate::source;
use crate::verify::{Keys, keys};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The grant, request or session: grant-…, req-… or sess-….
    about: String,
    /// The ledger's directory, or an evidence pack.
    source: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Where to write the dossier.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let mut reel = source::open(&arguments.source, &keys)?;
    let dossier = gathered(&mut reel, &arguments.about)?;
    if let Some(partial) = partial(&reel) {
        eprintln!("note: gathered from a pack, so it may not hold all that belongs to it: {partial}");
    }
    write_whole(&arguments.out, dossier.to_json().as_bytes())?;
    eprintln!(
        "written: {} with {}; `auditctl check-dossier` checks it anywhere",
        arguments.out.display(),
        count(dossier.items.len() as u64, "record", "records"),
    );
    let mut out = io::stdout().lock();
    print_story(&mut out, &dossier).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn gathered(reel: &mut Reel, about: &str) -> Result<Dossier, Failure> {
    gather(reel, about).map_err(|error| match &error {
        GatherError::Reel(inner) => source::failure(inner),
        _ => Failure::not_evaluated(&error, error.hint()),
    })
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// The dossier.
    dossier: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Gather it again from this ledger or pack, and name what is missing in the dossier.
    #[arg(long, value_name = "LEDGER|PACK")]
    against: Option<PathBuf>,
    /// Print what is shown as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn check_file(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let path = arguments.dossier.display();
    let bytes = read_bounded(&arguments.dossier, MAX_BYTES)?;
    let dossier: Dossier = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::broken(format!("{path}: {}: {error}", Fault::Form), Fault::Form.hint()))?;
    let shown =
        check(&dossier, &keys).map_err(|fault| Failure::broken(format!("{path}: {fault}"), fault.hint()))?;
    let mut compared = Compared::Not;
    if let Some(against) = &arguments.against {
        let mut reel = source::open(against, &keys)?;
        let whole = gathered(&mut reel, &dossier.about)?;
        compared = partial(&reel).map_or(Compared::Whole, Compared::Part);
        let missing: Vec<String> = dossier.missing(&whole).iter().map(Seq::to_string).collect();
        if !missing.is_empty() {
            return Err(Failure::broken(
                format!("{path}: these records belong to it and are not in it: {}", missing.join(", ")),
                "if they are older than the dossier's head, do not believe it; else it was made before them",
            ));
        }
    }
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        let value = json!({
            "about": dossier.about,
            "story": dossier.story,
            "origin": shown.head.origin,
            "size": shown.head.size,
            "root": shown.head.root,
            "records": shown.records.len(),
            "not_proved": not_proved(&compared),
        });
        serde_json::to_writer_pretty(&mut out, &value).map_err(io::Error::other).and_then(|()| writeln!(out))
    } else {
        print(&mut out, &dossier, &shown.head.origin, &compared)
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// What a dossier was held against.
enum Compared {
    Not,
    /// A ledger.
    Whole,
    /// A pack, which lacks this.
    Part(String),
}

/// What a pack lacks of a grant that lasts longer than its period; `None` of a ledger.
fn partial(reel: &Reel) -> Option<String> {
    let period = reel.info()?.period;
    Some(format!(
        "a pack has no sessions of before {} and nothing from {} on (`--against` the ledger itself would show them)",
        period.from, period.to
    ))
}

fn not_proved(compared: &Compared) -> Vec<String> {
    let all = [
        "that what was recorded is true, or that everything that happened was recorded",
        "that the given key is the organisation's own: that must be known from elsewhere",
        "who the people are: personal values stand in the records as commitments and were not opened",
    ];
    let other = match compared {
        Compared::Whole => None,
        Compared::Not => Some(
            "that no other record belongs to it: compare it with the ledger or a pack (--against)".to_owned(),
        ),
        Compared::Part(lacks) => Some(format!("that no other record belongs to it: {lacks}")),
    };
    all.map(str::to_owned).into_iter().chain(other).collect()
}

fn print(out: &mut impl Write, dossier: &Dossier, origin: &str, compared: &Compared) -> io::Result<()> {
    print_story(out, dossier)?;
    writeln!(
        out,
        "\nShown: each of these {} stands in the ledger {} at its number.",
        count(dossier.items.len() as u64, "record", "records"),
        plain(origin)
    )?;
    writeln!(out, "\nThis dossier does not prove:")?;
    not_proved(compared).iter().try_for_each(|item| writeln!(out, "  - {item}"))
}

fn print_story(out: &mut impl Write, dossier: &Dossier) -> io::Result<()> {
    let Story { request, grant, object, action, approvals, sessions, bytes_up, bytes_down, open, .. } =
        &dossier.story;
    let name = |name: &Option<String>| name.as_deref().map_or_else(|| "none".to_owned(), plain);
    writeln!(out, "Dossier of {}\n", plain(&dossier.about))?;
    writeln!(out, "  request    {}", name(request))?;
    writeln!(out, "  grant      {}", name(grant))?;
    writeln!(out, "  to         {} {}", name(action), name(object))?;
    writeln!(out, "  approvals  {approvals}")?;
    writeln!(out, "  sessions   {}, {bytes_up} bytes up, {bytes_down} bytes down", sessions.len())?;
    writeln!(out)?;
    for item in &dossier.items {
        let time = serde_json::from_str::<serde_json::Value>(&item.record).ok();
        let time = time.as_ref().and_then(|record| record.get("time")?.as_str()).unwrap_or_default();
        writeln!(out, "  {:>8}  {}  {}", item.seq, plain(time), plain(&item.part))?;
    }
    if !open.is_empty() {
        writeln!(out, "\nOpen:")?;
        open.iter().try_for_each(|item| writeln!(out, "  - {}", plain(item)))?;
    }
    Ok(())
}
