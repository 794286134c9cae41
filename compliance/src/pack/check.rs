//! Checks a pack with nothing but public keys: are these the records, and does everything else follow from them?

use std::collections::BTreeMap;
use std::io;

use jiff::tz::TimeZone;
use sallyport_audit::export::{self, ExportError};
use sallyport_audit::note::{PublicKey, SignedNote};
use sallyport_audit::selection::Selection;
use sallyport_audit::snapshot::Shown;
use sallyport_audit::verify::State;
use sallyport_audit::{Checkpoint, Digest};
use serde::Serialize;

use super::documents::documents;
use super::make::Proofs;
use super::sums::{Sums, note_text};
use super::{
    CHECKPOINT, HISTORY, INFO, Info, KEYS, MOST_PROOFS, PACK_FORMAT, PackReader, RECORDS, SIGNATURE, SUMS,
    StoreError,
};
use crate::framework::Framework;
use crate::report::{Head, Report};
use crate::reporter::Reporter;
use crate::scope::Survey;

/// What the checker brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The ledger's public keys, known from elsewhere. Without any, those in the pack are used, and the answer says that
    /// nothing is known of whose they are.
    pub keys: Vec<PublicKey>,
    /// The key under whose signature the pack must stand, known from elsewhere.
    pub signer: Option<PublicKey>,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The question, in a word or two.
    pub part: &'static str,
    /// The answer.
    pub state: State,
    /// Why.
    pub sentence: String,
}

/// What can be said about a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The questions and their answers.
    pub findings: Vec<Finding>,
    /// The report that was made again from the packed records; none if something failed before.
    pub report: Option<Report>,
    /// What this check does not prove.
    pub not_proved: Vec<String>,
}

impl Checked {
    /// The exit code: 0 all pass, 1 something fails, 3 something could not be evaluated.
    pub fn exit_code(&self) -> u8 {
        let any = |state| self.findings.iter().any(|finding| finding.state == state);
        if any(State::Fail) {
            1
        } else if any(State::NotEvaluated) {
            3
        } else {
            0
        }
    }
}

/// Checks a pack. An error means that it could not be read at all.
pub fn check(pack: &mut PackReader, trust: &Trust) -> Result<Checked, StoreError> {
    let mut check = Check { pack, trust, findings: Vec::new() };
    let report = check.run()?;
    let mut not_proved = vec![
        "that a control is designed or works as it should: that is for the auditor to judge".to_owned(),
        "that what was recorded is true, or that everything that happened was recorded".to_owned(),
        "what the maker says of the ledger beyond the packed records: run `auditctl verify` on the ledger itself".to_owned(),
        "that the ledger has no later records than the packed head covers".to_owned(),
        "that no record before the packed ones bears a time of the period, if the gateway's clock was set in between".to_owned(),
    ];
    if check.trust.keys.is_empty() {
        not_proved.push("that the keys are the organisation's own: they came with the pack".to_owned());
    }
    Ok(Checked { findings: check.findings, report, not_proved })
}

