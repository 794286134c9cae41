//! `sallyport login`: remembers gateway, token file and root, after trying them.

use std::path::Path;

use serde_json::Value;

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::{Connection, Remembered};

/// Runs `sallyport login`.
pub(super) async fn run(connection: &Connection) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let me: Value = Api::new(&profile).get("/api/v1/whoami").await?;
    let remembered = Remembered {
        gateway: Some(format!("https://{}", profile.authority())),
        token_file: connection.token_file.as_deref().map(absolute).transpose()?,
        cert_file: profile.certificate.as_ref().map(|own| absolute(&own.chain)).transpose()?,
        cert_key_file: profile.certificate.as_ref().map(|own| absolute(&own.key)).transpose()?,
        ca_file: profile.ca_file.as_deref().map(absolute).transpose()?,
    };
    let file = remembered.write(&profile.home)?;
    let subject = me.get("subject").and_then(Value::as_str).unwrap_or("unknown");
    say(format_args!("logged in to {} as {subject}; remembered in {}", profile.authority(), file.display()));
    Ok(())
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot resolve {}: {error}", path.display()),
            "give a full path",
        )
    })
}
