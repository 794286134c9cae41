//! Who has which role, with the bounds that casbin keeps silently made loud.
//!
//! casbin looks at most nine links far: a deny on a role ten links away is lost without a word. Here a chain that
//! long is a fault, and so is a ring of roles, so what casbin sees and what the files say are the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::faults::PolicyFaults;
use super::rows::Membership;
use crate::access::names::{Principal, Role, Subject};

/// Links that casbin's role manager (built with a depth of 10) follows.
pub(super) const MAX_LINKS: usize = 9;

/// The roles of one tenant.
#[derive(Debug, Default)]
pub(super) struct RoleGraph {
    /// Every role that each person or role has, however far.
    reach: BTreeMap<Principal, BTreeSet<Role>>,
}

impl RoleGraph {
    /// Builds the graph of one tenant's memberships.
    pub(super) fn build(memberships: &[&Membership], faults: &mut PolicyFaults) -> Self {
        let mut direct: BTreeMap<Principal, Vec<&Membership>> = BTreeMap::new();
        for membership in memberships {
            let known = direct.entry(membership.member.clone()).or_default();
            if known.iter().any(|m| m.role == membership.role) {
                faults.add(membership.place.clone(), "the same membership stands twice");
            } else {
                known.push(membership);
            }
        }
        let mut reach = BTreeMap::new();
        for (member, own) in &direct {
            let roles = distances(member, &direct);
            if let Principal::Role(role) = member
                && roles.contains_key(role)
                && let Some(first) = own.first()
            {
                faults.add(first.place.clone(), format!("{role} has itself through a ring of roles"));
            }
            if let Some((far, links)) = roles.iter().find(|(_, links)| **links > MAX_LINKS)
                && let Some(first) = own.first()
            {
                faults.add(
                    first.place.clone(),
                    format!("{member} reaches {far} only over {links} links; {MAX_LINKS} is the most"),
                );
            }
            reach.insert(member.clone(), roles.into_keys().collect());
        }
        Self { reach }
    }

    /// Every role of a person.
    pub(super) fn of(&self, subject: &Subject) -> Option<&BTreeSet<Role>> {
        self.reach.get(&Principal::Person(subject.clone()))
    }

    /// Every role of a person or a role.
    pub(super) fn of_principal(&self, who: &Principal) -> Option<&BTreeSet<Role>> {
        self.reach.get(who)
    }

    /// Every person who has a role.
    pub(super) fn members(&self, role: &Role) -> impl Iterator<Item = &Subject> {
        self.reach.iter().filter_map(move |(member, roles)| match member {
            Principal::Person(person) if roles.contains(role) => Some(person),
            _ => None,
        })
    }

    /// Every person, with their roles.
    pub(super) fn people(&self) -> impl Iterator<Item = (&Subject, &BTreeSet<Role>)> {
        self.reach.iter().filter_map(|(member, roles)| match member {
            Principal::Person(person) => Some((person, roles)),
            Principal::Role(_) => None,
        })
    }
}

/// Shortest number of links from a member to each role it reaches.
fn distances(member: &Principal, direct: &BTreeMap<Principal, Vec<&Membership>>) -> BTreeMap<Role, usize> {
    let mut found = BTreeMap::new();
    let mut queue = VecDeque::from([(member.clone(), 0)]);
    while let Some((at, links)) = queue.pop_front() {
        for membership in direct.get(&at).map(Vec::as_slice).unwrap_or_default() {
            if !found.contains_key(&membership.role) {
                found.insert(membership.role.clone(), links + 1);
                queue.push_back((Principal::Role(membership.role.clone()), links + 1));
            }
        }
    }
    found
}
