//! Why a record stays.

use std::fmt;

use crate::kind::Kind;

/// What keeps a record in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// A legal hold selects it.
    Hold {
        /// The hold's name.
        name: String,
    },
    /// It is not old enough.
    Young {
        /// The rule that asks for the longest time.
        rule: String,
        /// How long, in days.
        days: u32,
    },
    /// The ledger itself is read from it.
    Needed,
    /// It cannot be read, so nobody can say that it may go.
    Unreadable,
    /// It is old enough, but lies in a segment that is not pruned yet: pruning ends at the end of a segment, and
    /// never reaches into the last one.
    Later,
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold { name } => write!(f, "under the legal hold `{name}`"),
            Self::Young { rule, days } => write!(f, "younger than {days} days, which {rule} asks for"),
            Self::Needed => {
                f.write_str("access state, keys, policy or the ledger's own history are read from them")
            }
            Self::Unreadable => f.write_str("cannot be read, so nobody can say that they may go"),
            Self::Later => f.write_str("old enough, but in a segment that cannot be pruned yet"),
        }
    }
}

/// Whether something is read from records of this kind whatever their age: the state of access is folded from
/// them, or they tell how to read the ledger itself (its keys, its recoveries, its rules, its holds).
///
/// By families, so that a kind which is added to one of them stays until somebody decides otherwise.
pub fn is_needed(kind: Kind) -> bool {
    let (family, _) = kind.as_str().split_once('.').unwrap_or_default();
    let stays = [
        "access",
        "certificate",
        "clock",
        "config",
        "device",
        "glass",
        "grant",
        "issuer",
        "key",
        "ledger",
        "passkey",
        "personal",
        "policy",
        "retention",
        "review",
        "share",
        "token",
    ];
    let of_tunnels = matches!(kind, Kind::TunnelDescribed | Kind::TunnelDeleted);
    of_tunnels || stays.contains(&family) && kind != Kind::AccessDecided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_access_state_and_the_reading_of_the_ledger_rest_on_stays() {
        for kind in [
            Kind::LedgerCreated,
            Kind::KeyRotated,
            Kind::ClockJumped,
            Kind::PolicyLoaded,
            Kind::GrantIssued,
            Kind::AccessLocked,
            Kind::TokenRevoked,
            Kind::DeviceEnrolled,
            Kind::IssuerKeys,
            Kind::GlassBroken,
            Kind::ShareEnded,
            Kind::PasskeyRevoked,
            Kind::TunnelDeleted,
            Kind::RetentionHeld,
            Kind::RetentionPruned,
        ] {
            assert!(is_needed(kind), "{kind}");
        }
        for kind in [Kind::HttpRequest, Kind::SessionOpened, Kind::AccessDecided, Kind::GatewayHeartbeat] {
            assert!(!is_needed(kind), "{kind}");
        }
    }
}
