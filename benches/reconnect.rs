//! A thousand publishers that come at the same moment: for the first time, back by their tickets when everything between them and
//! the gateway breaks, and anew without tickets. A real gateway with its keys in SoftHSM; publishers in this process, on the same
//! cores. `make bench-crypto` runs it; the last line is JSON.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sallyport::tunnel::client::{
    Backoff, Event, GatewayAddress, KnownGateways, Publication, Publisher, PublisherOptions, Target, TlsRoots,
};
use sallyport::tunnel::{Offer, RootKey, Secret, TunnelKind, TunnelName};
use sallyport_hsm::{PublicKey, RootBundle};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many; `SALLYPORT_BENCH_PUBLISHERS` for a machine that is smaller.
const PUBLISHERS: usize = 1_000;
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::main]
async fn main() -> Result<()> {
    let Some(program) = std::env::var_os("SALLYPORT_BENCH_WORKER").map(PathBuf::from) else {
        bail!("run this through `make bench-crypto`");
    };
    let publishers = match std::env::var("SALLYPORT_BENCH_PUBLISHERS") {
        Ok(number) => number.parse().context("SALLYPORT_BENCH_PUBLISHERS")?,
        Err(_) => PUBLISHERS,
    };
    let gateway = Gateway::start(&program).await?;
    let ingress = Ingress::open(gateway.port).await?;
    let (first, crowd) = Crowd::arrive(&gateway, &ingress, publishers).await?;
    let (back, crowd) = crowd.cut(&ingress).await?;
    crowd.leave().await;
    let (anew, crowd) = Crowd::arrive(&gateway, &ingress, publishers).await?;
    crowd.leave().await;
    let seconds = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
    println!(
        "{publishers} publishers at once: the first time {:.2} s, back by tickets {:.2} s (of it up to 0.5 s in which each waits by intent), anew without tickets {:.2} s",
        first.as_secs_f64(),
        back.as_secs_f64(),
        anew.as_secs_f64(),
    );
    println!(
        "{}",
        json!({
            "bench": "reconnect", "publishers": publishers, "first_s": seconds(first), "by_tickets_s": seconds(back), "without_tickets_s": seconds(anew),
            "aims": { "back_s": { "aim": 5, "reached": seconds(back.max(anew)) } },
        })
    );
    Ok(())
}

struct Gateway {
    process: Child,
    state: tempfile::TempDir,
    port: u16,
}

impl Gateway {
    async fn start(program: &Path) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let tokens = state.path().join("softhsm");
        std::fs::create_dir_all(&tokens)?;
        let conf = state.path().join("softhsm2.conf");
        std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(program);
            command.env("SOFTHSM2_CONF", &conf).args(arguments).stdin(Stdio::null());
            command
        };
        let folder = state.path().join("state");
        let (folder_text, listen) = (folder.to_string_lossy().into_owned(), format!("127.0.0.1:{port}"));
        let init = ["init", "--state", &folder_text, "--listen", &listen, "--person", "user:publisher"];
        let made = command(&init).output()?;
        if !made.status.success() {
            bail!("sallyportd init: {}", String::from_utf8_lossy(&made.stderr));
        }
        let file = folder.join("sallyport.toml").to_string_lossy().into_owned();
        let run = [
            "run",
            "--config",
            &file,
            "--set",
            "tunnels.max_per_user=10000",
            "--set",
            "limits.connections_per_address=20000",
            "--set",
            "limits.tls_handshake_secs=60",
            "--set",
            "log.level=error",
        ];
        let mut process = command(&run).spawn()?;
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if process.try_wait()?.is_some() || Instant::now() > until {
                bail!("the gateway does not come up");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { process, state, port })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.path().join("state").join(name)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// What stands between publishers and gateway, and can break: it copies bytes.
struct Ingress {
    port: u16,
    era: watch::Sender<u64>,
}

impl Ingress {
    async fn open(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (era, watched) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut watched = watched.clone();
                // An end of the era that came before this connection is not its own.
                watched.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = watched.changed() => {}
                    }
                });
            }
        });
        Ok(Self { port, era })
    }
}

/// Publishers, and what they tell.
struct Crowd {
    size: usize,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    events: mpsc::Receiver<Event>,
}

impl Crowd {
    /// Starts so many at once; how long until the last is registered.
    async fn arrive(gateway: &Gateway, ingress: &Ingress, size: usize) -> Result<(Duration, Self)> {
        let root = RootBundle::leading(&std::fs::read_to_string(gateway.file("tls/root.pem"))?);
        let Some(PublicKey::P256(root)) = root.first().map(|root| root.public_key().clone()) else {
            bail!("no root");
        };
        let token = std::fs::read_to_string(gateway.file("tokens/publisher.token"))?;
        let (told, events) = mpsc::channel(64 * 1024);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let mut ready = Vec::new();
        for number in 0..size {
            let name =
                TunnelName::parse(&format!("open-{number}")).map_err(|error| anyhow::anyhow!("{error}"))?;
            let target = Target::parse("127.0.0.1:9").context("a target")?;
            let publication = Publication {
                offer: Offer { name, kind: TunnelKind::Http, join: false },
                target,
                health: None,
            };
            let address =
                GatewayAddress::parse(&format!("localhost:{}", ingress.port)).context("an address")?;
            let known = KnownGateways::new(gateway.file("known"));
            let secret = Secret::Token(token.trim().into());
            let mut options = PublisherOptions::new(address, secret, known, vec![publication]);
            options.roots = TlsRoots::File(gateway.file("tls/root.pem"));
            options.organisation_roots = vec![RootKey::from_point(root)];
            options.backoff = Backoff { give_up_after: None, ..Backoff::default() };
            options.patience = PATIENCE;
            ready.push(Arc::new(Publisher::new(options)?));
        }
        let began = Instant::now();
        for publisher in ready {
            let (told, stop) = (told.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(error) = Box::pin(publisher.run(told, stop)).await {
                    eprintln!("a publisher ended: {error}");
                }
            });
        }
        let mut crowd = Self { size, stop, tasks, events };
        crowd.all_registered(false).await?;
        Ok((began.elapsed(), crowd))
    }

    /// Breaks all connections; how long until the last is back.
    async fn cut(mut self, ingress: &Ingress) -> Result<(Duration, Self)> {
        // Longer than what counts as settled, so that the first pause is the short one.
        tokio::time::sleep(Duration::from_secs(11)).await;
        let began = Instant::now();
        ingress.era.send_modify(|era| *era += 1);
        self.all_registered(true).await?;
        Ok((began.elapsed(), self))
    }

    /// Waits until each has been registered; `resumed`: by a ticket.
    async fn all_registered(&mut self, resumed: bool) -> Result<()> {
        let (mut registered, mut by_ticket) = (0, 0);
        let all = async {
            while registered < self.size {
                match self.events.recv().await.context("all publishers have ended")? {
                    Event::Registered { .. } => registered += 1,
                    Event::Connected { resumed: true, .. } => by_ticket += 1,
                    Event::Refused { reason, .. } => bail!("refused: {reason}"),
                    _ => {}
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, all).await.context("some never came")??;
        if by_ticket != if resumed { self.size } else { 0 } {
            eprintln!("{by_ticket} of {} came by a ticket", self.size);
        }
        Ok(())
    }

    async fn leave(self) {
        let Self { stop, mut tasks, .. } = self;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
