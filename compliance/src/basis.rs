//! A ledger that was verified, up to a head that its own key signed: what reports and packs are made from.
//!
//! Verifier and report read the same files one after the other, and a gateway may be writing them meanwhile. So the
//! records that were verified are read again up to that very size, and their root is compared with what was verified.

use std::io;
use std::path::Path;

use jiff::tz::TimeZone;
use sallyport_audit::journal::Files;
use sallyport_audit::journal::scan::note_closing;
use sallyport_audit::note::PublicKey;
use sallyport_audit::record::RecordReader;
use sallyport_audit::snapshot::{Shown, Snapshot, SnapshotError};
use sallyport_audit::verify::{Overall, Progress, Summary, Trust, Verdict, directory_since};
use sallyport_audit::{Checkpoint, Digest, RecordError, Seq};

use crate::framework::Framework;
use crate::pack::{MakeError, Maker, PackWriter, Signer, Source};
use crate::period::Period;
use crate::report::Report;
use crate::reporter::Reporter;
use crate::scope::Survey;

/// A ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BasisError {
    /// Its files.
    #[error("the ledger cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its records.
    #[error(transparent)]
    Records(#[from] SnapshotError),
    /// Nothing may be packed of it.
    #[error("no pack was made: {0}")]
    Unproved(String),
    /// The pack.
    #[error(transparent)]
    Make(#[from] MakeError),
}

impl BasisError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "copy the whole ledger directory to a good disk and use the copy",
            Self::Records(error) => error.hint(),
            Self::Unproved(_) => {
                "a pack of records that cannot be relied on would be evidence for nothing; see `auditctl verify`"
            }
            Self::Make(error) => error.hint(),
        }
    }

    /// Whether something is not as it was signed, as opposed to missing or unreadable.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Records(error) if error.is_broken())
    }
}

/// Of so many records progress is told once.
const TELL_EVERY: u64 = 8_192;

/// A ledger and what the verifier said of it.
pub struct Basis {
    verdict: Verdict,
    keys: Vec<PublicKey>,
    /// None if the ledger did not verify and there is nothing to read.
    records: Option<Records>,
}

struct Records {
    /// Those that were verified; what was written since then belongs to the next report.
    whole: Snapshot,
    /// The head that a report stands under: signed by a given key, so that others can check what is made of it.
    head: Snapshot,
}

impl Records {
    fn of(files: &Files, verdict: &Verdict, keys: &[PublicKey]) -> Result<Self, BasisError> {
        let last = verdict.ledger.records.checked_sub(1).map(Seq::new);
        let closing = last.map(|last| note_closing(files, last)).transpose()?.flatten();
        let whole = match closing {
            Some(note) => Snapshot::at(files.clone(), note)?,
            // Its last records were pruned, or it is damaged.
            None => Snapshot::whole(files.clone())?,
        };
        let signed = Checkpoint::from_note(whole.note()).is_ok_and(|(_, note)| note.verify_any(keys).is_ok());
        // The end may be under a key that the ledger lent signing to; its own came last before that.
        let own = if signed { None } else { Some(Snapshot::latest(files.clone())?) };
        let head = own.filter(|own| own.checkpoint().size <= whole.checkpoint().size);
        let head = head.unwrap_or_else(|| whole.clone());
        Ok(Self { whole, head })
    }
}

impl Basis {
    /// Verifies the ledger in a directory. `progress` is told how far that is, in bytes.
    pub fn verify(
        ledger: &Path,
        trust: &Trust,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, BasisError> {
        let (verdict, _) = directory_since(ledger, trust, None, progress)?;
        let records = match Records::of(&Files::new(ledger), &verdict, &trust.keys) {
            Ok(records) => Some(records),
            Err(error) if verdict.overall() == Overall::Verified => return Err(error),
            Err(_) => None,
        };
        Ok(Self { verdict, keys: trust.keys.clone(), records })
    }

    /// What the verifier said.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The report of a period. `progress` is told how far reading is, in records; they are read twice.
    pub fn report(
        &self,
        framework: &Framework,
        period: Period,
        zone: &TimeZone,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, BasisError> {
        let Some(Records { whole, head }) = &self.records else {
            let Summary { origin, records, root, .. } = &self.verdict.ledger;
            let (origin, root) = (origin.clone().unwrap_or_default(), root.unwrap_or(Digest::ZERO));
            let head = Checkpoint { origin, size: *records, root };
            return Ok(Reporter::new(framework, period, zone, None).finish(self.verdict.clone(), &head));
        };
        let size = head.checkpoint().size;
        let total = whole.checkpoint().size.saturating_add(size);
        let mut done = 0_u64;
        let mut step = || {
            done += 1;
            if done.is_multiple_of(TELL_EVERY) || done == total {
                progress(Progress { done, total });
            }
        };
        let mut survey = Survey::new(period);
        let mut reader = RecordReader::default();
        let surveyed = whole.records(&mut |shown| {
            step();
            if let Shown::Record { seq, bytes, .. } = shown
                && seq.get() < size
            {
                survey.take(seq, reader.read(bytes).map_err(unread)?.time);
            }
            Ok(())
        });
        let mut reporter = Reporter::new(framework, period, zone, survey.finish());
        let read = surveyed.and_then(|()| {
            head.records(&mut |shown| {
                step();
                reporter.take(shown).map_err(unread)
            })
        });
        match read {
            // Of a ledger that did not verify, the report says that and nothing else.
            Err(error) if self.verdict.overall() == Overall::Verified => Err(error.into()),
            _ => Ok(reporter.finish(self.verdict.clone(), head.checkpoint())),
        }
    }

    /// Writes the pack of a report that was made of this ledger. `progress` is told the name of each file that is begun.
    pub fn pack(
        &self,
        path: &Path,
        (framework, report): (&Framework, &Report),
        signer: Option<&dyn Signer>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), BasisError> {
        if let Some(reason) = &report.unproved {
            return Err(BasisError::Unproved(reason.clone()));
        }
        let unread = || BasisError::Unproved("the ledger could not be read".to_owned());
        let snapshot = &self.records.as_ref().ok_or_else(unread)?.head;
        let source = Source { snapshot, framework, report, keys: &self.keys };
        let maker = Maker::new(source, signer)?;
        let pack = PackWriter::create(path).map_err(MakeError::Store)?;
        Ok(maker.write(pack, progress)?)
    }
}

fn unread(error: RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
