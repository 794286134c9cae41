//! Other keys answer than those that this client wrote down: were they named by those?
//!
//! The gateway gives its statements of succession at a path of its own, over the TLS connection that is checked like
//! every other. They prove themselves, so it does not matter who hands them over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::SUCCESSION_PATH;
use super::address::GatewayAddress;
use super::known_gateways::{KnownGateways, KnownGatewaysError};
use super::proxy::Proxies;
use crate::tunnel::handshake::{Fingerprint, MAX_SUCCESSION_BYTES, Successions};

/// Whether the gateway at `address` shows that `known` was followed by `shown`; then that is written down. Whatever goes
/// wrong on the way is no: then the keys have changed, and a person must tell.
pub(super) async fn is_named(
    address: &GatewayAddress,
    tls: (&Arc<rustls::ClientConfig>, &Proxies),
    gateways: &KnownGateways,
    (known, shown): (Fingerprint, Fingerprint),
    (now, patience): (u64, Duration),
) -> Result<bool, KnownGatewaysError> {
    let fetched = tokio::time::timeout(patience, fetch(address, tls, patience)).await;
    let Ok(Some(bytes)) = fetched else { return Ok(false) };
    let leads = Successions::decode(&bytes).is_ok_and(|successions| successions.lead(known, shown, now));
    if !leads {
        return Ok(false);
    }
    let (gateways, endpoint) = (gateways.clone(), address.to_string());
    let written = tokio::task::spawn_blocking(move || gateways.succeed(&endpoint, known, shown)).await;
    written.unwrap_or(Ok(false))
}

async fn fetch(
    address: &GatewayAddress,
    (tls, proxies): (&Arc<rustls::ClientConfig>, &Proxies),
    patience: Duration,
) -> Option<Bytes> {
    let name = ServerName::try_from(address.host().to_owned()).ok()?;
    let tcp = proxies.connect(address, patience).await.ok()?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request =
        Request::get(SUCCESSION_PATH).header(HOST, address.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(request).await.ok().filter(|answer| answer.status().is_success());
    let body = match answer {
        Some(answer) => Limited::new(answer.into_body(), MAX_SUCCESSION_BYTES).collect().await.ok(),
        None => None,
    };
    driver.abort();
    body.map(http_body_util::Collected::to_bytes)
}
