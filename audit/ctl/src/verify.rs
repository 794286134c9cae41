//! `auditctl verify`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use sallyport_audit::note::{CosignerKey, KeyError, PublicKey};
use sallyport_audit::snapshot::Snapshot;
use sallyport_audit::verify::{
    MAX_STATE_BYTES, Overall, State, Trust, Verdict, Verified, directory_since, directory_with_archive,
    is_tiles, tiles,
};

use crate::Failure;
use crate::output::{count, ledger, plain, read_bounded, write_whole};
use crate::progress::Bar;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory, or one that `auditctl tiles` made.
    ledger: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// A checkpoint of this ledger that was kept elsewhere: the ledger must still contain it.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// An earlier copy of this ledger: all that it has must still be there.
    #[arg(long, value_name = "DIRECTORY")]
    earlier: Option<PathBuf>,
    /// Where the segments are that were pruned from this ledger: the whole of it is checked with them.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["since", "save_state"])]
    archive: Option<PathBuf>,
    /// Go on from where an earlier check ended, and read only what is new: what `--save-state` wrote.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// If all is well, write down where this check ended, for `--since`. Keep it where the ledger's owner
    /// cannot write.
    #[arg(long, value_name = "FILE")]
    save_state: Option<PathBuf>,
    #[command(flatten)]
    cosigners: Cosigners,
    /// Do not believe an end that only a delegated key has signed: the ledger's own key, which may live in an
    /// HSM, must have signed a head over all records.
    #[arg(long)]
    own_key_only: bool,
    /// Accept the gaps that the ledger itself declares, up to and with this declaration: what the verdict shows,
    /// after you have judged it (docs/ledger-recovery.md).
    #[arg(long, value_name = "N:FIRST:LEAFHASH")]
    accept_epoch: Option<String>,
    /// How old the last record may be, such as `10m` or `24h`.
    #[arg(long, value_name = "DURATION")]
    max_age: Option<SignedDuration>,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Keys {
    /// The ledger's public key, as its owner published it: name+hash+base64. May be given again.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A file with public keys, one in a line; empty lines and lines that begin with # do not count.
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (cosigners, quorum) = arguments.cosigners.read()?;
    let trust = Trust {
        keys: keys(&arguments.keys)?,
        own_key_only: arguments.own_key_only,
        cosigners,
        quorum,
        cosigned: None,
        witnessed: None,
        checkpoint: arguments.checkpoint.as_deref().map(checkpoint).transpose()?,
        earlier: arguments.earlier.as_deref().map(earlier).transpose()?,
        accept_epoch: arguments.accept_epoch.clone(),
        now: Some(now()),
        max_age: arguments.max_age,
    };
    let since = arguments.since.as_deref().map(state).transpose()?;
    let (verdict, state) = match &arguments.archive {
        Some(archive) => (check_with(&arguments.ledger, archive, &trust)?, None),
        None => check(&arguments.ledger, &trust, since.as_ref())?,
    };
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        print_json(&mut out, &verdict)
    } else {
        print(&mut out, &arguments.ledger, &verdict)
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    if let Some(path) = &arguments.save_state {
        match state {
            Some(state) => write_whole(path, state.to_text().as_bytes())?,
            None => eprintln!("note: no state was written: there is nothing to go on from"),
        }
    }
    Ok(ExitCode::from(verdict.overall().exit_code()))
}

fn check(
    directory: &Path,
    trust: &Trust,
    since: Option<&Verified>,
) -> Result<(Verdict, Option<Verified>), Failure> {
    let bar = Bar::of("checking");
    if !is_tiles(directory) {
        return directory_since(directory, trust, since, &mut |progress| bar.show(progress))
            .map_err(|error| Failure::unreadable(directory, &error));
    }
    if since.is_some() {
        return Err(Failure::usage(
            "--since is not for tiles",
            "tiles are checked whole; leave --since away",
        ));
    }
    let verdict = tiles(directory, trust, &mut |progress| bar.show(progress)).map_err(|error| {
        Failure::not_evaluated(
            format!("cannot read {}: {error}", directory.join("checkpoint").display()),
            "give a directory that `auditctl tiles` made",
        )
    })?;
    Ok((verdict, None))
}

fn check_with(directory: &Path, archive: &Path, trust: &Trust) -> Result<Verdict, Failure> {
    let bar = Bar::of("checking");
    std::fs::read_dir(archive).map_err(|error| Failure::unreadable(archive, &error))?;
    directory_with_archive(directory, archive, trust, &mut |progress| bar.show(progress))
        .map_err(|error| Failure::unreadable(directory, &error))
}

/// The last head of an earlier copy.
fn earlier(directory: &Path) -> Result<String, Failure> {
    if is_tiles(directory) {
        return checkpoint(&directory.join("checkpoint"));
    }
    let snapshot = Snapshot::whole(ledger(directory)?).map_err(|error| Failure::snapshot(&error))?;
    Ok(snapshot.note().to_owned())
}

