//! One file that shows one personal value of one record to a stranger, offline.
//!
//! An auditor who is to know who it was should learn that, and nothing else. A disclosure is a proof of the
//! record (`proof`) with one value and its salt: the commitment in the record shows that the value is the one
//! that was recorded. The other fields stay hidden, because their salts do.
//!
//! Nothing in the file is trusted but the key that is given from elsewhere.

use serde::{Deserialize, Serialize};

use crate::commitment::{Personal, Salt, commit};
use crate::digest::Digest;
use crate::note::PublicKey;
use crate::proof::{MAX_PROOF_BYTES, Proof, ProofError, Shown};
use crate::record::{MAX_PERSONAL_BYTES, Seq};

/// The longest disclosure that is read, in bytes: each character of a value or a proof escaped at its longest.
pub const MAX_DISCLOSURE_BYTES: usize = 6 * MAX_PERSONAL_BYTES + 2 * MAX_PROOF_BYTES + 1024;

const FORMAT: u8 = 1;

/// One value, as it stands in a file. Not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// The record's number.
    pub seq: Seq,
    /// Which of its personal fields.
    pub field: Personal,
    /// The value.
    pub value: String,
    /// The salt with which it fits the record.
    pub salt: Salt,
    /// The record and its place.
    pub proof: Proof,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u8,
    seq: u64,
    field: Personal,
    value: String,
    salt: String,
    proof: String,
}

impl Disclosure {
    /// The text of the file: a JSON object.
    pub fn to_json(&self) -> String {
        let written = Written {
            format: FORMAT,
            seq: self.seq.get(),
            field: self.field,
            value: self.value.clone(),
            salt: Digest::from_bytes(*self.salt.expose_to_auditor()).to_string(),
            proof: self.proof.to_string(),
        };
        // Texts and numbers always serialise.
        serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
    }

    /// Reads a file, without deciding whom to trust.
    pub fn parse(text: &str) -> Result<Self, DisclosureError> {
        if text.len() > MAX_DISCLOSURE_BYTES {
            return Err(DisclosureError::Form("it is too long".to_owned()));
        }
        let written: Written =
            serde_json::from_str(text).map_err(|error| DisclosureError::Form(error.to_string()))?;
        if written.format != FORMAT {
            return Err(DisclosureError::Form(format!("its format is {}, not {FORMAT}", written.format)));
        }
        let salt = Digest::parse(&written.salt).ok_or_else(|| {
            DisclosureError::Form("its salt is not 64 hexadecimal digits in lower case".to_owned())
        })?;
        Ok(Self {
            seq: Seq::new(written.seq),
            field: written.field,
            value: written.value,
            salt: Salt::from_bytes(*salt.as_bytes()),
            proof: Proof::parse(&written.proof)?,
        })
    }

    /// Checks it against `keys`, of which at least one must have signed the head.
    pub fn check(&self, keys: &[PublicKey]) -> Result<Shown, DisclosureError> {
        let shown = self.proof.check(None, keys)?;
        if shown.record.seq != self.seq {
            return Err(DisclosureError::OtherRecord { seq: self.seq, found: shown.record.seq });
        }
        let Some(commitment) = shown.record.personal.get(&self.field) else {
            return Err(DisclosureError::NoField { field: self.field });
        };
        if *commitment != commit(self.field, &self.salt, &self.value) {
            return Err(DisclosureError::OtherValue { field: self.field });
        }
        Ok(shown)
    }
}

/// Why a disclosure shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisclosureError {
    /// Not in the form of the specification.
    #[error("it is not a disclosure: {0}")]
    Form(String),
    /// The record in it is not shown.
    #[error("its record: {0}")]
    Proof(#[from] ProofError),
    /// It speaks of one record and holds another.
    #[error("it speaks of record {seq} and proves record {found}")]
    OtherRecord {
        /// The number it names.
        seq: Seq,
        /// The number of the record in it.
        found: Seq,
    },
    /// The record does not commit to such a value.
    #[error("the record has no `{field}`")]
    NoField {
        /// The field.
        field: Personal,
    },
    /// Value and salt do not give the commitment.
    #[error("the value is not the one that the record commits to as `{field}`")]
    OtherValue {
        /// The field.
        field: Personal,
    },
}

impl DisclosureError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Form(_) => "give the file that `sallyport disclose` wrote, unchanged",
            Self::Proof(error) => error.hint(),
            Self::OtherRecord { .. } | Self::NoField { .. } | Self::OtherValue { .. } => {
                "do not believe the value; ask for another disclosure"
            }
        }
    }
}

#[cfg(test)]
mod tests;
