//! Starts the SIEM sinks that the configuration names, and watches whether they live. The ledger is their buffer, and takes
//! their own records too.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sallyport_audit::Ledger;
use sallyport_audit::sink::{Sink, SinkStatus};
use tokio::sync::watch;

use super::config::{Config, SinkSettings, WhenDead};
use super::parts::GatewayError;
use crate::clock;
use crate::session::Deaths;

/// How often it is asked whether a sink has been without any delivery for too long.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Starts every sink, or none: a sink that cannot start is an error of the configuration.
pub(super) async fn start(config: &Config, ledger: &Ledger) -> Result<Vec<Sink>, GatewayError> {
    let mut running = Vec::with_capacity(config.sinks.len());
    for SinkSettings { options, .. } in &config.sinks {
        std::fs::create_dir_all(&options.cursor_directory).map_err(|source| GatewayError::File {
            what: "make",
            path: options.cursor_directory.clone(),
            source,
        })?;
        let (feed, notice) = (Arc::new(ledger.reader()), Arc::new(ledger.clone()));
        running.push(Sink::start(options.clone(), feed, notice).await?);
    }
    Ok(running)
}

/// Tells of the sinks that are dead and of which anything follows, until it is dropped.
pub(super) fn watch(
    settings: Vec<SinkSettings>,
    sinks: &[Sink],
    deaths: watch::Sender<Deaths>,
) -> impl Future<Output = ()> + Send + 'static {
    let watched: Vec<_> = settings.into_iter().zip(sinks.iter().map(Sink::status)).collect();
    async move {
        let mut tick = tokio::time::interval(WATCH_EVERY);
        loop {
            tick.tick().await;
            let now = clock::now();
            let mut found = Deaths::default();
            for (settings, status) in &watched {
                let place = match settings.when_dead {
                    WhenDead::GoOn => continue,
                    WhenDead::Degrade => &mut found.degrading,
                    WhenDead::StopSessions => &mut found.stopping,
                };
                if let Some(sentence) = death(settings.dead_after, &status.borrow(), now) {
                    place.get_or_insert(sentence);
                }
            }
            deaths.send_if_modified(|deaths| {
                let changed = *deaths != found;
                if changed {
                    for sentence in found.stopping.iter().chain(&found.degrading) {
                        tracing::warn!("{sentence}");
                    }
                    *deaths = found;
                }
                changed
            });
        }
    }
}

/// What is to be said of a sink that is dead; nothing of one that lives. The sentence does not change while it is dead.
fn death(after: Duration, status: &SinkStatus, now: Timestamp) -> Option<String> {
    let since = status.failing_since?;
    let failing = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (failing >= after).then(|| format!("sink {} has delivered nothing since {since:.0}", status.name))
}

/// Gives every sink `grace` to send what is there, all at the same time.
pub(super) async fn stop(sinks: Vec<Sink>, grace: Duration) {
    let mut stopping = tokio::task::JoinSet::new();
    for sink in sinks {
        stopping.spawn(sink.stop(grace));
    }
    while stopping.join_next().await.is_some() {}
}
