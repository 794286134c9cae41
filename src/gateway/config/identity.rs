//! Who else vouches for people: other issuers, and a controller.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;

use super::keys::ISSUER_KEYS;
use super::read::{path, required};
use super::reader::{Problems, Reader};
use super::url::ServerUrl;
use crate::access::issuer::{Algorithm, GroupRules, Issuer, IssuerName, NameRules};
use crate::access::{Role, Subject, Tenant};

/// Section `[identity]`.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Each `[[identity.issuer]]`.
    pub issuers: Vec<IssuerSettings>,
    /// Who is asked about what no issuer signed.
    pub controller: Option<ControllerSettings>,
    /// How long a browser stays signed in.
    pub session: Duration,
    /// Whether a session at the console is good in the network alone in which it began.
    pub console_at_home: bool,
}

/// One `[[identity.issuer]]`.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// What the operator calls it.
    pub name: IssuerName,
    /// What `iss` must say.
    pub issuer: String,
    /// What `aud` must hold.
    pub audience: String,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Roots that its certificate must lead to; the system's, if there are none.
    pub root_file: Option<PathBuf>,
    /// How it may sign.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    pub leeway: SignedDuration,
    /// How often its keys are fetched.
    pub refresh: Duration,
    /// How long they count while it is away.
    pub keep: Duration,
    /// How its claims become a name.
    pub names: NameRules,
    /// How its groups become roles.
    pub groups: GroupRules,
    /// How people sign in there with a browser.
    pub sign_in: Option<SignInSettings>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Wherever its discovery document says.
    Discovery(ServerUrl),
    /// A JWK set at this address.
    Url(ServerUrl),
    /// A JWK set in a file.
    File(PathBuf),
    /// A shared secret in a file.
    Secret(PathBuf),
}

/// What the gateway is to an OpenID provider.
#[derive(Debug, Clone)]
pub struct SignInSettings {
    /// The issuer's address, below which its discovery document is.
    pub url: ServerUrl,
    /// What it calls us.
    pub client_id: String,
    /// How it knows us; a public client has none.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for, beside `openid`.
    pub scopes: Vec<String>,
}

/// Who is asked about credentials.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// Where.
    pub url: ServerUrl,
    /// Roots that its certificate must lead to; the system's, if there are none.
    pub root_file: Option<PathBuf>,
    /// File with the token by which it knows us.
    pub token_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long an answer counts.
    pub remember: Duration,
}

