//! Whether enough of the given cosigners have seen a head of this very ledger.

use jiff::Timestamp;

use super::walk::{MARKS, Walk};
use super::{Known, Statement, Trust};
use crate::digest::Digest;
use crate::note::{CosignerKey, NoteError};

impl Known {
    /// A sentence that all is well, or what is not. `roots` are those of the records at our sizes.
    pub(super) fn cosigned(&self, roots: &[Option<Digest>; MARKS], trust: &Trust) -> Result<String, String> {
        let needed = trust.quorum.unwrap_or(trust.cosigners.len());
        let mut seen = Vec::new();
        for cosigner in &trust.cosigners {
            let latest =
                self.latest(cosigner, roots).map_err(|error| format!("A cosigned head: {error}."))?;
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
            let latest = self.latest(cosigner, &walk.roots).ok().flatten();
            latest.is_some_and(|(size, _)| size == walk.chain.size())
        };
        let needed = trust.quorum.unwrap_or(trust.cosigners.len());
        trust.cosigners.iter().filter(to_the_end).count() >= needed
    }

    /// The largest head that this cosigner signed and that the records lead to, with the time.
    fn latest(
        &self,
        cosigner: &CosignerKey,
        roots: &[Option<Digest>; MARKS],
    ) -> Result<Option<(u64, u64)>, NoteError> {
        let mut latest = None;
        for ((_, statement), root) in self.all().iter().zip(roots) {
            if let Statement::Usable(checkpoint, note) = statement
                && *root == Some(checkpoint.root)
                && let Some(time) = cosigner.verify(checkpoint, note)?
            {
                latest = latest.max(Some((checkpoint.size, time)));
            }
        }
        Ok(latest)
    }
}
