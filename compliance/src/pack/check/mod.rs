//! Checks a pack with nothing but public keys: are these the records, and does everything else follow from them?

mod again;
mod whose;

use sallyport_audit::note::PublicKey;
use sallyport_audit::verify::State;
use serde::Serialize;

use super::sums::Sums;
use super::{INFO, Info, PACK_FORMAT, PackReader, SIGNATURE, SUMS, StoreError};
use crate::report::Report;

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
    // What exports say of themselves stands here in the same words, so that it stands here once.
    let not_proved = vec![
        "that a control is designed or works as it should: that is for the auditor to judge".to_owned(),
        "that what was recorded is true, or that everything that happened was recorded".to_owned(),
        "what the maker says of the ledger beyond the packed records: run `auditctl verify` on the ledger itself".to_owned(),
        "that the given key is the organisation's own: that must be known from elsewhere".to_owned(),
        "that the ledger has no later records than this export's head covers".to_owned(),
        "that no record before or behind the packed ones bears a time of the period, if the gateway's clock was set in between".to_owned(),
    ];
    let mut check = Check { pack, trust, findings: Vec::new(), not_proved };
    if check.trust.keys.is_empty() {
        check.not_proved.push("that the keys are the organisation's own: they came with the pack".to_owned());
    }
    let report = check.run()?;
    Ok(Checked { findings: check.findings, report, not_proved: check.not_proved })
}

struct Check<'a> {
    pack: &'a mut PackReader,
    trust: &'a Trust,
    findings: Vec<Finding>,
    not_proved: Vec<String>,
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
}
