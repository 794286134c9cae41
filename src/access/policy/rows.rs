//! Rows of a policy file, read by our own strict reader.
//!
//! casbin's reader drops short and unknown lines without a word, keeps an over-long row that then fails every
//! decision, and takes an effect spelled `Deny` for no effect at all, so that a deny rule vanishes. Here every row is
//! one of two shapes, every field is parsed into its type, and every row that isn't is a fault with its line:
//!
//! ```text
//! p, WHO,  TENANT, OBJECTS,  ACTION,  allow|deny, WORKFLOW or -, CONDITIONS
//! g, WHO,  ROLE,   TENANT
//! ```
//!
//! CONDITIONS joins names of `conditions.toml` by `+`, with `!` before one that must not hold; a row that always speaks
//! has `-` there, or ends before it.

use std::sync::Arc;

use super::conditions::{MAX_OF_RULE, Wanted};
use super::faults::{Place, PolicyFaults};
use crate::access::names::{Principal, Role, Tenant};
use crate::access::object::{Action, Pattern};
use crate::access::workflow::WorkflowName;

/// Most rows in all files together.
pub const MAX_ROWS: usize = 100_000;

/// Whether a rule gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It gives, if no rule takes.
    Allow,
    /// It takes, whatever others give.
    Deny,
}

impl Effect {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// One `p` row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about.
    pub who: Principal,
    /// In which tenant.
    pub tenant: Tenant,
    /// Which objects.
    pub objects: Pattern,
    /// Which action.
    pub action: Action,
    /// Allow or deny.
    pub effect: Effect,
    /// The workflow that must be satisfied first.
    pub approval: Option<WorkflowName>,
    /// All must hold for the rule to speak; none: it always does.
    pub conditions: Vec<Wanted>,
    /// Where it stands.
    pub place: Place,
    /// The row as written, for explanations.
    pub text: Arc<str>,
}

impl Rule {
    /// Its conditions as the row writes them.
    pub fn conditions_text(&self) -> String {
        let names: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        if names.is_empty() { "-".to_owned() } else { names.join("+") }
    }
}

/// One `g` row: a person or a role has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Who has it.
    pub member: Principal,
    /// What they have.
    pub role: Role,
    /// In which tenant.
    pub tenant: Tenant,
    /// Where it stands.
    pub place: Place,
}

/// All rows of all files.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) memberships: Vec<Membership>,
}

impl Rows {
    /// Reads one file and adds its rows; every fault is told.
    pub(super) fn read(&mut self, file: &str, text: &str, faults: &mut PolicyFaults) {
        let file: Arc<str> = file.into();
        for (number, line) in (1u32..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: file.clone(), line: number };
            if self.rules.len() + self.memberships.len() >= MAX_ROWS {
                faults.add(place, format!("there are more than {MAX_ROWS} rows"));
                return;
            }
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            match fields.as_slice() {
                ["p", who, tenant, objects, action, effect, approval] => {
                    self.rule([who, tenant, objects, action, effect, approval, "-"], line, place, faults);
                }
                ["p", who, tenant, objects, action, effect, approval, conditions] => {
                    self.rule([who, tenant, objects, action, effect, approval, conditions], line, place, faults);
                }
                ["g", member, role, tenant] => self.membership([member, role, tenant], place, faults),
                ["p", ..] => faults.add(
                    place,
                    format!("a `p` row has 7 or 8 fields (p, who, tenant, objects, action, effect, approval or -, conditions); this one has {}", fields.len()),
                ),
                ["g", ..] => {
                    faults.add(place, format!("a `g` row has 4 fields (g, who, role, tenant); this one has {}", fields.len()));
                }
                _ => faults.add(place, "a row begins with `p` (a rule) or `g` (who has a role); a comment begins with `#`"),
            }
        }
    }

    fn rule(&mut self, fields: [&str; 7], line: &str, place: Place, faults: &mut PolicyFaults) {
        let [who, tenant, objects, action, effect, approval, conditions] = fields;
        let before = faults.count();
        let mut note = |what: String| faults.add(place.clone(), what);
        let who = who.parse::<Principal>().map_err(|e| note(e.to_string())).ok();
        let tenant = tenant.parse::<Tenant>().map_err(|e| note(e.to_string())).ok();
        let objects = objects.parse::<Pattern>().map_err(|e| note(e.to_string())).ok();
        let action = action.parse::<Action>().map_err(|e| note(e.to_string())).ok();
        let effect = match effect {
            "allow" => Some(Effect::Allow),
            "deny" => Some(Effect::Deny),
            other => {
                note(format!(
                    "the effect {:?} must be exactly `allow` or `deny`",
                    other.escape_debug().to_string()
                ));
                None
            }
        };
        let approval = match approval {
            "-" => None,
            name => name.parse::<WorkflowName>().map_err(|e| note(format!("{e}; write `-` for none"))).ok(),
        };
        let conditions = read_conditions(conditions, &mut note);
        let (Some(who), Some(tenant), Some(objects), Some(action), Some(effect)) =
            (who, tenant, objects, action, effect)
        else {
            return;
        };
        if !objects.fits(action) {
            note(format!("`{action}` means nothing for {}: the rule could never match", objects.as_str()));
        }
        if effect == Effect::Deny && approval.is_some() {
            note("a deny rule can't need an approval: nothing lifts a deny".to_owned());
        }
        if approval.is_some() && action != Action::Connect {
            note(format!("only `connect` can need an approval, not `{action}`"));
        }
        if matches!(&who, Principal::Person(person) if person.is_anonymous()) && approval.is_some() {
            note("user:anonymous can't need an approval: nobody would know whom it is for".to_owned());
        }
        if faults.count() == before {
            self.rules.push(Arc::new(Rule {
                who,
                tenant,
                objects,
                action,
                effect,
                approval,
                conditions,
                place,
                text: line.into(),
            }));
        }
    }

    fn membership(&mut self, fields: [&str; 3], place: Place, faults: &mut PolicyFaults) {
        let [member, role, tenant] = fields;
        let mut note = |what: String| faults.add(place.clone(), what);
        let member = member.parse::<Principal>().map_err(|e| note(e.to_string())).ok();
        let role = role.parse::<Role>().map_err(|e| note(e.to_string())).ok();
        let tenant = tenant.parse::<Tenant>().map_err(|e| note(e.to_string())).ok();
        let (Some(member), Some(role), Some(tenant)) = (member, role, tenant) else { return };
        if matches!(&member, Principal::Person(person) if person.is_anonymous()) {
            note("user:anonymous can't have a role: a rule for everyone must say so by name".to_owned());
            return;
        }
        self.memberships.push(Membership { member, role, tenant, place });
    }
}

fn read_conditions(text: &str, note: &mut impl FnMut(String)) -> Vec<Wanted> {
    if text == "-" {
        return Vec::new();
    }
    let mut conditions: Vec<Wanted> = Vec::new();
    for name in text.split('+').map(str::trim) {
        match name.parse::<Wanted>() {
            Ok(wanted) if conditions.iter().any(|other| other.name == wanted.name) => {
                note(format!("condition {} stands twice", wanted.name));
            }
            Ok(wanted) => conditions.push(wanted),
            Err(error) => note(format!("{error}; write `-` for none, and join several by `+`")),
        }
    }
    if conditions.len() > MAX_OF_RULE {
        note(format!("it names {} conditions; {MAX_OF_RULE} is the most", conditions.len()));
    }
    conditions
}
