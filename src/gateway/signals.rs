//! What the system tells the gateway while it runs.

use sallyport_hsm::Keys;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// SIGUSR1: somebody has mended a token that refused its PIN, and the file with the PIN is as it was. A signal, because
/// while the HSM is down nobody can connect to say so.
pub(super) async fn retry_pin_when_told(keys: Keys) {
    let Ok(mut told) = signal(SignalKind::user_defined1()) else { return };
    while told.recv().await.is_some() {
        info!("SIGUSR1: if the HSM waits for a corrected PIN, it is presented once more");
        keys.retry_pin();
    }
}

/// SIGTERM and SIGINT, one after the other; and SIGHUP, from the first moment on, for it would end the process.
pub(super) struct Signals {
    ends: Option<(Signal, Signal)>,
    pub(super) hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn listen() -> Self {
        let both =
            signal(SignalKind::terminate()).and_then(|first| Ok((first, signal(SignalKind::interrupt())?)));
        if let Err(error) = &both {
            warn!(%error, "signals cannot be heard; the system ends the gateway at once when it is told to stop");
        }
        let hangup = signal(SignalKind::hangup());
        if let Err(error) = &hangup {
            warn!(%error, "SIGHUP cannot be heard: certificates that others renew need a start");
        }
        Self { ends: both.ok(), hangup: hangup.ok() }
    }

    pub(super) async fn next(&mut self) {
        match &mut self.ends {
            Some((terminate, interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            // Without handlers the system ends the process on a signal; there is nothing better to wait for.
            None => std::future::pending().await,
        }
    }
}
