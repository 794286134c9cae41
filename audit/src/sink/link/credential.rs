//! What proves to a receiver who we are: read from its file at each use, so that replacing the file rotates it.

use std::{fmt, fs::File, io::Read as _, path::Path};

use zeroize::Zeroizing;

use super::LinkError;

/// No token is longer.
const MOST: u64 = 16 * 1024;

/// A secret of one line. Cannot be printed, and is zeroed.
pub(super) struct Credential(Zeroizing<String>);

impl Credential {
    /// The only way to the text; review searches for this name.
    pub(super) fn expose_to_receiver(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

pub(super) fn read(path: &Path) -> Result<Credential, LinkError> {
    let refused = |what: String| LinkError::Credential { path: path.to_owned(), what };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(|error| refused(format!("cannot be opened: {error}")))?;
    // Read into one buffer: a growing one would leave copies behind.
    text.reserve(usize::try_from(MOST).unwrap_or_default() + 1);
    file.take(MOST + 1)
        .read_to_string(&mut text)
        .map_err(|error| refused(format!("cannot be read: {error}")))?;
    let line = text.trim();
    if line.is_empty() {
        return Err(refused("is empty".to_owned()));
    }
    if text.len() as u64 > MOST || !line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(refused("does not hold one line of printable ASCII".to_owned()));
    }
    Ok(Credential(Zeroizing::new(line.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_line_and_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let credential = read(&path).unwrap();
        assert_eq!(credential.expose_to_receiver(), "s3cret");
        assert!(!format!("{credential:?}").contains("s3cret"));
        for bad in ["", "\n", "a\r\nHost: b", "\u{e4}"] {
            std::fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, LinkError::Credential { .. }), "{bad:?}");
        }
        assert!(read(&directory.path().join("absent")).is_err());
    }
}
