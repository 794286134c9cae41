//! From files to a [`Policy`]: read, check, build, self-test. All faults are told at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::conditions::{self, CONDITIONS_FILE, Condition, ConditionName};
use super::court::Court;
use super::faults::{Place, PolicyFaults};
use super::memo::Memo;
use super::model::MODEL_FILE;
use super::roles::RoleGraph;
use super::rows::{Effect, Membership, Rows, Rule};
use super::shard::Shard;
use super::{EnforceError, Policy, PolicyDigest, model};
use crate::access::names::{Principal, Tenant};
use crate::access::object::Action;
use crate::access::workflow::{self, Workflow, WorkflowName};

/// Name of the workflow file in the policy directory.
pub const APPROVALS_FILE: &str = "approvals.toml";
/// Largest policy file, in bytes.
pub const MAX_FILE: u64 = 8 << 20;
/// Most policy files in one directory.
pub const MAX_FILES: usize = 256;
/// Rules per shard that the self-test asks casbin about.
const PROBES: usize = 32;

/// The texts that make a policy, by file name: `model.conf`, `approvals.toml`, `conditions.toml` if there is one, and
/// every `*.csv`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    files: BTreeMap<String, String>,
}

impl Sources {
    /// Texts by file name.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { files: files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect() }
    }

    /// Reads the directory; subdirectories and files of other names are left alone.
    ///
    /// # Errors
    ///
    /// A file that can't be read, isn't UTF-8 or is larger than [`MAX_FILE`]; more than [`MAX_FILES`] files.
    pub fn read(directory: &Path) -> Result<Self, PolicyFaults> {
        let mut faults = PolicyFaults::default();
        let mut files = BTreeMap::new();
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                faults.about(
                    &directory.display().to_string(),
                    format!("the policy directory can't be read: {error}"),
                );
                return Err(faults);
            }
        };
        for entry in entries {
            let name = match entry {
                Ok(entry) => entry.file_name().to_string_lossy().into_owned(),
                Err(error) => {
                    faults
                        .about(&directory.display().to_string(), format!("an entry can't be read: {error}"));
                    continue;
                }
            };
            if ![MODEL_FILE, APPROVALS_FILE, CONDITIONS_FILE].contains(&name.as_str()) && !is_table(&name) {
                continue;
            }
            if files.len() == MAX_FILES {
                faults.about(&name, format!("there are more than {MAX_FILES} policy files"));
                break;
            }
            match read_bounded(&directory.join(&name)) {
                Ok(text) => {
                    files.insert(name, text);
                }
                Err(why) => faults.about(&name, why),
            }
        }
        faults.none_or(Self { files })
    }

    /// SHA-256 over all texts in the order of their names, each with its name and both lengths.
    pub fn digest(&self) -> PolicyDigest {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(b"sallyport policy v1\n");
        for (name, text) in &self.files {
            for part in [name.as_bytes(), text.as_bytes()] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        PolicyDigest(digest)
    }

    /// All rows in one enforcer, for [`super::oracle`].
    pub(super) async fn all_in_one(&self) -> Result<(Court, Vec<Arc<Rule>>), PolicyFaults> {
        let mut faults = PolicyFaults::default();
        let model = model::parse(self.text(MODEL_FILE, &mut faults), &mut faults).await;
        let mut rows = Rows::default();
        for (name, text) in self.files.iter().filter(|(name, _)| is_table(name)) {
            rows.read(name, text, &mut faults);
        }
        let Some(model) = model.filter(|_| faults.count() == 0) else { return Err(faults) };
        let links = rows.memberships.iter().map(|m| (m.member.as_str(), m.role.as_str(), m.tenant.as_str()));
        let court = Court::build(&model, links).await.map_err(EnforceError::Casbin);
        let court = court.and_then(|court| court.load(&rows.rules).map(|()| court));
        match court {
            Ok(court) => Ok((court, rows.rules)),
            Err(error) => {
                faults.about(MODEL_FILE, error.to_string());
                Err(faults)
            }
        }
    }

    /// The text of a file.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    fn text(&self, name: &str, faults: &mut PolicyFaults) -> &str {
        self.files.get(name).map_or_else(
            || {
                faults.about(name, "the file is missing from the policy directory");
                ""
            },
            String::as_str,
        )
    }
}

