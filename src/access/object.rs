//! What access is asked for (an object and an action), and the patterns by which policy names objects.
//!
//! casbin's own `keyMatch` and `regexMatch` panic on some requests, take `.` for any character, and compile a
//! regular expression per row. Here a pattern holds at most one `*`, which stands for any run of characters:
//! matching is two comparisons, linear in the text, total on every input.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::names::{NameError, is_label};

/// The parts of the gateway itself that policy can speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Issue, list and revoke tokens.
    Tokens,
    /// Lock and unlock people and roles.
    People,
    /// Reload the policy.
    Policy,
    /// List and end live sessions.
    Sessions,
    /// Read the ledger.
    Ledger,
    /// See and replace the gateway's keys.
    Keys,
    /// See and change what the gateway logs.
    Log,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 7] =
        [Self::Tokens, Self::People, Self::Policy, Self::Sessions, Self::Ledger, Self::Keys, Self::Log];

    fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::People => "people",
            Self::Policy => "policy",
            Self::Sessions => "sessions",
            Self::Ledger => "ledger",
            Self::Keys => "keys",
            Self::Log => "log",
        }
    }
}

/// What a decision is about: `tunnel:demo` or a part of the gateway, `gateway:tokens`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(Arc<str>);

const OBJECT_RULE: &str = "write `tunnel:NAME` (a DNS label: 1 to 63 of a-z 0-9 -) or `gateway:` and tokens, people, policy, sessions, ledger or keys";

impl Object {
    /// A tunnel by its name.
    ///
    /// # Errors
    ///
    /// When the name isn't a DNS label in lower case.
    pub fn tunnel(name: &str) -> Result<Self, NameError> {
        if is_label(name) {
            Ok(Self(format!("tunnel:{name}").into()))
        } else {
            Err(NameError::new(
                name,
                "a tunnel's name",
                "it is 1 to 63 of a-z 0-9 - and begins and ends with a letter or a digit",
            ))
        }
    }

    /// A part of the gateway itself.
    pub fn gateway(part: Part) -> Self {
        Self(format!("gateway:{}", part.name()).into())
    }

    /// The whole text, with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tunnel's name, if this is a tunnel.
    pub fn tunnel_name(&self) -> Option<&str> {
        self.0.strip_prefix("tunnel:")
    }
}

impl FromStr for Object {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(name) = text.strip_prefix("tunnel:") {
            return Self::tunnel(name);
        }
        let part =
            text.strip_prefix("gateway:").and_then(|name| Part::ALL.into_iter().find(|p| p.name() == name));
        part.map(Self::gateway).ok_or_else(|| NameError::new(text, "an object", OBJECT_RULE))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What someone wants to do with an object. A closed list: policy can't invent one by a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// See that it exists, and its state.
    Read,
    /// Change its settings.
    Write,
    /// Remove it.
    Delete,
    /// Give others a role on it.
    Share,
    /// Use a tunnel as a visitor.
    Connect,
    /// Serve a tunnel as its publisher.
    Publish,
    /// Decide on others' requests for it.
    Approve,
    /// Read its records.
    Audit,
    /// Run a part of the gateway.
    Admin,
    /// Destroy what is kept of a person.
    Erase,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::Share,
        Self::Connect,
        Self::Publish,
        Self::Approve,
        Self::Audit,
        Self::Admin,
        Self::Erase,
    ];

    /// The word that policy files and records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Share => "share",
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Approve => "approve",
            Self::Audit => "audit",
            Self::Admin => "admin",
            Self::Erase => "erase",
        }
    }

    /// Whether the action means something for a part of the gateway.
    fn fits_gateway(self) -> bool {
        matches!(self, Self::Read | Self::Audit | Self::Admin | Self::Erase)
    }
}

