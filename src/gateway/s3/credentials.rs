//! Where the credentials of the S3 service come from: a file, or the environment. Never an argument or a setting.

use std::path::Path;

use rusty_s3::Credentials;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::fault::S3Fault;

/// The longest file that is read, in bytes; session tokens have some thousand.
const MAX_BYTES: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    access_key_id: String,
    secret_access_key: SecretString,
    session_token: Option<SecretString>,
}

/// Reads them anew: those of a role last for an hour, and whoever renews them writes the file again.
pub(super) fn read(file: Option<&Path>) -> Result<Credentials, S3Fault> {
    let Some(path) = file else {
        return Credentials::from_env().ok_or_else(|| S3Fault::NoCredentials {
            why: "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set".to_owned(),
        });
    };
    let fault = |why: String| S3Fault::CredentialsFile { path: path.to_owned(), why };
    let text = read_bounded(path).map_err(|error| fault(error.to_string()))?;
    // The parser's own words would quote the line.
    let written: Written = toml::from_str(&text).map_err(|_| {
        fault(
            "it is not `access_key_id`, `secret_access_key` and perhaps `session_token`, in TOML".to_owned(),
        )
    })?;
    let secret = written.secret_access_key.expose_secret();
    if written.access_key_id.trim().is_empty() || secret.trim().is_empty() {
        return Err(fault("a value is empty".to_owned()));
    }
    Ok(match &written.session_token {
        Some(token) => Credentials::new_with_token(written.access_key_id, secret, token.expose_secret()),
        None => Credentials::new(written.access_key_id, secret),
    })
}

fn read_bounded(path: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    let file = std::fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "other users can read this secret; set its mode to 0600");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Credentials, S3Fault> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(Some(file.path()))
    }

    #[test]
    fn a_file_gives_key_secret_and_token() {
        let read =
            written("access_key_id = \"AK\"\nsecret_access_key = \"sk\"\nsession_token = \"t\"\n").unwrap();
        assert_eq!((read.key(), read.secret(), read.token()), ("AK", "sk", Some("t")));
        assert_eq!(written("access_key_id = \"AK\"\nsecret_access_key = \"sk\"").unwrap().token(), None);
    }

    #[test]
    fn an_error_never_quotes_what_stands_in_the_file() {
        for text in [
            "access_key_id = \"AK\"\nsecret_access_key = hunter2\n",
            "access_key_id = \"AK\"\nsecret = \"hunter2\"\n",
            "hunter2",
            "access_key_id = \"\"\nsecret_access_key = \"hunter2\"\n",
        ] {
            let error = written(text).unwrap_err();
            assert!(matches!(error, S3Fault::CredentialsFile { .. }));
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(matches!(read(Some(Path::new("/nowhere/at/all"))), Err(S3Fault::CredentialsFile { .. })));
    }
}