/// Whether a file holds rows. A hidden file, such as an editor's backup, doesn't.
fn is_table(name: &str) -> bool {
    name.strip_suffix(".csv").is_some_and(|stem| !stem.is_empty() && !stem.starts_with('.'))
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("it can't be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| format!("it can't be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it isn't UTF-8 text".to_owned())
}

impl Policy {
    /// Reads, checks, builds and self-tests the policy in a directory.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, with file and line. No part of a policy with a fault is used.
    pub async fn load(directory: &Path) -> Result<Self, PolicyFaults> {
        let directory = directory.to_owned();
        // On a thread of its own: files may be slow, a large policy takes a while, and were casbin to panic over a
        // model that nobody has thought of, the gateway must go on with the policy that it has.
        let runtime = tokio::runtime::Handle::current();
        let reading = tokio::task::spawn_blocking(move || {
            let sources = Sources::read(&directory)?;
            runtime.block_on(Self::build(&sources))
        });
        reading.await.unwrap_or_else(|_panic| {
            let mut faults = PolicyFaults::default();
            faults.about(MODEL_FILE, "casbin panicked over this policy");
            Err(faults)
        })
    }

    /// As [`Self::load`], from texts.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub async fn build(sources: &Sources) -> Result<Self, PolicyFaults> {
        let mut faults = PolicyFaults::default();
        let model_text = sources.text(MODEL_FILE, &mut faults);
        let model = if model_text.is_empty() { None } else { model::parse(model_text, &mut faults).await };
        let approvals = sources.text(APPROVALS_FILE, &mut faults);
        let workflow::Approvals { workflows, reporting } = workflow::parse(approvals, |line, what| {
            faults.add(Place { file: APPROVALS_FILE.into(), line }, what);
        });
        let conditions = sources.files.get(CONDITIONS_FILE).map(String::as_str).unwrap_or_default();
        let conditions = conditions::parse(conditions, &mut faults);
        let mut rows = Rows::default();
        let mut tables = 0;
        for (name, text) in sources.files.iter().filter(|(name, _)| is_table(name)) {
            rows.read(name, text, &mut faults);
            tables += 1;
        }
        if tables == 0 {
            faults.about("*.csv", "there is no policy file; an empty policy is never used");
        } else if rows.rules.is_empty() && faults.count() == 0 {
            faults.about("*.csv", "there is no rule; an empty policy is never used");
        }
        check_references(&rows, &workflows, &conditions, &mut faults);
        let roles = build_roles(&rows.memberships, &mut faults);
        let Some(model) = model.filter(|_| faults.count() == 0) else { return Err(faults) };

        let courts = build_courts(&model, &rows, &mut faults).await;
        let policy = Self {
            digest: sources.digest(),
            shards: build_shards(&rows),
            courts,
            roles,
            workflows,
            reporting,
            conditions,
            memo: Memo::new(),
            rules: rows.rules.len(),
        };
        policy.check_satisfiable(&rows.rules, &mut faults);
        policy.self_test(&mut faults);
        faults.none_or(policy)
    }

    /// A policy of these rows alone, under the model that comes with the program.
    #[cfg(test)]
    pub(crate) async fn build_one(rows: &str) -> Self {
        let (model, text) = default_files()[0];
        let sources = Sources::new([(model, text), (APPROVALS_FILE, ""), ("policy.csv", rows)]);
        Self::build(&sources).await.unwrap()
    }

    /// Asks the new enforcers what they must answer, before anyone depends on them.
    pub(super) fn self_test(&self, faults: &mut PolicyFaults) {
        for ((tenant, action), shard) in &self.shards {
            let Some(court) = self.courts.get(tenant) else { continue };
            let rules = shard.rules();
            let stride = rules.len().div_ceil(PROBES).max(1);
            for rule in rules.iter().step_by(stride).chain(rules.last()) {
                let mut note = |what: &str| faults.add(rule.place.clone(), format!("self-test: {what}"));
                let Some(object) = rule.objects.example() else {
                    note("no object fits this rule");
                    continue;
                };
                let ask = |who: &str, tenant: &str| {
                    court.ask((who, tenant, object.as_str(), *action), std::slice::from_ref(rule))
                };
                match ask(rule.who.as_str(), tenant.as_str()) {
                    Ok(found) if found.matched == [0] && found.allowed == (rule.effect == Effect::Allow) => {}
                    Ok(_) => note("casbin doesn't see this rule"),
                    Err(error) => note(&error.to_string()),
                }
                if !shard.candidates([rule.who.as_str()], &object).contains(rule) {
                    note("the index doesn't find this rule");
                }
                // Names that no file can hold: whatever allows one of them would allow anyone.
                for (who, tenant) in
                    [("", tenant.as_str()), ("user:?", tenant.as_str()), (rule.who.as_str(), "?"), ("", "")]
                {
                    match ask(who, tenant) {
                        Ok(found) if found.matched.is_empty() && !found.allowed => {}
                        Ok(_) => note("casbin takes it for a rule about everyone"),
                        Err(error) => note(&error.to_string()),
                    }
                }
            }
        }
    }
}

