//! The policy (reload, explanation, change by two people, replay), and locks on people, roles, devices, tunnels and tenants.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::policy::conditions::{Through, Transport};
use crate::access::{Action, Context, DeviceId, Lock, LockTarget, Object, Part, Role, Subject};
use crate::clock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockBody {
    what: String,
    /// Ends by itself after so many minutes.
    minutes: Option<u32>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnlockBody {
    what: String,
    reason: String,
}

pub(super) async fn reload(State(shared): State<Shared>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let digest =
        shared.access.reload_policy(&caller.identity).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "policy": digest })))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainBody {
    pub(super) who: String,
    pub(super) action: String,
    pub(super) object: String,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    pub(super) at: Option<String>,
    pub(super) from: Option<String>,
    pub(super) device: Option<String>,
    pub(super) group: Option<String>,
    pub(super) suite: Option<String>,
    pub(super) tunnel_suite: Option<String>,
}

/// What would be decided about somebody of the caller's tenant.
pub(super) async fn explain(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<ExplainBody>,
) -> Result<Json<Value>, Problem> {
    told(&shared, &caller, body).await.map(Json)
}

/// The same, for whoever has asked.
pub(super) async fn told(shared: &Shared, caller: &Caller, body: ExplainBody) -> Result<Value, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Policy)).await?;
    let (who, action) = (caller.parse::<Subject>(&body.who)?, caller.parse::<Action>(&body.action)?);
    let object: Object = caller.parse(&body.object)?;
    let now = body.at.map_or(Ok(clock::now()), |at| caller.parse::<Timestamp>(&at))?;
    let mut context = Context::at(now);
    if let Some(from) = body.from {
        context = context.from_source((caller.parse::<IpAddr>(&from)?, 0).into());
    }
    if body.group.is_some() || body.suite.is_some() {
        let name =
            |name: Option<String>| name.unwrap_or_default().chars().take(64).collect::<String>().into();
        context = context.over(Transport { group: name(body.group), suite: name(body.suite) });
    }
    let tunnel_suite = body.tunnel_suite.map(|name| name.chars().take(128).collect::<String>());
    context = context.through(tunnel_suite.as_deref().map(Through::of_suite));
    let device = body.device.map(|device| caller.parse::<DeviceId>(&device)).transpose()?;
    let tenant = caller.identity.tenant().clone();
    let policy = shared.access.policy();
    let claimed = body.roles.iter().map(|role| caller.parse(role)).collect::<Result<Vec<Role>, _>>()?;
    let held = policy.roles_with(&who, &claimed, &tenant);
    let explanation = shared.access.explain_for((who, claimed), tenant, device, (&object, action), &context);
    Ok(json!({
        "answer": explanation.outcome, "subject": explanation.subject, "tenant": explanation.tenant,
        "action": explanation.action, "object": explanation.object, "at": now.to_string(),
        "rules": explanation.rules, "conditions": explanation.conditions, "workflows": explanation.workflows,
        "grant": explanation.grant, "code": explanation.code, "why": explanation.why, "roles": held,
        "policy": explanation.policy,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProposeBody {
    pub(super) reason: String,
}

/// Proposes the files that lie in the policy folder.
pub(super) async fn propose(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<ProposeBody>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let reason = caller.parse(&body.reason)?;
    let proposed = shared.access.propose_policy(&caller.identity, reason).await;
    let difference = proposed.map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "proposed": difference.new, "difference": difference })))
}

/// What waits for a second person.
pub(super) async fn pending(State(shared): State<Shared>, caller: Caller) -> Result<Json<Value>, Problem> {
    waiting(&shared, &caller).await.map(Json)
}

/// The same, for whoever has asked.
pub(super) async fn waiting(shared: &Shared, caller: &Caller) -> Result<Value, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let pending = shared.access.pending_policy().await.map_err(|error| caller.refused(&error))?;
    Ok(match pending {
        None => json!({ "proposal": null, "in_force": shared.access.policy_digest() }),
        Some(pending) => json!({
            "proposal": pending.proposal, "reason": pending.proposal.reason.as_str(),
            "difference": pending.difference, "in_force": shared.access.policy_digest(),
        }),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveBody {
    pub(super) digest: String,
    pub(super) reason: Option<String>,
}

/// Approves what waits, and puts it in force.
pub(super) async fn approve(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<ApproveBody>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let digest = caller.parse(&body.digest)?;
    let reason = body.reason.map(|reason| caller.parse(&reason)).transpose()?;
    let approved = shared.access.approve_policy(&caller.identity, digest, reason).await;
    let digest = approved.map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "policy": digest })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    since: Option<String>,
}

/// Decides again what the ledger holds, under the files in the policy folder. Names people: for whoever may audit.
pub(super) async fn replay(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<ReplayBody>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Policy)).await?;
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let since = body.since.map(|since| caller.parse::<Timestamp>(&since)).transpose()?;
    let _seat = caller.seat(&shared.readers)?;
    let report = shared.access.replay_candidate(shared.ledger.reader(), since).await;
    Ok(Json(json!(report.map_err(|error| caller.refused(&error))?)))
}

pub(super) async fn lock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<LockBody>,
) -> Result<Json<Value>, Problem> {
    let what: LockTarget = caller.parse(&body.what)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    let end = |minutes: u32| clock::now().checked_add(SignedDuration::from_mins(i64::from(minutes)));
    let until: Option<Timestamp> =
        body.minutes.map(end).transpose().map_err(|error| caller.unusable(&error))?;
    shared
        .access
        .lock(&caller.identity, what, tenant, until, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "what": body.what, "state": "locked", "until": until })))
}

pub(super) async fn locks(State(shared): State<Shared>, caller: Caller) -> Result<Json<Vec<Lock>>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::People)).await?;
    Ok(Json(shared.access.locks(&caller.identity)))
}

pub(super) async fn unlock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<UnlockBody>,
) -> Result<Json<Value>, Problem> {
    let what: LockTarget = caller.parse(&body.what)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    shared
        .access
        .unlock(&caller.identity, what, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "what": body.what, "state": "unlocked" })))
}
