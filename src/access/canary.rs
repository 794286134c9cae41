//! Canary controls: what must be refused is tried at intervals, and the refusal is evidence that the control works.
//!
//! A control that is never tried may have stopped working long ago. Here a person approves their own request and uses a
//! grant that has expired, in a rehearsal: the gateway's own decision code over a log in memory, a policy of two rows and a
//! clock that is moved by hand, so that nobody gets leave to anything. A token is issued, used, revoked and used again
//! at the running gateway itself; it is of `user:canary`, whom no policy gives anything unless the operator writes it.
//!
//! Promised: a control counts as held only if what should pass passed, too: a gateway that refuses everything does not
//! look as if it worked.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sallyport_audit::Digest;
use tokio::sync::watch;

use super::clock::Clock;
use super::fact::{Fact, Stamp};
use super::handle::{Access, AccessOptions};
use super::identity::{Caller, Identity};
use super::judge::Context;
use super::log::{LogError, RecordLog};
use super::names::{Subject, Tenant};
use super::object::{Action, Object};
use super::owner::PolicyChange;
use super::policy::Policy;
use super::policy::load::{Sources, default_files};
use super::requesting::{Approved, Ask};
use super::scope::Scope;
use super::token::TokenKeys;
use super::{AccessError, Decision};

/// Which control was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Nobody approves their own request.
    SelfApproval,
    /// A grant that has expired lets nobody in, and ends who is in.
    ExpiredGrant,
    /// A token that was revoked proves nobody.
    RevokedToken,
    /// A record that was altered is found.
    AlteredRecord,
}

impl Control {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 4] =
        [Self::SelfApproval, Self::ExpiredGrant, Self::RevokedToken, Self::AlteredRecord];

    /// For records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SelfApproval => "self-approval",
            Self::ExpiredGrant => "expired-grant",
            Self::RevokedToken => "revoked-token",
            Self::AlteredRecord => "altered-record",
        }
    }
}

/// Whose token is tried at the running gateway.
pub(super) const SUBJECT: &str = "user:canary";

/// What came of it: the word with which it was refused, as it should be, or what happened in its place.
pub type Outcome = Result<String, String>;

const ROWS: &str = "\
p, user:canary-one, canary, tunnel:canary, connect, allow, canary-approves
p, role:canary-approver, canary, tunnel:canary, approve, allow, -
g, user:canary-one, role:canary-approver, canary
g, user:canary-two, role:canary-approver, canary
";

const APPROVALS: &str = "\
[workflow.canary-approves]
description = \"a rehearsal\"
max_minutes = 60
ticket = \"optional\"

[[workflow.canary-approves.step]]
role = \"role:canary-approver\"
people = 1
";

/// For how long the rehearsed grant is good.
const MINUTES: u32 = 5;

/// Tries [`Control::SelfApproval`] and [`Control::ExpiredGrant`] in a rehearsal, with tokens signed by the key that `access`
/// signs with; nothing else of it is touched.
pub async fn rehearse(access: &Access, now: Timestamp) -> [(Control, Outcome); 2] {
    match Rehearsal::open(access.token_signer().await, now).await {
        Ok(rehearsal) => {
            let (approval, expiry) = rehearsal.play().await;
            rehearsal.access.close().await;
            [(Control::SelfApproval, approval), (Control::ExpiredGrant, expiry)]
        }
        Err(why) => [(Control::SelfApproval, Err(why.clone())), (Control::ExpiredGrant, Err(why))],
    }
}

struct Rehearsal {
    access: Access,
    clock: Arc<StageClock>,
    one: Identity,
    two: Identity,
    object: Object,
}

impl Rehearsal {
    async fn open(keys: Arc<dyn TokenKeys>, now: Timestamp) -> Result<Self, String> {
        let [(model, model_text), ..] = default_files();
        let sources =
            Sources::new([(model, model_text), ("approvals.toml", APPROVALS), ("policy.csv", ROWS)]);
        let policy = Policy::build(&sources).await.map_err(|faults| faults.to_string())?;
        let clock = Arc::new(StageClock { now: watch::Sender::new(now) });
        let log = Arc::new(StageLog { facts: Mutex::default(), clock: Arc::clone(&clock) });
        let options = AccessOptions {
            policy_directory: std::path::PathBuf::new(),
            issuer: "https://canary.invalid".to_owned(),
            tenant: "canary".parse().map_err(words)?,
            policy_change: PolicyChange::Reload,
            index: None,
        };
        let access =
            Access::open_with(Arc::new(policy), options, log, keys, Arc::clone(&clock) as Arc<dyn Clock>);
        let access = access.await.map_err(words)?;
        let (one, two) =
            (enter(&access, "user:canary-one", now).await?, enter(&access, "user:canary-two", now).await?);
        let object: Object = "tunnel:canary".parse().map_err(words)?;
        Ok(Self { access, clock, one, two, object })
    }

