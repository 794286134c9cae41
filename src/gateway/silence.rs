//! What is known of the time before this start: how long nothing was recorded, and why.
//!
//! An auditor who finds an hour without records must be able to tell a gateway that was stopped on purpose from one that was
//! killed, and both from a machine that lost power. The gateway cannot record its own sudden end; so the next start
//! records what can be seen of it: the last record before, the time since, and whether the machine has been restarted.

use jiff::Timestamp;
use sallyport_audit::{Draft, Kind, Opened, Outcome, Reader, Record, Seq};
use serde_json::{Value, json};

/// How many records are looked at for the last sign of life. Heartbeats come at least once an hour; a gateway that writes
/// more than this between two of them has other signs of life.
const LOOK_BACK: u64 = 65_536;

/// How many records are read at a time.
const STEP: u64 = 512;

/// Names this run of the machine; it differs after each restart.
pub(super) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().chars().take(64).collect())
}

/// Notes which run of the machine a record is from.
pub(super) fn with_boot(draft: Draft, boot: Option<&str>) -> Draft {
    match boot {
        Some(boot) => draft.detail("boot", boot),
        None => draft,
    }
}

/// How the run before this one ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// There was none.
    None,
    /// It said that it stopped.
    Stopped,
    /// It said nothing, and the machine has been restarted since.
    Restarted,
    /// It said nothing, and the machine went on.
    Killed,
    /// It said nothing, and nobody knows whether the machine went on.
    Unknown,
}

impl Ending {
    /// From the last record in which the gateway spoke of itself.
    fn of(last_word: Option<&Record>, boot: Option<&str>) -> Self {
        let Some(record) = last_word else { return Self::None };
        let then = record.details.get("boot").and_then(Value::as_str);
        match (record.kind, then, boot) {
            (Kind::GatewayStopped, ..) => Self::Stopped,
            (_, Some(then), Some(now)) if then == now => Self::Killed,
            (_, Some(_), Some(_)) => Self::Restarted,
            _ => Self::Unknown,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::None => "first-start",
            Self::Stopped => "stopped",
            Self::Restarted | Self::Killed | Self::Unknown => "unclean",
        }
    }

    fn cause(&self) -> &'static str {
        match self {
            Self::None => "the gateway has not run on this ledger before",
            Self::Stopped => "the gateway was stopped and said so",
            Self::Restarted => "the machine was restarted or lost power while the gateway ran",
            Self::Killed => {
                "the gateway ended without a word while the machine went on: it was killed, it crashed, or its ledger took no more records"
            }
            Self::Unknown => "the gateway ended without a word",
        }
    }
}

/// What `gateway.started` says of the time before it. Reads the ledger.
pub(super) fn before_start(reader: &Reader, opened: &Opened, now: Timestamp, boot: Option<&str>) -> Value {
    let last = opened.records.checked_sub(1).and_then(|seq| reader.get(Seq::new(seq)).ok().flatten());
    let last_word = last_word(reader, opened.records);
    let failed = last_word
        .as_ref()
        .is_some_and(|record| record.kind == Kind::GatewayStopped && record.result == Outcome::Failure);
    let ending = Ending::of(last_word.as_ref(), boot);
    let mut said = json!({ "ended": ending.word(), "cause": ending.cause() });
    let Some(fields) = said.as_object_mut() else { return said };
    if failed && let Some(reason) = last_word.as_ref().and_then(|record| record.details.get("reason")) {
        fields.insert("reason".to_owned(), reason.clone());
    }
    if let Some(entry) = last {
        let silent = now.duration_since(entry.record.time).as_millis();
        fields.insert("last_record".to_owned(), entry.record.seq.get().into());
        fields.insert("last_time".to_owned(), entry.record.time.to_string().into());
        // Below zero if the clock was set back in between, of which the ledger has a record of its own.
        let silent = i64::try_from(silent).unwrap_or(i64::MAX).clamp(-MAX_MILLISECONDS, MAX_MILLISECONDS);
        fields.insert("silent_ms".to_owned(), silent.into());
    }
    if let Some(torn) = &opened.torn {
        fields.insert("unfinished_bytes".to_owned(), torn.bytes.into());
    }
    said
}

/// Numbers in a record are within what every reader of JSON keeps (RFC 7493).
const MAX_MILLISECONDS: i64 = (1 << 53) - 1;

