//! Tries at intervals what must be refused, and records each answer: `canary.tried`.
//!
//! The refusal is the evidence. A control that let something pass, or that could not be tried, is recorded as a failure
//! and logged as an error; a report counts it, and counts the silence if nothing was tried at all.

use std::time::Duration;

use sallyport_audit::record::Record;
use sallyport_audit::{Digest, Draft, Kind, Ledger, Outcome, Reader};
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
        let reader = self.ledger.reader();
        let altered = tokio::task::spawn_blocking(move || alter(&reader)).await;
        let altered = altered.unwrap_or_else(|error| Err(error.to_string()));
        all.push((Control::AlteredRecord, "copy of the ledger's end", altered));
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

/// Alters one byte of a copy of a record: the link of the record behind it must show it, and must not before.
fn alter(reader: &Reader) -> Answer {
    let last = reader.len().checked_sub(2).ok_or("the ledger has fewer than two records")?;
    let pair = reader.range(sallyport_audit::Seq::new(last), 2).map_err(|error| error.to_string())?;
    let [before, after] = pair.as_slice() else { return Err("two records could not be read".to_owned()) };
    let mut copy = before.bytes.clone();
    if before.digest() != after.record.prev {
        return Err("a record that nobody altered does not fit the one behind it".to_owned());
    }
    let middle = copy.len() / 2;
    if let Some(byte) = copy.get_mut(middle) {
        *byte ^= 1;
    }
    if Digest::leaf(&copy) == after.record.prev && Record::parse(&copy).is_ok() {
        return Err("a record that was altered fits the one behind it".to_owned());
    }
    Ok("found".to_owned())
}
