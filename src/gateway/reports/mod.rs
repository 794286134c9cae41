//! Makes evidence packs beside the running gateway, on demand and at the end of each month.
//!
//! One at a time, on a thread of its own: a report reads the whole ledger, and sessions come first. What a pack says
//! follows from the ledger alone; the gateway's key signs the list of its files, so that an auditor knows whom to ask.

mod monthly;
mod schedule;
mod signer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use sallyport_audit::note::PublicKey;
use sallyport_audit::verify::{Progress, Trust};
use sallyport_audit::{Draft, Kind, Ledger, Outcome, Seq};
use sallyport_compliance::{Basis, Builtin, Period, Report, pack};
use sallyport_hsm::Keys;
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};
use uuid::Uuid;

use super::config::{Config, Reports};
use super::parts::{Parts, origin};
use crate::clock;
use crate::console::{ReportDesk, ReportOrder, ReportProblem, ReportSchedule, ReportView};

pub(super) use monthly::at_the_end_of_each;
use schedule::Schedule;
use signer::PackSigner;

/// Makes packs and keeps them in a folder: `NAME.zip`, and `NAME.json` with what it is; of a month's pack that somebody deleted,
/// `NAME.deleted` with what it was; and `NAME.empty` for a month of which the ledger has no record.
pub(super) struct Desk {
    directory: PathBuf,
    ledger_directory: PathBuf,
    origin: String,
    domain: String,
    keys: Keys,
    ledger: Ledger,
    room: Room,
    schedule: Schedule,
    /// Those that are being made, or failed since the start.
    begun: Mutex<BTreeMap<String, ReportView>>,
}

/// What those packs may take up that somebody asked for. Those of months are never in the way of each other.
struct Room {
    packs: u64,
    bytes: u64,
}

/// So many reports that failed are shown.
const FAILED: usize = 20;

/// One report that is wanted.
#[derive(Clone)]
struct Wanted {
    name: String,
    framework: Builtin,
    period: Period,
    zone: TimeZone,
    zone_name: String,
    /// Whether the end of a month asks for it, and nobody waits for it.
    scheduled: bool,
}

impl Wanted {
    fn view(&self) -> ReportView {
        ReportView {
            name: self.name.clone(),
            framework: self.framework.to_string(),
            from: self.period.from.to_string(),
            to: self.period.to.to_string(),
            time_zone: self.zone_name.clone(),
            state: "making".to_owned(),
            what: "verifying the ledger".to_owned(),
            records: 0,
            exceptions: 0,
            bytes: 0,
            sha256: String::new(),
            signer: String::new(),
            scheduled: self.scheduled,
        }
    }
}

