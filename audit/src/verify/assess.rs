//! Turns what the walk found into answers and sentences.

use std::fmt::Write as _;

use jiff::SignedDuration;

use super::walk::{Pruned, Stop, Walk};
use super::{
    Break, COSIGNED, EARLIER, GIVEN, Known, Part, Statement, Summary, Trust, Verdict, Verified, WITNESSED,
};
use crate::checkpoint::Checkpoint;
use crate::kind::Kind;
use crate::prefix::NAME;
use crate::record::Seq;

/// Turns what the walk found into a verdict.
pub(super) struct Assessment<'a> {
    pub(super) walk: &'a Walk,
    pub(super) stop: Option<&'a Stop>,
    pub(super) known: &'a Known,
    pub(super) trust: &'a Trust,
    pub(super) since: Option<&'a Verified>,
}

impl Assessment<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        let (completeness, missing) = self.completeness();
        let broken = match self.stop {
            Some(Stop::Broken(broken)) => Some(broken.clone()),
            _ => self.walk.forged.clone().or(missing),
        };
        Verdict {
            integrity: self.integrity(),
            completeness,
            authenticity: self.authenticity(),
            key_trust: self.key_trust(),
            freshness: self.freshness(),
            clock: self.clock(),
            first_break: broken,
            ledger: self.summary(),
            not_proved: self.not_proved(),
        }
    }

    fn integrity(&self) -> Part {
        let walk = self.walk;
        match self.stop {
            Some(Stop::Broken(broken)) => Part::fail(format!("Record {}: {}.", broken.seq, broken.what)),
            Some(Stop::Newer(what)) => Part::not_evaluated(format!("{what}. Use a newer auditctl.")),
            Some(Stop::Unreadable(error)) => Part::not_evaluated(format!("{error}.")),
            None if walk.chain.size() == 0 => {
                Part::not_evaluated("There is no record: an empty ledger proves nothing.")
            }
            None if self.since.is_some_and(|since| since.size() == walk.chain.size()) => {
                Part::pass("Nothing was added since the earlier check; it ends under the same signed head.")
            }
            None if let Some(since) = self.since => Part::pass(format!(
                "The {} new records, from {} on, are in canonical form, numbered without gaps, linked to what \
                 was verified earlier, and under the root of their signed head, which covers both.",
                walk.chain.size() - since.size(),
                since.size()
            )),
            None if let Some(pruned) = &walk.pruned => Part::pass(format!(
                "All {} records that are there are in canonical form, numbered, linked where they follow each \
                 other, and lead with the hashes of the {} that were pruned to the root of their signed head \
                 ({} heads).",
                walk.chain.size() - pruned.gone(),
                pruned.gone(),
                walk.tally.heads
            )),
            None => Part::pass(format!(
                "All {} records are in canonical form, numbered without gaps, linked, and under the root of \
                 their signed head ({} heads).",
                walk.chain.size(),
                walk.tally.heads
            )),
        }
    }

    fn completeness(&self) -> (Part, Option<Break>) {
        if self.stop.is_some() {
            return (Part::not_evaluated("The check could not go to the end."), None);
        }
        if self.walk.chain.size() == 0 && !matches!(self.known.head, Statement::Usable(..)) {
            return (Part::not_evaluated("There is no record."), None);
        }
        let (mut good, mut doubts) = (Vec::new(), Vec::new());
        let (mut doubted, mut carried) = (false, self.since.is_some_and(|since| self.is_all(since.size())));
        if let Some(pruned) = &self.walk.pruned {
            match explained(pruned) {
                Ok(sentence) => doubts.push(sentence),
                Err(failed) => return failed,
            }
        }
        for ((name, statement), root) in self.known.all().into_iter().zip(self.walk.roots) {
            let brought = name == GIVEN || name == EARLIER;
            match statement {
                Statement::Absent => {}
                // Whoever asks has it judged first; what was not judged is not believed.
                Statement::Read(..) => doubted = true,
                Statement::Unusable(reason) => {
                    doubted |= brought;
                    doubts.push(format!("{}.", capital(reason)));
                }
                Statement::Foreign(reason) => {
                    return (Part::fail(format!("{}: {reason}.", capital(name))), None);
                }
                Statement::Usable(checkpoint, _)
                    if self.walk.resumed.is_some_and(|at| checkpoint.size < at) =>
                {
                    doubted |= brought;
                    doubts.push(format!(
                        "{} covers {} records, which were verified earlier and not read again.",
                        capital(name),
                        checkpoint.size
                    ));
                }
                Statement::Usable(checkpoint, _)
                    if root.is_none()
                        && self
                            .walk
                            .pruned
                            .as_ref()
                            .is_some_and(|at| checkpoint.size < at.declaration.size) =>
                {
                    doubted |= brought;
                    doubts.push(format!(
                        "{} covers {} records, and some around its end were pruned, so that it cannot be compared \
                         without the archive (--archive).",
                        capital(name),
                        checkpoint.size
                    ));
                }
                Statement::Usable(checkpoint, _) => match self.compare(checkpoint, name, root) {
                    Ok(sentence) => {
                        carried |= self.carries(name, checkpoint);
                        good.push(sentence);
                    }
                    Err((sentence, broken)) => return (Part::fail(sentence), broken),
                },
            }
        }
        if let Err(part) = self.gaps_accepted() {
            return part;
        }
        if let Some(since) = self.since {
            good.push(format!(
                "It goes on from the {} records that were verified earlier{}.",
                since.size(),
                since.checked_at().map(|time| format!(" ({time:.0})")).unwrap_or_default()
            ));
        }
        if matches!(self.known.head, Statement::Absent) {
            doubts.push(format!("{} is missing.", capital(self.known.head_name)));
        }
        if !carried && !doubted && !good.is_empty() {
            good.append(&mut doubts);
            good.push(
                "What is older than the last record does not say how the ledger ends, so an end that was cut off \
                 together with the head file cannot be noticed."
                    .to_owned(),
            );
            return (Part::not_evaluated(good.join(" ")), None);
        }
        if !carried || doubted {
            doubts.push(
                "Nothing outside the journal says how long it must be, so an end that was cut off cannot be \
                 noticed."
                    .to_owned(),
            );
            return (Part::not_evaluated(doubts.join(" ")), None);
        }
        good.extend(doubts);
        good.extend(self.accepted_gaps());
        good.push(self.ending());
        (Part::pass(good.join(" ")), None)
    }

    /// Whether what fits says enough about the end to pass by itself. What an owner keeps beside the ledger is
    /// replaced at intervals: an old one, left there without the head file, is what a cut off end leaves behind.
    fn carries(&self, name: &str, checkpoint: &Checkpoint) -> bool {
        let current = self.walk.origin.get() == Some(checkpoint.origin.as_str());
        (name != COSIGNED && name != WITNESSED) || (current && self.is_all(checkpoint.size))
    }

    fn is_all(&self, size: u64) -> bool {
        size == self.walk.chain.size()
    }

    fn compare(
        &self,
        known: &Checkpoint,
        name: &str,
        root: Option<crate::Digest>,
    ) -> Result<String, (String, Option<Break>)> {
        let records = self.walk.chain.size();
        if let Some(explained) = self.explained_by_gap(known, name).map_err(|sentence| (sentence, None))? {
            return Ok(explained);
        }
        if known.size > records {
            let what =
                format!("it and all after it are missing: {name} was signed over {} records", known.size);
            let sentence = format!(
                "The end was cut off: there are {records} records, and {name} was signed over {}.",
                known.size
            );
            return Err((
                sentence,
                Some(Break { seq: Seq::new(records), what, segment: None, offset: None }),
            ));
        }
        if root != Some(known.root) {
            let sentence =
                format!("The first {} records are not those that {name} was signed for.", known.size);
            return Err((sentence, None));
        }
        Ok(format!("{} covers {} of {records} records, and fits.", capital(name), known.size))
    }

    /// How the ledger ends, in words.
    fn ending(&self) -> String {
        let mut text = match self.walk.tally.last_kind {
            Some(Kind::GatewayStopped) => {
                "The last record says that the gateway stopped on purpose.".to_owned()
            }
            Some(kind) => {
                format!("The last record is {kind}: the gateway is running, or it ended without saying so.")
            }
            None => String::new(),
        };
        if self.walk.unfinished > 0 {
            let _ = write!(
                text,
                " Behind the last signed head are {} bytes of an unfinished group: it is being written just \
                 now, or is left from a crash; it was never acknowledged and was not checked.",
                self.walk.unfinished
            );
        }
        text
    }

    fn authenticity(&self) -> Part {
        let walk = self.walk;
        if self.trust.keys.is_empty() {
            return Part::not_evaluated("No public key was given.");
        }
        if self.since.is_some_and(|since| !since.is_vouched_for(&walk.hands.signers)) {
            return Part::fail("The state of the earlier check is not signed by a given key.");
        }
        if let Some(forged) = &walk.forged {
            return Part::fail(format!("Record {}: {}.", forged.seq, forged.what));
        }
        if walk.tally.heads == 0 {
            return Part::not_evaluated(
                "There is no signed head: a ledger that nobody signed proves nothing.",
            );
        }
        if self.trust.own_key_only
            && let Err(reason) = self.ends_under_own_key()
        {
            return Part::fail(reason);
        }
        let mut sentence = self.signatures();
        if !self.trust.cosigners.is_empty() {
            match self.known.cosigned(walk, self.trust) {
                Ok(seen) => sentence = format!("{sentence} {seen}"),
                Err(reason) if self.stop.is_some() => return Part::not_evaluated(reason),
                Err(reason) => return Part::fail(reason),
            }
        }
        Part::pass(sentence)
    }

    fn key_trust(&self) -> Part {
        if self.trust.keys.is_empty() {
            return Part::not_evaluated("No public key was given.");
        }
        let Some(created) = &self.walk.created else {
            // Only a record 0 that could be read has a time.
            let unread = self.walk.tally.first_time.is_none();
            return match self.stop {
                _ if self.walk.chain.size() == 0 => {
                    Part::not_evaluated("There is no record that names the ledger's key.")
                }
                Some(Stop::Newer(_)) if unread => {
                    Part::not_evaluated("Record 0, which names the ledger's key, could not be read.")
                }
                _ => Part::fail("Record 0 does not say with which key the ledger began."),
            };
        };
        let signers = &self.walk.hands.signers;
        let named = match signers.own().first() {
            Some(first) => signers.is_anchored() && first.key.to_string() == created.key,
            None => self.trust.keys.iter().any(|key| key.to_string() == created.key),
        };
        if !named {
            return Part::fail(format!("Record 0 names another key: {}.", created.key));
        }
        let first = self.walk.origin.epochs().all().first();
        if first.is_none_or(|first| first.origin != created.origin) {
            return Part::fail(format!("Record 0 names another ledger: {:?}.", created.origin));
        }
        Part::pass(self.keys_in_words())
    }

    fn freshness(&self) -> Part {
        let (Some(last), Some(now)) = (self.walk.tally.last_time, self.trust.now) else {
            return Part::not_evaluated("There is nothing to compare the last record's time with.");
        };
        let age = now.duration_since(last);
        if age.is_negative() {
            let sentence = format!("The last record is dated {last}, after this machine's clock");
            return match self.trust.max_age {
                // Otherwise one record of a far day would silence this question until then.
                Some(limit) if age.unsigned_abs() > limit.unsigned_abs() => {
                    Part::fail(format!("{sentence} by more than the {limit:#} that were allowed."))
                }
                _ => Part::not_evaluated(format!("{sentence}.")),
            };
        }
        // Whole seconds read better, and the age of a live ledger changes while one looks.
        let age = SignedDuration::from_secs(age.as_secs());
        let sentence = format!("The last record is of {last}, {age:#} ago");
        match self.trust.max_age {
            None => Part::not_evaluated(format!("{sentence}; no greatest age was given.")),
            Some(limit) if age <= limit => Part::pass(format!("{sentence}; {limit:#} are allowed.")),
            Some(limit) => Part::fail(format!("{sentence}; only {limit:#} are allowed.")),
        }
    }

    fn clock(&self) -> Part {
        let walk = self.walk;
        if let Some(broken) = &walk.backwards {
            return Part::fail(format!("Record {}: {}.", broken.seq, broken.what));
        }
        match (walk.chain.size(), walk.tally.jumps) {
            (0, _) => Part::not_evaluated("There is no record."),
            (_, 0) => Part::pass("Time never runs backwards from record to record."),
            (_, jumps) => Part::pass(format!(
                "Time runs backwards in {jumps} place(s), each with a record that says so."
            )),
        }
    }

    fn summary(&self) -> Summary {
        let walk = self.walk;
        Summary {
            origin: walk.origin.get().map(str::to_owned),
            epochs: walk.origin.epochs().all().to_vec(),
            records: walk.chain.size(),
            pruned: walk.pruned.as_ref().map_or(0, Pruned::gone),
            pruned_by: walk.pruned.as_ref().and_then(|pruned| pruned.declared_by),
            heads: walk.tally.heads,
            segments: walk.tally.segments,
            first_time: walk.tally.first_time,
            last_time: walk.tally.last_time,
            root: (walk.chain.size() > 0).then(|| walk.chain.frontier().root()),
            unfinished_bytes: walk.unfinished,
        }
    }

    fn not_proved(&self) -> Vec<String> {
        let mut list = vec![
            "that what was recorded is true, or that everything that happened was recorded",
            "that the given key is the organisation's own: that must be known from elsewhere",
            "that nobody was shown another version of this ledger: compare checkpoints with others who have one",
            "that the times are right: they are those of the gateway's own clock",
            "who the people are: personal values stand in the records as commitments and were not opened",
        ];
        if self.walk.pruned.is_some() {
            list.insert(
                0,
                "what the pruned records said, or that the right ones were pruned: give the archive with --archive",
            );
        }
        if self.since.is_some() {
            list.insert(
                0,
                "that the records which were verified earlier are still what they were: they were not read again",
            );
        }
        if !self.trust.cosigners.is_empty() && !self.known.is_seen_to_the_end(self.walk, self.trust) {
            list.push(
                "that a cosigner has seen any record behind the head that it signed, which is not the last one: \
                 nothing says that this head is a recent one",
            );
        }
        if self.gaps().next().is_some() {
            list.push("what was recorded in the declared gaps, or that what is said of them is true");
        }
        if !matches!(self.known.checkpoint, Statement::Usable(..)) {
            list.push(
                "that the end was not cut off together with the head file: keep checkpoints on another machine \
                 and give one with --checkpoint",
            );
        }
        list.into_iter().map(str::to_owned).collect()
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// That records are missing on purpose, in words; or that nothing says so.
fn explained(pruned: &Pruned) -> Result<String, (Part, Option<Break>)> {
    let (gone, size) = (pruned.gone(), pruned.declaration.size);
    if let Some(seq) = pruned.declared_by {
        return Ok(format!(
            "Of the records before {size}, {gone} were pruned and {} were kept, as record {seq} declares; what \
             the pruned ones said was not read.",
            pruned.kept
        ));
    }
    let sentence = format!(
        "{gone} of the records before {size} are missing, and no record says that exactly these were pruned."
    );
    let what =
        "records from there on are missing, and no record says that exactly these were pruned".to_owned();
    let found = Break { seq: Seq::ZERO, what, segment: Some(NAME.to_owned()), offset: None };
    Err((Part::fail(sentence), Some(found)))
}
