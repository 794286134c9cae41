//! Tries at intervals what must be refused, and records each answer: `canary.tried`.
//!
//! The refusal is the evidence. A control that let something pass, or that could not be tried, is recorded as a failure
//! and logged as an error; a report counts it, and counts the silence if nothing was tried at all.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, iter};

use sallyport_audit::journal::files::read_segment;
use sallyport_audit::journal::{Files, Frame, FrameKind, Group};
use sallyport_audit::verify::{self, Segment, Unsound};
use sallyport_audit::{Draft, Kind, Ledger, Outcome};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::access::canary::{Control, Outcome as Answer, rehearse, revoke_token};
use crate::access::{Access, Tenant};
use crate::clock;

/// The first try does not wait for a whole interval, nor does it burden the start.
const FIRST: Duration = Duration::from_mins(5);

/// A control that gives no answer within this time has none to give.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the canaries are let loose on.
pub(super) struct Cage {
    pub(super) access: Access,
    pub(super) ledger: Ledger,
    pub(super) ledger_directory: PathBuf,
    pub(super) tenant: Tenant,
    pub(super) every: Duration,
}

/// Tries all controls at once after the start and then at intervals, until `stop`.
pub(super) async fn watch(cage: Cage, stop: CancellationToken) {
    let mut wait = FIRST.min(cage.every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = cage.every;
        for (control, place, answer) in cage.try_all().await {
            cage.record(control, place, answer).await;
        }
    }
}

impl Cage {
    async fn try_all(&self) -> Vec<(Control, &'static str, Answer)> {
        let mut all = Vec::new();
        match tokio::time::timeout(PATIENCE, rehearse(&self.access, clock::now())).await {
            Ok(played) => all.extend(played.map(|(control, answer)| (control, "rehearsal", answer))),
            Err(_) => all.extend(
                [Control::SelfApproval, Control::ExpiredGrant].map(|control| (control, "rehearsal", late())),
            ),
        }
        let token = revoke_token(&self.access, self.tenant.clone(), clock::now);
        let token = tokio::time::timeout(PATIENCE, token).await.unwrap_or_else(|_| late());
        all.push((Control::RevokedToken, "running gateway", token));
        let directory = self.ledger_directory.clone();
        let altered = tokio::task::spawn_blocking(move || alter(&directory)).await;
        let altered = altered.unwrap_or_else(|error| Err(error.to_string()));
        all.push((Control::AlteredRecord, "copy of the journal's end", altered));
        all
    }

    async fn record(&self, control: Control, place: &'static str, answer: Answer) {
        let result = if answer.is_ok() { Outcome::Success } else { Outcome::Failure };
        if let Err(why) = &answer {
            error!(control = control.as_str(), %why, "a canary was not held back");
        }
        let draft = Draft::new(Kind::CanaryTried, result)
            .object(format!("control:{}", control.as_str()))
            .detail("control", control.as_str())
            .detail("where", place)
            .detail("answer", answer.unwrap_or_else(|why| why))
            .detail("every_secs", self.every.as_secs());
        if let Err(error) = self.ledger.append(draft).await {
            warn!(%error, control = control.as_str(), "what came of a canary could not be recorded");
        }
    }
}

fn late() -> Answer {
    Err("no answer came within a minute".to_owned())
}

/// Alters one bit of a record in a copy of the journal's last segment: the verifier must find it, and must find nothing before.
fn alter(ledger: &Path) -> Answer {
    let copy = last_segment(&Files::new(ledger))?;
    answer(copy, &|segment| verify::alone(segment).map(drop))
}

