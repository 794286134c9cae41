//! The same over the real ledger, with its journal and store in a temporary directory.

use std::fmt::Write as _;

use sallyport_audit::disk::RealDisk;
use sallyport_audit::journal::Files;
use sallyport_audit::recovery::{Evidence, carry_out, survey};
use sallyport_audit::testing::{ErasingVault, PlainVault, SoftwareSigner};
use sallyport_audit::{KeyId, Ledger, LedgerOptions, OpenError, Owner, Vault, VaultError};

use super::*;

fn open_ledger(directory: &Path) -> Ledger {
    open_with(directory, Arc::new(PlainVault))
}

fn open_with(directory: &Path, vault: Arc<dyn Vault>) -> Ledger {
    let options = LedgerOptions::new(directory, "sallyport.test/ledger", "node-1");
    let signer = SoftwareSigner::new("sallyport.test/ledger", [7; 32]);
    Ledger::open(options, Box::new(signer), vault).unwrap().0
}

fn options(policy_directory: &Path) -> AccessOptions {
    AccessOptions {
        policy_directory: policy_directory.to_owned(),
        issuer: ISSUER.to_owned(),
        tenant: main_tenant(),
        policy_change: PolicyChange::Reload,
        index: Some(policy_directory.join("access-index")),
    }
}

