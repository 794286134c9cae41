//! Makes a state directory from nothing: token, keys, root, certificate, policy, configuration, first tokens.
//!
//! Every step makes what is absent and leaves what is there, so that setup can be run again after it was interrupted, and
//! renews a certificate that is about to expire. The first tokens are issued through the ledger like every later one.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::Ledger;
use sallyport_hsm::authority::{self, RootOptions, Validity};
use sallyport_hsm::{KeyError, KeyInfo, Keys, PublicKey, Role, RootBundle};
use secrecy::SecretString;

use super::config::{Config, ConfigError, Provider, commented_file, environment};
use super::parts::{GatewayError, Parts, open_keys};
use super::tls::Certificates;
use crate::access::{Caller, Scope, Subject, Tenant};
use crate::clock;
use crate::secret_file;

/// Name of the configuration file in a state directory.
pub const CONFIG_FILE: &str = "sallyport.toml";

const POLICIES: &[(&str, &str)] = &[
    ("model.conf", include_str!("../../policies/model.conf")),
    ("policy.csv", include_str!("../../policies/policy.csv")),
    ("approvals.toml", include_str!("../../policies/approvals.toml")),
    ("conditions.toml", include_str!("../../policies/conditions.toml")),
];

/// What setup is to make.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// The state directory.
    pub state: PathBuf,
    /// PKCS#11 module; `None` keeps the keys in a sealed file.
    pub module: Option<PathBuf>,
    /// Public domain.
    pub domain: String,
    /// Listening address.
    pub listen: String,
    /// Ports of TCP tunnels.
    pub tcp_ports: String,
    /// People who get a first token, `user:NAME`.
    pub people: Vec<String>,
}

/// What setup did.
#[derive(Debug, Default)]
pub struct Done {
    /// One line each, for the operator.
    pub steps: Vec<String>,
}

/// Why setup stopped.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The written configuration does not hold.
    #[error("the configuration is not usable")]
    Config(#[from] ConfigError),
    /// A part of the gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The key provider.
    #[error("the key provider cannot be used")]
    Keys(#[from] KeyError),
    /// A file.
    #[error("cannot write {path}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name of a person.
    #[error("`{name}` is not a person: {why}")]
    Person {
        /// What was given.
        name: String,
        /// Why not.
        why: String,
    },
    /// The gateway serves, and so it holds the ledger.
    #[error("refused (gateway-runs): a gateway holds the ledger in {directory}")]
    GatewayRuns {
        /// The ledger's directory.
        directory: PathBuf,
    },
    /// The steps of replacing the private root have an order.
    #[error("refused (root-order): {why}")]
    RootOrder {
        /// What is not as this step needs it.
        why: &'static str,
    },
    /// One rotation at a time.
    #[error("refused (rotation-runs): keys are being replaced right now")]
    RotationRuns,
    /// The server's certificate is not from the private root: it would be lost, and we could make no other like it.
    #[error(
        "refused (foreign-certificate): the certificate {path} was not issued by the private root {root}"
    )]
    ForeignCertificate {
        /// The certificate.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// The system gives no randomness for PINs.
    #[error("the system gives no randomness")]
    Randomness,
}

impl SetupError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint().to_owned(),
            Self::Gateway(error) => error.hint(),
            Self::Keys(error) => error.hint().to_owned(),
            Self::File { .. } => "check who may write there, and that the disk is not full".to_owned(),
            Self::Person { .. } => "write user:NAME in lower case".to_owned(),
            Self::GatewayRuns { .. } => {
                "ask the gateway itself (`sallyport keys rotate`), or stop the gateway, replace the key, and start it again; nothing was changed".to_owned()
            }
            Self::RootOrder { .. } => {
                "nothing was changed; the order is root-announce, root-switch, root-retire, and whoever has the root needs \
                 the new bundle before the second".to_owned()
            }
            Self::RotationRuns => "wait until that has ended, and see what it did: `sallyport keys list`".to_owned(),
            Self::ForeignCertificate { .. } => {
                "nothing was changed; whoever issued this certificate certifies its key, which this version replaces only \
                 together with a certificate of its own: move the file away to have one"
                    .to_owned()
            }
            Self::Randomness => "try again when the system has started".to_owned(),
        }
    }
}

