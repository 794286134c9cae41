//! The policy in force: every rule, who has which role, why somebody may or may not do something, how the files in the policy
//! folder would change that, and the two steps of a change.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, page};
use crate::access::{Action, Object, Part, PolicyChange};
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Query};
use crate::console::policy::{self as api, ApproveBody, ExplainBody, ProposeBody};

/// Changes of a comparison that are shown.
const SHOWN: usize = 500;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Question {
    who: String,
    action: String,
    object: String,
    at: String,
    from: String,
    /// The difference to the files in the folder is asked for.
    compare: String,
}

#[derive(Template)]
#[template(path = "console/policy.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    question: &'a Question,
    actions: [&'static str; 10],
    answer: Option<Said>,
    fault: Option<String>,
    digest: String,
    rules: Vec<(String, String)>,
    members: Vec<(String, String)>,
    workflows: Vec<(String, String)>,
    by_two: bool,
    may_change: bool,
    pending: Option<Proposed>,
    difference: Option<Difference>,
}

/// An answer to what-if.
struct Said {
    answer: String,
    why: String,
    rules: Vec<String>,
    facts: Vec<(&'static str, String)>,
}

/// What waits for a second person.
struct Proposed {
    digest: String,
    by: String,
    reason: String,
    difference: Option<Difference>,
}

/// Who gains or loses what.
struct Difference {
    new: String,
    changes: Vec<[String; 5]>,
    all: usize,
    meanings: Vec<String>,
    limits: Vec<String>,
}

pub(super) async fn page(
    State(shared): State<Shared>,
    viewer: Viewer,
    question: Result<Query<Question>, Problem>,
) -> Answer {
    match made(&shared, &viewer, question).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn made(
    shared: &Shared,
    viewer: &Viewer,
    question: Result<Query<Question>, Problem>,
) -> Result<Answer, Problem> {
    let Query(question) = question?;
    let caller = &viewer.caller;
    let policing = Object::gateway(Part::Policy);
    let (mut answer, mut fault) = (None, None);
    if question.who.is_empty() {
        caller.may(Action::Audit, &policing).await?;
    } else {
        match api::told(shared, caller, question.body()).await {
            Ok(told) => answer = Some(said(&told)),
            Err(problem) if problem.refusal.code == "unusable-value" => fault = Some(problem.refusal.detail),
            Err(problem) => return Err(problem),
        }
    }
    let may_change = caller.could(Action::Admin, &policing);
    let (mut pending, mut compared) = (None, None);
    if may_change {
        let told = api::waiting(shared, caller).await?;
        pending = proposed(&told);
        if !question.compare.is_empty() {
            let found = shared.access.compare_candidate().await;
            match found {
                Ok(found) => compared = Some(difference(&serde_json::json!(found))),
                Err(error) => fault = Some(format!("{error}")),
            }
        }
    }
    let policy = shared.access.policy();
    let tenant = caller.identity.tenant();
    let page = Page {
        chrome: &viewer.chrome,
        actions: Action::ALL.map(Action::as_str),
        answer,
        fault,
        digest: policy.digest().to_string(),
        rules: policy
            .rules()
            .filter(|rule| rule.tenant == *tenant)
            .map(|rule| (rule.place.to_string(), rule.text.to_string()))
            .collect(),
        members: members(policy.memberships(tenant)),
        workflows: policy.workflows().map(workflow).collect(),
        by_two: shared.access.policy_change() == PolicyChange::SecondPerson,
        may_change,
        pending,
        difference: compared,
        question: &question,
    };
    Ok(page::show(&page))
}

fn workflow(workflow: &crate::access::workflow::Workflow) -> (String, String) {
    let steps: Vec<String> = workflow.steps.iter().map(ToString::to_string).collect();
    (workflow.name.to_string(), format!("{}; at most {} min", steps.join(", then "), workflow.max_minutes))
}

/// Who has which roles, a line for each person.
fn members(pairs: Vec<(crate::access::Subject, crate::access::Role)>) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (who, role) in pairs {
        match lines.last_mut() {
            Some((last, roles)) if *last == who.to_string() => roles.push_str(&format!(", {role}")),
            _ => lines.push((who.to_string(), role.to_string())),
        }
    }
    lines
}

impl Question {
    fn body(&self) -> ExplainBody {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        ExplainBody {
            who: self.who.trim().to_owned(),
            action: self.action.clone(),
            object: self.object.trim().to_owned(),
            at: given(&self.at),
            from: given(&self.from),
            ..ExplainBody::default()
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn said(told: &Value) -> Said {
    let of = |name: &str| told.get(name).map(text).unwrap_or_default();
    let rules = told.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
    let rule = |rule: &Value| {
        let part = |name: &str| rule.get(name).map(text).unwrap_or_default();
        format!("{}: {}", part("place"), part("text"))
    };
    let facts = [
        ("Roles", of("roles")),
        ("Workflows", of("workflows")),
        ("Conditions", of("conditions")),
        ("Grant", of("grant")),
        ("At", of("at")),
    ];
    Said {
        answer: of("answer"),
        why: of("why"),
        rules: rules.iter().map(rule).collect(),
        facts: facts.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
    }
}

fn proposed(told: &Value) -> Option<Proposed> {
    let proposal = told.get("proposal").filter(|proposal| !proposal.is_null())?;
    let of = |name: &str| proposal.get(name).map(text).unwrap_or_default();
    let compared = told.get("difference").filter(|difference| !difference.is_null());
    let reason = told.get("reason").map(text).unwrap_or_default();
    Some(Proposed { digest: of("digest"), by: of("by"), reason, difference: compared.map(difference) })
}

fn difference(told: &Value) -> Difference {
    let list = |name: &str| told.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let changes = list("changes");
    let change = |change: &Value| {
        let of = |name: &str| change.get(name).map(text).unwrap_or_default();
        [of("way"), of("who"), format!("{} {}", of("action"), of("object")), of("before"), of("after")]
    };
    Difference {
        new: told.get("new").map(text).unwrap_or_default(),
        all: changes.len(),
        changes: changes.iter().take(SHOWN).map(change).collect(),
        meanings: list("meanings").iter().map(text).collect(),
        limits: list("limits").iter().map(text).collect(),
    }
}

/// The digest that the form was made with: a person decides on what they have looked at, and not on what lies there meanwhile.
pub(super) async fn propose(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let body = ProposeBody { reason: form.get("reason").unwrap_or_default() };
    let looked_at = form.get("digest").unwrap_or_default();
    back(&chrome, api::proposed(&shared, &caller, Some(&looked_at), &body).await)
}

pub(super) async fn approve(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let body = ApproveBody { digest: form.get("digest").unwrap_or_default(), reason: form.get("reason") };
    back(&chrome, api::approve(State(shared), caller, Body(body)).await)
}

pub(super) async fn reload(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let looked_at = form.get("digest").unwrap_or_default();
    back(&chrome, api::load(&shared, &caller, Some(&looked_at)).await)
}

fn back<T>(chrome: &Chrome, done: Result<T, Problem>) -> Answer {
    match done {
        Ok(_) => page::see_other("/console/policy"),
        Err(problem) => page::refuse(chrome, &problem),
    }
}
