//! Who calls the API, and whether policy lets them. A handler that takes a [`Caller`] cannot forget to ask who it is;
//! [`Caller::may`] is the only way on for what needs more than being somebody.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts as Head;
use sallyport_audit::{Draft, Kind, Outcome};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;

use super::Shared;
use super::errors::Problem;
use super::rates::Note;
use crate::access::policy::conditions::Through;
use crate::access::{
    AccessError, Action, AuthError, Context, Decision, Explanation, Identity, Object, TlsFacts,
};
use crate::clock;
use crate::edge::{Connection, Correlation, Counted, identify_caller, of_tenant};
use crate::session::Naming;

/// How long a search waits for a place among the readers: most are done sooner.
const SOON: Duration = Duration::from_secs(1);

/// Whether a call was refused because it found no place among the readers.
pub(super) fn found_no_seat(problem: &Problem) -> bool {
    problem.refusal.code == "too-many-readers"
}

/// A person who proved who they are.
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) correlation: Correlation,
    pub(super) source: SocketAddr,
    tls: Option<TlsFacts>,
    shared: Shared,
    /// A call may name its caller until it is answered.
    naming: Option<Naming>,
}

/// A caller who was recognised before the call came to its handler, for that handler.
#[derive(Clone)]
pub(super) struct Known(Arc<Mutex<Option<Caller>>>);

impl Known {
    pub(super) fn new(caller: Caller) -> Self {
        Self(Arc::new(Mutex::new(Some(caller))))
    }

    fn take(&self) -> Option<Caller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, shared: &Shared) -> Result<Self, Problem> {
        if let Some(caller) = head.extensions.get::<Known>().and_then(Known::take) {
            return Ok(caller);
        }
        Self::meet(head, shared, None).await
    }
}

impl Caller {
    /// Who calls: whose session at the console this is, or else whoever the bearer token or the certificate names.
    pub(super) async fn meet(head: &Head, shared: &Shared, session: Option<&str>) -> Result<Self, Problem> {
        let correlation = head.extensions.get::<Correlation>().cloned().unwrap_or(Correlation(String::new()));
        let connection = head.extensions.get::<Arc<Connection>>().cloned();
        let source = connection
            .as_ref()
            .map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |connection| connection.peer);
        let tls = connection.as_ref().and_then(|connection| connection.tls.clone());
        shared
            .attempts
            .check(source.ip())
            .map_err(|refusal| Problem { refusal, correlation: correlation.0.clone() })?;
        let note = head.extensions.get::<Note>().cloned().unwrap_or_default();
        let counted = shared.rates.address(source.ip());
        within(shared, &correlation, source, &note, ("address", counted), None).await?;
        let certificate = connection.as_ref().and_then(|connection| connection.certificate.as_ref());
        let authority = head.uri.authority().map(axum::http::uri::Authority::as_str);
        let (access, tenant) = (&shared.access, &shared.tenant);
        let known = match session {
            Some(token) => access
                .authenticate_console(token, Some(source.ip()), clock::now())
                .and_then(|identity| of_tenant(identity, tenant)),
            None => {
                identify_caller(access, tenant, &head.headers, authority, certificate, clock::now()).await
            }
        };
        let known = known.and_then(|identity| {
            let naming = shared.broker.naming(identity.subject().as_str());
            // Again: whoever was erased in between must not be named.
            let identity = shared.access.standing(identity, clock::now())?;
            Ok((identity.met(&Context::at(clock::now()).from_source(source).on(tls.as_ref())), naming))
        });
        let (identity, naming) = match known {
            Ok(known) => known,
            Err(error) => {
                let barred = shared.attempts.failed(source.ip());
                record_failure(shared, &correlation, (source, barred), &error, head.uri.path()).await;
                return Err(Problem::unauthenticated(&correlation, &error));
            }
        };
        let subject = identity.subject().as_str();
        let counted = shared.rates.user(subject);
        within(shared, &correlation, source, &note, ("user", counted), Some(subject)).await?;
        Ok(Self { identity, correlation, source, tls, shared: Arc::clone(shared), naming: Some(naming) })
    }
}

