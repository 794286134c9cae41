//! What the operator has decided about a ledger that lost records, until the gateway has recorded it.
//!
//! ```text
//! DIR/recovery.unfinished   while files are being moved: the gateway refuses to start
//! DIR/recovery              ready: the gateway's next start begins the new epoch, and takes the file away
//! ```
//!
//! One JSON object in the canonical form of RFC 8785. Who decided and why stand in it in plain words, and in the
//! ledger only sealed; the gateway therefore removes the file once the record is durable.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::epoch::Resumed;

/// The form of plans that this program writes and reads.
pub const PLAN_VERSION: u64 = 1;

/// The longest plan that is read, in bytes.
pub const MAX_PLAN_BYTES: u64 = 1 << 20;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub format: u64,
    /// What `ledger.resumed` will say.
    pub resumed: Resumed,
    /// What the ledger goes on from.
    pub kept: Kept,
    /// What is moved, in this order.
    pub moves: Vec<Move>,
    /// Who decided it. Personal.
    pub by: String,
    /// Why, in their words. Personal.
    pub reason: String,
}

/// The records that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// How many.
    pub records: u64,
    /// The root over them.
    pub root: Digest,
    /// The signed head over them; empty when there are none.
    pub note: String,
}

/// One file or directory of the ledger that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Move {
    /// Moved as a whole; its path below the ledger's directory.
    Aside(String),
    /// A segment is copied as a whole, and then cut.
    Cut {
        /// Its path below the ledger's directory.
        path: String,
        /// How many of its bytes are kept.
        bytes: u64,
    },
}

impl Plan {
    /// Reads a plan. An error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(PLAN_VERSION) => {}
            Some(found) => {
                return Err(format!(
                    "it is written in plan format {found}, and this program reads format {PLAN_VERSION}"
                ));
            }
            None => return Err("it names no format".to_owned()),
        }
        let plan: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let inside = |path: &str| {
            let mut parts = std::path::Path::new(path).components();
            parts.all(|part| matches!(part, std::path::Component::Normal(_))) && !path.is_empty()
        };
        let paths = plan.moves.iter().map(Move::path).chain([plan.resumed.set_aside.as_str()]);
        if let Some(outside) = { paths }.find(|path| !inside(path)) {
            return Err(format!("it speaks of {outside:?}, which is not below the ledger's directory"));
        }
        if plan.resumed.first != plan.kept.records {
            return Err("what it keeps and what it says is missing do not fit together".to_owned());
        }
        Ok(plan)
    }

    /// The text to be kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        serde_json_canonicalizer::to_vec(self).map_err(|error| error.to_string())
    }
}

impl Move {
    /// What is moved, below the ledger's directory.
    pub fn path(&self) -> &str {
        match self {
            Self::Aside(path) | Self::Cut { path, .. } => path,
        }
    }
}
