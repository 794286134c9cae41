//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a caller who does not know whether an order arrived gives it
//! again under the same key, and it is carried out once.
//!
//! Promised: what was begun under a key of a caller's is never begun under it again, by this process or a later one. That it
//! begins is a record, durable before anything is done, under a correlation id that is made of the key; a key that memory no
//! longer knows is looked for in the ledger. For an hour the answer is kept and given again. A call goes on when its caller has
//! gone. Trusted: nothing of the key, which only stands for itself; answers may hold a token, and are zeroed when they go.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use sallyport_audit::index::search::Order;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Draft, Kind, Outcome, Search, Seq};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::caller::{Caller, Known};
use super::errors::Problem;
use super::{LARGEST_BODY, Shared};
use crate::clock;
use crate::edge::Correlation;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(1);

/// Answers that are kept, of all callers and of one. Beyond, the oldest goes; its key stays spent.
const MOST: usize = 4_096;
const MOST_OF_ONE: usize = 256;

/// The largest answer that is kept: none of an order is longer, but for reports.
const LARGEST_ANSWER: usize = 16 * 1024;

/// Longer than any id that somebody makes for this.
const LONGEST_KEY: usize = 128;

/// The keys that memory knows.
#[derive(Default)]
pub struct Idempotency(Mutex<HashMap<Name, Entry>>);

/// A caller, and a key of theirs.
type Name = (String, String);

/// SHA-256 of what was asked.
type Print = [u8; 32];

struct Entry {
    since: Instant,
    print: Print,
    /// `None` while it runs.
    answer: Option<Answer>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    kind: Option<HeaderValue>,
    correlation: Correlation,
    body: Zeroizing<Vec<u8>>,
}

/// What memory says of a key.
enum Found {
    /// It was not known; it is now, and runs.
    New,
    Running,
    /// It was used for something else.
    Other,
    Answered(Answer),
}

impl Idempotency {
    fn entries(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        // Each change is one step: a panic elsewhere leaves the entries whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, name: &Name, print: Print, now: Instant) -> Found {
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.answer.is_none() || now.duration_since(entry.since) < KEPT);
        if let Some(entry) = entries.get(name) {
            return match &entry.answer {
                _ if entry.print != print => Found::Other,
                None => Found::Running,
                Some(answer) => Found::Answered(answer.clone()),
            };
        }
        let own = entries.keys().filter(|(caller, _)| *caller == name.0).count();
        if own >= MOST_OF_ONE || entries.len() >= MOST {
            let all = own < MOST_OF_ONE;
            let done = entries
                .iter()
                .filter(|((caller, _), entry)| (all || *caller == name.0) && entry.answer.is_some());
            let oldest = done.min_by_key(|(_, entry)| entry.since).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                entries.remove(&oldest);
            }
        }
        entries.insert(name.clone(), Entry { since: now, print, answer: None });
        Found::New
    }

    fn end(&self, name: &Name, answer: Option<Answer>) {
        let mut entries = self.entries();
        match answer {
            Some(answer) => {
                if let Some(entry) = entries.get_mut(name) {
                    entry.answer = Some(answer);
                }
            }
            None => {
                entries.remove(name);
            }
        }
    }
}

/// A key that runs; forgotten by memory if nothing is kept for it.
struct Running {
    shared: Shared,
    name: Name,
    answer: Option<Answer>,
}

impl Running {
    fn answered(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.idempotency.end(&self.name, self.answer.take());
    }
}

/// Carries an order with a key out once; everything else as it comes.
pub(super) async fn once(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    carry_out(shared, head, body, next).await.unwrap_or_else(axum::response::IntoResponse::into_response)
}

