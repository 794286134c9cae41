//! The gateway's keys: seeing them, replacing them; and the public keys that check people's tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::sessions::Paging;
use crate::access::{Action, Identity, Object, Part, Reason};
use crate::tunnel::client::{ROOTS_PATH, SUCCESSION_PATH};

/// Lists and replaces keys.
pub trait KeyDesk: Send + Sync {
    /// The keys: where each lives, what the token attests, its age, when it was used last, when it is due.
    fn list(&self) -> BoxFuture<'_, Result<Value, KeyProblem>>;

    /// What the gateway's earlier identities say of those that followed them, as clients read it.
    fn succession(&self) -> BoxFuture<'_, Vec<u8>>;

    /// The private roots, as they are handed out.
    fn roots(&self) -> BoxFuture<'_, Vec<u8>>;

    /// Carries an order out, and says what was done.
    fn replace(self: Arc<Self>, order: KeyOrder) -> BoxFuture<'static, Result<Vec<String>, KeyProblem>>;
}

/// Which keys an admin has replaced, and why.
#[derive(Debug, Clone)]
pub struct KeyOrder {
    /// As people call them.
    pub what: String,
    /// Whether tokens end that the old key signed.
    pub tokens_end: bool,
    /// Who.
    pub by: Identity,
    /// Why.
    pub reason: Reason,
}

/// Why it was not done, or not to its end.
#[derive(Debug, Clone)]
pub struct KeyProblem {
    /// Of which kind it is.
    pub trouble: KeyTrouble,
    /// What failed.
    pub detail: String,
    /// What to do next.
    pub hint: String,
}

/// Kinds of reasons why a key was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTrouble {
    /// There is no such key.
    Unknown,
    /// Another rotation runs.
    Busy,
    /// Another authority certifies the key.
    ForeignCertificate,
    /// The steps of replacing the root have an order.
    RootOrder,
    /// The ledger takes no records.
    Ledger,
    /// The key provider does not do its part.
    Provider,
    /// Anything else.
    Failed,
}

impl KeyTrouble {
    fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "unknown-role"),
            Self::Busy => (StatusCode::CONFLICT, "rotation-runs"),
            Self::ForeignCertificate => (StatusCode::CONFLICT, "foreign-certificate"),
            Self::RootOrder => (StatusCode::CONFLICT, "root-order"),
            Self::Ledger => (StatusCode::SERVICE_UNAVAILABLE, "ledger-down"),
            Self::Provider => (StatusCode::SERVICE_UNAVAILABLE, "hsm-down"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "rotation-failed"),
        }
    }
}

/// An order to replace a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: String,
    /// Ends tokens that the old key signed, at once.
    #[serde(default)]
    pub(super) now: bool,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Rotated {
    /// One sentence for each step.
    steps: Vec<String>,
}

/// The gateway's keys: where each lives, its age, when it is due
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", operation_id = "list_keys", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Value>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Value>>, Problem> {
    let page = paging.page(&caller)?;
    caller.may(Action::Read, &Object::gateway(Part::Keys)).await?;
    let keys = shared.key_desk.list().await.map_err(|problem| told(&caller, problem))?;
    let keys = match keys {
        Value::Array(keys) => keys,
        other => vec![other],
    };
    // They are few, and have an order of their own.
    let keys: Vec<(usize, Value)> = keys.into_iter().enumerate().collect();
    Ok(Json(page.of(keys, |(place, _)| format!("{place:04}"), |(_, key)| key)))
}

/// Replace a key
#[utoipa::path(post, path = "/api/v1/keys/{role}/rotate", tag = "keys", operation_id = "rotate_key",
    params(("role" = String, Path, description = "`tls`, `identity`, `ledger`, `token` or `kek`")), request_body = Rotate,
    responses((status = 200, description = "It is replaced", body = Rotated)))]
pub(super) async fn rotate(
    State(shared): State<Shared>,
    caller: Caller,
    Path(what): Path<String>,
    Body(body): Body<Rotate>,
) -> Result<Json<Rotated>, Problem> {
    let reason: Reason = caller.parse(&body.reason)?;
    let words = reason.clone();
    caller
        .may_with(Action::Admin, &Object::gateway(Part::Keys), |draft| draft.reason(words.as_str()))
        .await?;
    let order = KeyOrder { what, tokens_end: body.now, by: caller.identity.clone(), reason };
    // In a task of its own: what was begun goes on when the caller has gone.
    let done = tokio::spawn(Arc::clone(&shared.key_desk).replace(order)).await;
    let done = done.unwrap_or_else(|error| {
        Err(KeyProblem {
            trouble: KeyTrouble::Failed,
            detail: format!("the rotation was broken off: {error}"),
            hint: "see the log, and try again: what was begun is finished".to_owned(),
        })
    });
    done.map(|steps| Json(Rotated { steps })).map_err(|problem| told(&caller, problem))
}

/// The keys by which a token of this gateway is good now (RFC 7517), first the one that signs
///
/// Public, as they are.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "public", operation_id = "token_keys", security(()),
    responses((status = 200, description = "A set of JSON Web Keys", body = Object)))]
pub(super) async fn token_keys(State(shared): State<Shared>) -> Json<Value> {
    let keys: Vec<_> = shared.access.token_keys().iter().map(|standing| standing.key.to_jwk()).collect();
    Json(json!({ "keys": keys }))
}

/// What earlier identities of the gateway say of those that followed them
///
/// It proves itself, and is for everybody.
#[utoipa::path(get, path = SUCCESSION_PATH, tag = "public", operation_id = "succession", security(()),
    responses((status = 200, description = "Bytes of the handshake's format", content_type = "application/octet-stream", body = String)))]
pub(super) async fn succession(State(shared): State<Shared>) -> Vec<u8> {
    shared.key_desk.succession().await
}

/// The private roots in PEM
///
/// Public, as certificates are; whoever asks has to know one of them to believe the answer.
#[utoipa::path(get, path = ROOTS_PATH, tag = "public", operation_id = "roots", security(()),
    responses((status = 200, description = "PEM", content_type = "application/pem-certificate-chain", body = String)))]
pub(super) async fn roots(State(shared): State<Shared>) -> ([(HeaderName, &'static str); 1], Vec<u8>) {
    ([(CONTENT_TYPE, "application/pem-certificate-chain")], shared.key_desk.roots().await)
}

fn told(caller: &Caller, problem: KeyProblem) -> Problem {
    let KeyProblem { trouble, detail, hint } = problem;
    let (status, code) = trouble.told();
    Problem::new(&caller.correlation, status, code, detail, hint)
}
