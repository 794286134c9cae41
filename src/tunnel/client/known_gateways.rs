//! The gateways that this client has met: one fingerprint per address, as in SSH's `known_hosts`.
//!
//! Without the organisation's root, the first meeting is a matter of trust; from then on the same keys must answer. A
//! change is refused, since it is what an impostor looks like, and only a person can tell.
//!
//! The file is text, one `HOST:PORT FINGERPRINT ORGANISATION/GATEWAY` per line, mode 0600, replaced as a whole under a
//! lock, so two publishers that start together cannot lose each other's line. Whoever can write it can make this client
//! trust another gateway; whoever can read it learns which gateways it uses.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::tunnel::handshake::{Fingerprint, IdentityCertificate};

/// Largest file that is read, in bytes; some ten thousand gateways.
const MAX_FILE: u64 = 1 << 20;

/// Why a gateway is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Its certificate is the organisation's.
    Root,
    /// Its keys are those of the first meeting.
    Pinned,
    /// This is the first meeting; its keys have been written down.
    FirstUse,
}

impl Trust {
    /// The word that `--json` shows.
    pub fn word(self) -> &'static str {
        match self {
            Self::Root => "organisation-root",
            Self::Pinned => "known",
            Self::FirstUse => "first-use",
        }
    }
}

/// Why the file gave no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum KnownGatewaysError {
    /// Other keys answer than those of the first meeting.
    #[error("the identity of the gateway {endpoint} has CHANGED: known {known}, shown {shown} ({path})")]
    Changed {
        /// `host:port`.
        endpoint: String,
        /// The fingerprint in the file.
        known: Fingerprint,
        /// The fingerprint of the keys that answered.
        shown: Fingerprint,
        /// The file.
        path: PathBuf,
    },
    /// Other keys answer than those that were demanded.
    #[error(
        "the gateway {endpoint} shows another identity than the one that is pinned: pinned {pinned}, shown {shown}"
    )]
    NotPinned {
        /// `host:port`.
        endpoint: String,
        /// The fingerprint that was demanded.
        pinned: Fingerprint,
        /// The fingerprint of the keys that answered.
        shown: Fingerprint,
    },
    /// A line does not have the format.
    #[error("line {line} of {path} is not `HOST:PORT FINGERPRINT NAME`")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The file cannot be read or replaced.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl KnownGatewaysError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Changed { endpoint, path, .. } => format!(
                "somebody may be imitating the gateway, or its operator gave it new keys. Ask the operator for the \
                 gateway's fingerprint (`sallyportd keys list`). Only if it is the one shown: remove the line of \
                 {endpoint} from {} and try again. No token was sent.",
                path.display()
            ),
            Self::NotPinned { .. } => {
                "somebody may be imitating the gateway, or its operator gave it new keys. Ask the operator \
                 for the fingerprint (`sallyportd keys list`), and pin that. No token was sent."
                    .to_owned()
            }
            Self::BadLine { path, .. } => {
                format!(
                    "correct or remove that line; {} is not overwritten while it cannot be read",
                    path.display()
                )
            }
            Self::Io { path, .. } => {
                format!("check that {} and its directory are yours to write", path.display())
            }
        }
    }
}

/// The file of known gateways.
#[derive(Debug, Clone)]
pub struct KnownGateways {
    path: PathBuf,
}

impl KnownGateways {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Compares the gateway at `endpoint` (`host:port`) with the file, and writes it down at the first meeting. Blocks
    /// on the disk and on the lock.
    pub fn check(
        &self,
        endpoint: &str,
        certificate: &IdentityCertificate,
    ) -> Result<Trust, KnownGatewaysError> {
        self.with_lock(|lines| {
            let shown = certificate.fingerprint();
            if let Some(known) =
                lines.iter().find(|line| line.endpoint == endpoint).map(|line| line.fingerprint)
            {
                if known != shown {
                    let (endpoint, path) = (endpoint.to_owned(), self.path.clone());
                    return Err(KnownGatewaysError::Changed { endpoint, known, shown, path });
                }
                return Ok((Trust::Pinned, false));
            }
            let body = certificate.body();
            lines.push(Line {
                endpoint: endpoint.to_owned(),
                fingerprint: shown,
                name: format!("{}/{}", body.organisation, body.gateway).replace(' ', "_"),
            });
            Ok((Trust::FirstUse, true))
        })
    }

    /// Writes `new` in the place of `old`, for the gateway at `endpoint`; whether it was `old` that was known.
    pub fn succeed(
        &self,
        endpoint: &str,
        old: Fingerprint,
        new: Fingerprint,
    ) -> Result<bool, KnownGatewaysError> {
        self.with_lock(|lines| {
            let known = lines.iter_mut().find(|line| line.endpoint == endpoint && line.fingerprint == old);
            let changed = known.map(|line| line.fingerprint = new).is_some();
            Ok((changed, changed))
        })
    }

    /// Forgets the gateway at `endpoint`; whether it was known.
    pub fn forget(&self, endpoint: &str) -> Result<bool, KnownGatewaysError> {
        self.with_lock(|lines| {
            let before = lines.len();
            lines.retain(|line| line.endpoint != endpoint);
            Ok((lines.len() < before, lines.len() < before))
        })
    }

    fn with_lock<T>(
        &self,
        work: impl FnOnce(&mut Vec<Line>) -> Result<(T, bool), KnownGatewaysError>,
    ) -> Result<T, KnownGatewaysError> {
        let directory =
            self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| self.io("create the directory of", source))?;
        let lock = private(&self.path.with_extension("lock")).map_err(|source| self.io("lock", source))?;
        lock.lock().map_err(|source| self.io("lock", source))?;
        let mut lines = self.read()?;
        let (answer, changed) = work(&mut lines)?;
        if changed {
            self.replace(directory, &lines).map_err(|source| self.io("replace", source))?;
        }
        Ok(answer)
    }

    fn read(&self) -> Result<Vec<Line>, KnownGatewaysError> {
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => {
                file.take(MAX_FILE).read_to_string(&mut text).map_err(|source| self.io("read", source))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.io("read", source)),
        };
        text.lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|(index, line)| {
                Line::parse(line)
                    .ok_or_else(|| KnownGatewaysError::BadLine { path: self.path.clone(), line: index + 1 })
            })
            .collect()
    }

    fn replace(&self, directory: &Path, lines: &[Line]) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = private(&fresh)?;
        file.set_len(0)?;
        writeln!(file, "# Gateways that this client has met; see `sallyport publish --help`.")?;
        for Line { endpoint, fingerprint, name } in lines {
            writeln!(file, "{endpoint} {fingerprint} {name}")?;
        }
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        File::open(directory)?.sync_all()
    }

    fn io(&self, doing: &'static str, source: io::Error) -> KnownGatewaysError {
        KnownGatewaysError::Io { doing, path: self.path.clone(), source }
    }
}

/// Opens for writing, readable by the owner alone.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path)
}

struct Line {
    endpoint: String,
    fingerprint: Fingerprint,
    name: String,
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (endpoint, fingerprint, name) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        Some(Self {
            endpoint: endpoint.to_owned(),
            fingerprint: Fingerprint::parse(fingerprint)?,
            name: name.to_owned(),
        })
    }
}
