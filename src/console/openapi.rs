//! What the API says of itself: `OpenAPI` 3.1, made of the handlers' own declarations.
//!
//! A route and its description are one thing here (`routes!`), so no call is left out. What all calls have in common (how to
//! prove who you are, problem documents, the headers that tell of limits) is added in one place. The document tells nothing of
//! the gateway that serves it, and is for everybody.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response as Answer};
use bytes::Bytes;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{
    Components, Content, Info, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Required, Response,
    ResponseBuilder,
};

/// Grows with the API: the second number with what is added, the first with what breaks a client.
pub const VERSION: &str = "1.0.0";

const PROBLEM: &str = "Problem";
const PROBLEM_JSON: &str = "application/problem+json";

const KEY_PARAMETER: &str = "#/components/parameters/IdempotencyKey";

const REFUSALS: &[(u16, &str)] = &[
    (400, "The path, the query, the body or `Idempotency-Key` cannot be read"),
    (401, "Nobody, or nobody who is known"),
    (403, "Policy says no"),
    (404, "There is no such thing, or it is not yours to see"),
    (409, "It is not in a state for this, or the key was used before"),
    (413, "The body is too long"),
    (415, "The body does not say that it is `application/json`"),
    (422, "A value that cannot be meant, or the key stands for another order"),
    (429, "Too many calls; `Retry-After` says how long to wait"),
    (500, "The ledger cannot be read"),
    (503, "What is not recorded is not done: the ledger or the key provider is away"),
];

const HEADERS: &[(&str, Type, &str)] = &[
    ("sallyport-reference", Type::String, "The id under which records and the log speak of the call"),
    ("ratelimit-policy", Type::String, "How many calls there are in a window, if they are counted"),
    ("ratelimit", Type::String, "How many are left, if they are counted"),
    ("retry-after", Type::Integer, "Seconds to wait"),
    (
        "idempotency-replayed",
        Type::String,
        "`true` if this is the answer to an earlier call with the same key",
    ),
];

const ABOUT: &str = "What the command line and the web pages work with. Every call names a person and passes policy; \
    whatever changes something is recorded, whether it was carried out or refused. Errors are problem documents (RFC 9457) with \
    a stable `code`, a sentence and a hint. Lists come in pages: give `next` back as `cursor`.";

const TAGS: &[(&str, &str)] = &[
    ("requests", "Asking for leave, and deciding on it"),
    ("grants", "Leave that was given"),
    ("glass", "Going in without an approval, and reviewing that somebody did"),
    ("sessions", "Open sessions"),
    ("tunnels", "Published services"),
    ("shares", "Roles on one tunnel, given to people"),
    ("reviews", "Reviews of what everybody holds"),
    ("tokens", "Tokens of the gateway"),
    ("devices", "Enrolled devices"),
    ("passkeys", "What approvers sign with"),
    ("certificates", "Client certificates that were revoked"),
    ("locks", "Who and what may not"),
    ("policy", "The policy in force, and its changes"),
    ("keys", "The gateway's keys"),
    ("ledger", "Records"),
    ("reports", "Evidence packs that the gateway makes"),
    ("retention", "How long records stay"),
    ("subjects", "Erasing people"),
    ("status", "How the gateway is, and who you are to it"),
    ("public", "What needs no token"),
];

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    // Nothing in it can fail to be written; a broken one would fail the test that keeps `docs/openapi.json`.
    document().to_json().map(Bytes::from).unwrap_or_default()
});

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "public", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn serve() -> Answer {
    let mut answer = DOCUMENT.clone().into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    answer
}

/// The description of the API.
pub fn document() -> OpenApi {
    complete(super::described().into_openapi())
}

/// Adds what all calls have in common.
fn complete(mut document: OpenApi) -> OpenApi {
    document.info = info();
    document.tags = Some(TAGS.iter().map(|(name, about)| tag(name, about)).collect());
    document.security = Some(vec![
        SecurityRequirement::new("token", Vec::<String>::new()),
        SecurityRequirement::new("certificate", Vec::<String>::new()),
    ]);
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme("token", token());
    components.add_security_scheme("certificate", certificate());
    components.schemas.insert(PROBLEM.to_owned(), problem().into());
    components.responses.extend(refusals());
    components.headers.extend(headers());
    components.parameters.insert("IdempotencyKey".to_owned(), idempotency_key().into());
    for item in document.paths.paths.values_mut() {
        let PathItem { get, post, .. } = item;
        if let Some(call) = get {
            complete_call(call, false);
        }
        if let Some(call) = post {
            complete_call(call, true);
        }
    }
    document
}

fn complete_call(call: &mut Operation, changes: bool) {
    let has = |place: &ParameterIn| {
        let parameters = call.parameters.iter().flatten();
        let mut known = parameters.filter_map(|one| match one {
            RefOr::T(parameter) => Some(&parameter.parameter_in),
            RefOr::Ref(_) => None,
        });
        known.any(|found| found == place)
    };
    // Whoever calls is somebody, unless the call says otherwise.
    let known = call.security.is_none();
    let mut refusals: Vec<u16> = Vec::new();
    if known {
        refusals.extend([401, 403, 429, 500, 503]);
    }
    if has(&ParameterIn::Path) {
        refusals.extend([400, 404]);
    }
    if has(&ParameterIn::Query) {
        refusals.extend([400, 422]);
    }
    if call.request_body.is_some() {
        refusals.extend([400, 404, 413, 415, 422]);
    }
    if changes {
        refusals.extend([400, 409, 413, 422]);
        call.parameters.get_or_insert_default().push(RefOr::Ref(Ref::new(KEY_PARAMETER)));
    }
    for answer in call.responses.responses.values_mut() {
        if let RefOr::T(answer) = answer {
            complete_answer(answer, known, changes);
        }
    }
    for status in refusals {
        let refusal = Ref::from_response_name(refusal_name(status));
        call.responses.responses.entry(status.to_string()).or_insert_with(|| refusal.into());
    }
}

