//! A draft in canonical form, ready to be given its place.
//!
//! All that costs time (escaping, sorting, commitments) is done here, by whoever appends, so that the one
//! thread which numbers records has little left to do.

use super::{Draft, MAX_PERSONAL_BYTES, MAX_RECORD_BYTES, Outcome, RecordError, Seq, canonical};
use crate::digest::Digest;
use crate::sidecar::Sidecar;

/// A draft that lacks only number, time and `prev`.
pub struct Prepared {
    front: Vec<u8>,
    result: Outcome,
    session: Option<Vec<u8>>,
    sidecar: Option<Sidecar>,
}

impl Prepared {
    /// Brings `draft` into canonical form. `seed` must be random and used for this record alone.
    pub fn new(draft: Draft, node: &str, seed: [u8; 32]) -> Result<Self, RecordError> {
        let personal_bytes = draft.personal.values().map(String::len).sum();
        if personal_bytes > MAX_PERSONAL_BYTES {
            return Err(RecordError::PersonalTooLarge { bytes: personal_bytes });
        }
        canonical::check_details(&draft.details)?;
        let (sidecar, personal) = Sidecar::new(draft.personal, &seed);
        let mut front = Vec::with_capacity(512);
        canonical::Front {
            action: draft.action.as_deref(),
            correlation: draft.correlation.as_deref(),
            details: &draft.details,
            grant: draft.grant.as_deref(),
            kind: draft.kind,
            node,
            object: draft.object.as_deref(),
            personal: &personal,
            policy: draft.policy.as_deref(),
        }
        .write(&mut front)?;
        let session = draft.session.as_deref().map(canonical::json_string).transpose()?;
        let bytes = front.len() + session.as_ref().map_or(0, Vec::len) + canonical::Place::MAX_BYTES;
        if bytes > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge { bytes });
        }
        Ok(Self { front, result: draft.result, session, sidecar })
    }

    /// Writes the record for its place. `time` is what [`super::time_text`] gives.
    pub fn write(&self, seq: Seq, time: &str, prev: Digest, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.front);
        canonical::Place { seq, time, prev }.write(self.result, self.session.as_deref(), out);
    }

    /// What is to be sealed beside the record, if it has personal values.
    pub(crate) fn sidecar(&self) -> Option<&Sidecar> {
        self.sidecar.as_ref()
    }

    /// About how much memory it holds, in bytes.
    pub fn weight(&self) -> usize {
        256 + self.front.len() + self.sidecar.as_ref().map_or(0, Sidecar::weight)
    }
}
