//! Tests of a policy, kept beside it: questions and the answers that they must get.
//!
//! `tests.toml` in the policy directory. Whoever changes a policy runs them before it is in force; they need no
//! gateway. Each question is also put to bare casbin over all rows, which must find the same rules.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::conditions::{Circumstances, Through, Transport};
use super::oracle::Oracle;
use super::{Policy, Ruling};
use crate::access::device::DeviceId;
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::workflow::WorkflowName;

/// Name of the file in the policy directory. The gateway doesn't read it.
pub const TESTS_FILE: &str = "tests.toml";
/// Most tests in one file.
pub const MAX_TESTS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    defaults: RawDefaults,
    #[serde(default)]
    test: Vec<toml::Spanned<RawTest>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDefaults {
    tenant: Option<String>,
    at: Option<String>,
    from: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    #[serde(default)]
    name: String,
    who: String,
    action: String,
    object: String,
    expect: String,
    roles: Option<Vec<String>>,
    tenant: Option<String>,
    at: Option<String>,
    from: Option<String>,
    device: Option<String>,
    group: Option<String>,
    suite: Option<String>,
    tunnel_suite: Option<String>,
    rule: Option<String>,
    condition: Option<String>,
}

/// A question to a policy.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who asks.
    pub who: Subject,
    /// Roles that an outside issuer vouches for.
    pub claimed: Vec<Role>,
    /// In which tenant.
    pub tenant: Tenant,
    /// To do what.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// Under which circumstances.
    pub at: Circumstances,
}

/// The answer that a test wants or got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Allowed at once.
    Allow,
    /// Not allowed.
    Deny,
    /// Allowed once these are satisfied.
    Needs(BTreeSet<WorkflowName>),
}

impl Answer {
    /// What a ruling comes to.
    pub fn of(ruling: &Ruling) -> Self {
        match ruling {
            Ruling::Deny { .. } => Self::Deny,
            Ruling::Allow { workflows, .. } if workflows.is_empty() => Self::Allow,
            Ruling::Allow { workflows, .. } => Self::Needs(workflows.clone()),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny => f.write_str("deny"),
            Self::Needs(workflows) => {
                let names: Vec<&str> = workflows.iter().map(WorkflowName::as_str).collect();
                write!(f, "needs {}", names.join("+"))
            }
        }
    }
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ') {
            None if text == "allow" => Ok(Self::Allow),
            None if text == "deny" => Ok(Self::Deny),
            Some(("needs", names)) => names
                .split('+')
                .map(|name| name.trim().parse::<WorkflowName>().map_err(|error| error.to_string()))
                .collect::<Result<_, _>>()
                .map(Self::Needs),
            _ => Err("write `allow`, `deny`, or `needs` and workflows joined by `+`".to_owned()),
        }
    }
}

/// One test.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What its author calls it.
    pub name: String,
    /// Where it begins in the file.
    pub line: u32,
    question: Question,
    expect: Answer,
    rule: Option<String>,
    condition: Option<String>,
}

/// How a test came out.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What its author calls it.
    pub name: String,
    /// Where it begins in the file.
    pub line: u32,
    /// Whether policy does what it wants.
    pub passed: bool,
    /// The question in one line.
    pub question: String,
    /// The answer wanted.
    pub expected: String,
    /// The answer given.
    pub found: String,
    /// The rules that decided, place and text.
    pub rules: Vec<String>,
    /// Conditions that decided.
    pub conditions: Vec<String>,
    /// Why it failed or what policy says, in a sentence.
    pub why: String,
}

/// Reads a file of tests. Times that a test leaves out are `now`.
///
/// # Errors
///
/// Everything that is wrong, each with its line.
pub fn read(text: &str, now: Timestamp) -> Result<Vec<Trial>, Vec<String>> {
    let line_of = |offset: usize| {
        let before = text.get(..offset).unwrap_or_default();
        u32::try_from(before.split('\n').count()).unwrap_or(0)
    };
    let raw: RawFile = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_of(span.start));
        vec![format!("{TESTS_FILE}:{line}: {}", error.message())]
    })?;
    if raw.test.is_empty() || raw.test.len() > MAX_TESTS {
        return Err(vec![format!(
            "{TESTS_FILE}: it holds {} tests; 1 to {MAX_TESTS} are possible",
            raw.test.len()
        )]);
    }
    let (mut trials, mut faults) = (Vec::new(), Vec::new());
    for test in raw.test {
        let line = line_of(test.span().start);
        match test.into_inner().read(&raw.defaults, line, now) {
            Ok(trial) => trials.push(trial),
            Err(why) => faults.push(format!("{TESTS_FILE}:{line}: {why}")),
        }
    }
    if faults.is_empty() { Ok(trials) } else { Err(faults) }
}

