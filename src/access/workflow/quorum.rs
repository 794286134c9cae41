//! Whether the approvals at hand are enough.
//!
//! It is a matching problem: each place of each step wants a person of its own. [`missing`] solves it exactly, so the
//! order in which people approve never matters.

use std::collections::BTreeSet;

use super::Step;
use crate::access::names::Role;

/// Somebody who has approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// Roles of theirs that count now.
    pub roles: BTreeSet<Role>,
    /// Whether their own passkey has signed it.
    pub signed: bool,
}

impl Approver {
    fn takes(&self, step: &Step) -> bool {
        (self.signed || !step.signed) && self.roles.iter().any(|role| step.accepts(role))
    }
}

/// What is still missing: for each step, how many more people of its role, given who has approved.
///
/// `approvers` are distinct people, each with the roles that count now; the caller leaves the requester out. An empty
/// answer means that every place of every step has a person of its own.
pub fn missing(steps: &[Step], approvers: &[Approver]) -> Vec<Step> {
    // Places in order of steps; bounded by workflows per request x MAX_STEPS x MAX_PEOPLE.
    let places: Vec<usize> =
        steps.iter().enumerate().flat_map(|(step, s)| (0..s.people).map(move |_| step)).collect();
    // Kuhn's augmenting paths: `holder[place]` is the approver who fills it.
    let mut holder: Vec<Option<usize>> = vec![None; places.len()];
    for approver in 0..approvers.len() {
        let mut tried = vec![false; places.len()];
        seat(approver, steps, approvers, &places, &mut holder, &mut tried);
    }
    let mut left = Vec::new();
    for (step, wanted) in steps.iter().enumerate() {
        let open = places.iter().zip(&holder).filter(|(of, by)| **of == step && by.is_none()).count();
        if open > 0 {
            let people = u32::try_from(open).unwrap_or(u32::MAX);
            left.push(Step { people, ..wanted.clone() });
        }
    }
    left
}

/// Finds a place for one approver, moving others if that helps. Recursion is as deep as there are places.
fn seat(
    approver: usize,
    steps: &[Step],
    approvers: &[Approver],
    places: &[usize],
    holder: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (place, step) in places.iter().enumerate() {
        let Some(step) = steps.get(*step) else { continue };
        if !approvers.get(approver).is_some_and(|approver| approver.takes(step)) {
            continue;
        }
        match tried.get_mut(place) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let free = match holder.get(place).copied().flatten() {
            None => true,
            Some(other) => seat(other, steps, approvers, places, holder, tried),
        };
        if free {
            if let Some(held) = holder.get_mut(place) {
                *held = Some(approver);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn role(name: &str) -> Role {
        format!("role:{name}").parse().unwrap()
    }

    fn step(name: &str, people: u32) -> Step {
        Step { role: role(name), people, also: Vec::new(), after_minutes: None, signed: false }
    }

    fn person(roles: &[&str]) -> Approver {
        Approver { roles: roles.iter().map(|r| role(r)).collect(), signed: false }
    }

    #[test]
    fn a_signed_step_is_taken_by_who_has_signed_and_by_nobody_else() {
        let steps = [Step { signed: true, ..step("owner", 1) }, step("owner", 1)];
        let (plain, signed) = (person(&["owner"]), Approver { signed: true, ..person(&["owner"]) });
        assert_eq!(missing(&steps, &[plain.clone(), plain.clone()]), [steps[0].clone()]);
        assert_eq!(missing(&steps, &[plain.clone(), signed.clone()]), []);
        assert_eq!(missing(&steps, &[signed.clone(), plain]), []);
        assert_eq!(missing(&steps, &[signed.clone(), signed]), []);
    }

    #[test]
    fn every_step_must_hold_not_one_of_them() {
        let steps = [step("security", 1), step("owner", 1)];
        assert_eq!(missing(&steps, &[person(&["security"])]), [step("owner", 1)]);
        assert_eq!(missing(&steps, &[person(&["security"]), person(&["security"])]), [step("owner", 1)]);
        assert_eq!(missing(&steps, &[person(&["security"]), person(&["owner"])]), []);
    }

    #[test]
    fn one_person_with_two_roles_counts_once() {
        let steps = [step("security", 1), step("owner", 1)];
        assert_eq!(missing(&steps, &[person(&["security", "owner"])]).len(), 1);
        let two_of_one = [step("owner", 2)];
        assert_eq!(missing(&two_of_one, &[person(&["owner"])]), [step("owner", 1)]);
    }

    #[test]
    fn the_order_of_approvals_never_matters() {
        let steps = [step("a", 1), step("b", 1)];
        let (both, only_a) = (person(&["a", "b"]), person(&["a"]));
        assert_eq!(missing(&steps, &[both.clone(), only_a.clone()]), []);
        assert_eq!(missing(&steps, &[only_a, both]), []);
    }

    /// The same question by trying every assignment.
    fn enough_by_brute_force(places: &[&Step], approvers: &[Approver]) -> bool {
        let Some((first, rest)) = places.split_first() else { return true };
        (0..approvers.len()).any(|i| {
            let mut others = approvers.to_vec();
            let one = others.remove(i);
            one.takes(first) && enough_by_brute_force(rest, &others)
        })
    }

    proptest! {
        #[test]
        fn quorum_agrees_with_trying_every_assignment(
            wanted in proptest::collection::vec((0usize..3, 1u32..3, proptest::option::of(0usize..3), any::<bool>()), 1..4),
            people in proptest::collection::vec((proptest::collection::btree_set(0usize..3, 0..3), any::<bool>()), 0..5),
        ) {
            let names = ["a", "b", "c"];
            let steps: Vec<Step> = wanted.iter().map(|(r, n, also, signed)| {
                Step { also: also.iter().map(|r| role(names[*r])).collect(), signed: *signed, ..step(names[*r], *n) }
            }).collect();
            let approvers: Vec<Approver> = people
                .iter()
                .map(|(roles, signed)| Approver { roles: roles.iter().map(|r| role(names[*r])).collect(), signed: *signed })
                .collect();
            let places: Vec<&Step> = steps.iter().flat_map(|s| (0..s.people).map(move |_| s)).collect();
            prop_assert_eq!(missing(&steps, &approvers).is_empty(), enough_by_brute_force(&places, &approvers));
        }
    }
}
