//! Erasing a person: ending what they have, destroying the key that seals their name, and saying so in the ledger.
//!
//! The order leaves nothing half told. That somebody ordered it is recorded first (`admin.called`, durable); then all
//! that the person has is ended, each by a record which can still name them; when their sessions have written their last
//! words the key is destroyed, and `personal.erased` names the key and not the person. Broken off before the key is
//! destroyed, the order is given again. Broken off after it, the record is made up for by the next order, or at the next start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sallyport_audit::KeyId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Action, Object, Part, Reason, Subject};
use crate::edge::Correlation;

/// How long the person's sessions may take to let go and be recorded; the broker gives each ten seconds, twice.
const SESSIONS_END: Duration = Duration::from_secs(25);

/// The data keys of people.
pub trait DataKeys: Send + Sync {
    /// Destroys a person's key for good, and tells which it was; `None` if they have none. Blocks.
    fn erase(&self, person: &Subject) -> Result<Option<KeyId>, String>;
    /// Whether a person of this name has one. Makes none.
    fn has(&self, person: &str) -> bool;
}

/// What may stand against an erasure.
pub trait Holds: Send + Sync {
    /// Why this person's values must be kept for now; `None` if nothing holds them. Blocks.
    fn over(&self, person: &Subject) -> Option<String>;
}

/// Erasures whose key is gone and whose record the ledger has not taken yet.
#[derive(Default)]
pub struct Untold(Mutex<Vec<(Subject, KeyId)>>);

impl Untold {
    fn list(&self) -> Vec<(Subject, KeyId)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, person: Subject, key: KeyId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((person, key));
    }

    fn told(&self, key: KeyId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, other)| *other != key);
    }
}

/// Whom to erase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Erase {
    #[schema(example = "user:bob")]
    who: String,
    /// The same again: what is erased never comes back.
    confirm: String,
    /// Why; it is recorded, and names nobody.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// What was destroyed.
#[derive(Serialize, ToSchema)]
pub(super) struct Erased {
    /// The key that sealed the person's values.
    key: String,
    /// `erased`.
    state: &'static str,
}

/// Erase a person: end what they have, and destroy the key that seals their name
#[utoipa::path(post, path = "/api/v1/subjects/erase", tag = "subjects", operation_id = "erase", request_body = Erase,
    responses((status = 200, description = "It never comes back", body = Erased)))]
pub(super) async fn erase(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Erase>,
) -> Result<Json<Erased>, Problem> {
    let person: Subject = caller.parse(&body.who)?;
    let reason: Reason = caller.parse(&body.reason)?;
    if body.confirm != body.who {
        return Err(Problem::new(
            &caller.correlation,
            StatusCode::UNPROCESSABLE_ENTITY,
            "not-confirmed",
            "`confirm` does not repeat the name",
            "give the same name twice: what is erased never comes back",
        ));
    }
    caller.may(Action::Erase, &Object::gateway(Part::People)).await?;
    let (holds, whose) = (shared.holds.clone(), person.clone());
    let held = tokio::task::spawn_blocking(move || holds.over(&whose)).await;
    if let Some(why) = held.map_err(|error| broken_off(&caller.correlation, &error))? {
        return Err(Problem::new(
            &caller.correlation,
            StatusCode::CONFLICT,
            "erasure-held",
            format!("the values of this person must be kept for now: {why}"),
            "erase them when the hold is released: `sallyportd retention list` names the holds",
        ));
    }
    // A person who gave the order and went away gave it all the same.
    let correlation = caller.correlation.clone();
    let work = tokio::spawn(carry_out(shared, caller, person, reason));
    work.await.unwrap_or_else(|error| Err(broken_off(&correlation, &error)))
}

fn broken_off(correlation: &Correlation, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        correlation,
        StatusCode::INTERNAL_SERVER_ERROR,
        "erasure-failed",
        format!("the erasure was broken off: {error}"),
        "give the order again",
    )
}

async fn carry_out(
    shared: Shared,
    caller: Caller,
    person: Subject,
    reason: Reason,
) -> Result<Json<Erased>, Problem> {
    let _turn = shared.erasing.lock().await;
    tell_the_untold(&shared, &caller, &reason).await?;
    let refused = |error| caller.refused(&error);
    shared.access.end_all_of(&caller.identity, person.clone(), reason.clone()).await.map_err(refused)?;
    if !shared.broker.ended(person.as_str(), SESSIONS_END).await {
        return Err(Problem::new(
            &caller.correlation,
            StatusCode::CONFLICT,
            "sessions-open",
            "sessions of this person have not ended yet, so nothing was erased",
            "end them with `sallyport sessions kill`, then give the order again",
        ));
    }
    let (keys, owner) = (shared.data_keys.clone(), person.clone());
    let erased = tokio::task::spawn_blocking(move || keys.erase(&owner)).await;
    let failed = |why: String| {
        Problem::new(
            &caller.correlation,
            StatusCode::SERVICE_UNAVAILABLE,
            "erasure-failed",
            format!("the data key could not be destroyed: {why}"),
            "see to the disk of the ledger's directory, then give the order again",
        )
    };
    let erased = erased.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    let Some(key) = erased else {
        return Err(Problem::new(
            &caller.correlation,
            StatusCode::NOT_FOUND,
            "nothing-kept",
            "no personal values are kept of this person",
            "check how the name is written; it may have been erased before",
        ));
    };
    shared.untold.add(person, key);
    tell_the_untold(&shared, &caller, &reason).await?;
    Ok(Json(Erased { key: key.to_string(), state: "erased" }))
}

/// Records the erasures whose key is gone.
async fn tell_the_untold(shared: &Shared, caller: &Caller, reason: &Reason) -> Result<(), Problem> {
    for (person, key) in shared.untold.list() {
        let told = shared.access.forget(&caller.identity, person, key, Some(reason.clone())).await;
        told.map_err(|error| caller.refused(&error))?;
        shared.untold.told(key);
    }
    Ok(())
}