impl Desk {
    pub(super) fn new(config: &Config, parts: &Parts) -> Self {
        // What a gateway that was killed was writing; each pack has a name of its own, so nothing else would ever clear it.
        pack::sweep(&config.reports.directory);
        Self {
            directory: config.reports.directory.clone(),
            ledger_directory: config.ledger.directory.clone(),
            origin: origin(config),
            domain: config.gateway.domain.clone(),
            keys: parts.keys.clone(),
            ledger: parts.ledger.clone(),
            room: Room { packs: config.reports.most, bytes: config.reports.most_bytes },
            schedule: Schedule::new(&config.reports),
            begun: Mutex::default(),
        }
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, ReportView>> {
        // A table of words: a panic elsewhere leaves it whole.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the one place there is.
    fn enter(&self, wanted: &Wanted) -> Result<ReportView, ReportProblem> {
        let mut begun = self.begun();
        if begun.values().any(|view| view.state == "making") {
            return Err(ReportProblem::Busy);
        }
        let failed: Vec<String> =
            begun.values().filter(|view| view.state == "failed").map(|view| view.name.clone()).collect();
        for name in failed.iter().take(failed.len().saturating_sub(FAILED - 1)) {
            begun.remove(name);
        }
        let view = wanted.view();
        begun.insert(wanted.name.clone(), view.clone());
        Ok(view)
    }

    /// Makes it, on a thread that may block, and records it.
    async fn make(self: Arc<Self>, wanted: Wanted) {
        let desk = Arc::clone(&self);
        let order = wanted.clone();
        let made = tokio::task::spawn_blocking(move || desk.write(&order)).await;
        let made = made.unwrap_or_else(|error| Err(format!("it was broken off: {error}")));
        let (result, view) = match made {
            Ok(None) => {
                info!(report = wanted.name, "there is no record of this month, and so no evidence pack");
                self.begun().remove(&wanted.name);
                return;
            }
            Ok(Some(view)) => {
                info!(report = view.name, records = view.records, "an evidence pack is made");
                (Outcome::Success, view)
            }
            Err(why) => {
                warn!(report = wanted.name, %why, "an evidence pack could not be made");
                (Outcome::Failure, ReportView { state: "failed".to_owned(), what: why, ..wanted.view() })
            }
        };
        let draft = Draft::new(Kind::ReportMade, result)
            .object(format!("report:{}", view.name))
            .detail("framework", view.framework.as_str())
            .detail("from", view.from.as_str())
            .detail("to", view.to.as_str())
            .detail("time_zone", view.time_zone.as_str())
            .detail("records", view.records)
            .detail("exceptions", view.exceptions)
            .detail("sha256", view.sha256.as_str())
            .detail("scheduled", wanted.scheduled)
            .detail("what", view.what.as_str());
        if let Err(error) = self.ledger.append(draft).await {
            warn!(%error, "that a report was made could not be recorded");
        }
        let mut begun = self.begun();
        if result == Outcome::Success {
            begun.remove(&view.name);
        } else {
            begun.insert(view.name.clone(), view);
        }
    }

    /// `None` if nobody asked for it and there is nothing to pack.
    fn write(&self, wanted: &Wanted) -> Result<Option<ReportView>, String> {
        fs::create_dir_all(&self.directory).map_err(|error| self.on_disk(&error))?;
        let framework = wanted.framework.load().map_err(|error| error.to_string())?;
        let trust = Trust { keys: self.ledger_keys()?, ..Trust::default() };
        let said = |error: sallyport_compliance::BasisError| format!("{error}; {}", error.hint());
        let share = |doing: &str, progress: Progress| {
            let percent = progress.done.saturating_mul(100) / progress.total.max(1);
            self.tell(wanted, &format!("{doing}: {percent} %"));
        };
        let basis = Basis::verify(&self.ledger_directory, &trust, &mut |progress| {
            share("verifying the ledger", progress);
        })
        .map_err(said)?;
        let report = basis
            .report(&framework, wanted.period, &wanted.zone, &mut |progress| {
                share("reading the records", progress);
            })
            .map_err(said)?;
        if wanted.scheduled && report.scope.is_none() && report.unproved.is_none() {
            if self.reaches_beyond(&report)? {
                // No record of this month can come any more: it isn't tried again.
                fs::write(self.nothing(&wanted.name), b"").map_err(|error| self.on_disk(&error))?;
            }
            return Ok(None);
        }
        let signer = PackSigner::new(&self.keys, &self.domain)?;
        let path = self.directory.join(format!("{}.zip", wanted.name));
        self.clear(&path)?;
        basis
            .pack(&path, (&framework, &report), Some(&signer), &mut |file| {
                self.tell(wanted, &format!("packing {file}"));
            })
            .map_err(said)?;
        let (bytes, sha256) = digest(&path).map_err(|error| self.on_disk(&error))?;
        let view = ReportView {
            state: "made".to_owned(),
            what: String::new(),
            records: report.population.sum.count,
            exceptions: report.to_explain.records.saturating_add(report.to_explain.findings),
            bytes,
            sha256,
            signer: signer.text(),
            ..wanted.view()
        };
        let text = serde_json::to_vec_pretty(&view).map_err(|error| error.to_string())?;
        let (aside, place) = (path.with_extension("json.new"), path.with_extension("json"));
        fs::write(&aside, text)
            .and_then(|()| fs::rename(&aside, &place))
            .map_err(|error| self.on_disk(&error))?;
        Ok(Some(view))
    }

    /// Whether records of a time behind the period are under the report's head.
    fn reaches_beyond(&self, report: &Report) -> Result<bool, String> {
        let Some(last) = report.head.size.checked_sub(1) else { return Ok(false) };
        let last = self.ledger.reader().get(Seq::new(last)).map_err(|error| error.to_string())?;
        Ok(last.is_some_and(|last| last.record.time >= report.period.to))
    }

    /// Takes away a pack that nothing lists: its making, or its deletion, was broken off, and nobody else writes under this name.
    fn clear(&self, path: &Path) -> Result<(), String> {
        if path.with_extension("json").exists() {
            return Ok(());
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.on_disk(&error)),
            _ => Ok(()),
        }
    }

    /// The keys under which this ledger's heads stand: the one with which it began, and the present one.
    fn ledger_keys(&self) -> Result<Vec<PublicKey>, String> {
        let first = self.ledger.reader().get(Seq::ZERO).map_err(|error| error.to_string())?;
        let first = first.and_then(|entry| PublicKey::parse(entry.record.details.get("key")?.as_str()?).ok());
        let present = super::adapters::LedgerSigner::new(&self.keys, self.origin.clone());
        let present = present.map_err(|error| format!("{error}; {}", error.hint()))?.verifier_key();
        let mut keys: Vec<PublicKey> = first.into_iter().collect();
        if let Ok(present) = PublicKey::parse(&present)
            && !keys.contains(&present)
        {
            keys.push(present);
        }
        Ok(keys)
    }

    /// What stands for the pack of a month of which the ledger was found to have no record.
    fn nothing(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.empty"))
    }

    /// What stands for the pack of a month that somebody deleted: it isn't made again unasked.
    fn tombstone(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.deleted"))
    }

    /// Whether somebody deleted this pack of a month. What a deletion that was broken off left of it goes too. Blocks.
    fn is_deleted(&self, name: &str) -> bool {
        let deleted = self.tombstone(name).exists();
        if deleted && let Err(why) = self.clear(&self.directory.join(format!("{name}.zip"))) {
            warn!(report = name, %why, "a deleted evidence pack is still there");
        }
        deleted
    }

    /// Whether one more may be kept that somebody asks for.
    fn has_room(&self) -> Result<(), ReportProblem> {
        let kept: Vec<ReportView> =
            self.list().into_iter().filter(|view| view.state == "made" && !view.scheduled).collect();
        let bytes: u64 = kept.iter().map(|view| view.bytes).sum();
        if kept.len() as u64 >= self.room.packs || bytes >= self.room.bytes {
            let packs = kept.len();
            return Err(ReportProblem::Full { packs, bytes });
        }
        Ok(())
    }

    fn tell(&self, wanted: &Wanted, what: &str) {
        if let Some(view) = self.begun().get_mut(&wanted.name) {
            what.clone_into(&mut view.what);
        }
    }

    fn on_disk(&self, error: &io::Error) -> String {
        format!("{}: {error}; see that it can be written, and has room", self.directory.display())
    }
}

impl ReportDesk for Desk {
    fn list(&self) -> Vec<ReportView> {
        let mut all = self.begun().clone();
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for path in
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"))
        {
            let view =
                fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<ReportView>(&bytes).ok());
            all.extend(view.map(|view| (view.name.clone(), view)));
        }
        all.into_values().collect()
    }

