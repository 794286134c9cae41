//! Where a sink goes on after a restart: a durable position.
//!
//! Why: the ledger is the buffer, so the position is all that a sink needs to keep. Promised: a saved position is
//! on disk, whole, before `save` returns; a reader sees the old or the new one, never half of one. A damaged file, one
//! of another sink or of another ledger is refused and left as it is: guessing would lose records or hide that.
//!
//! Trusted: whoever can write the file can make the sink skip or repeat records. The receiver sees it: the numbers
//! in the messages then have a gap or a repetition.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::epoch::split;

use super::{options::SinkName, window::Position};

/// Keeps one sink's position. Calls may block.
pub trait CursorStore: Send + Sync + 'static {
    /// The saved position; `None` when this sink never saved one.
    fn load(&self) -> Result<Option<Position>, CursorError>;
    /// Keeps `position`; on disk when this returns.
    fn save(&self, position: Position) -> Result<(), CursorError>;
}

/// Why a position could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file system refused.
    #[error("sink cursor {} could not be {doing}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a cursor.
    #[error("sink cursor {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file belongs to another sink or another ledger.
    #[error("sink cursor {} belongs to sink {found_sink:?} of ledger {found_origin:?}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it says it is.
        found_sink: String,
        /// Which ledger it counts.
        found_origin: String,
    },
}

impl CursorError {
    /// What the operator can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check that the directory exists, has room and may be written by the gateway",
            Self::Damaged { .. } | Self::Foreign { .. } => {
                "restore the file, or remove it: without it the sink sends every record from the first again"
            }
        }
    }
}

/// A position in a small JSON file, replaced atomically.
#[derive(Debug)]
pub struct FileCursor {
    path: PathBuf,
    sink: SinkName,
    origin: String,
    epochs: Vec<(u64, u64)>,
    // Two saves at once would write into the same new file.
    one_at_a_time: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u8,
    sink: String,
    origin: String,
    next: u64,
    sequence: u64,
}

const VERSION: u8 = 1;

impl FileCursor {
    /// The cursor of `sink` over the ledger `origin`, kept in `directory/NAME.cursor`.
    pub fn new(directory: &Path, sink: SinkName, origin: &str) -> Self {
        let path = directory.join(format!("{}.cursor", sink.as_str()));
        Self { path, sink, origin: origin.to_owned(), epochs: Vec::new(), one_at_a_time: Mutex::new(()) }
    }

    /// The ledger's epochs with their first records: what was delivered of records that were lost since is no
    /// reason to pass over those that have their numbers now.
    #[must_use]
    pub fn over(mut self, epochs: Vec<(u64, u64)>) -> Self {
        self.epochs = epochs;
        self
    }

    /// Where to go on after a position of this origin; `None` if it is of another ledger.
    fn follow(&self, origin: &str, next: u64) -> Option<u64> {
        if origin == self.origin {
            return Some(next);
        }
        let ((base, then), (known, now)) = (split(origin), split(&self.origin));
        let later = self.epochs.iter().filter(|(number, _)| *number > then).map(|(_, start)| *start);
        (base == known && then < now).then(|| later.min().unwrap_or_default().min(next))
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> CursorError {
        let path = self.path.clone();
        move |source| CursorError::Io { doing, path, source }
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> CursorError {
        CursorError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let _guard = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.path.with_extension("cursor.new");
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // The new name is durable only when its directory is.
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

impl CursorStore for FileCursor {
    fn load(&self) -> Result<Option<Position>, CursorError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("read")(error)),
        };
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| self.damaged(&error))?;
        if saved.version != VERSION {
            return Err(self.damaged(&format!("version {} is not known, {VERSION} is", saved.version)));
        }
        if saved.sequence == 0 {
            return Err(self.damaged(&"sequence counts from 1"));
        }
        let next = self.follow(&saved.origin, saved.next).filter(|_| saved.sink == self.sink.as_str());
        let Some(next) = next else {
            return Err(CursorError::Foreign {
                path: self.path.clone(),
                found_sink: saved.sink,
                found_origin: saved.origin,
            });
        };
        Ok(Some(Position { next, sequence: saved.sequence }))
    }

