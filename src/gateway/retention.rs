//! Retention, for the operator of a gateway: what may go, who holds what, and pruning.
//!
//! To look needs the ledger's files alone, also while the gateway runs. To change something is a record, so it needs the
//! ledger and its keys, which one process only may hold: the running gateway, whom its admins ask ([`Running`]), or, when that is
//! stopped, these functions. What is recorded is the same. Who asks is a person, whom a token names and policy must let
//! administer the ledger, or whoever has the host and the keys: the operator.

use std::path::Path;

use jiff::Timestamp;
use sallyport_audit::archive::{self, Archive, DirectoryArchive, FetchError, Fetched, PrunedCopy};
use sallyport_audit::journal::Files;
use sallyport_audit::ledger::RealDisk;
use sallyport_audit::ledger::pruning::{Pruned, PruningError, prune};
use sallyport_audit::retention::{
    Hold, HoldError, Holds, Survey, SurveyError, Tally, held_draft, holds, released_draft, survey,
};
use sallyport_audit::selection::Selection;
use sallyport_audit::sink::{CursorError, CursorStore as _, FileCursor};
use sallyport_audit::{Draft, Ledger, LedgerError, Receipt, Seq};

use super::config::{ArchivePlace, Config};
use super::parts::{GatewayError, Parts, open_keys, origin};
use super::s3::S3Archive;
use crate::access::{Action, AuthError, Context, Decision, Object, Part};
use crate::clock;
use crate::console::{HoldView, PlanView, StayView, Steward, TallyView, Trouble};
use crate::tunnel::client::DialError;

/// Why retention did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Keys, ledger or access.
    #[error(transparent)]
    Gateway(Box<GatewayError>),
    /// The journal.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// A hold.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// Pruning.
    #[error(transparent)]
    Pruning(#[from] PruningError),
    /// How far a sink is cannot be read.
    #[error("it is not known what a sink has delivered")]
    Sink(#[from] CursorError),
    /// No archive is configured.
    #[error("no archive is configured, and nothing leaves a ledger without a copy in one")]
    NoArchive,
    /// The roots for the archive's service.
    #[error("the archive's service cannot be asked")]
    Roots(#[source] DialError),
    /// A copy is not in the archive as it was put there.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The token that says who asks.
    #[error("the token is not accepted")]
    Token(#[from] AuthError),
    /// Policy says no.
    #[error("{who} may not administer the ledger: {why}")]
    Refused {
        /// Who asked.
        who: String,
        /// What policy said.
        why: String,
    },
}

impl From<GatewayError> for RetentionError {
    fn from(error: GatewayError) -> Self {
        Self::Gateway(Box::new(error))
    }
}

impl RetentionError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Gateway(error) if matches!(**error, GatewayError::Ledger(LedgerError::Locked { .. })) => {
                "the gateway runs: ask it with `sallyport retention`, or stop the other gateway".to_owned()
            }
            Self::Gateway(error) => error.hint(),
            Self::Survey(error) => error.hint().to_owned(),
            Self::Hold(error) => error.hint().to_owned(),
            Self::Pruning(error) => error.hint().to_owned(),
            Self::Sink(error) => error.hint().to_owned(),
            Self::NoArchive => "set `retention.archive`".to_owned(),
            Self::Roots(_) => "check `retention.s3_root_file`".to_owned(),
            Self::Fetch(error) => error.hint().to_owned(),
            Self::Token(_) => "give a token of this gateway that is still valid".to_owned(),
            Self::Refused { .. } => "ask somebody who has the action `admin` on `gateway:ledger`".to_owned(),
        }
    }
}

/// What may go at `now`, and what stays and why. Only reads, also while the gateway runs. Blocks.
pub fn plan(config: &Config, now: Timestamp) -> Result<Survey, RetentionError> {
    Ok(survey(&files(config), &config.retention.policy, now, unread(config)?)?)
}

/// The legal holds. Only reads. Blocks.
pub fn standing_holds(config: &Config) -> Result<Holds, RetentionError> {
    Ok(holds(&files(config))?)
}

/// Places a legal hold.
pub async fn hold(
    config: &Config,
    name: &str,
    reason: &str,
    selection: &Selection,
    token: Option<&str>,
) -> Result<Receipt, RetentionError> {
    let draft = held(config, name, reason, selection)?;
    record(config, token, draft).await
}