impl FromStr for Action {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(|| {
            NameError::new(
                text,
                "an action",
                "it is read, write, delete, share, connect, publish, approve, audit, admin or erase, in lower case",
            )
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A policy's way to name objects: an object's text, with at most one `*` in the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

const PATTERN_RULE: &str = "write `tunnel:` or `gateway:` and a name of a-z 0-9 -, with at most one `*`";

impl Pattern {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the object is one that the pattern names.
    pub fn matches(&self, object: &Object) -> bool {
        matches(object.as_str(), &self.0)
    }

    /// Whether the pattern names all that another one names.
    pub fn covers(&self, other: &Self) -> bool {
        match (self.0.split_once('*'), other.0.split_once('*')) {
            (None, _) => self == other,
            (Some(_), None) => matches(&other.0, &self.0),
            (Some((before, after)), Some((inner, tail))) => {
                inner.starts_with(before) && tail.ends_with(after)
            }
        }
    }

    /// Whether a rule that pairs this pattern with that action can ever decide anything.
    pub(super) fn fits(&self, action: Action) -> bool {
        if self.0.starts_with("gateway:") {
            action.fits_gateway()
        } else {
            !matches!(action, Action::Admin | Action::Erase)
        }
    }

    /// Some object that the pattern names, for the self-test of a new policy; `None` when no object can fit.
    pub(super) fn example(&self) -> Option<Object> {
        if self.0.starts_with("gateway:") {
            return Part::ALL.into_iter().map(Object::gateway).find(|object| self.matches(object));
        }
        ["", "a", "0"].into_iter().find_map(|filling| self.0.replace('*', filling).parse().ok())
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(text, "an object pattern", PATTERN_RULE);
        let (_, name) =
            text.split_once(':').filter(|(kind, _)| matches!(*kind, "tunnel" | "gateway")).ok_or_else(bad)?;
        let stars = name.bytes().filter(|b| *b == b'*').count();
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'*';
        if name.is_empty() || name.len() > 63 || stars > 1 || !name.bytes().all(known) {
            return Err(bad());
        }
        let pattern = Self(text.into());
        if pattern.example().is_none() { Err(bad()) } else { Ok(pattern) }
    }
}

/// Whether `object` is what `pattern` names; the function that the casbin matcher calls as `objectMatch`.
///
/// Total on every pair of texts: no slicing by byte position, so no panic on text that isn't ASCII.
pub(super) fn matches(object: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => object == pattern,
        Some((before, after)) => object.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_names_what_it_says_and_nothing_else() {
        let cases = [
            ("tunnel:*", "tunnel:demo", true),
            ("tunnel:public-*", "tunnel:public-a", true),
            ("tunnel:public-*", "tunnel:public", false),
            ("tunnel:*-test", "tunnel:a-test", true),
            ("tunnel:a*a", "tunnel:a", false),
            ("tunnel:demo", "tunnel:demo2", false),
            ("tunnel:demo", "tunnel:demo", true),
            ("gateway:*", "tunnel:demo", false),
            ("tunnel:*", "gateway:tokens", false),
        ];
        for (pattern, object, expected) in cases {
            let (pattern, object): (Pattern, Object) = (pattern.parse().unwrap(), object.parse().unwrap());
            assert_eq!(pattern.matches(&object), expected, "{pattern:?} {object:?}");
        }
    }

    #[test]
    fn a_pattern_that_covers_another_names_all_that_it_names() {
        for (wide, narrow, covers) in [
            ("tunnel:*", "tunnel:a*", true),
            ("tunnel:a*", "tunnel:*", false),
            ("tunnel:a*", "tunnel:ab*b", true),
            ("tunnel:*b", "tunnel:ab*bb", true),
            ("tunnel:*-x", "tunnel:demo-*", false),
            ("tunnel:a*", "tunnel:ab", true),
            ("tunnel:ab", "tunnel:ab", true),
            ("tunnel:ab", "tunnel:a*", false),
            ("gateway:*", "tunnel:a", false),
        ] {
            let (wide_pattern, narrow_pattern): (Pattern, Pattern) =
                (wide.parse().unwrap(), narrow.parse().unwrap());
            assert_eq!(wide_pattern.covers(&narrow_pattern), covers, "{wide} {narrow}");
        }
    }

    #[test]
    fn a_pattern_that_could_surprise_is_refused() {
        for bad in [
            "*",
            "tunnel:",
            "tunnel:**",
            "tunnel:a*b*c",
            "tunnel:a.b",
            "tunnel:[a]",
            "tunnel:é",
            "user:*",
            "tunnel",
            "tunnel:-",
            "gateway:nothing",
            "tunnel:A",
        ] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_object_of_another_kind_or_case_is_refused() {
        for bad in ["tunnel:*", "tunnel:Demo", "tunnel:é", "tunnel:", "gateway:x", "demo", "tunnel:a/../b"] {
            assert!(bad.parse::<Object>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn matching_never_panics_and_agrees_with_trying_every_filling(object in "\\PC{0,12}", pattern in "\\PC{0,6}\\*?\\PC{0,6}") {
            let stars = pattern.matches('*').count();
            let got = matches(&object, &pattern);
            if stars <= 1 {
                let fillings = object.char_indices().map(|(i, _)| i).chain([object.len()]);
                let ends: Vec<usize> = fillings.collect();
                let tried = match pattern.split_once('*') {
                    None => object == pattern,
                    Some((a, b)) => ends.iter().any(|i| ends.iter().any(|j| i <= j && format!("{a}{}{b}", &object[*i..*j]) == object)),
                };
                prop_assert_eq!(got, tried);
            }
        }
    }
}
