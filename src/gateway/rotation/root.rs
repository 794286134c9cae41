//! The private root, replaced in three steps that the operator takes when people are ready for each.
//!
//! 1. *announce*: the next root is made and handed out beside the one that issues. Nothing else changes.
//! 2. *switch*: the next root issues from here on: the server's certificate, the identity's, people's. The key of the one
//!    before is destroyed; its certificate stays in the bundle, for what it has issued.
//! 3. *retire*: the one before is taken out of the bundle, and what it issued counts no more.
//!
//! Whoever has the bundle of the first step goes on through the others. The step that decides a switch is the bundle in
//! whose file the next root stands first: a start that finds it there finishes what was begun.

use std::path::PathBuf;

use sallyport_audit::{Draft, Kind, Outcome};
use sallyport_hsm::authority::{self, RootOptions, Validity};
use sallyport_hsm::{KeyError, KeyHandle, Keys, PublicKey, Role, RootBundle};
use tracing::{info, warn};

use super::{By, Rotation, blocking, let_go, retired, rotated};
use crate::clock;
use crate::gateway::adapters::ProviderIdentity;
use crate::gateway::config::Config;
use crate::gateway::parts::GatewayError;
use crate::gateway::setup::{self, SetupError};
use crate::secret_file;

const AUTHORITY: Role = Role::CertificateAuthority;

impl Rotation {
    pub(super) async fn announce_root(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let config = self.config.clone();
        let bundle = blocking(move || bundle(&config)).await?;
        let pair = {
            let keys = self.keys.clone();
            let present = blocking(move || keys.public_key(AUTHORITY).map_err(GatewayError::Keys)).await?;
            if bundle.issuing().map(sallyport_hsm::authority::RootCertificate::public_key) != Some(&present) {
                return Err(order("the root that issues is not of the provider's key"));
            }
            self.waiting_beside(&bundle).await?;
            self.prepare(AUTHORITY, by).await?
        };
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let bundle = blocking(move || {
            let waiting = keys.waiting(AUTHORITY).map_err(GatewayError::Keys)?;
            if bundle.others().any(|root| root.public_key() == waiting.public()) {
                // Announced by an attempt that was broken off before it was recorded.
                return Ok(bundle);
            }
            let options = RootOptions {
                organisation: config.gateway.organisation.clone(),
                validity: Validity::root(clock::now()),
            };
            let next = authority::create_root_of(&waiting, &options).map_err(GatewayError::Keys)?;
            let texts = bundle.iter().map(|(_, pem)| pem).chain([next.as_str()]);
            write(&config, &texts.collect::<String>())
        })
        .await?;
        self.roots_changed().await?;
        self.record(by.sign(told("announced", &bundle)?)).await?;
        Ok(vec![
            format!(
                "the key `{AUTHORITY}` ({}) of the next root was made, in {}",
                pair.new.algorithm, pair.new.home
            ),
            format!("give the bundle {} to whoever has the root, and then: root-switch", self.bundle_file()),
        ])
    }

    pub(super) async fn switch_root(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let (config, keys) = (self.config.clone(), self.keys.clone());
        blocking(move || setup::only_of_our_root(&config)).await?;
        let (pair, bundle) = {
            let config = self.config.clone();
            blocking(move || {
                let bundle = bundle(&config)?;
                let waiting = waiting(&keys)?.ok_or_else(|| order("no next root is announced"))?;
                let next = |key: &PublicKey| bundle.iter().find(|(root, _)| root.public_key() == key);
                let Some((_, next)) = next(waiting.public()) else {
                    return Err(order("the next root is not in the bundle"));
                };
                let others = bundle.iter().filter(|(root, _)| root.public_key() != waiting.public());
                let texts: String = [next].into_iter().chain(others.map(|(_, pem)| pem)).collect();
                let old = keys.inventory()?.into_iter().find(|key| key.role == AUTHORITY);
                let new = keys.successor(AUTHORITY)?.ok_or_else(|| order("no next root is announced"))?;
                // From here on it is decided.
                Ok((super::Pair { old, new }, write(&config, &texts)?))
            })
            .await?
        };
        self.record(by.sign(rotated(pair.old.as_ref(), &pair.new))).await?;
        let mut steps = vec![self.promote(&pair, by).await?];
        self.roots_changed().await?;
        steps.push(self.certify_anew().await?);
        self.record(by.sign(told("switched", &bundle)?)).await?;
        steps.push("what the root before has issued counts until root-retire, or its own end".to_owned());
        Ok(steps)
    }

    pub(super) async fn retire_root(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let bundle = blocking(move || {
            let bundle = bundle(&config)?;
            if keys.successor(AUTHORITY)?.is_some() {
                return Err(order("the next root does not issue yet"));
            }
            if bundle.others().next().is_none() {
                return Err(order("there is no root beside the one that issues"));
            }
            let issuing: String = bundle.iter().take(1).map(|(_, pem)| pem).collect();
            // A switch that was broken off may have left the server's certificate to the next renewal.
            if server_certificate_is_of_another_root(&config, &bundle) {
                setup::issue_server_certificate(&config, &keys, &keys.public_key(Role::Tls)?)?;
            }
            write(&config, &issuing)
        })
        .await?;
        self.show_server_certificate().await?;
        self.roots_changed().await?;
        self.record(by.sign(told("retired", &bundle)?)).await?;
        Ok(vec![format!("the bundle {} holds the root that issues, and no other", self.bundle_file())])
    }