fn held(config: &Config, name: &str, reason: &str, selection: &Selection) -> Result<Draft, RetentionError> {
    Ok(held_draft(name, reason, selection, &standing_holds(config)?)?)
}

fn released(config: &Config, name: &str, reason: &str) -> Result<Draft, RetentionError> {
    Ok(released_draft(name, reason, &standing_holds(config)?)?)
}

/// Lifts a legal hold.
pub async fn release(
    config: &Config,
    name: &str,
    reason: &str,
    token: Option<&str>,
) -> Result<Receipt, RetentionError> {
    let draft = released(config, name, reason)?;
    record(config, token, draft).await
}

/// Prunes what may go now, and completes that.
pub async fn run(config: &Config, now: Timestamp, token: Option<&str>) -> Result<Pruned, RetentionError> {
    let archive = archive(config)?;
    let parts = open(config).await?;
    let pruned = match who(&parts, token) {
        Ok(who) => prune_with(config, now, &parts.ledger, archive.as_ref(), &who).await,
        Err(error) => Err(error),
    };
    let closed = close(parts).await;
    let pruned = pruned?;
    closed?;
    // Opening puts the new beginning in its place and makes the store anew from what is left.
    close(open(config).await?).await?;
    Ok(pruned)
}

async fn prune_with(
    config: &Config,
    now: Timestamp,
    ledger: &Ledger,
    archive: &dyn Archive,
    who: &Who,
) -> Result<Pruned, RetentionError> {
    // Asked again when it is our turn: a hold may have been placed since somebody looked.
    let survey = plan(config, now)?;
    Ok(prune(ledger, &files(config), &RealDisk, &survey, archive, |draft| who.sign(draft)).await?)
}

async fn record(config: &Config, token: Option<&str>, draft: Draft) -> Result<Receipt, RetentionError> {
    let parts = open(config).await?;
    let recorded = match who(&parts, token) {
        Ok(who) => {
            let receipt = parts.ledger.append(who.sign(draft)).await;
            receipt.map_err(|error| GatewayError::NotRecorded(error).into())
        }
        Err(error) => Err(error),
    };
    close(parts).await?;
    recorded
}

async fn open(config: &Config) -> Result<Parts, RetentionError> {
    let keys = tokio::task::block_in_place(|| open_keys(config)).map_err(GatewayError::Keys)?;
    Ok(Parts::open(config, keys, &[]).await?)
}

async fn close(parts: Parts) -> Result<(), RetentionError> {
    parts.access.close().await;
    Ok(parts.ledger.close().await.map_err(GatewayError::Ledger)?)
}

/// Who asks, once that was found in order.
enum Who {
    Operator,
    Person(String),
}

impl Who {
    fn sign(&self, draft: Draft) -> Draft {
        match self {
            Self::Operator => draft.detail("by", "operator"),
            Self::Person(subject) => draft.subject(subject.as_str()),
        }
    }
}

fn who(parts: &Parts, token: Option<&str>) -> Result<Who, RetentionError> {
    let Some(token) = token else { return Ok(Who::Operator) };
    let now = clock::now();
    let person = parts.access.authenticate(token, now)?;
    let ledger = Object::gateway(Part::Ledger);
    match parts.access.authorize(&person, &ledger, Action::Admin, &Context::at(now)) {
        Decision::Allowed(_) => Ok(Who::Person(person.subject().as_str().to_owned())),
        refused => Err(RetentionError::Refused {
            who: person.subject().as_str().to_owned(),
            why: refused.explanation().why.clone(),
        }),
    }
}

/// Where copies go before anything leaves the ledger.
fn archive(config: &Config) -> Result<Box<dyn Archive>, RetentionError> {
    Ok(match config.retention.archive.clone().ok_or(RetentionError::NoArchive)? {
        ArchivePlace::Directory(directory) => Box::new(DirectoryArchive::new(directory)),
        ArchivePlace::S3(place) => Box::new(S3Archive::new(*place).map_err(RetentionError::Roots)?),
    })
}

