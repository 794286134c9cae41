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
mod tests {
    use jiff::SignedDuration;
    use sallyport_audit::{Kind, Outcome};

    use super::*;
    use crate::gateway::s3::service::{Fault, TestService};
    use crate::gateway::setup::{Wishes, set_up};

    /// A gateway with an archive, whose people have tokens and whose ledger has several segments.
    async fn world() -> (tempfile::TempDir, Config) {
        let state = tempfile::tempdir().unwrap();
        let wishes = Wishes {
            state: state.path().to_owned(),
            module: None,
            domain: "localhost".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            tcp_ports: "20000-20001".to_owned(),
            people: vec!["user:admin".to_owned(), "user:alice".to_owned()],
        };
        set_up(&wishes).await.unwrap();
        let file = state.path().join(crate::gateway::setup::CONFIG_FILE);
        let set = ["retention.archive=archive", "ledger.segment_mebibytes=1"].map(str::to_owned);
        let config = Config::load(&file, std::iter::empty(), &set).unwrap();
        let parts = open(&config).await.unwrap();
        for n in 0..60 {
            let filler = "x".repeat(60_000);
            let draft =
                Draft::new(Kind::HttpRequest, Outcome::Success).detail("n", n).detail("filler", filler);
            parts.ledger.append(draft).await.unwrap();
        }
        close(parts).await.unwrap();
        (state, config)
    }

    fn in_seven_years() -> Timestamp {
        clock::now().checked_add(SignedDuration::from_hours(24 * 366 * 7)).unwrap()
    }