/// The last record before `end` in which the gateway spoke of itself.
fn last_word(reader: &Reader, end: u64) -> Option<Record> {
    let mut to = end;
    while to > end.saturating_sub(LOOK_BACK) {
        let from = to.saturating_sub(STEP);
        let entries = reader.range(Seq::new(from), usize::try_from(to - from).ok()?).ok()?;
        // Where records were pruned, later ones come in their place.
        let mut before =
            entries.into_iter().rev().map(|entry| entry.record).filter(|record| record.seq.get() < to);
        let found = before.find(|record| {
            matches!(record.kind, Kind::GatewayStarted | Kind::GatewayHeartbeat | Kind::GatewayStopped)
        });
        if found.is_some() {
            return found;
        }
        to = from;
    }
    None
}

#[cfg(test)]
mod tests {
    use sallyport_audit::archive::DirectoryArchive;
    use sallyport_audit::journal::Files;
    use sallyport_audit::ledger::{RealDisk, pruning};
    use sallyport_audit::retention::{Policy, survey};
    use sallyport_audit::testing::{PlainVault, SoftwareSigner};
    use sallyport_audit::{Ledger, LedgerOptions};

    use super::*;

    const ORIGIN: &str = "example.org/ledger";

    fn open(folder: &std::path::Path) -> (Ledger, Opened) {
        let signer = Box::new(SoftwareSigner::new(ORIGIN, [1; 32]));
        let mut options = LedgerOptions::new(folder, ORIGIN, "gw-1");
        options.segment_bytes = 65_536;
        Ledger::open(options, signer, std::sync::Arc::new(PlainVault)).unwrap()
    }

    /// What a start on another day says after a run that ended in `last`, followed by records that say nothing of it.
    async fn after(last: Option<Draft>, boot: Option<&str>) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, _) = open(folder.path());
        if let Some(last) = last {
            ledger.append(last).await.unwrap();
            for _ in 0..(STEP * 2) {
                ledger.enqueue(Draft::new(Kind::HttpRequest, Outcome::Success)).await.unwrap();
            }
        }
        ledger.close().await.unwrap();
        let (ledger, opened) = open(folder.path());
        let last = ledger.reader().get(Seq::new(opened.records - 1)).unwrap().unwrap().record.time;
        let now = last + jiff::SignedDuration::from_hours(24);
        // What this start has recorded by now is no part of the silence.
        ledger.append(Draft::new(Kind::KeyLoaded, Outcome::Success)).await.unwrap();
        let said = before_start(&ledger.reader(), &opened, now, boot);
        ledger.close().await.unwrap();
        assert_eq!(said["last_record"], opened.records - 1);
        assert_eq!(said["silent_ms"], 24 * 3_600_000);
        said
    }

    fn word(kind: Kind) -> Draft {
        Draft::new(kind, Outcome::Success).detail("boot", "boot-1")
    }

    #[tokio::test]
    async fn a_gap_is_told_with_its_length_and_with_what_is_known_of_its_cause() {
        for (last, boot, ended, cause) in [
            (None, Some("boot-1"), "first-start", "not run on this ledger"),
            (Some(word(Kind::GatewayStopped)), Some("boot-2"), "stopped", "said so"),
            (Some(word(Kind::GatewayHeartbeat)), Some("boot-1"), "unclean", "while the machine went on"),
            (Some(word(Kind::GatewayStarted)), Some("boot-2"), "unclean", "lost power"),
            (Some(word(Kind::GatewayStarted)), None, "unclean", "without a word"),
        ] {
            let said = after(last, boot).await;
            assert_eq!(said["ended"], ended, "{said}");
            assert!(said["cause"].as_str().unwrap().contains(cause), "{said}");
        }
    }

    #[tokio::test]
    async fn what_this_start_records_is_no_last_word_although_records_before_it_were_pruned() {
        let (folder, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ledger, _) = open(folder.path());
        for n in 0..20 {
            let filler = "x".repeat(10_000);
            let draft =
                Draft::new(Kind::HttpRequest, Outcome::Success).detail("n", n).detail("filler", filler);
            ledger.append(draft).await.unwrap();
        }
        ledger.append(word(Kind::GatewayStopped)).await.unwrap();
        let last = ledger.reader().get(Seq::new(ledger.reader().len() - 1)).unwrap().unwrap().record.time;
        let files = Files::new(folder.path());
        let next_year = last + jiff::SignedDuration::from_hours(24 * 400);
        let old = survey(&files, &Policy::new([], 30, &[]).unwrap(), next_year, u64::MAX).unwrap();
        let archive = DirectoryArchive::new(archive.path());
        pruning::prune(&ledger, &files, &RealDisk, &old, &archive, |draft| draft).await.unwrap();
        ledger.close().await.unwrap();
        let (ledger, opened) = open(folder.path());
        ledger.append(word(Kind::GatewayStarted)).await.unwrap();
        let said = before_start(&ledger.reader(), &opened, next_year, Some("boot-1"));
        ledger.close().await.unwrap();
        assert_eq!(said["ended"], "stopped", "{said}");
    }
}
