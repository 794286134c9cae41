//! What a ledger declares to have lost, held against what others know of it.
//!
//! A declared gap is no pass: the auditor has to accept the epoch. And it is no excuse for more than it declares: a
//! head over more records than are said to be missing, or another head over as many, stays a failure.

use super::assess::{Assessment, capital};
use super::{Break, Part};
use crate::checkpoint::Checkpoint;
use crate::epoch::{Epoch, Resumed, split};
use crate::record::Seq;

impl Assessment<'_> {
    /// The epochs that begin after a gap.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (&Epoch, &Resumed)> {
        let epochs = self.walk.origin.epochs().all().iter();
        epochs.filter_map(|epoch| Some((epoch, epoch.resumed.as_ref()?)))
    }

    /// Whether the auditor accepts all epochs; otherwise the answer to completeness.
    pub(super) fn gaps_accepted(&self) -> Result<(), (Part, Option<Break>)> {
        let given = self.trust.accept_epoch.as_deref();
        let named = |epoch: &Epoch| given.is_some() && epoch.declaration().as_deref() == given;
        let accepted = self.gaps().find(|(epoch, _)| named(epoch)).map_or(1, |(epoch, _)| epoch.number);
        let Some((epoch, _)) = self.gaps().find(|(epoch, _)| epoch.number > accepted) else { return Ok(()) };
        let mut told: Vec<_> = self.gaps().map(|(_, resumed)| format!("{resumed}.")).collect();
        if let Some(given) = given.filter(|_| accepted == 1) {
            told.push(format!("`--accept-epoch {given}` is none of these declarations."));
        }
        let last = self.gaps().last().and_then(|(epoch, _)| epoch.declaration());
        told.push(match last {
            Some(last) => format!("Whoever accepts that says so with `--accept-epoch {last}`."),
            None => "Verify the whole ledger, without an earlier state, to accept that.".to_owned(),
        });
        let sentence = told.join(" ");
        let what =
            format!("the ledger goes on with it in epoch {}, after a gap that it declares", epoch.number);
        let at = Break { seq: Seq::new(epoch.start), what, segment: None, offset: None };
        Err((Part::fail(sentence), Some(at)))
    }

    /// The gaps that were accepted, in words.
    pub(super) fn accepted_gaps(&self) -> impl Iterator<Item = String> {
        self.gaps().map(|(_, resumed)| format!("{resumed}; that was accepted."))
    }

    /// A head of an earlier epoch over records that were lost: the sentence that explains it. An error says why
    /// the head cannot be one of this ledger, or what contradicts it.
    pub(super) fn explained_by_gap(&self, known: &Checkpoint, name: &str) -> Result<Option<String>, String> {
        let epochs = self.walk.origin.epochs();
        let Some(current) = epochs.origin() else { return Ok(None) };
        let ((base, now), (known_base, number)) = (split(current), split(&known.origin));
        let name = capital(name);
        if base != known_base {
            return Err(format!("{name} is of ledger {:?}, not of {current:?}.", known.origin));
        }
        if number > now {
            return Err(format!("{name} is of epoch {number}, and the ledger ends in epoch {now}."));
        }
        let mut later = self.gaps().filter(|(epoch, _)| epoch.number > number);
        if let Some((epoch, resumed)) = later.next().filter(|(epoch, _)| known.size > epoch.kept()) {
            let declared = resumed.first.saturating_add(resumed.at_least);
            if known.size > declared {
                return Err(format!(
                    "{name} covers {} records of epoch {number}, and epoch {} declares only {} of them from {} on as \
                     missing.",
                    known.size, epoch.number, resumed.at_least, resumed.first
                ));
            }
            if known.size == declared && resumed.lost().is_some_and(|(lost, _)| lost.root != known.root) {
                return Err(format!(
                    "{name} and the lost head that epoch {} names cover {} records each, and have different roots: \
                     the ledger had two histories.",
                    epoch.number, known.size
                ));
            }
            return Ok(Some(format!(
                "{name} covers {} records of epoch {number}, of which {} are in the declared gap: these cannot be \
                 compared with it.",
                known.size,
                known.size.saturating_sub(resumed.first)
            )));
        }
        match epochs.at(known.size) {
            Some(epoch) if epoch.origin != known.origin => Err(format!(
                "{name} is of ledger {:?}, and that many records are of {:?}.",
                known.origin, epoch.origin
            )),
            _ => Ok(None),
        }
    }
}
