//! `approvals.toml`: workflows and lines of reporting. Unknown keys are refused; all faults are told at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::lines::Lines;
use super::{
    ANSWER_WITHIN, BreakGlass, ClockStart, MAX_MINUTES, MAX_PEOPLE, MAX_STEPS, Nearness, Reporting, Step,
    TicketRule, USE_WITHIN, Workflow, WorkflowName,
};
use crate::access::names::{Role, Subject, Tenant};

/// Most people whose boss the file names.
const MAX_LINES: usize = 100_000;

/// What the file says.
#[derive(Debug, Default)]
pub(in crate::access) struct Approvals {
    pub(in crate::access) workflows: BTreeMap<WorkflowName, Workflow>,
    pub(in crate::access) reporting: Reporting,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    workflow: BTreeMap<String, RawWorkflow>,
    /// By tenant: who reports to whom.
    #[serde(default)]
    reports: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkflow {
    #[serde(default)]
    description: String,
    max_minutes: u32,
    #[serde(default = "optional")]
    ticket: TicketRule,
    #[serde(default = "approval")]
    clock: ClockStart,
    use_within_minutes: Option<u32>,
    #[serde(default)]
    once: bool,
    answer_within_minutes: Option<u32>,
    denials: Option<u32>,
    #[serde(default)]
    excludes: Vec<Near>,
    break_glass: Option<RawBreakGlass>,
    #[serde(default)]
    step: Vec<RawStep>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Near {
    Reports,
    Managers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBreakGlass {
    roles: Vec<String>,
    max_minutes: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    role: String,
    people: u32,
    #[serde(default)]
    also: Vec<String>,
    after_minutes: Option<u32>,
    signed: Option<Signature>,
}

/// How an approval is signed.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Signature {
    Webauthn,
}

fn optional() -> TicketRule {
    TicketRule::Optional
}

fn approval() -> ClockStart {
    ClockStart::Approval
}

/// Reads `approvals.toml`; hands every fault to `fault` with its line, or 0, and the key's path.
pub(in crate::access) fn parse(text: &str, mut fault: impl FnMut(u32, String)) -> Approvals {
    let lines = Lines(text);
    let raw: RawFile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let line = error.span().map_or(0, |span| lines.at(span.start));
            fault(line, error.to_string().trim_end().to_owned());
            return Approvals::default();
        }
    };
    let mut workflows = BTreeMap::new();
    for (name, raw) in raw.workflow {
        let path = format!("workflow.{}", name.escape_debug());
        let read = raw.read((&name, &path), &lines, &mut fault);
        match name.parse::<WorkflowName>() {
            Ok(name) => {
                workflows.insert(name.clone(), Workflow { name, ..read });
            }
            Err(error) => fault(lines.table(&["workflow", &name]), format!("{path}: {error}")),
        }
    }
    Approvals { workflows, reporting: read_reports(raw.reports, &lines, &mut fault) }
}

fn read_reports(
    raw: BTreeMap<String, BTreeMap<String, String>>,
    lines: &Lines<'_>,
    fault: &mut impl FnMut(u32, String),
) -> Reporting {
    let mut reporting = Reporting::default();
    if raw.values().map(BTreeMap::len).sum::<usize>() > MAX_LINES {
        fault(0, format!("reports: there are more than {MAX_LINES} lines"));
        return reporting;
    }
    for (name, bosses) in raw {
        let path = format!("reports.{}", name.escape_debug());
        let table = lines.table(&["reports", &name]);
        let tenant = match name.parse::<Tenant>() {
            Ok(tenant) => tenant,
            Err(error) => {
                fault(table, format!("{path}: {error}"));
                continue;
            }
        };
        for (name, boss) in bosses {
            match (name.parse::<Subject>(), boss.parse::<Subject>()) {
                (Ok(person), Ok(boss)) => {
                    reporting.add(&tenant, person, boss);
                }
                (person, boss) => {
                    for error in [person.err(), boss.err()].into_iter().flatten() {
                        fault(lines.key(table, &name), format!("{path}: {error}"));
                    }
                }
            }
        }
    }
    reporting.check(|tenant, person, what| {
        let table = lines.table(&["reports", tenant.as_str()]);
        fault(lines.key(table, person.as_str()), what);
    });
    reporting
}