    /// The bundle has one root, or the one beside it is the one that waits.
    async fn waiting_beside(&self, bundle: &RootBundle) -> Result<(), SetupError> {
        let others: Vec<PublicKey> = bundle.others().map(|root| root.public_key().clone()).collect();
        let keys = self.keys.clone();
        blocking(move || {
            let waits = waiting(&keys)?.map(|waiting| waiting.public().clone());
            if others.iter().any(|other| Some(other) != waits.as_ref()) {
                return Err(order("the root before is still in the bundle: root-retire comes first"));
            }
            Ok(())
        })
        .await
    }

    /// What the root has signed and the gateway shows: the server's certificates and the identity's.
    async fn certify_anew(&self) -> Result<String, SetupError> {
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let step =
            blocking(move || setup::issue_server_certificate(&config, &keys, &keys.public_key(Role::Tls)?))
                .await?;
        self.show_server_certificate().await?;
        if let Some(shown) = &self.shown {
            let (config, keys) = (self.config.clone(), self.keys.clone());
            let identity = blocking(move || {
                let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
                let (organisation, domain) = (&config.gateway.organisation, &config.gateway.domain);
                ProviderIdentity::new(&keys, organisation, domain, now).map_err(GatewayError::Identity)
            })
            .await?;
            let old = shown.identity.send_replace(std::sync::Arc::new(identity));
            let_go(&old, shown.patience).await;
        }
        Ok(step)
    }

    /// Certificates for single names are issued by the root in the file, so they are issued anew.
    async fn show_server_certificate(&self) -> Result<(), SetupError> {
        let Some(shown) = &self.shown else { return Ok(()) };
        let (certificates, tls) = (shown.certificates.clone(), self.config.tls.clone());
        blocking(move || {
            certificates.root_changed(&tls.root_file);
            certificates
                .show(&tls.certificate_file, certificates.key_pair())
                .map(drop)
                .map_err(GatewayError::Tls)
        })
        .await
    }

    /// Clients' certificates are checked with the roots in the bundle, unless the operator named others.
    async fn roots_changed(&self) -> Result<(), SetupError> {
        let Some(clients) = self.shown.as_ref().and_then(|shown| shown.clients.clone()) else {
            return Ok(());
        };
        blocking(move || clients.read_roots_again().map(|believe| believe()).map_err(GatewayError::Tls)).await
    }

    fn bundle_file(&self) -> String {
        self.config.tls.root_file.display().to_string()
    }

    /// The roots as they are handed out, in PEM.
    pub(super) async fn roots(&self) -> Vec<u8> {
        let config = self.config.clone();
        let read = blocking(move || bundle(&config)).await;
        read.map(|bundle| bundle.iter().map(|(_, pem)| pem).collect::<String>().into_bytes())
            .unwrap_or_default()
    }
}

/// Finishes a switch to the next root that was decided. To be done before anything is certified. Blocks.
pub(in crate::gateway) fn finish_root(config: &Config, keys: &Keys) -> Result<Vec<Draft>, GatewayError> {
    let Some(new) = keys.successor(AUTHORITY)? else { return Ok(Vec::new()) };
    let waiting = keys.waiting(AUTHORITY)?;
    let bundle = std::fs::read_to_string(&config.tls.root_file).ok();
    let bundle = bundle.and_then(|pem| RootBundle::from_pem(&pem).ok());
    let issuing = bundle.as_ref().and_then(RootBundle::issuing);
    if issuing.is_none_or(|root| root.public_key() != waiting.public()) {
        info!("the key of a next root waits, which does not issue yet");
        return Ok(Vec::new());
    }
    warn!("a switch to the next root was broken off after it was decided; it is finished now");
    let old = keys.inventory()?.into_iter().find(|key| key.role == AUTHORITY);
    keys.promote(&new)?;
    let mut drafts = vec![rotated(old.as_ref(), &new).detail("finished", "at start")];
    drafts.extend(old.as_ref().map(retired));
    Ok(drafts)
}

/// The key of the next root, if one is made.
fn waiting(keys: &Keys) -> Result<Option<KeyHandle>, KeyError> {
    match keys.successor(AUTHORITY)? {
        Some(_) => keys.waiting(AUTHORITY).map(Some),
        None => Ok(None),
    }
}

fn order(why: &'static str) -> SetupError {
    SetupError::RootOrder { why }
}

fn bundle(config: &Config) -> Result<RootBundle, SetupError> {
    let path = &config.tls.root_file;
    let pem = std::fs::read_to_string(path).map_err(|source| GatewayError::File {
        what: "read",
        path: path.clone(),
        source,
    })?;
    Ok(RootBundle::from_pem(&pem)?)
}

fn write(config: &Config, pem: &str) -> Result<RootBundle, SetupError> {
    let path: &PathBuf = &config.tls.root_file;
    let written = RootBundle::from_pem(pem)?;
    secret_file::write(path, pem.as_bytes()).map_err(|source| GatewayError::File {
        what: "write",
        path: path.clone(),
        source,
    })?;
    Ok(written)
}

fn server_certificate_is_of_another_root(config: &Config, bundle: &RootBundle) -> bool {
    let Ok(leaf) = std::fs::read_to_string(&config.tls.certificate_file) else { return false };
    bundle.others().any(|root| root.issued(&leaf).unwrap_or(false))
}

/// Which roots are handed out.
fn told(step: &'static str, bundle: &RootBundle) -> Result<Draft, SetupError> {
    let fingerprints: Result<Vec<String>, KeyError> =
        bundle.iter().map(|(_, pem)| authority::fingerprint(pem)).collect();
    Ok(Draft::new(Kind::CertificateLoaded, Outcome::Success)
        .object("gateway:root")
        .detail("step", step)
        .detail("roots", fingerprints?))
}