/// Makes what is absent in the state directory.
pub async fn set_up(wishes: &Wishes) -> Result<Done, SetupError> {
    let mut done = Done::default();
    directories(&wishes.state)?;
    secrets(wishes)?;
    let text = commented_file(&settings(wishes));
    let file = wishes.state.join(CONFIG_FILE);
    if !file.exists() {
        write(&file, text.as_bytes())?;
        done.steps.push(format!("wrote the configuration {}", file.display()));
    }
    let config = Config::load(&file, environment(), &[])?;
    policies(&config, &mut done)?;

    let (keys, made) = {
        let config = config.clone();
        let work = tokio::task::spawn_blocking(move || keys(&config));
        work.await.map_err(|error| GatewayError::Stopped(error.to_string()))??
    };
    for key in &made {
        done.steps.push(format!("made the key `{}` ({}) in {}", key.role, key.algorithm, key.home));
    }
    let certificates_made = {
        let (config, keys) = (config.clone(), keys.clone());
        let work = tokio::task::spawn_blocking(move || certificates(&config, &keys));
        work.await.map_err(|error| GatewayError::Stopped(error.to_string()))??
    };
    done.steps.extend(certificates_made);
    let absent: Vec<&String> =
        wishes.people.iter().filter(|person| !token_file(&wishes.state, person).exists()).collect();
    let verifier = wishes.state.join("ledger.vkey");
    // Written when the keys are in the ledger: without it, an earlier setup was broken off, and all of them are recorded.
    let first = !verifier.exists();
    if first || !made.is_empty() || !absent.is_empty() {
        let unrecorded = if first { inventory(&keys).await? } else { made };
        let parts = Parts::open(&config, keys, &unrecorded).await?;
        let key = format!("{}\n", parts.verifier_key);
        let cosigner = format!("{}\n", parts.cosigner_key);
        let written = write(&wishes.state.join("ledger-pq.vkey"), cosigner.as_bytes())
            .and_then(|()| write(&verifier, key.as_bytes()));
        let issued = match written {
            Ok(()) => first_tokens(&config, &parts, &absent, &wishes.state, &mut done).await,
            Err(error) => Err(error),
        };
        parts.access.close().await;
        close(&parts.ledger).await?;
        issued?;
    }
    Ok(done)
}

async fn inventory(keys: &Keys) -> Result<Vec<KeyInfo>, SetupError> {
    let keys = keys.clone();
    let listed = tokio::task::spawn_blocking(move || keys.inventory()).await;
    Ok(listed.map_err(|error| GatewayError::Stopped(error.to_string()))??)
}

async fn close(ledger: &Ledger) -> Result<(), SetupError> {
    ledger.close().await.map_err(|error| GatewayError::Ledger(error).into())
}

fn directories(state: &Path) -> Result<(), SetupError> {
    for name in ["", "secrets", "keys", "tls", "policies", "tokens"] {
        let path = state.join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|source| SetupError::File { path, source })?;
    }
    Ok(())
}

/// Random PINs and the passphrase, each in a file that only we may read.
fn secrets(wishes: &Wishes) -> Result<(), SetupError> {
    let names: &[&str] = if wishes.module.is_some() { &["user.pin", "so.pin"] } else { &["passphrase"] };
    for name in names {
        let path = wishes.state.join("secrets").join(name);
        if !path.exists() {
            let mut bytes = zeroize::Zeroizing::new([0_u8; 16]);
            getrandom::fill(&mut *bytes).map_err(|_| SetupError::Randomness)?;
            write(&path, hex::encode(*bytes).as_bytes())?;
        }
    }
    Ok(())
}

fn settings(wishes: &Wishes) -> Vec<(&'static str, String)> {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let mut settings = vec![
        ("gateway.domain", text(&wishes.domain)),
        ("gateway.listen", text(&wishes.listen)),
        ("tunnels.tcp_ports", text(&wishes.tcp_ports)),
    ];
    match &wishes.module {
        Some(module) => {
            settings.push(("keys.provider", text("pkcs11")));
            settings.push(("keys.module", text(&module.to_string_lossy())));
        }
        None => settings.push(("keys.provider", text("software"))),
    }
    settings
}

fn policies(config: &Config, done: &mut Done) -> Result<(), SetupError> {
    for (name, text) in POLICIES {
        let path = config.access.policy_directory.join(name);
        if !path.exists() {
            write(&path, text.as_bytes())?;
            done.steps.push(format!("wrote the policy file {}", path.display()));
        }
    }
    Ok(())
}

/// Opens the provider, making the token if its label is not there, and the keys that are missing.
fn keys(config: &Config) -> Result<(Keys, Vec<KeyInfo>), SetupError> {
    let opened = match (open_keys(config), &config.keys.provider) {
        (Err(KeyError::TokenAbsent { .. }), Provider::Pkcs11 { module, token, pin_file }) => {
            let so_file = pin_file.with_file_name("so.pin");
            let (so_pin, user_pin) = (read_secret(&so_file)?, read_secret(pin_file)?);
            sallyport_hsm::init_token(module, token, &so_pin, &user_pin)?;
            open_keys(config)?
        }
        (opened, _) => opened?,
    };
    let mut made = opened.generate_missing()?;
    if config.tls.with_ml_dsa {
        made.extend(opened.generate_optional(Role::TlsPq)?);
    }
    Ok((opened, made))
}

