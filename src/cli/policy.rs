//! `sallyportd policy`: a policy read, tested, questioned and compared before it is in force. No gateway is needed.
//!
//! Exit codes: 0 good · 1 an error was found, a test failed, or something could not be read · 2 wrong usage. Warnings
//! alone leave 0, and 1 with `--strict`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::daemon::Settings;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::requests::print_json;
use crate::access::policy::conditions::{Circumstances, Through, Transport};
use crate::access::policy::diff::{self, Difference, Way};
use crate::access::policy::lint::{self, Finding, Severity};
use crate::access::policy::load::Sources;
use crate::access::policy::oracle::Oracle;
use crate::access::policy::trial::{self, Answer, TESTS_FILE};
use crate::access::policy::{Policy, Ruling};
use crate::access::{Action, DeviceId, Object, PolicyFaults, Role, Subject, Tenant};
use crate::clock;
use crate::gateway::replaying;

/// The commands; the daemon's settings stand before them.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find faults, and rules that do nothing or give away much, each with its line
    Check {
        #[command(flatten)]
        place: Place,
        /// Fail on warnings, too
        #[arg(long)]
        strict: bool,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Run the tests that stand beside the policy
    Test {
        #[command(flatten)]
        place: Place,
        /// The file of tests [default: tests.toml in the policy folder]
        #[arg(long, value_name = "FILE")]
        tests: Option<PathBuf>,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show which rule decides: policy alone, without grants and locks
    Explain {
        #[command(flatten)]
        question: Question,
        /// The tenant
        #[arg(long, default_value = "main")]
        tenant: Tenant,
        #[command(flatten)]
        place: Place,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Decide again what the ledger holds, under the policy in the folder. The gateway must be stopped; while it runs,
    /// `sallyport policy replay` does the same
    Replay {
        #[command(flatten)]
        place: Place,
        /// Leave out decisions recorded before this instant
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show who gains or loses what between two policy folders
    Diff {
        /// The folder of the old policy
        old: PathBuf,
        /// The folder of the new policy
        new: PathBuf,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The policy folder [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Who wants what, under which circumstances.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// Who: user:NAME
    pub(super) who: Subject,
    /// To do what: connect, publish, approve, audit and so on
    pub(super) action: Action,
    /// With what: a tunnel's name, or gateway:PART
    #[arg(value_parser = object)]
    pub(super) object: Object,
    /// With this role, which the token brings; may be given again
    #[arg(long = "role", value_name = "ROLE")]
    pub(super) roles: Vec<Role>,
    /// At this instant, such as 2026-12-01T09:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<Timestamp>,
    /// From this address
    #[arg(long, value_name = "IP")]
    pub(super) from: Option<IpAddr>,
    /// With this enrolled device
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<DeviceId>,
    /// Over a connection with this key exchange, such as `X25519MLKEM768`
    #[arg(long, value_name = "NAME")]
    pub(super) group: Option<String>,
    /// Over a connection with this cipher suite, such as `TLS13_AES_256_GCM_SHA384`
    #[arg(long, value_name = "NAME")]
    pub(super) suite: Option<String>,
    /// With a tunnel of this suite, such as `x25519-mlkem768/ed25519-mldsa65/aes256gcm`
    #[arg(long, value_name = "NAME")]
    pub(super) tunnel_suite: Option<String>,
}

fn object(text: &str) -> Result<Object, String> {
    let parsed = if text.contains(':') { text.parse() } else { Object::tunnel(text) };
    parsed.map_err(|error| error.to_string())
}

impl Question {
    /// The question as the API takes it.
    pub(super) fn body(&self) -> Value {
        json!({
            "who": self.who, "action": self.action, "object": self.object, "roles": self.roles,
            "at": self.at.map(|at| at.to_string()), "from": self.from, "device": self.device,
            "group": self.group, "suite": self.suite, "tunnel_suite": self.tunnel_suite,
        })
    }

    fn circumstances(&self) -> Circumstances {
        let transport = (self.group.is_some() || self.suite.is_some()).then(|| Transport {
            group: self.group.clone().unwrap_or_default().into(),
            suite: self.suite.clone().unwrap_or_default().into(),
        });
        let now = self.at.unwrap_or_else(clock::now);
        let tunnel = self.tunnel_suite.as_deref().map(Through::of_suite);
        Circumstances { now, source: self.from, device: self.device, transport, tunnel }
    }
}

/// Runs one of the commands.
pub(super) async fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { place, strict, json } => check(&place.find(settings)?, strict, json).await,
        Command::Test { place, tests, json } => {
            let directory = place.find(settings)?;
            let tests = tests.unwrap_or_else(|| directory.join(TESTS_FILE));
            test(&directory, &tests, json).await
        }
        Command::Explain { question, tenant, place, json } => {
            explain(&place.find(settings)?, &question, &tenant, json).await
        }
        Command::Replay { place, since, json } => {
            let config = settings.load()?;
            let policy = load(place.directory.as_deref().unwrap_or(&config.access.policy_directory)).await?;
            let report = replaying::replay(&config, policy, since).await;
            let report = report.map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))?;
            if json {
                return print_json(&json!(report));
            }
            print_replay(&json!(report));
            Ok(())
        }
        Command::Diff { old, new, json } => {
            print_difference(&diff::diff(&load(&old).await?, &load(&new).await?), json)
        }
    }
}

impl Place {
    fn find(&self, settings: &Settings) -> Result<PathBuf, Failure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => settings.load().map(|config| config.access.policy_directory),
        }
    }
}

