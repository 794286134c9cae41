//! The ways by which people are told, as the configuration names them: webhooks, chats, mail servers.
//!
//! Each leads to one host alone, which the operator wrote down; no redirect is followed, certificates are checked, every wait
//! and every answer is bounded. Secrets are read from files that nobody else may read, once, at the start.

mod chat;
mod mail;
mod secret;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::sink::CursorError;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::chat::Chat;
use self::mail::Mail;
use self::webhook::Webhook;
use super::config::{Config, NotifyWay, Told};
use super::parts::{GatewayError, Parts};
use crate::access::Tenant;
use crate::notify::{Courier, Desk, Way, Words, WordsError};
use crate::tunnel::client::DialError;

/// How long one attempt on a way over HTTP may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes; nothing in it is looked at.
const MOST: usize = 64 << 10;

/// Why notifications can't start.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A template.
    #[error("notifications can't start")]
    Words(#[from] WordsError),
    /// A secret.
    #[error("notify `{way}`: {path} {why}")]
    Secret {
        /// Whose.
        way: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The way to the server.
    #[error("notify `{way}` can't be set up")]
    Dial {
        /// Which.
        way: String,
        /// Why not.
        source: Box<DialError>,
    },
    /// The mail server's settings.
    #[error("notify `{way}` can't be set up: {why}")]
    Mail {
        /// Which.
        way: String,
        /// Why not.
        why: String,
    },
    /// How far it is.
    #[error("notify `{way}` has no usable cursor")]
    Cursor {
        /// Which.
        way: String,
        /// Why not.
        source: CursorError,
    },
}

impl NotifyError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Words(error) => error.hint().to_owned(),
            Self::Secret { .. } => {
                "mend the file; it must be there, hold what docs/notifications.md says, and have mode 0600"
                    .to_owned()
            }
            Self::Dial { source, .. } => source.hint(),
            Self::Mail { .. } => {
                "correct the [[notify.mail]] block; docs/notifications.md shows one".to_owned()
            }
            Self::Cursor { .. } => {
                "restore the file, or remove it: without it, people are told of what happens from then on"
                    .to_owned()
            }
        }
    }
}

/// What runs, to be stopped.
pub(super) struct Telling {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts every way, or none.
pub(super) async fn start(
    config: &Config,
    parts: &Parts,
    tenant: &Tenant,
    port: &str,
) -> Result<Telling, GatewayError> {
    let settings = &config.notify;
    let stop = CancellationToken::new();
    if settings.ways.is_empty() {
        return Ok(Telling { stop, tasks: Vec::new() });
    }
    let (config, tenant) = (config.clone(), tenant.clone());
    let (access, ledger) = (parts.access.clone(), parts.ledger.clone());
    let base_url = settings
        .base_url
        .clone()
        .unwrap_or_else(|| format!("https://{}{port}/console", config.gateway.domain));
    // Files are read, and cursors synced.
    let opened = spawn_blocking(move || {
        let desk = Arc::new(Desk {
            access,
            ledger,
            words: Words::load(config.notify.templates.as_deref())?,
            tenant,
            gateway: config.gateway.domain.clone(),
            base_url,
            patience: config.notify.retry,
            remind: config.notify.remind,
            remind_grant: config.notify.remind_grant,
        });
        let directory = config.state_directory.join("notify");
        config
            .notify
            .ways
            .iter()
            .map(|way| open(way, &desk, &directory))
            .collect::<Result<Vec<_>, NotifyError>>()
    });
    let couriers = opened.await.map_err(|error| GatewayError::Stopped(error.to_string()))??;
    let tasks = couriers.into_iter().map(|courier| tokio::spawn(courier.run(stop.clone()))).collect();
    Ok(Telling { stop, tasks })
}

fn open(settings: &NotifyWay, desk: &Arc<Desk>, directory: &std::path::Path) -> Result<Courier, NotifyError> {
    let name = settings.name.clone();
    let way: Arc<dyn Way> = match &settings.told {
        Told::Webhook(webhook) => Arc::new(Webhook::open(&name, webhook)?),
        Told::Chat(chat) => Arc::new(Chat::open(&name, chat)?),
        Told::Mail(mail) => Arc::new(Mail::open(&name, mail)?),
    };
    Courier::open(way, settings.wants.clone(), Arc::clone(desk), directory)
        .map_err(|source| NotifyError::Cursor { way: name, source })
}

impl Telling {
    /// What is being sent may come to its end within `grace`; the rest is told by the next start.
    pub(super) async fn stop(self, grace: Duration) {
        self.stop.cancel();
        let mut ending = JoinSet::new();
        for mut task in self.tasks {
            ending.spawn(async move {
                match tokio::time::timeout(grace, &mut task).await {
                    Ok(Ok(())) => {}
                    Ok(Err(panic)) => tracing::error!(%panic, "a way of notifications ended by a panic"),
                    Err(_) => task.abort(),
                }
            });
        }
        while ending.join_next().await.is_some() {}
    }
}
