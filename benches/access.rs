//! What a decision costs: with 10, 1,000 and 10,000 rules, ours beside bare casbin over the same rows, one thread, one run.
//!
//! `make bench-access`. Rows are of the kinds that real policies have (one tunnel, a prefix, roles of roles, denials, one
//! in ten under a condition); questions come from everybody about everything, most of them denied. Ratios within a run
//! are what counts. The last line is one JSON with the aim.

#![expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use sallyport::access::fact::{Fact, Stamp};
use sallyport::access::policy::Policy;
use sallyport::access::policy::conditions::Circumstances;
use sallyport::access::policy::load::{Sources, default_files};
use sallyport::access::policy::oracle::Oracle;
use sallyport::access::{
    Access, AccessOptions, Action, Caller, Clock as _, Context, Decision, LogError, Object, PolicyChange,
    RecordLog, Scope, SignError, Subject, SystemClock, Tenant, TokenKeys,
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// How long each figure is measured.
const RUN: Duration = Duration::from_secs(2);
/// Decisions a second and core that are aimed at with 1,000 rules.
const AIM: f64 = 200_000.0;
const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let mut rows = Vec::new();
    let mut at_1000 = (0.0, 0.0);
    for rules in SIZES {
        let text = table(rules);
        let sources = sources(&text);
        let began = Instant::now();
        let policy = Policy::build(&sources).await.map_err(|faults| anyhow::anyhow!("{faults}"))?;
        let load_ms = began.elapsed().as_secs_f64() * 1e3;
        let oracle = Oracle::build(&sources).await.map_err(|faults| anyhow::anyhow!("{faults}"))?;
        ensure!(policy.rule_count() == rules, "the table has {} rules", policy.rule_count());
        let questions = questions(rules)?;
        let tenant: Tenant = "main".parse()?;
        for (who, object) in questions.iter().step_by(7) {
            ensure!(
                oracle.agrees(&policy, who, &tenant, object, Action::Connect),
                "{who} {object}: casbin disagrees"
            );
        }
        let now = Timestamp::UNIX_EPOCH;
        let at = Circumstances { source: Some("192.0.2.7".parse()?), ..Circumstances::at(now) };
        let ours = rate(&questions, |who, object| {
            drop(black_box(policy.rule_at(who, &[], &tenant, object, Action::Connect, &at)));
        });
        let first = rate(&questions, |who, object| {
            let _ = black_box(policy.ask(&who.clone().into(), &tenant, object, Action::Connect));
        });
        let bare = rate(&questions, |who, object| {
            let _ = black_box(oracle.ask(who, &tenant, object, Action::Connect));
        });
        let whole = whole(&text, &questions).await?;
        println!(
            "{rules:>6} rules: decided {ours:>9.0}/s · asked for the first time {first:>8.0}/s · with permit and explanation {whole:>8.0}/s · bare casbin {bare:>7.0}/s · ratio {:>8.1} · loaded in {load_ms:.0} ms",
            ours / bare
        );
        if rules == 1_000 {
            at_1000 = (ours, whole);
        }
        rows.push(json!({
            "rules": rules, "decisions_per_second": ours.round(), "first_decisions_per_second": first.round(),
            "whole_decisions_per_second": whole.round(), "bare_casbin_per_second": bare.round(),
            "load_ms": load_ms.round(),
        }));
    }
    let request_us = plain_request().await?;
    let share = 100.0 * (1e6 / at_1000.1) / request_us;
    println!(
        "a plain HTTP request over loopback takes {request_us:.0} us; a whole decision at 1,000 rules is {share:.1} % of that, and is made once a session"
    );
    println!(
        "{}",
        json!({
            "bench": "access", "cores_used": 1, "sizes": rows, "plain_request_us": request_us.round(),
            "share_of_a_plain_request_percent": (share * 10.0).round() / 10.0,
            "aims": { "decisions_per_second_at_1000_rules": { "aim": AIM, "measured": at_1000.0.round(), "met": at_1000.0 >= AIM } },
        })
    );
    Ok(())
}

/// Questions a second, one after the other, over all of them in turn.
fn rate(questions: &[(Subject, Object)], mut ask: impl FnMut(&Subject, &Object)) -> f64 {
    // The first round finds caches cold, and isn't counted.
    let began = Instant::now();
    for (who, object) in questions {
        ask(who, object);
        if began.elapsed() > RUN {
            break;
        }
    }
    let (began, mut asked) = (Instant::now(), 0_u64);
    loop {
        for (who, object) in questions {
            ask(who, object);
            asked += 1;
            if asked.is_multiple_of(16) && began.elapsed() > RUN {
                return asked as f64 / began.elapsed().as_secs_f64();
            }
        }
    }
}

fn sources(table: &str) -> Sources {
    let conditions =
        "[condition.office]\nnetworks = [\"192.0.2.0/24\"]\n[condition.hours]\ndays = [\"thu\"]\n";
    Sources::new([
        default_files()[0],
        ("approvals.toml", ""),
        ("conditions.toml", conditions),
        ("policy.csv", table),
    ])
}

