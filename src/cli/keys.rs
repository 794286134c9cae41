//! `sallyportd keys …`: what the keys are, what the token can do, what must be backed up, and new keys for old.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use sallyport_hsm::{Ability, Attestation, Home, Keys};

use super::daemon::Settings;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::requests::print_json;
use super::table::table;
use crate::gateway::backup::{self, Item};
use crate::gateway::config::Config;
use crate::gateway::rotation::{self, By, Order, Rotated};
use crate::gateway::schedule::Listed;
use crate::gateway::{self, GatewayError, open_keys};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List the keys: role, algorithm, home, what the token attests, age, when due
    List(Shown),
    /// Try what the token can do, with keys that live as long as the attempt
    Probe(Shown),
    /// Say for each key what must be backed up, how, and what is lost without it
    BackupPlan(Shown),
    /// Replace keys of a gateway that is stopped; the old ones are destroyed. While it serves: `sallyport keys rotate`
    Rotate {
        /// Which
        what: What,
        /// token-signing: end all tokens that the old key signed, at once
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Args)]
pub(super) struct Shown {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// What can be replaced.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum What {
    /// The ledger's keys (Ed25519 and ML-DSA-44): handed over under a head of both
    Ledger,
    /// The TLS key, with a new certificate from the private root
    Tls,
    /// The identity (Ed25519 and ML-DSA-65), certified by the root again
    Identity,
    /// The key that signs people's tokens; what the old one signed stands until it ends
    TokenSigning,
    /// The key that seals post-quantum seeds and data keys
    Kek,
    /// The private root, first step: the next one is made and handed out beside the one that issues
    RootAnnounce,
    /// Second step, when whoever has the root has both: the next one issues
    RootSwitch,
    /// Third step: the one before is taken out of the bundle, and what it issued counts no more
    RootRetire,
}

impl What {
    pub(super) fn rotated(self) -> Rotated {
        match self {
            Self::Ledger => Rotated::Ledger,
            Self::Tls => Rotated::Tls,
            Self::Identity => Rotated::Identity,
            Self::TokenSigning => Rotated::TokenSigning,
            Self::Kek => Rotated::Kek,
            Self::RootAnnounce => Rotated::RootAnnounce,
            Self::RootSwitch => Rotated::RootSwitch,
            Self::RootRetire => Rotated::RootRetire,
        }
    }
}

pub(super) async fn run(command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::List(shown) => list(&shown),
        KeysCommand::Probe(shown) => probe(&shown),
        KeysCommand::BackupPlan(shown) => backup_plan(&shown),
        KeysCommand::Rotate { what, now, settings } => {
            let order = Order { what: what.rotated(), tokens_end: now, by: By::Operator };
            let steps = rotation::rotate(&settings.load()?, order).await;
            let steps = steps.map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))?;
            for step in steps {
                say(format_args!("{step}"));
            }
            Ok(())
        }
    }
}

/// Opens the provider and asks it something.
fn ask<T>(shown: &Shown, ask: impl FnOnce(&Config, &Keys) -> Result<T, GatewayError>) -> Result<T, Failure> {
    let config = shown.settings.load()?;
    tokio::task::block_in_place(|| ask(&config, &open_keys(&config)?))
        .map_err(|error: GatewayError| Failure::caused(ExitCode::Failed, &error, error.hint()))
}

fn list(shown: &Shown) -> Result<(), Failure> {
    let (keys, fingerprint, vitals) = ask(shown, |config, keys| {
        let keys_listed: Vec<_> =
            keys.inventory()?.into_iter().map(|key| Listed::new(key, &config.keys.max_age)).collect();
        Ok((keys_listed, gateway::fingerprint(config, keys)?, keys.vitals()))
    })?;
    if shown.json {
        return print_json(&keys);
    }
    let time = |time: Option<Timestamp>, unknown: &str| {
        time.map_or_else(|| unknown.to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
    };
    let rows = keys.iter().map(|Listed { key, last_used, due }| {
        vec![
            key.role.to_string(),
            key.algorithm.to_string(),
            key.home.to_string(),
            attested(key.attestation, &key.home),
            time(key.created, "not known"),
            time(*last_used, "not known"),
            time(*due, "-"),
        ]
    });
    say(table(&["ROLE", "ALGORITHM", "LIVES IN", "ATTESTED BY THE TOKEN", "MADE", "LAST USED", "DUE"], rows));
    let now = crate::clock::now();
    for warning in keys.iter().filter_map(|key| key.warning(now)) {
        say(format_args!("WARNING: {warning}"));
    }
    match &vitals.worker {
        None => say(format_args!("\nMemory for secrets: {}", vitals.memory)),
        Some(worker) => {
            say(format_args!("\nMemory for secrets: {} (key worker: {})", vitals.memory, worker.memory));
        }
    }
    say(format_args!("The gateway's identity, as publishers see it: {fingerprint}"));
    Ok(())
}

/// Each attribute as the token says it; what it does not say is not filled in.
fn attested(attestation: Option<Attestation>, home: &Home) -> String {
    let Some(said) = attestation else {
        return match home {
            Home::WrappedByToken { .. } => "a seed; opened in memory".to_owned(),
            _ => "NOTHING: software".to_owned(),
        };
    };
    let word = |name: &str, value: Option<bool>| match value {
        Some(true) => name.to_owned(),
        Some(false) => format!("not {name}"),
        None => format!("{name}?"),
    };
    let words = [
        word("SENSITIVE", said.sensitive),
        word("EXTRACTABLE", said.extractable),
        word("NEVER_EXTRACTABLE", said.never_extractable),
        word("LOCAL", said.local),
    ];
    words.join(", ")
}

fn probe(shown: &Shown) -> Result<(), Failure> {
    let (provider, abilities) = ask(shown, |_, keys| Ok((keys.describe().to_string(), keys.abilities()?)))?;
    if shown.json {
        return print_json(&abilities);
    }
    say(format_args!("{provider}\n"));
    if abilities.is_empty() {
        say(format_args!("There is no token to try: everything is done by this program, in memory."));
        return Ok(());
    }
    let rows = abilities.iter().map(|Ability { name, used_for, needed, listed, works, said }| {
        vec![
            name.to_string(),
            listed.map_or("", |listed| if listed { "listed" } else { "not listed" }).to_owned(),
            match said {
                None if *works => "works".to_owned(),
                said => format!("no: {}", said.as_deref().unwrap_or_default()),
            },
            if *needed { "needed".to_owned() } else { "optional".to_owned() },
            used_for.to_string(),
        ]
    });
    say(table(&["ABILITY", "MECHANISM", "TRIED", "", "FOR"], rows));
    Ok(())
}

fn backup_plan(shown: &Shown) -> Result<(), Failure> {
    let plan = ask(shown, |config, keys| Ok(backup::plan(config, &keys.inventory()?)))?;
    if shown.json {
        return print_json(&plan);
    }
    for Item { what, back_up, lost_without } in &plan {
        say(format_args!("{what}\n  back up: {back_up}\n  without it: {lost_without}\n"));
    }
    Ok(())
}
