//! Opening one personal value of one record for somebody: recorded before it is shown.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sallyport_audit::disclosure::Disclosure;
use sallyport_audit::journal::Files;
use sallyport_audit::proof::Proof;
use sallyport_audit::snapshot::Snapshot;
use sallyport_audit::{Draft, Kind, Outcome, Personal, Seq, Value as Known};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Path};
use crate::access::{Action, Object, Part, Reason};

/// Which value is opened, for whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disclose {
    /// `agent`, `path`, `reason`, `source`, `subject` or `target`.
    field: String,
    /// For whom it is opened.
    #[schema(min_length = 1, max_length = 500)]
    to: String,
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// One value with what proves it.
#[derive(Serialize, ToSchema)]
pub(super) struct Disclosed {
    /// The file that `auditctl check-disclosure` reads.
    disclosure: String,
}

/// Open one personal value of one record for somebody
#[utoipa::path(post, path = "/api/v1/records/{seq}/disclose", tag = "ledger", operation_id = "disclose",
    params(("seq" = String, Path, description = "Sequence number of the record")), request_body = Disclose,
    responses(
        (status = 200, description = "The value, and the proof of its record", body = Disclosed),
        (status = 410, description = "The value was erased"),
    ))]
pub(super) async fn disclose(
    State(shared): State<Shared>,
    caller: Caller,
    Path(number): Path<String>,
    Body(body): Body<Disclose>,
) -> Result<Json<Disclosed>, Problem> {
    let unknown = || Problem::bad_id(&caller.correlation, "record", &number);
    let seq = Seq::new(number.parse().map_err(|_| unknown())?);
    let field = Personal::parse(&body.field)
        .ok_or_else(|| caller.unusable(&"the field is not agent, path, reason, source, subject or target"))?;
    let reason: Reason = caller.parse(&body.reason)?;
    // One bounded line, like a reason: it stands in a record.
    let to: Reason = caller.parse(&body.to)?;
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let _seat = caller.seat(&shared.readers)?;

    let failed = |why: &dyn std::fmt::Display| unreadable(&caller, seq, why);
    let reader = shared.ledger.reader();
    let entry = {
        let reader = reader.clone();
        tokio::task::spawn_blocking(move || reader.get(seq)).await
    };
    let entry =
        entry.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?.ok_or_else(unknown)?;
    let refused =
        |status, code, what: String, hint: &str| Problem::new(&caller.correlation, status, code, what, hint);
    let (text, salt) = match entry.personal.get(field) {
        Some(Known::Readable { text, salt }) => (text.clone(), *salt),
        Some(Known::Erased { .. }) => {
            let what = format!("the {field} of record {seq} was erased");
            return Err(refused(StatusCode::GONE, "erased", what, "it never comes back"));
        }
        Some(Known::Unreadable { why }) => {
            let what = format!("the {field} of record {seq} cannot be opened: {why}");
            let hint = "see to the key provider and the data keys in the ledger's directory";
            return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "value-unreadable", what, hint));
        }
        None => {
            let what = format!("record {seq} has no {field}");
            return Err(refused(
                StatusCode::NOT_FOUND,
                "no-such-field",
                what,
                "`auditctl show` lists its fields",
            ));
        }
    };
    let proof = prove(&shared, &caller, seq).await?;
    let draft = Draft::new(Kind::PersonalDisclosed, Outcome::Success)
        .subject(caller.identity.subject().as_str())
        .target(to.as_str())
        .reason(reason.as_str())
        .correlation(caller.correlation.0.as_str())
        .detail("record", seq.get())
        .detail("field", field.as_str());
    // What is not recorded is not shown.
    shared.ledger.append(draft).await.map_err(|error| {
        Problem::new(
            &caller.correlation,
            StatusCode::SERVICE_UNAVAILABLE,
            "ledger-down",
            format!("the disclosure could not be recorded: {error}"),
            error.hint(),
        )
    })?;
    // Erased meanwhile: shown to nobody from then on.
    let entry = tokio::task::spawn_blocking(move || reader.get(seq)).await;
    let entry =
        entry.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?.ok_or_else(unknown)?;
    if let Some(Known::Erased { .. }) = entry.personal.get(field) {
        let what = format!("the {field} of record {seq} was erased");
        return Err(refused(StatusCode::GONE, "erased", what, "it never comes back"));
    }
    let disclosure = Disclosure { seq, field, value: text, salt, proof };
    Ok(Json(Disclosed { disclosure: disclosure.to_json() }))
}

/// The proof of one record under the latest head.
pub(super) async fn prove(shared: &Shared, caller: &Caller, seq: Seq) -> Result<Proof, Problem> {
    let directory = shared.ledger_directory.clone();
    let proof = tokio::task::spawn_blocking(move || {
        let snapshot = Snapshot::latest(Files::new(directory))?;
        let (record, path) = snapshot.prove(seq)?;
        Ok::<_, sallyport_audit::snapshot::SnapshotError>(Proof {
            record: Some(record),
            index: seq,
            path,
            note: snapshot.note().to_owned(),
        })
    });
    let failed = |why: &dyn std::fmt::Display| unreadable(caller, seq, why);
    proof.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

pub(super) fn unreadable(caller: &Caller, seq: Seq, why: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        &caller.correlation,
        StatusCode::INTERNAL_SERVER_ERROR,
        "ledger-unreadable",
        format!("record {seq} cannot be shown: {why}"),
        "check the ledger with `auditctl verify`",
    )
}
