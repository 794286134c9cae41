//! Why a publisher ended by itself, and what its owner can do about it.

use super::DialError;
use super::connection::Ending;
use crate::tunnel::FarewellCode;

/// Why a publisher ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Trying again would not help.
    #[error(transparent)]
    Refused(DialError),
    /// The gateway ended it for good.
    #[error("{}", Ending::Farewell(*.0))]
    Dismissed(FarewellCode),
    /// Too many failures in a row.
    #[error("gave up after {failures} failures in a row; the last: {last}")]
    GaveUp {
        /// How many; of several gateways, a round of all of them is one.
        failures: u32,
        /// The last reason.
        last: String,
    },
}

impl PublishError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(error) => error.hint(),
            Self::Dismissed(FarewellCode::Replaced) => "stop one of the two publishers".to_owned(),
            Self::Dismissed(_) => {
                "ask the gateway's operator for a new token or for leave to publish".to_owned()
            }
            Self::GaveUp { .. } => {
                "check the gateway and the network, then start the publisher again".to_owned()
            }
        }
    }
}
