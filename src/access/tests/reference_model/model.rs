//! The model: who asked, who agreed and how, what became of it. It knows nothing of records, folds, casbin or matching.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALICE, ANSWER, CHAIN, LAB_AT, MINUTES, PEOPLE, REPORTS, SHOP, SIGNED, TUNNELS, demand};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    Waits,
    /// `unused`: the lab's, whose time hasn't begun; `ends` is until when it must.
    Granted {
        ends: i64,
        had: &'static [&'static str],
        unused: bool,
        /// Set for one session: whether that has begun.
        spent: Option<bool>,
    },
    Over,
}

#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) person: usize,
    pub(super) tunnel: usize,
    pub(super) at: i64,
    /// Whether those on duty may decide too: from when it was recorded that nobody had answered.
    pub(super) escalated: bool,
    pub(super) approvals: BTreeMap<usize, Agreed>,
    pub(super) denials: BTreeSet<usize>,
    /// It was granted by breaking the glass, and whether somebody has reviewed that.
    pub(super) glass: Option<bool>,
    /// It was asked for one session.
    pub(super) once: bool,
    pub(super) fate: Fate,
}

/// How somebody has agreed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    /// By which of their passkeys, if by one.
    pub(super) key: Option<usize>,
    pub(super) once: bool,
    pub(super) within: Option<bool>,
}

/// What somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Grant(usize),
    Share(usize),
    Role,
}

/// A review: what everybody held when it began, and whether it was kept.
#[derive(Debug, Clone)]
pub(super) struct Reviewed {
    pub(super) deadline: i64,
    pub(super) items: Vec<(usize, Thing, Option<bool>)>,
    pub(super) over: bool,
}

/// A role on the shop.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) by: usize,
    pub(super) to: usize,
    pub(super) admin: bool,
    pub(super) accepted: bool,
    pub(super) over: bool,
}

impl Asked {
    pub(super) fn new(person: usize, tunnel: usize, at: i64, once: bool) -> Self {
        Self {
            person,
            tunnel,
            at,
            escalated: false,
            approvals: BTreeMap::new(),
            denials: BTreeSet::new(),
            glass: None,
            once,
            fate: Fate::Waits,
        }
    }

    pub(super) fn lab(&self) -> bool {
        TUNNELS[self.tunnel] == "lab"
    }

    pub(super) fn answer_by(&self) -> i64 {
        self.at + if self.lab() { 40 } else { ANSWER }
    }

    /// Whether a role is one that takes this place, with a signature or without one.
    pub(super) fn takes(&self, wanted: &str, role: &str, signed: bool) -> bool {
        let enough = signed || !wanted.ends_with(SIGNED);
        let fits =
            role == wanted.trim_end_matches(SIGNED) || (self.lab() && self.escalated && role == "duty");
        enough && fits
    }

    /// To what its approvers have bound it.
    pub(super) fn within(&self) -> BTreeSet<bool> {
        // Breaking the glass asks nobody.
        let agreed = self.approvals.values().filter(|_| self.glass.is_none());
        agreed.filter_map(|agreed| agreed.within).collect()
    }

    pub(super) fn is_once(&self) -> bool {
        self.once || TUNNELS[self.tunnel] == "safe" || self.approvals.values().any(|agreed| agreed.once)
    }

    pub(super) fn too_near(&self, person: usize) -> bool {
        self.lab() && (PEOPLE[person].0, PEOPLE[self.person].0) == REPORTS
    }
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) policy: usize,
    pub(super) minute: i64,
    pub(super) locked: BTreeSet<usize>,
    pub(super) logged_out: BTreeSet<usize>,
    pub(super) asked: Vec<Asked>,
    pub(super) shared: Vec<Shared>,
    /// The passkey of each, by its number.
    pub(super) keys: BTreeMap<usize, usize>,
    pub(super) reviews: Vec<Reviewed>,
}

impl Model {
    pub(super) fn shared_with(&self, person: usize) -> Option<usize> {
        self.shared.iter().position(|shared| shared.to == person && !shared.over)
    }

