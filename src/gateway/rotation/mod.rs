//! Replaces the gateway's keys, while it serves and while it is stopped, by the same steps.
//!
//! The new key is made beside the old one, and its making is recorded. Then what depends on it is brought over, and one
//! step decides: before it nothing has changed and the key that was made waits for the next attempt; behind it the
//! rotation is carried to its end, by this run or by the next start. Only at the end the old key is destroyed.
//!
//! | keys | the step that decides |
//! |---|---|
//! | `ledger` | the head that both keys have signed, over the record that names them (`heads`) |
//! | `ledger-pq`, `token-signing`, `identity` | the record `key.rotated` (`recorded`) |
//! | the private root | the bundle in which the next root stands first (`root`) |
//! | `tls` | the certificate for the new key in its file (`shown`) |
//! | `kek` | the new key itself: from then on it seals (`sealing`) |
//!
//! Whoever shows a public key beside a signature holds a handle of that key, so no connection is dropped: new
//! handshakes are by the new key, and the old one is destroyed when nobody holds it any more.

mod desk;
mod heads;
mod people;
mod recorded;
mod root;
mod sealing;
mod shown;

#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::{Draft, Kind, Ledger, LedgerError, Outcome};
use sallyport_hsm::{KeyInfo, Keys, Role};
use tokio::sync::watch;
use tokio::time::Instant;

use super::adapters::LedgerVault;
use super::config::Config;
use super::parts::{GatewayError, Parts, key_record, open_keys};
use super::setup::SetupError;
use super::tls::{Certificates, ClientAuthority};
use crate::access::{Access, Caller, Identity, Reason};
use crate::tunnel::GatewayIdentity;

pub(super) use desk::{Desk, Watch, watch};
pub(super) use heads::finish_handover;
pub(super) use recorded::finish_recorded;
pub(super) use root::finish_root;
pub(super) use sealing::finish_sealing;
pub(super) use shown::finish_shown;

/// What can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// Roles `ledger` and `ledger-pq`.
    Ledger,
    /// Role `tls`, with a new certificate.
    Tls,
    /// Roles `identity` and `identity-pq`.
    Identity,
    /// Role `token-signing`.
    TokenSigning,
    /// Role `kek`.
    Kek,
    /// Role `certificate-authority`: the next root is made and handed out.
    RootAnnounce,
    /// The same: it issues.
    RootSwitch,
    /// The same: the one before is taken away.
    RootRetire,
}

impl Rotated {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ledger,
        Self::Tls,
        Self::Identity,
        Self::TokenSigning,
        Self::Kek,
        Self::RootAnnounce,
        Self::RootSwitch,
        Self::RootRetire,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Tls => "tls",
            Self::Identity => "identity",
            Self::TokenSigning => "token-signing",
            Self::Kek => "kek",
            Self::RootAnnounce => "root-announce",
            Self::RootSwitch => "root-switch",
            Self::RootRetire => "root-retire",
        }
    }
}

impl FromStr for Rotated {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|rotated| rotated.name() == text);
        found.ok_or_else(|| format!("this is none of the keys that can be replaced: {}", names()))
    }
}

/// Who has keys replaced.
#[derive(Debug, Clone)]
pub enum By {
    /// Whoever runs the gateway on its own host.
    Operator,
    /// The schedule that the operator set.
    Schedule,
    /// An admin, and why.
    Admin(Box<Identity>, Reason),
}

impl By {
    fn caller(&self) -> Caller {
        match self {
            Self::Operator | Self::Schedule => Caller::Operator,
            Self::Admin(identity, _) => Caller::Person(Identity::clone(identity)),
        }
    }

    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Operator => None,
            Self::Schedule => "it was due, and keys.rotate_automatically is set".parse().ok(),
            Self::Admin(_, reason) => Some(reason.clone()),
        }
    }

    fn sign(&self, draft: Draft) -> Draft {
        match self {
            Self::Operator => draft.detail("by", "operator"),
            Self::Schedule => draft.detail("by", "schedule"),
            Self::Admin(identity, reason) => {
                draft.subject(identity.subject().as_str()).reason(reason.as_str())
            }
        }
    }
}

/// An order to replace keys.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which.
    pub what: Rotated,
    /// Whether tokens end that the old key signed; for `token-signing` alone.
    pub tokens_end: bool,
    /// Who wants it.
    pub by: By,
}

/// What shows keys to others while the gateway serves.
pub(super) struct Shown {
    /// To TLS clients.
    pub(super) certificates: Arc<Certificates>,
    /// To check clients' certificates with.
    pub(super) clients: Option<Arc<ClientAuthority>>,
    /// To publishers.
    pub(super) identity: watch::Sender<Arc<dyn GatewayIdentity>>,
    /// To auditors, in the console.
    pub(super) verifier_key: watch::Sender<String>,
    /// In cosignatures.
    pub(super) cosigner: Option<sallyport_audit::cosigning::Seat>,
    /// How long a handshake may hold an old key.
    pub(super) patience: Duration,
}