impl RawWorkflow {
    /// The workflow, under a name that the caller puts in its place.
    fn read(
        self,
        (name, path): (&str, &str),
        lines: &Lines<'_>,
        fault: &mut impl FnMut(u32, String),
    ) -> Workflow {
        let table = lines.table(&["workflow", name]);
        if self.step.is_empty() || self.step.len() > MAX_STEPS {
            let steps = self.step.len();
            fault(table, format!("{path}: it has {steps} steps; 1 to {MAX_STEPS} are possible"));
        }
        let mut within = |key: &str, minutes: u32| {
            if !(1..=MAX_MINUTES).contains(&minutes) {
                let what = format!("{path}.{key}: {minutes} isn't 1 to {MAX_MINUTES}");
                fault(lines.key(table, key), what);
            }
            minutes
        };
        let max_minutes = within("max_minutes", self.max_minutes);
        let answer_within_minutes = self
            .answer_within_minutes
            .map_or(ANSWER_WITHIN, |minutes| within("answer_within_minutes", minutes));
        let use_within_minutes =
            self.use_within_minutes.map_or(USE_WITHIN, |minutes| within("use_within_minutes", minutes));
        if self.use_within_minutes.is_some() && self.clock != ClockStart::FirstUse {
            let what = format!("{path}.use_within_minutes: it means nothing without clock = \"first-use\"");
            fault(lines.key(table, "use_within_minutes"), what);
        }
        if self.description.chars().count() > 200 || self.description.chars().any(char::is_control) {
            let what = format!("{path}.description: it must be one line of at most 200 characters");
            fault(lines.key(table, "description"), what);
        }
        let denials = self.denials.unwrap_or(1);
        if !(1..=MAX_PEOPLE).contains(&denials) {
            fault(lines.key(table, "denials"), format!("{path}.denials: {denials} isn't 1 to {MAX_PEOPLE}"));
        }
        let mut steps = Vec::new();
        for (at, step) in self.step.into_iter().enumerate() {
            let line = lines.entry(&["workflow", name, "step"], at);
            let mut fault = |what| fault(line, what);
            steps.extend(step.read(&format!("{path}.step {}", at + 1), answer_within_minutes, &mut fault));
        }
        // It has a table of its own, or stands in one line of the workflow's.
        let glass = match lines.table(&["workflow", name, "break_glass"]) {
            0 => lines.key(table, "break_glass"),
            own => own,
        };
        let mut fault = |what| fault(glass, what);
        let break_glass = self.break_glass.map(|glass| glass.read(path, max_minutes, &mut fault));
        Workflow {
            name: WorkflowName(String::new().into()),
            description: self.description,
            steps,
            max_minutes,
            ticket: self.ticket,
            clock: self.clock,
            use_within_minutes,
            once: self.once,
            answer_within_minutes,
            denials,
            excludes: Nearness {
                reports: self.excludes.contains(&Near::Reports),
                managers: self.excludes.contains(&Near::Managers),
            },
            break_glass,
        }
    }
}

impl RawStep {
    fn read(self, path: &str, answer_within: u32, fault: &mut impl FnMut(String)) -> Option<Step> {
        if !(1..=MAX_PEOPLE).contains(&self.people) {
            fault(format!("{path}: people = {} isn't 1 to {MAX_PEOPLE}", self.people));
        }
        let role = self.role.parse().map_err(|error| fault(format!("{path}: {error}"))).ok();
        let also = read_roles(&self.also, path, fault);
        match self.after_minutes {
            None if !also.is_empty() => {
                fault(format!("{path}: `also` needs `after_minutes`: from when those roles count"));
            }
            Some(_) if also.is_empty() => {
                fault(format!("{path}: `after_minutes` needs `also`: the roles that count from then"));
            }
            Some(minutes) if !(1..answer_within).contains(&minutes) => fault(format!(
                "{path}: after_minutes = {minutes} isn't 1 to less than answer_within_minutes ({answer_within})"
            )),
            _ => {}
        }
        let also = also.into_iter().filter(|other| Some(other) != role.as_ref()).collect();
        let people = self.people.clamp(1, MAX_PEOPLE);
        let signed = matches!(self.signed, Some(Signature::Webauthn));
        role.map(|role| Step { role, people, also, after_minutes: self.after_minutes, signed })
    }
}

impl RawBreakGlass {
    fn read(self, path: &str, most: u32, fault: &mut impl FnMut(String)) -> BreakGlass {
        if self.roles.is_empty() {
            fault(format!("{path}.break_glass.roles: name at least one role, or leave the table out"));
        }
        if !(1..=most).contains(&self.max_minutes) {
            fault(format!("{path}.break_glass.max_minutes: {} isn't 1 to {most}", self.max_minutes));
        }
        let roles = read_roles(&self.roles, &format!("{path}.break_glass"), fault);
        BreakGlass { roles, max_minutes: self.max_minutes }
    }
}

