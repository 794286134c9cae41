//! `sallyport`: the program of publishers, visitors and admins.

use clap::{Parser, Subcommand};

use super::failure::{ExitCode, Failure};
use super::profile::Connection;
use super::{
    certificates, completions, connect, device, doctor, glass, grants, key_desk, ledger, locks, log,
    log_level, login, maintenance, passkeys, publish, reports, requests, retention, reviews, search,
    sessions, shares, subjects, tokens, tunnels, version,
};

/// Publish services through a Sallyport gateway, reach them, ask for leave and give it
#[derive(Debug, Parser)]
#[command(name = "sallyport", version, propagate_version = true)]
pub struct Client {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Publish(publish::Publish),
    Connect(connect::Connect),
    Doctor(doctor::Doctor),
    Request(requests::Ask),
    #[command(subcommand)]
    Requests(requests::Requests),
    BreakGlass(glass::BreakGlass),
    #[command(subcommand)]
    Glass(glass::Glass),
    #[command(subcommand)]
    Grants(grants::Grants),
    #[command(subcommand)]
    Sessions(sessions::Sessions),
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    /// Lock a person, a role, a device, a tunnel or a tenant; open sessions are cut
    Lock(locks::Lock),
    /// Let them in again
    Unlock(locks::Unlock),
    /// Show what is locked
    Locks,
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Passkeys(passkeys::Passkeys),
    #[command(subcommand)]
    Certificates(certificates::Certificates),
    #[command(subcommand)]
    Policy(locks::Policy),
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    #[command(subcommand)]
    Keys(key_desk::Keys),
    #[command(subcommand)]
    Retention(Box<retention::Asked>),
    #[command(subcommand)]
    Subjects(subjects::Subjects),
    Tunnels(tunnels::Tunnels),
    Share(shares::Offer),
    Unshare(shares::Unshare),
    Accept(shares::Accept),
    Shares(shares::Shares),
    #[command(subcommand)]
    Reports(reports::Reports),
    #[command(subcommand)]
    Reviews(reviews::Reviews),
    Activity(shares::Activity),
    Log(log::Log),
    LogLevel(log_level::LogLevel),
    Maintenance(maintenance::Maintenance),
    Search(Box<search::Search>),
    Disclose(subjects::Disclose),
    /// Show how the gateway is doing
    Status,
    /// Show who you are to the gateway
    Whoami,
    /// Remember gateway, token file and root for later commands
    Login,
    Version(version::Version),
    Completions(completions::Completions),
    /// Check a ledger offline: runs `auditctl`, with its arguments
    #[command(disable_help_flag = true)]
    Audit {
        /// Arguments of auditctl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

/// Parses the arguments and runs the command.
pub fn main() -> std::process::ExitCode {
    let client = Client::parse();
    let json = client.connection.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(ExitCode::Failed, format!("cannot start: {error}"), "").report(json);
        }
    };
    // On a worker, beside all that it starts: between threads each piece of work would cost a wake of the other one.
    let ended = runtime.block_on(runtime.spawn(client.run()));
    // Not waited for: a read of standard input that nobody ends any more would keep a program that has failed.
    runtime.shutdown_background();
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => failure.report(json),
        // Its message stands on standard error already.
        Err(_panicked) => std::process::ExitCode::from(ExitCode::Failed as u8),
    }
}

impl Client {
    async fn run(self) -> Result<std::process::ExitCode, Failure> {
        let connection = &self.connection;
        match &self.command {
            Command::Publish(command) => publish::run(connection, command).await?,
            Command::Connect(command) => connect::run(connection, command).await?,
            Command::Doctor(command) => doctor::run(connection, command).await?,
            Command::Request(command) => requests::ask(connection, command).await?,
            Command::Requests(command) => requests::run(connection, command).await?,
            Command::BreakGlass(command) => glass::break_it(connection, command).await?,
            Command::Glass(command) => glass::run(connection, command).await?,
            Command::Grants(command) => grants::run(connection, command).await?,
            Command::Sessions(command) => sessions::run(connection, command).await?,
            Command::Tokens(command) => tokens::run(connection, command).await?,
            Command::Completions(command) => command.show::<Self>(),
            Command::Version(command) => command.show("sallyport", connection.json)?,
            Command::Device(command) => device::run(connection, command).await?,
            Command::Passkeys(command) => passkeys::run(connection, command).await?,
            Command::Certificates(command) => certificates::run(connection, command).await?,
            Command::Lock(command) => locks::lock(connection, command).await?,
            Command::Unlock(command) => locks::unlock(connection, command).await?,
            Command::Locks => locks::list(connection).await?,
            Command::Policy(command) => locks::policy(connection, command).await?,
            Command::Ledger(command) => ledger::run(connection, command).await?,
            Command::Keys(command) => key_desk::run(connection, command).await?,
            Command::Retention(command) => retention::ask(connection, command).await?,
            Command::Tunnels(command) => tunnels::run(connection, command).await?,
            Command::Share(command) => shares::offer(connection, command).await?,
            Command::Unshare(command) => shares::unshare(connection, command).await?,
            Command::Accept(command) => shares::accept(connection, command).await?,
            Command::Reports(command) => reports::run(connection, command).await?,
            Command::Reviews(command) => reviews::run(connection, command).await?,
            Command::Shares(command) => shares::list(connection, command).await?,
            Command::Activity(command) => shares::activity(connection, command).await?,
            Command::Subjects(command) => subjects::run(connection, command).await?,
            Command::Log(command) => log::run(connection, command).await?,
            Command::LogLevel(command) => log_level::run(connection, command).await?,
            Command::Maintenance(command) => maintenance::run(connection, command).await?,
            Command::Search(command) => search::run(connection, command).await?,
            Command::Disclose(command) => subjects::disclose(connection, command).await?,
            Command::Status => tunnels::document(connection, "/api/v1/status").await?,
            Command::Whoami => tunnels::document(connection, "/api/v1/whoami").await?,
            Command::Login => login::run(connection).await?,
            Command::Audit { arguments } => return audit(arguments),
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}

/// The auditor's program stands beside this one, or on the path.
fn audit(arguments: &[std::ffi::OsString]) -> Result<std::process::ExitCode, Failure> {
    let beside =
        std::env::current_exe().ok().map(|path| path.with_file_name("auditctl")).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| "auditctl".into());
    let status = std::process::Command::new(&program).args(arguments).status().map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot run {}: {error}", program.display()),
            "install Sallyport's auditctl beside this program (Linux's audit package has another one of that name)",
        )
    })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(ExitCode::Failed as u8).into())
}
