//! Open sessions: seeing them, ending them.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use crate::access::{Action, Object, Part};
use crate::session::{LiveSession, SessionId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    pub(super) reason: String,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<LiveSession>>, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Sessions)).await?;
    Ok(Json(shared.broker.live()))
}

pub(super) async fn kill(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Json(why): Json<Why>,
) -> Result<Json<Value>, Problem> {
    let sessions = Object::gateway(Part::Sessions);
    // Only an id that has the form of one goes into the record.
    let named = SessionId::parse(&id);
    caller
        .may_with(Action::Admin, &sessions, |draft| match named {
            Some(session) => draft.session(session.to_string()),
            None => draft,
        })
        .await?;
    let reason: String = why.reason.chars().filter(|letter| !letter.is_control()).take(500).collect();
    let session = named.ok_or_else(|| Problem::bad_id(&caller.correlation, "session", &id))?;
    if shared.broker.kill(session, &reason, &caller.correlation.0) {
        Ok(Json(json!({ "id": id, "state": "ended" })))
    } else {
        Err(Problem::bad_id(&caller.correlation, "open session", &id))
    }
}
