//! `sallyport device`: machines that prove themselves by keys instead of a token.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::device_file;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::{Connection, Profile, read_token};
use super::publish::{dial_failure, publisher};
use super::requests::print_json;
use super::revocable::{because, list, revoke};
use super::table::moment;
use crate::access::DeviceId;
use crate::tunnel::client::DialError;
use crate::tunnel::{DeviceKey, Enrolled, HandshakeError, Secret};

/// Enroll, list and revoke devices
#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// Make keys for this machine and have the gateway enroll them
    Enroll {
        /// File with the join token that an admin made with `sallyport tokens join`
        #[arg(long, value_name = "FILE")]
        join_token_file: PathBuf,
        /// File to write the keys to (mode 0600); it must not exist yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show devices that were enrolled
    List,
    /// Revoke a device; what stands on it is cut
    Revoke {
        /// Id, dev-…
        id: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    id: String,
    subject: String,
    state: String,
    expires: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

const PATH: &str = "/api/v1/devices";

/// Runs `sallyport device …`.
pub(super) async fn run(connection: &Connection, command: &Device) -> Result<(), Failure> {
    match command {
        Device::Enroll { join_token_file, out } => {
            enroll(connection, &connection.profile()?, join_token_file, out).await
        }
        Device::List => {
            let row = |device: &Listed| {
                vec![device.id.clone(), device.state.clone(), device.subject.clone(), moment(&device.expires)]
            };
            list(connection, PATH, &["ID", "STATE", "WHOSE", "UNTIL"], row).await
        }
        Device::Revoke { id, reason } => revoke(connection, PATH, id, &because(reason)).await,
    }
}

async fn enroll(
    connection: &Connection,
    profile: &Profile,
    join_token_file: &std::path::Path,
    out: &std::path::Path,
) -> Result<(), Failure> {
    let token = read_token(join_token_file)?;
    let (key, id) = fresh(out)?;
    let publisher =
        publisher(profile, Secret::Join { token: SecretString::clone(&token), key }, Vec::new(), |_| {})?;
    let Enrolled { subject, expires } = publisher.enroll().await.map_err(|error| {
        let mut failure = dial_failure(&error);
        let unheard = matches!(
            &error,
            DialError::Handshake(
                HandshakeError::Timeout { .. } | HandshakeError::Socket(_) | HandshakeError::RefusedInClear(_)
            )
        );
        if !unheard {
            // The gateway said no under seal, or was never asked: nobody knows these keys.
            let _ = std::fs::remove_file(out);
            return failure;
        }
        failure.hint = format!(
            "whether the device was enrolled is not known: if {id} is in `sallyport device list`, {} is good; else \
             remove it and try again",
            out.display()
        );
        failure
    })?;
    let until = i64::try_from(expires).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let until = until.map(|at| at.to_string()).unwrap_or_default();
    if connection.json {
        return print_json(&json!({ "id": id, "subject": subject, "expires": until, "file": out }));
    }
    say(format_args!(
        "{id} is enrolled for {subject} until {}; its keys are in {}",
        moment(&until),
        out.display()
    ));
    Ok(())
}

/// On the disk before they are enrolled: a device whose keys are lost would be of no use, and its join token spent.
fn fresh(out: &std::path::Path) -> Result<(Arc<DeviceKey>, DeviceId), Failure> {
    let key =
        DeviceKey::generate().map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))?;
    device_file::create(out, &key)?;
    let id = DeviceId::from_bytes(key.public().id());
    Ok((Arc::new(key), id))
}
