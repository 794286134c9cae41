//! SIGHUP: certificates that somebody else renews are read again, and no connection is dropped.
//!
//! The server's certificates and the authorities of clients'. All certificates together or none: while one of them is of no use, those before it stay, and log and ledger say why. Read are the
//! files that the configuration named at the start; other settings need a start.

use std::sync::Arc;

use sallyport_audit::{Draft, Kind, Ledger, Outcome};
use sallyport_hsm::certificate;
use serde_json::{Value, json};
use tokio::signal::unix::Signal;
use tracing::{info, warn};

use super::{Certificates, ClientAuthority, TlsError, chain};
use crate::access::CertificateId;
use crate::gateway::config::Tls;

/// Reads them again each time that SIGHUP comes.
pub(in crate::gateway) async fn reload_when_told(
    mut told: Signal,
    settings: Tls,
    (certificates, clients): (Arc<Certificates>, Option<Arc<ClientAuthority>>),
    ledger: Ledger,
) {
    while told.recv().await.is_some() {
        let work = {
            let (settings, certificates, clients) =
                (settings.clone(), Arc::clone(&certificates), clients.clone());
            tokio::task::spawn_blocking(move || {
                let believe = clients.as_ref().map(|clients| clients.read_roots_again()).transpose()?;
                certificates.reload(&settings)?;
                if let Some(believe) = believe {
                    believe();
                }
                shown(&settings)
            })
        };
        let done = match work.await {
            Ok(done) => done,
            Err(error) => {
                warn!(%error, "reading the certificates again was broken off");
                continue;
            }
        };
        let draft = match done {
            Ok(shown) => {
                info!("SIGHUP: the certificates were read again and are shown from now on");
                record(Outcome::Success).detail("shown", shown)
            }
            Err(error) => {
                let why = why(&error);
                warn!(
                    why,
                    hint = error.hint(),
                    "SIGHUP: THE CERTIFICATES WERE NOT EXCHANGED; those before are shown"
                );
                record(Outcome::Failure).detail("reason", why)
            }
        };
        // Enqueued: while the key provider is away, a certificate is exchanged all the same.
        if let Err(error) = ledger.enqueue(draft).await {
            warn!(%error, "the exchange of certificates could not be recorded");
        }
    }
}

fn record(result: Outcome) -> Draft {
    Draft::new(Kind::CertificateLoaded, result).object("gateway:tls").detail("by", "operator")
}

/// The error with all that led to it.
fn why(error: &TlsError) -> String {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        why = format!("{why}: {error}");
        cause = error.source();
    }
    why
}

/// Which certificates the files hold.
fn shown(settings: &Tls) -> Result<Vec<Value>, TlsError> {
    let named = settings.certificates.iter().map(|one| &one.certificate_file);
    let of_file = |file: &std::path::PathBuf| {
        let chain = chain(file)?;
        let leaf = chain.first().map(|leaf| certificate::names(leaf)).transpose()?;
        let leaf = leaf.map(|leaf| CertificateId::from_sha256(leaf.sha256).to_string());
        Ok(json!({ "file": file.display().to_string(), "certificate": leaf }))
    };
    std::iter::once(&settings.certificate_file).chain(named).map(of_file).collect()
}