    fn token(state: &tempfile::TempDir, person: &str) -> String {
        std::fs::read_to_string(state.path().join(format!("tokens/{person}.token")))
            .unwrap()
            .trim()
            .to_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_is_pruned_and_people_who_had_access_before_have_it_after() {
        let (state, config) = world().await;
        assert_eq!(plan(&config, clock::now()).unwrap().plan.size, 0, "nothing is old enough today");
        let admin = token(&state, "admin");
        let held = Selection { from: Seq::new(20), to: Some(Seq::new(25)), ..Selection::default() };
        hold(&config, "case-1", "a court asked", &held, Some(&admin)).await.unwrap();

        let before = plan(&config, in_seven_years()).unwrap();
        assert!(before.plan.go.records > 20);
        let done = run(&config, in_seven_years(), Some(&admin)).await.unwrap();
        assert!(state.path().join("archive").join(&done.manifest).is_file());

        let after = plan(&config, in_seven_years()).unwrap();
        assert_eq!((after.pruned, after.plan.gone), (before.plan.size, before.plan.go.records));
        let parts = open(&config).await.unwrap();
        for seq in 20..=25 {
            assert!(parts.ledger.reader().get(Seq::new(seq)).unwrap().is_some(), "held record {seq}");
        }
        // Access is folded from what stayed: tokens from before are still known.
        let person = parts.access.authenticate(&token(&state, "alice"), clock::now()).unwrap();
        assert_eq!(person.subject().as_str(), "user:alice");
        let entry = parts.ledger.reader().get(done.receipt.seq).unwrap().unwrap();
        assert_eq!(entry.record.details["holds"], serde_json::json!(["case-1"]));
        close(parts).await.unwrap();
        release(&config, "case-1", "settled", None).await.unwrap();
        assert_eq!(standing_holds(&config).unwrap().iter().count(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_running_gateway_declares_what_it_prunes_and_its_next_start_takes_it_out() {
        let (_state, config) = world().await;
        let parts = open(&config).await.unwrap();
        let steward = Running::new(config.clone());
        let placed = steward.held("case-1", "a court asked", &Selection::default()).unwrap();
        parts.ledger.append(placed.subject("user:admin")).await.unwrap();
        let prune = async |parts: &Parts| {
            let (ledger, steward) = (parts.ledger.clone(), Running::new(config.clone()));
            let work =
                tokio::task::spawn_blocking(move || steward.prune(&ledger, in_seven_years(), "user:admin"));
            work.await.unwrap()
        };
        assert!(prune(&parts).await.unwrap_err().asked_wrongly, "everything is held");
        assert!(steward.held("case-1", "again", &Selection::default()).unwrap_err().asked_wrongly);
        parts.ledger.append(steward.released("case-1", "settled").unwrap()).await.unwrap();
        let before = steward.plan(in_seven_years()).unwrap();
        let done = prune(&parts).await.unwrap();
        let entry = parts.ledger.reader().get(done.receipt.seq).unwrap().unwrap();
        assert_eq!(entry.personal.text(sallyport_audit::Personal::Subject), Some("user:admin"));
        // Until the next start all is there, and more can be recorded, held and pruned.
        assert!(parts.ledger.reader().get(Seq::new(20)).unwrap().is_some());
        assert_eq!(steward.plan(in_seven_years()).unwrap().pruned_before, 0);
        prune(&parts).await.unwrap();
        close(parts).await.unwrap();
        close(open(&config).await.unwrap()).await.unwrap();
        let after = steward.plan(in_seven_years()).unwrap();
        assert_eq!(after.pruned_before, before.prune_before);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_may_not_administer_the_ledger_can_neither_hold_nor_prune() {
        let (state, config) = world().await;
        let before = files(&config).segments().unwrap();
        let alice = token(&state, "alice");
        let error = run(&config, in_seven_years(), Some(&alice)).await.unwrap_err();
        assert!(matches!(error, RetentionError::Refused { .. }), "{error}");
        let everything = Selection::default();
        let error = hold(&config, "mine", "because", &everything, Some(&alice)).await.unwrap_err();
        assert!(matches!(error, RetentionError::Refused { .. }) && error.hint().contains("gateway:ledger"));
        let error = hold(&config, "mine", "because", &everything, Some("no token")).await.unwrap_err();
        assert!(matches!(error, RetentionError::Token(_)));
        assert_eq!(files(&config).segments().unwrap(), before);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_pruned_without_an_archive_or_while_the_gateway_runs() {
        let (_state, mut config) = world().await;
        let parts = open(&config).await.unwrap();
        let error = run(&config, in_seven_years(), None).await.unwrap_err();
        assert!(error.hint().contains("stop the other gateway"), "{}", error.hint());
        // To look is possible all the same.
        assert!(plan(&config, in_seven_years()).unwrap().plan.size > 0);
        close(parts).await.unwrap();
        config.retention.archive = None;
        assert!(matches!(run(&config, in_seven_years(), None).await, Err(RetentionError::NoArchive)));
    }

    /// The same gateway, with its archive on S3.
    fn on_s3(service: &TestService, config: &Config) -> Config {
        let file = config.state_directory.join(crate::gateway::setup::CONFIG_FILE);
        let set = [
            "retention.archive=s3://archive/gateway/one".to_owned(),
            format!("retention.s3_endpoint={}", service.endpoint()),
            format!("retention.s3_credentials_file={}", service.credentials_file().display()),
            "retention.s3_timeout_secs=1".to_owned(),
            "ledger.segment_mebibytes=1".to_owned(),
        ];
        Config::load(&file, std::iter::empty(), &set).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_an_archive_on_s3_nothing_is_pruned_before_all_is_there_and_a_later_run_goes_on() {
        let (_state, config) = world().await;
        let service = TestService::start().await;
        let config = on_s3(&service, &config);
        let before: Vec<_> = files(&config).segments().unwrap();
        let contents: Vec<_> = before.iter().map(|segment| std::fs::read(&segment.path).unwrap()).collect();

        // Away behind the first segment; then somebody changes the second.
        let first = [Fault::Pass, Fault::Pass, Fault::Pass];
        service.next(first);
        service.always(Some(Fault::Answer(403, "AccessDenied")));
        let error = run(&config, in_seven_years(), None).await.unwrap_err();
        assert!(error.hint().contains("nothing was pruned"), "{error}");
        assert!(service.object(&before[0].name()).exists() && !service.object(&before[1].name()).exists());
        service.next([Fault::Pass, Fault::Pass, Fault::Tampering]);
        service.always(None);
        let error = run(&config, in_seven_years(), None).await.unwrap_err();
        assert!(matches!(&error, RetentionError::Pruning(PruningError::Archive(_))), "{error}");
        for (segment, bytes) in before.iter().zip(&contents).take(2) {
            assert_eq!(&std::fs::read(&segment.path).unwrap(), bytes, "nothing was pruned");
        }
        assert_eq!(archive::copies(&files(&config)).unwrap(), []);

        std::fs::remove_file(service.object(&before[1].name())).unwrap();
        let done = run(&config, in_seven_years(), None).await.unwrap();
        assert!(service.object(&done.manifest).is_file());
        assert!(!before[0].path.exists());

        let home = tempfile::tempdir().unwrap();
        let mut fetched = Vec::new();
        let place = home.path().join("fetched");
        fetch(&config, &place, &mut |copy, what| fetched.push((copy.seq, what.segments))).unwrap();
        assert_eq!(fetched.len(), 1);
        assert_eq!(fetched[0].0, done.receipt.seq);
        assert!(fetched[0].1 >= 2);
        for (segment, bytes) in before.iter().zip(&contents).take(2) {
            assert_eq!(&std::fs::read(place.join(segment.name())).unwrap(), bytes);
        }
        // What was changed in the bucket later is never brought home.
        std::fs::write(service.object(&before[0].name()), b"x").unwrap();
        let error = fetch(&config, &home.path().join("again"), &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, RetentionError::Fetch(FetchError::Changed { .. })), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn credentials_stand_in_no_record_and_in_no_setting() {
        let (_state, config) = world().await;
        let service = TestService::start().await;
        let config = on_s3(&service, &config);
        assert!(!format!("{config:?}").contains("the-secret"));
        run(&config, in_seven_years(), None).await.unwrap();
        for segment in files(&config).segments().unwrap() {
            let bytes = std::fs::read(&segment.path).unwrap();
            for secret in [b"the-secret".as_slice(), b"AKTEST", b"X-Amz-"] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret));
            }
        }
    }
}
