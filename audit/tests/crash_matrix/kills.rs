//! A gateway that is killed at a random moment, while it opens, recovers or writes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use sallyport_audit::Seq;

use crate::sample::{draft, named, open, options, survives};
use crate::{Counts, Dice, Effort};

/// After so many kills a new ledger is begun, so that looking through it stays quick.
const KILLS_PER_LEDGER: u64 = 12;
const SEGMENT_BYTES: u64 = 60_000;

pub(crate) fn run(effort: &Effort, counts: &mut Counts) {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(effort.seed);
    let mut known = Vec::new();
    for kill in 0..effort.kills {
        let path = folder.path().join((kill / KILLS_PER_LEDGER).to_string());
        if kill % KILLS_PER_LEDGER == 0 {
            known.clear();
        }
        known.extend(one(&path, &mut dice, counts));
        survives(&path, SEGMENT_BYTES, &known, &format!("kill {kill}"), counts);
    }
}

/// One life, ended by `kill -9`; gives back what it had acknowledged.
fn one(path: &Path, dice: &mut Dice, counts: &mut Counts) -> Vec<(Seq, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--write")
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut known = Vec::new();
    // One kill in four falls into opening and recovery, the others into writing.
    if dice.below(4) > 0 {
        let patience = 1 + dice.below(150);
        while (known.len() as u64) < patience {
            let Some(Ok(line)) = lines.next() else { break };
            known.extend(parse(&line));
        }
        counts.case("kill -9 while it writes");
    } else {
        // The fault itself: a moment that has nothing to do with what the process does.
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
        counts.case("kill -9 at a random moment after its start");
    }
    child.kill().unwrap();
    // What it had still said before it died counts, too; a line that was cut off does not.
    known.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
    child.wait().unwrap();
    counts.acknowledged += known.len() as u64;
    known
}

fn parse(line: &str) -> Option<(Seq, String)> {
    let (seq, digest) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
    (digest.len() == 64).then(|| Some((Seq::new(seq.parse().ok()?), digest.to_owned()))).flatten()
}

/// The process that is killed: says on its output which records were acknowledged.
pub(crate) fn write_until_killed(path: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let Ok((ledger, _)) = open(options(path, SEGMENT_BYTES)) else { return ExitCode::FAILURE };
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16 {
            let ledger = ledger.clone();
            writers.spawn(async move {
                for n in 0.. {
                    let Ok(receipt) = ledger.append(draft(n).detail("by", writer)).await else { return };
                    let (seq, digest) = named(&receipt);
                    if writeln!(std::io::stdout().lock(), "acknowledged {seq} {digest}").is_err() {
                        return;
                    }
                }
            });
        }
        writers.join_next().await;
        ExitCode::FAILURE
    })
}
