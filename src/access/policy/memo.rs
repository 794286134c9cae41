//! Questions that casbin has answered already.
//!
//! Which rows match depends on who asks, the tenant, the object and the action, and on the policy: on nothing that
//! changes while the policy is in force. So casbin is asked once, and its answer kept. Time, source, device, transport,
//! grants and locks are looked at afresh for every decision and never stand here.
//!
//! A [`Memo`] belongs to one policy value and is gone with it: a policy change empties it at once, and nothing has to
//! be told to forget. It is bounded; a part that is full is emptied, and what was in it is asked again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use super::Matched;
use crate::access::names::{Principal, Tenant};
use crate::access::object::{Action, Object};

/// Parts, so that threads rarely wait for each other.
const PARTS: usize = 16;
/// Most answers in one part; with names of ordinary length about 16 MiB in all parts together.
const PART_SIZE: usize = 4_096;

type Question = (Principal, Tenant, Object, Action);

#[derive(Debug)]
pub(super) struct Memo {
    hasher: RandomState,
    parts: [RwLock<HashMap<Question, Arc<Matched>>>; PARTS],
}

impl Memo {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), parts: std::array::from_fn(|_| RwLock::default()) }
    }

    fn part(&self, question: &Question) -> Option<&RwLock<HashMap<Question, Arc<Matched>>>> {
        let hash = self.hasher.hash_one(question);
        self.parts.get(usize::try_from(hash % PARTS as u64).unwrap_or(0))
    }

    pub(super) fn get(&self, question: &Question) -> Option<Arc<Matched>> {
        let part = self.part(question)?.read().unwrap_or_else(PoisonError::into_inner);
        part.get(question).cloned()
    }

    pub(super) fn keep(&self, question: Question, answer: &Arc<Matched>) {
        let Some(part) = self.part(&question) else { return };
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        if part.len() >= PART_SIZE {
            part.clear();
        }
        part.insert(question, answer.clone());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().unwrap().len()).sum()
    }
}

#[cfg(test)]
pub(super) const MOST: usize = PARTS * PART_SIZE;
