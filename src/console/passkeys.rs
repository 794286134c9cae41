//! Passkeys of approvers: making one, in two steps with the browser between, listing and revoking them; and what one is to sign.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use sallyport_audit::approval::{self, ApproverId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::revoking::{Done, revoked};
use super::sessions::{Paging, Why};
use crate::access::passkey::{MOST_CREDENTIAL, from_text, to_text};
use crate::access::registration::{MOST_ATTESTATION, registered};
use crate::access::{Limits, Passkey, PasskeyId, RequestId, Signed, Site, Subject};
use crate::clock;

/// How long a browser may take to make a passkey.
const PATIENCE: Duration = Duration::from_mins(5);
/// Most makings under way at a time; each takes some hundred bytes.
const MOST: usize = 10_000;

/// What was given to a browser to make a passkey with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Making {
    until: Instant,
    challenge: [u8; 32],
    approver: ApproverId,
}

/// Makings under way, one for each person, each good once.
#[derive(Default)]
pub struct Makings(Mutex<HashMap<String, Making>>);

impl Makings {
    /// A new one in the place of the person's last one; `None` if there are too many, or no randomness.
    fn begin(&self, person: &str, approver: Option<ApproverId>, now: Instant) -> Option<Making> {
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge).ok()?;
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).ok()?;
        let approver = approver.unwrap_or_else(|| ApproverId::new(fresh));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, making| now < making.until);
        }
        if all.len() >= MOST && !all.contains_key(person) {
            return None;
        }
        let making = Making { until: now + PATIENCE, challenge, approver };
        all.insert(person.to_owned(), making);
        Some(making)
    }

    fn take(&self, person: &str, now: Instant) -> Option<Making> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(person);
        taken.filter(|making| now < making.until)
    }
}

/// A passkey that was enrolled.
#[derive(Serialize, ToSchema)]
#[schema(as = Passkey)]
pub(super) struct Shown {
    #[schema(value_type = String)]
    pub(super) id: PasskeyId,
    /// `live` or `revoked`.
    pub(super) state: &'static str,
    /// Whose approvals it signs.
    #[schema(value_type = String)]
    pub(super) subject: Subject,
    /// What the browser calls it, base64url.
    credential: String,
    /// `ES256` or `EdDSA`.
    pub(super) algorithm: &'static str,
    /// For which site it was made.
    rp_id: String,
    /// On which page.
    origin: String,
    /// How often it has signed, as it says; 0 if it doesn't count.
    counter: u32,
    #[schema(value_type = String, format = DateTime)]
    pub(super) enrolled: Timestamp,
}

/// What the browser's `navigator.credentials.create` gave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    /// `response.clientDataJSON`, base64url.
    #[schema(max_length = 4096)]
    pub(super) client_data: String,
    /// `response.attestationObject`, base64url.
    #[schema(max_length = 21848)]
    pub(super) attestation: String,
}