fn read_roles(texts: &[String], path: &str, fault: &mut impl FnMut(String)) -> BTreeSet<Role> {
    if texts.len() > MAX_STEPS {
        fault(format!("{path}: it names {} roles; {MAX_STEPS} is the most", texts.len()));
    }
    let read =
        texts.iter().take(MAX_STEPS).map(|text| text.parse().map_err(|error| format!("{path}: {error}")));
    read.filter_map(|role| role.map_err(&mut *fault).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        parse(text, |_, fault| faults.push(fault));
        faults
    }

    #[test]
    fn every_fault_of_a_workflow_file_is_told_with_its_line() {
        let text = "\
[workflow.a]
max_minutes = 5
denials = 0
break_glass = { roles = [], max_minutes = 5 }
[[workflow.a.step]]
role = \"role:x\"
people = 1
[[workflow.a.step]]
role = \"x\"
people = 1

[workflow.b]
max_minutes = 0

[workflow.B]
max_minutes = 5
[[workflow.B.step]]
role = \"role:x\"
people = 1

[reports.main]
\"user:a\" = \"user:b\"
\"user:b\" = \"user:a\"
\"user:c\" = \"role:d\"
";
        let mut lines = Vec::new();
        parse(text, |line, _| lines.push(line));
        lines.sort_unstable();
        assert_eq!(lines, [3, 4, 8, 12, 13, 15, 22, 23, 24]);
        for (text, wrong) in [("\n\n[workflow", 3), ("[workflow.a]\nmax_minutes = 5\nurgent = true\n", 3)] {
            let mut lines = Vec::new();
            parse(text, |line, _| lines.push(line));
            assert_eq!(lines, [wrong], "{text:?}");
        }
    }

    #[test]
    fn every_fault_of_a_workflow_file_is_told_with_its_path() {
        let faults = faults_of(
            "[workflow.A]\nmax_minutes = 0\n[[workflow.A.step]]\nrole = \"admin\"\npeople = 0\n[workflow.b]\nmax_minutes = 5\n",
        );
        for part in [
            "workflow.A: ",
            "workflow.A.max_minutes",
            "step 1: people",
            "step 1: \"admin\" is not a role",
            "workflow.b: it has 0 steps",
        ] {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
        }
    }

    #[test]
    fn an_unknown_key_in_a_workflow_file_is_refused() {
        let faults = faults_of("[workflow.a]\nmax_minutes = 5\nskip_if_urgent = true\n");
        assert!(faults[0].contains("skip_if_urgent"), "{faults:?}");
    }

    const STEP: &str = "[[workflow.a.step]]\nrole = \"role:x\"\npeople = 1\n";

    #[test]
    fn terms_that_mean_nothing_or_contradict_each_other_are_faults() {
        for (terms, step, part) in [
            ("use_within_minutes = 5", "", "use_within_minutes: it means nothing"),
            ("answer_within_minutes = 0", "", "answer_within_minutes: 0"),
            ("denials = 9", "", "denials: 9"),
            ("excludes = [\"friends\"]", "", "friends"),
            ("", "also = [\"role:y\"]", "`also` needs `after_minutes`"),
            ("", "after_minutes = 5", "`after_minutes` needs `also`"),
            ("answer_within_minutes = 10", "also = [\"role:y\"]\nafter_minutes = 10", "after_minutes = 10"),
            ("break_glass = { roles = [], max_minutes = 5 }", "", "at least one role"),
            ("break_glass = { roles = [\"role:y\"], max_minutes = 6 }", "", "max_minutes: 6"),
        ] {
            let faults = faults_of(&format!("[workflow.a]\nmax_minutes = 5\n{terms}\n{STEP}{step}\n"));
            assert!(faults.len() == 1 && faults[0].contains(part), "{part}: {faults:?}");
        }
        assert!(faults_of(&format!("[workflow.a]\nmax_minutes = 5\n{STEP}")).is_empty());
    }

    #[test]
    fn a_ring_of_bosses_and_a_boss_who_is_no_person_are_faults() {
        let faults = faults_of(
            "[reports.main]\n\"user:a\" = \"user:b\"\n\"user:b\" = \"user:a\"\n\"user:c\" = \"role:d\"\n",
        );
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
