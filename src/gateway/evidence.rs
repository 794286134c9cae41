//! What the ledger is told of the gateway itself: which program started with which settings and keys, and when the HSM was away.

use std::path::Path;

use sallyport_audit::{Digest, Draft, Kind, Ledger, Outcome};
use sallyport_hsm::{Outage, Turn};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::config::{Config, OnDown};
use super::parts::{GatewayError, Parts, key_record};
use super::schedule::Listed;
use super::silence::{before_start, boot_id, with_boot};
use super::witnesses::in_force;
use crate::clock;
use crate::session::{Broker, Ending};

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
    ledger.append(super::tls::in_force(config, in_force(config, loaded))).await?;
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

/// Records each outage of the provider when it begins and when it ends, and ends what the operator wants ended then. While
/// it is down the ledger may be unable to sign: what is said then is kept in its order and signed when it can be.
pub(super) async fn watch_keys(
    mut turns: broadcast::Receiver<Turn>,
    on_down: OnDown,
    broker: Broker,
    ledger: Ledger,
    stop: CancellationToken,
) {
    loop {
        let turn = tokio::select! {
            () = stop.cancelled() => return,
            turn = turns.recv() => turn,
        };
        let draft = match turn {
            Ok(Turn::Down(outage)) => {
                if on_down == OnDown::End {
                    broker.end_all(Ending::KeysDown);
                }
                outage_record(Kind::HsmDown, Outcome::Failure, &outage)
                    .detail("reason", outage.reason.as_str())
            }
            Ok(Turn::Up { outage, at }) => {
                let down = at.duration_since(outage.since).as_millis();
                outage_record(Kind::HsmUp, Outcome::Success, &outage)
                    .detail("down_ms", u64::try_from(down).unwrap_or(0).min(1 << 52))
                    .detail("attempts", outage.attempts)
            }
            Err(RecvError::Lagged(missed)) => {
                warn!(missed, "beginnings and ends of HSM outages came faster than they could be recorded");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        if let Err(error) = ledger.enqueue(draft).await {
            warn!(%error, "the HSM's outage could not be recorded");
        }
    }
}

fn outage_record(kind: Kind, result: Outcome, outage: &Outage) -> Draft {
    Draft::new(kind, result).detail("since", outage.since.to_string()).detail("cause", outage.cause.as_str())
}
