//! `sallyportd`: the gateway's own program.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use super::authority::{self, Authority};
use super::completions::Completions;
use super::failure::{ExitCode, Failure};
use super::init::{self, Init};
use super::keys::{self, KeysCommand};
use super::logging;
use super::out::say;
use super::policy;
use super::retention;
use super::version::Version;
use crate::gateway;
use crate::gateway::config::{Config, environment};

/// The gateway: every session decided, approved, recorded and provable
#[derive(Debug, Parser)]
#[command(name = "sallyportd", version, propagate_version = true)]
pub struct Daemon {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(Init),
    /// Run the gateway until SIGTERM or Ctrl-C
    Run(Settings),
    /// Check the configuration and say every fault
    CheckConfig(Settings),
    /// See the keys and where each of them lives, probe the token, plan backups, replace keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show the version of this program
    Version {
        #[command(flatten)]
        version: Version,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    Completions(Completions),
    /// Issue certificates of the private root for people
    #[command(subcommand)]
    Ca(Authority),
    /// Check, test, question and compare policies before they are in force
    Policy {
        #[command(flatten)]
        settings: Settings,
        #[command(subcommand)]
        command: policy::Command,
    },
    /// Serve the keys of a gateway that started this; not for people
    HsmWorker,
    /// See what may leave the ledger, hold records back, prune
    Retention {
        #[command(flatten)]
        settings: Settings,
        #[command(subcommand)]
        command: retention::Command,
    },
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Configuration file; relative paths in it start from its folder
    #[arg(long, default_value = "var/sallyport.toml", env = "SALLYPORT_CONFIG", global = true)]
    config: PathBuf,
    /// Sets one key, over file and environment: --set gateway.listen=127.0.0.1:9443
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

/// Parses the arguments and runs the command.
pub fn main() -> std::process::ExitCode {
    let daemon = Daemon::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(ExitCode::Failed, format!("cannot start: {error}"), "").report(false);
        }
    };
    match runtime.block_on(daemon.run()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => failure.report(false),
    }
}

impl Daemon {
    async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Init(init) => {
                logging::start("warn", false);
                init::run(&init).await
            }
            Command::CheckConfig(settings) => {
                let config = settings.load()?;
                say(format_args!("{} is good; digest {}", settings.config.display(), config.digest));
                Ok(())
            }
            Command::Run(settings) => {
                let config = settings.load()?;
                let log = Arc::new(logging::start(&config.log.level, config.log.json));
                let domain = config.gateway.domain.clone();
                gateway::run(config, log, |address| {
                    say(format_args!("serving https://{domain}:{} on {address}", address.port()));
                })
                .await
                .map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))
            }
            Command::HsmWorker => {
                logging::start("warn,cryptoki=off", false);
                serve_keys()
            }
            Command::Retention { settings, command } => {
                logging::start("warn", false);
                retention::run(&settings.load()?, command).await
            }
            Command::Completions(completions) => {
                completions.show::<Self>();
                Ok(())
            }
            Command::Version { version, json } => version.show("sallyportd", json),
            Command::Ca(command) => {
                logging::start("warn", false);
                authority::run(command).await
            }
            Command::Policy { settings, command } => {
                logging::start("warn", false);
                policy::run(&settings, command).await
            }
            Command::Keys(command) => {
                // What a token cannot do is an answer here, and needs no words of the binding beside it.
                logging::start("warn,cryptoki=off", false);
                keys::run(command).await
            }
        }
    }
}

/// Serves until the gateway closes standard input. Signals at its whole group are for the gateway, which needs its keys to
/// stop in order.
fn serve_keys() -> Result<(), Failure> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    if let (Err(error), _) | (_, Err(error)) = signals {
        return Err(Failure::new(ExitCode::Failed, format!("cannot start: {error}"), ""));
    }
    tokio::task::block_in_place(sallyport_hsm::worker::serve)
        .map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))
}

impl Settings {
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.config, environment(), &self.set)
            .map_err(|error| Failure::caused(ExitCode::Usage, &error, error.hint()))
    }
}