impl IssuerSettings {
    /// As access knows it.
    pub fn issuer(&self, tenant: &Tenant) -> Issuer {
        Issuer {
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            algorithms: self.algorithms.clone(),
            tenant: tenant.clone(),
            leeway: self.leeway,
            names: self.names.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// Reads the settings in `[identity]`.
pub(super) fn read_identity(
    reader: &mut Reader<'_>,
    state: &Path,
    issuers: Vec<IssuerSettings>,
) -> Option<Identity> {
    let session = reader.number("identity.session_minutes", 1, 1440).map(|m| Duration::from_secs(m * 60));
    let url = reader.parse("identity.controller", |text: String| ServerUrl::parse(&text));
    let root_file = path(reader, "identity.controller_root_file", state);
    let token_file = path(reader, "identity.controller_token_file", state);
    let timeout = reader.number("identity.controller_timeout_ms", 100, 30_000).map(Duration::from_millis);
    let remember = reader.number("identity.controller_cache_secs", 0, 300).map(Duration::from_secs);
    let (timeout, remember) = (timeout?, remember?);
    let controller = url.map(|url| ControllerSettings { url, root_file, token_file, timeout, remember });
    let console_at_home = reader.parse("identity.console_at_home", Ok::<bool, String>);
    Some(Identity { issuers, controller, session: session?, console_at_home: console_at_home? })
}

/// Reads the `[[identity.issuer]]` blocks.
pub(super) fn read_issuers(
    value: Option<toml::Value>,
    state: &Path,
    problems: &mut Problems,
) -> Vec<IssuerSettings> {
    let entries = match value {
        None => return Vec::new(),
        Some(toml::Value::Array(entries)) if entries.len() <= 16 => entries,
        Some(_) => {
            problems.add(
                "identity.issuer",
                "write each issuer as a block [[identity.issuer]], at most 16 of them",
            );
            return Vec::new();
        }
    };
    let mut issuers: Vec<IssuerSettings> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let prefix = format!("identity.issuer[{index}].");
        let toml::Value::Table(table) = entry else {
            problems.add(&prefix, "write each issuer as a block [[identity.issuer]]");
            continue;
        };
        let mut reader = Reader::new(table, ISSUER_KEYS, &prefix, problems);
        let Some(issuer) = read_issuer(&mut reader, state) else { continue };
        if issuers.iter().any(|other| other.name == issuer.name) {
            reader.fault("name", format!("two issuers are called `{}`", issuer.name));
        }
        if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            reader.fault("issuer", "another block is about the same issuer");
        }
        issuers.push(issuer);
    }
    issuers
}

fn read_issuer(reader: &mut Reader<'_>, state: &Path) -> Option<IssuerSettings> {
    let name: Option<IssuerName> = required(reader, "name", |text| {
        text.parse().map_err(|error: crate::access::names::NameError| error.to_string())
    });
    let issuer = required(reader, "issuer", |text| some_text(text, 512));
    let audience = required(reader, "audience", |text| some_text(text, 512));
    let algorithms = reader.parse("algorithms", |text: String| {
        text.split_whitespace()
            .map(|word| word.parse::<Algorithm>().map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()
    });
    let keys = read_keys(reader, state, issuer.as_deref());
    let root_file = path(reader, "root_file", state);
    let leeway = reader.number("leeway_secs", 0, 300).and_then(|secs| i64::try_from(secs).ok());
    let refresh = reader.number("refresh_secs", 10, 86_400).map(Duration::from_secs);
    let keep = reader.number("keep_hours", 0, 168).map(|hours| Duration::from_secs(hours * 3600));
    let names = read_names(reader);
    let groups = read_groups(reader);
    let sign_in = read_sign_in(reader, state, issuer.as_deref());
    let (algorithms, keys) = (algorithms?, keys?);
    let secret = matches!(keys, KeySource::Secret(_));
    if algorithms.is_empty()
        || algorithms.contains(&Algorithm::Hs256) != secret
        || (secret && algorithms.len() > 1)
    {
        reader.fault("algorithms", "HS256 stands alone and needs secret_file, and nothing else can use that");
    }
    Some(IssuerSettings {
        name: name?,
        issuer: issuer?,
        audience: audience?,
        keys,
        root_file,
        algorithms,
        leeway: SignedDuration::from_secs(leeway?),
        refresh: refresh?,
        keep: keep?,
        names: names?,
        groups: groups?,
        sign_in: sign_in.ok()?,
    })
}

fn read_keys(reader: &mut Reader<'_>, state: &Path, issuer: Option<&str>) -> Option<KeySource> {
    let url = reader.parse("keys_url", |text: String| ServerUrl::parse(&text)).map(KeySource::Url);
    let file = path(reader, "keys_file", state).map(KeySource::File);
    let secret = path(reader, "secret_file", state).map(KeySource::Secret);
    let mut named: Vec<KeySource> = [url, file, secret].into_iter().flatten().collect();
    match (named.pop(), named.is_empty()) {
        (Some(source), true) => Some(source),
        (Some(_), false) => {
            reader.fault("keys_url", "name one of keys_url, keys_file and secret_file");
            None
        }
        (None, _) => match ServerUrl::parse(issuer?) {
            Ok(url) => Some(KeySource::Discovery(url)),
            Err(error) => {
                reader.fault("issuer", format!("{error}; or name keys_url or keys_file"));
                None
            }
        },
    }
}

fn read_names(reader: &mut Reader<'_>) -> Option<NameRules> {
    let claim = reader.parse("name_claim", |text| some_text(text, 128));
    let own = reader.word("names", &[("prefixed", false), ("own", true)]);
    let people = reader.parse("people", |list: Vec<String>| {
        let pair = |line: &String| {
            let (claim, person) =
                line.rsplit_once('=').ok_or_else(|| format!("`{line}` is not CLAIM=user:NAME"))?;
            let person: Subject = person.trim().parse().map_err(|error| format!("{error}"))?;
            if person.is_anonymous() {
                return Err("nobody vouches for user:anonymous".to_owned());
            }
            Ok((claim.trim().to_owned(), person))
        };
        list.iter().map(pair).collect::<Result<BTreeMap<_, _>, String>>()
    });
    Some(NameRules { claim: claim?, own: own?, people: people? })
}

fn read_groups(reader: &mut Reader<'_>) -> Option<GroupRules> {
    let claim = reader.parse("groups_claim", |text| some_text(text, 128));
    let roles = reader.parse("roles", |list: Vec<String>| {
        let mut roles: BTreeMap<String, BTreeSet<Role>> = BTreeMap::new();
        for line in &list {
            let (group, role) =
                line.rsplit_once('=').ok_or_else(|| format!("`{line}` is not GROUP=role:NAME"))?;
            let role = role.trim().parse().map_err(|error| format!("{error}"))?;
            roles.entry(group.trim().to_owned()).or_default().insert(role);
        }
        Ok(roles)
    });
    let prefix = reader.parse("group_prefix", |text: String| match format!("role:{text}x").parse::<Role>() {
        Ok(_) if !text.is_empty() => Ok(text),
        _ => Err(format!("`{text}` can't begin the name of a role")),
    });
    Some(GroupRules { claim: claim?, roles: roles?, prefix })
}

/// `Err` after a fault.
fn read_sign_in(
    reader: &mut Reader<'_>,
    state: &Path,
    issuer: Option<&str>,
) -> Result<Option<SignInSettings>, ()> {
    let client_id = reader.parse("client_id", |text| some_text(text, 256));
    let client_secret_file = path(reader, "client_secret_file", state);
    let scopes = reader.take::<String>("scopes").unwrap_or_default();
    let Some(client_id) = client_id else { return Ok(None) };
    match ServerUrl::parse(issuer.unwrap_or_default()) {
        Ok(url) => {
            let scopes = scopes.split_whitespace().map(str::to_owned).collect();
            Ok(Some(SignInSettings { url, client_id, client_secret_file, scopes }))
        }
        Err(error) => {
            reader.fault("client_id", format!("signing in needs the issuer's address: {error}"));
            Err(())
        }
    }
}

fn some_text(text: String, most: usize) -> Result<String, String> {
    if (1..=most).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(format!("must be 1 to {most} bytes without control characters"))
    }
}
