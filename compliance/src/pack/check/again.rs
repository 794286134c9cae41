//! Whether the packed records are the ledger's and all of the period, and whether everything else follows from them.

use std::collections::BTreeMap;
use std::io;

use jiff::tz::TimeZone;
use sallyport_audit::export::{self, ExportError};
use sallyport_audit::note::PublicKey;
use sallyport_audit::selection::Selection;
use sallyport_audit::snapshot::Shown;
use sallyport_audit::verify::State;
use sallyport_audit::{Checkpoint, Digest};

use super::super::documents::documents;
use super::super::make::Proofs;
use super::super::{CHECKPOINT, HISTORY, Info, KEYS, MOST_PROOFS, RECORDS, SIGNATURE, SUMS, StoreError};
use super::Check;
use crate::framework::{Builtin, Framework};
use crate::report::Report;
use crate::reporter::{Reporter, TOOL};
use crate::scope::Survey;

impl Check<'_> {
    /// Are the records those of the ledger, and does the report follow from them?
    pub(super) fn report(
        &mut self,
        info: &Info,
        keys: &[PublicKey],
        note: &str,
        head: &Checkpoint,
    ) -> Result<Option<Report>, StoreError> {
        let Some(framework) = self.mapping(info)? else { return Ok(None) };
        let Ok(zone) = TimeZone::get(&info.time_zone) else {
            self.fail("form", format!("the time zone {:?} is not known", info.time_zone));
            return Ok(None);
        };
        let mut reporter = Reporter::new(&framework, info.period, &zone, Some(info.scope));
        let mut survey = Survey::new(info.period);
        if let Some(history) = info.scope.history() {
            let is_history = |packed: &Selection| info.is_history(packed);
            let remembered = self.replay(HISTORY, &is_history, keys, note, &mut |shown| {
                if let Shown::Record { bytes, leaf, .. } = shown {
                    let _ = reporter.remember(bytes, leaf);
                }
            })?;
            let Some(remembered) = remembered else { return Ok(None) };
            self.history(&remembered, remembered.selection == history, &info.tool);
        }
        let is_period = |packed: &Selection| *packed == info.scope.selection();
        let replayed = self.replay(RECORDS, &is_period, keys, note, &mut |shown| {
            if let Shown::Record { seq, bytes, .. } = shown
                && let Ok(record) = sallyport_audit::Record::parse(bytes)
            {
                survey.take(seq, record.time);
            }
            let _ = reporter.take(shown);
        })?;
        if replayed.is_none() {
            return Ok(None);
        }
        if !survey.is_whole(info.scope, head.size) {
            let sentence = format!(
                "The records {} to {} are not all of the period: nothing shows where it begins or ends.",
                info.scope.first, info.scope.last
            );
            self.fail("records", sentence);
            return Ok(None);
        }
        let report = reporter.finish(info.verdict.clone(), head);
        self.say(
            "records",
            State::Pass,
            format!(
                "{} records of the period, numbers {} to {}, each as it was signed and in its place, none left out.",
                report.population.sum.count, info.scope.first, info.scope.last
            ),
        );
        self.documents(info, &framework, &report, note, keys)?;
        Ok(Some(report))
    }

    /// The mapping of records to controls: the program's own, for whoever changes it changes what counts as an exception.
    fn mapping(&mut self, info: &Info) -> Result<Option<Framework>, StoreError> {
        let source = self.text("framework.toml")?.unwrap_or_default();
        let framework = Framework::parse(&source)
            .ok()
            .filter(|framework| framework.digest == info.framework_digest && framework.id == info.framework);
        let Some(framework) = framework else {
            self.fail("mapping", "framework.toml is not the mapping that the pack names, or cannot be read.");
            return Ok(None);
        };
        let own = info.framework.parse::<Builtin>().ok().and_then(|builtin| builtin.load().ok());
        if own.is_some_and(|own| own.digest == framework.digest) {
            self.say("mapping", State::Pass, "framework.toml is the mapping that comes with this program.");
        } else if info.tool == TOOL {
            self.fail(
                "mapping",
                format!("framework.toml is not the mapping {:?} that comes with this program, which is of the version that the pack names.", info.framework),
            );
            return Ok(None);
        } else {
            let sentence = format!(
                "The pack was made by {}, and framework.toml is not the mapping {:?} that comes with this {TOOL}: compare it with that version's own.",
                info.tool, info.framework
            );
            self.say("mapping", State::NotEvaluated, sentence);
        }
        Ok(Some(framework))
    }

    /// Reads one export; `None` if it is not what it should be, or not of the records that `fits` wants.
    fn replay(
        &mut self,
        name: &str,
        fits: &dyn Fn(&Selection) -> bool,
        keys: &[PublicKey],
        note: &str,
        visit: &mut dyn FnMut(Shown<'_>),
    ) -> Result<Option<export::Checked>, StoreError> {
        let signed = Checkpoint::from_note(note).map(|(head, _)| head);
        let checked = self.pack.file(name, |input| match export::replay(input, keys, visit) {
            Err(ExportError::Read(error)) => Err(error),
            other => Ok(other),
        });
        let sentence = match checked {
            Ok(None) => format!("{name} is missing."),
            Ok(Some(Err(error))) => format!("{name}: {error}."),
            Ok(Some(Ok(checked))) => {
                let same = signed.is_ok_and(|head| {
                    (&head.origin, head.size, head.root) == (&checked.origin, checked.size, checked.root)
                });
                if same && fits(&checked.selection) {
                    self.carry(name, &checked.not_proved);
                    return Ok(Some(checked));
                }
                format!("{name} is an export of other records, or under another head.")
            }
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {
                format!("{name}: {source}.")
            }
            Err(error) => return Err(error),
        };
        self.fail("records", sentence);
        Ok(None)
    }

    /// What an export does not prove, the pack does not.
    fn carry(&mut self, name: &str, not_proved: &[String]) {
        for line in not_proved {
            if !self.not_proved.iter().any(|known| known.ends_with(line)) {
                self.not_proved.push(format!("of {name}: {line}"));
            }
        }
    }

    /// What the time before left behind is chosen by kind, so its proofs cannot show that nothing was left out.
    fn history(&mut self, history: &export::Checked, is_own_choice: bool, tool: &str) {
        let export::Checked { shown, left_out, .. } = history;
        let mut sentence = format!(
            "Records of the time before: {shown}, each as it was signed; left out: {left_out}. That none of those belongs to it, such as the end of leave that the tables show, is not proved."
        );
        let state = if is_own_choice { State::Pass } else { State::NotEvaluated };
        if !is_own_choice {
            sentence = format!(
                "{sentence} The pack was made by {tool}, which chose them by other kinds than this {TOOL}: whether they are all that this one would have chosen can't be said."
            );
        }
        self.say("history", state, sentence);
    }

    /// Is every document what follows from the records?
    fn documents(
        &mut self,
        info: &Info,
        framework: &Framework,
        report: &Report,
        note: &str,
        keys: &[PublicKey],
    ) -> Result<(), StoreError> {
        if info.tool != report.tool {
            let sentence = format!(
                "The pack was made by {}, and this is {}: documents of another version cannot be compared byte by byte. The figures below are made anew from the records.",
                info.tool, report.tool
            );
            self.say("documents", State::NotEvaluated, sentence);
            return Ok(());
        }
        let Some(expected) = Info::of(report, info.signer.clone()) else { return Ok(()) };
        let made = match documents(report, framework, &expected) {
            Ok(made) => made,
            Err(error) => {
                self.say("documents", State::NotEvaluated, format!("A document could not be made: {error}."));
                return Ok(());
            }
        };
        let mut made: BTreeMap<String, Vec<u8>> = made.into_iter().collect();
        let wanted = report.exceptional(MOST_PROOFS);
        if !wanted.is_empty() {
            let mut proofs = Proofs::new(&wanted, info.head.size);
            let is_period = |packed: &Selection| *packed == info.scope.selection();
            self.replay(RECORDS, &is_period, keys, note, &mut |shown| proofs.take(shown))?;
            made.extend(proofs.finish(note));
        }
        let mut wrong = Vec::new();
        let own = [RECORDS, HISTORY, CHECKPOINT, KEYS, SUMS, SIGNATURE];
        let names: Vec<String> = self.pack.names().to_vec();
        for name in names.iter().filter(|name| !own.contains(&name.as_str())) {
            match made.remove(name) {
                None => wrong.push(format!("{name} does not belong to it")),
                Some(bytes) => {
                    let found = self.pack.digest(name)?;
                    if found.as_deref() != Some(Digest::of(&[&bytes]).to_string().as_str()) {
                        wrong.push(format!("{name} says something else"));
                    }
                }
            }
        }
        wrong.extend(made.into_keys().map(|name| format!("{name} is missing")));
        if wrong.is_empty() {
            self.say(
                "documents",
                State::Pass,
                "Page, tables, OSCAL and proofs were made again from the records: the same bytes.",
            );
        } else {
            self.fail(
                "documents",
                format!("Made again from the records, the pack is another one: {}.", wrong.join("; ")),
            );
        }
        Ok(())
    }
}