async fn carry_out(shared: Shared, mut head: Head, body: Body, next: Next) -> Result<Response, Problem> {
    let correlation = head.extensions.get::<Correlation>().cloned().unwrap_or(Correlation(String::new()));
    let key = key(&head.headers).ok_or_else(|| {
        Problem::new(
            &correlation,
            StatusCode::BAD_REQUEST,
            "bad-idempotency-key",
            format!("`Idempotency-Key` is not one key of 1 to {LONGEST_KEY} visible characters of ASCII"),
            "make a UUID for each order, and send it in quotation marks",
        )
    })?;
    let mut caller = Caller::from_request_parts(&mut head, &shared).await?;
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|error| {
        let hint = "a call carries a few words, never a document";
        Problem::new(&correlation, StatusCode::PAYLOAD_TOO_LARGE, "bad-body", error.to_string(), hint)
    })?;
    // A narrowed token of theirs is not given what a wider one was answered.
    let identity = &caller.identity;
    let who = format!("{} {} {}", identity.tenant(), identity.subject(), identity.scope());
    let own = Correlation(correlation_of(&key));
    let name = (who, key);
    match shared.idempotency.begin(&name, print(&head, &body), clock::monotonic()) {
        Found::New => {}
        Found::Answered(answer) => return Ok(answer.again()),
        Found::Running => {
            return Err(Problem::new(
                &own,
                StatusCode::CONFLICT,
                "idempotency-running",
                "a call of yours with this key is being carried out",
                "call again with the same key in a few seconds",
            ));
        }
        Found::Other => {
            return Err(Problem::new(
                &own,
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "you used this key for another order",
                "make a new key for each order",
            ));
        }
    }
    let running = Running { shared: shared.clone(), name, answer: None };
    if was_begun(&shared, &caller, &own).await? {
        return Err(Problem::new(
            &own,
            StatusCode::CONFLICT,
            "idempotency-key-spent",
            "you used this key before, and its answer is not kept any more",
            format!("what it did is recorded: sallyport search --correlation {}", own.0),
        ));
    }
    begin(&shared, &caller, &own, takes_away(head.uri.path())).await?;
    caller.correlation = own.clone();
    head.extensions.insert(own.clone());
    head.extensions.insert(Known::new(caller));
    let request = Request::from_parts(head, Body::from(body));
    // In a task of its own: it goes on when the caller has gone, who will ask what became of it.
    let work = tokio::spawn(async move {
        let (mut head, body) = next.run(request).await.into_parts();
        head.extensions.insert(own.clone());
        // An answer of ours is whole in memory already.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        if body.len() <= LARGEST_ANSWER {
            running.answered(Answer {
                status: head.status,
                kind: head.headers.get(CONTENT_TYPE).cloned(),
                correlation: own,
                body: Zeroizing::new(body.to_vec()),
            });
        }
        Response::from_parts(head, Body::from(body))
    });
    work.await.map_err(|error| {
        Problem::new(
            &correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "broken-off",
            format!("the call was broken off: {error}"),
            "the ledger says what it did; the key is spent",
        )
    })
}

impl Answer {
    fn again(&self) -> Response {
        let mut response = Response::new(Body::from(Bytes::copy_from_slice(&self.body)));
        *response.status_mut() = self.status;
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        if let Some(kind) = &self.kind {
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        response.extensions_mut().insert(self.correlation.clone());
        response
    }
}

/// The key: a string of RFC 9651 section 3.3.3 without escapes, or, as many clients send it, without its quotation marks.
fn key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let text = value.to_str().ok()?.trim();
    let text = text.strip_prefix('"').map_or(Some(text), |rest| rest.strip_suffix('"'))?;
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (!text.is_empty() && text.len() <= LONGEST_KEY && text.bytes().all(visible)).then(|| text.to_owned())
}

/// What is asked, without what differs from one attempt to the next.
fn print(head: &Head, body: &[u8]) -> Print {
    let target = head.uri.path_and_query().map(axum::http::uri::PathAndQuery::as_str).unwrap_or_default();
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let parts = [target.as_bytes(), &[0], kind, &[0], body];
    parts.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

/// The id under which the ledger speaks of all that is done under a key. Made of the key alone: it stands in records in plain,
/// and says nothing of the caller.
fn correlation_of(key: &str) -> String {
    let digest = Sha256::new().chain_update("sallyport idempotency key ").chain_update(key).finalize();
    format!("cor-{}", hex::encode(digest.get(..16).unwrap_or_default()))
}

/// Whether the ledger says that this caller has begun something under this id.
async fn was_begun(shared: &Shared, caller: &Caller, correlation: &Correlation) -> Result<bool, Problem> {
    let mut search = Search {
        selection: Selection { correlations: vec![correlation.0.clone()], ..Selection::default() },
        subjects: vec![caller.identity.subject().as_str().to_owned()],
        order: Order::NewestFirst,
        limit: 1,
        ..Search::default()
    };
    let reader = shared.ledger.reader();
    let look = move || {
        loop {
            let page = reader.search(&search).map_err(|error| error.to_string())?;
            match page.next {
                _ if !page.entries.is_empty() => return Ok(true),
                None => return Ok(false),
                next => search.selection.to = next.filter(|seq| *seq > Seq::ZERO),
            }
            if search.selection.to.is_none() {
                return Ok(false);
            }
        }
    };
    let looked = tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string());
    looked.and_then(|found: Result<bool, String>| found).map_err(|error| {
        Problem::new(
            correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "ledger-unreadable",
            format!("the ledger cannot be searched for this key: {error}"),
            "check the ledger with `auditctl verify`",
        )
    })
}

/// How long such an order may wait until its key is on its way into the ledger.
const PATIENCE: Duration = Duration::from_millis(50);

/// Whether an order takes leave away, or may. Such an order waits for nothing: in an outage it still cuts what is open, and no harm
/// is done if it should be carried out again.
fn takes_away(path: &str) -> bool {
    let path: Vec<&str> = path.strip_prefix("/api/v1/").unwrap_or_default().split('/').collect();
    matches!(
        path.as_slice(),
        [_, _, "revoke"]
            | ["sessions", _, "kill"]
            | ["shares", _, "end"]
            | ["tunnels", _, "delete"]
            | ["reviews", _, "decide" | "close"]
            | ["glass", _, "review"]
            | ["subjects", "erase"]
            | ["locks"]
    )
}

