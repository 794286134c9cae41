//! `auditctl witness`: sees that a ledger only grows, and says so under its own key.
//!
//! For people who are not the ledger's owner. The one part of this program that has a secret, and that
//! keeps something: the witness's key and, for each ledger, the last head that it cosigned, in a directory
//! of its own. Requests and answers are files, so that a witness needs no network.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use sallyport_audit::proof::{MAX_PROOF_BYTES, Proof};
use sallyport_audit::witness::{self, MAX_REQUEST_BYTES, NotFollowed, Refusal, Request};

use crate::Failure;
use crate::output::{count, read_bounded, write_whole};
use crate::prove::snapshot;
use crate::verify::{Keys, keys};

mod key;
#[cfg(feature = "serve")]
mod serve;
mod state;

use state::Witness;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a witness: its key, and the directory in which it remembers. Prints its public keys.
    Init(InitArguments),
    /// Print a witness's public keys.
    Keys {
        /// The witness's directory.
        witness: PathBuf,
    },
    /// For the ledger's side: write a request to a witness.
    Request(RequestArguments),
    /// Check a request, remember its head, and write the head with the witness's cosignatures.
    Cosign(CosignArguments),
    /// Check the proof that the ledger's key was replaced, and print the key that follows a given one.
    Follow(FollowArguments),
    /// Answer requests over HTTP (c2sp.org/tlog-witness) until interrupted.
    #[cfg(feature = "serve")]
    Serve(serve::Arguments),
}

#[derive(Args)]
pub(crate) struct InitArguments {
    /// The witness's directory, which must not exist yet.
    witness: PathBuf,
    /// The witness's name, best an address that belongs to it, such as `witness.example.net/w1`.
    #[arg(long)]
    name: String,
}

#[derive(Args)]
pub(crate) struct RequestArguments {
    /// The ledger's directory.
    ledger: PathBuf,
    /// How many records the last head covers that the witness cosigned; 0 for the first request.
    #[arg(long, value_name = "SIZE", default_value_t = 0)]
    old: u64,
    /// Have this checkpoint of the ledger cosigned, and not the last.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Where to write the request.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
pub(crate) struct CosignArguments {
    /// The witness's directory.
    witness: PathBuf,
    /// The request.
    request: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Where to write the cosigned head, for `verify --checkpoint` and `prove --checkpoint`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
pub(crate) struct FollowArguments {
    /// What `auditctl prove SEQ --closing` wrote of the record key.rotated.
    proof: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Init(arguments) => print_keys(&Witness::create(&arguments.witness, &arguments.name)?),
        Command::Keys { witness } => print_keys(&Witness::open(witness)?),
        Command::Request(arguments) => request(arguments),
        Command::Cosign(arguments) => cosign(arguments),
        Command::Follow(arguments) => follow(arguments),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => serve::run(arguments),
    }
}

fn print_keys(witness: &Witness) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let printed = witness.keys().iter().try_for_each(|key| writeln!(out, "{key}"));
    printed.map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn request(arguments: &RequestArguments) -> Result<ExitCode, Failure> {
    let snapshot = snapshot(&arguments.ledger, arguments.checkpoint.as_deref())?;
    let proof = snapshot.consistency(arguments.old).map_err(|error| Failure::snapshot(&error))?;
    let request = Request { old: arguments.old, proof, note: snapshot.note().to_owned() };
    write_whole(&arguments.out, request.to_string().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn follow(arguments: &FollowArguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let text = read_bounded(&arguments.proof, MAX_PROOF_BYTES as u64)?;
    let text = String::from_utf8_lossy(&text);
    let followed =
        Proof::parse(&text).map_err(NotFollowed::from).and_then(|proof| witness::follow(&proof, &keys));
    let key = followed.map_err(|error| {
        Failure::broken(format!("not followed: {}: {error}", arguments.proof.display()), error.hint())
    })?;
    writeln!(io::stdout().lock(), "{key}").map_err(|error| Failure::output(&error))?;
    eprintln!(
        "note: give this key beside the old one until no head of the old one is to be cosigned any more"
    );
    Ok(ExitCode::SUCCESS)
}

fn cosign(arguments: &CosignArguments) -> Result<ExitCode, Failure> {
    let keys = keys(&arguments.keys)?;
    let witness = Witness::open(&arguments.witness)?;
    let text = read_bounded(&arguments.request, MAX_REQUEST_BYTES as u64)?;
    let refused = |refusal: Refusal| {
        let message = format!("not cosigned: {}: {refusal}", arguments.request.display());
        match refusal {
            Refusal::Form(_) | Refusal::Checkpoint(_) | Refusal::Conflict { .. } => {
                Failure::not_evaluated(message, refusal.hint())
            }
            _ => Failure::broken(message, refusal.hint()),
        }
    };
    let text = String::from_utf8(text).map_err(|_| refused(Refusal::Form("it is not UTF-8")))?;
    let request = Request::parse(&text).map_err(refused)?;
    let cosigned = witness.cosign(&request, &keys)?.map_err(refused)?;
    write_whole(&arguments.out, cosigned.note.to_string().as_bytes())?;
    eprintln!("cosigned: {} of {}", count(cosigned.size, "record", "records"), cosigned.origin);
    Ok(ExitCode::SUCCESS)
}
