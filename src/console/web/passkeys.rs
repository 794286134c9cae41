//! Passkeys in the browser: making one, having one revoked, and signing an approval with one.
//!
//! A script carries what the gateway wants signed to the browser's authenticator and puts its answer into a form; the form then
//! goes the way of the API's calls. Without the script nothing is signed, and a workflow that wants it says no.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::requests::minute;
use super::viewer::{Chrome, Form, Order, Viewer};
use super::{Answer, page};
use crate::access::{Action, Object, Part};
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path, Query};
use crate::console::passkeys::{self as api, Answered, Made, Within};
use crate::console::sessions::Why;

#[derive(Template)]
#[template(path = "console/passkeys.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    keys: Vec<Row>,
    /// The viewer sees those of others too.
    all: bool,
}

struct Row {
    id: String,
    state: &'static str,
    whose: String,
    own: bool,
    algorithm: &'static str,
    enrolled: String,
}

pub(super) async fn page(State(shared): State<Shared>, viewer: Viewer) -> Answer {
    let caller = &viewer.caller;
    if let Err(problem) = caller.looks("passkeys", |draft| draft).await {
        return page::refuse(&viewer.chrome, &problem);
    }
    let me = caller.identity.subject();
    let mut keys: Vec<Row> = shared
        .access
        .passkeys(&caller.identity)
        .iter()
        .map(|key| Row {
            id: key.id.to_string(),
            state: if key.revoked.is_some() { "revoked" } else { "live" },
            whose: key.subject.to_string(),
            own: key.subject == *me,
            algorithm: key.key.algorithm(),
            enrolled: minute(key.enrolled),
        })
        .collect();
    // One's own first, and of those that stand the newest.
    keys.reverse();
    keys.sort_by_key(|key| (!key.own, key.state != "live"));
    let all = caller.could(Action::Admin, &Object::gateway(Part::People));
    page::show(&Page { chrome: &viewer.chrome, keys, all })
}

/// What the script gives to the browser, to make a passkey with.
pub(super) async fn begin(State(shared): State<Shared>, order: Order) -> Answer {
    for_script(api::begin(State(shared), order.viewer.caller).await)
}

pub(super) async fn make(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let made = Made {
        client_data: form.get("client_data").unwrap_or_default(),
        attestation: form.get("attestation").unwrap_or_default(),
    };
    done(&chrome, api::enroll(State(shared), caller, Body(made)).await)
}

pub(super) async fn revoke(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let why = Why { reason: form.get("reason").unwrap_or_default() };
    done(&chrome, api::revoke(State(shared), caller, Path(id), Body(why)).await)
}

/// What the script gives to the browser, to sign an approval with.
pub(super) async fn challenge(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(id): Path<String>,
    within: Result<Query<Within>, Problem>,
) -> Answer {
    match within {
        Ok(within) => for_script(api::challenge(State(shared), viewer.caller, Path(id), within).await),
        Err(problem) => problem.into_response(),
    }
}

/// The signature in a form, if the script has put one there.
pub(super) fn signature(form: &Form) -> Option<Answered> {
    Some(Answered {
        credential: form.get("credential")?,
        client_data: form.get("client_data").unwrap_or_default(),
        authenticator_data: form.get("authenticator_data").unwrap_or_default(),
        signature: form.get("signature").unwrap_or_default(),
    })
}

fn for_script<T: serde::Serialize>(answer: Result<Json<T>, Problem>) -> Response {
    let mut response = answer.into_response();
    page::protect(response.headers_mut());
    response
}

fn done<T>(chrome: &Chrome, done: Result<T, Problem>) -> Answer {
    match done {
        Ok(_) => page::see_other("/console/passkeys"),
        Err(problem) => page::refuse(chrome, &problem),
    }
}
