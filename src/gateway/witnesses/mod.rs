//! Has the ledger's heads witnessed, as the configuration says.
//!
//! Before anything is added to the ledger the witnesses are asked whether it is the one that they have seen: a restored
//! backup is a good ledger, but for the end that is missing. Later a task of its own asks at intervals.

use std::path::Path;
use std::sync::Arc;

use sallyport_audit::witnessing::{FirstWord, Witness, Witnessing, WitnessingOptions, ask_first};
use sallyport_audit::{Draft, Kind, Ledger, Outcome};
use tracing::{info, warn};

use super::config::Config;
use super::parts::GatewayError;

mod courier;

use courier::HttpCourier;

/// The ways to all witnesses.
pub(super) fn witnesses(config: &Config) -> Result<Vec<Witness>, GatewayError> {
    let witness = |settings: &super::config::WitnessSettings| {
        let courier = HttpCourier::new(settings).map_err(|source| GatewayError::Witness {
            name: settings.name.clone(),
            source: Box::new(source),
        })?;
        Ok(Witness { name: settings.name.clone(), key: settings.key.clone(), courier: Arc::new(courier) })
    };
    config.ledger.witnesses.all.iter().map(witness).collect()
}

/// Asks all witnesses about the ledger as it lies there. `false` if there was nothing yet that they could be shown.
pub(super) async fn known_to(
    directory: &Path,
    witnesses: &[Witness],
    config: &Config,
) -> Result<bool, GatewayError> {
    if witnesses.is_empty() {
        return Ok(true);
    }
    match ask_first(directory, witnesses, config.ledger.witnesses.timeout).await? {
        FirstWord::NothingToShow => Ok(false),
        FirstWord::Asked { agree, silent } => {
            info!(agree, of = witnesses.len(), "the witnesses know this ledger");
            for (witness, trouble) in silent {
                warn!(witness, %trouble, hint = trouble.hint(), "a witness could not be asked about the ledger");
            }
            Ok(true)
        }
    }
}

/// Begins to ask at intervals; `None` if there are no witnesses.
pub(super) fn start(config: &Config, ledger: &Ledger, witnesses: Vec<Witness>) -> Option<Witnessing> {
    let settings = &config.ledger.witnesses;
    let options = WitnessingOptions {
        directory: config.ledger.directory.clone(),
        quorum: settings.quorum,
        interval: settings.every,
        patience: settings.timeout,
        max_age: settings.max_age,
    };
    (!witnesses.is_empty()).then(|| Witnessing::start(ledger.clone(), witnesses, options))
}

/// What is in force, for `config.loaded`: whoever runs without witnesses has said so in writing.
pub(super) fn in_force(config: &Config, draft: Draft) -> Draft {
    debug_assert_eq!((draft.kind, draft.result), (Kind::ConfigLoaded, Outcome::Success));
    let settings = &config.ledger.witnesses;
    if settings.all.is_empty() {
        return draft.detail("witness_policy", "none");
    }
    let keys: Vec<_> = settings.all.iter().map(|one| serde_json::json!(one.key.name())).collect();
    draft
        .detail("witness_policy", settings.policy.as_str())
        .detail("witness_quorum", settings.quorum as u64)
        .detail("witness_max_age_secs", settings.max_age.as_secs())
        .detail("witnesses", keys)
}
