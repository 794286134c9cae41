//! Keys that are shown to others with a certificate: the TLS key, and the identity. Swapped between two handshakes.

use std::sync::Arc;

use sallyport_audit::Draft;
use sallyport_hsm::{Keys, PublicKey, Role, authority};
use tracing::{info, warn};

use super::{By, Rotation, blocking, let_go, name_of, retired, rotated};
use crate::clock;
use crate::gateway::adapters::ProviderIdentity;
use crate::gateway::config::Config;
use crate::gateway::parts::GatewayError;
use crate::gateway::setup::{self, SetupError};
use crate::gateway::tls::KeyPair;
use crate::secret_file;
use crate::tunnel::{GatewayIdentity as _, Succession, SuccessionBody, Successions};

impl Rotation {
    pub(super) async fn tls(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let config = self.config.clone();
        blocking(move || setup::only_of_our_root(&config)).await?;
        let pair = self.prepare(Role::Tls, by).await?;
        let ml_dsa =
            if self.config.tls.with_ml_dsa { Some(self.prepare(Role::TlsPq, by).await?) } else { None };
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let mut steps = blocking(move || {
            let key = keys.waiting(Role::Tls).map_err(GatewayError::Keys)?;
            setup::issue_server_certificate(&config, &keys, key.public())
        })
        .await
        .map(|step| vec![step])?;
        if let Some(shown) = &self.shown {
            let with_ml_dsa = ml_dsa.is_some();
            let (certificates, keys, file) =
                (shown.certificates.clone(), self.keys.clone(), self.config.tls.certificate_file.clone());
            let old = blocking(move || {
                let key = keys.waiting(Role::Tls).map_err(GatewayError::Keys)?;
                let ml_dsa = with_ml_dsa.then(|| keys.waiting(Role::TlsPq)).transpose();
                let next = KeyPair { key, ml_dsa: ml_dsa.map_err(GatewayError::Keys)? };
                certificates.show(&file, next).map_err(GatewayError::Tls)
            })
            .await?;
            for old in &old {
                let_go(old, shown.patience).await;
            }
        }
        self.record(by.sign(rotated(pair.old.as_ref(), &pair.new))).await?;
        steps.push(self.promote(&pair, by).await?);
        // Its certificates stand in no file, so nothing hangs on whether a start finds the old one or the new.
        if let Some(ml_dsa) = ml_dsa {
            self.record(by.sign(rotated(ml_dsa.old.as_ref(), &ml_dsa.new))).await?;
            steps.push(self.promote(&ml_dsa, by).await?);
        }
        Ok(steps)
    }

    pub(super) async fn identity(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let (ed25519, ml_dsa) =
            (self.prepare(Role::Identity, by).await?, self.prepare(Role::IdentityPq, by).await?);
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let next = blocking(move || {
            let pair = (keys.waiting(Role::Identity)?, keys.waiting(Role::IdentityPq)?);
            let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
            let (organisation, domain) = (&config.gateway.organisation, &config.gateway.domain);
            Ok::<_, GatewayError>(ProviderIdentity::with(&keys, pair, organisation, domain, now)?)
        })
        .await?;
        let fingerprint = next.certificate().fingerprint();
        self.name_successor(&next).await?;
        let mut record = rotated(ed25519.old.as_ref(), &ed25519.new)
            .detail("new_pq", name_of(&ml_dsa.new))
            .detail("fingerprint", fingerprint.to_string());
        if let Some(old) = &ml_dsa.old {
            record = record.detail("old_pq", name_of(old));
        }
        self.record(by.sign(record)).await?;
        if let Some(shown) = &self.shown {
            let old = shown.identity.send_replace(Arc::new(next));
            let_go(&old, shown.patience).await;
        }
        let mut steps = vec![self.promote(&ed25519, by).await?, self.promote(&ml_dsa, by).await?];
        steps.push(format!("the root has certified the new identity, whose fingerprint is {fingerprint}"));
        Ok(steps)
    }
}

/// Where the statements lie that earlier identities made about those that followed them.
const SUCCESSIONS: &str = "identity-successions";

impl Rotation {
    /// Has the identity that goes say which one comes, for whoever knows only that.
    async fn name_successor(&self, next: &ProviderIdentity) -> Result<(), SetupError> {
        let mut all = self.successions().await?;
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let new = next.keys();
        let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
        let (organisation, domain) = (config.gateway.organisation.clone(), config.gateway.domain.clone());
        let old = blocking(move || {
            ProviderIdentity::new(&keys, &organisation, &domain, now).map_err(GatewayError::Identity)
        })
        .await?;
        let body = SuccessionBody {
            old: old.keys(),
            new,
            not_before: now.saturating_sub(3600),
            not_after: now + self.config.keys.succession.identity_overlap.as_secs(),
        };
        let unsigned = |error: &dyn std::fmt::Display| {
            GatewayError::Stopped(format!("the identity cannot name the one that follows it: {error}"))
        };
        let signatures = old.sign(body.to_sign()).await.map_err(|error| unsigned(&error))?;
        let statement = Succession::new(body, signatures).ok_or_else(|| unsigned(&"a false signature"))?;
        all.push(statement, now);
        let path = self.config.state_directory.join(SUCCESSIONS);
        blocking(move || {
            secret_file::write(&path, &all.encode()).map_err(|source| GatewayError::File {
                what: "write",
                path,
                source,
            })
        })
        .await
    }

    /// What earlier identities said.
    pub(super) async fn successions(&self) -> Result<Successions, SetupError> {
        let path = self.config.state_directory.join(SUCCESSIONS);
        blocking(move || match std::fs::read(&path) {
            Ok(bytes) => Successions::decode(&bytes).map_err(|error| {
                let source = std::io::Error::other(error.to_string());
                GatewayError::File { what: "read", path, source }
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Successions::default()),
            Err(source) => Err(GatewayError::File { what: "read", path, source }),
        })
        .await
    }
}

/// Finishes a rotation of the TLS key whose new certificate is in its file, and gives what is still to be recorded of it.
/// To be done before the certificate is read. Blocks.
pub(in crate::gateway) fn finish_shown(config: &Config, keys: &Keys) -> Result<Vec<Draft>, GatewayError> {
    let Some(new) = keys.successor(Role::Tls)? else { return Ok(Vec::new()) };
    let waiting = keys.waiting(Role::Tls)?;
    let leaf = std::fs::read_to_string(&config.tls.certificate_file).unwrap_or_default();
    if !is_for(&leaf, waiting.public()) {
        info!("a new TLS key waits, for which there is no certificate yet; the old one stays");
        return Ok(Vec::new());
    }
    warn!("a rotation of the TLS key was broken off after its certificate was issued; it is finished now");
    let old = keys.inventory()?.into_iter().find(|key| key.role == Role::Tls);
    keys.promote(&new)?;
    let mut told = vec![rotated(old.as_ref(), &new).detail("finished", "at start")];
    told.extend(old.as_ref().map(retired));
    Ok(told)
}

fn is_for(certificate: &str, key: &PublicKey) -> bool {
    authority::is_for(certificate, key).unwrap_or(false)
}