/// Gets every copy that the ledger's records declare out of the archive, into `directory`, and compares digests. Calls
/// `told` after each. Needs no keys, and works while the gateway runs. Blocks.
pub fn fetch(
    config: &Config,
    directory: &Path,
    told: &mut dyn FnMut(&PrunedCopy, Fetched),
) -> Result<(), RetentionError> {
    let archive: Box<dyn Archive> = match config.retention.archive.clone().ok_or(RetentionError::NoArchive)? {
        ArchivePlace::Directory(directory) => Box::new(DirectoryArchive::new(directory)),
        ArchivePlace::S3(place) => Box::new(S3Archive::for_reading(*place).map_err(RetentionError::Roots)?),
    };
    let home = DirectoryArchive::new(directory);
    for copy in archive::copies(&files(config))? {
        told(&copy, archive::fetch(&copy, archive.as_ref(), &home)?);
    }
    Ok(())
}

/// The steward of the running gateway, whose console sees to who may ask.
pub(super) struct Running {
    config: Config,
}

impl Running {
    pub(super) fn new(config: Config) -> Self {
        Self { config }
    }
}

impl Steward for Running {
    fn plan(&self, now: Timestamp) -> Result<PlanView, Trouble> {
        Ok(plan_view(&plan(&self.config, now)?))
    }

    fn holds(&self) -> Result<Vec<HoldView>, Trouble> {
        Ok(hold_views(&standing_holds(&self.config)?))
    }

    fn held(&self, name: &str, reason: &str, selection: &Selection) -> Result<Draft, Trouble> {
        Ok(held(&self.config, name, reason, selection)?)
    }

    fn released(&self, name: &str, reason: &str) -> Result<Draft, Trouble> {
        Ok(released(&self.config, name, reason)?)
    }

    fn prune(&self, ledger: &Ledger, now: Timestamp, subject: &str) -> Result<Pruned, Trouble> {
        let archive = archive(&self.config)?;
        let who = Who::Person(subject.to_owned());
        let work = prune_with(&self.config, now, ledger, archive.as_ref(), &who);
        Ok(tokio::runtime::Handle::current().block_on(work)?)
    }
}

impl From<RetentionError> for Trouble {
    fn from(error: RetentionError) -> Self {
        let asked_wrongly = match &error {
            RetentionError::Hold(_) | RetentionError::NoArchive => true,
            RetentionError::Pruning(error) => matches!(error, PruningError::Nothing),
            _ => false,
        };
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let what = causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"));
        Self { asked_wrongly, what, hint: error.hint() }
    }
}

/// A plan, for programs and for print.
pub fn plan_view(survey: &Survey) -> PlanView {
    let tally = |tally: &Tally| TallyView {
        records: tally.records,
        bytes: tally.bytes,
        first: tally.first.map(Seq::get),
        last: tally.last.map(Seq::get),
    };
    let (plan, policy) = (&survey.plan, survey.policy());
    let frameworks = policy.frameworks().map(|framework| format!("{framework} {} days", framework.days()));
    let stay = plan.stay.iter().map(|(why, found)| StayView { why: why.to_string(), what: tally(found) });
    PlanView {
        frameworks: frameworks.collect(),
        rules: policy.digest().to_string(),
        records: survey.records,
        pruned_before: survey.pruned,
        gone: plan.gone,
        prune_before: plan.size,
        go: tally(&plan.go),
        stay: stay.collect(),
    }
}

/// The holds, likewise.
pub fn hold_views(holds: &Holds) -> Vec<HoldView> {
    let view = |hold: &Hold| HoldView {
        hold: hold.name.clone(),
        since: hold.since,
        record: hold.placed.get(),
        selection: hold.selection.clone(),
    };
    holds.iter().map(view).collect()
}

/// From this record on some sink still has to deliver.
fn unread(config: &Config) -> Result<u64, RetentionError> {
    let origin = origin(config);
    config.sinks.iter().try_fold(u64::MAX, |least, sink| {
        let cursor = FileCursor::new(&sink.options.cursor_directory, sink.options.name.clone(), &origin);
        Ok(least.min(cursor.load()?.map_or(0, |position| position.next)))
    })
}

fn files(config: &Config) -> Files {
    Files::new(&config.ledger.directory)
}

#[cfg(test)]
mod tests;