fn read_secret(path: &Path) -> Result<SecretString, SetupError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SetupError::File { path: path.to_owned(), source })?;
    Ok(SecretString::from(text.trim().to_owned()))
}

/// Root and server certificate, made or renewed.
pub(super) fn certificates(config: &Config, keys: &Keys) -> Result<Vec<String>, SetupError> {
    let mut steps = Vec::new();
    let now = clock::now();
    let root_file = &config.tls.root_file;
    if !root_file.exists() {
        let options =
            RootOptions { organisation: config.gateway.organisation.clone(), validity: Validity::root(now) };
        write(root_file, authority::create_root(keys, &options)?.as_bytes())?;
        steps.push(format!("made the root certificate {}", root_file.display()));
    }
    if !still_good(config, keys, now) {
        steps.push(issue_server_certificate(config, keys, &keys.public_key(Role::Tls)?)?);
    }
    Ok(steps)
}

/// Has the private root certify a TLS key, and puts the certificate into its file.
pub(super) fn issue_server_certificate(
    config: &Config,
    keys: &Keys,
    key: &PublicKey,
) -> Result<String, SetupError> {
    let (leaf_file, root_file) = (&config.tls.certificate_file, &config.tls.root_file);
    let root = std::fs::read_to_string(root_file)
        .map_err(|source| SetupError::File { path: root_file.clone(), source })?;
    let domain = &config.gateway.domain;
    let mut names = vec![domain.clone(), format!("*.{domain}")];
    if domain == "localhost" {
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    let leaf = authority::issue_server_leaf_for(
        keys,
        &root,
        &names,
        Validity { now: clock::now(), lasts: config.tls.leaf },
        key,
    )?;
    write(leaf_file, leaf.as_bytes())?;
    Ok(format!("issued the server certificate {} for {}", leaf_file.display(), names.join(", ")))
}

/// Refuses to replace a certificate that the private root did not issue. One that is not there may be made.
pub(super) fn only_of_our_root(config: &Config) -> Result<(), SetupError> {
    let (path, root) = (&config.tls.certificate_file, &config.tls.root_file);
    let Ok(leaf) = std::fs::read_to_string(path) else { return Ok(()) };
    let ours = std::fs::read_to_string(root).ok().is_some_and(|roots| RootBundle::issued(&roots, &leaf));
    let foreign = || SetupError::ForeignCertificate { path: path.clone(), root: root.clone() };
    if ours { Ok(()) } else { Err(foreign()) }
}

/// Whether the certificate is there, is for the provider's key, and will be valid for a while.
fn still_good(config: &Config, keys: &Keys, now: Timestamp) -> bool {
    let leaf_file = &config.tls.certificate_file;
    if Certificates::open(keys, &config.tls, &config.gateway.domain).is_err() {
        return false;
    }
    // A third of its time: what the gateway itself keeps to while it runs.
    let before = SignedDuration::try_from(config.tls.leaf / 3).unwrap_or(SignedDuration::ZERO);
    let Ok(later) = now.checked_add(before) else { return false };
    std::fs::read_to_string(leaf_file)
        .ok()
        .and_then(|pem| authority::valid_until(&pem).ok())
        .is_some_and(|end| later < end)
}

async fn first_tokens(
    config: &Config,
    parts: &Parts,
    people: &[&String],
    state: &Path,
    done: &mut Done,
) -> Result<(), SetupError> {
    let wrong = |name: &str, why: &dyn std::fmt::Display| SetupError::Person {
        name: name.to_owned(),
        why: why.to_string(),
    };
    let tenant: Tenant =
        config.access.tenant.parse().map_err(|error| wrong(&config.access.tenant, &error))?;
    let life = SignedDuration::try_from(config.access.token_life).unwrap_or(SignedDuration::from_hours(24));
    for person in people {
        let subject: Subject = person.parse().map_err(|error| wrong(person, &error))?;
        let (id, token) = parts
            .access
            .issue_token(Caller::Operator, subject, tenant.clone(), life, Scope::whole())
            .await
            .map_err(GatewayError::Access)?;
        let file = token_file(state, person);
        write(&file, token.as_bytes())?;
        done.steps.push(format!("issued {id} for {person} into {}", file.display()));
    }
    Ok(())
}

fn token_file(state: &Path, person: &str) -> PathBuf {
    let name = person.strip_prefix("user:").unwrap_or(person);
    let safe: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).collect();
    state.join("tokens").join(format!("{safe}.token"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    secret_file::write(path, bytes).map_err(|source| SetupError::File { path: path.to_owned(), source })
}
