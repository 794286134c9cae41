//! The index, what is remembered, and bare casbin over all rows must find the same rules for every question.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::policy::load::Sources;
use super::policy::oracle::Oracle;
use super::*;

const TENANTS: [&str; 2] = ["main", "other"];
const PATTERNS: [&str; 9] = [
    "tunnel:*",
    "tunnel:a*",
    "tunnel:ab*",
    "tunnel:*b",
    "tunnel:a*b",
    "tunnel:a",
    "tunnel:ab",
    "tunnel:abb",
    "tunnel:c-*",
];
const OBJECTS: [&str; 7] =
    ["tunnel:a", "tunnel:ab", "tunnel:abb", "tunnel:b", "tunnel:c-1", "tunnel:xab", "tunnel:acb"];
const ACTIONS: [Action; 2] = [Action::Connect, Action::Read];
const PEOPLE: usize = 4;
const ROLES: usize = 5;

fn principal(n: usize) -> String {
    match n {
        0 => "user:anonymous".to_owned(),
        n if n <= PEOPLE => format!("user:u{n}"),
        n => format!("role:r{}", n - PEOPLE),
    }
}

/// A policy that is good whatever was drawn: no rule twice, no ring of roles, no role of which nothing speaks.
fn table() -> impl Strategy<Value = String> {
    let row = (0..TENANTS.len(), 0..=PEOPLE + ROLES, 0..PATTERNS.len(), 0..ACTIONS.len(), any::<bool>());
    let link = (0..TENANTS.len(), 1..PEOPLE + ROLES, 1..=ROLES);
    (prop::collection::vec(row, 1..40), prop::collection::vec(link, 0..20)).prop_map(|(rules, links)| {
        let mut rows = String::new();
        let (mut seen, mut spoken) = (BTreeSet::new(), BTreeSet::new());
        for (tenant, who, pattern, action, deny) in rules {
            if seen.insert((tenant, who, pattern, action, deny)) {
                spoken.insert((tenant, who));
                let effect = if deny { "deny" } else { "allow" };
                rows += &format!(
                    "p, {}, {}, {}, {}, {effect}, -\n",
                    principal(who),
                    TENANTS[tenant],
                    PATTERNS[pattern],
                    ACTIONS[action]
                );
            }
        }
        for (tenant, member, role) in links.into_iter().collect::<BTreeSet<_>>() {
            let given = PEOPLE + role;
            // A role only has roles of a greater number: never a ring.
            if spoken.contains(&(tenant, given)) && member < given {
                rows += &format!("g, {}, {}, {}\n", principal(member), principal(given), TENANTS[tenant]);
            }
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn the_index_and_bare_casbin_find_the_same_rules_for_every_question(rows in table()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sources = Sources::new([default_files()[0], ("approvals.toml", ""), ("policy.csv", &rows)]);
        let policy = runtime.block_on(Policy::build(&sources)).unwrap();
        let oracle = runtime.block_on(Oracle::build(&sources)).unwrap();
        for tenant in TENANTS {
            let tenant: Tenant = tenant.parse().unwrap();
            for who in (0..=PEOPLE).map(principal).chain(["user:stranger".to_owned()]) {
                let who: Subject = who.parse().unwrap();
                for on in OBJECTS {
                    let on: Object = on.parse().unwrap();
                    for action in ACTIONS {
                        let bare = oracle.ask(&who, &tenant, &on, action).unwrap();
                        // Asked, remembered, and remembered again.
                        prop_assert_eq!(&policy.ask(&who.clone().into(), &tenant, &on, action).unwrap(), &bare);
                        prop_assert_eq!(&*policy.matched(&who, &[], &tenant, &on, action).unwrap(), &bare);
                        prop_assert!(oracle.agrees(&policy, &who, &tenant, &on, action));
                        let allows = policy.allows(&who, &tenant, &on, action);
                        prop_assert_eq!(allows, bare.allowed, "{} {} {} {}", who, tenant, on, action);
                    }
                }
            }
        }
    }
}
