//! Tests of access as a whole. Each is a sentence of the specification.

mod algebra;
mod approvals;
mod browsers;
mod busy_owner;
mod canaries;
mod casbin_traps;
mod certificates;
mod conditions;
mod crossing;
mod devices;
mod examples;
mod faults_of_policy;
mod glass;
mod index_and_oracle;
mod index_of_access;
mod one_off;
mod outsiders;
mod over_the_ledger;
mod permits;
mod policy_change;
mod reference_model;
mod replays;
mod reviews;
mod session_life;
mod sharing;
mod signed_approvals;
mod tokens;

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::log::memory::MemoryLog;
use super::policy::load::default_files;
use super::*;

/// A clock that stands still until it is moved.
pub(super) struct HandClock {
    now: watch::Sender<Timestamp>,
}

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { now: watch::Sender::new(start()) })
    }

    pub(super) fn forward(&self, by: SignedDuration) {
        self.now.send_modify(|now| *now = now.checked_add(by).unwrap());
    }
}

pub(super) fn start() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

impl Clock for HandClock {
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

/// A signing key in memory.
pub(super) struct MemoryKeys {
    pair: EcdsaKeyPair,
}

impl MemoryKeys {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() })
    }
}

impl TokenKeys for MemoryKeys {
    fn sign_es256(&self, signing_input: Vec<u8>) -> BoxFuture<'_, Result<[u8; 64], SignError>> {
        async move {
            let signature = self.pair.sign(&SystemRandom::new(), &signing_input).unwrap();
            Ok(signature.as_ref().try_into().unwrap())
        }
        .boxed()
    }

    fn public_key_p256(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }
}

impl MemoryKeys {
    fn key_id(&self) -> String {
        TokenKey::from_point(&self.public_key_p256()).unwrap().key_id()
    }
}

pub(super) const ISSUER: &str = "https://sallyport.test";

/// A gateway's access, with all of its surroundings in hand.
pub(super) struct World {
    pub(super) access: Access,
    pub(super) clock: Arc<HandClock>,
    pub(super) keys: Arc<MemoryKeys>,
    pub(super) log: MemoryLog,
    pub(super) directory: tempfile::TempDir,
}

pub(super) const TEAM: &str = "
p, role:admin, main, tunnel:*, approve, allow, -
p, role:admin, main, gateway:*, admin, allow, -
p, role:security, main, tunnel:*, approve, allow, -
p, role:visitor, main, tunnel:demo, connect, allow, one
p, role:visitor, main, tunnel:vault, connect, allow, both
p, role:visitor, main, tunnel:open, connect, allow, -
p, role:visitor, main, tunnel:vault, read, allow, -
p, role:publisher, main, tunnel:*, publish, allow, -
p, user:anonymous, main, tunnel:public-*, connect, allow, -
p, role:admin, other, tunnel:*, approve, allow, -
p, role:admin, other, gateway:*, admin, allow, -
p, role:visitor, other, tunnel:demo, connect, allow, one
g, user:alice, role:admin, main
g, user:anna, role:admin, main
g, user:sam, role:security, main
g, user:sam, role:admin, main
g, user:sue, role:security, main
g, user:vic, role:visitor, main
g, user:val, role:visitor, main
g, user:alice, role:visitor, main
g, user:pat, role:publisher, main
g, user:mallory, role:admin, other
g, user:vic, role:visitor, other
";

pub(super) const WORKFLOWS: &str = r#"
[workflow.one]
max_minutes = 60
[[workflow.one.step]]
role = "role:admin"
people = 1

[workflow.both]
max_minutes = 30
ticket = "required"
[[workflow.both.step]]
role = "role:admin"
people = 1
[[workflow.both.step]]
role = "role:security"
people = 1
"#;