fn state(path: &Path) -> Result<Verified, Failure> {
    let bytes = read_bounded(path, MAX_STATE_BYTES as u64)?;
    Verified::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| Failure::not_evaluated(format!("--since {}: {error}", path.display()), error.hint()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program's shell reads the clock; the verifier is given it"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn keys(given: &Keys) -> Result<Vec<PublicKey>, Failure> {
    let keys = read_keys(("--key", &given.key), ("--key-file", &given.key_file), PublicKey::parse)?;
    if keys.is_empty() {
        return Err(Failure::usage(
            "no public key was given",
            "put the ledger's public key into the key file",
        ));
    }
    Ok(keys)
}

/// Keys from the command line, then from files.
pub(crate) fn read_keys<K>(
    (option, given): (&str, &[String]),
    (file_option, files): (&str, &[PathBuf]),
    parse: impl Fn(&str) -> Result<K, KeyError>,
) -> Result<Vec<K>, Failure> {
    let mut keys = Vec::new();
    for text in given {
        let key = parse(text.trim());
        keys.push(key.map_err(|error| Failure::usage(format!("{option}: {error}"), error.hint()))?);
    }
    for path in files {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(
                format!("cannot read {file_option} {}: {error}", path.display()),
                "give a readable file",
            )
        })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            keys.push(parse(line).map_err(|error| {
                Failure::usage(format!("{file_option} {}: {error}", path.display()), error.hint())
            })?);
        }
    }
    Ok(keys)
}

#[derive(Args)]
pub(crate) struct Cosigners {
    /// The public key of somebody who must have cosigned a head of this ledger: a witness, or the ledger's own
    /// post-quantum key. May be given again.
    #[arg(long, value_name = "KEY")]
    cosigner: Vec<String>,
    /// A file with cosigners' public keys, one in a line.
    #[arg(long, value_name = "FILE")]
    cosigner_file: Vec<PathBuf>,
    /// How many of the given cosigners must have signed; all, if nothing is said.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
}

impl Cosigners {
    pub(crate) fn read(&self) -> Result<(Vec<CosignerKey>, Option<usize>), Failure> {
        let given = ("--cosigner", self.cosigner.as_slice());
        let files = ("--cosigner-file", self.cosigner_file.as_slice());
        let keys = distinct(read_keys(given, files, CosignerKey::parse)?);
        match self.quorum {
            Some(quorum) if quorum == 0 || quorum > keys.len() => Err(Failure::usage(
                format!("--quorum {quorum} cannot be reached by {} cosigners", keys.len()),
                "give as many different cosigners as are needed, or more",
            )),
            quorum => Ok((keys, quorum)),
        }
    }
}

/// One cosigner given twice counts once.
fn distinct(mut keys: Vec<CosignerKey>) -> Vec<CosignerKey> {
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.to_string()));
    keys
}

pub(crate) fn checkpoint(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::not_evaluated(
            format!("cannot read --checkpoint {}: {error}", path.display()),
            "give a file that `auditctl checkpoint` printed",
        )
    })
}

fn print_json(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    let mut value = serde_json::to_value(verdict).map_err(io::Error::other)?;
    if let Some(object) = value.as_object_mut() {
        let overall = verdict.overall();
        object.insert("overall".to_owned(), serde_json::to_value(overall).map_err(io::Error::other)?);
        object.insert("exit_code".to_owned(), overall.exit_code().into());
    }
    serde_json::to_writer_pretty(&mut *out, &value).map_err(io::Error::other)?;
    writeln!(out)
}

fn print(out: &mut impl Write, path: &Path, verdict: &Verdict) -> io::Result<()> {
    let ledger = &verdict.ledger;
    let origin = ledger.origin.as_deref().map_or_else(|| "without a name".to_owned(), plain);
    writeln!(out, "Ledger {origin} in {}", path.display())?;
    write!(
        out,
        "{} under {} in {}",
        count(ledger.records, "record", "records"),
        count(ledger.heads, "signed head", "signed heads"),
        count(ledger.segments, "segment", "segments"),
    )?;
    if ledger.pruned > 0 {
        write!(out, ", {} of them pruned", count(ledger.pruned, "record", "records"))?;
    }
    match (ledger.first_time, ledger.last_time) {
        (Some(first), Some(last)) => writeln!(out, ", from {first:.0} to {last:.0}\n")?,
        _ => writeln!(out, "\n")?,
    }
    for epoch in ledger.epochs.iter().filter(|epoch| epoch.number > 1) {
        writeln!(out, "Epoch {} from record {} on, as {}", epoch.number, epoch.start, plain(&epoch.origin))?;
    }
    for (name, part) in verdict.parts() {
        writeln!(out, "  {name:<13} {:<14} {}", part.state.as_str(), plain(&part.sentence))?;
    }
    if let Some(broken) = &verdict.first_break {
        writeln!(out, "\nFirst bad record: {}", broken.seq)?;
        writeln!(out, "  {}", plain(&broken.what))?;
        match (&broken.segment, broken.offset) {
            (Some(segment), Some(offset)) => {
                writeln!(out, "  found in journal/{segment}, in the piece that begins at byte {offset}")?;
            }
            (Some(file), None) => writeln!(out, "  found in {file}")?,
            _ => {}
        }
    }
    writeln!(out, "\nThis check does not prove:")?;
    for item in &verdict.not_proved {
        writeln!(out, "  - {item}")?;
    }
    writeln!(out, "\n{}", conclusion(verdict))
}

pub(crate) fn conclusion(verdict: &Verdict) -> String {
    let names = |state: State| {
        let names: Vec<_> =
            verdict.parts().iter().filter(|(_, part)| part.state == state).map(|(name, _)| *name).collect();
        names.join(", ")
    };
    match verdict.overall() {
        Overall::Verified => format!("Verified: {}.", names(State::Pass)),
        Overall::Broken => format!(
            "BROKEN: {}. Keep the directory as it is, and compare it with an earlier copy.",
            names(State::Fail)
        ),
        Overall::NotEvaluated => {
            format!("Not verified: {} could not be evaluated.", names(State::NotEvaluated))
        }
    }
}