    fn begin(self: Arc<Self>, order: &ReportOrder) -> Result<ReportView, ReportProblem> {
        let framework: Builtin = order.framework.parse().map_err(ReportProblem::Unusable)?;
        let zone_name = order.timezone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = TimeZone::get(&zone_name).map_err(|_| {
            ReportProblem::Unusable(format!(
                "{zone_name:?} is no time zone; give a name such as Europe/Berlin"
            ))
        })?;
        let period = Period::parse_in(&order.from, &order.to, &zone);
        let period = period.map_err(|error| ReportProblem::Unusable(error.to_string()))?;
        self.has_room()?;
        let name = format!("{framework}-{}", Uuid::now_v7().simple());
        let wanted = Wanted { name, framework, period, zone, zone_name, scheduled: false };
        let view = self.enter(&wanted)?;
        tokio::spawn(self.make(wanted));
        Ok(view)
    }

    fn schedule(&self) -> Result<ReportSchedule, String> {
        let (frameworks, decided) = self.schedule.frameworks()?;
        Ok(ReportSchedule {
            frameworks: frameworks.iter().map(ToString::to_string).collect(),
            decided,
            time_zone: self.schedule.zone.1.clone(),
            next: self.schedule.next(clock::now()).map(|next| next.to_string()).unwrap_or_default(),
        })
    }

    fn decide(&self, frameworks: &[String]) -> Result<(), ReportProblem> {
        let frameworks = Reports::frameworks(&frameworks.join(",")).map_err(ReportProblem::Unusable)?;
        let mut once: Vec<Builtin> = Vec::new();
        for framework in frameworks {
            if !once.contains(&framework) {
                once.push(framework);
            }
        }
        self.schedule.decide(&once).map_err(ReportProblem::Disk)
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        // Whatever else is a name leads nowhere.
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let path = self.directory.join(format!("{name}.zip"));
        (plain && path.with_extension("json").is_file()).then_some(path)
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        let path = self.file(name).ok_or_else(|| "there is no such pack".to_owned())?;
        let view = fs::read(path.with_extension("json")).map_err(|error| self.on_disk(&error))?;
        // First what keeps it from being made again; then what lists it: a pack without that is not shown.
        if serde_json::from_slice(&view).is_ok_and(|view: ReportView| view.scheduled) {
            fs::write(self.tombstone(name), view).map_err(|error| self.on_disk(&error))?;
        }
        fs::remove_file(path.with_extension("json"))
            .and_then(|()| fs::remove_file(&path))
            .map_err(|error| self.on_disk(&error))
    }
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = fs::File::open(path)?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(hasher.finalize())));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        bytes = bytes.saturating_add(read as u64);
    }
}
