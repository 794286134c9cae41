//! The policy (reload, explanation, change by two people, replay), and locks on people, roles, devices, tunnels and tenants.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Query};
use super::listing::List;
use super::sessions::Paging;
use crate::access::policy::conditions::{Through, Transport};
use crate::access::{
    Action, Context, DeviceId, Lock, LockTarget, Object, Part, PolicyDigest, Reason, Role, Subject, Tenant,
};
use crate::clock;

/// What to lock.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LockOrder)]
pub(super) struct LockBody {
    /// `user:NAME`, `role:NAME`, `device:dev-…`, `tunnel:NAME` or `tenant:NAME`.
    #[schema(example = "user:bob")]
    what: String,
    /// Ends by itself after so many minutes.
    minutes: Option<u32>,
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// What to let in again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UnlockOrder)]
pub(super) struct UnlockBody {
    /// As it was locked.
    #[schema(example = "user:bob")]
    what: String,
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// What somebody or something is now.
#[derive(Serialize, ToSchema)]
pub(super) struct Locked {
    what: String,
    /// `locked` or `unlocked`.
    state: &'static str,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Who or what may not.
#[derive(Serialize, ToSchema)]
#[schema(as = Lock)]
pub(super) struct ShownLock {
    #[schema(value_type = String)]
    target: LockTarget,
    #[schema(value_type = String)]
    tenant: Tenant,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Who locked it; null for the operator.
    #[schema(value_type = Option<String>)]
    by: Option<Subject>,
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
}

/// The policy in force.
#[derive(Serialize, ToSchema)]
pub(super) struct InForce {
    /// SHA-256 of its files.
    #[schema(value_type = String)]
    policy: PolicyDigest,
}

/// Put the files of the policy folder in force
#[utoipa::path(post, path = "/api/v1/policy/reload", tag = "policy", operation_id = "reload_policy",
    responses((status = 200, description = "They are in force", body = InForce)))]
pub(super) async fn reload(State(shared): State<Shared>, caller: Caller) -> Result<Json<InForce>, Problem> {
    load(&shared, &caller, None).await.map(Json)
}

/// The same; of files that somebody has looked at only as they lay there then.
pub(super) async fn load(
    shared: &Shared,
    caller: &Caller,
    looked_at: Option<&str>,
) -> Result<InForce, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let looked_at = looked_at.map(|digest| caller.parse(digest)).transpose()?;
    let before = InForce { policy: shared.access.policy_digest() };
    let loaded = match looked_at {
        None => shared.access.reload_policy(&caller.identity).await,
        Some(digest) => shared.access.reload_policy_looked_at(&caller.identity, digest).await,
    };
    let after = InForce { policy: loaded.map_err(|error| caller.refused(&error))? };
    caller.changed("reload_policy", Some(seen(&before)), &after).await;
    Ok(after)
}

/// A question about the policy.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Question)]
pub(super) struct ExplainBody {
    #[schema(example = "user:alice")]
    pub(super) who: String,
    #[schema(example = "connect")]
    pub(super) action: String,
    #[schema(example = "tunnel:demo")]
    pub(super) object: String,
    /// Roles that somebody outside vouches for.
    #[serde(default)]
    pub(super) roles: Vec<String>,
    /// When; now, if it is left out.
    #[schema(format = DateTime)]
    pub(super) at: Option<String>,
    /// From which address.
    pub(super) from: Option<String>,
    /// With which device.
    pub(super) device: Option<String>,
    /// Over which key exchange of TLS.
    pub(super) group: Option<String>,
    /// Over which cipher suite of TLS.
    pub(super) suite: Option<String>,
    /// Through a tunnel whose handshake agreed on this suite.
    pub(super) tunnel_suite: Option<String>,
}

/// What would be decided about somebody of your tenant, by which rule, and why
#[utoipa::path(post, path = "/api/v1/policy/explain", tag = "policy", operation_id = "explain_policy", request_body = ExplainBody,
    responses((status = 200, description = "`answer`, `why`, and the rules, conditions and workflows that decide", body = Object)))]
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

/// A policy for a second person to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Propose)]
pub(super) struct ProposeBody {
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: String,
}

/// Propose the files that lie in the policy folder
#[utoipa::path(post, path = "/api/v1/policy/proposal", tag = "policy", operation_id = "propose_policy", request_body = ProposeBody,
    responses((status = 200, description = "`proposed`, its digest, and `difference`: who gains or loses what", body = Object)))]
pub(super) async fn propose(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<ProposeBody>,
) -> Result<Json<Value>, Problem> {
    proposed(&shared, &caller, None, &body).await.map(Json)
}