/// What the browser's `navigator.credentials.create` is to be given (`PublicKeyCredentialCreationOptionsJSON`).
#[derive(Serialize, ToSchema)]
pub(super) struct ToMake {
    #[serde(rename = "publicKey")]
    public_key: ToMakeKey,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ToMakeKey {
    rp: RelyingParty,
    user: User,
    challenge: String,
    pub_key_cred_params: [Parameter; 2],
    authenticator_selection: Selection,
    exclude_credentials: Vec<Credential>,
    attestation: &'static str,
    timeout: u32,
}

#[derive(Serialize, ToSchema)]
struct RelyingParty {
    id: String,
    name: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    #[schema(value_type = String)]
    name: Subject,
    #[schema(value_type = String)]
    display_name: Subject,
}

#[derive(Serialize, ToSchema)]
struct Parameter {
    #[serde(rename = "type")]
    kind: &'static str,
    alg: i32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Selection {
    user_verification: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Credential {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
}

/// What the browser's `navigator.credentials.get` is to be given (`PublicKeyCredentialRequestOptionsJSON`).
#[derive(Serialize, ToSchema)]
pub(super) struct ToSign {
    #[serde(rename = "publicKey")]
    public_key: ToSignKey,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ToSignKey {
    rp_id: String,
    challenge: String,
    allow_credentials: Vec<Credential>,
    user_verification: &'static str,
    timeout: u32,
}

/// Within which limits an approval is to be signed: the same as in the approval itself.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Within {
    /// For how long.
    #[param(minimum = 1)]
    pub(super) minutes: Option<u32>,
    /// Names of conditions, in order, divided by commas.
    pub(super) conditions: Option<String>,
    /// For one session and no other.
    #[serde(default)]
    pub(super) once: bool,
}

/// How long the browser waits for the person.
const TIMEOUT_MS: u32 = 300_000;

const PUBLIC_KEY: &str = "public-key";
const REQUIRED: &str = "required";

/// Begin making a passkey of your own: what the browser is to be given
#[utoipa::path(post, path = "/api/v1/passkeys/begin", tag = "passkeys", operation_id = "begin_passkey",
    responses((status = 200, description = "For `navigator.credentials.create`; good for five minutes", body = ToMake)))]
pub(super) async fn begin(State(shared): State<Shared>, caller: Caller) -> Result<Json<ToMake>, Problem> {
    let subject = caller.identity.subject();
    let approver = shared.access.approver_id(&caller.identity);
    let Some(making) = shared.makings.begin(subject.as_str(), approver, clock::monotonic()) else {
        return Err(Problem::new(
            &caller.correlation,
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-makings",
            "too many passkeys are being made at this moment",
            "try again in some minutes",
        ));
    };
    Ok(Json(ToMake {
        public_key: ToMakeKey {
            rp: RelyingParty { id: shared.site.rp_id.clone(), name: "Sallyport" },
            user: User { id: making.approver.text(), name: subject.clone(), display_name: subject.clone() },
            challenge: to_text(&making.challenge),
            // ES256 and EdDSA, as COSE numbers them.
            pub_key_cred_params: [-7, -8].map(|alg| Parameter { kind: PUBLIC_KEY, alg }),
            authenticator_selection: Selection { user_verification: REQUIRED },
            exclude_credentials: credentials(&shared, &caller),
            attestation: "none",
            timeout: TIMEOUT_MS,
        },
    }))
}

/// The caller's own passkeys that stand.
fn credentials(shared: &Shared, caller: &Caller) -> Vec<Credential> {
    let all = shared.access.passkeys(&caller.identity);
    let own = all.iter().filter(|key| key.subject == *caller.identity.subject() && key.revoked.is_none());
    own.map(|key| Credential { kind: PUBLIC_KEY, id: to_text(&key.credential) }).collect()
}

/// Enroll the passkey that the browser has made
#[utoipa::path(post, path = "/api/v1/passkeys", tag = "passkeys", operation_id = "enroll_passkey",
    request_body = Made, responses((status = 201, description = "It is enrolled", body = Shown)))]
pub(super) async fn enroll(
    State(shared): State<Shared>,
    caller: Caller,
    Body(made): Body<Made>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let unusable = |detail: String| {
        let hint = "begin again with POST /api/v1/passkeys/begin, on the gateway's own page";
        Problem::new(&caller.correlation, StatusCode::UNPROCESSABLE_ENTITY, "passkey-unusable", detail, hint)
    };
    let making = shared.makings.take(caller.identity.subject().as_str(), clock::monotonic());
    let making = making
        .ok_or_else(|| unusable("no passkey of yours is being made, or its time is over".to_owned()))?;
    let read = |text: &str| {
        from_text(text, MOST_ATTESTATION).ok_or_else(|| unusable("it isn't base64url".to_owned()))
    };
    let (client_data, attestation) = (read(&made.client_data)?, read(&made.attestation)?);
    let new = registered(&shared.site, making.approver, &making.challenge, &client_data, &attestation)
        .map_err(|why| unusable(format!("the passkey isn't taken: {why}")))?;
    let id =
        shared.access.enroll_passkey(&caller.identity, new).await.map_err(|error| caller.refused(&error))?;
    let shown = find(&shared, &caller, id)
        .ok_or_else(|| Problem::bad_id(&caller.correlation, "passkey that stands", &id.to_string()))?;
    caller.changed("enroll_passkey", None, &shown).await;
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Passkeys that approvals are signed with: your own, or all for whoever may `admin` `gateway:people`
#[utoipa::path(get, path = "/api/v1/passkeys", tag = "passkeys", operation_id = "list_passkeys", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = paging.page(&caller)?;
    caller.reads("list_passkeys", None).await?;
    let passkeys = shared.access.passkeys(&caller.identity);
    Ok(Json(page.of(passkeys, |passkey| passkey.id.to_string(), |passkey| shown(&passkey))))
}

fn find(shared: &Shared, caller: &Caller, id: PasskeyId) -> Option<Shown> {
    shared.access.passkeys(&caller.identity).iter().find(|passkey| passkey.id == id).map(shown)
}

fn shown(passkey: &Passkey) -> Shown {
    Shown {
        id: passkey.id,
        state: if passkey.revoked.is_some() { "revoked" } else { "live" },
        subject: passkey.subject.clone(),
        credential: to_text(&passkey.credential),
        algorithm: passkey.key.algorithm(),
        rp_id: passkey.site.rp_id.clone(),
        origin: passkey.site.origin.clone(),
        counter: passkey.counter,
        enrolled: passkey.enrolled,
    }
}

