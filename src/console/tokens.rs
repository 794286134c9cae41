//! Tokens: making, listing and revoking them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Scope, Subject, TokenId};
use crate::clock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issue {
    subject: String,
    hours: Option<u32>,
    /// Patterns of objects and actions; none leaves the token whole.
    #[serde(default)]
    scope: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    reason: String,
    /// A token of another issuer, by its id in our records.
    #[serde(default)]
    outside: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    subject: String,
    hours: Option<u32>,
}

pub(super) async fn issue(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Issue>,
) -> Result<(StatusCode, Json<Value>), Problem> {
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
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "subject": subject, "token": token }))))
}

pub(super) async fn join(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Join>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let subject: Subject = caller.parse(&body.subject)?;
    // Short by default: whoever finds it before its owner uses it becomes its owner's device.
    let life = SignedDuration::from_hours(i64::from(body.hours.unwrap_or(24)));
    let tenant = caller.identity.tenant().clone();
    let (id, token) = shared
        .access
        .issue_join_token(&caller.identity, subject.clone(), tenant, life)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "subject": subject, "token": token }))))
}

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Value>> {
    let now = clock::now();
    let mut tokens = shared.access.tokens(&caller.identity);
    tokens.reverse();
    let view = |token: &crate::access::Token| {
        let state = match token.revoked {
            Some(_) => "revoked",
            None if token.spent.is_some() => "spent",
            None if token.expires <= now => "expired",
            None => "live",
        };
        json!({
            "id": token.id,
            "purpose": token.purpose,
            "scope": token.scope,
            "state": state,
            "subject": token.subject,
            "issued": token.issued.to_string(),
            "expires": token.expires.to_string(),
        })
    };
    Json(tokens.iter().map(view).collect())
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(revoke): Body<Revoke>,
) -> Result<Json<Value>, Problem> {
    let id: TokenId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "token", &text))?;
    let (by, reason) = (&caller.identity, Some(caller.parse(&revoke.reason)?));
    let revoked = if revoke.outside {
        shared.access.revoke_outside_token(by, id, by.tenant().clone(), reason).await
    } else {
        shared.access.revoke_token(by, id, reason).await
    };
    revoked.map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "id": text, "state": "revoked" })))
}
