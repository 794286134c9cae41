//! Holds a group's records against the signed head over them.
//!
//! The order of the questions matters for the answer: first the records, so that the one that was changed
//! can be named; then whether the head fits them; then who signed it; then the checksum.

use super::{Place, Stop, Walk};
use crate::checkpoint::Checkpoint;
use crate::journal::{Frame, Group};
use crate::record::Seq;

impl Walk {
    pub(super) fn group(&mut self, frame: Frame<'_>, place: Place<'_>) -> Result<(), Stop> {
        let first = self.chain.next();
        let damaged = if frame.sound { "" } else { " (its checksum is wrong, too)" };
        let group = Group::parse(frame.bytes).map_err(|error| {
            place.broken(first, format!("the group that begins with it is damaged: {error}{damaged}"))
        })?;
        if self.is_old(&group) {
            return Ok(());
        }
        self.end_of_older()?;
        if group.first() != first {
            let what = format!("record {} stands in its place{damaged}", group.first());
            return Err(place.broken(first, what));
        }
        let before = self.chain.clone();
        let head = std::str::from_utf8(group.note()).ok().and_then(|note| Checkpoint::from_note(note).ok());
        let newer = self.records(&group, &before, head.as_ref().map(|(head, _)| head), place)?;
        let last = Seq::new(self.chain.size().saturating_sub(1));
        let Some((head, note)) = head else {
            return Err(
                place.broken(first, format!("the signed head over it (after record {last}) cannot be read"))
            );
        };
        self.origin.head(&head.origin).map_err(|what| place.broken(self.chain.next(), what))?;
        let signed = self.hands.check(self.chain.size(), &note);
        if head != self.chain.checkpoint(&head.origin) {
            // With all links within the group right, only its last record or its head can be wrong.
            let genuine = signed.is_ok() && !self.hands.is_empty() && head.size == self.chain.size();
            return Err(if genuine {
                place.broken(last, "it is not the record that its head was signed for")
            } else {
                place.broken(last, "it and the signed head over it do not fit together")
            });
        }
        match signed {
            Ok(()) => self.hands.remember_unknown(&note, |what| place.found(first, what)),
            Err(reason) if self.forged.is_none() => {
                self.forged = Some(place.found(first, format!("the head over it: {reason}")));
            }
            Err(_) => {}
        }
        if let Some(stop) = newer {
            return Err(stop);
        }
        if !frame.sound {
            let what = format!(
                "the checksum of its group (records {first} to {last}) is wrong, although records and head are \
                 intact: the sealed personal values or the checksum were changed"
            );
            return Err(place.broken(first, what));
        }
        self.tally.heads += 1;
        self.note = note.to_string();
        Ok(())
    }
}
