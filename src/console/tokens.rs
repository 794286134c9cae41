//! Tokens: making, listing and revoking them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::revoking::Done;
use super::sessions::Paging;
use crate::access::{Purpose, Scope, Subject, Token, TokenId};
use crate::clock;

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssueToken)]
pub(super) struct Issue {
    /// Whom it speaks for.
    #[schema(example = "user:alice")]
    subject: String,
    /// Its life; the gateway's own default if it is left out.
    hours: Option<u32>,
    /// Patterns of objects and actions; none leaves the token whole.
    #[serde(default)]
    scope: Vec<String>,
}

/// Why a token ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevokeToken)]
pub(super) struct Revoke {
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// A token of another issuer, by its id in our records.
    #[serde(default)]
    outside: bool,
}

/// A token to enroll a device with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssueJoinToken)]
pub(super) struct Join {
    /// Whose device it will be.
    #[schema(example = "user:alice")]
    subject: String,
    /// Its life; 24 if it is left out.
    hours: Option<u32>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(super) struct Issued {
    #[schema(value_type = String)]
    id: TokenId,
    #[schema(value_type = String)]
    subject: Subject,
    /// The token itself. It is shown this once.
    token: String,
}

/// A token, without what makes it one.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct Shown {
    #[schema(value_type = String)]
    id: TokenId,
    /// `access`, `session` or `join`.
    #[schema(value_type = String)]
    purpose: Purpose,
    /// What it covers of what its person may do.
    #[schema(value_type = Vec<String>)]
    scope: Scope,
    /// `live`, `spent`, `expired` or `revoked`.
    state: &'static str,
    #[schema(value_type = String)]
    subject: Subject,
    #[schema(value_type = String, format = DateTime)]
    issued: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
}

/// Make a token for a person
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", operation_id = "issue_token", request_body = Issue,
    responses((status = 201, description = "The token; it is shown this once", body = Issued)))]
pub(super) async fn issue(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Issue>,
) -> Result<(StatusCode, Json<Issued>), Problem> {
    let subject: Subject = caller.parse(&body.subject)?;
    let life = match body.hours {
        Some(hours) => SignedDuration::from_hours(i64::from(hours)),
        None => SignedDuration::try_from(shared.token_life).map_err(|error| caller.unusable(&error))?,
    };
    let scope =
        Scope::from_words(body.scope.iter().map(String::as_str)).map_err(|error| caller.unusable(&error))?;
    let tenant = caller.identity.tenant().clone();
    let (id, token) = shared
        .access
        .issue_token(&caller.identity, subject.clone(), tenant, life, scope)
        .await
        .map_err(|error| caller.refused(&error))?;
    caller.changed("issue_token", None, &find(&shared, &caller, id)).await;
    Ok((StatusCode::CREATED, Json(Issued { id, subject, token })))
}

/// Make a token that enrolls one device of a person, once
#[utoipa::path(post, path = "/api/v1/tokens/join", tag = "tokens", operation_id = "issue_join_token", request_body = Join,
    responses((status = 201, description = "The token; it is shown this once", body = Issued)))]
pub(super) async fn join(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Join>,
) -> Result<(StatusCode, Json<Issued>), Problem> {
    let subject: Subject = caller.parse(&body.subject)?;
    // Short by default: whoever finds it before its owner uses it becomes its owner's device.
    let life = SignedDuration::from_hours(i64::from(body.hours.unwrap_or(24)));
    let tenant = caller.identity.tenant().clone();
    let (id, token) = shared
        .access
        .issue_join_token(&caller.identity, subject.clone(), tenant, life)
        .await
        .map_err(|error| caller.refused(&error))?;
    caller.changed("issue_join_token", None, &find(&shared, &caller, id)).await;
    Ok((StatusCode::CREATED, Json(Issued { id, subject, token })))
}

/// Tokens: your own, or all for whoever may `admin` `gateway:tokens`
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", operation_id = "list_tokens", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = paging.page(&caller)?;
    let now = clock::now();
    let tokens = shared.access.tokens(&caller.identity);
    Ok(Json(page.of(tokens, |token| token.id.to_string(), |token| shown(token, now))))
}

fn find(shared: &Shared, caller: &Caller, id: TokenId) -> Option<Shown> {
    let tokens = shared.access.tokens(&caller.identity);
    tokens.into_iter().find(|token| token.id == id).map(|token| shown(token, clock::now()))
}

fn shown(token: Token, now: Timestamp) -> Shown {
    let state = match token.revoked {
        Some(_) => "revoked",
        None if token.spent.is_some() => "spent",
        None if token.expires <= now => "expired",
        None => "live",
    };
    let Token { id, purpose, scope, subject, issued, expires, .. } = token;
    Shown { id, purpose, scope, state, subject, issued, expires }
}

/// End a token; what stands on it is cut
#[utoipa::path(post, path = "/api/v1/tokens/{id}/revoke", tag = "tokens", operation_id = "revoke_token",
    params(("id" = String, Path, description = "tok-…")), request_body = Revoke,
    responses((status = 200, description = "It has ended", body = Done)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(revoke): Body<Revoke>,
) -> Result<Json<Done>, Problem> {
    let id: TokenId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "token", &text))?;
    let (by, reason) = (&caller.identity, Some(caller.parse(&revoke.reason)?));
    let before = find(&shared, &caller, id);
    let revoked = if revoke.outside {
        shared.access.revoke_outside_token(by, id, by.tenant().clone(), reason).await
    } else {
        shared.access.revoke_token(by, id, reason).await
    };
    revoked.map_err(|error| caller.refused(&error))?;
    let done = Done { id: text, state: "revoked" };
    caller.changed("revoke_token", before.as_ref().map(seen), &done).await;
    Ok(Json(done))
}