/// Replaces keys of one gateway.
pub(super) struct Rotation {
    config: Config,
    keys: Keys,
    ledger: Ledger,
    vault: Arc<LedgerVault>,
    access: Access,
    /// `None` while the gateway is stopped.
    shown: Option<Shown>,
    turn: tokio::sync::Mutex<()>,
}

/// A role's key, and the one that waits to follow it.
struct Pair {
    old: Option<KeyInfo>,
    new: KeyInfo,
}

/// Replaces keys of a gateway that is stopped, and says what was done.
///
/// # Errors
///
/// If the gateway runs (it holds the ledger), or a step fails; what was begun is finished by the next attempt.
pub async fn rotate(config: &Config, order: Order) -> Result<Vec<String>, SetupError> {
    let keys = {
        let config = config.clone();
        blocking(move || open_keys(&config).map_err(GatewayError::Keys)).await?
    };
    // Before anything is made: a gateway that runs holds the ledger, and this says so.
    let parts = Parts::open(config, keys, &[]).await.map_err(|error| match error {
        GatewayError::Ledger(LedgerError::Locked { directory }) => SetupError::GatewayRuns { directory },
        error => error.into(),
    })?;
    let rotation = Rotation::new(config, &parts, None);
    let done = rotation.replace(order).await;
    parts.access.close().await;
    let closed = parts.ledger.close().await.map_err(|error| SetupError::from(GatewayError::Ledger(error)));
    let steps = done?;
    closed.map(|()| steps)
}

impl Rotation {
    pub(super) fn new(config: &Config, parts: &Parts, shown: Option<Shown>) -> Self {
        Self {
            config: config.clone(),
            keys: parts.keys.clone(),
            ledger: parts.ledger.clone(),
            vault: parts.vault.clone(),
            access: parts.access.clone(),
            shown,
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Replaces keys, and says what was done.
    pub(super) async fn replace(&self, order: Order) -> Result<Vec<String>, SetupError> {
        let _turn = self.turn.try_lock().map_err(|_| SetupError::RotationRuns)?;
        let by = &order.by;
        match order.what {
            Rotated::Ledger => self.heads(by).await,
            Rotated::Tls => self.tls(by).await,
            Rotated::Identity => self.identity(by).await,
            Rotated::TokenSigning => self.token_signing(by, !order.tokens_end).await,
            Rotated::Kek => self.kek(by).await,
            Rotated::RootAnnounce => self.announce_root(by).await,
            Rotated::RootSwitch => self.switch_root(by).await,
            Rotated::RootRetire => self.retire_root(by).await,
        }
    }

    /// The key of a role, and the one that follows it: made and recorded, if none waits yet.
    async fn prepare(&self, role: Role, by: &By) -> Result<Pair, SetupError> {
        let keys = self.keys.clone();
        let pair = blocking(move || {
            let old = keys.inventory()?.into_iter().find(|key| key.role == role);
            Ok::<_, GatewayError>(Pair { old, new: keys.prepare_successor(role)? })
        })
        .await?;
        self.record(by.sign(key_record(Kind::KeyCreated, &pair.new))).await?;
        Ok(pair)
    }

    /// Puts the new key in the place of the old one, which is destroyed.
    async fn promote(&self, pair: &Pair, by: &By) -> Result<String, SetupError> {
        let (keys, wanted) = (self.keys.clone(), pair.new.clone());
        blocking(move || keys.promote(&wanted).map_err(GatewayError::Keys)).await?;
        if let Some(old) = &pair.old {
            self.record(by.sign(retired(old))).await?;
        }
        let Pair { new, .. } = pair;
        Ok(format!("the key `{}` ({}) is a new one, in {}", new.role, new.algorithm, new.home))
    }

    async fn record(&self, draft: Draft) -> Result<(), SetupError> {
        self.ledger.append(draft).await.map(drop).map_err(|error| GatewayError::NotRecorded(error).into())
    }
}

/// The record that a key was replaced: by fingerprints, or by ids where there is no public key.
fn rotated(old: Option<&KeyInfo>, new: &KeyInfo) -> Draft {
    let draft = Draft::new(Kind::KeyRotated, Outcome::Success)
        .object(format!("key:{}", new.role))
        .detail("role", new.role.name())
        .detail("new", name_of(new));
    old.into_iter().fold(draft, |draft, old| draft.detail("old", name_of(old)))
}

fn name_of(key: &KeyInfo) -> String {
    key.fingerprint.clone().unwrap_or_else(|| key.id.clone())
}

fn retired(old: &KeyInfo) -> Draft {
    key_record(Kind::KeyRetired, old).detail("private_key", "destroyed")
}

/// Waits until nobody holds `old` any more, but not for longer than `patience`: whoever holds it then is cut off.
async fn let_go<T: ?Sized>(old: &Arc<T>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while Arc::strong_count(old) > 1 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, SetupError>
where
    T: Send + 'static,
    E: Into<SetupError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| GatewayError::Stopped(error.to_string()))?.map_err(Into::into)
}