struct Check<'a> {
    pack: &'a mut PackReader,
    trust: &'a Trust,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn run(&mut self) -> Result<Option<Report>, StoreError> {
        let Some(sums) = self.files()? else { return Ok(None) };
        let info = self.text(INFO)?.and_then(|text| serde_json::from_str::<Info>(&text).ok());
        let Some(info) = info.filter(|info| info.format == PACK_FORMAT) else {
            self.fail(
                "form",
                format!("{INFO} is missing, or is not that of a pack in the form {PACK_FORMAT}"),
            );
            return Ok(None);
        };
        self.signature(&info, &sums)?;
        let Some(keys) = self.keys()? else { return Ok(None) };
        let Some((note, head)) = self.head(&info, &keys)? else { return Ok(None) };
        self.report(&info, &keys, &note, &head)
    }

    fn say(&mut self, part: &'static str, state: State, sentence: impl Into<String>) {
        self.findings.push(Finding { part, state, sentence: sentence.into() });
    }

    fn fail(&mut self, part: &'static str, sentence: impl Into<String>) {
        self.say(part, State::Fail, sentence);
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.pack.read(name)?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Is every file the one that was packed, is none missing, and was none added?
    fn files(&mut self) -> Result<Option<String>, StoreError> {
        let text = self.text(SUMS)?;
        let Some((sums, text)) = text.and_then(|text| Some((Sums::parse(&text)?, text))) else {
            self.fail(
                "files",
                format!("{SUMS} is missing or not in its form: this is no pack, or not a whole one"),
            );
            return Ok(None);
        };
        let mut wrong = Vec::new();
        for (name, digest) in &sums.0 {
            match self.pack.digest(name)? {
                None => wrong.push(format!("{name} is missing")),
                Some(found) if found != *digest => wrong.push(format!("{name} was changed")),
                Some(_) => {}
            }
        }
        let known = |name: &&String| sums.0.contains_key(*name) || *name == SUMS || *name == SIGNATURE;
        wrong.extend(
            self.pack.names().iter().filter(|name| !known(name)).map(|name| format!("{name} was added")),
        );
        if wrong.is_empty() {
            self.say(
                "files",
                State::Pass,
                format!("All {} files are those that {SUMS} lists.", sums.0.len()),
            );
            Ok(Some(text))
        } else {
            self.fail("files", format!("{}.", wrong.join("; ")));
            Ok(None)
        }
    }

    /// Does somebody answer for the pack as a whole?
    fn signature(&mut self, info: &Info, sums: &str) -> Result<(), StoreError> {
        let note = self.text(SIGNATURE)?;
        let expected = match (&self.trust.signer, &info.signer) {
            (Some(wanted), Some(named)) if wanted.to_string() == *named => wanted.clone(),
            (Some(wanted), _) => {
                self.fail(
                    "signature",
                    format!("The pack is not signed by {}, who was to answer for it.", wanted.name()),
                );
                return Ok(());
            }
            (None, None) if note.is_none() => {
                self.say("signature", State::Pass, "The pack is not signed, and says so: its maker is not known. Its records are under the ledger's signature.");
                return Ok(());
            }
            (None, None) => {
                self.fail(
                    "signature",
                    format!("{SIGNATURE} is there, and the pack says that it is not signed."),
                );
                return Ok(());
            }
            (None, Some(named)) => match PublicKey::parse(named) {
                Ok(key) => key,
                Err(error) => {
                    self.fail("signature", format!("The key that the pack names is none: {error}."));
                    return Ok(());
                }
            },
        };
        let signed = note.as_deref().and_then(|note| SignedNote::parse(note).ok());
        match signed.filter(|note| note.text() == note_text(&info.head.origin, sums)) {
            None => self.fail("signature", format!("{SIGNATURE} is missing, or not over this {SUMS}.")),
            Some(note) => match note.verify(&expected) {
                Err(error) => self.fail("signature", format!("{error}.")),
                Ok(()) if self.trust.signer.is_some() => {
                    self.say("signature", State::Pass, format!("The given key ({}) signed the list of files.", expected.name()));
                }
                Ok(()) => self.say(
                    "signature",
                    State::Pass,
                    format!("The key that the pack names ({expected}) signed the list of files; whose it is must be known from elsewhere (--signer)."),
                ),
            },
        }
        Ok(())
    }

    /// The keys to check with.
    fn keys(&mut self) -> Result<Option<Vec<PublicKey>>, StoreError> {
        let listed = self.text(KEYS)?.unwrap_or_default();
        let listed: Result<Vec<PublicKey>, _> = listed.lines().map(PublicKey::parse).collect();
        let Ok(listed) = listed else {
            self.fail("key trust", format!("{KEYS} holds something that is no key."));
            return Ok(None);
        };
        let given = &self.trust.keys;
        if given.is_empty() {
            self.say("key trust", State::NotEvaluated, "No key was given: those that came with the pack were used. Give the ledger's key, known from elsewhere, with --key-file.");
            return Ok((!listed.is_empty()).then_some(listed));
        }
        self.say("key trust", State::Pass, "The given keys were used, and not those in the pack.");
        Ok(Some(given.clone()))
    }

    /// Is the head signed by the ledger?
    fn head(&mut self, info: &Info, keys: &[PublicKey]) -> Result<Option<(String, Checkpoint)>, StoreError> {
        let note = self.text(CHECKPOINT)?.unwrap_or_default();
        let read = Checkpoint::from_note(&note);
        let (head, signed) = match read {
            Ok(read) => read,
            Err(error) => {
                self.fail("head", format!("{CHECKPOINT} cannot be used: {error}."));
                return Ok(None);
            }
        };
        if let Err(error) = signed.verify_any(keys) {
            self.fail("head", format!("{CHECKPOINT}: {error}."));
            return Ok(None);
        }
        if Head::from(&head) != info.head {
            self.fail("head", format!("{CHECKPOINT} is not the head that {INFO} names."));
            return Ok(None);
        }
        let sentence =
            format!("The head over {} records of {} is signed by a used key.", head.size, head.origin);
        self.say("head", State::Pass, sentence);
        Ok(Some((note, head)))
    }

    /// Are the records those of the ledger, and does the report follow from them?
    fn report(
        &mut self,
        info: &Info,
        keys: &[PublicKey],
        note: &str,
        head: &Checkpoint,
    ) -> Result<Option<Report>, StoreError> {
        let source = self.text("framework.toml")?.unwrap_or_default();
        let framework = match Framework::parse(&source) {
            Ok(framework) if framework.digest == info.framework_digest && framework.id == info.framework => {
                framework
            }
            _ => {
                self.fail(
                    "mapping",
                    "framework.toml is not the mapping that the pack names, or cannot be read.",
                );
                return Ok(None);
            }
        };
        let Ok(zone) = TimeZone::get(&info.time_zone) else {
            self.fail("form", format!("the time zone {:?} is not known", info.time_zone));
            return Ok(None);
        };
        let mut reporter = Reporter::new(&framework, info.period, &zone, Some(info.scope));
        let mut survey = Survey::new(info.period);
        let mut ends: Option<(bool, bool)> = None;
        if let Some(history) = info.scope.history() {
            let remembered = self.replay(HISTORY, &history, keys, note, &mut |shown| {
                if let Shown::Record { bytes, leaf, .. } = shown {
                    let _ = reporter.remember(bytes, leaf);
                }
            })?;
            if !remembered {
                return Ok(None);
            }
        }
        let replayed = self.replay(RECORDS, &info.scope.selection(), keys, note, &mut |shown| {
            if let Shown::Record { seq, bytes, .. } = shown
                && let Ok(record) = sallyport_audit::Record::parse(bytes)
            {
                survey.take(seq, record.time);
                let inside = info.period.contains(record.time);
                ends = Some((ends.map_or(inside, |(first, _)| first), inside));
            }
            let _ = reporter.take(shown);
        })?;
        if !replayed {
            return Ok(None);
        }
        // One record on either side shows that the period ends there, unless the ledger does.
        let (first_inside, last_inside) = ends.unwrap_or((true, true));
        let open = (first_inside && info.scope.first > 0) || (last_inside && info.scope.last + 1 < head.size);
        if survey.finish() != Some(info.scope) || open {
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

    /// Reads one export; false if it is not what it should be.
    fn replay(
        &mut self,
        name: &str,
        selection: &Selection,
        keys: &[PublicKey],
        note: &str,
        visit: &mut dyn FnMut(Shown<'_>),
    ) -> Result<bool, StoreError> {
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
                if same && checked.selection == *selection {
                    return Ok(true);
                }
                format!("{name} is an export of other records, or under another head.")
            }
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {
                format!("{name}: {source}.")
            }
            Err(error) => return Err(error),
        };
        self.fail("records", sentence);
        Ok(false)
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
            let selection = info.scope.selection();
            self.replay(RECORDS, &selection, keys, note, &mut |shown| proofs.take(shown))?;
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
