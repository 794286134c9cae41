//! The keys of one issuer: fetched, told to the ledger, and only then used.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::discovery::{self, document};
use crate::access::{Access, AuthError, Issuer, Issuers, KeySet, Renewal, Vouched};
use crate::clock;
use crate::gateway::config::{IssuerSettings, KeySource, ServerUrl};
use crate::gateway::parts::GatewayError;
use crate::gateway::server::Server;

/// The shortest time between two questions to an issuer that unknown keys cause.
const AGAIN: Duration = Duration::from_secs(10);
/// How soon an issuer that didn't answer is asked again.
const RETRY: Duration = Duration::from_secs(15);

/// Holds what an issuer said last.
pub(super) struct Keeper {
    issuer: Issuer,
    source: Source,
    refresh: Duration,
    keep: Duration,
    held: RwLock<Arc<KeySet>>,
    /// One question at a time.
    asking: Mutex<Asked>,
    access: OnceLock<Access>,
}

/// When the issuer was last asked for its keys.
#[derive(Default)]
struct Asked {
    at_all: Option<Instant>,
    /// Because a token named a key that nobody knew. Only this is what strangers can make us do again and again.
    for_a_token: Option<Instant>,
}

fn server(url: &ServerUrl, settings: &IssuerSettings, issuer: &Issuer) -> Result<Server, GatewayError> {
    Server::new(url.clone(), settings.root_file.as_deref())
        .map_err(|error| GatewayError::Stopped(format!("identity.issuer {}: {error}", issuer.name)))
}

enum Source {
    /// Read once, at the start.
    File,
    Published {
        server: Server,
        path: String,
    },
    /// Wherever the discovery document says.
    Discovered {
        server: Server,
        roots: Option<PathBuf>,
    },
}

impl Keeper {
    /// Reads key files. An issuer that publishes its keys is asked later: the gateway starts without it.
    pub(super) fn open(issuer: Issuer, settings: &IssuerSettings) -> Result<Self, GatewayError> {
        let read = |file: &std::path::Path| {
            std::fs::read(file).map_err(|source| GatewayError::File {
                what: "read",
                path: file.to_owned(),
                source,
            })
        };
        let unusable = |file: &std::path::Path, error: &dyn std::fmt::Display| {
            GatewayError::Stopped(format!("{} (identity.issuer {}): {error}", file.display(), issuer.name))
        };
        let (source, keys) = match &settings.keys {
            KeySource::File(file) => {
                let keys =
                    KeySet::parse(&issuer.name, &read(file)?).map_err(|error| unusable(file, &error))?;
                (Source::File, keys)
            }
            KeySource::Secret(file) => {
                let secret = zeroize::Zeroizing::new(read(file)?);
                let keys = KeySet::of_secret(&issuer.name, secret.trim_ascii());
                (Source::File, keys.map_err(|error| unusable(file, &error))?)
            }
            KeySource::Url(url) => {
                let source =
                    Source::Published { server: server(url, settings, &issuer)?, path: url.path.clone() };
                (source, KeySet::default())
            }
            KeySource::Discovery(url) => {
                let server = server(url, settings, &issuer)?;
                (Source::Discovered { server, roots: settings.root_file.clone() }, KeySet::default())
            }
        };
        Ok(Self {
            issuer,
            source,
            refresh: settings.refresh,
            keep: settings.keep,
            held: RwLock::new(Arc::new(keys)),
            asking: Mutex::default(),
            access: OnceLock::new(),
        })
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// To be called before anything else is asked of it.
    pub(super) fn attach(&self, access: Access) {
        let _ = self.access.set(access);
    }

    /// Tells the ledger of a file's keys, or asks the issuer for its keys again and again, until `stop`.
    pub(super) async fn keep(&self, stop: CancellationToken) {
        let mut heard = clock::monotonic();
        loop {
            let pause = match self.renew(None).await {
                Ok(()) if matches!(self.source, Source::File) => return,
                Ok(()) => {
                    heard = clock::monotonic();
                    self.refresh
                }
                Err(why) => {
                    warn!(issuer = %self.issuer.name, why, "an issuer's keys can't be renewed");
                    let away = clock::monotonic().saturating_duration_since(heard);
                    if away >= self.keep && !self.keys().is_empty() {
                        warn!(issuer = %self.issuer.name, "what it said last counts no more");
                        self.put(KeySet::default(), Renewal::Stale).await;
                    }
                    RETRY.min(self.refresh)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether a token of this issuer's proves somebody. `issuer` is it, as it knows us in another way if need be.
    pub(super) async fn verify_as(
        &self,
        issuer: &Issuer,
        all: &Issuers,
        token: &str,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Vouched, AuthError> {
        let begun = clock::monotonic();
        let verify = || issuer.verify(all, &self.keys(), token, nonce, now);
        match verify() {
            Err(AuthError::OtherKey) if !matches!(self.source, Source::File) => {
                if let Err(why) = self.renew(Some(begun)).await {
                    warn!(issuer = %self.issuer.name, why, "an issuer's keys can't be renewed");
                }
                if self.keys().is_empty() { Err(AuthError::VoucherAway) } else { verify() }
            }
            verified => verified,
        }
    }

    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for the keys. For a token that came at `wanted`, only if nobody asked after it or a short time before.
    async fn renew(&self, wanted: Option<Instant>) -> Result<(), String> {
        if matches!(self.source, Source::File) {
            return self.tell(&self.keys(), Renewal::Published).await;
        }
        let mut last = self.asking.lock().await;
        if let Some(wanted) = wanted
            && (last.at_all.is_some_and(|at| at >= wanted)
                || last.for_a_token.is_some_and(|at| wanted.saturating_duration_since(at) < AGAIN))
        {
            return Ok(());
        }
        last.at_all = Some(clock::monotonic());
        if wanted.is_some() {
            last.for_a_token = last.at_all;
        }
        let body = match &self.source {
            Source::File => return Ok(()),
            Source::Published { server, path } => document(server, path).await?,
            Source::Discovered { server, roots } => {
                let found = discovery::discover(server, &self.issuer.issuer).await?;
                let server = Server::new(found.jwks_uri.clone(), roots.as_deref())
                    .map_err(|error| error.to_string())?;
                document(&server, &found.jwks_uri.path).await?
            }
        };
        let keys = KeySet::parse(&self.issuer.name, &body).map_err(|error| error.to_string())?;
        if keys.passed_over > 0 {
            info!(issuer = %self.issuer.name, passed_over = keys.passed_over, "keys that can't verify are passed over");
        }
        self.tell(&keys, Renewal::Published).await?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    async fn put(&self, keys: KeySet, why: Renewal) {
        if let Err(error) = self.tell(&keys, why).await {
            warn!(issuer = %self.issuer.name, error, "a change of an issuer's keys can't be recorded");
        }
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    async fn tell(&self, keys: &KeySet, why: Renewal) -> Result<(), String> {
        let access = self.access.get().ok_or("nobody listens yet")?;
        access
            .issuer_keys(self.issuer.name.clone(), keys.prints(), why)
            .await
            .map_err(|error| error.to_string())
    }
}