    /// The shares by which somebody may use the shop, or share it; `None` if they may not.
    pub(super) fn chain(&self, person: usize, share: bool, left: usize) -> Option<BTreeSet<usize>> {
        if person == ALICE {
            return Some(BTreeSet::new());
        }
        let left = left.checked_sub(1)?;
        let own = self.shared_with(person)?;
        let Shared { by, admin, accepted, .. } = self.shared[own];
        if !accepted || (share && !admin) || self.locked.contains(&by) {
            return None;
        }
        let mut chain = self.chain(by, true, left)?;
        chain.insert(own);
        Some(chain)
    }

    /// Roles that must each agree, by policy and by what was shared.
    pub(super) fn demand(&self, person: usize, tunnel: usize) -> Option<&'static [&'static str]> {
        if tunnel != SHOP || person == ALICE {
            return demand(self.policy, person, tunnel);
        }
        self.chain(person, false, CHAIN)?;
        let own = self.shared_with(person)?;
        Some(if self.shared[own].admin { &[] } else { &["admin"] })
    }

    pub(super) fn share(&mut self, by: usize, to: usize, admin: bool) -> bool {
        let may = self.stands(by) && by != to && self.chain(by, true, CHAIN).is_some();
        let fits = may && self.shared_with(to).is_none();
        if fits {
            self.shared.push(Shared { by, to, admin, accepted: false, over: false });
        }
        fits
    }

    pub(super) fn accept(&mut self, person: usize) -> bool {
        let waits = self.shared_with(person).filter(|i| !self.shared[*i].accepted && self.stands(person));
        waits.is_some_and(|i| {
            self.shared[i].accepted = true;
            true
        })
    }

    pub(super) fn end_share(&mut self, by: usize, to: usize) -> bool {
        let Some(i) = self.shared_with(to) else { return false };
        let may = by == to || by == self.shared[i].by || self.chain(by, true, CHAIN).is_some();
        self.shared[i].over = may && self.stands(by);
        self.shared[i].over
    }

    /// Whether somebody gets in at the lab without an approval; the request that this settles, if one waits.
    pub(super) fn break_glass(&self, person: usize) -> (bool, Option<usize>) {
        let own = |asked: &&Asked| asked.person == person && asked.glass == Some(false);
        let may = self.may(person, LAB_AT).0 == "needs approval" && self.asked.iter().find(own).is_none();
        let waits = |asked: &Asked| asked.person == person && asked.lab() && asked.fate == Fate::Waits;
        (may, self.asked.iter().position(waits))
    }

    pub(super) fn review(&mut self, person: usize, i: usize, right: bool) -> bool {
        let asked = &self.asked[i];
        let roles = PEOPLE[person].1;
        let may = self.stands(person)
            && person != asked.person
            && !asked.too_near(person)
            && (roles.contains(&"admin") || roles.contains(&"duty"))
            && asked.glass == Some(false);
        if may {
            self.asked[i].glass = Some(true);
            if !right {
                self.asked[i].fate = Fate::Over;
            }
        }
        may
    }

    pub(super) fn stands(&self, person: usize) -> bool {
        !self.locked.contains(&person) && !self.logged_out.contains(&person)
    }

    /// Whether distinct people among these, who have signed or haven't, fill every place.
    pub(super) fn enough(asked: &Asked, wanted: &[&str], people: &[(usize, bool)]) -> bool {
        let Some((first, rest)) = wanted.split_first() else { return true };
        people.iter().any(|one| {
            let (person, signed) = *one;
            let others: Vec<_> = people.iter().copied().filter(|other| other != one).collect();
            PEOPLE[person].1.iter().any(|role| asked.takes(first, role, signed))
                && Self::enough(asked, rest, &others)
        })
    }

    pub(super) fn live(&self, asked: &Asked) -> bool {
        matches!(asked.fate, Fate::Granted { ends, .. } if self.minute < ends)
    }

    /// What `connect` must answer, and the request whose grant it may rest on.
    pub(super) fn may(&self, person: usize, tunnel: usize) -> (&'static str, BTreeSet<usize>) {
        self.may_if(self.stands(person), person, tunnel, None)
    }

    /// The same for whoever has begun the grant of the request `holds`.
    pub(super) fn may_if(
        &self,
        stands: bool,
        person: usize,
        tunnel: usize,
        holds: Option<usize>,
    ) -> (&'static str, BTreeSet<usize>) {
        let Some(wanted) = self.demand(person, tunnel).filter(|_| stands) else {
            return ("denied", BTreeSet::new());
        };
        if wanted.is_empty() {
            return ("allowed", BTreeSet::new());
        }
        let usable = (0..self.asked.len()).filter(|i| {
            let spent = match self.asked[*i].fate {
                Fate::Granted { unused: false, spent: None, .. } => true,
                Fate::Granted { unused: false, spent: Some(spent), .. } => spent && holds == Some(*i),
                _ => false,
            };
            spent && self.fits(*i, person, tunnel, wanted)
        });
        let usable: BTreeSet<usize> = usable.collect();
        (if usable.is_empty() { "needs approval" } else { "allowed" }, usable)
    }

    /// Whether a grant is live and does for this, as far as it isn't a matter of its first use.
    pub(super) fn fits(&self, i: usize, person: usize, tunnel: usize, wanted: &[&str]) -> bool {
        let asked = &self.asked[i];
        // Workflows are compared by what they are, not by how much they ask for.
        asked.person == person
            && asked.tunnel == tunnel
            && self.live(asked)
            && asked.within().iter().all(|first| *first == (self.minute < 60))
            && matches!(&asked.fate, Fate::Granted { had, .. } if *had == wanted)
    }

    /// Grants that wait for their first use and would do; of several the one that must be used soonest is taken.
    pub(super) fn waiting(&self, person: usize, tunnel: usize) -> BTreeSet<usize> {
        if self.may(person, tunnel).0 != "needs approval" {
            return BTreeSet::new();
        }
        let Some(wanted) = self.demand(person, tunnel) else { return BTreeSet::new() };
        let waits = |i: &usize| match self.asked[*i].fate {
            Fate::Granted { ends, unused, spent, .. } if unused || spent == Some(false) => {
                self.fits(*i, person, tunnel, wanted).then_some(ends)
            }
            _ => None,
        };
        let all: Vec<(usize, i64)> =
            (0..self.asked.len()).filter_map(|i| waits(&i).map(|ends| (i, ends))).collect();
        let soonest = all.iter().map(|(_, ends)| *ends).min();
        all.into_iter().filter(|(_, ends)| Some(*ends) == soonest).map(|(i, _)| i).collect()
    }

    /// A grant's first use.
    pub(super) fn begin(&mut self, i: usize) {
        let minute = self.minute;
        if let Fate::Granted { ends, unused, spent, .. } = &mut self.asked[i].fate {
            if *unused {
                (*ends, *unused) = (minute + MINUTES, false);
            }
            *spent = spent.map(|_| true);
        }
    }

    pub(super) fn start_review(&mut self, deadline: i64, roles: usize) -> bool {
        if self.reviews.iter().filter(|review| !review.over).count() >= 8 {
            return false;
        }
        let grants = (0..self.asked.len()).filter(|i| self.live(&self.asked[*i]));
        let grants = grants.map(|i| (self.asked[i].person, Thing::Grant(i), None));
        let shares = (0..self.shared.len()).filter(|i| !self.shared[*i].over);
        let shares = shares.map(|i| (self.shared[i].to, Thing::Share(i), None));
        let roles = (0..roles).map(|_| (usize::MAX, Thing::Role, None));
        let items = grants.chain(shares).chain(roles).collect();
        self.reviews.push(Reviewed { deadline, items, over: false });
        true
    }

    /// Whether a reviewer's word on what somebody holds counts in this review.
    pub(super) fn decide_item(&mut self, review: usize, by: usize, thing: Thing, keep: bool) -> bool {
        let may = self.stands(by) && PEOPLE[by].1.contains(&"security");
        let open = may && !self.reviews[review].over;
        let items = &mut self.reviews[review].items;
        let Some(item) = items.iter_mut().find(|item| item.1 == thing).filter(|item| open && item.0 != by)
        else {
            return false;
        };
        if item.2.is_some() {
            return false;
        }
        item.2 = Some(keep);
        if !keep {
            self.take_away(thing);
        }
        true
    }

    pub(super) fn take_away(&mut self, thing: Thing) {
        match thing {
            Thing::Grant(i) if self.live(&self.asked[i]) => self.asked[i].fate = Fate::Over,
            Thing::Share(i) => self.shared[i].over = true,
            Thing::Grant(_) | Thing::Role => {}
        }
    }

    /// What nobody has decided on ends with its review.
    pub(super) fn end_reviews(&mut self) {
        for i in 0..self.reviews.len() {
            if self.reviews[i].over || self.minute < self.reviews[i].deadline {
                continue;
            }
            self.reviews[i].over = true;
            for (_, thing, decided) in self.reviews[i].items.clone() {
                if decided.is_none() {
                    self.take_away(thing);
                }
            }
        }
    }

    pub(super) fn pending(&self, person: usize, tunnel: usize) -> bool {
        self.asked.iter().any(|a| a.person == person && a.tunnel == tunnel && a.fate == Fate::Waits)
    }

    pub(super) fn can_decide(&self, person: usize, i: usize) -> bool {
        let asked = &self.asked[i];
        let approver = PEOPLE[person].1.iter().any(|role| matches!(*role, "admin" | "security" | "duty"));
        approver
            && self.stands(person)
            && asked.person != person
            && asked.fate == Fate::Waits
            && !asked.denials.contains(&person)
            && match self.demand(asked.person, asked.tunnel).filter(|wanted| !wanted.is_empty()) {
                Some(wanted) => !asked.too_near(person) && self.helps(person, i, wanted, true),
                // Policy doesn't let it through any more: it can be cleared away.
                None => true,
            }
    }

    pub(super) fn helps(&self, person: usize, i: usize, wanted: &[&str], signed: bool) -> bool {
        let takes =
            |place: &&str| PEOPLE[person].1.iter().any(|role| self.asked[i].takes(place, role, signed));
        wanted.iter().any(takes)
    }

    pub(super) fn deny(&mut self, person: usize, i: usize) {
        let wanted = self.demand(self.asked[i].person, self.asked[i].tunnel);
        let asked = &mut self.asked[i];
        asked.approvals.remove(&person);
        asked.denials.insert(person);
        let needed = if asked.lab() && wanted.is_some() { 2 } else { 1 };
        if asked.denials.len() >= needed {
            asked.fate = Fate::Over;
        }
    }

    pub(super) fn approve(&mut self, person: usize, i: usize, agreed: Agreed) {
        let asked = &self.asked[i];
        let wanted = self.demand(asked.person, asked.tunnel);
        let helps = wanted.is_some_and(|wanted| self.helps(person, i, wanted, agreed.key.is_some()));
        if self.can_decide(person, i) && helps && !self.locked.contains(&asked.person) {
            self.asked[i].approvals.entry(person).or_insert(agreed);
        }
    }

    /// What must be so after every order.
    pub(super) fn settle(&mut self) {
        self.end_reviews();
        for i in 0..self.asked.len() {
            let asked = &mut self.asked[i];
            if asked.fate == Fate::Waits && self.minute >= asked.answer_by() {
                asked.fate = Fate::Over;
            }
            let asked = &self.asked[i];
            if asked.fate != Fate::Waits {
                continue;
            }
            if self.granted(i) {
                continue;
            }
            // Who is on duty is told only of what still waits then; who has approved before doesn't count through it.
            let asked = &mut self.asked[i];
            asked.escalated |= asked.lab() && self.minute >= asked.at + 15;
            let _ = self.granted(i);
        }
    }

    /// Grants what is complete.
    pub(super) fn granted(&mut self, i: usize) -> bool {
        let asked = &self.asked[i];
        if asked.approvals.is_empty() || self.locked.contains(&asked.person) {
            return false;
        }
        let Some(wanted) = self.demand(asked.person, asked.tunnel).filter(|w| !w.is_empty()) else {
            return false;
        };
        let counts = |p: &usize| !self.locked.contains(p) && !asked.too_near(*p);
        // A passkey that was lost since signs nothing any more.
        let signed =
            |p: &usize, agreed: &Agreed| agreed.key.is_some() && agreed.key == self.keys.get(p).copied();
        let people: Vec<(usize, bool)> = asked
            .approvals
            .iter()
            .filter(|(p, _)| counts(p))
            .map(|(p, agreed)| (*p, signed(p, agreed)))
            .collect();
        if !Self::enough(asked, wanted, &people) {
            return false;
        }
        let unused = asked.lab();
        let ends = self.minute + if unused { 30 } else { MINUTES };
        let spent = self.asked[i].is_once().then_some(false);
        self.asked[i].fate = Fate::Granted { ends, had: wanted, unused, spent };
        true
    }
}
