//! Opens what the gateway stands on: keys, ledger, access. Setup uses the same three, so that the first token is recorded
//! like every later one.

use std::sync::Arc;

use sallyport_audit::cosigning::{CosignError, Cosigning};
use sallyport_audit::detection::RulesError;
use sallyport_audit::ledger::not_held;
use sallyport_audit::sink::{CursorError, SinkError};
use sallyport_audit::witnessing::SeenElsewhere;
use sallyport_audit::{Draft, Kind, Ledger, LedgerError, LedgerOptions, Opened, Outcome};
use sallyport_hsm::{KeyError, KeyInfo, Keys, ProviderConfig, Tuning};
use tracing::info;

use super::adapters::{
    IdentityError, LedgerCosigner, LedgerSigner, LedgerVault, ProviderIdentity, ProviderTokenKeys,
};
use super::config::{Config, Provider};
use super::erasures;
use super::notify::NotifyError;
use super::rotation::{finish_handover, finish_recorded, finish_root, finish_sealing, finish_shown};
use super::tls::TlsError;
use crate::access::{Access, AccessError, AccessOptions, SystemClock};
use crate::edge::ListenError;
use crate::tunnel::GatewayIdentity as _;
use crate::tunnel::client::DialError;

/// Keys, ledger and access, open.
pub struct Parts {
    /// The key provider.
    pub keys: Keys,
    /// The ledger.
    pub ledger: Ledger,
    /// What was found when it was opened.
    pub opened: Opened,
    /// The data keys of personal values.
    pub(super) vault: Arc<LedgerVault>,
    /// Identities and decisions.
    pub access: Access,
    /// The key that auditors check the ledger with, as `name+hash+key`.
    pub verifier_key: String,
    /// The key that auditors check the post-quantum cosignatures with.
    pub cosigner_key: String,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The key provider.
    #[error("the key provider cannot be used")]
    Keys(#[from] KeyError),
    /// The ledger.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] LedgerError),
    /// A record that the start depends on.
    #[error("the start cannot be recorded")]
    NotRecorded(#[from] sallyport_audit::AppendError),
    /// The data keys of personal values.
    #[error("the data keys of personal values beside the ledger cannot be used")]
    Vault(#[source] KeyError),
    /// Policy or access state.
    #[error("access control cannot start")]
    Access(#[from] AccessError),
    /// TLS.
    #[error("TLS cannot start")]
    Tls(#[from] TlsError),
    /// The listener.
    #[error("the gateway cannot listen")]
    Listen(#[from] ListenError),
    /// A sink.
    #[error("a sink cannot start")]
    Sink(#[from] SinkError),
    /// The rules of detections.
    #[error("the detection rules cannot be used")]
    Rules(#[from] RulesError),
    /// The position of detections.
    #[error("detections cannot start")]
    Detections(#[from] CursorError),
    /// A way of notifications.
    #[error("notifications cannot be sent")]
    Notify(#[from] NotifyError),
    /// The way to a witness.
    #[error("the witness `{name}` cannot be asked")]
    Witness {
        /// What the operator calls it.
        name: String,
        /// Why not.
        source: Box<DialError>,
    },
    /// A witness has seen another history of this ledger: a restored backup, or a second gateway.
    #[error("refused to start (ledger-seen-elsewhere)")]
    SeenElsewhere(#[from] SeenElsewhere),
    /// The post-quantum cosignatures.
    #[error("the ledger's heads cannot be cosigned")]
    Cosign(#[from] CosignError),
    /// The gateway's own identity.
    #[error("the gateway has no identity to show")]
    Identity(#[from] IdentityError),
    /// A task of the start ended before its time.
    #[error("the start was broken off: {0}")]
    Stopped(String),
    /// A file.
    #[error("cannot {what} {path}")]
    File {
        /// "read" or "write".
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl GatewayError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Keys(error) | Self::Identity(IdentityError::Key(error)) => error.hint().to_owned(),
            Self::Vault(error) => format!(
                "{}; a ledger belongs to the key provider that it was written with: check `ledger.directory` too",
                error.hint()
            ),
            Self::Ledger(error) => error.hint().to_owned(),
            Self::Access(error) => error.hint().to_owned(),
            Self::Listen(error) => error.hint().to_owned(),
            Self::Identity(IdentityError::Certificate(error)) => error.hint().to_owned(),
            Self::Stopped(_) => "start again; if it stays so, the log above says what happened".to_owned(),
            Self::NotRecorded(_) => "see the message above about the ledger".to_owned(),
            Self::File { .. } => "check the path and who may read and write it".to_owned(),
            Self::Tls(error) => error.hint().to_owned(),
            Self::Cosign(error) => error.hint().to_owned(),
            Self::Notify(error) => error.hint(),
            Self::Witness { source, .. } => source.hint(),
            Self::SeenElsewhere(error) => error.trouble.hint().to_owned(),
            Self::Sink(error) => error.hint().to_owned(),
            Self::Rules(_) => {
                "correct the file that detections.rules_file names; docs/siem/detections.md shows the form"
                    .to_owned()
            }
            Self::Detections(error) => error.hint().to_owned(),
        }
    }
}

/// The ledger's origin: names this log among all logs, and the key that signs it.
pub(super) fn origin(config: &Config) -> String {
    format!("{}/ledger", config.gateway.domain)
}

/// How the provider is reached.
pub(super) fn provider(config: &Config) -> ProviderConfig {
    let directory = config.keys.directory.clone();
    let provider = match config.keys.provider.clone() {
        Provider::Pkcs11 { module, token, pin_file } => {
            ProviderConfig::Pkcs11 { module, token, pin_file, directory }
        }
        Provider::Software { passphrase_file } => ProviderConfig::Software { directory, passphrase_file },
    };
    // This program serves keys too; it is found where the system says it was started from.
    match std::env::current_exe() {
        Ok(program) if config.keys.worker => {
            ProviderConfig::InWorker { program, provider: Box::new(provider) }
        }
        _ => provider,
    }
}

/// Opens the provider alone.
pub fn open_keys(config: &Config) -> Result<Keys, KeyError> {
    let tuning = Tuning { sign_timeout: config.keys.timeout, ..Tuning::default() };
    Keys::open_with(&provider(config), tuning)
}

/// The fingerprint of the gateway's identity, as publishers see it. Blocks.
pub fn fingerprint(config: &Config, keys: &Keys) -> Result<String, GatewayError> {
    let now = u64::try_from(crate::clock::now().as_second()).unwrap_or(0);
    let identity = ProviderIdentity::new(keys, &config.gateway.organisation, &config.gateway.domain, now)?;
    Ok(identity.certificate().fingerprint().to_string())
}

/// Begins to cosign the ledger's heads with the post-quantum key.
pub(super) fn cosign(config: &Config, parts: &Parts) -> Result<Cosigning, GatewayError> {
    let cosigner = LedgerCosigner::new(&parts.keys, origin(config))?;
    let every = config.ledger.cosign_every;
    Ok(Cosigning::start(parts.ledger.reader(), &config.ledger.directory, Box::new(cosigner), every)?)
}

impl Parts {
    /// Opens all three. `made` are keys that were made just now, and are recorded as such.
    pub async fn open(config: &Config, keys: Keys, made: &[KeyInfo]) -> Result<Self, GatewayError> {
        let (ledger, opened, vault) = open_ledger(config, &keys).await?;
        let verifier_key = LedgerSigner::new(&keys, origin(config))?.verifier_key();
        let ledger = ledger.on_stall(config.ledger.on_stall);
        for key in made {
            ledger.append(key_record(Kind::KeyCreated, key)).await?;
        }
        finish_recorded(&keys, &ledger).await?;
        let token_keys = Arc::new(ProviderTokenKeys::new(&keys)?);
        let options =
            AccessOptions {
                policy_directory: config.access.policy_directory.clone(),
                issuer: format!("https://{}", config.gateway.domain),
                tenant: config.access.tenant.parse().map_err(|error: crate::access::names::NameError| {
                    GatewayError::Stopped(error.to_string())
                })?,
                policy_change: config.access.policy_change,
                index: Some(config.ledger.directory.join("access-index")),
            };
        // Never waits for the key provider: its one task would let every revocation behind the first wait as long.
        let recording = ledger.clone().on_stall(sallyport_audit::ledger::OnStall::Refuse);
        let open = || {
            Access::open(
                options.clone(),
                Arc::new(recording.clone()),
                token_keys.clone(),
                Arc::new(SystemClock),
            )
        };
        let access = erasures::reconciled(&ledger, &vault, open).await?;
        let cosigner_key = LedgerCosigner::new(&keys, origin(config))?.verifier_key();
        Ok(Self { keys, ledger, opened, vault, access, verifier_key, cosigner_key })
    }
}

/// Opens the ledger alone. A handover to another key that was broken off is finished first.
pub(super) async fn open_ledger(
    config: &Config,
    keys: &Keys,
) -> Result<(Ledger, Opened, Arc<LedgerVault>), GatewayError> {
    let (signer, finished) = {
        let (config, keys) = (config.clone(), keys.clone());
        let ready = tokio::task::spawn_blocking(move || {
            // A gateway that runs may be in the midst of what would be finished here.
            not_held(&config.ledger.directory)?;
            let mut finished = finish_handover(&config, &keys)?;
            finished.extend(finish_root(&config, &keys)?);
            finished.extend(finish_shown(&config, &keys)?);
            Ok::<_, GatewayError>((LedgerSigner::new(&keys, origin(&config))?, finished))
        });
        ready.await.map_err(|error| GatewayError::Stopped(error.to_string()))??
    };
    let vault = {
        let (keys, directory) = (keys.clone(), config.ledger.directory.clone());
        tokio::task::spawn_blocking(move || LedgerVault::open(&keys, &directory))
            .await
            .map_err(|error| GatewayError::Stopped(error.to_string()))?
            .map_err(GatewayError::Vault)?
    };
    let sealed = {
        let (keys, vault) = (keys.clone(), vault.clone());
        tokio::task::spawn_blocking(move || finish_sealing(&keys, &vault))
            .await
            .map_err(|error| GatewayError::Stopped(error.to_string()))??
    };
    let mut options =
        LedgerOptions::new(config.ledger.directory.clone(), origin(config), config.gateway.domain.clone());
    options.lending.clone_from(&config.ledger.lending);
    options.segment_bytes = config.ledger.segment_bytes;
    let sealing = vault.clone();
    let (ledger, opened) =
        tokio::task::spawn_blocking(move || Ledger::open(options, Box::new(signer), sealing))
            .await
            .map_err(|error| GatewayError::Stopped(error.to_string()))??;
    tell(&opened);
    for draft in finished.into_iter().chain(sealed) {
        ledger.append(draft).await?;
    }
    Ok((ledger, opened, vault))
}

/// A record about a key: where it lives and what the token says of it.
pub(super) fn key_record(kind: Kind, key: &KeyInfo) -> Draft {
    let draft = Draft::new(kind, Outcome::Success).object(format!("key:{}", key.role));
    match serde_json::to_value(key) {
        Ok(serde_json::Value::Object(fields)) => {
            fields.into_iter().fold(draft, |draft, (name, value)| draft.detail(name, value))
        }
        _ => draft,
    }
}

fn tell(opened: &Opened) {
    info!(?opened, "ledger open");
}
