//! Starts the SIEM sinks that the configuration names. The ledger is their buffer, and takes their own records too.

use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::Ledger;
use sallyport_audit::sink::SyslogSink;

use super::config::Config;
use super::parts::GatewayError;

/// Starts every sink, or none: a sink that cannot start is an error of the configuration.
pub(super) async fn start(config: &Config, ledger: &Ledger) -> Result<Vec<SyslogSink>, GatewayError> {
    let mut running = Vec::with_capacity(config.sinks.len());
    for options in &config.sinks {
        std::fs::create_dir_all(&options.cursor_directory).map_err(|source| GatewayError::File {
            what: "make",
            path: options.cursor_directory.clone(),
            source,
        })?;
        let (feed, notice) = (Arc::new(ledger.reader()), Arc::new(ledger.clone()));
        running.push(SyslogSink::start(options.clone(), feed, notice).await?);
    }
    Ok(running)
}

/// Gives every sink `grace` to send what is there, all at the same time.
pub(super) async fn stop(sinks: Vec<SyslogSink>, grace: Duration) {
    let mut stopping = tokio::task::JoinSet::new();
    for sink in sinks {
        stopping.spawn(sink.stop(grace));
    }
    while stopping.join_next().await.is_some() {}
}
