use super::*;
use crate::keys::{KeyId, Owner};
use crate::sidecar::Value;

fn open_with(directory: &Path, signer: SoftwareSigner) -> Result<(Ledger, Opened), LedgerError> {
    let quick = LedgerOptions { retry_interval: std::time::Duration::from_millis(10), ..options(directory) };
    Ledger::open(quick, Box::new(signer), Arc::new(PlainVault))
}

#[tokio::test]
async fn while_the_signer_is_down_nothing_is_numbered_and_afterwards_it_goes_on_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    let (ledger, _) = open_with(directory.path(), signer).unwrap();
    ledger.append(draft(1)).await.unwrap();
    down.store(true, Ordering::SeqCst);
    let refused = ledger.append(draft(2)).await.unwrap_err();
    assert_eq!(refused, AppendError::SignerUnavailable { reason: "the token was removed".to_owned() });
    assert!(
        matches!(&*ledger.status().borrow(), LedgerStatus::Stalled { reason } if reason.contains("token"))
    );
    assert_eq!(ledger.reader().len(), 2);

    down.store(false, Ordering::SeqCst);
    // Without any new draft: the signer is asked again.
    ledger.status().wait_for(LedgerStatus::is_open).await.unwrap();
    assert_eq!(ledger.append(draft(3)).await.unwrap().seq, Seq::new(2));
    ledger.close().await.unwrap();
    assert_verified(directory.path());
    let (ledger, _) = open(directory.path());
    assert_eq!(numbers(&ledger), [1, 3]);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn what_was_only_enqueued_is_kept_while_the_signer_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    let (ledger, _) = open_with(directory.path(), signer).unwrap();
    down.store(true, Ordering::SeqCst);
    for n in 1..=5 {
        ledger.enqueue(draft(n)).await.unwrap();
    }
    assert!(ledger.append(draft(6)).await.is_err());
    down.store(false, Ordering::SeqCst);
    ledger.append(draft(7)).await.unwrap();
    assert_eq!(numbers(&ledger), [1, 2, 3, 4, 5, 7]);
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn what_piled_up_while_the_signer_was_down_is_recorded_in_groups_of_bounded_size() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    let small = LedgerOptions { group_records: 3, ..options(directory.path()) };
    let (ledger, _) = Ledger::open(small, Box::new(signer), Arc::new(PlainVault)).unwrap();
    down.store(true, Ordering::SeqCst);
    for n in 0..10 {
        ledger.enqueue(draft(n)).await.unwrap();
    }
    // Answered after all of them were tried.
    assert!(ledger.append(draft(10)).await.is_err());
    down.store(false, Ordering::SeqCst);
    ledger.append(draft(11)).await.unwrap();
    assert_eq!(numbers(&ledger), (0..10).chain([11]).collect::<Vec<_>>());
    ledger.close().await.unwrap();
    let verdict = check(directory.path());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.ledger.heads > 4, "{} heads", verdict.ledger.heads);
}

#[tokio::test]
async fn a_queue_that_is_full_because_the_signer_is_down_refuses_instead_of_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    let small = LedgerOptions { queue_bytes: 0, ..options(directory.path()) };
    let (ledger, _) = Ledger::open(small, Box::new(signer), Arc::new(PlainVault)).unwrap();
    down.store(true, Ordering::SeqCst);
    let mut kept = 0;
    let refused = loop {
        match ledger.enqueue(draft(kept)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "the queue is bounded");
    };
    assert!(matches!(refused, AppendError::SignerUnavailable { .. }), "{refused}");
    down.store(false, Ordering::SeqCst);
    ledger.close().await.unwrap();
    let (ledger, _) = open(directory.path());
    assert_eq!(numbers(&ledger), (0..kept).collect::<Vec<_>>(), "what was accepted is recorded");
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn closing_while_the_signer_is_down_says_what_could_not_be_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    let (ledger, _) = open_with(directory.path(), signer).unwrap();
    down.store(true, Ordering::SeqCst);
    ledger.enqueue(draft(1)).await.unwrap();
    ledger.enqueue(draft(2)).await.unwrap();
    let error = ledger.close().await.unwrap_err();
    assert!(matches!(error, LedgerError::Unrecorded { drafts: 2, .. }), "{error}");
    assert_verified(directory.path());
}

#[tokio::test]
async fn a_new_ledger_needs_its_signer_and_a_later_start_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    down.store(true, Ordering::SeqCst);
    let error = open_with(directory.path(), signer.clone()).err().unwrap();
    assert!(matches!(error, LedgerError::Signer { .. }), "{error}");
    assert!(error.hint().contains("key provider"));
    down.store(false, Ordering::SeqCst);
    let (ledger, opened) = open_with(directory.path(), signer).unwrap();
    assert!(opened.created);
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

/// A provider that answers with bytes that are no signature.
struct Liar(SoftwareSigner);

impl HeadSigner for Liar {
    fn origin_key_name(&self) -> &str {
        self.0.origin_key_name()
    }
    fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }
    fn sign(&mut self, _: &[u8]) -> Result<[u8; 64], crate::SignError> {
        Ok([1; 64])
    }
}

#[tokio::test]
async fn a_false_signature_is_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let error = Ledger::open(options(directory.path()), Box::new(Liar(signer())), Arc::new(PlainVault));
    let error = error.err().unwrap();
    assert!(error.to_string().contains("false signature"), "{error}");
}

/// A vault that cannot seal.
struct Locked;

impl Vault for Locked {
    fn is_ready(&self, _: &Owner) -> bool {
        false
    }
    fn prepare(&self, _: &Owner) -> Result<(), crate::VaultError> {
        Err(crate::VaultError::new("the wrapping key is gone"))
    }
    fn seal(&self, owner: &Owner, _: &[u8], _: &[u8]) -> Result<(KeyId, Vec<u8>), crate::VaultError> {
        self.prepare(owner).map(|()| (KeyId::from_bytes([0; 16]), Vec::new()))
    }
    fn open(&self, _: KeyId, _: &[u8], _: &[u8]) -> Result<Vec<u8>, crate::OpenError> {
        Err(crate::VaultError::new("the wrapping key is gone").into())
    }

    fn key_of(&self, _: &str) -> Option<KeyId> {
        None
    }
}

#[tokio::test]
async fn without_the_vault_personal_values_are_neither_written_in_clear_nor_read() {
    let directory = filled(2).await;
    let (ledger, _) = Ledger::open(options(directory.path()), Box::new(signer()), Arc::new(Locked)).unwrap();
    assert!(matches!(ledger.append(draft(3)).await, Err(AppendError::SignerUnavailable { .. })));
    let entry = ledger.reader().get(Seq::new(1)).unwrap().unwrap();
    let closed = Value::Unreadable { why: "the wrapping key is gone".to_owned() };
    assert!(entry.personal.iter().all(|(_, value)| *value == closed));
    assert_eq!(entry.record.personal.len(), 2, "the commitments are still there");
    // What has no personal values needs no vault.
    ledger.append(Draft::new(Kind::HsmDown, Outcome::Failure)).await.unwrap();
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}
