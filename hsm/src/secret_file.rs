//! PINs and passphrases come from files, so that they are in no command line and no environment.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::Fault;

/// Far more than any PIN or passphrase; a wrong path must not read a large file into memory.
const MAX_BYTES: u64 = 1024;

/// Reads the secret that is alone in a file. One line end after it is not part of it.
pub(crate) fn read(path: &Path) -> Result<SecretString, Fault> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Fault::new("it is not a file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "other users can read this secret; set its mode to 0600");
    }
    // Enough room from the start: a growing buffer would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(1025));
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Fault::new(format!("it holds more than {MAX_BYTES} bytes")));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(Fault::new("it is empty"));
    }
    Ok(SecretString::from(secret))
}
