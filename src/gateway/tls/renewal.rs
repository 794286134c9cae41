//! Replaces certificates of the private root in time, and reads revocation lists again, while the gateway serves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sallyport_hsm::authority::{self, RootCertificate, Validity};
use sallyport_hsm::{Keys, RootBundle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Certificates, ClientAuthority, TlsError};
use crate::access::{Access, AccessError, Caller, Refusal, Tenant};
use crate::clock;
use crate::gateway::config::Config;
use crate::secret_file;

/// How often revocation lists are looked at.
const LISTS_EVERY: Duration = Duration::from_secs(2);
/// How many of those looks there are between two at the server's certificate: a look a minute.
const CERTIFICATES_EVERY: u32 = 30;

/// Looks after certificates until `stop`.
pub(in crate::gateway) async fn renew(
    config: Config,
    keys: Keys,
    certificates: Arc<Certificates>,
    clients: Option<Arc<ClientAuthority>>,
    (access, tenant): (Access, Tenant),
    stop: CancellationToken,
) {
    let mut turn = 0_u32;
    loop {
        if turn.is_multiple_of(CERTIFICATES_EVERY) {
            let (config, keys, certificates) = (config.clone(), keys.clone(), Arc::clone(&certificates));
            match tokio::task::spawn_blocking(move || renew_if_due(&config, &keys, &certificates)).await {
                Ok(Ok(true)) => info!("the server's certificate was renewed by the private root"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "the server's certificate could not be renewed"),
                Err(error) => warn!(%error, "renewing the server's certificate was broken off"),
            }
        }
        if let Some(clients) = &clients {
            let clients = Arc::clone(clients);
            for id in tokio::task::spawn_blocking(move || clients.reload()).await.unwrap_or_default() {
                let reason = "a revocation list of its authority names it".parse().ok();
                match access.revoke_certificate(Caller::Operator, id, tenant.clone(), reason).await {
                    Ok(()) | Err(AccessError::Refused(Refusal::CertificateRevoked { .. })) => {}
                    Err(error) => {
                        warn!(%error, %id, "a certificate on a revocation list could not be recorded as revoked");
                    }
                }
            }
        }
        turn = turn.wrapping_add(1);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LISTS_EVERY) => {}
        }
    }
}

/// Issues the main certificate anew if it is the private root's and two thirds of its time are over. Blocks.
fn renew_if_due(config: &Config, keys: &Keys, certificates: &Certificates) -> Result<bool, TlsError> {
    let (leaf_file, root_file) = (&config.tls.certificate_file, &config.tls.root_file);
    let unreadable = |path: &std::path::Path| {
        let path = path.to_owned();
        move |error: std::io::Error| TlsError::Certificate { path, why: error.to_string() }
    };
    let leaf = std::fs::read_to_string(leaf_file).map_err(unreadable(leaf_file))?;
    // Whoever brings certificates of their own has no root of ours, and renews them too.
    let Ok(root) = std::fs::read_to_string(root_file) else { return Ok(false) };
    if !RootBundle::issued(&root, &leaf) {
        return Ok(false);
    }
    // After a switch to another root that was broken off, the certificate is still the one before's.
    let of_the_issuing = RootCertificate::from_pem(&root)?.issued(&leaf)?;
    if of_the_issuing && !is_due(clock::now(), authority::valid_until(&leaf)?, config.tls.leaf) {
        return Ok(false);
    }
    let names = authority::names_of(&leaf)?;
    let validity = Validity { now: clock::now(), lasts: config.tls.leaf };
    let pair = certificates.key_pair();
    let renewed = authority::issue_server_leaf_for(keys, &root, &names, validity, pair.key.public())?;
    secret_file::write(leaf_file, renewed.as_bytes()).map_err(unreadable(leaf_file))?;
    certificates.show(leaf_file, pair)?;
    Ok(true)
}

/// Whether less than a third of the usual time is left.
fn is_due(now: Timestamp, end: Timestamp, lasts: Duration) -> bool {
    end.duration_since(now).as_secs_f64() < lasts.as_secs_f64() / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left_and_not_before() {
        let (end, lasts) = (Timestamp::from_second(1_000_000).unwrap(), Duration::from_mins(5));
        let at = |second| is_due(Timestamp::from_second(second).unwrap(), end, lasts);
        assert!(!at(999_800));
        assert!(at(999_901));
        assert!(at(2_000_000), "one that has ended is overdue");
    }
}
