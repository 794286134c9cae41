//! Published tunnels, as far as the caller may see them; describing one, taking one away from its publisher, and what
//! happened on one.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use sallyport_audit::index::search::Order;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Search, Seq};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::{List, cursor};
use super::records::joined;
use super::sessions::{Paging, Why};
use crate::access::{Action, Object, Reason};
use crate::clock;
use crate::session::RouteView;
use crate::tunnel::{Farewell, FarewellCode, TunnelName};

/// Words that describe a tunnel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribeTunnel)]
pub(super) struct Words {
    /// One line.
    #[schema(min_length = 1, max_length = 500)]
    description: String,
}

/// A service that is published.
#[derive(Serialize, ToSchema)]
#[schema(as = Tunnel)]
pub(super) struct Shown {
    name: String,
    /// `http`, `tcp`, `udp` or `tls`.
    kind: &'static str,
    /// Who publishes it.
    owner: String,
    id: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// `live`; `away` while the name is kept for a lost publisher; `unwell` while the publisher says that its app is; `resting` while
    /// an app that failed is left alone.
    state: &'static str,
    /// What carries it between the gateway and its publisher: `quic`, `tls` or `websocket`.
    transport: &'static str,
    /// How many connections its publisher has.
    connections: usize,
    /// The words that describe it, if somebody wrote some.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// A tunnel with the words that describe it.
#[derive(Serialize, ToSchema)]
pub(super) struct Described {
    name: String,
    description: String,
}

/// A tunnel that is gone.
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    name: String,
    /// `deleted`.
    state: &'static str,
}

/// Published tunnels: your own, and those on which you may `read`
#[utoipa::path(get, path = "/api/v1/tunnels", tag = "tunnels", operation_id = "list_tunnels", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = paging.page(&caller)?;
    let own = caller.identity.subject().to_string();
    let seen = |view: &RouteView| {
        view.owner == own
            || Object::tunnel(&view.name).is_ok_and(|object| caller.could(Action::Read, &object))
    };
    let tenant = caller.identity.tenant();
    let shown = |view: RouteView| {
        let object = Object::tunnel(&view.name).ok();
        let words = object.and_then(|object| shared.access.tunnel_description(tenant, &object));
        let RouteView { name, kind, owner, id, since, state, transport, connections, .. } = view;
        Shown { name, kind, owner, id, since, state, transport, connections, description: words }
    };
    let views = shared.routes.views().into_iter().filter(seen).collect();
    Ok(Json(page.of(views, |view| view.name.clone(), shown)))
}

/// Change the words that describe a tunnel
#[utoipa::path(post, path = "/api/v1/tunnels/{name}/describe", tag = "tunnels", operation_id = "describe_tunnel",
    params(("name" = String, Path, description = "Its name")), request_body = Words,
    responses((status = 200, description = "So it is described", body = Described)))]
pub(super) async fn describe(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<Words>,
) -> Result<Json<Described>, Problem> {
    let object = Object::tunnel(&name).map_err(|error| caller.unusable(&error))?;
    let words = caller.parse(&body.description)?;
    shared
        .access
        .describe_tunnel(&caller.identity, object, words)
        .await
        .map_err(|error| caller.refused(&error))?;
    let after = Described { name, description: body.description };
    caller.changed("describe_tunnel", None, &after).await;
    Ok(Json(after))
}

/// The records about one tunnel, newest first, for those who may share or audit it
///
/// Reading them is recorded.
#[utoipa::path(get, path = "/api/v1/tunnels/{name}/activity", tag = "tunnels", operation_id = "tunnel_activity",
    params(("name" = String, Path, description = "Its name"), Paging),
    responses((status = 200, description = "A page of them", body = List<Value>)))]
pub(super) async fn activity(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Value>>, Problem> {
    let page = paging.page(&caller)?;
    let start = page.number(&caller)?;
    let object = Object::tunnel(&name).map_err(|error| caller.unusable(&error))?;
    let action = if caller.could(Action::Audit, &object) { Action::Audit } else { Action::Share };
    caller.may(action, &object).await?;
    let _seat = caller.seat(&shared.readers)?;
    let search = Search {
        selection: Selection {
            to: start.map(Seq::new),
            objects: vec![object.as_str().to_owned()],
            ..Selection::default()
        },
        texts: Vec::new(),
        subjects: Vec::new(),
        targets: Vec::new(),
        order: Order::NewestFirst,
        limit: page.limit(),
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
    let items = found.entries.iter().map(joined).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(|error| failed(&error))?;
    Ok(Json(List { items, next: found.next.map(|next| cursor(&next.to_string())) }))
}

/// End a tunnel, its sessions, its shares and the grants for it
///
/// Its publisher is told not to come back by itself; to keep it away, lock the tunnel.
#[utoipa::path(post, path = "/api/v1/tunnels/{name}/delete", tag = "tunnels", operation_id = "delete_tunnel",
    params(("name" = String, Path, description = "Its name")), request_body = Why,
    responses((status = 200, description = "It is gone", body = Deleted)))]
pub(super) async fn delete(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Deleted>, Problem> {
    let decided_at = clock::monotonic();
    let unknown = || Problem::bad_id(&caller.correlation, "published tunnel", &name);
    let object = Object::tunnel(&name).map_err(|_| unknown())?;
    let reason: Reason = caller.parse(&why.reason)?;
    let tunnel = TunnelName::parse(&name).map_err(|_| unknown())?;
    let draft = caller.may_cut(Action::Delete, &object, |draft| draft.reason(reason.as_str())).await?;
    let before = shared.routes.views().into_iter().find(|view| view.name == name);
    let routes = shared.routes.delete(&tunnel);
    // Before the links, which would take the sessions with them and tell nobody why.
    let sessions = shared.broker.name_ended(&tunnel, decided_at, "tunnel-deleted");
    // A name that nobody publishes now may still be shared, or asked for, or somebody may hold a grant.
    let known =
        sessions > 0 || !routes.is_empty() || shared.access.stands_on(caller.identity.tenant(), &object);
    for route in routes {
        route.link.close(Farewell { code: FarewellCode::Revoked, grace: Duration::ZERO });
    }
    let told = caller.tell(draft).await;
    if !known {
        return told.and(Err(unknown()));
    }
    // What stands on the name ends with it.
    let ended = shared.access.delete_tunnel(&caller.identity, object, reason).await;
    ended.map_err(|error| caller.refused(&error))?;
    told?;
    let deleted = Deleted { name, state: "deleted" };
    caller.changed("delete_tunnel", before.as_ref().map(seen), &deleted).await;
    Ok(Json(deleted))
}