/// What `check` says of a copy of a segment, before and after a record in it is altered.
fn answer(mut copy: Segment, check: &dyn Fn(Segment) -> Result<(), Unsound>) -> Answer {
    let place = middle_of_a_record(&copy.bytes);
    check(copy.clone()).map_err(|error| {
        format!("a copy in which nothing was altered does not verify, so finding something proves nothing: {error}")
    })?;
    let byte = place.and_then(|place| copy.bytes.get_mut(place)).ok_or("no record was found in the copy")?;
    *byte ^= 1;
    match check(copy) {
        Err(Unsound::Broken(_)) => Ok("found".to_owned()),
        Err(Unsound::Unread(why)) => {
            Err(format!("the copy with the altered record could not be read: {why}"))
        }
        Ok(()) => Err("a record that was altered was not found".to_owned()),
    }
}

/// The last segment in which there is a record.
fn last_segment(files: &Files) -> Result<Segment, String> {
    let said = |error: io::Error| error.to_string();
    for path in files.segments().map_err(said)?.iter().rev() {
        let bytes = read_segment(&path.path).map_err(said)?;
        let segment = Segment { name: path.name(), bytes };
        if groups(&segment.bytes).next().is_some() {
            return Ok(segment);
        }
    }
    Err("the journal has no segment with a record".to_owned())
}

/// Where each whole group begins in a segment, and the group.
fn groups(bytes: &[u8]) -> impl Iterator<Item = (usize, Group<&[u8]>)> {
    let mut next = 0;
    let frames = iter::from_fn(move || {
        let frame = Frame::read(bytes, next).ok().flatten()?;
        let at = next;
        next += frame.bytes.len();
        Some((at, frame))
    });
    let groups = frames.filter(|(_, frame)| frame.kind == FrameKind::Group);
    groups.filter_map(|(at, frame)| Some((at, Group::parse(frame.bytes).ok()?)))
}

/// Of the last record, but for those that are being written.
fn middle_of_a_record(segment: &[u8]) -> Option<usize> {
    let (at, group) = groups(segment).last()?;
    let (seq, ..) = group.records().last()?;
    let record = group.record_range(seq)?;
    Some(at + record.start + record.len() / 2)
}

#[cfg(test)]
mod tests {
    use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};

    use super::*;

    /// A ledger of two segments on disk; the last one has no record yet.
    fn ledger() -> tempfile::TempDir {
        let origin = "localhost/ledger";
        let mut journal = JournalBuilder::new(origin, SoftwareSigner::new(origin, [7; 32]));
        let heartbeat = || Draft::new(Kind::GatewayHeartbeat, Outcome::Success);
        journal.group([heartbeat(), heartbeat()]).rotate();
        journal.group([heartbeat()]).group([heartbeat(), heartbeat()]).rotate();
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        std::fs::create_dir_all(files.journal()).unwrap();
        for (name, bytes) in &journal.segments {
            std::fs::write(files.journal().join(name), bytes).unwrap();
        }
        directory
    }

    #[test]
    fn a_record_that_is_altered_in_a_copy_is_found_by_the_verifier() {
        let ledger = ledger();
        assert_eq!(alter(ledger.path()), Ok("found".to_owned()));
        let empty = tempfile::tempdir().unwrap();
        assert!(alter(empty.path()).is_err(), "nothing was tried");
    }

    #[test]
    fn a_verifier_that_finds_nothing_or_finds_something_everywhere_does_not_look_as_if_it_worked() {
        let ledger = ledger();
        let copy = last_segment(&Files::new(ledger.path())).unwrap();
        let blind = answer(copy.clone(), &|_| Ok(()));
        assert!(blind.unwrap_err().contains("was not found"));
        let suspicious = answer(copy.clone(), &|segment| {
            let bytes = segment.bytes.iter().rev().copied().collect();
            verify::alone(Segment { bytes, ..segment }).map(drop)
        });
        assert!(suspicious.unwrap_err().contains("proves nothing"));
        let torn = |segment: Segment| {
            if segment == copy { Ok(()) } else { Err(Unsound::Unread("torn".to_owned())) }
        };
        assert!(answer(copy.clone(), &torn).unwrap_err().contains("could not be read"));
    }
}
