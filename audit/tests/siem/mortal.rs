//! A cursor that dies with its sink, as the file does when a process is killed.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use sallyport_audit::sink::{CursorError, CursorStore, FileCursor, Position, SinkName};

use crate::source::ORIGIN;

/// A cursor file that nobody can write to after the death of its sink.
pub(crate) struct Mortal {
    file: FileCursor,
    dead: AtomicBool,
}

impl Mortal {
    pub(crate) fn new(directory: &Path) -> Self {
        let file = FileCursor::new(directory, SinkName::parse("siem").unwrap(), ORIGIN);
        Self { file, dead: AtomicBool::new(false) }
    }

    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

impl CursorStore for Mortal {
    fn load(&self) -> Result<Option<Position>, CursorError> {
        self.file.load()
    }

    fn save(&self, position: Position) -> Result<(), CursorError> {
        if self.dead.load(Ordering::SeqCst) { Ok(()) } else { self.file.save(position) }
    }
}
