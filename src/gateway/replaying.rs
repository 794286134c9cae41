//! Deciding the ledger's history again while the gateway is stopped: names and addresses in it are sealed, so keys and
//! ledger are opened as for a start. Nothing of access is opened, and no policy comes into force.

use jiff::Timestamp;

use super::config::Config;
use super::parts::{GatewayError, open_keys, open_ledger};
use crate::access::policy::Policy;
use crate::access::replay::Report;
use crate::access::{AccessError, replay_ledger};

/// Decides again what the ledger holds.
pub async fn replay(
    config: &Config,
    policy: Policy,
    since: Option<Timestamp>,
) -> Result<Report, GatewayError> {
    let keys = tokio::task::block_in_place(|| open_keys(config))?;
    let (ledger, _, _vault) = open_ledger(config, &keys).await?;
    let reader = ledger.reader();
    let report = tokio::task::spawn_blocking(move || replay_ledger(&reader, &policy, since)).await;
    ledger.close().await?;
    let report = report.map_err(|error| GatewayError::Stopped(error.to_string()))?;
    report.map_err(|error| GatewayError::Access(AccessError::Replay(error)))
}
