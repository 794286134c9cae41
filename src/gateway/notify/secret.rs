//! Secrets of ways, from files that nobody else may read.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::NotifyError;

/// Longest file, in bytes: a few secrets of a line each.
const MOST: u64 = 4_096;
const CAPACITY: usize = 4_097;

/// The text in a file of mode 0600, without the space around it.
pub(super) fn read(way: &str, path: &Path) -> Result<Zeroizing<String>, NotifyError> {
    let fault = |why: String| NotifyError::Secret { way: way.to_owned(), path: path.to_owned(), why };
    let unreadable = |error: std::io::Error| fault(format!("can't be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(fault(format!("can be read by others (mode {:04o})", mode & 0o7777)));
    }
    let mut text = Zeroizing::new(String::with_capacity(CAPACITY));
    file.take(MOST + 1).read_to_string(&mut text).map_err(unreadable)?;
    match text.trim() {
        _ if text.len() as u64 > MOST => Err(fault(format!("has more than {MOST} bytes"))),
        "" => Err(fault("is empty".to_owned())),
        trimmed => Ok(Zeroizing::new(trimmed.to_owned())),
    }
}
