//! Opens what records are read from: a ledger's directory, or a pack.

use std::path::Path;

use sallyport_audit::note::PublicKey;
use sallyport_audit::snapshot::Snapshot;
use sallyport_compliance::pack::{INFO, PackReader};
use sallyport_compliance::{Reel, ReelError};

use crate::Failure;
use crate::output::ledger;

/// The records in `path`, under a head that one of `keys` signed.
pub(crate) fn open(path: &Path, keys: &[PublicKey]) -> Result<Reel, Failure> {
    let is_pack = path.is_file() || path.join(INFO).is_file();
    if is_pack {
        let pack = PackReader::open(path).map_err(|error| failure(&error.into()))?;
        return Reel::of_pack(pack, keys).map_err(|error| failure(&error));
    }
    let snapshot = Snapshot::latest(ledger(path)?).map_err(|error| Failure::snapshot(&error))?;
    Reel::of_ledger(snapshot, keys).map_err(|error| failure(&error))
}

pub(crate) fn failure(error: &ReelError) -> Failure {
    if error.is_broken() {
        Failure::broken(error, error.hint())
    } else {
        Failure::not_evaluated(error, error.hint())
    }
}
