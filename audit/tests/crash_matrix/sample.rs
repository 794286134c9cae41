//! The ledgers that are tried, and how they are looked at afterwards.

use std::path::Path;
use std::sync::Arc;

use sallyport_audit::ledger::StoreState;
use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::verify::{Overall, Trust, directory};
use sallyport_audit::{Draft, Kind, Ledger, LedgerError, LedgerOptions, Opened, Outcome, Receipt, Seq};

use crate::Counts;

pub(crate) const ORIGIN: &str = "gateway.example.org/ledger";

pub(crate) fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

pub(crate) fn options(path: &Path, segment_bytes: u64) -> LedgerOptions {
    let mut options = LedgerOptions::new(path, ORIGIN, "gw-1");
    options.segment_bytes = segment_bytes;
    options
}

pub(crate) fn open(options: LedgerOptions) -> Result<(Ledger, Opened), LedgerError> {
    Ledger::open(options, Box::new(signer()), Arc::new(PlainVault))
}

pub(crate) fn draft(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").path(format!("/{n}")).detail("n", n)
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// What an acknowledgement says.
pub(crate) fn named(receipt: &Receipt) -> (Seq, String) {
    (receipt.seq, receipt.digest.to_string())
}

pub(crate) fn verified(path: &Path) -> Overall {
    directory(path, &Trust { keys: vec![signer().verifier()], ..Trust::default() }).unwrap().overall()
}

/// Opens what is there, and checks that all that was acknowledged is, without gaps; then that it verifies.
pub(crate) fn survives(
    path: &Path,
    segment_bytes: u64,
    known: &[(Seq, String)],
    what: &str,
    counts: &mut Counts,
) {
    let (ledger, opened) = match open(options(path, segment_bytes)) {
        Ok(opened) => opened,
        Err(error) => {
            counts.not_opened.push(format!("{what}: {error}"));
            return;
        }
    };
    counts.stores_rebuilt += u64::from(matches!(opened.store, StoreState::Rebuilt { .. }) && !opened.created);
    counts.torn_ends += u64::from(opened.torn.is_some());
    holds(&ledger, known, what, counts);
    block_on(async {
        if let Err(error) = ledger.append(draft(0)).await {
            counts.not_opened.push(format!("{what}: it opens, and cannot go on: {error}"));
        }
        ledger.close().await.unwrap();
    });
    let overall = verified(path);
    if overall != Overall::Verified {
        counts.not_opened.push(format!("{what}: what was opened again is {overall:?}"));
    }
}

pub(crate) fn holds(ledger: &Ledger, known: &[(Seq, String)], what: &str, counts: &mut Counts) {
    let reader = ledger.reader();
    for (seq, digest) in known {
        match reader.get(*seq) {
            Ok(Some(entry)) if entry.digest().to_string() == *digest => {}
            other => {
                counts.lost.push(format!("{what}: record {seq}: {:?}", other.map(|entry| entry.is_some())));
            }
        }
    }
    match reader.range(Seq::ZERO, usize::MAX) {
        Ok(entries) => {
            let linked = entries.windows(2).all(|pair| pair[1].record.prev == pair[0].digest());
            if entries.len() as u64 != reader.len() || !linked {
                counts.gaps.push(what.to_owned());
            }
        }
        Err(error) => counts.gaps.push(format!("{what}: {error}")),
    }
}