/// The same; of files that somebody has looked at only as they lay there then.
pub(super) async fn proposed(
    shared: &Shared,
    caller: &Caller,
    looked_at: Option<&str>,
    body: &ProposeBody,
) -> Result<Value, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let looked_at = looked_at.map(|digest| caller.parse(digest)).transpose()?;
    let reason = caller.parse(&body.reason)?;
    let proposed = match looked_at {
        None => shared.access.propose_policy(&caller.identity, reason).await,
        Some(digest) => shared.access.propose_policy_looked_at(&caller.identity, digest, reason).await,
    };
    let difference = proposed.map_err(|error| caller.refused(&error))?;
    caller.changed("propose_policy", None, &json!({ "proposed": difference.new })).await;
    Ok(json!({ "proposed": difference.new, "difference": difference }))
}

/// What waits for a second person
#[utoipa::path(get, path = "/api/v1/policy/proposal", tag = "policy", operation_id = "show_proposal",
    responses((status = 200, description = "`proposal` (null if nothing waits), `in_force`, `difference`", body = Object)))]
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

/// Which proposal, by a second person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApprovePolicy)]
pub(super) struct ApproveBody {
    /// The digest that was looked at.
    pub(super) digest: String,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: Option<String>,
}

/// Approve what waits, and put it in force
#[utoipa::path(post, path = "/api/v1/policy/proposal/approve", tag = "policy", operation_id = "approve_policy", request_body = ApproveBody,
    responses((status = 200, description = "It is in force", body = InForce)))]
pub(super) async fn approve(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<ApproveBody>,
) -> Result<Json<InForce>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let digest = caller.parse(&body.digest)?;
    let reason = body.reason.map(|reason| caller.parse(&reason)).transpose()?;
    let before = InForce { policy: shared.access.policy_digest() };
    let approved = shared.access.approve_policy(&caller.identity, digest, reason).await;
    let after = InForce { policy: approved.map_err(|error| caller.refused(&error))? };
    caller.changed("approve_policy", Some(seen(&before)), &after).await;
    Ok(Json(after))
}

/// What to decide again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Replay)]
pub(super) struct ReplayBody {
    /// Only what was decided from then on.
    #[schema(format = DateTime)]
    since: Option<String>,
}

/// Decide again what the ledger holds, under the files in the policy folder
///
/// Names people: for whoever may audit.
#[utoipa::path(post, path = "/api/v1/policy/replay", tag = "policy", operation_id = "replay_policy", request_body = ReplayBody,
    responses((status = 200, description = "What would be decided otherwise", body = Object)))]
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

/// Lock a person, a role, a device, a tunnel or a tenant; open sessions are cut
#[utoipa::path(post, path = "/api/v1/locks", tag = "locks", operation_id = "lock", request_body = LockBody,
    responses((status = 200, description = "It is locked", body = Locked)))]
pub(super) async fn lock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<LockBody>,
) -> Result<Json<Locked>, Problem> {
    let what: LockTarget = caller.parse(&body.what)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    let end = |minutes: u32| clock::now().checked_add(SignedDuration::from_mins(i64::from(minutes)));
    let until: Option<Timestamp> =
        body.minutes.map(end).transpose().map_err(|error| caller.unusable(&error))?;
    let before = find(&shared, &caller, &what);
    let target = what.clone();
    shared
        .access
        .lock(&caller.identity, what, tenant, until, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    caller.changed("lock", before.as_ref().map(seen), &find(&shared, &caller, &target)).await;
    Ok(Json(Locked { what: body.what, state: "locked", until }))
}

/// What is locked
#[utoipa::path(get, path = "/api/v1/locks", tag = "locks", operation_id = "list_locks", params(Paging),
    responses((status = 200, description = "A page of them", body = List<ShownLock>)))]
pub(super) async fn locks(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<ShownLock>>, Problem> {
    let page = paging.page(&caller)?;
    caller.may(Action::Admin, &Object::gateway(Part::People)).await?;
    let locks = shared.access.locks(&caller.identity);
    Ok(Json(page.of(locks, |lock| lock.target.to_string(), shown)))
}

fn find(shared: &Shared, caller: &Caller, target: &LockTarget) -> Option<ShownLock> {
    shared.access.locks(&caller.identity).into_iter().find(|lock| lock.target == *target).map(shown)
}

fn shown(lock: Lock) -> ShownLock {
    let Lock { target, tenant, since, until, by, reason } = lock;
    ShownLock { target, tenant, since, until, by, reason }
}

/// Let them in again
#[utoipa::path(post, path = "/api/v1/locks/release", tag = "locks", operation_id = "unlock", request_body = UnlockBody,
    responses((status = 200, description = "It is unlocked", body = Locked)))]
pub(super) async fn unlock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<UnlockBody>,
) -> Result<Json<Locked>, Problem> {
    let what: LockTarget = caller.parse(&body.what)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    let before = find(&shared, &caller, &what);
    shared
        .access
        .unlock(&caller.identity, what, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    let unlocked = Locked { what: body.what, state: "unlocked", until: None };
    caller.changed("unlock", before.as_ref().map(seen), &unlocked).await;
    Ok(Json(unlocked))
}