fn complete_answer(answer: &mut Response, known: bool, changes: bool) {
    if answer.content.is_empty() {
        answer
            .content
            .insert(PROBLEM_JSON.to_owned(), Content::new(Some(Ref::from_schema_name(PROBLEM))).into());
    }
    let mut names = vec!["sallyport-reference"];
    if known {
        names.extend(["ratelimit-policy", "ratelimit"]);
    }
    if changes {
        names.push("idempotency-replayed");
    }
    for name in names {
        answer.headers.insert(name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))));
    }
}

fn refusal_name(status: u16) -> String {
    format!("Refused{status}")
}

/// The answers that many calls have in common.
fn refusals() -> impl Iterator<Item = (String, RefOr<Response>)> {
    REFUSALS.iter().map(|(status, about)| {
        let mut answer = ResponseBuilder::new().description(*about).build();
        complete_answer(&mut answer, true, matches!(status, 400 | 404 | 409 | 422));
        if matches!(status, 429 | 503) {
            answer
                .headers
                .insert("retry-after".to_owned(), RefOr::Ref(Ref::new("#/components/headers/retry-after")));
        }
        (refusal_name(*status), answer.into())
    })
}

fn headers() -> impl Iterator<Item = (String, RefOr<Header>)> {
    HEADERS.iter().map(|(name, kind, about)| {
        let mut header = Header::new(Object::with_type(kind.clone()));
        header.description = Some((*about).to_owned());
        ((*name).to_owned(), header.into())
    })
}

fn idempotency_key() -> Parameter {
    let about =
        "A key of your own making, such as a UUID: the same order under the same key is carried out once";
    let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(key.pattern(Some("^[!#-\\[\\]-~]{1,128}$"))))
        .build()
}

fn info() -> Info {
    let license =
        LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    InfoBuilder::new()
        .title("Sallyport's admin API")
        .version(VERSION)
        .description(Some(ABOUT))
        .license(Some(license))
        .build()
}

fn tag(name: &str, about: &str) -> Tag {
    TagBuilder::new().name(name).description(Some(about)).build()
}

fn token() -> SecurityScheme {
    let about = "A token of the gateway, of an issuer that it trusts, or what its controller vouches for";
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build())
}

fn certificate() -> SecurityScheme {
    let description = Some("A client certificate of an authority that the gateway trusts".to_owned());
    SecurityScheme::MutualTls { description, deprecated: None, extensions: None }
}

fn problem() -> Schema {
    let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
    let status = ObjectBuilder::new().schema_type(Type::Integer).description(Some("The HTTP status"));
    let parts = [
        ("type", text("`urn:sallyport:error:` and the code")),
        ("title", text("The status in words")),
        ("status", status),
        ("code", text("Stable; docs/errors.md lists all")),
        ("detail", text("What failed, on what")),
        ("hint", text("What to do next")),
        ("correlation", text("The id under which records and the log speak of the call")),
    ];
    let problem = ObjectBuilder::new().description(Some("Why the answer is no (RFC 9457)"));
    let problem =
        parts.into_iter().fold(problem, |problem, (name, part)| problem.property(name, part).required(name));
    Schema::Object(problem.build())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_document_in_docs_is_what_the_code_says() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let said = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("SALLYPORT_WRITE_DOCS").is_some() {
            std::fs::write(&file, &said).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            written == said,
            "docs/openapi.json is not what the code says: SALLYPORT_WRITE_DOCS=1 cargo test -p sallyport --all-features --lib openapi"
        );
    }

    #[test]
    fn no_route_is_left_out_of_the_document() {
        // Whatever is registered otherwise than by `routes!` is not described: there is nothing of the kind.
        let source = include_str!("mod.rs");
        assert!(!source.contains(".route(") && !source.contains(".nest("), "use `.routes(routes!(…))`");
    }

    #[test]
    fn every_call_says_what_it_is_how_it_is_refused_and_in_which_chapter_it_stands() {
        let document = document();
        let mut ids = std::collections::BTreeSet::new();
        let mut calls = 0;
        for (path, item) in &document.paths.paths {
            for call in [&item.get, &item.post].into_iter().flatten() {
                calls += 1;
                assert!(
                    call.summary.as_ref().is_some_and(|words| !words.is_empty()),
                    "{path} has no summary"
                );
                assert!(ids.insert(call.operation_id.clone().unwrap()), "{path} has another's id");
                let chapter = call.tags.iter().flatten().next().unwrap();
                assert!(
                    TAGS.iter().any(|(name, _)| name == chapter),
                    "{path}: there is no chapter {chapter}"
                );
                let answers = &call.responses.responses;
                assert!(answers.keys().any(|status| status.starts_with('2')), "{path} has no good answer");
                let open = call.security.is_some();
                assert_eq!(answers.contains_key("401"), !open, "{path}");
                assert!(!open || item.post.is_none(), "{path}: who changes something is somebody");
            }
            assert!(item.put.is_none() && item.delete.is_none() && item.patch.is_none(), "{path}");
        }
        assert!(calls > 50, "only {calls} calls");
    }
}