pub(super) fn write_policy(directory: &Path, rows: &str, workflows: &str) {
    std::fs::write(directory.join("model.conf"), default_files()[0].1).unwrap();
    std::fs::write(directory.join("approvals.toml"), workflows).unwrap();
    std::fs::write(directory.join("policy.csv"), rows).unwrap();
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(TEAM, WORKFLOWS).await
    }

    pub(super) async fn with(rows: &str, workflows: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_policy(directory.path(), rows, workflows);
        let (clock, keys) = (HandClock::new(), MemoryKeys::new());
        let log = MemoryLog::new(clock.clone());
        let access = Self::open(&directory, &log, &keys, &clock).await.unwrap();
        Self { access, clock, keys, log, directory }
    }

    pub(super) async fn with_conditions(rows: &str, workflows: &str, conditions: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_policy(directory.path(), rows, workflows);
        std::fs::write(directory.path().join("conditions.toml"), conditions).unwrap();
        let (clock, keys) = (HandClock::new(), MemoryKeys::new());
        let log = MemoryLog::new(clock.clone());
        let access = Self::open(&directory, &log, &keys, &clock).await.unwrap();
        Self { access, clock, keys, log, directory }
    }

    pub(super) async fn open(
        directory: &tempfile::TempDir,
        log: &MemoryLog,
        keys: &Arc<MemoryKeys>,
        clock: &Arc<HandClock>,
    ) -> Result<Access, AccessError> {
        let options = AccessOptions {
            policy_directory: directory.path().to_owned(),
            issuer: ISSUER.to_owned(),
            tenant: main_tenant(),
            policy_change: PolicyChange::Reload,
            index: Some(directory.path().join("access-index")),
        };
        Access::open(options, Arc::new(log.clone()), keys.clone(), clock.clone()).await
    }

    /// The same gateway after a restart over this log.
    pub(super) async fn restarted(&self, log: &MemoryLog) -> Access {
        Self::open(&self.directory, log, &self.keys, &self.clock).await.unwrap()
    }

    /// The same gateway after a restart, with the key that its provider has then.
    pub(super) async fn reopened_with(&self, keys: Arc<MemoryKeys>) -> Access {
        Self::open(&self.directory, &self.log, &keys, &self.clock).await.unwrap()
    }

    pub(super) async fn token(&self, name: &str, tenant: &str, life: SignedDuration) -> (TokenId, String) {
        let (subject, tenant) = (user(name), tenant.parse().unwrap());
        self.access.issue_token(Caller::Operator, subject, tenant, life, Scope::whole()).await.unwrap()
    }

    /// A person of tenant `main`, with a token for a day.
    pub(super) async fn login(&self, name: &str) -> Identity {
        self.login_to(name, "main").await
    }

    /// The same, at a gateway that was started again.
    pub(super) async fn login_of(&self, access: &Access, name: &str) -> Identity {
        let life = SignedDuration::from_hours(24);
        let (_, text) = access
            .issue_token(Caller::Operator, user(name), main_tenant(), life, Scope::whole())
            .await
            .unwrap();
        access.authenticate(&text, self.clock.now()).unwrap()
    }

    pub(super) async fn login_to(&self, name: &str, tenant: &str) -> Identity {
        let (_, text) = self.token(name, tenant, SignedDuration::from_hours(24)).await;
        self.access.authenticate(&text, self.clock.now()).unwrap()
    }

    /// A person of tenant `main` by a token that is for these things and nothing else.
    pub(super) async fn login_for(&self, name: &str, words: &[&str]) -> Identity {
        let (life, scope) =
            (SignedDuration::from_hours(24), Scope::from_words(words.iter().copied()).unwrap());
        let issued = self.access.issue_token(Caller::Operator, user(name), main_tenant(), life, scope);
        self.access.authenticate(&issued.await.unwrap().1, self.clock.now()).unwrap()
    }

    pub(super) fn context(&self) -> Context {
        Context::at(self.clock.now())
    }

    pub(super) fn connect(&self, who: &Identity, tunnel: &str) -> Decision {
        self.access.authorize(who, &object(tunnel), Action::Connect, &self.context())
    }

    pub(super) fn permit(&self, who: &Identity, tunnel: &str) -> Permit {
        match self.connect(who, tunnel) {
            Decision::Allowed(permit) => permit,
            other => panic!("not allowed: {}", other.explanation().why),
        }
    }

    pub(super) fn is_denied(&self, who: &Identity, tunnel: &str) -> bool {
        matches!(self.connect(who, tunnel), Decision::Denied { .. })
    }

    pub(super) async fn ask(&self, who: &Identity, tunnel: &str, minutes: u32) -> RequestId {
        self.access.request(who, ask(tunnel, minutes)).await.unwrap()
    }

    pub(super) async fn approve(&self, who: &Identity, request: RequestId) -> Result<Approved, Refusal> {
        refusal(self.access.approve(who, request, None, None).await)
    }

    /// A live grant for the demo tunnel.
    pub(super) async fn granted(&self, who: &Identity, minutes: u32) -> GrantId {
        let request = self.ask(who, "demo", minutes).await;
        let admin = self.login("anna").await;
        match self.approve(&admin, request).await.unwrap() {
            Approved::Granted(grant) => grant,
            Approved::Counted => panic!("one approval should be enough"),
        }
    }
}

pub(super) fn user(name: &str) -> Subject {
    format!("user:{name}").parse().unwrap()
}

pub(super) fn role(name: &str) -> Role {
    format!("role:{name}").parse().unwrap()
}

pub(super) fn object(tunnel: &str) -> Object {
    Object::tunnel(tunnel).unwrap()
}

pub(super) fn main_tenant() -> Tenant {
    "main".parse().unwrap()
}

pub(super) fn ask(tunnel: &str, minutes: u32) -> Ask {
    Ask {
        object: object(tunnel),
        action: Action::Connect,
        minutes,
        reason: "to see it".parse().unwrap(),
        ticket: Some("OPS-1".parse().unwrap()),
        renews: None,
        once: false,
    }
}

pub(super) fn refusal<T>(result: Result<T, AccessError>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        AccessError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    })
}

pub(super) async fn policy(rows: &str, workflows: &str) -> Result<Policy, PolicyFaults> {
    policy_with_model(default_files()[0].1, rows, workflows).await
}

pub(super) async fn policy_with_model(
    model: &str,
    rows: &str,
    workflows: &str,
) -> Result<Policy, PolicyFaults> {
    let files = [("model.conf", model), ("approvals.toml", workflows), ("policy.csv", rows)];
    Policy::build(&policy::load::Sources::new(files)).await
}

/// How a permit died; a permit that should have and didn't fails the test instead of holding it up.
pub(super) async fn ended(permit: &Permit) -> Death {
    tokio::time::timeout(std::time::Duration::from_secs(20), permit.died())
        .await
        .expect("the permit still lives")
}
