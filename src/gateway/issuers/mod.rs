//! Whoever vouches for people, as the gateway asks them: issuers for their keys, a controller about a token.
//!
//! Promised: a key counts only once the ledger has told of it, and no longer than the ledger does; an unknown `kid` has an
//! issuer asked again, but not more often than every ten seconds, however many tokens come; what an issuer said last counts
//! for a stated time while it is away, and then nothing of it does. Trusted: the roots that were configured, for the way.

mod controller;
mod discovery;
mod keys;
mod sign_in;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::config::{Identity as Settings, IssuerSettings, SignInSettings};
use super::parts::GatewayError;
use crate::access::issuer::{Algorithm, issuer_of};
use crate::access::{Access, AuthError, IssuerName, Issuers, Subject, Tenant, Vouched, Vouchers};
use crate::edge::Providers;

use controller::Controller;
use keys::Keeper;
use sign_in::{Provider, SignInDesk};

/// All who vouch.
pub(super) struct Outsiders {
    issuers: Issuers,
    keepers: Vec<Arc<Keeper>>,
    controller: Option<Controller>,
    desk: Option<Arc<SignInDesk>>,
}

impl Outsiders {
    /// Those of the configuration; key files are read here. `None` if nobody is configured.
    pub(super) fn open(
        settings: &Settings,
        tenant: &Tenant,
        redirect: &str,
    ) -> Result<Option<Arc<Self>>, GatewayError> {
        if settings.issuers.is_empty() && settings.controller.is_none() {
            return Ok(None);
        }
        let all = settings.issuers.iter().map(|one| one.issuer(tenant)).collect();
        let issuers = Issuers::new(all).map_err(|error| GatewayError::Stopped(error.to_string()))?;
        for issuer in issuers.iter().filter(|issuer| issuer.algorithms.contains(&Algorithm::Hs256)) {
            warn!(issuer = %issuer.name, "HS256: whoever can check this issuer's tokens can make them; prefer ES256");
        }
        let keeper = |(issuer, settings): (_, &IssuerSettings)| Keeper::open(issuer, settings).map(Arc::new);
        let keepers: Vec<Arc<Keeper>> =
            issuers.iter().cloned().zip(&settings.issuers).map(keeper).collect::<Result<_, _>>()?;
        let controller = settings.controller.as_ref().map(|one| Controller::open(one, tenant)).transpose()?;
        let provider = |(keeper, all): (&Arc<Keeper>, &IssuerSettings)| {
            let provider = |sign_in: &SignInSettings| Provider::open(keeper, all, sign_in, redirect);
            all.sign_in.as_ref().map(provider).transpose()
        };
        let providers = keepers.iter().zip(&settings.issuers).map(provider).collect::<Result<Vec<_>, _>>()?;
        let providers: Vec<Provider> = providers.into_iter().flatten().collect();
        let desk =
            (!providers.is_empty()).then(|| Arc::new(SignInDesk { issuers: issuers.clone(), providers }));
        Ok(Some(Arc::new(Self { issuers, keepers, controller, desk })))
    }

    /// Where people sign in with a browser.
    pub(super) fn desk(&self) -> Option<Arc<dyn Providers>> {
        self.desk.clone().map(|desk| desk as Arc<dyn Providers>)
    }

    /// Tells the ledger which keys count now, and keeps telling until `stop`.
    pub(super) async fn start(
        self: &Arc<Self>,
        access: &Access,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), GatewayError> {
        access.believe(Arc::clone(self) as Arc<dyn Vouchers>);
        withdraw_others(access, self.issuers.iter().map(|issuer| issuer.name.clone()).collect()).await?;
        for keeper in &self.keepers {
            keeper.attach(access.clone());
            let (keeper, stop) = (Arc::clone(keeper), stop.clone());
            tasks.spawn(async move { keeper.keep(stop).await });
        }
        Ok(())
    }
}

/// Withdraws what issuers said that are not configured any more.
pub(super) async fn withdraw_others(access: &Access, kept: BTreeSet<IssuerName>) -> Result<(), GatewayError> {
    access.only_issuers(&kept).await.map_err(|error| {
        error!(%error, "the keys of an issuer that was taken out can't be withdrawn");
        GatewayError::Access(error)
    })
}

impl Vouchers for Outsiders {
    fn vouch<'a>(&'a self, credential: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Vouched, AuthError>> {
        async move {
            let found = issuer_of(&self.issuers, credential);
            match (found, &self.controller) {
                (Ok(issuer), _) => {
                    let keeper = self.keepers.iter().find(|keeper| keeper.issuer().name == issuer.name);
                    let keeper = keeper.ok_or(AuthError::UnknownIssuer)?;
                    keeper.verify_as(issuer, &self.issuers, credential, None, now).await
                }
                (Err(_), Some(controller)) => controller.ask(credential, now).await,
                (Err(error), None) => Err(error),
            }
        }
        .boxed()
    }

    fn owner_of(&self, subject: &Subject) -> Option<IssuerName> {
        self.issuers.owner_of(subject).cloned()
    }
}
