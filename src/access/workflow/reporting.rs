//! Who reports to whom, so that nobody decides for their boss, or for those whose boss they are.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::access::names::{Subject, Tenant};

/// Longest line from a person up to the last boss.
const MAX_LEVELS: usize = 64;

/// Who is too near to a requester to decide on their request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Nearness {
    /// Everyone who reports to the requester, however many levels below.
    pub reports: bool,
    /// Everyone whom the requester reports to, however many levels above.
    pub managers: bool,
}

impl Nearness {
    pub(super) fn and(self, other: Self) -> Self {
        Self { reports: self.reports || other.reports, managers: self.managers || other.managers }
    }
}

/// The lines of reporting of each tenant: a person has at most one boss, and nobody is their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reporting {
    bosses: BTreeMap<Tenant, BTreeMap<Subject, Subject>>,
}

impl Reporting {
    /// Adds that one person reports to another; false if they have a boss already.
    pub(super) fn add(&mut self, tenant: &Tenant, person: Subject, boss: Subject) -> bool {
        self.bosses.entry(tenant.clone()).or_default().insert(person, boss).is_none()
    }

    /// Everyone above a person, nearest first. Ends even in a ring.
    pub fn above<'a>(
        &'a self,
        tenant: &Tenant,
        person: &Subject,
    ) -> impl Iterator<Item = &'a Subject> + use<'a> {
        let bosses = self.bosses.get(tenant);
        let boss_of = move |person: &Subject| bosses.and_then(|bosses| bosses.get(person));
        std::iter::successors(boss_of(person), move |person| boss_of(person)).take(MAX_LEVELS + 1)
    }

    /// Whether `other` is too near to `requester` to decide for them.
    pub fn is_too_near(
        &self,
        tenant: &Tenant,
        requester: &Subject,
        other: &Subject,
        excludes: Nearness,
    ) -> bool {
        (excludes.reports && self.above(tenant, other).any(|boss| boss == requester))
            || (excludes.managers && self.above(tenant, requester).any(|boss| boss == other))
    }

    /// Tells of lines that are too long; a ring is one.
    pub(super) fn check(&self, mut fault: impl FnMut(&Tenant, &Subject, String)) {
        for (tenant, bosses) in &self.bosses {
            for person in bosses.keys() {
                if self.above(tenant, person).any(|boss| boss == person) {
                    let what = format!("reports.{tenant}: {person} reports to themselves through a ring");
                    fault(tenant, person, what);
                } else if self.above(tenant, person).count() > MAX_LEVELS {
                    let what =
                        format!("reports.{tenant}: there are more than {MAX_LEVELS} levels above {person}");
                    fault(tenant, person, what);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Subject {
        format!("user:{name}").parse().unwrap()
    }

    fn lines(pairs: &[(&str, &str)]) -> (Reporting, Tenant) {
        let (mut reporting, tenant) = (Reporting::default(), "main".parse().unwrap());
        for (person, boss) in pairs {
            assert!(reporting.add(&tenant, user(person), user(boss)));
        }
        (reporting, tenant)
    }

    #[test]
    fn reports_and_managers_are_near_at_every_level_and_only_if_they_are_excluded() {
        let (lines, main) = lines(&[("intern", "lead"), ("lead", "head"), ("other", "head")]);
        let near = |requester: &str, other: &str, reports: bool, managers: bool| {
            lines.is_too_near(&main, &user(requester), &user(other), Nearness { reports, managers })
        };
        assert!(near("head", "intern", true, false) && near("head", "lead", true, false));
        assert!(!near("head", "intern", false, true) && !near("head", "intern", false, false));
        assert!(near("intern", "head", false, true) && !near("intern", "head", true, false));
        assert!(!near("intern", "other", true, true), "colleagues are not near");
        let elsewhere = "other".parse().unwrap();
        assert!(!lines.is_too_near(
            &elsewhere,
            &user("head"),
            &user("lead"),
            Nearness { reports: true, managers: true }
        ));
    }

    #[test]
    fn a_ring_and_a_line_too_long_are_faults() {
        let mut faults = Vec::new();
        lines(&[("a", "b"), ("b", "a")]).0.check(|_, _, fault| faults.push(fault));
        assert_eq!(faults.len(), 2, "{faults:?}");
        let (mut long, main) = lines(&[]);
        for n in 0..=MAX_LEVELS {
            long.add(&main, user(&format!("n{n}")), user(&format!("n{}", n + 1)));
        }
        faults.clear();
        long.check(|_, _, fault| faults.push(fault));
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