    async fn play(&self) -> (Outcome, Outcome) {
        let ask = Ask {
            object: self.object.clone(),
            action: Action::Connect,
            minutes: MINUTES,
            reason: match "canary".parse() {
                Ok(reason) => reason,
                Err(error) => return both(&words(error)),
            },
            ticket: None,
            renews: None,
            once: false,
        };
        let request = match self.access.request(&self.one, ask).await {
            Ok(request) => request,
            Err(error) => return both(&format!("the request itself: {error}")),
        };
        let approval = match self.access.approve(&self.one, request, None, None).await {
            Err(AccessError::Refused(refusal)) if refusal.code() == "own-request" => {
                Ok(refusal.code().to_owned())
            }
            Err(other) => Err(format!("refused for another reason: {other}")),
            Ok(_) => Err("a person approved their own request".to_owned()),
        };
        let granted = self.access.approve(&self.two, request, None, None).await;
        if !matches!(granted, Ok(Approved::Granted(_))) {
            let why = "another person's approval gave no leave, so a refusal proves nothing".to_owned();
            return (Err(why.clone()), Err(why));
        }
        (approval, self.expire().await)
    }

    async fn expire(&self) -> Outcome {
        let decide = || {
            let context = Context::at(self.clock.now());
            self.access.authorize(&self.one, &self.object, Action::Connect, &context)
        };
        let Decision::Allowed(permit) = decide() else {
            return Err("a grant in force let nobody in, so a refusal proves nothing".to_owned());
        };
        self.clock.forward(SignedDuration::from_mins(i64::from(MINUTES) + 1));
        if matches!(decide(), Decision::Allowed(_)) {
            return Err("a grant that had expired let somebody in".to_owned());
        }
        match tokio::time::timeout(std::time::Duration::from_secs(10), permit.died()).await {
            Ok(death) => Ok(death.cause.as_str().to_owned()),
            Err(_) => Err("who was in when the grant expired was not put out within ten seconds".to_owned()),
        }
    }
}

/// Tries [`Control::RevokedToken`] at `access`, which is the running gateway's.
pub async fn revoke_token(access: &Access, tenant: Tenant, now: impl Fn() -> Timestamp) -> Outcome {
    let subject: Subject = SUBJECT.parse().map_err(words)?;
    let life = SignedDuration::from_mins(5);
    let issued = access.issue_token(Caller::Operator, subject, tenant, life, Scope::whole()).await;
    let (id, token) = issued.map_err(words)?;
    let accepted = access.authenticate(&token, now());
    access.revoke_token(Caller::Operator, id, None).await.map_err(words)?;
    if let Err(error) = accepted {
        return Err(format!("a token in force was not accepted, so a refusal proves nothing: {error}"));
    }
    match access.authenticate(&token, now()) {
        Err(error) if error.code() == "revoked" => Ok(error.code().to_owned()),
        Err(other) => Err(format!("refused for another reason: {other}")),
        Ok(_) => Err("a token that was revoked was accepted".to_owned()),
    }
}

async fn enter(access: &Access, name: &str, now: Timestamp) -> Result<Identity, String> {
    let subject: Subject = name.parse().map_err(words)?;
    let tenant: Tenant = "canary".parse().map_err(words)?;
    let life = SignedDuration::from_hours(1);
    let issued = access.issue_token(Caller::Operator, subject, tenant, life, Scope::whole()).await;
    let (_, token) = issued.map_err(words)?;
    access.authenticate(&token, now).map_err(words)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn both(why: &str) -> (Outcome, Outcome) {
    (Err(why.to_owned()), Err(why.to_owned()))
}

/// A clock that stands until it is moved.
struct StageClock {
    now: watch::Sender<Timestamp>,
}

impl StageClock {
    fn forward(&self, by: SignedDuration) {
        self.now.send_modify(|now| *now = now.saturating_add(by).unwrap_or(*now));
    }
}

impl Clock for StageClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, when: Timestamp) -> BoxFuture<'_, ()> {
        let mut seen = self.now.subscribe();
        async move {
            let _ = seen.wait_for(|now| *now >= when).await;
        }
        .boxed()
    }
}

/// A log that is forgotten when the rehearsal ends.
struct StageLog {
    facts: Mutex<Vec<(Stamp, Fact)>>,
    clock: Arc<StageClock>,
}

impl RecordLog for StageLog {
    fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
        async move {
            let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            let (seq, digest) = (facts.len() as u64, Digest::of(&[format!("{fact:?}").as_bytes()]));
            let stamp = Stamp { seq, time: self.clock.now(), digest };
            facts.push((stamp, fact));
            Ok(stamp)
        }
        .boxed()
    }

    fn replay(&self, from: u64, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<u64, LogError> {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = facts.len() as u64;
        for (stamp, fact) in facts.into_iter().filter(|(stamp, _)| stamp.seq >= from) {
            visit(stamp, fact);
        }
        Ok(end)
    }
}
