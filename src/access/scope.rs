//! How far a token reaches: it can be narrowed to some tunnels and some actions.
//!
//! A scope only takes away. Whoever holds a narrowed token may do what policy lets its person do **and** the scope
//! covers; so a token in a script's hands, or the one behind a browser's cookie, opens no more than it must.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::names::NameError;
use super::object::{Action, Object, Pattern};

/// Most patterns and actions in one scope.
pub const MAX_SCOPE: usize = 32;

/// What a token covers. The default covers everything that its person may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Option<Arc<Narrowed>>);

#[derive(Debug, PartialEq, Eq)]
struct Narrowed {
    /// Empty: every object.
    objects: BTreeSet<Pattern>,
    /// Empty: every action.
    actions: BTreeSet<Action>,
}

impl Scope {
    /// Everything that the person may do.
    pub fn whole() -> Self {
        Self::default()
    }

    /// These objects and these actions; an empty set narrows nothing.
    ///
    /// # Errors
    ///
    /// More than [`MAX_SCOPE`] of either.
    pub fn narrowed(objects: BTreeSet<Pattern>, actions: BTreeSet<Action>) -> Result<Self, NameError> {
        if objects.len() > MAX_SCOPE || actions.len() > MAX_SCOPE {
            let rule = "it names at most 32 objects and 32 actions";
            return Err(NameError::new("", "a token's scope", rule));
        }
        let whole = objects.is_empty() && actions.is_empty();
        Ok(Self((!whole).then(|| Arc::new(Narrowed { objects, actions }))))
    }

    /// One action on one object.
    pub fn only(object: &Object, action: Action) -> Self {
        let objects = object.as_str().parse().into_iter().collect();
        Self(Some(Arc::new(Narrowed { objects, actions: [action].into() })))
    }

    /// What a session at the console covers: every action but using and serving tunnels, for which there are other proofs.
    pub fn console() -> Self {
        let elsewhere = [Action::Connect, Action::Publish];
        let actions = Action::ALL.into_iter().filter(|action| !elsewhere.contains(action)).collect();
        Self(Some(Arc::new(Narrowed { objects: BTreeSet::new(), actions })))
    }

    /// Whether nothing is taken away.
    pub fn is_whole(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it was narrowed for one thing, and is neither a person's whole token nor their session at the console.
    pub(super) fn is_for_one_thing(&self) -> bool {
        !self.is_whole() && *self != Self::console()
    }

    /// Whether this action on this object is covered.
    pub fn covers(&self, object: &Object, action: Action) -> bool {
        self.0.as_deref().is_none_or(|narrowed| {
            (narrowed.objects.is_empty() || narrowed.objects.iter().any(|pattern| pattern.matches(object)))
                && (narrowed.actions.is_empty() || narrowed.actions.contains(&action))
        })
    }

    /// Whether what is the person's own on this object, and for this action, may be given up or taken: by whoever is there in
    /// person, and by what was narrowed to it.
    pub(super) fn reaches(&self, object: &Object, action: Action) -> bool {
        !self.is_for_one_thing() || self.covers(object, action)
    }

    /// The objects and the actions as words, for records; both empty when nothing is taken away.
    pub fn words(&self) -> Vec<String> {
        let Some(narrowed) = self.0.as_deref() else { return Vec::new() };
        let objects = narrowed.objects.iter().map(|pattern| pattern.as_str().to_owned());
        objects.chain(narrowed.actions.iter().map(|action| action.as_str().to_owned())).collect()
    }

    /// Reads [`Self::words`] back, or what an admin wrote.
    ///
    /// # Errors
    ///
    /// A word that is neither a pattern of objects nor an action; too many.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, NameError> {
        let (mut objects, mut actions) = (BTreeSet::new(), BTreeSet::new());
        for word in words {
            if word.contains(':') {
                objects.insert(word.parse()?);
            } else {
                actions.insert(Action::from_str(word)?);
            }
        }
        Self::narrowed(objects, actions)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole() { f.write_str("everything") } else { f.write_str(&self.words().join(" ")) }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        text.parse().unwrap()
    }

    #[test]
    fn a_scope_takes_away_and_never_adds() {
        let scope = Scope::from_words(["tunnel:demo", "tunnel:db-*", "connect"]).unwrap();
        assert!(scope.covers(&object("tunnel:demo"), Action::Connect));
        assert!(scope.covers(&object("tunnel:db-1"), Action::Connect));
        assert!(!scope.covers(&object("tunnel:demo"), Action::Publish));
        assert!(!scope.covers(&object("tunnel:other"), Action::Connect));
        assert!(!scope.covers(&object("gateway:tokens"), Action::Admin));
        assert!(Scope::whole().covers(&object("gateway:tokens"), Action::Admin));
    }

    #[test]
    fn the_consoles_scope_neither_uses_nor_serves_a_tunnel() {
        let scope = Scope::console();
        for action in Action::ALL {
            let expected = !matches!(action, Action::Connect | Action::Publish);
            assert_eq!(scope.covers(&object("tunnel:demo"), action), expected, "{action}");
        }
        assert_eq!(Scope::from_words(scope.words().iter().map(String::as_str)).unwrap(), scope);
    }

    #[test]
    fn a_scope_is_read_back_as_it_was_written_and_a_wrong_word_is_refused() {
        for words in [vec![], vec!["tunnel:demo"], vec!["connect", "read"], vec!["tunnel:a-*", "publish"]] {
            let scope = Scope::from_words(words.iter().copied()).unwrap();
            assert_eq!(Scope::from_words(scope.words().iter().map(String::as_str)).unwrap(), scope);
            assert_eq!(scope.is_whole(), words.is_empty());
        }
        for bad in ["everything", "user:alice", "tunnel:", "Connect", ""] {
            assert!(Scope::from_words([bad]).is_err(), "{bad:?}");
        }
        let many: Vec<String> = (0..=MAX_SCOPE).map(|i| format!("tunnel:a{i}")).collect();
        assert!(Scope::from_words(many.iter().map(String::as_str)).is_err());
    }
}