/// Refuses a call beyond the limit; the first of a burst is recorded.
async fn within(
    shared: &Shared,
    correlation: &Correlation,
    source: SocketAddr,
    note: &Note,
    (what, counted): (&'static str, Counted),
    subject: Option<&str>,
) -> Result<(), Problem> {
    let (left, first) = match counted {
        Counted::Free => return Ok(()),
        Counted::Within(left) => {
            note.leave(what, left);
            return Ok(());
        }
        Counted::Beyond { left, first } => (left, first),
    };
    note.leave(what, left);
    if first {
        let mut draft = left.record(what, "gateway:api".to_owned(), source, &correlation.0);
        if let Some(subject) = subject {
            draft = draft.subject(subject);
        }
        if let Err(error) = shared.ledger.enqueue(draft).await {
            warn!(%error, "a caller that goes too far could not be recorded");
        }
    }
    Err(Problem::new(
        correlation,
        StatusCode::TOO_MANY_REQUESTS,
        "rate-limited",
        format!("more than {} calls in a minute by one {what}", left.limit),
        "wait as long as Retry-After says; RateLimit in every answer tells what is left",
    ))
}

async fn record_failure(
    shared: &Shared,
    correlation: &Correlation,
    (source, barred): (SocketAddr, bool),
    error: &AuthError,
    path: &str,
) {
    let draft = Draft::new(Kind::AuthFailed, Outcome::Denied)
        .object("gateway:api")
        .source(source.to_string())
        .path(path.chars().take(256).collect::<String>())
        .correlation(correlation.0.as_str())
        .detail("reason", error.code());
    let draft = if barred { draft.detail("address_barred", true) } else { draft };
    if let Err(error) = shared.ledger.append(draft).await {
        warn!(%error, "a failed authentication could not be recorded");
    }
}

impl Caller {
    /// Asks policy. The answer is recorded whichever it is.
    pub(super) async fn may(&self, action: Action, object: &Object) -> Result<(), Problem> {
        self.may_with(action, object, |draft| draft).await
    }

    /// The same, with more in the record of a call that is allowed: words of somebody who may not are not kept.
    pub(super) async fn may_with(
        &self,
        action: Action,
        object: &Object,
        more: impl FnOnce(Draft) -> Draft,
    ) -> Result<(), Problem> {
        let decision = self.shared.access.authorize(&self.identity, object, action, &self.context());
        let explanation = decision.explanation();
        if !matches!(decision, Decision::Allowed(_)) {
            return Err(self.denied(explanation, action, object).await);
        }
        let recorded = self.shared.ledger.append(more(self.draft(explanation))).await;
        recorded.map_err(|error| {
            self.not_recorded(format!("the call could not be recorded: {error}"), error.hint())
        })?;
        Ok(())
    }

    /// Asks policy about an order that takes something away. One that is allowed waits for no record: it is carried out,
    /// and then [`Self::tell`] is called with what this gives. So it still cuts while the ledger takes nothing.
    pub(super) async fn may_cut(
        &self,
        action: Action,
        object: &Object,
        more: impl FnOnce(Draft) -> Draft,
    ) -> Result<Draft, Problem> {
        let explanation = self.shared.access.explain(&self.identity, object, action, &self.context());
        if explanation.is_allowed() {
            return Ok(more(self.draft(&explanation)));
        }
        Err(self.denied(&explanation, action, object).await)
    }

    /// Hands over the record of an order that is carried out already, in front of whatever is recorded next.
    pub(super) async fn tell(&self, draft: Draft) -> Result<(), Problem> {
        self.shared.ledger.enqueue(draft).await.map_err(|error| {
            let detail =
                format!("what is open was cut all the same; the call could not be recorded: {error}");
            self.not_recorded(detail, error.hint())
        })
    }

    fn context(&self) -> Context {
        Context::at(clock::now()).from_source(self.source).on(self.tls.as_ref())
    }

    /// The record of a call.
    fn draft(&self, explanation: &Explanation) -> Draft {
        let draft = explanation
            .draft(Kind::AdminCalled)
            .source(self.source.to_string())
            .correlation(self.correlation.0.as_str());
        TlsFacts::note(self.tls.as_ref(), draft)
    }

    /// Records that policy does not let them.
    async fn denied(&self, explanation: &Explanation, action: Action, object: &Object) -> Problem {
        if self.shared.ledger.append(self.draft(explanation)).await.is_err() {
            // Paths and the provider's words are for those who may see the gateway's state.
            return self.unrecorded();
        }
        Problem::new(
            &self.correlation,
            StatusCode::FORBIDDEN,
            "denied",
            format!("{} may not {action} {object}: {}", self.identity.subject(), explanation.why),
            "an admin can change the policy; this decision is recorded",
        )
    }

    /// Records that the caller looks at a page whose every line policy judges for itself, so that nothing is asked for the whole.
    /// What is not recorded is not shown.
    pub(super) async fn looks(
        &self,
        page: &'static str,
        more: impl FnOnce(Draft) -> Draft,
    ) -> Result<(), Problem> {
        self.sees("gateway:console", |draft| more(draft.detail("page", page))).await
    }

    /// The same of a list or a thing that the API gives, by the operation's id and, of one thing, the thing's. Whoever reads it again
    /// soon is not recorded again.
    pub(super) async fn reads(&self, call: &'static str, one: Option<&str>) -> Result<(), Problem> {
        let (who, now) = (self.identity.subject().as_str(), clock::monotonic());
        let what = one.map_or_else(|| call.to_owned(), |id| format!("{call} {id}"));
        if self.shared.looks.are_told(who, &what, now) {
            return Ok(());
        }
        let more = |draft: Draft| match one {
            Some(id) => draft.detail("call", call).detail("id", id),
            None => draft.detail("call", call),
        };
        self.sees("gateway:api", more).await?;
        self.shared.looks.told(who, &what, now);
        Ok(())
    }

    async fn sees(&self, place: &'static str, more: impl FnOnce(Draft) -> Draft) -> Result<(), Problem> {
        let draft = Draft::new(Kind::AdminCalled, Outcome::Success)
            .subject(self.identity.subject().as_str())
            .action(Action::Read.as_str())
            .object(place)
            .source(self.source.to_string())
            .correlation(self.correlation.0.as_str())
            .detail("tenant", self.identity.tenant().as_str());
        let draft = more(TlsFacts::note(self.tls.as_ref(), draft));
        self.shared.ledger.append(draft).await.map(drop).map_err(|_| self.unrecorded())
    }

    /// The ledger does not take the record, and the caller need not know why.
    fn unrecorded(&self) -> Problem {
        let hint = "what is not recorded is not done; tell the gateway's operator";
        self.not_recorded("the call could not be recorded".to_owned(), hint)
    }

    fn not_recorded(&self, detail: String, hint: &str) -> Problem {
        Problem::new(&self.correlation, StatusCode::SERVICE_UNAVAILABLE, "ledger-down", detail, hint)
    }

    /// Goes on watching after the call was answered, and writes no record: nobody's erasure waits for it.
    pub(super) fn watching(mut self) -> Self {
        self.naming = None;
        self
    }

    /// Whether what proved the caller still stands.
    pub(super) fn stands(&self) -> bool {
        self.shared.access.standing(self.identity.clone(), clock::now()).is_ok()
    }

    /// Where its records go.
    pub(super) fn ledger(&self) -> &sallyport_audit::Ledger {
        &self.shared.ledger
    }

    /// An order that `access` did not carry out.
    pub(super) fn refused(&self, error: &AccessError) -> Problem {
        Problem::access(&self.correlation, error)
    }

    /// A value of the call that cannot be used.
    pub(super) fn unusable(&self, error: &dyn std::fmt::Display) -> Problem {
        let hint = "correct the value and call again";
        Problem::new(
            &self.correlation,
            StatusCode::UNPROCESSABLE_ENTITY,
            "unusable-value",
            error.to_string(),
            hint,
        )
    }

    /// A place among the few calls at a time that read much of the ledger.
    pub(super) fn seat<'a>(&self, seats: &'a Semaphore) -> Result<SemaphorePermit<'a>, Problem> {
        seats.try_acquire().map_err(|_| self.no_seat())
    }

    /// What a call is told that finds no such place.
    pub(super) fn no_seat(&self) -> Problem {
        Problem::new(
            &self.correlation,
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-readers",
            "others search the ledger or have values opened right now",
            "call again in a few seconds",
        )
    }

    /// The same, once there is one, if that is soon.
    pub(super) async fn seat_soon<'a>(&self, seats: &'a Semaphore) -> Result<SemaphorePermit<'a>, Problem> {
        match within_time(seats, SOON).await {
            Some(seat) => Ok(seat),
            None => self.seat(seats),
        }
    }

    /// Reads a value of the call.
    pub(super) fn parse<T: FromStr>(&self, text: &str) -> Result<T, Problem>
    where
        T::Err: std::fmt::Display,
    {
        text.parse().map_err(|error| self.unusable(&error))
    }

    /// The caller as somebody who means a tunnel whose handshake agreed this.
    pub(super) fn met_through(&self, tunnel: Option<Through>) -> Identity {
        self.identity.met(&self.context().through(tunnel))
    }

    /// Whether policy lets this person, without a record: for lists that show each person what is theirs.
    pub(super) fn could(&self, action: Action, object: &Object) -> bool {
        let decision = self.shared.access.authorize(&self.identity, object, action, &self.context());
        matches!(decision, Decision::Allowed(_))
    }
}

/// A seat that comes free in this time.
async fn within_time(seats: &Semaphore, patience: Duration) -> Option<SemaphorePermit<'_>> {
    tokio::time::timeout(patience, seats.acquire()).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_finds_no_seat_waits_for_one_and_not_for_ever() {
        let seats = Semaphore::new(1);
        let held = seats.acquire().await.unwrap();
        assert!(within_time(&seats, Duration::ZERO).await.is_none());
        // Whoever waits is asked first, and has the seat when it is let go of.
        let waiting = async {
            let seat = within_time(&seats, Duration::from_mins(1)).await;
            seat.is_some()
        };
        let leaving = async { drop(held) };
        assert!(tokio::join!(waiting, leaving).0);
    }
}
