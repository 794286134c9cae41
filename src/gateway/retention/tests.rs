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
        let draft = Draft::new(Kind::HttpRequest, Outcome::Success).detail("n", n).detail("filler", filler);
        parts.ledger.append(draft).await.unwrap();
    }
    close(parts).await.unwrap();
    (state, config)
}

fn in_seven_years() -> Timestamp {
    clock::now().checked_add(SignedDuration::from_hours(24 * 366 * 7)).unwrap()
}

fn token(state: &tempfile::TempDir, person: &str) -> String {
    std::fs::read_to_string(state.path().join(format!("tokens/{person}.token"))).unwrap().trim().to_owned()
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
