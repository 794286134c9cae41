//! Starts the SIEM sinks that the configuration names, and watches whether they live. The ledger is their buffer, and takes
//! their own records too.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sallyport_audit::sink::{RequestSigner, Sink, SinkOptions, SinkStatus};
use sallyport_audit::{HeadSigner as _, Ledger, SignError};
use sallyport_hsm::Keys;
use tokio::sync::watch;

use super::adapters::LedgerSigner;
use super::config::{Config, SinkSettings, WhenDead};
use super::parts::{GatewayError, origin};
use crate::clock;
use crate::session::Deaths;

/// How often it is asked whether a sink has been without any delivery for too long.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Starts every sink, or none: a sink that cannot start is an error of the configuration.
pub(super) async fn start(config: &Config, ledger: &Ledger, keys: &Keys) -> Result<Vec<Sink>, GatewayError> {
    let mut running = Vec::with_capacity(config.sinks.len());
    let signer: Arc<dyn RequestSigner> =
        Arc::new(LedgerKey { keys: keys.clone(), origin: origin(config), held: Mutex::default() });
    for SinkSettings { options, is_signed_by_ledger_key, .. } in &config.sinks {
        std::fs::create_dir_all(&options.cursor_directory).map_err(|source| GatewayError::File {
            what: "make",
            path: options.cursor_directory.clone(),
            source,
        })?;
        let (feed, notice) = (Arc::new(ledger.reader()), Arc::new(ledger.clone()));
        let signer = is_signed_by_ledger_key.then(|| Arc::clone(&signer));
        let options = SinkOptions { signer, ..options.clone() };
        running.push(Sink::start(options, feed, notice).await?);
    }
    Ok(running)
}

/// The ledger's key in office, which receivers know as the line of `ledger.vkey`.
struct LedgerKey {
    keys: Keys,
    origin: String,
    /// Found once: what a provider holds is not to be listed for each request.
    held: Mutex<Option<LedgerSigner>>,
}

impl fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerKey").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl RequestSigner for LedgerKey {
    fn sign(&self, text: &dyn Fn(&str) -> String) -> Result<(String, [u8; 64]), SignError> {
        let signed = |signer: &mut LedgerSigner| {
            let name = signer.verifier_key();
            let signature = signer.sign(text(&name).as_bytes())?;
            Ok((name, signature))
        };
        // A signer is a handle: nothing is half done if its holder panics.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = held.as_mut()
            && let Ok(signed) = signed(signer)
        {
            return Ok(signed);
        }
        // None yet, or it was replaced and destroyed since.
        let found = LedgerSigner::new(&self.keys, self.origin.clone());
        signed(held.insert(found.map_err(|error| SignError::new(error.to_string()))?))
    }
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
