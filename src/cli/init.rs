//! `sallyportd init`: a state directory from nothing, or what is missing in one.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::{ExitCode, Failure};
use super::out::say;
use crate::gateway::setup::{self, Wishes};

pub(super) use crate::secret_file::write as write_secret;

/// Where keys are to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyHome {
    /// In a PKCS#11 token
    Pkcs11,
    /// In a sealed file: for machines without a token
    Software,
}

/// Make a state directory: token, keys, certificates, policy, configuration, first tokens
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The state directory
    #[arg(long, default_value = "var")]
    pub state: PathBuf,
    /// Where keys are to live
    #[arg(long, value_enum, default_value = "pkcs11", env = "SALLYPORT_KEYS")]
    pub keys: KeyHome,
    /// PKCS#11 module; by default Debian's SoftHSM
    #[arg(long, env = "SALLYPORT_PKCS11_MODULE")]
    pub module: Option<PathBuf>,
    /// Public domain; tunnels are its first labels
    #[arg(long, default_value = "localhost")]
    pub domain: String,
    /// Listening address
    #[arg(long, default_value = "127.0.0.1:8443")]
    pub listen: String,
    /// Ports of TCP tunnels
    #[arg(long, default_value = "20000-20099")]
    pub tcp_ports: String,
    /// People who get a first token
    #[arg(long, default_values = ["user:admin", "user:publisher", "user:visitor"])]
    pub person: Vec<String>,
}

/// Runs it.
pub(super) async fn run(init: &Init) -> Result<(), Failure> {
    let module = match init.keys {
        KeyHome::Software => None,
        KeyHome::Pkcs11 => Some(init.module.clone().or_else(sallyport_hsm::find_softhsm).ok_or_else(|| {
            Failure::new(
                ExitCode::Failed,
                "no PKCS#11 module was found",
                "install SoftHSM (Debian: apt-get install softhsm2), name your token's module with --module, or take \
                 `--keys software`, which protects the keys by a passphrase only",
            )
        })?),
    };
    if module.is_none() {
        eprintln!(
            "WARNING: the keys will live in a sealed file, not in a token. Whoever can read this machine's memory can \
             copy them, and every listing and report will say so."
        );
    }
    let wishes = Wishes {
        state: init.state.clone(),
        module,
        domain: init.domain.clone(),
        listen: init.listen.clone(),
        tcp_ports: init.tcp_ports.clone(),
        people: init.person.clone(),
    };
    let done = setup::set_up(&wishes)
        .await
        .map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))?;
    for step in done.steps {
        say(format_args!("{step}"));
    }
    Ok(())
}
