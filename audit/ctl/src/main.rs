//! `auditctl`: the auditor's program.
//!
//! An auditor trusts nobody, so this program needs nobody: no gateway, no account, no network, no secret.
//! It reads a ledger's files, also while a gateway is writing them, and never changes them; it may put an index
//! beside them, which nothing relies on, and `recover` moves what is damaged aside when it is told to. Only
//! `witness` has a secret, its own, and keeps something.
//!
//! Exit codes: 0 verified · 1 integrity broken · 2 usage · 3 could not be evaluated.

mod approval;
mod disclose;
mod dossier;
mod export;
mod failure;
mod filter;
mod index;
mod kills;
mod log;
mod output;
mod progress;
mod prove;
mod reconcile;
mod recover;
mod report;
mod sample;
mod show;
mod signing;
mod source;
mod stats;
mod tiles;
mod verify;
mod verify_pack;
mod witness;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use failure::Failure;

/// Checks and reads a Sallyport ledger, offline, with public keys and nothing else.
#[derive(Parser)]
#[command(name = "auditctl", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  verified, or shown
  1  broken: something in the ledger is not as it was signed
  2  usage: the command line is wrong
  3  could not be evaluated: something needed is missing or unreadable";

#[derive(Subcommand)]
enum Command {
    /// Check a ledger and say what that proves, and what it does not.
    Verify(verify::Arguments),
    /// Map the records of a period to the controls of SOC 2, ISO 27001, HIPAA, PCI DSS or NIST SP 800-53.
    Report(report::Arguments),
    /// Check an evidence pack that `report --out` wrote, and make its report again. Needs no ledger.
    VerifyPack(verify_pack::Arguments),
    /// Draw a sample from a population that was committed to before the seed was known.
    Sample(sample::Arguments),
    /// Write one file that joins all that belongs to a grant, request or session, each record with its proof.
    Dossier(dossier::Arguments),
    /// Check a file that `dossier` wrote. Needs no ledger.
    CheckDossier(dossier::CheckArguments),
    /// List records, or search for some, without checking them.
    #[command(visible_aliases = ["search", "tail"])]
    Log(log::Arguments),
    /// Count records by kind, result and day, without checking them.
    Stats(stats::Arguments),
    /// Make or check the index that makes searching quick.
    #[command(subcommand)]
    Index(index::Command),
    /// Show one record, without checking it.
    Show(show::Arguments),
    /// Write one file that shows one record to anybody who has the ledger's public key.
    Prove(prove::Arguments),
    /// Check a file that `prove` wrote. Needs no ledger.
    CheckProof(prove::CheckArguments),
    /// Check that an approval was signed by the approver's own passkey, over exactly that request.
    CheckApproval(approval::Arguments),
    /// Have one personal value of a record opened: runs `sallyport disclose`, for only the gateway can.
    #[command(disable_help_flag = true)]
    Disclose {
        /// Arguments of `sallyport disclose`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Check a file that `disclose` wrote. Needs no ledger.
    CheckDisclosure(disclose::CheckArguments),
    /// Write some or all records as JSON lines that still verify.
    Export(export::Arguments),
    /// Check what `export` wrote. Needs no ledger.
    VerifyExport(export::CheckArguments),
    /// Compare what a SIEM gives back with the ledger that sent it: is anything missing, altered, out of order?
    Reconcile(reconcile::Arguments),
    /// Write the ledger as a tree of files that any transparency log's tools can read (c2sp.org/tlog-tiles).
    Tiles(tiles::Arguments),
    /// Be a witness: see that a ledger only grows, and cosign its heads.
    #[command(subcommand)]
    Witness(witness::Command),
    /// Say what is left of a ledger that lost records, and let it go on in a new epoch. Deletes nothing.
    Recover(recover::Arguments),
    /// Print the last signed head; keep it elsewhere, and give it to `verify --checkpoint` later.
    Checkpoint {
        /// The ledger's directory.
        ledger: PathBuf,
    },
    /// Print what a shell reads to complete command lines: `source <(auditctl completions bash)`.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::VerifyPack(arguments) => verify_pack::run(&arguments),
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Dossier(arguments) => dossier::run(&arguments),
        Command::CheckDossier(arguments) => dossier::check_file(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Index(command) => index::run(&command),
        Command::Show(arguments) => show::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::CheckProof(arguments) => prove::check(&arguments),
        Command::CheckApproval(arguments) => approval::run(&arguments),
        Command::Disclose { arguments } => disclose::run(&arguments),
        Command::CheckDisclosure(arguments) => disclose::check(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::VerifyExport(arguments) => export::check(&arguments),
        Command::Reconcile(arguments) => reconcile::run(&arguments),
        Command::Tiles(arguments) => tiles::run(&arguments),
        Command::Witness(command) => witness::run(&command),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Checkpoint { ledger } => show::checkpoint(&ledger),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "auditctl", &mut script);
            // A reader that has left wants no more.
            let _ = std::io::stdout().write_all(&script);
            Ok(ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
