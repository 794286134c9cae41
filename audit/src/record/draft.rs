//! What the program wants to have recorded.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Outcome;
use crate::commitment::Personal;
use crate::kind::Kind;

/// An event before it has a number, a time and a place in the chain.
///
/// Personal values (`subject`, `source`, `agent`, `path`, `target`, `reason`) become commitments; all else
/// is written as it is. No secret belongs into either.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What happened.
    pub kind: Kind,
    /// How it ended.
    pub result: Outcome,
    /// What was done.
    pub action: Option<String>,
    /// To what it was done.
    pub object: Option<String>,
    /// The session it belongs to.
    pub session: Option<String>,
    /// The grant that allowed it.
    pub grant: Option<String>,
    /// The digest of the policy that decided it.
    pub policy: Option<String>,
    /// An id which ties it to other records of the same cause.
    pub correlation: Option<String>,
    /// What else is to be said.
    pub details: Map<String, Value>,
    /// Values that are stored sealed beside the record.
    pub personal: BTreeMap<Personal, String>,
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        $($(#[doc = $doc])+
        #[must_use]
        pub fn $name(mut self, value: impl Into<String>) -> Self {
            self.$name = Some(value.into());
            self
        })+
    };
}

macro_rules! personal {
    ($($(#[doc = $doc:literal])+ $name:ident = $field:ident),+ $(,)?) => {
        $($(#[doc = $doc])+
        #[must_use]
        pub fn $name(mut self, value: impl Into<String>) -> Self {
            self.personal.insert(Personal::$field, value.into());
            self
        })+
    };
}

impl Draft {
    /// An event of this kind which ended so, and nothing else yet.
    pub fn new(kind: Kind, result: Outcome) -> Self {
        Self {
            kind,
            result,
            action: None,
            object: None,
            session: None,
            grant: None,
            policy: None,
            correlation: None,
            details: Map::new(),
            personal: BTreeMap::new(),
        }
    }

    setters! {
        /// What was done, such as `connect`.
        action,
        /// To what it was done, such as `tunnel:demo`.
        object,
        /// The session it belongs to, such as `sess-…`.
        session,
        /// The grant that allowed it, such as `grant-…`.
        grant,
        /// The digest of the policy that decided it.
        policy,
        /// An id which ties it to other records of the same cause.
        correlation,
    }

    personal! {
        /// Who did it, such as `user:alice` (personal).
        subject = Subject,
        /// To whom it was done, such as `user:bob` (personal).
        target = Target,
        /// The network address it came from, such as `203.0.113.7:443` (personal).
        source = Source,
        /// The program used, such as a browser's user agent (personal).
        agent = Agent,
        /// The path of an HTTP request (personal).
        path = Path,
        /// Words that a person typed (personal).
        reason = Reason,
    }

    /// One more detail. Numbers must be integers of at most 2^53 − 1 in size.
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }
}
