//! The gateway's side of witnessing: others see each head soon after it was signed, and say so under their own keys.
//!
//! Why: whoever holds the ledger's key can write a second history, and a backup that is restored forgets the end. Once `k`
//! of `n` witnesses have cosigned a head, neither can be done unseen by whoever asks for their cosignatures.
//!
//! How: at intervals, and once more at the end, one task shows the last head to all witnesses at the same time, each with a
//! proof that it contains the last one that this witness cosigned. When enough of them did, the head with their
//! cosignatures replaces the file `witnessed`; a record `ledger.witnessed` says who did and who did not. Recording never
//! waits for it: what follows when no witness answers is for the gateway's policy, which reads [`Witnessed`].
//!
//! Not trusted: the witnesses, beyond what their keys sign; the file. An answer that takes part in nothing but saying "no"
//! can at most keep its own witness from being counted, or, at the start, make the operator look.
//!
//! Start with `answer`, which is pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::checkpoint::Checkpoint;
use crate::journal::Files;
use crate::journal::files::replace;
use crate::kind::Kind;
use crate::ledger::{Ledger, Reader};
use crate::record::{Draft, Outcome};
use crate::snapshot::Snapshot;

mod answer;
mod asking;
mod first;
mod status;
#[cfg(test)]
mod tests;

pub use answer::{MAX_ANSWER_BYTES, MAX_CLOCK_DIFFERENCE, Reply, Trouble};
pub use asking::{Courier, Witness};
pub use first::{FirstWord, SeenElsewhere, ask_first};
pub use status::{WitnessState, Witnessed, WitnessedHead};

use asking::{Head, Seen};

/// How witnesses are asked.
#[derive(Clone, Debug)]
pub struct WitnessingOptions {
    /// The ledger's directory.
    pub directory: PathBuf,
    /// How many witnesses must cosign the same head.
    pub quorum: usize,
    /// How often they are asked.
    pub interval: Duration,
    /// How long one answer may take.
    pub patience: Duration,
    /// How old the last witnessed head may be.
    pub max_age: Duration,
}

/// The first pause after a round that brought too few cosignatures.
const RETRY: Duration = Duration::from_secs(1);

/// How long the ledger may take to record what came of a round.
const RECORDING: Duration = Duration::from_secs(10);

/// A task that has the ledger's heads witnessed.
pub struct Witnessing {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    status: watch::Receiver<Witnessed>,
    patience: Duration,
}

impl Witnessing {
    /// Begins: the present head is shown at once, later ones at every interval.
    pub fn start(ledger: Ledger, witnesses: Vec<Witness>, options: WitnessingOptions) -> Self {
        let (stop, stopped) = oneshot::channel();
        let patience = options.patience;
        let each = witnesses
            .iter()
            .map(|witness| WitnessState { name: witness.name.clone(), ..WitnessState::default() });
        let (tell, status) = watch::channel(Witnessed {
            quorum: options.quorum,
            head: None,
            fresh: false,
            witnesses: each.collect(),
        });
        let work = Work {
            reader: ledger.reader(),
            ledger,
            files: Files::new(&options.directory),
            witnesses,
            options,
            fresh_until: None,
            told: None,
            tell,
        };
        let task = tokio::spawn(work.run(stopped));
        Self { stop, task, status, patience }
    }

    /// Follows how far it has come.
    pub fn status(&self) -> watch::Receiver<Witnessed> {
        self.status.clone()
    }

    /// Shows the last head once more, and ends. Takes at most a few times the time of one answer.
    pub async fn finish(self) -> Witnessed {
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if tokio::time::timeout(self.patience.saturating_mul(4), self.task).await.is_err() {
            abort.abort();
        }
        self.status.borrow().clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "a cosignature says when it was made; this is the shell")]
fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// Since when enough witnesses have seen a head, counting the newest cosignatures: one that is new makes an old one no newer.
fn reached_at(times: impl Iterator<Item = u64>, quorum: usize) -> Option<u64> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.get(quorum.checked_sub(1)?).copied()
}

/// What one round brought, in the order of the witnesses.
type Round = Vec<Result<Seen, Trouble>>;

struct Work {
    ledger: Ledger,
    reader: Reader,
    files: Files,
    witnesses: Vec<Witness>,
    options: WitnessingOptions,
    /// Until when the last witnessed head is young enough.
    fresh_until: Option<Instant>,
    /// When the last record was made, and what was wrong then.
    told: Option<(Instant, Vec<Option<Trouble>>)>,
    tell: watch::Sender<Witnessed>,
}

