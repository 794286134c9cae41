//! A framework: controls, and which records say something about each.
//!
//! The files are data written in our own words; none copies a criterion's text. They are read strictly: an unknown
//! key, an unknown kind of record, a control with nothing to say, an id given twice are errors, because each would
//! otherwise turn into a control that silently rests on less than its reader believes.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::query::Query;
use crate::sections::TableRule;

/// A standard or law, as far as a gateway's ledger can say something about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// Short name, as on the command line: `soc2`.
    pub id: String,
    /// Full name.
    pub title: String,
    /// Which edition.
    pub edition: String,
    /// What a reader must know before the tables.
    pub notice: String,
    /// The controls, in the order of the standard.
    #[serde(rename = "control")]
    pub controls: Vec<Control>,
    /// SHA-256 of the file, in hexadecimal: says which version of the mapping a report rests on.
    #[serde(skip)]
    pub digest: String,
    /// The file itself.
    #[serde(skip)]
    pub source: String,
}

/// One control, criterion or section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// As in the standard: `CC6.1`.
    pub id: String,
    /// What it is about, in our own words.
    pub about: String,
    /// What the records are claimed to show.
    pub claim: String,
    /// How the evidence was gained.
    pub method: Method,
    /// For HIPAA: `required` or `addressable`.
    #[serde(default)]
    pub standing: Option<String>,
    /// Records that are evidence.
    #[serde(default)]
    pub evidence: Vec<Shown>,
    /// Records that are exceptions, each to be explained by the organisation.
    #[serde(default)]
    pub exception: Vec<Rule>,
    /// Rules of tables whose findings are exceptions of this control, too: what no single record shows.
    #[serde(default)]
    pub tables: Vec<TableRule>,
    /// What the ledger cannot show.
    #[serde(default)]
    pub not_evaluated: Vec<Limit>,
}

/// A query with what its records show.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// In words.
    pub shows: String,
    /// Which records.
    pub query: Query,
}

/// A query whose every record is an exception.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What should not happen, in words.
    pub rule: String,
    /// Which records.
    pub query: Query,
}

/// Something that the report leaves to others, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What is not evaluated.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// The two assessment methods that records can serve. Interviews are never ours to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Reading what was recorded.
    Examine,
    /// Trying, and seeing what happens.
    Test,
}

impl Method {
    /// `examine` or `test`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Examine => "examine",
            Self::Test => "test",
        }
    }
}

/// Why a framework file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FrameworkError {
    /// Not TOML, or not what a framework looks like.
    #[error("the framework file cannot be read: {source}")]
    Unreadable {
        /// The reader's words, with line and column.
        source: Box<toml::de::Error>,
    },
    /// It can be read, and says something that cannot be meant.
    #[error("control {control}: {what}")]
    Senseless {
        /// Which control.
        control: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// A framework that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// SOC 2.
    Soc2,
    /// ISO/IEC 27001:2022, Annex A.
    Iso27001,
    /// The HIPAA Security Rule.
    Hipaa,
    /// PCI DSS.
    Pci,
    /// NIST SP 800-53.
    Nist,
}

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Soc2, Self::Iso27001, Self::Hipaa, Self::Pci, Self::Nist];

    /// As on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soc2 => "soc2",
            Self::Iso27001 => "iso27001",
            Self::Hipaa => "hipaa",
            Self::Pci => "pci",
            Self::Nist => "nist",
        }
    }

    /// The file as it lies in the repository.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Soc2 => include_str!("../frameworks/soc2.toml"),
            Self::Iso27001 => include_str!("../frameworks/iso27001.toml"),
            Self::Hipaa => include_str!("../frameworks/hipaa.toml"),
            Self::Pci => include_str!("../frameworks/pci.toml"),
            Self::Nist => include_str!("../frameworks/nist.toml"),
        }
    }

    /// Reads it. A test reads them all, so an error here means a damaged program.
    pub fn load(self) -> Result<Framework, FrameworkError> {
        Framework::parse(self.source())
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Builtin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|builtin| builtin.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|builtin| builtin.as_str()).collect();
            format!("{text:?} is not a framework; there are {}", known.join(", "))
        })
    }
}

impl Framework {
    /// Reads a framework file.
    pub fn parse(text: &str) -> Result<Self, FrameworkError> {
        let mut framework: Self =
            toml::from_str(text).map_err(|source| FrameworkError::Unreadable { source: Box::new(source) })?;
        let mut seen = BTreeSet::new();
        for control in &framework.controls {
            let senseless = |what| Err(FrameworkError::Senseless { control: control.id.clone(), what });
            if !seen.insert(control.id.as_str()) {
                return senseless("the id is given twice");
            }
            if control.evidence.is_empty() && control.not_evaluated.is_empty() {
                return senseless("it names no evidence and does not say why there is none");
            }
            let mut queries = control
                .evidence
                .iter()
                .map(|shown| &shown.query)
                .chain(control.exception.iter().map(|rule| &rule.query));
            if queries.any(|query| query.kinds.is_empty()) {
                return senseless("a query names no kind of record");
            }
        }
        framework.digest = hex::encode(Sha256::digest(text));
        text.clone_into(&mut framework.source);
        Ok(framework)
    }
}
