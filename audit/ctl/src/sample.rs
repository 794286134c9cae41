//! `auditctl sample`

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use sallyport_audit::proof::Proof;
use sallyport_audit::selection::{Selection, beginning, end};
use sallyport_audit::{Kind, Outcome, Seq};
use sallyport_compliance::Reel;
use sallyport_compliance::sample::{Committed, Drawn, MAX_SAMPLE, MAX_SEED_BYTES, commit, draw};
use serde_json::json;

use crate::Failure;
use crate::output::{count, plain, write_whole};
use crate::source;
use crate::verify::{Keys, keys};

/// Draws a sample from a population that was committed to before the seed was known.
///
/// Run it once without --seed: it counts the population and prints the commitment to it. Write that down. Then choose a
/// seed in a way that nobody can have foreseen, and run it again with --commitment, --seed and --size.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory, or an evidence pack.
    source: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// The kinds of records that are drawn from, such as `grant.issued`, or their families, such as `session`, with
    /// commas between them.
    #[arg(long, value_name = "KINDS", required = true, value_delimiter = ',', value_parser = kinds)]
    population: Vec<Family>,
    /// Only records with this result: success, denied or failure.
    #[arg(long, value_name = "RESULT", value_parser = outcome)]
    result: Option<Outcome>,
    /// Only records from this day (2026-01-31) or instant (2026-01-31T12:00:00Z) on. UTC. A pack's own period, if
    /// nothing is said.
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    from: Option<Timestamp>,
    /// Only records up to this day, included, or before this instant. UTC. A pack's own period, if nothing is said.
    #[arg(long, value_name = "TIME", value_parser = end)]
    to: Option<Timestamp>,
    /// How many records are drawn.
    #[arg(long, value_name = "N", requires = "seed")]
    size: Option<usize>,
    /// What the draw depends on: a text that was chosen after the commitment was printed.
    #[arg(long, value_name = "TEXT", requires_all = ["commitment", "size"])]
    seed: Option<String>,
    /// The commitment that an earlier run printed. If the population is another one by now, nothing is drawn.
    #[arg(long, value_name = "DIGEST")]
    commitment: Option<String>,
    /// Write a proof of each drawn record into this directory, for `auditctl check-proof`.
    #[arg(long, value_name = "DIRECTORY", requires = "seed")]
    proofs: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone)]
struct Family(Vec<Kind>);

fn kinds(text: &str) -> Result<Family, String> {
    let found = Kind::named(text);
    if found.is_empty() {
        Err("there is no such kind; docs/events.md lists them".to_owned())
    } else {
        Ok(Family(found))
    }
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let all = [Outcome::Success, Outcome::Denied, Outcome::Failure];
    all.into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| "there are success, denied and failure".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.seed.as_ref().is_some_and(|seed| seed.is_empty() || seed.len() > MAX_SEED_BYTES) {
        return Err(Failure::usage(
            "--seed: it is empty or too long",
            format!("give 1 to {MAX_SEED_BYTES} bytes"),
        ));
    }
    if arguments.size.is_some_and(|size| size == 0 || size > MAX_SAMPLE) {
        return Err(Failure::usage("--size: it is zero or too large", format!("give 1 to {MAX_SAMPLE}")));
    }
    let keys = keys(&arguments.keys)?;
    let mut reel = source::open(&arguments.source, &keys)?;
    let selection = arguments.selection(&reel)?;
    let failure = |error| source::failure(&error);
    let committed = commit(&mut reel, &selection).map_err(failure)?;
    let drawn = match arguments.seed.as_deref().zip(arguments.size) {
        None => None,
        Some((seed, size)) => {
            check_commitment(&committed, arguments.commitment.as_deref().unwrap_or_default())?;
            Some(draw(&mut reel, &selection, &committed.commitment, seed, size).map_err(failure)?)
        }
    };
    if let Some((directory, drawn)) = arguments.proofs.as_deref().zip(drawn.as_deref()) {
        prove(&mut reel, directory, drawn)?;
    }
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        let value = json!({ "population": committed, "seed": arguments.seed, "sample": drawn });
        serde_json::to_writer_pretty(&mut out, &value).map_err(io::Error::other).and_then(|()| writeln!(out))
    } else {
        print(&mut out, &committed, drawn.as_deref())
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// What is drawn from. Of a pack, no time that it does not hold: its population would be a part of the one that was
    /// asked for.
    fn selection(&self, reel: &Reel) -> Result<Selection, Failure> {
        let period = reel.info().map(|info| info.period);
        for (name, given) in [("--from", self.from), ("--to", self.to)] {
            if let Some((period, time)) = period.zip(given)
                && !(period.from..=period.to).contains(&time)
            {
                return Err(Failure::usage(
                    format!("{name}: {time} is outside the pack's period, {} to {}", period.from, period.to),
                    "draw within the pack's period, or from the ledger itself",
                ));
            }
        }
        let mut kinds: Vec<_> = self.population.iter().flat_map(|family| family.0.iter().copied()).collect();
        kinds.sort_by_key(|kind| kind.as_str());
        kinds.dedup();
        Ok(Selection {
            kinds,
            results: self.result.into_iter().collect(),
            from_time: self.from.or(period.map(|period| period.from)),
            to_time: self.to.or(period.map(|period| period.to)),
            ..Selection::default()
        })
    }
}

fn check_commitment(committed: &Committed, given: &str) -> Result<(), Failure> {
    if committed.commitment.to_string() == given.trim() {
        return Ok(());
    }
    Err(Failure::broken(
        format!(
            "the population is not the one that was committed to: its commitment is {}",
            committed.commitment
        ),
        "the ledger may have grown: draw from the pack or copy that the commitment was made over; else ask why it changed",
    ))
}

fn prove(reel: &mut Reel, directory: &Path, drawn: &[Drawn]) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::unwritable(directory, &error))?;
    let wanted: BTreeSet<u64> = drawn.iter().map(|drawn| drawn.seq).collect();
    let note = reel.note().to_owned();
    for (seq, (bytes, path)) in reel.prove(&wanted).map_err(|error| source::failure(&error))? {
        let proof = Proof { record: Some(bytes), index: Seq::new(seq), path, note: note.clone() };
        write_whole(&directory.join(format!("{seq}.tlog-proof")), proof.to_string().as_bytes())?;
    }
    Ok(())
}

fn print(out: &mut impl Write, committed: &Committed, drawn: Option<&[Drawn]>) -> io::Result<()> {
    let Committed { origin, size, query, sum, commitment, .. } = committed;
    writeln!(out, "Ledger {}, {}", plain(origin), count(*size, "record", "records"))?;
    writeln!(out, "Population: {} that fit {}", count(sum.count, "record", "records"), plain(query))?;
    writeln!(out, "Commitment: {commitment}")?;
    let Some(drawn) = drawn else {
        return writeln!(
            out,
            "\nWrite the commitment down. Then choose a seed that nobody could foresee, and run this again with\n  --commitment {commitment} --seed SEED --size N"
        );
    };
    writeln!(out, "\n{:>10}  {:<30}  {:<18}  {:<8}  reference", "record", "time", "kind", "result")?;
    for Drawn { seq, time, kind, result, reference, object, .. } in drawn {
        let named = reference.as_deref().or(object.as_deref()).unwrap_or_default();
        writeln!(out, "{seq:>10}  {:<30}  {kind:<18}  {result:<8}  {}", time.to_string(), plain(named))?;
    }
    Ok(())
}