/// Records that it begins; `urgent`: without waiting until that is durable, or could be taken at all.
async fn begin(
    shared: &Shared,
    caller: &Caller,
    correlation: &Correlation,
    urgent: bool,
) -> Result<(), Problem> {
    let draft = Draft::new(Kind::AdminCalled, Outcome::Success)
        .subject(caller.identity.subject().as_str())
        .object("gateway:api")
        .source(caller.source.to_string())
        .correlation(correlation.0.as_str())
        .detail("idempotency", "begun");
    if urgent {
        match tokio::time::timeout(PATIENCE, shared.ledger.enqueue(draft)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the key of an order that takes leave away couldn't be recorded");
            }
            Err(_) => {
                tracing::warn!("the key of an order that takes leave away isn't recorded: the ledger hangs");
            }
        }
        return Ok(());
    }
    shared.ledger.append(draft).await.map(drop).map_err(|_| {
        let hint = "what is not recorded is not done; call again with the same key";
        let detail = "the call could not be recorded";
        Problem::new(correlation, StatusCode::SERVICE_UNAVAILABLE, "ledger-down", detail, hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (KEY, HeaderValue::from_str(value).unwrap())).collect()
    }

    fn name(caller: &str, key: usize) -> Name {
        (caller.to_owned(), key.to_string())
    }

    fn answer() -> Answer {
        let body = Zeroizing::new(b"{}".to_vec());
        Answer { status: StatusCode::CREATED, kind: None, correlation: Correlation("cor-1".to_owned()), body }
    }

    #[test]
    fn a_key_is_one_visible_text_in_quotation_marks_or_without() {
        assert_eq!(key(&headers(&["\"8e03978e-40d5\""])).as_deref(), Some("8e03978e-40d5"));
        assert_eq!(key(&headers(&["8e03978e-40d5"])).as_deref(), Some("8e03978e-40d5"));
        for bad in ["", "\"\"", "\"a", "a b", "\"a\\\"b\"", &"x".repeat(LONGEST_KEY + 1)] {
            assert_eq!(key(&headers(&[bad])), None, "{bad}");
        }
        assert_eq!(key(&headers(&["a", "a"])), None);
    }

    #[test]
    fn every_order_that_may_take_leave_away_waits_for_no_ledger_and_no_other_does() {
        for urgent in [
            "grants/grant-1/revoke",
            "tokens/tok-1/revoke",
            "devices/dev-1/revoke",
            "certificates/crt-1/revoke",
            "passkeys/key-1/revoke",
            "sessions/sess-1/kill",
            "shares/share-1/end",
            "tunnels/shop/delete",
            "reviews/rev-1/decide",
            "reviews/rev-1/close",
            "glass/grant-1/review",
            "subjects/erase",
            "locks",
        ] {
            assert!(takes_away(&format!("/api/v1/{urgent}")), "{urgent}");
        }
        for other in [
            "locks/release",
            "requests",
            "requests/req-1/approve",
            "shares",
            "shares/share-1/accept",
            "glass",
            "reviews",
            "tokens",
            "reports/soc2/delete",
            "policy/reload",
            "keys/tokens/rotate",
        ] {
            assert!(!takes_away(&format!("/api/v1/{other}")), "{other}");
        }
    }

    #[test]
    fn one_order_runs_once_and_is_answered_again_for_an_hour() {
        let (keys, now) = (Idempotency::default(), clock::monotonic());
        let order = name("alice", 1);
        assert!(matches!(keys.begin(&order, [1; 32], now), Found::New));
        assert!(matches!(keys.begin(&order, [1; 32], now), Found::Running));
        assert!(matches!(keys.begin(&order, [2; 32], now), Found::Other));
        assert!(matches!(keys.begin(&name("bob", 1), [2; 32], now), Found::New), "a key is its caller's own");
        keys.end(&order, Some(answer()));
        assert!(
            matches!(keys.begin(&order, [1; 32], now), Found::Answered(answer) if answer.status == StatusCode::CREATED)
        );
        assert!(matches!(keys.begin(&order, [2; 32], now), Found::Other));
        assert!(matches!(keys.begin(&order, [1; 32], now + KEPT), Found::New), "then the ledger is asked");
    }

    #[test]
    fn whoever_makes_many_keys_pushes_out_their_own_and_nothing_that_runs() {
        let (keys, now) = (Idempotency::default(), clock::monotonic());
        let running = name("alice", 0);
        keys.begin(&running, [0; 32], now);
        keys.begin(&name("bob", 0), [0; 32], now);
        keys.end(&name("bob", 0), Some(answer()));
        for key in 1..=2 * MOST_OF_ONE {
            let order = name("alice", key);
            keys.begin(&order, [0; 32], now + Duration::from_millis(u64::try_from(key).unwrap()));
            keys.end(&order, Some(answer()));
        }
        let entries = keys.entries();
        assert_eq!(entries.keys().filter(|(caller, _)| caller == "alice").count(), MOST_OF_ONE);
        assert!(entries.contains_key(&running) && entries.contains_key(&name("bob", 0)));
    }
}
