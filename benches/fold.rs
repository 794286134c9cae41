//! How long a start takes until the state of access is what the ledger says.
//!
//! `make bench-fold` writes a ledger of a million records of access (tokens, requests, approvals, grants and their ends; with
//! an argument, of so many), one of half as many with as many other records between them, and one of a tenth with nine times as
//! many others; opens each anew and folds it as the gateway does at start: whole, and by the records that an index names. Signatures and the sealing of names are those of tests: keys in memory, no cipher. The last
//! line is one JSON with the aim.

#![expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use sallyport::access::fact::{Actor, Fact};
use sallyport::access::policy::PolicyDigest;
use sallyport::access::state::State;
use sallyport::access::{
    Action, GrantId, Object, Purpose, Reason, RecordLog as _, RequestId, Role, Scope, Subject, Tenant,
    TokenId, WorkflowName,
};
use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Ledger, LedgerOptions, Outcome};
use serde_json::json;

/// That of the gateway.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Records that are aimed at, and the time that their fold may take.
const RECORDS: usize = 1_000_000;
const AIM_SECONDS: f64 = 5.0;
/// Facts of one story: a token, a request, an approval, a grant, its end.
const STORY: usize = 5;
/// Stories that are written together.
const TOGETHER: usize = 1_000;

fn main() -> Result<()> {
    let wanted = std::env::args().find_map(|count| count.parse().ok()).unwrap_or(RECORDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let alone = runtime.block_on(measure(wanted, 0))?;
    let among_others = runtime.block_on(measure(wanted / 2, 1))?;
    let among_many = runtime.block_on(measure(wanted / 10, 9))?;
    for (what, figure) in [
        ("of access alone", &alone),
        ("of access among as many others", &among_others),
        ("of access among nine times as many", &among_many),
    ] {
        let Figure { records, seconds, by_index } = figure;
        println!("{records} records {what}: {seconds:.2} s, by an index {by_index:.2} s");
    }
    let line = json!({
        "bench": "fold",
        "records": alone.records,
        "seconds": alone.seconds,
        "records_per_second": alone.records as f64 / alone.seconds,
        "among_others_records": among_others.records,
        "among_others_seconds": among_others.seconds,
        "by_index_seconds": alone.by_index,
        "among_many_records": among_many.records,
        "among_many_seconds": among_many.seconds,
        "among_many_by_index_seconds": among_many.by_index,
        "aim_records": RECORDS,
        "aim_seconds": AIM_SECONDS,
    });
    println!("{line}");
    Ok(())
}

struct Figure {
    records: usize,
    seconds: f64,
    by_index: f64,
}

async fn measure(wanted: usize, others: usize) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let written = write(directory.path(), wanted, others).await?;
    let ledger = open(directory.path())?;
    let mut state = State::default();
    let mut records = Vec::new();
    let began = Instant::now();
    ledger.replay(0, &mut |stamp, fact| {
        state.apply(stamp, &fact);
        records.push(stamp.seq);
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let folded = records.len();
    ensure!(folded == written, "{written} facts were written and {folded} folded");
    let mut by_index = State::default();
    let began = Instant::now();
    ledger.replay_these(&records, &mut |stamp, fact| by_index.apply(stamp, &fact))?;
    let by_index_seconds = began.elapsed().as_secs_f64();
    ensure!(by_index == state, "the state is another by the index");
    ensure!(state.grants().count() == written / STORY, "a grant of each story");
    ledger.close().await?;
    Ok(Figure { records: folded, seconds, by_index: by_index_seconds })
}

fn open(directory: &Path) -> Result<Ledger> {
    let options = LedgerOptions::new(directory, "sallyport.bench/ledger", "node-1");
    let signer = SoftwareSigner::new("sallyport.bench/ledger", [7; 32]);
    Ok(Ledger::open(options, Box::new(signer), std::sync::Arc::new(PlainVault))?.0)
}

async fn write(directory: &Path, wanted: usize, others: usize) -> Result<usize> {
    let ledger = open(directory)?;
    let stories = wanted.div_ceil(STORY);
    let mut written = 0;
    for first in (0..stories).step_by(TOGETHER) {
        let batch: Vec<Vec<Fact>> =
            (first..stories.min(first + TOGETHER)).map(story).collect::<Result<_>>()?;
        // One step of all of them after the other, so that each comes after what it rests on.
        for step in 0..STORY {
            let facts = batch.iter().filter_map(|facts| facts.get(step)).map(|fact| async {
                for _ in 0..others {
                    let other = Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:somebody");
                    ledger.append(other.object("tunnel:shop")).await.map(drop)?;
                }
                sallyport::access::RecordLog::append(&ledger, fact.clone()).await.map_err(anyhow::Error::from)
            });
            written += futures_util::future::try_join_all(facts).await?.len();
        }
    }
    ledger.close().await?;
    Ok(written)
}

fn story(number: usize) -> Result<Vec<Fact>> {
    let now: Timestamp = "2026-11-28T12:00:00Z".parse()?;
    let mut random = [0; 10];
    for (to, from) in random.iter_mut().zip((number as u64).to_be_bytes()) {
        *to = from;
    }
    let (request, grant, token) =
        (RequestId::new(now, random), GrantId::new(now, random), TokenId::new(now, random));
    let subject: Subject = format!("user:visitor-{}", number % 5_000).parse()?;
    let by: Subject = format!("user:approver-{}", number % 50).parse()?;
    let (tenant, object): (Tenant, Object) =
        ("main".parse()?, Object::tunnel(&format!("t{}", number % 500))?);
    let (workflow, role): (WorkflowName, Role) = ("one".parse()?, "role:admin".parse()?);
    let reason: Reason = "to see what is wrong with it".parse()?;
    let policy: PolicyDigest = format!("sha256:{}", "0".repeat(64)).parse()?;
    let ends = now.checked_add(SignedDuration::from_hours(1)).context("an hour later")?;
    let action = Action::Connect;
    let issued = Fact::TokenIssued {
        token,
        purpose: Purpose::Access,
        subject: subject.clone(),
        tenant: tenant.clone(),
        expires: ends,
        scope: Scope::whole(),
        sign_in: None,
        by: Actor::Operator,
    };
    let requested = Fact::Requested {
        request,
        subject: subject.clone(),
        tenant: tenant.clone(),
        object: object.clone(),
        action,
        workflows: vec![workflow.clone()],
        minutes: 60,
        reason: reason.clone(),
        ticket: None,
        claimed: Vec::new(),
        answer_by: ends,
        renews: None,
        source: None,
        once: false,
    };
    let approved = Fact::Approved {
        request,
        tenant: tenant.clone(),
        object: object.clone(),
        requester: subject.clone(),
        by,
        roles: vec![role],
        minutes: None,
        conditions: Vec::new(),
        once: false,
        reason: Some(reason),
        signed: None,
    };
    let given = Fact::GrantIssued {
        grant,
        request,
        subject: subject.clone(),
        tenant: tenant.clone(),
        object: object.clone(),
        action,
        workflows: vec![workflow],
        approvals: 1,
        starts: now,
        ends,
        from_first_use: None,
        once: false,
        conditions: Vec::new(),
        policy,
    };
    let ended = Fact::GrantExpired { grant, request, tenant, object, subject };
    Ok(vec![issued, requested, approved, given, ended])
}
