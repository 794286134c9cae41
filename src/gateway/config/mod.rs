//! The gateway's configuration: read once, turned into types that cannot be wrong, never asked again whether it makes sense.
//!
//! Promised: unknown settings are refused; every fault is reported at once, each with its key; secrets come from files
//! alone. Trusted: whoever may write the configuration file may do anything the gateway may do.

mod archive;
mod identity;
mod keys;
mod layers;
mod notify;
mod read;
mod reader;
mod reports;
mod settings;
mod shown;
mod tls;
mod url;
mod witnesses;

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Table;

pub use archive::{ArchivePlace, Lock, LockMode, S3Place};
pub use identity::{ControllerSettings, Identity, IssuerSettings, KeySource, SignInSettings};
pub use keys::{
    CERTIFICATE_KEYS, CHAT_KEYS, ISSUER_KEYS, KEYS, Key, MAIL_KEYS, SINK_KEYS, WEBHOOK_KEYS, WITNESS_KEYS,
    commented_file,
};
pub use layers::environment;
pub use notify::{ChatSettings, MailProtection, MailSettings, Notify, NotifyWay, Told, WebhookSettings};
pub use reader::{Problem, Problems};
pub use reports::Reports;
pub use settings::{
    Access, Config, Gateway, Keys, Ledger, Limits, Log, MaxAge, OnDown, Provider, Retention, Succession,
    Tunnels,
};
pub use tls::{Clients, NamedCertificate, Tls};
pub use url::ServerUrl;
pub use witnesses::{WitnessPolicy, WitnessSettings, Witnesses};

use read::{Blocks, read, read_sinks};
use reader::Reader;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// Some settings are wrong; all of them are listed.
    #[error("{}", List(.0))]
    Faults(Vec<Problem>),
}

struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {} {plural}:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl ConfigError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "run `sallyportd init` to make one, or name it with --config",
            Self::Syntax { .. } => "mend the line that is named; docs/configuration.md shows each setting",
            Self::Faults(_) => "mend the settings that are named; docs/configuration.md lists all of them",
        }
    }
}

impl Config {
    /// Reads `file`, lays environment and `--set` flags over it, and checks everything. Relative paths are taken from the
    /// folder of `file`, which is the state directory.
    pub fn load(
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { path: file.to_owned(), source })?;
        let state_directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let table: Table = toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { path: file.to_owned(), message: error.to_string() })?;
        Self::from_layers(table, environment, flags, &state_directory)
    }

    fn from_layers(
        mut table: Table,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
        state_directory: &Path,
    ) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        layers::overlay_environment(&mut table, environment, &mut problems);
        layers::overlay_flags(&mut table, flags, &mut problems);
        let shown = shown::of(&table);
        let sinks = read_sinks(table.remove("sinks"), state_directory, &mut problems);
        let witnesses = witnesses::read_witnesses(table.remove("witnesses"), state_directory, &mut problems);
        let certificates = tls::read_certificates(&mut table, state_directory, &mut problems);
        let issuers = table.get_mut("identity").and_then(toml::Value::as_table_mut);
        let issuers = issuers.and_then(|identity| identity.remove("issuer"));
        let issuers = identity::read_issuers(issuers, state_directory, &mut problems);
        let domain =
            table.get("gateway").and_then(|gateway| gateway.get("domain")?.as_str().map(str::to_owned));
        let domain = domain.unwrap_or_else(|| "localhost".to_owned());
        let ways = notify::read_ways(&mut table, state_directory, &domain, &mut problems);
        let blocks = Blocks { sinks, witnesses, certificates, issuers, ways };
        let mut reader = Reader::new(table, &KEYS, "", &mut problems);
        let config = read(&mut reader, state_directory, blocks);
        let problems = problems.into_vec();
        match config {
            Some(config) if problems.is_empty() => Ok(Self { shown, ..config }),
            _ => Err(ConfigError::Faults(problems)),
        }
    }
}

#[cfg(test)]
mod tests;