/// Names that stand in a row must exist: a mistyped role or workflow silently grants nothing, or demands nothing.
fn check_references(
    rows: &Rows,
    workflows: &BTreeMap<WorkflowName, Workflow>,
    conditions: &BTreeMap<ConditionName, Arc<Condition>>,
    faults: &mut PolicyFaults,
) {
    let mut ruled: BTreeSet<(&Tenant, &Principal)> = BTreeSet::new();
    let mut tenants: BTreeSet<&Tenant> = BTreeSet::new();
    let mut seen: HashMap<_, &Rule> = HashMap::new();
    for rule in &rows.rules {
        ruled.insert((&rule.tenant, &rule.who));
        tenants.insert(&rule.tenant);
        if let Some(name) = &rule.approval
            && !workflows.contains_key(name)
        {
            faults.add(rule.place.clone(), format!("workflow {name} isn't in {APPROVALS_FILE}"));
        }
        for wanted in &rule.conditions {
            if !conditions.contains_key(&wanted.name) {
                let what = format!("condition {} isn't in {CONDITIONS_FILE}", wanted.name);
                faults.add(rule.place.clone(), what);
            }
        }
        let mut when = rule.conditions.clone();
        when.sort_unstable();
        let key = (
            &rule.who,
            &rule.tenant,
            rule.objects.as_str(),
            rule.action,
            rule.effect,
            rule.approval.as_ref(),
            when,
        );
        if let Some(first) = seen.insert(key, rule) {
            faults.add(rule.place.clone(), format!("the same rule stands in {}", first.place));
        }
    }
    let granted: BTreeSet<(&Tenant, &Principal)> =
        rows.memberships.iter().map(|m| (&m.tenant, &m.member)).collect();
    let steps: BTreeSet<_> = workflows.values().flat_map(Workflow::roles).collect();
    for membership in &rows.memberships {
        if !tenants.contains(&membership.tenant) {
            faults.add(membership.place.clone(), format!("no rule speaks of tenant {}", membership.tenant));
            continue;
        }
        let role = Principal::Role(membership.role.clone());
        let key = (&membership.tenant, &role);
        if !ruled.contains(&key) && !granted.contains(&key) && !steps.contains(&membership.role) {
            faults.add(
                membership.place.clone(),
                format!("no rule, role or workflow of {} speaks of {}", membership.tenant, membership.role),
            );
        }
    }
}

fn build_roles(memberships: &[Membership], faults: &mut PolicyFaults) -> BTreeMap<Tenant, RoleGraph> {
    let mut by_tenant: BTreeMap<Tenant, Vec<&Membership>> = BTreeMap::new();
    for membership in memberships {
        by_tenant.entry(membership.tenant.clone()).or_default().push(membership);
    }
    by_tenant.into_iter().map(|(tenant, rows)| (tenant, RoleGraph::build(&rows, faults))).collect()
}

fn build_shards(rows: &Rows) -> HashMap<(Tenant, Action), Shard> {
    let mut groups: HashMap<(Tenant, Action), Vec<Arc<Rule>>> = HashMap::new();
    for rule in &rows.rules {
        groups.entry((rule.tenant.clone(), rule.action)).or_default().push(rule.clone());
    }
    groups.into_iter().map(|(key, rules)| (key, Shard::new(rules))).collect()
}

async fn build_courts(
    model: &casbin::DefaultModel,
    rows: &Rows,
    faults: &mut PolicyFaults,
) -> HashMap<Tenant, Court> {
    let mut links: BTreeMap<&Tenant, Vec<(&str, &str, &str)>> =
        rows.rules.iter().map(|rule| (&rule.tenant, Vec::new())).collect();
    for m in &rows.memberships {
        if let Some(links) = links.get_mut(&m.tenant) {
            links.push((m.member.as_str(), m.role.as_str(), m.tenant.as_str()));
        }
    }
    let mut courts = HashMap::new();
    for (tenant, links) in links {
        match Court::build(model, links).await {
            Ok(court) => {
                courts.insert(tenant.clone(), court);
            }
            Err(why) => faults.about(MODEL_FILE, why),
        }
    }
    courts
}

/// The policy files that come with the program, for a first start: `(name, text)`.
pub fn default_files() -> [(&'static str, &'static str); 4] {
    [
        (MODEL_FILE, include_str!("../../../policies/model.conf")),
        (APPROVALS_FILE, include_str!("../../../policies/approvals.toml")),
        ("policy.csv", include_str!("../../../policies/policy.csv")),
        (CONDITIONS_FILE, include_str!("../../../policies/conditions.toml")),
    ]
}
