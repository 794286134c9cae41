//! Health and metrics without TLS and token, at addresses that the configuration sets aside for them.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::parts::GatewayError;
use super::probes;

/// Where health and metrics are asked for by themselves, if the configuration names places.
pub(super) struct Aside {
    probes: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Aside {
    pub(super) async fn bind(config: &Config) -> Result<Self, GatewayError> {
        let gateway = &config.gateway;
        Ok(Self {
            probes: bind_aside("gateway.health_listen", gateway.health_listen).await?,
            metrics: bind_aside("gateway.metrics_listen", gateway.metrics_listen).await?,
        })
    }

    /// Answers until `stop`.
    pub(super) fn answer(
        self,
        probes: Router,
        metrics: Router,
        stop: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        [(self.probes, probes), (self.metrics, metrics)]
            .into_iter()
            .filter_map(|(listener, router)| Some((listener?, router)))
            .map(|(listener, router)| tokio::spawn(probes::answer(listener, router, stop.clone())))
            .collect()
    }
}

async fn bind_aside(setting: &str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, GatewayError> {
    let Some(address) = address else { return Ok(None) };
    let failed = |error: std::io::Error| GatewayError::Stopped(format!("{address} ({setting}): {error}"));
    probes::bind(address).await.map(Some).map_err(failed)
}
