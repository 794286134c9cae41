//! What a tunnel can be shared with: four roles, each as much as policy says, on that tunnel alone.
//!
//! A share is an offer until the person accepts it, and ends by itself, by whoever may share, or by the person. It gives
//! what policy lets the role `role:tunnel-owner`, `role:tunnel-admin`, `role:tunnel-editor` or `role:tunnel-viewer` do, and
//! only for as long as whoever gave it holds `share`, and the very thing that is asked for, themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::names::{NameError, Role};

/// A role on one tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareRole {
    /// Everything.
    Owner,
    /// Runs it for the owner.
    Admin,
    /// Changes it and uses it.
    Editor,
    /// Sees it and uses it.
    Viewer,
}

impl ShareRole {
    const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Editor, Self::Viewer];

    /// The word that commands and records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
        }
    }

    /// The role under which policy speaks of it; `None` can't happen, and gives nothing if it did.
    pub(super) fn in_policy(self) -> Option<Role> {
        format!("role:tunnel-{}", self.as_str()).parse().ok()
    }
}

impl fmt::Display for ShareRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ShareRole {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| {
            NameError::new(text, "a role to share with", "it is owner, admin, editor or viewer")
        })
    }
}

impl Serialize for ShareRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a share or its offer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareEnd {
    /// Taken back by somebody who may share.
    Unshared,
    /// Given back, or never accepted, by the person.
    Declined,
    /// Its time is over, or nobody accepted it in time.
    Expired,
    /// The tunnel was deleted.
    TunnelDeleted,
    /// An access review ended it.
    Reviewed,
    /// Records of the ledger were lost, which may have ended it.
    Lapsed,
    /// The person's name was erased.
    Erased,
}

impl ShareEnd {
    const ALL: [Self; 7] = [
        Self::Unshared,
        Self::Declined,
        Self::Expired,
        Self::TunnelDeleted,
        Self::Reviewed,
        Self::Lapsed,
        Self::Erased,
    ];

    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unshared => "unshared",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::TunnelDeleted => "tunnel-deleted",
            Self::Reviewed => "reviewed",
            Self::Lapsed => "lapsed",
            Self::Erased => "erased",
        }
    }
}

impl fmt::Display for ShareEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ShareEnd {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = Self::ALL.into_iter().find(|end| end.as_str() == text);
        known.ok_or_else(|| NameError::new(text, "an end of a share", "it is one of a few words"))
    }
}

impl Serialize for ShareEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
