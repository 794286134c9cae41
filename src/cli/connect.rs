//! `sallyport connect`: a local port that leads into a TCP tunnel, as a known person.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::{TcpListener, TcpStream};

use super::failure::{ExitCode, Failure};
use super::flows;
use super::out::say;
use super::profile::Connection;
use super::publish::{dial_failure, gateway, roots};
use crate::tunnel::client::{VisitorOptions, visit};
use crate::tunnel::{Breakable, TunnelName};

/// Open a local port that leads into a tunnel
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// Name of the tunnel
    pub tunnel: String,
    /// Local address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Join standard input and output to the tunnel instead, as `ProxyCommand` of ssh wants it
    #[arg(long, conflicts_with_all = ["listen", "udp"])]
    pub stdio: bool,
    /// The tunnel is one of UDP: each local address that sends is a flow of its own
    #[arg(long)]
    pub udp: bool,
}

/// Runs it.
pub(super) async fn run(connection: &Connection, connect: &Connect) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let name = TunnelName::parse(&connect.tunnel)
        .map_err(|error| Failure::new(ExitCode::Usage, error.to_string(), error.hint()))?;
    let options = VisitorOptions {
        gateway: gateway(&profile)?,
        roots: roots(&profile),
        token: profile.token_if_needed()?,
        certificate: profile.certificate.clone(),
        proxies: profile.proxies.clone(),
        patience: Duration::from_secs(15),
    };
    if connect.udp {
        return flows::serve(options, name, connect.listen).await;
    }
    if connect.stdio {
        let mut stream = visit(&options, &name).await.map_err(|error| dial_failure(&error))?;
        let mut terminal = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
        let copied = tokio::io::copy_bidirectional(&mut terminal, &mut stream).await;
        // A dump that was cut must not look complete to the script that took it.
        return copied.map(drop).map_err(|error| broken_off(&name, &error));
    }
    let listener = TcpListener::bind(connect.listen).await.map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot listen on {}: {error}", connect.listen),
            "choose another address with --listen",
        )
    })?;
    let address = listener.local_addr().unwrap_or(connect.listen);
    say(format_args!("{name} is at {address}; Ctrl-C ends it"));
    let options = std::sync::Arc::new(options);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        match accepted {
            Ok((socket, _)) => {
                let (options, name) = (std::sync::Arc::clone(&options), name.clone());
                tokio::spawn(async move { carry(&options, &name, socket).await });
            }
            Err(error) => eprintln!("a local connection could not be accepted: {error}"),
        }
    }
}

async fn carry(options: &VisitorOptions, name: &TunnelName, mut socket: TcpStream) {
    let _ = socket.set_nodelay(true);
    socket.breaks();
    match visit(options, name).await {
        Ok(mut stream) => match tokio::io::copy_bidirectional(&mut socket, &mut stream).await {
            Ok(_) => socket.ended(),
            Err(error) => eprintln!("{}", broken_off(name, &error)),
        },
        Err(error) => eprintln!("{}", dial_failure(&error)),
    }
}

fn broken_off(name: &TunnelName, error: &std::io::Error) -> Failure {
    Failure::new(
        ExitCode::Failed,
        format!("the connection through `{name}` broke off: {error}"),
        "what came may not be all; try again, and if it stays so ask the gateway's admin how the session ended",
    )
}