fn faulty(faults: &PolicyFaults) -> Failure {
    Failure::new(ExitCode::Failed, faults.to_string(), faults.hint())
}

async fn load(directory: &Path) -> Result<Policy, Failure> {
    Policy::load(directory).await.map_err(|faults| faulty(&faults))
}

async fn check(directory: &Path, strict: bool, json: bool) -> Result<(), Failure> {
    let sources = Sources::read(directory).map_err(|faults| faulty(&faults))?;
    let (policy, findings) = lint::check(&sources, clock::now()).await;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if json {
        print_json(&json!({
            "policy": sources.digest(), "usable": policy.is_some(),
            "errors": errors, "warnings": warnings, "findings": findings,
        }))?;
    } else {
        for Finding { place, severity, code, what } in &findings {
            let word = if *severity == Severity::Error { "error" } else { "warning" };
            say(format_args!("{place}: {word} [{code}]: {what}"));
        }
        let rules = policy.as_ref().map_or(0, Policy::rule_count);
        say(format_args!("{rules} rules, {errors} errors, {warnings} warnings; {}", sources.digest()));
    }
    if errors > 0 || (strict && warnings > 0) {
        let message =
            format!("the policy in {} has {errors} errors and {warnings} warnings", directory.display());
        return Err(Failure::new(ExitCode::Failed, message, "each line above says what to mend"));
    }
    Ok(())
}

async fn test(directory: &Path, tests: &Path, json: bool) -> Result<(), Failure> {
    let sources = Sources::read(directory).map_err(|faults| faulty(&faults))?;
    let policy = Policy::build(&sources).await.map_err(|faults| faulty(&faults))?;
    let oracle = Oracle::build(&sources).await.map_err(|faults| faulty(&faults))?;
    let text = std::fs::read_to_string(tests).map_err(|error| {
        let message = format!("cannot read {}: {error}", tests.display());
        Failure::new(ExitCode::Failed, message, "policies/README.md shows how tests are written")
    })?;
    let trials = trial::read(&text, clock::now()).map_err(|faults| {
        Failure::new(ExitCode::Failed, faults.join("\n"), "policies/README.md shows how tests are written")
    })?;
    let outcomes: Vec<_> = trials.iter().map(|trial| trial.run(&policy, &oracle)).collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if json {
        print_json(&json!({
            "policy": policy.digest(), "tests": outcomes.len(), "failed": failed, "outcomes": outcomes,
        }))?;
    } else {
        for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
            let name = if outcome.name.is_empty() { &outcome.question } else { &outcome.name };
            say(format_args!("FAILED line {}: {name}", outcome.line));
            say(format_args!("  {}", outcome.question));
            say(format_args!("  expected {}, found {}: {}", outcome.expected, outcome.found, outcome.why));
            for rule in &outcome.rules {
                say(format_args!("  decided by {rule}"));
            }
        }
        say(format_args!("{} tests, {failed} failed; {}", outcomes.len(), policy.digest()));
    }
    if failed > 0 {
        let message = format!("{failed} of {} tests failed", outcomes.len());
        return Err(Failure::new(ExitCode::Failed, message, "mend the rules named above, or the tests"));
    }
    Ok(())
}

async fn explain(directory: &Path, question: &Question, tenant: &Tenant, json: bool) -> Result<(), Failure> {
    let policy = load(directory).await?;
    let at = question.circumstances();
    let Question { who, action, object, .. } = question;
    let ruling = policy.rule_at(who, &question.roles, tenant, object, *action, &at);
    let answer = Answer::of(&ruling).to_string();
    let held = policy.roles_with(who, &question.roles, tenant);
    let (rules, conditions, why) = match &ruling {
        Ruling::Allow { rules, .. } => (rules.clone(), Vec::new(), String::new()),
        Ruling::Deny { rule, unmet, why } => (rule.iter().cloned().collect(), unmet.clone(), why.clone()),
    };
    let rules: Vec<Value> =
        rules.iter().map(|rule| json!({ "place": rule.place, "text": &*rule.text })).collect();
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|unmet| {
            json!({
                "rule": unmet.rule.place, "condition": unmet.condition.to_string(),
                "unknown": unmet.unknown, "why": unmet.why,
            })
        })
        .collect();
    let explanation = json!({
        "subject": who, "tenant": tenant, "action": action, "object": object, "at": at.now.to_string(),
        "answer": answer, "rules": rules, "conditions": conditions, "why": why, "roles": held,
        "policy": policy.digest(),
    });
    if json {
        return print_json(&explanation);
    }
    print_explanation(&explanation);
    Ok(())
}