fn part<T: FromStr>(key: &str, text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("{key}: {error}"))
}

impl RawTest {
    fn read(self, defaults: &RawDefaults, line: u32, now: Timestamp) -> Result<Trial, String> {
        let tenant = self.tenant.as_ref().or(defaults.tenant.as_ref());
        let tenant = tenant.ok_or("tenant: name it here or under [defaults]")?;
        let optional =
            |own: &Option<String>, default: &Option<String>| own.clone().or_else(|| default.clone());
        let at = optional(&self.at, &defaults.at);
        let from = optional(&self.from, &defaults.from);
        let transport = match (self.group, self.suite) {
            (None, None) => None,
            (group, suite) => Some(Transport {
                group: group.unwrap_or_default().into(),
                suite: suite.unwrap_or_default().into(),
            }),
        };
        let question = Question {
            who: part("who", &self.who)?,
            claimed: self.roles.iter().flatten().map(|role| part("roles", role)).collect::<Result<_, _>>()?,
            tenant: part("tenant", tenant)?,
            action: part("action", &self.action)?,
            object: part("object", &self.object)?,
            at: Circumstances {
                now: at.map_or(Ok(now), |at| part("at", &at))?,
                source: from.map(|from| part::<IpAddr>("from", &from)).transpose()?,
                device: self.device.map(|device| part::<DeviceId>("device", &device)).transpose()?,
                transport,
                tunnel: self.tunnel_suite.as_deref().map(Through::of_suite),
            },
        };
        let expect = part("expect", &self.expect)?;
        Ok(Trial { name: self.name, line, question, expect, rule: self.rule, condition: self.condition })
    }
}

impl Trial {
    /// Puts the question to the policy, and to bare casbin.
    pub fn run(&self, policy: &Policy, oracle: &Oracle) -> Outcome {
        let Question { who, claimed, tenant, action, object, at } = &self.question;
        let ruling = policy.rule_at(who, claimed, tenant, object, *action, at);
        let (rules, unmet, says) = match &ruling {
            Ruling::Allow { rules, .. } => (rules.clone(), Vec::new(), "these rules allow it".to_owned()),
            Ruling::Deny { rule, unmet, why } => (rule.iter().cloned().collect(), unmet.clone(), why.clone()),
        };
        let found = Answer::of(&ruling);
        let places: Vec<String> = rules.iter().map(|rule| rule.place.to_string()).collect();
        let conditions: Vec<String> = unmet.iter().map(|unmet| unmet.condition.to_string()).collect();
        let mut wrong = Vec::new();
        if found != self.expect {
            wrong.push(says.clone());
        }
        if let Some(rule) = &self.rule
            && !places.contains(rule)
        {
            wrong.push(format!("{rule} didn't decide"));
        }
        if let Some(condition) = &self.condition
            && !conditions.contains(condition)
        {
            wrong.push(format!("condition {condition} didn't decide"));
        }
        if !oracle.agrees(policy, who, tenant, object, *action) {
            wrong.push(
                "bare casbin over all rows finds other rules: report this as a fault of Sallyport".to_owned(),
            );
        }
        Outcome {
            name: self.name.clone(),
            line: self.line,
            passed: wrong.is_empty(),
            question: format!("{who} {action} {object} in {tenant}"),
            expected: self.expect.to_string(),
            found: found.to_string(),
            rules: rules.iter().map(|rule| format!("{}: {}", rule.place, rule.text)).collect(),
            conditions,
            why: if wrong.is_empty() { says } else { wrong.join("; ") },
        }
    }
}
