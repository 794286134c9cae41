//! Writing for people: text from a ledger must not reach a terminal as commands to it.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sallyport_audit::journal::Files;

use crate::Failure;

/// `text` with control characters, and those that turn its direction around, spelled out.
pub(crate) fn plain(text: &str) -> String {
    let tame = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if tame(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// The ledger in `directory`, if there is one.
pub(crate) fn ledger(directory: &Path) -> Result<Files, Failure> {
    let files = Files::new(directory);
    std::fs::read_dir(directory).map_err(|error| Failure::unreadable(directory, &error))?;
    let segments = files.segments().map_err(|error| Failure::unreadable(&files.journal(), &error))?;
    if segments.is_empty() {
        return Err(Failure::not_evaluated(
            format!("there is no ledger in {}: it has no journal segments", directory.display()),
            "give the directory that holds the ledger's `journal` and `head`",
        ));
    }
    Ok(files)
}

/// The bytes of a file of at most `bound` bytes.
pub(crate) fn read_bounded(path: &Path, bound: u64) -> Result<Vec<u8>, Failure> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bound {
            return Err(io::Error::other(format!("it has more than {bound} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|error| Failure::unreadable_file(path, &error))
}

/// Writes a file whole, or leaves what was there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        // As open as the user's umask has it, like any file that a program writes.
        let permissions = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::unwritable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_says_cannot_command_the_terminal() {
        assert_eq!(plain("tunnel:\u{1b}[2Jdemo"), "tunnel:\\u{1b}[2Jdemo");
        assert_eq!(plain("a\nb\u{202e}"), "a\\nb\\u{202e}");
        assert_eq!(plain("tunnel:größe"), "tunnel:größe");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