/// Prints an explanation as the command and the API give it.
pub(super) fn print_explanation(explanation: &Value) {
    let text = |key: &str| explanation.get(key).and_then(Value::as_str).unwrap_or_default();
    let list = |key: &str| explanation.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    say(format_args!(
        "{}: {} {} {} in {} at {}",
        text("answer"),
        text("subject"),
        text("action"),
        text("object"),
        text("tenant"),
        text("at")
    ));
    if !text("why").is_empty() {
        say(format_args!("because {}", text("why")));
    }
    let field =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    for rule in list("rules") {
        say(format_args!("rule {}: {}", field(&rule, "place"), field(&rule, "text")));
    }
    for condition in list("conditions") {
        let unknown = condition.get("unknown").and_then(Value::as_bool) == Some(true);
        let word = if unknown { "can't be told" } else { "doesn't hold" };
        say(format_args!(
            "condition {} of {} {word} {}",
            field(&condition, "condition"),
            field(&condition, "rule"),
            field(&condition, "why")
        ));
    }
    let roles: Vec<String> = list("roles").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if !roles.is_empty() {
        say(format_args!("roles {}", roles.join(" ")));
    }
    say(format_args!("policy {}", text("policy")));
}

/// Prints a report of a replay, as the command and the API give it.
pub(super) fn print_replay(report: &Value) {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    for differs in report.get("differences").and_then(Value::as_array).into_iter().flatten() {
        say(format_args!(
            "record {} at {}: {} {} {} in {}: {} -> {}: {}",
            differs.get("seq").unwrap_or(&Value::Null),
            text(differs, "time"),
            text(differs, "subject"),
            text(differs, "action"),
            text(differs, "object"),
            text(differs, "tenant"),
            text(differs, "then"),
            text(differs, "now"),
            text(differs, "why")
        ));
    }
    let count = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default();
    say(format_args!(
        "{} decisions decided again: {} the same, {} different; {}",
        count("decided"),
        count("same"),
        count("different"),
        text(report, "policy")
    ));
    for (why, count) in report.get("skipped").and_then(Value::as_object).into_iter().flatten() {
        say(format_args!("{count} not decided again: {why}"));
    }
}

/// Prints what waits for a second person, as the API gives it.
pub(super) fn print_proposal(answer: &Value) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let proposal = answer.get("proposal");
    let digest =
        text(answer.get("proposed").or_else(|| proposal.and_then(|proposal| proposal.get("digest"))));
    if digest.is_empty() {
        say(format_args!("no policy waits; in force is {}", text(answer.get("in_force"))));
        return;
    }
    if let Some(proposal) = proposal {
        let field = |key: &str| text(proposal.get(key));
        say(format_args!("proposed by {} at {}: {}", field("by"), field("at"), text(answer.get("reason"))));
    }
    match answer.get("difference") {
        None | Some(Value::Null) => {
            say("the policy folder doesn't hold these files any more: it can't be put in force");
        }
        Some(difference) => {
            for change in difference.get("changes").and_then(Value::as_array).into_iter().flatten() {
                let field = |key: &str| text(change.get(key));
                say(format_args!(
                    "{} {} {} {} in {}: {} -> {}",
                    field("way"),
                    field("who"),
                    field("action"),
                    field("object"),
                    field("tenant"),
                    field("before"),
                    field("after")
                ));
            }
            for meaning in difference.get("meanings").and_then(Value::as_array).into_iter().flatten() {
                say(format_args!("{}", text(Some(meaning))));
            }
        }
    }
    say(format_args!("another admin approves it with: sallyport policy approve {digest}"));
}

/// Prints how two policies differ.
fn print_difference(difference: &Difference, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!(difference));
    }
    for change in &difference.changes {
        let sign = match change.way {
            Way::Gains => '+',
            Way::Loses => '-',
            Way::Changes => '~',
        };
        say(format_args!(
            "{sign} {} {} {} in {}: {} -> {}",
            change.who, change.action, change.object, change.tenant, change.before, change.after
        ));
    }
    for meaning in &difference.meanings {
        say(format_args!("~ {meaning}"));
    }
    say(format_args!("people: {}", difference.summary()));
    say(format_args!(
        "{} questions put to both; {} -> {}",
        difference.questions, difference.old, difference.new
    ));
    for limit in &difference.limits {
        say(format_args!("note: {limit}"));
    }
    Ok(())
}
