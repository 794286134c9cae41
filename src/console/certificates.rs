//! Client certificates that were revoked here. Issuing them is not done here: whoever runs the authority does.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::revoking::Done;
use super::sessions::{Paging, Why};
use crate::access::CertificateId;

/// A client certificate that was revoked.
#[derive(Serialize, ToSchema)]
pub(super) struct RevokedCertificate {
    #[schema(value_type = String)]
    id: CertificateId,
    #[schema(value_type = String, format = DateTime)]
    revoked: Timestamp,
}

/// Client certificates that were revoked here
///
/// Empty for whoever may not `admin` `gateway:tokens`.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "certificates", operation_id = "list_certificates", params(Paging),
    responses((status = 200, description = "A page of them", body = List<RevokedCertificate>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<RevokedCertificate>>, Problem> {
    let page = paging.page(&caller)?;
    let revoked = shared.access.revoked_certificates(&caller.identity);
    Ok(Json(page.of(revoked, |(id, _)| id.to_string(), |(id, revoked)| RevokedCertificate { id, revoked })))
}

/// Refuse a client certificate from now on
#[utoipa::path(post, path = "/api/v1/certificates/{id}/revoke", tag = "certificates", operation_id = "revoke_certificate",
    params(("id" = String, Path, description = "SHA-256 of the certificate, as lists show it")), request_body = Why,
    responses((status = 200, description = "It is refused", body = Done)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Done>, Problem> {
    let id: CertificateId =
        text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "certificate", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    let tenant = caller.identity.tenant().clone();
    shared
        .access
        .revoke_certificate(&caller.identity, id, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    let done = Done { id: text, state: "revoked" };
    caller.changed("revoke_certificate", None, &done).await;
    Ok(Json(done))
}
