//! What the ledger is told of the gateway itself: which program started with which settings and keys, and when the HSM was away.

use std::path::Path;

use sallyport_audit::{Digest, Draft, Kind, Ledger, Outcome};
use sallyport_hsm::{Health, Keys};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::config::Config;
use super::parts::{GatewayError, Parts, key_record};
use super::schedule::Listed;
use super::silence::{before_start, boot_id, with_boot};
use super::witnesses::in_force;
use crate::clock;

/// Which program, with which settings and which keys, has started.
pub(super) async fn record_start(config: &Config, parts: &Parts) -> Result<(), GatewayError> {
    let Parts { ledger, keys, .. } = parts;
    let boot = boot_id();
    let binary = tokio::task::spawn_blocking(binary_digest).await.unwrap_or_default();
    let started = Draft::new(Kind::GatewayStarted, Outcome::Success)
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("binary_sha256", binary)
        .detail("domain", config.gateway.domain.as_str())
        .detail("heartbeat_secs", config.ledger.heartbeat.as_secs())
        .detail("before", before_start(&ledger.reader(), &parts.opened, clock::now(), boot.as_deref()));
    let started = with_boot(started, boot.as_deref());
    ledger.append(started).await?;
    let loaded = Draft::new(Kind::ConfigLoaded, Outcome::Success).detail("sha256", config.digest.to_string());
    ledger.append(in_force(config, loaded)).await?;
    let provider = keys.clone();
    let inventory = tokio::task::spawn_blocking(move || provider.inventory())
        .await
        .map_err(|error| GatewayError::Stopped(error.to_string()))??;
    for key in inventory {
        let key = Listed::new(key, &config.keys.max_age);
        if let Some(warning) = key.warning(crate::clock::now()) {
            warn!("{warning}");
        }
        let loaded = key_record(Kind::KeyLoaded, &key.key);
        let due = key.due.map(|due| due.to_string());
        ledger.append(due.into_iter().fold(loaded, |draft, due| draft.detail("due", due))).await?;
    }
    Ok(())
}

fn binary_digest() -> String {
    let read = std::env::current_exe().and_then(|path: std::path::PathBuf| hash_file(&path));
    read.unwrap_or_else(|error| format!("unknown: {error}"))
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    Ok(Digest::of(&[&std::fs::read(path)?]).to_string())
}

/// Records when the provider goes down and comes back. While it is down the ledger cannot sign, so that word of it waits
/// until it is up again; the times in both records tell how long it was.
pub(super) async fn watch_keys(keys: Keys, ledger: Ledger, stop: CancellationToken) {
    let mut health = keys.health();
    loop {
        let draft = match &*health.borrow_and_update() {
            Health::Up => Draft::new(Kind::HsmUp, Outcome::Success),
            Health::Down { since, reason } => Draft::new(Kind::HsmDown, Outcome::Failure)
                .detail("since", since.to_string())
                .detail("reason", reason.as_str()),
        };
        let went_down = draft.kind == Kind::HsmDown;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
        }
        if went_down && matches!(&*health.borrow(), Health::Up) {
            let up = Draft::new(Kind::HsmUp, Outcome::Success);
            for draft in [draft, up] {
                if let Err(error) = ledger.append(draft).await {
                    warn!(%error, "the HSM's outage could not be recorded");
                }
            }
        }
    }
}