/// Have a passkey sign no more
#[utoipa::path(post, path = "/api/v1/passkeys/{id}/revoke", tag = "passkeys", operation_id = "revoke_passkey",
    params(("id" = String, Path, description = "passkey-…")), request_body = Why,
    responses((status = 200, description = "It is revoked", body = Done)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Done>, Problem> {
    let id: PasskeyId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "passkey", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    let order = shared.access.revoke_passkey(&caller.identity, id, reason);
    revoked(&caller, "revoke_passkey", text, || find(&shared, &caller, id), order).await
}

/// What your passkey is to sign, so that you agree to a request within these limits
#[utoipa::path(get, path = "/api/v1/requests/{id}/challenge", tag = "passkeys", operation_id = "approval_challenge",
    params(("id" = String, Path, description = "req-…"), Within),
    responses((status = 200, description = "For `navigator.credentials.get`", body = ToSign)))]
pub(super) async fn challenge(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Query(within): Query<Within>,
) -> Result<Json<ToSign>, Problem> {
    let id: RequestId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "request", &text))?;
    let names = within.conditions.as_deref().unwrap_or_default();
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let conditions = names.map(|name| caller.parse(name)).collect::<Result<_, _>>()?;
    let limits = Limits { minutes: within.minutes, conditions, once: within.once };
    if shared.access.find_request(&caller.identity, id).is_none() {
        return Err(Problem::bad_id(&caller.correlation, "request that you may see", &text));
    }
    let allow_credentials = credentials(&shared, &caller);
    let challenge = shared.access.approval_challenge(&caller.identity, id, &limits);
    let Some(challenge) = challenge.filter(|_| !allow_credentials.is_empty()) else {
        return Err(Problem::new(
            &caller.correlation,
            StatusCode::NOT_FOUND,
            "no-passkey",
            "you have no passkey that stands, so there is nothing to sign with",
            "make one on the page Passkeys of the console",
        ));
    };
    Ok(Json(ToSign {
        public_key: ToSignKey {
            rp_id: shared.site.rp_id.clone(),
            challenge: to_text(&challenge),
            allow_credentials,
            user_verification: REQUIRED,
            timeout: TIMEOUT_MS,
        },
    }))
}

/// An approver's signature: what the browser's `navigator.credentials.get` gave, each in base64url.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Signature)]
pub(super) struct Answered {
    /// `rawId`
    #[schema(max_length = 1364)]
    pub(super) credential: String,
    /// `response.clientDataJSON`
    #[schema(max_length = 2731)]
    pub(super) client_data: String,
    /// `response.authenticatorData`
    #[schema(max_length = 1366)]
    pub(super) authenticator_data: String,
    /// `response.signature`
    #[schema(max_length = 171)]
    pub(super) signature: String,
}

impl Answered {
    pub(super) fn read(&self, shared: &Shared, caller: &Caller) -> Result<Signed, Problem> {
        let unusable = |what: &str| {
            Problem::new(
                &caller.correlation,
                StatusCode::UNPROCESSABLE_ENTITY,
                "signature-unusable",
                format!("the signature's {what} can't be used"),
                "send what the browser gave, each part in base64url; `sallyport passkeys list` shows your passkeys",
            )
        };
        let read = |text: &str, most: usize, what: &str| from_text(text, most).ok_or_else(|| unusable(what));
        let credential = read(&self.credential, MOST_CREDENTIAL, "credential")?;
        let passkey = shared.access.passkey_of(&caller.identity, &credential);
        let data = read(&self.authenticator_data, approval::MOST_AUTHENTICATOR_DATA, "authenticator data")?;
        Ok(Signed {
            passkey: passkey.ok_or_else(|| unusable("credential"))?,
            client_data: read(&self.client_data, approval::MOST_CLIENT_DATA, "client data")?,
            authenticator_data: data,
            signature: read(&self.signature, approval::MOST_SIGNATURE, "signature")?,
        })
    }
}

/// The site of a gateway at this domain; `port` as it stands in addresses, with its colon, or empty.
pub fn site(domain: &str, port: &str) -> Site {
    Site { rp_id: domain.to_owned(), origin: format!("https://{domain}{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_making_is_good_once_for_one_person_and_a_short_time() {
        let makings = Makings::default();
        let now = clock::monotonic();
        let first = makings.begin("user:a", None, now).unwrap();
        let second = makings.begin("user:a", Some(first.approver), now).unwrap();
        assert_ne!(first.challenge, second.challenge);
        assert_eq!(first.approver, second.approver);
        assert_eq!(makings.take("user:b", now), None);
        assert_eq!(makings.take("user:a", now), Some(second));
        assert_eq!(makings.take("user:a", now), None);
        makings.begin("user:a", None, now).unwrap();
        assert_eq!(makings.take("user:a", now + PATIENCE), None);
    }
}
