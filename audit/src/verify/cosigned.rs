//! Whether enough of the given cosigners have seen a head of this very ledger.

use jiff::Timestamp;

use super::walk::Walk;
use super::{Known, Statement, Trust};
use crate::note::{CosignerKey, NoteError};

impl Known {
    /// A sentence that all is well, or what is not.
    pub(super) fn cosigned(&self, walk: &Walk, trust: &Trust) -> Result<String, String> {
        let needed = trust.quorum.unwrap_or(trust.cosigners.len());
        let mut seen = Vec::new();
        for cosigner in &trust.cosigners {
            let latest = self.latest(cosigner, walk).map_err(|error| format!("A cosigned head: {error}."))?;
            if let Some((size, time)) = latest {
                let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_second(time).ok());
                let time = time.map_or_else(String::new, |time| format!(" at {time}"));
                seen.push(format!("{} ({size} records{time})", cosigner.name()));
            }
        }
        let given = trust.cosigners.len();
        let list = if seen.is_empty() { String::new() } else { format!(": {}", seen.join(", ")) };
        let sentence =
            format!("{} of {given} given cosigners signed a head of this ledger{list}", seen.len());
        if seen.len() >= needed {
            Ok(format!("{sentence}."))
        } else {
            Err(format!("{sentence}; {needed} are needed."))
        }
    }

    /// Whether each cosigner that is needed has signed a head over all records.
    pub(super) fn is_seen_to_the_end(&self, walk: &Walk, trust: &Trust) -> bool {
        let to_the_end = |cosigner: &&CosignerKey| {
            let latest = self.latest(cosigner, walk).ok().flatten();
            latest.is_some_and(|(size, _)| size == walk.chain.size())
        };
        let needed = trust.quorum.unwrap_or(trust.cosigners.len());
        trust.cosigners.iter().filter(to_the_end).count() >= needed
    }

    /// The largest head that this cosigner signed, or one that took its place, and that the records lead to, with the time.
    fn latest(&self, cosigner: &CosignerKey, walk: &Walk) -> Result<Option<(u64, u64)>, NoteError> {
        let signers = &walk.hands.signers;
        // What a ledger says of its keys counts for nothing if the ledger itself is a stranger's.
        let speaking = if signers.is_anchored() {
            signers.cosigners().speaking_for(cosigner)
        } else {
            vec![(cosigner.clone(), 0, u64::MAX)]
        };
        let mut latest = None;
        for ((_, statement), root) in self.all().iter().zip(&walk.roots) {
            let Statement::Usable(checkpoint, note) = statement else { continue };
            if *root != Some(checkpoint.root) {
                continue;
            }
            for (key, from, to) in &speaking {
                let time = key.verify(checkpoint, note)?;
                if let Some(time) = time.filter(|_| (*from..=*to).contains(&checkpoint.size)) {
                    latest = latest.max(Some((checkpoint.size, time)));
                }
            }
        }
        Ok(latest)
    }
}