    fn save(&self, position: Position) -> Result<(), CursorError> {
        let saved = Saved {
            version: VERSION,
            sink: self.sink.as_str().to_owned(),
            origin: self.origin.clone(),
            next: position.next,
            sequence: position.sequence,
        };
        let mut bytes = serde_json::to_vec(&saved).map_err(|error| self.damaged(&error))?;
        bytes.push(b'\n');
        self.replace(&bytes).map_err(self.io("written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(directory: &Path, sink: &str, origin: &str) -> FileCursor {
        FileCursor::new(directory, SinkName::parse(sink).unwrap(), origin)
    }

    #[test]
    fn a_saved_position_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let saved = Position { next: 41, sequence: 42 };
        assert_eq!(cursor(directory.path(), "siem", "a/ledger").load().unwrap(), None);
        cursor(directory.path(), "siem", "a/ledger").save(saved).unwrap();
        assert_eq!(cursor(directory.path(), "siem", "a/ledger").load().unwrap(), Some(saved));
    }

    #[test]
    fn a_cursor_of_another_ledger_is_refused_rather_than_followed() {
        let directory = tempfile::tempdir().unwrap();
        cursor(directory.path(), "siem", "a/ledger").save(Position { next: 1, sequence: 2 }).unwrap();
        let refused = cursor(directory.path(), "siem", "b/ledger").load();
        assert!(matches!(refused, Err(CursorError::Foreign { .. })), "{refused:?}");
    }

    #[test]
    fn after_records_were_lost_a_cursor_goes_back_to_where_the_next_epoch_begins_and_keeps_its_sequence() {
        let directory = tempfile::tempdir().unwrap();
        let save = |origin: &str, next| {
            cursor(directory.path(), "siem", origin).save(Position { next, sequence: 99 }).unwrap();
        };
        let load = |origin: &str, epochs: &[(u64, u64)]| {
            cursor(directory.path(), "siem", origin).over(epochs.to_vec()).load()
        };
        let third = [(1, 0), (2, 40), (3, 60)];
        for (origin, sent, next) in
            [("a#3", 70, 70), ("a#2", 70, 60), ("a#2", 50, 50), ("a", 70, 40), ("a", 12, 12)]
        {
            save(origin, sent);
            assert_eq!(load("a#3", &third).unwrap(), Some(Position { next, sequence: 99 }), "{origin}");
        }
        save("a#3", 70);
        let refused = load("a#2", &third[..2]);
        assert!(
            matches!(refused, Err(CursorError::Foreign { .. })),
            "an older copy was put back: {refused:?}"
        );
    }

    #[test]
    fn a_damaged_cursor_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let damaged: [&[u8]; 5] = [
            b"",
            b"{\"version\":1,\"sink\":\"siem\",\"origin\":\"a/ledger\",\"next\":1",
            b"{\"version\":2,\"sink\":\"siem\",\"origin\":\"a/ledger\",\"next\":1,\"sequence\":2}",
            b"{\"version\":1,\"sink\":\"siem\",\"origin\":\"a/ledger\",\"next\":-1,\"sequence\":2}",
            b"{\"version\":1,\"sink\":\"siem\",\"origin\":\"a/ledger\",\"next\":1,\"sequence\":0}",
        ];
        for bytes in damaged {
            let path = directory.path().join("siem.cursor");
            fs::write(&path, bytes).unwrap();
            let refused = cursor(directory.path(), "siem", "a/ledger").load();
            assert!(matches!(refused, Err(CursorError::Damaged { .. })), "{refused:?}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_crash_between_write_and_rename_leaves_the_old_position() {
        let directory = tempfile::tempdir().unwrap();
        let saved = Position { next: 5, sequence: 6 };
        cursor(directory.path(), "siem", "a/ledger").save(saved).unwrap();
        fs::write(directory.path().join("siem.cursor.new"), b"{\"half").unwrap();
        assert_eq!(cursor(directory.path(), "siem", "a/ledger").load().unwrap(), Some(saved));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_with_a_hint() {
        let directory = tempfile::tempdir().unwrap();
        let error = cursor(&directory.path().join("absent"), "siem", "a/ledger")
            .save(Position { next: 1, sequence: 2 })
            .unwrap_err();
        assert!(matches!(error, CursorError::Io { .. }));
        assert!(error.hint().contains("directory"));
    }
}