/// Somebody with a whole token of the operator's, and the token.
async fn log_in(access: &Access, clock: &HandClock, name: &str) -> (Identity, String) {
    let life = SignedDuration::from_hours(1);
    let issued = access.issue_token(Caller::Operator, user(name), main_tenant(), life, Scope::whole()).await;
    let (_, text) = issued.unwrap();
    (access.authenticate(&text, clock.now()).unwrap(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_the_real_ledger_gives_exactly_the_same_state() {
    let (ledger_directory, policy_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_policy(policy_directory.path(), TEAM, WORKFLOWS);
    let (keys, clock) = (MemoryKeys::new(), HandClock::new());
    let options = options(policy_directory.path());

    let ledger = open_ledger(ledger_directory.path());
    let access =
        Access::open(options.clone(), Arc::new(ledger.clone()), keys.clone(), clock.clone()).await.unwrap();
    let login = async |name: &str| log_in(&access, &clock, name).await;
    let ((vic, token), (anna, _), (val, _)) = (login("vic").await, login("anna").await, login("val").await);
    let granted = access.request(&vic, ask("demo", 10)).await.unwrap();
    access.approve(&anna, granted, Some(7), Some("fine".parse().unwrap())).await.unwrap();
    let rejected = access.request(&val, ask("demo", 10)).await.unwrap();
    access.reject(&anna, rejected, None).await.unwrap();
    access.request(&val, ask("vault", 10)).await.unwrap();
    let own = access.approve(&val, rejected, None, None).await;
    assert!(own.is_err());
    access.lock(&anna, user("pat").into(), main_tenant(), None, Some("left".parse().unwrap())).await.unwrap();
    access.lock(Caller::Operator, role("publisher").into(), main_tenant(), None, None).await.unwrap();
    let before = access.state();
    access.close().await;
    ledger.close().await.unwrap();
    drop((access, ledger));

    let ledger = open_ledger(ledger_directory.path());
    let again = Access::open(options, Arc::new(ledger.clone()), keys, clock.clone()).await.unwrap();
    assert_eq!(again.state(), before);
    let vic = again.authenticate(&token, clock.now()).unwrap();
    let decision = again.authorize(&vic, &object("demo"), Action::Connect, &Context::at(clock.now()));
    assert!(matches!(decision, Decision::Allowed(_)), "{}", decision.explanation().why);
    again.close().await;
    ledger.close().await.unwrap();
}

/// As `auditctl recover --restored --apply`.
fn recover(directory: &Path, tokens_kept: bool) {
    let (files, key) =
        (Files::new(directory), SoftwareSigner::new("sallyport.test/ledger", [7; 32]).verifier());
    let evidence = Evidence { keys: vec![key], restored: true, ..Evidence::default() };
    let found = survey(&files, &evidence).unwrap();
    let plan = found.plan(&files, "user:olga", "the disk was replaced", tokens_kept).unwrap();
    carry_out(&RealDisk, &files, &plan).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_was_lost_with_the_end_of_the_ledger_still_holds_after_it_was_resumed() {
    for tokens_kept in [false, true] {
        let (ledger_directory, policy_directory) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_policy(policy_directory.path(), TEAM, WORKFLOWS);
        let (keys, clock) = (MemoryKeys::new(), HandClock::new());
        let options = options(policy_directory.path());
        let ledger = open_ledger(ledger_directory.path());
        let access = Access::open(options.clone(), Arc::new(ledger.clone()), keys.clone(), clock.clone())
            .await
            .unwrap();
        let ((vic, token), (anna, _)) =
            (log_in(&access, &clock, "vic").await, log_in(&access, &clock, "anna").await);
        let request = access.request(&vic, ask("demo", 10)).await.unwrap();
        access.approve(&anna, request, None, None).await.unwrap();
        // What is revoked after this moment is lost: an older copy of the ledger is put back.
        access.close().await;
        ledger.close().await.unwrap();
        recover(ledger_directory.path(), tokens_kept);

        let ledger = open_ledger(ledger_directory.path());
        let access = Access::open(options, Arc::new(ledger.clone()), keys, clock.clone()).await.unwrap();
        let again = access.authenticate(&token, clock.now());
        assert_eq!(again.is_ok(), tokens_kept, "{again:?}");
        // The grant ended in either case, also for somebody with a token that is good.
        let decision = access.authorize(&vic, &object("demo"), Action::Connect, &Context::at(clock.now()));
        assert!(!matches!(decision, Decision::Allowed(_)), "{}", decision.explanation().why);
        // The way on: a token that the operator issues, and a new request.
        let (vic, _) = log_in(&access, &clock, "vic").await;
        access.request(&vic, ask("demo", 10)).await.unwrap();
        access.close().await;
        ledger.close().await.unwrap();
    }
}

/// The approver and the requester of a live grant are erased; who locked whom stays locked.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_has_nothing_and_what_they_approved_stays_before_and_after_a_restart() {
    let (ledger_directory, policy_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_policy(policy_directory.path(), TEAM, WORKFLOWS);
    let (keys, clock, vault) = (MemoryKeys::new(), HandClock::new(), ErasingVault::default());
    let options = options(policy_directory.path());
    let ledger = open_with(ledger_directory.path(), Arc::new(vault.clone()));
    let access =
        Access::open(options.clone(), Arc::new(ledger.clone()), keys.clone(), clock.clone()).await.unwrap();
    let login = async |name: &str| log_in(&access, &clock, name).await;
    let ((vic, token), (anna, _), (val, _)) = (login("vic").await, login("anna").await, login("val").await);
    let granted = access.request(&vic, ask("demo", 10)).await.unwrap();
    access.approve(&anna, granted, Some(7), Some("fine".parse().unwrap())).await.unwrap();
    access.request(&val, ask("vault", 10)).await.unwrap();
    access.lock(&anna, user("pat").into(), main_tenant(), None, Some("left".parse().unwrap())).await.unwrap();

    let locked = access.end_all_of(Caller::Operator, user("pat"), "asked".parse().unwrap()).await;
    assert!(matches!(locked, Err(AccessError::Refused(Refusal::LockHolds { .. }))), "{locked:?}");
    let named = access.end_all_of(Caller::Operator, user("val"), "Val asked".parse().unwrap()).await;
    assert!(matches!(named, Err(AccessError::Refused(Refusal::ReasonNames))), "{named:?}");
    let unfit = access.end_all_of(&val, user("vic"), "asked".parse().unwrap()).await;
    assert!(matches!(unfit, Err(AccessError::Refused(Refusal::NotAllowed { .. }))), "{unfit:?}");

    let erase = async |name: &str, access: &Access| {
        access.end_all_of(Caller::Operator, user(name), "asked".parse().unwrap()).await.unwrap();
        let key = vault.erase(&Owner::Person(user(name).to_string()));
        access.forget(&vic, user(name), key, Some("asked".parse().unwrap())).await.unwrap();
        Subject::erased(key)
    };
    // Whoever approved is gone, and the grant that another person holds stays.
    let nobody = erase("anna", &access).await;
    let decision = access.authorize(&vic, &object("demo"), Action::Connect, &Context::at(clock.now()));
    assert!(matches!(decision, Decision::Allowed(_)), "{}", decision.explanation().why);
    let request = access.state().request(granted).unwrap().clone();
    assert_eq!(request.approvals[0].by, nobody);
    erase("val", &access).await;
    assert_eq!(access.state().pending().count(), 0, "what an erased person asked for waits no longer");
    assert!(!format!("{:?}", access.state()).contains("user:anna"));
    let before = access.state();
    access.close().await;
    ledger.close().await.unwrap();
    drop((access, ledger));

    let ledger = open_with(ledger_directory.path(), Arc::new(vault.clone()));
    let again =
        Access::open(options.clone(), Arc::new(ledger.clone()), keys.clone(), clock.clone()).await.unwrap();
    assert_eq!(again.state(), before);
    erase("vic", &again).await;
    assert!(again.authenticate(&token, clock.now()).is_err());
    assert_eq!(again.state().live_grants().count(), 0);
    again.close().await;
    ledger.close().await.unwrap();
    drop((again, ledger));

    // Unreadable is not erased: the start is refused.
    vault.away.store(true, std::sync::atomic::Ordering::SeqCst);
    let ledger = open_with(ledger_directory.path(), Arc::new(vault));
    let refused = Access::open(options, Arc::new(ledger.clone()), keys, clock).await;
    assert!(matches!(refused, Err(AccessError::Replay(_))));
    ledger.close().await.unwrap();
}

/// Has the keys of some people at hand, and takes its time over those of the others.
struct SlowVault;

impl Vault for SlowVault {
    fn is_ready(&self, owner: &Owner) -> bool {
        !format!("{owner:?}").contains("slow")
    }

    fn prepare(&self, owner: &Owner) -> Result<(), VaultError> {
        if !self.is_ready(owner) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok(())
    }

    fn seal(&self, owner: &Owner, aad: &[u8], plaintext: &[u8]) -> Result<(KeyId, Vec<u8>), VaultError> {
        PlainVault.seal(owner, aad, plaintext)
    }

    fn open(&self, key: KeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        PlainVault.open(key, aad, sealed)
    }

    fn key_of(&self, person: &str) -> Option<KeyId> {
        PlainVault.key_of(person)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_together_stands_in_its_order_whosever_key_was_not_at_hand() {
    let (ledger_directory, policy_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rows = TEAM.to_owned();
    for number in 0..20 {
        let name = if number % 3 == 0 { "slow" } else { "quick" };
        writeln!(rows, "g, user:{name}-{number}, role:visitor, main").unwrap();
    }
    write_policy(policy_directory.path(), &rows, WORKFLOWS);
    let (keys, clock) = (MemoryKeys::new(), HandClock::new());
    let options = options(policy_directory.path());
    let ledger = open_with(ledger_directory.path(), Arc::new(SlowVault));
    let access =
        Access::open(options.clone(), Arc::new(ledger.clone()), keys.clone(), clock.clone()).await.unwrap();
    let deadline = clock.now().checked_add(SignedDuration::from_hours(24)).unwrap();
    let review =
        access.start_review(Caller::Operator, main_tenant(), role("security"), deadline).await.unwrap();
    let before = access.state();
    let frozen = before.review(review).unwrap();
    assert_eq!(frozen.digest, state::digest(&frozen.items), "another population than the record says");
    access.close().await;
    ledger.close().await.unwrap();
    drop((access, ledger));

    let ledger = open_with(ledger_directory.path(), Arc::new(SlowVault));
    let again = Access::open(options, Arc::new(ledger.clone()), keys, clock).await.unwrap();
    assert_eq!(again.state(), before);
    again.close().await;
    ledger.close().await.unwrap();
}