impl Work {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        self.remember(unix_time());
        let mut pauses = self.pauses();
        loop {
            let reached = tokio::select! {
                biased;
                _ = &mut stopped => break,
                reached = self.round(true) => reached,
            };
            let pause = if reached {
                pauses = self.pauses();
                self.options.interval
            } else {
                pauses.next().unwrap_or(self.options.interval)
            };
            let next = Instant::now() + pause;
            if self.wait(next, &mut stopped).await {
                break;
            }
        }
        // No record: it would itself not be witnessed, and `gateway.stopped` is to be the last one.
        self.round(false).await;
    }

    /// Waits until `next`, and says so when the last witnessed head grows too old; `true` when it is to end.
    async fn wait(&mut self, next: Instant, stopped: &mut oneshot::Receiver<()>) -> bool {
        loop {
            let until = self.fresh_until.map_or(next, |fresh| fresh.min(next));
            tokio::select! {
                _ = &mut *stopped => return true,
                () = tokio::time::sleep_until(until) => {}
            }
            let now = Instant::now();
            if self.fresh_until.is_some_and(|fresh| fresh <= now) {
                self.fresh_until = None;
                self.tell.send_modify(|status| status.fresh = false);
                tracing::warn!(
                    status = self.tell.borrow().sentence(),
                    "the ledger is not witnessed any more"
                );
            }
            if next <= now {
                return false;
            }
        }
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(RETRY.min(self.options.interval))
            .with_max_delay(self.options.interval)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .build()
    }

    /// Takes up what the file of an earlier run says, as far as the witnesses' keys vouch for it.
    fn remember(&mut self, now: u64) {
        let Ok(Some(bytes)) = self.files.read_witnessed() else { return };
        let Ok((checkpoint, note)) = Checkpoint::from_note(&String::from_utf8_lossy(&bytes)) else { return };
        let origin = self.reader.checkpoint().lines().next().map(str::to_owned);
        if origin.as_deref() != Some(&checkpoint.origin) || checkpoint.size > self.reader.len() {
            return;
        }
        let seen: BTreeMap<_, _> = self
            .witnesses
            .iter()
            .enumerate()
            .filter_map(|(at, one)| Some((at, one.key.verify(&checkpoint, &note).ok()??)))
            .collect();
        self.tell.send_modify(|status| {
            for (at, time) in &seen {
                if let Some(state) = status.witnesses.get_mut(*at) {
                    (state.records, state.time) = (checkpoint.size, timestamp(*time));
                }
            }
        });
        if seen.len() >= self.options.quorum
            && let Some(last) = reached_at(seen.values().copied(), self.options.quorum)
        {
            let age = Duration::from_secs(now.saturating_sub(last));
            self.reached(&checkpoint, &seen.keys().copied().collect::<Vec<_>>(), last, age);
        }
    }

    /// Enough witnesses have cosigned this head, `age` ago.
    fn reached(&mut self, checkpoint: &Checkpoint, by: &[usize], time: u64, age: Duration) {
        let left = self.options.max_age.checked_sub(age).filter(|left| !left.is_zero());
        self.fresh_until = left.map(|left| Instant::now() + left);
        let names = by.iter().filter_map(|at| self.witnesses.get(*at)).map(|one| one.name.clone()).collect();
        let head = timestamp(time).map(|time| WitnessedHead { records: checkpoint.size, time, by: names });
        self.tell.send_modify(|status| {
            status.fresh = left.is_some();
            status.head = head;
        });
    }

    /// Shows the last head to all; whether enough cosigned it.
    async fn round(&mut self, record: bool) -> bool {
        let begun = Instant::now();
        let snapshot = Snapshot::at(self.files.clone(), self.reader.checkpoint());
        let head = match snapshot.and_then(Head::new) {
            Ok(head) => head,
            Err(error) => {
                tracing::error!(%error, "there is no head that witnesses could be shown");
                return false;
            }
        };
        let round = self.ask_all(&head).await;
        let by: Vec<_> =
            round.iter().enumerate().filter_map(|(at, said)| said.is_ok().then_some(at)).collect();
        let mut reached = by.len() >= self.options.quorum;
        if reached {
            let mut note = head.note.clone();
            round.iter().flatten().for_each(|seen| note.add(seen.line.clone()));
            if let Err(error) = replace(&self.files.witnessed(), &note.to_string()) {
                tracing::error!(%error, "the witnessed head cannot be kept: look at the room on the disk, and who may write there");
                reached = false;
            }
        }
        if reached {
            let times = round.iter().flatten().map(|seen| seen.time);
            let last = reached_at(times, self.options.quorum).unwrap_or_default();
            self.reached(&head.checkpoint, &by, last, begun.elapsed());
        }
        self.note(&head.checkpoint, &round);
        if record {
            self.record(&head.checkpoint, &round, reached).await;
        }
        reached
    }

    async fn ask_all(&self, head: &Head) -> Round {
        let mut asking = JoinSet::new();
        for (at, witness) in self.witnesses.iter().cloned().enumerate() {
            let old = self.tell.borrow().witnesses.get(at).map_or(0, |state| state.records);
            let (head, patience) = (head.clone(), self.options.patience);
            asking.spawn(async move { (at, witness.ask(&head, old, patience, unix_time).await) });
        }
        let mut round = vec![Err(Trouble::NoProof("the task ended".to_owned())); self.witnesses.len()];
        while let Some(said) = asking.join_next().await {
            if let Ok((at, said)) = said
                && let Some(place) = round.get_mut(at)
            {
                *place = said;
            }
        }
        round
    }

    /// What each witness said, for the operator.
    fn note(&self, checkpoint: &Checkpoint, round: &Round) {
        for (witness, said) in self.witnesses.iter().zip(round) {
            let Err(trouble) = said else { continue };
            let (name, hint) = (&witness.name, trouble.hint());
            if trouble.is_dispute() {
                tracing::error!(witness = name, %trouble, hint, "the ledger is not the one that was witnessed");
            } else {
                tracing::warn!(witness = name, %trouble, hint, "a witness did not cosign");
            }
        }
        self.tell.send_modify(|status| {
            for (state, said) in status.witnesses.iter_mut().zip(round) {
                match said {
                    Ok(seen) => {
                        (state.records, state.time) = (checkpoint.size, timestamp(seen.time));
                        (state.trouble, state.disputes) = (None, false);
                    }
                    Err(trouble) => {
                        state.trouble = Some(trouble.to_string());
                        state.disputes = trouble.is_dispute();
                    }
                }
            }
        });
    }

    /// Records a round that did its work, one that failed otherwise than the last, and one at every interval.
    async fn record(&mut self, checkpoint: &Checkpoint, round: &Round, reached: bool) {
        let troubles: Vec<_> = round.iter().map(|said| said.as_ref().err().cloned()).collect();
        let known = self
            .told
            .as_ref()
            .is_some_and(|(when, before)| *before == troubles && when.elapsed() < self.options.interval);
        if known && !reached {
            return;
        }
        let draft = draft(checkpoint, &self.witnesses, round, (self.options.quorum, reached));
        match tokio::time::timeout(RECORDING, self.ledger.append(draft)).await {
            Ok(Ok(_)) => self.told = Some((Instant::now(), troubles)),
            Ok(Err(error)) => tracing::warn!(%error, "what the witnesses said could not be recorded"),
            Err(_) => tracing::warn!("what the witnesses said is recorded later than it should be"),
        }
    }
}

/// The record about one round.
fn draft(
    checkpoint: &Checkpoint,
    witnesses: &[Witness],
    round: &Round,
    (quorum, reached): (usize, bool),
) -> Draft {
    let (mut by, mut missing) = (Vec::new(), Vec::new());
    for (witness, said) in witnesses.iter().zip(round) {
        match said {
            Ok(seen) => by.push(serde_json::json!({ "time": seen.time, "witness": witness.name })),
            Err(trouble) => {
                // A system's words have no bound; a record has.
                let why: String = trouble.to_string().chars().take(256).collect();
                missing.push(serde_json::json!({
                    "disputes": trouble.is_dispute(), "why": why, "witness": witness.name
                }));
            }
        }
    }
    let outcome = if reached { Outcome::Success } else { Outcome::Failure };
    Draft::new(Kind::LedgerWitnessed, outcome)
        .detail("by", by)
        .detail("missing", missing)
        .detail("quorum", quorum as u64)
        .detail("reached", reached)
        .detail("records", checkpoint.size)
        .detail("root", checkpoint.root.to_string())
}
