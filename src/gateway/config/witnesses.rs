//! The witnesses that are to cosign the ledger's heads, and what follows when they do not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sallyport_audit::note::CosignerKey;

use super::keys::WITNESS_KEYS;
use super::reader::{Problems, Reader};
use super::url::ServerUrl;

/// Witnesses, and how they are asked.
#[derive(Debug, Clone)]
pub struct Witnesses {
    /// Each of them; none if the ledger is not witnessed.
    pub all: Vec<WitnessSettings>,
    /// How many must cosign the same head.
    pub quorum: usize,
    /// How often they are asked.
    pub every: Duration,
    /// How long one answer may take.
    pub timeout: Duration,
    /// How old the last witnessed head may be.
    pub max_age: Duration,
    /// What follows when it is older.
    pub policy: WitnessPolicy,
}

/// What follows when too few witnesses answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WitnessPolicy {
    /// Sessions are served, and the status says that nobody watches.
    FailOpen,
    /// No new session.
    FailClosed,
}

impl WitnessPolicy {
    /// As it is written in the configuration and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailOpen => "fail-open",
            Self::FailClosed => "fail-closed",
        }
    }
}

/// One witness.
#[derive(Debug, Clone)]
pub struct WitnessSettings {
    /// What the operator calls it.
    pub name: String,
    /// Where `add-checkpoint` is below.
    pub url: ServerUrl,
    /// Its public key.
    pub key: CosignerKey,
    /// Roots that its certificate must lead to; the system's, if there are none.
    pub root_file: Option<PathBuf>,
}

/// Reads the settings in `[ledger]` that are about witnesses.
pub(super) fn read_witnessing(reader: &mut Reader<'_>, all: Vec<WitnessSettings>) -> Option<Witnesses> {
    let count = all.len();
    let quorum = reader.parse("ledger.witness_quorum", |value: i64| match usize::try_from(value) {
        Ok(quorum) if (1..=count).contains(&quorum) => Ok(quorum),
        _ if count == 0 => Err("there is no [[witnesses]] block".to_owned()),
        _ => Err(format!("{value} of {count} witnesses cannot be had; it must be from 1 to {count}")),
    });
    let every = reader.number("ledger.witness_secs", 1, 86_400);
    let timeout = reader.number("ledger.witness_timeout_secs", 1, 60);
    let max_age = reader.number("ledger.witness_max_age_secs", 1, 2_592_000);
    let words = [("fail-open", WitnessPolicy::FailOpen), ("fail-closed", WitnessPolicy::FailClosed)];
    let policy = reader.word("ledger.witness_policy", &words);
    let (every, max_age, policy) = (every?, max_age?, policy?);
    if policy == WitnessPolicy::FailClosed && count == 0 {
        reader.fault("ledger.witness_policy", "`fail-closed` needs a [[witnesses]] block");
    }
    if max_age < every {
        reader.fault("ledger.witness_max_age_secs", "must not be less than ledger.witness_secs");
    }
    Some(Witnesses {
        all,
        quorum: quorum.unwrap_or(count),
        every: Duration::from_secs(every),
        timeout: Duration::from_secs(timeout?),
        max_age: Duration::from_secs(max_age),
        policy,
    })
}

/// Reads the `[[witnesses]]` blocks.
pub(super) fn read_witnesses(
    value: Option<toml::Value>,
    state: &Path,
    problems: &mut Problems,
) -> Vec<WitnessSettings> {
    let entries = match value {
        None => return Vec::new(),
        Some(toml::Value::Array(entries)) if entries.len() <= 32 => entries,
        Some(_) => {
            problems.add("witnesses", "write each witness as a block [[witnesses]], at most 32 of them");
            return Vec::new();
        }
    };
    let mut witnesses: Vec<WitnessSettings> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let prefix = format!("witnesses[{index}].");
        let toml::Value::Table(table) = entry else {
            problems.add(&prefix, "write each witness as a block [[witnesses]]");
            continue;
        };
        let mut reader = Reader::new(table, WITNESS_KEYS, &prefix, problems);
        let Some(witness) = read_witness(&mut reader, state) else { continue };
        if witnesses.iter().any(|other| other.name == witness.name) {
            reader.fault("name", format!("two witnesses are called `{}`", witness.name));
        }
        // One person must not count twice.
        if witnesses.iter().any(|other| other.key.name() == witness.key.name()) {
            reader.fault("key", format!("two keys are called `{}`", witness.key.name()));
        } else if witnesses.iter().any(|other| other.key.is_same_key(&witness.key)) {
            reader.fault("key", "it is the key of another witness under another name");
        }
        witnesses.push(witness);
    }
    witnesses
}

fn read_witness(reader: &mut Reader<'_>, state: &Path) -> Option<WitnessSettings> {
    let name = super::read::required(reader, "name", |text| super::read::parse_word(text, 32));
    let url = super::read::required(reader, "url", |text| ServerUrl::parse(&text));
    let key = super::read::required(reader, "key", |text| {
        CosignerKey::parse(&text).map_err(|error| error.to_string())
    });
    let root_file = super::read::path(reader, "root_file", state);
    Some(WitnessSettings { name: name?, url: url?, key: key?, root_file })
}
