//! Open sessions: seeing them, ending them.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::{List, Page};
use super::revoking::Done;
use crate::access::{Action, Object, Part};
use crate::session::{LiveSession, SessionId};

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// One line; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: String,
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

impl Paging {
    pub(super) fn page(&self, caller: &Caller) -> Result<Page, Problem> {
        Page::asked(caller, self.limit, self.cursor.as_deref())
    }
}

/// An open session.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct Shown {
    id: String,
    subject: String,
    tunnel: String,
    /// `http`, `tcp` or `udp`.
    protocol: &'static str,
    /// The grant that it stands on, where one was needed.
    grant: Option<String>,
    /// The visitor's address.
    source: String,
    #[schema(value_type = String, format = DateTime)]
    opened: Timestamp,
    /// Bytes from the visitor to the publisher.
    bytes_up: u64,
    /// Bytes from the publisher to the visitor.
    bytes_down: u64,
    /// HTTP requests so far.
    requests: u64,
}

/// Open sessions
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", operation_id = "list_sessions", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = paging.page(&caller)?;
    let open = all(&shared, &caller).await?;
    Ok(Json(page.of(open, |session| session.id.clone(), |session| session)))
}

/// All of them, for whoever has asked.
pub(super) async fn all(shared: &Shared, caller: &Caller) -> Result<Vec<Shown>, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Sessions)).await?;
    Ok(shared.broker.live().into_iter().map(shown).collect())
}

fn shown(session: LiveSession) -> Shown {
    let LiveSession { id, subject, tunnel, protocol, grant, source, opened, bytes_up, bytes_down, requests } =
        session;
    Shown { id, subject, tunnel, protocol, grant, source, opened, bytes_up, bytes_down, requests }
}

/// End an open session
#[utoipa::path(post, path = "/api/v1/sessions/{id}/kill", tag = "sessions", operation_id = "kill_session",
    params(("id" = String, Path, description = "sess-…")), request_body = Why,
    responses((status = 200, description = "No byte passes any more", body = Done)))]
pub(super) async fn kill(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Done>, Problem> {
    let sessions = Object::gateway(Part::Sessions);
    // Only an id that has the form of one goes into the record.
    let named = SessionId::parse(&id);
    let draft = caller
        .may_cut(Action::Admin, &sessions, |draft| match named {
            Some(session) => draft.session(session.to_string()),
            None => draft,
        })
        .await?;
    let reason: String = why.reason.chars().filter(|letter| !letter.is_control()).take(500).collect();
    let open = shared.broker.live().into_iter().find(|open| open.id == id).map(shown);
    let killed = named.is_some_and(|session| shared.broker.kill(session, &reason, &caller.correlation.0));
    let told = caller.tell(draft).await;
    if !killed {
        return Err(Problem::bad_id(&caller.correlation, "open session", &id));
    }
    told?;
    let done = Done { id, state: "ended" };
    caller.changed("kill_session", open.as_ref().map(seen), &done).await;
    Ok(Json(done))
}