/// Ten rules a role, a person for every five rules, each with one role of their own and one that it has in turn.
fn table(rules: usize) -> String {
    let (mut text, teams) = (String::new(), rules.div_ceil(10));
    for n in 0..rules {
        let team = n % teams;
        let (objects, effect, condition) = match n / teams {
            0 => (format!("team{team}-*"), "allow", "-"),
            1 => (format!("team{team}-secret"), "deny", "-"),
            2 => (format!("tool{n}"), "allow", "office"),
            3 => (format!("day{n}"), "allow", "hours+office"),
            _ => (format!("svc{n}"), "allow", "-"),
        };
        text += &format!("p, role:r{team}, main, tunnel:{objects}, connect, {effect}, -, {condition}\n");
    }
    for person in 0..rules.div_ceil(5) {
        text += &format!("g, user:u{person}, role:r{}, main\n", person % teams);
    }
    for team in (1..teams).filter(|team| team % 4 != 0) {
        text += &format!("g, role:r{team}, role:r{}, main\n", team - 1);
    }
    text
}

/// Half about what the person's role speaks of, half about what it doesn't.
fn questions(rules: usize) -> Result<Vec<(Subject, Object)>> {
    let teams = rules.div_ceil(10);
    let mut questions = Vec::new();
    for n in 0..2_000 {
        let person = n * 31 % rules.div_ceil(5);
        let team = if n % 2 == 0 { person % teams } else { (person + n) % teams };
        let name = match n % 5 {
            0 => format!("team{team}-web"),
            1 => format!("team{team}-secret"),
            2 => format!("tool{}", 2 * teams + team),
            3 => format!("day{}", 3 * teams + team),
            _ => format!("svc{}", 4 * teams + team),
        };
        questions.push((format!("user:u{person}").parse()?, Object::tunnel(&name)?));
    }
    Ok(questions)
}

/// Decisions as the gateway makes them: token, locks, policy, conditions, explanation, a permit that is dropped.
async fn whole(table: &str, questions: &[(Subject, Object)]) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    for (name, text) in [
        (default_files()[0].0, default_files()[0].1),
        ("approvals.toml", ""),
        ("policy.csv", table),
        (
            "conditions.toml",
            "[condition.office]\nnetworks = [\"192.0.2.0/24\"]\n[condition.hours]\ndays = [\"thu\"]\n",
        ),
    ] {
        std::fs::write(directory.path().join(name), text)?;
    }
    let options = AccessOptions {
        policy_directory: directory.path().to_owned(),
        issuer: "https://sallyport.test".to_owned(),
        tenant: "main".parse()?,
        policy_change: PolicyChange::Reload,
        index: None,
    };
    let (log, keys) = (Arc::new(Memory::default()), Arc::new(Key::new()?));
    let access = Access::open(options, log, keys, Arc::new(SystemClock)).await?;
    let now = SystemClock.now();
    let mut people = Vec::new();
    for (who, object) in questions.iter().take(500) {
        let life = SignedDuration::from_hours(1);
        let (_, token) =
            access.issue_token(Caller::Operator, who.clone(), "main".parse()?, life, Scope::whole()).await?;
        people.push((access.authenticate(&token, now)?, object.clone()));
    }
    let context = Context::at(now).from_source("192.0.2.7:4711".parse()?);
    let (began, mut asked, mut allowed) = (Instant::now(), 0_u64, 0_u64);
    'run: loop {
        for (who, object) in &people {
            if let Decision::Allowed(permit) = access.authorize(who, object, Action::Connect, &context) {
                allowed += 1;
                drop(permit);
            }
            asked += 1;
            if asked.is_multiple_of(16) && began.elapsed() > RUN {
                break 'run;
            }
        }
    }
    let rate = asked as f64 / began.elapsed().as_secs_f64();
    ensure!(allowed > 0 && allowed < asked, "{allowed} of {asked} were allowed");
    access.close().await;
    Ok(rate)
}

/// Microseconds of one GET from an app on loopback, without any gateway: the shortest request that there is.
async fn plain_request() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/", get(|| async { "x".repeat(1024) }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let (mut began, mut count) = (Instant::now(), 0_u64);
    for round in 0.. {
        sender.ready().await?;
        let request = Request::get("/").header("host", "app").body(Empty::<Bytes>::new())?;
        sender.send_request(request).await?.into_body().collect().await?;
        count += 1;
        if round == 500 {
            (began, count) = (Instant::now(), 0);
        }
        if round > 500 && began.elapsed() > RUN {
            break;
        }
    }
    driver.abort();
    server.abort();
    Ok(began.elapsed().as_secs_f64() * 1e6 / count as f64)
}

/// A log in memory: nothing of the ledger's cost is in these figures.
#[derive(Default)]
struct Memory(Mutex<u64>);

impl RecordLog for Memory {
    fn append(&self, _fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
        let seq = self.0.lock().map_or(0, |mut seq| {
            *seq += 1;
            *seq
        });
        async move { Ok(Stamp { seq, time: SystemClock.now(), digest: sallyport_audit::Digest::ZERO }) }
            .boxed()
    }

    fn replay(&self, _: u64, _: &mut dyn FnMut(Stamp, Fact)) -> Result<u64, LogError> {
        Ok(0)
    }
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Result<Self> {
        Ok(Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?))
    }
}

impl TokenKeys for Key {
    fn sign_es256(&self, signing_input: Vec<u8>) -> BoxFuture<'_, Result<[u8; 64], SignError>> {
        async move {
            let signature = self.0.sign(&SystemRandom::new(), &signing_input);
            let signature = signature.map_err(|_| SignError("the key failed".to_owned()))?;
            signature.as_ref().try_into().map_err(|_| SignError("a signature of another length".to_owned()))
        }
        .boxed()
    }

    fn public_key_p256(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }
}
