//! Published tunnels, as far as the caller may see them; describing one, taking one away from its publisher, and what
//! happened on one.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sallyport_audit::index::search::Order;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Search, Seq};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Query};
use super::records::joined;
use super::sessions::Why;
use crate::access::{Action, Object, Reason};
use crate::clock;
use crate::session::RouteView;
use crate::tunnel::{Farewell, FarewellCode, TunnelName};

/// Most records of one page of activity.
const MOST: usize = 1_000;
const USUAL: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<usize>,
    cursor: Option<u64>,
}

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Value>> {
    let own = caller.identity.subject().to_string();
    let seen = |view: &RouteView| {
        view.owner == own
            || Object::tunnel(&view.name).is_ok_and(|object| caller.could(Action::Read, &object))
    };
    let tenant = caller.identity.tenant();
    let shown = |view: RouteView| {
        let object = Object::tunnel(&view.name).ok();
        let words = object.and_then(|object| shared.access.tunnel_description(tenant, &object));
        let mut value = serde_json::to_value(view).unwrap_or_default();
        if let (Some(fields), Some(words)) = (value.as_object_mut(), words) {
            fields.insert("description".to_owned(), words.into());
        }
        value
    };
    Json(shared.routes.views().into_iter().filter(seen).map(shown).collect())
}

/// Changes the words that describe a tunnel.
pub(super) async fn describe(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<Words>,
) -> Result<Json<Value>, Problem> {
    let object = Object::tunnel(&name).map_err(|error| caller.unusable(&error))?;
    let words = caller.parse(&body.description)?;
    shared
        .access
        .describe_tunnel(&caller.identity, object, words)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "name": name, "description": body.description })))
}

/// The records about one tunnel, newest first, for those who may share or audit it. Reading them is recorded.
pub(super) async fn activity(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let object = Object::tunnel(&name).map_err(|error| caller.unusable(&error))?;
    let action = if caller.could(Action::Audit, &object) { Action::Audit } else { Action::Share };
    caller.may(action, &object).await?;
    let _seat = caller.seat(&shared.readers)?;
    let search = Search {
        selection: Selection {
            to: page.cursor.map(Seq::new),
            objects: vec![object.as_str().to_owned()],
            ..Selection::default()
        },
        texts: Vec::new(),
        subjects: Vec::new(),
        targets: Vec::new(),
        order: Order::NewestFirst,
        limit: page.limit.unwrap_or(USUAL).clamp(1, MOST),
    };
    let failed = |error: &dyn std::fmt::Display| {
        let detail = format!("the ledger cannot be searched: {error}");
        let hint = "check the ledger with `auditctl verify`";
        Problem::new(
            &caller.correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "ledger-unreadable",
            detail,
            hint,
        )
    };
    let reader = shared.ledger.reader();
    let found = tokio::task::spawn_blocking(move || reader.search(&search)).await;
    let found = found.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let records = found.entries.iter().map(joined).collect::<Result<Vec<_>, _>>();
    let records = records.map_err(|error| failed(&error))?;
    Ok(Json(json!({ "records": records, "cursor": found.next })))
}

/// Ends a tunnel and its sessions. Its publisher is told not to come back by itself; to keep it away, lock the tunnel.
pub(super) async fn delete(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Value>, Problem> {
    let decided_at = clock::monotonic();
    let unknown = || Problem::bad_id(&caller.correlation, "published tunnel", &name);
    let object = Object::tunnel(&name).map_err(|_| unknown())?;
    let reason: Reason = caller.parse(&why.reason)?;
    caller.may_with(Action::Delete, &object, |draft| draft.reason(reason.as_str())).await?;
    let tunnel = TunnelName::parse(&name).map_err(|_| unknown())?;
    let route = shared.routes.delete(&tunnel);
    // A name that nobody publishes now may still be shared.
    if route.is_none() && shared.access.shares(&caller.identity, Some(&object), false).is_empty() {
        return Err(unknown());
    }
    if let Some(route) = route {
        // Before the link, which would take the sessions with it and tell nobody why.
        shared.broker.tunnel_ended(&route.id, decided_at, "tunnel-deleted");
        route.link.close(Farewell { code: FarewellCode::Revoked, grace: Duration::ZERO });
    }
    // What stands on the name ends with it.
    let ended = shared.access.delete_tunnel(&caller.identity, object, reason).await;
    ended.map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "name": name, "state": "deleted" })))
}
