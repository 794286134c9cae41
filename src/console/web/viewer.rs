//! Who looks at a page, and whose form this is.
//!
//! [`Viewer`] is somebody with a session at the console; without one, a browser is sent to sign in and brought back.
//! [`Order`] is a form of theirs: it counts only if the browser says that it comes from the console's own origin (RFC 6454), and if it holds
//! the mark of this very session. Tunnels' apps live on hosts below the gateway's, which browsers call the same *site*, so
//! `SameSite` alone would let them give orders in an admin's name.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts as Head;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{assets, page};
use crate::access::{Action, AuthError, Object, Part};
use crate::clock;
use crate::console::Shared;
use crate::console::caller::Caller;
use crate::console::errors::Problem;
use crate::edge::{Correlation, console_session};

/// Somebody with a session at the console.
pub(super) struct Viewer {
    pub(super) caller: Caller,
    pub(super) chrome: Chrome,
}

/// What is around every page.
pub(super) struct Chrome {
    /// Who looks.
    pub(super) subject: String,
    /// Of which gateway.
    pub(super) domain: String,
    /// Stands in every form.
    pub(super) csrf: String,
    /// The pages that policy opens to them.
    pub(super) pages: Vec<Link>,
}

/// One of the pages.
pub(super) struct Link {
    pub(super) to: &'static str,
    pub(super) name: &'static str,
    /// The key that follows `g`.
    pub(super) key: char,
    pub(super) here: bool,
}

impl Chrome {
    fn new(caller: &Caller, shared: &Shared, session: &str, path: &str) -> Self {
        let may = |action, part| caller.could(action, &Object::gateway(part));
        let all = [
            ("/console/requests", "Requests", 'r', true),
            ("/console/grants", "Grants", 'g', true),
            ("/console/sessions", "Sessions", 's', may(Action::Read, Part::Sessions)),
            ("/console/ledger", "Ledger", 'l', may(Action::Audit, Part::Ledger)),
            ("/console/policy", "Policy", 'p', may(Action::Audit, Part::Policy)),
            ("/console/reviews", "Reviews", 'v', true),
            ("/console/passkeys", "Passkeys", 'k', true),
            ("/console/reports", "Reports", 'o', may(Action::Audit, Part::Ledger)),
            ("/console/health", "Health", 'h', may(Action::Read, Part::Ledger)),
        ];
        let link = |(to, name, key, shown): (&'static str, &'static str, char, bool)| {
            shown.then(|| Link { to, name, key, here: path.starts_with(to) })
        };
        Self {
            subject: caller.identity.subject().to_string(),
            domain: shared.domain.clone(),
            csrf: mark(session),
            pages: all.into_iter().filter_map(link).collect(),
        }
    }

    /// The address of a style, a script or a picture.
    #[expect(clippy::unused_self, reason = "templates reach it through what they are given")]
    pub(super) fn asset(&self, name: &str) -> String {
        assets::url(name)
    }
}

/// What marks the forms of one session. Whoever knows it cannot make the session of it.
fn mark(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update("sallyport-form:").chain_update(session).finalize())
}

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Head, shared: &Shared) -> Result<Self, Response> {
        let session = console_session(&head.headers).map(str::to_owned).ok_or_else(|| sign_in(head))?;
        // A session that has ended is no attempt at anything: its browser signs in again.
        if let Err(AuthError::Expired { .. } | AuthError::Revoked) =
            shared.access.authenticate_console(&session, None, clock::now())
        {
            return Err(sign_in(head));
        }
        match Caller::meet(head, shared, Some(&session)).await {
            Ok(caller) => {
                let chrome = Chrome::new(&caller, shared, &session, head.uri.path());
                Ok(Self { caller, chrome })
            }
            Err(problem) if problem.refusal.status == StatusCode::UNAUTHORIZED => Err(sign_in(head)),
            Err(problem) => Err(problem.refusal.respond(&head.headers, &problem.correlation)),
        }
    }
}

/// To the desk, and back to this page. A script, which cannot sign in, is told no.
fn sign_in(head: &Head) -> Response {
    if !page::wants_page(&head.headers) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer realm=\"sallyport\"")])
            .into_response();
    }
    let here = head.uri.path_and_query().filter(|_| head.method == Method::GET);
    let to = here.map_or("/console/", axum::http::uri::PathAndQuery::as_str);
    let query = serde_urlencoded::to_string([("to", to)]).unwrap_or_default();
    page::see_other(&format!("/console/sign-in?{query}"))
}

/// A form, and who sent it.
pub(super) struct Order {
    pub(super) viewer: Viewer,
    pub(super) form: Form,
}

/// What was filled in.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// A field, without the blanks around it; `None` if it was left empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// Every value of a field that can be chosen more than once.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let filled = |(known, value): &(String, String)| {
            let value = value.trim();
            (known == name && !value.is_empty()).then(|| value.to_owned())
        };
        self.0.iter().filter_map(filled).collect()
    }
}

impl FromRequest<Shared> for Order {
    type Rejection = Response;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Response> {
        let (mut head, body) = request.into_parts();
        let viewer = Viewer::from_request_parts(&mut head, shared).await?;
        let correlation = head.extensions.get::<Correlation>().cloned();
        let refuse = |status, code, detail: &str, hint: &str| {
            let correlation = correlation.clone().unwrap_or(Correlation(String::new()));
            page::refuse(&viewer.chrome, &Problem::new(&correlation, status, code, detail, hint))
        };
        let foreign = || {
            let hint = "open the console itself, look at what you are asked, and decide there";
            refuse(
                StatusCode::FORBIDDEN,
                "foreign-form",
                "this form was not sent from a page of this session",
                hint,
            )
        };
        if !is_from_here(&head) {
            return Err(foreign());
        }
        let unread = || {
            refuse(
                StatusCode::BAD_REQUEST,
                "bad-form",
                "the form could not be read",
                "go back, and send it again",
            )
        };
        let body =
            Bytes::from_request(Request::from_parts(head, body), shared).await.map_err(|_| unread())?;
        let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(&body).map_err(|_| unread())?;
        let form = Form(fields);
        let shown = form.get("csrf").unwrap_or_default();
        if verify_slices_are_equal(shown.as_bytes(), viewer.chrome.csrf.as_bytes()).is_err() {
            return Err(foreign());
        }
        Ok(Self { viewer, form })
    }
}

/// Whether the browser says that a page of this very origin sent it. What says nothing is no browser, and has no business here.
fn is_from_here(head: &Head) -> bool {
    let host = head.headers.get("host").and_then(|value| value.to_str().ok());
    let here = head.uri.authority().map(axum::http::uri::Authority::as_str).or(host);
    let origin = head.headers.get("origin").and_then(|value: &HeaderValue| value.to_str().ok());
    let origin = origin.and_then(|origin| origin.strip_prefix("https://"));
    matches!((origin, here), (Some(origin), Some(here)) if origin.eq_ignore_ascii_case(here))
}
