//! Where admins see and replace keys while the gateway serves; and the watch that tells when one is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{By, Order, Rotated, Rotation, blocking};
use crate::clock;
use crate::console::{KeyDesk, KeyOrder, KeyProblem, KeyTrouble};
use crate::gateway::config::{Config, MaxAge};
use crate::gateway::parts::GatewayError;
use crate::gateway::schedule::{Listed, rotation_name};
use crate::gateway::setup::SetupError;

/// How often ages are looked at.
const EVERY: Duration = Duration::from_hours(1);

/// The admins' way to the keys.
pub(in crate::gateway) struct Desk {
    rotation: Arc<Rotation>,
    max_age: MaxAge,
}

impl Desk {
    pub(in crate::gateway) fn new(config: &Config, rotation: Arc<Rotation>) -> Self {
        Self { rotation, max_age: config.keys.max_age }
    }
}

impl Rotation {
    async fn listed(&self, max_age: MaxAge) -> Result<Vec<Listed>, SetupError> {
        let keys = self.keys.clone();
        blocking(move || {
            let listed = keys.inventory()?.into_iter().map(|key| {
                let last_used = keys.last_used(key.role);
                Listed { last_used, ..Listed::new(key, &max_age) }
            });
            Ok::<_, GatewayError>(listed.collect())
        })
        .await
    }
}

impl KeyDesk for Desk {
    fn list(&self) -> BoxFuture<'_, Result<Value, KeyProblem>> {
        Box::pin(async move {
            let listed = self.rotation.listed(self.max_age).await.map_err(|error| problem(&error))?;
            let now = clock::now();
            let with_warning = listed.into_iter().map(|key| {
                let warning = key.warning(now);
                let mut value = serde_json::to_value(&key).unwrap_or_default();
                if let (Value::Object(fields), Some(warning)) = (&mut value, warning) {
                    fields.insert("warning".to_owned(), warning.into());
                }
                value
            });
            Ok(Value::Array(with_warning.collect()))
        })
    }

    fn succession(&self) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move { self.rotation.successions().await.map(|all| all.encode()).unwrap_or_default() })
    }

    fn roots(&self) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(self.rotation.roots())
    }

    fn replace(self: Arc<Self>, order: KeyOrder) -> BoxFuture<'static, Result<Vec<String>, KeyProblem>> {
        Box::pin(async move {
            let what: Rotated = order.what.parse().map_err(|detail| KeyProblem {
                trouble: KeyTrouble::Unknown,
                detail,
                hint: "`sallyport keys list` shows the keys".to_owned(),
            })?;
            let by = By::Admin(Box::new(order.by), order.reason);
            let done = self.rotation.replace(Order { what, tokens_end: order.tokens_end, by }).await;
            done.map_err(|error| problem(&error))
        })
    }
}

fn problem(error: &SetupError) -> KeyProblem {
    let trouble = match error {
        SetupError::RotationRuns => KeyTrouble::Busy,
        SetupError::RootOrder { .. } => KeyTrouble::RootOrder,
        SetupError::ForeignCertificate { .. } => KeyTrouble::ForeignCertificate,
        SetupError::Gateway(GatewayError::NotRecorded(_)) => KeyTrouble::Ledger,
        SetupError::Gateway(GatewayError::Keys(_)) | SetupError::Keys(_) => KeyTrouble::Provider,
        _ => KeyTrouble::Failed,
    };
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    KeyProblem { trouble, detail, hint: error.hint() }
}

/// What the watch over the keys' ages needs.
pub(in crate::gateway) struct Watch {
    rotation: Arc<Rotation>,
    max_age: MaxAge,
    automatic: bool,
    stop: CancellationToken,
}

impl Watch {
    pub(in crate::gateway) fn new(config: &Config, rotation: Arc<Rotation>, stop: CancellationToken) -> Self {
        Self { rotation, max_age: config.keys.max_age, automatic: config.keys.succession.automatic, stop }
    }
}

/// Tells of every key that is due, or will be soon: in the log and in a record, once for each key. Replaces those that
/// nobody else has to know of, if the operator wants that.
pub(in crate::gateway) async fn watch(watch: Watch) {
    let mut told = BTreeSet::new();
    loop {
        match watch.rotation.listed(watch.max_age).await {
            Ok(listed) => {
                for key in listed {
                    look(&watch, &key, &mut told).await;
                }
            }
            Err(error) => warn!(%error, "the ages of the keys cannot be read"),
        }
        tokio::select! {
            () = watch.stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn look(watch: &Watch, key: &Listed, told: &mut BTreeSet<String>) {
    let now = clock::now();
    let (Some(warning), Some(due)) = (key.warning(now), key.due) else { return };
    if told.insert(key.key.id.clone()) {
        warn!("{warning}");
        let draft = Draft::new(Kind::KeyDue, Outcome::Success)
            .object(format!("key:{}", key.key.role))
            .detail("role", key.key.role.name())
            .detail("id", key.key.id.as_str())
            .detail("due", due.to_string());
        if let Err(error) = watch.rotation.ledger.append(draft).await {
            told.remove(&key.key.id);
            warn!(%error, "that a key is due could not be recorded");
        }
    }
    let what = rotation_name(key.key.role).and_then(|name| name.parse().ok());
    let alone = what.filter(|what| matches!(what, Rotated::Tls | Rotated::TokenSigning));
    if let Some(what) = alone.filter(|_| watch.automatic && now >= due) {
        let order = Order { what, tokens_end: false, by: By::Schedule };
        match watch.rotation.replace(order).await {
            Ok(steps) => info!(?steps, "a key was due and was replaced"),
            Err(error) => warn!(%error, hint = error.hint(), "a key is due and could not be replaced"),
        }
    }
}
