//! A gateway of a test's own: state directory, SoftHSM token, ports, tokens of four people, and the programs to use it with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::curl::Curl;
use super::patience::eventually;
use super::process::Process;

const GATEWAY: &str = env!("CARGO_BIN_EXE_sallyportd");
const CLIENT: &str = env!("CARGO_BIN_EXE_sallyport");

/// Who has a token in every world. `rival` is a second publisher.
const PEOPLE: &[&str] = &["admin", "publisher", "rival", "visitor"];

/// Added to the example policy: a second publisher, and tunnels that a visitor may use without asking.
const POLICY: &str = "\n\
    g, user:rival, role:publisher, main\n\
    p, role:visitor, main, tunnel:open-*, connect, allow, -\n";

/// What `world!` of a test differs in.
#[derive(Default)]
pub(crate) struct Plan {
    settings: Vec<String>,
    policy: String,
    environment: Vec<(String, String)>,
    before: Option<String>,
    port: Option<u16>,
}

impl Plan {
    /// One setting, `section.key=value`, for every run of the gateway.
    pub(crate) fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// More rows for `policy.csv`.
    pub(crate) fn policy(mut self, rows: &str) -> Self {
        self.policy.push_str(rows);
        self.policy.push('\n');
        self
    }

    /// A variable in the environment of the gateway.
    pub(crate) fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The port of a gateway that has stopped, whose place this one takes.
    pub(crate) fn in_place_of(mut self, other: &World) -> Self {
        self.port = Some(other.port);
        self
    }

    /// Shell commands that prepare a mount namespace of the gateway's own; `$STATE` is the state directory.
    pub(crate) fn in_own_mounts(mut self, script: &str) -> Self {
        self.before = Some(script.to_owned());
        self
    }

    /// A world that is set up, with its gateway not started.
    pub(crate) fn prepare(self) -> World {
        World::prepare(self)
    }

    /// A world whose gateway serves.
    pub(crate) fn start(self) -> World {
        let mut world = self.prepare();
        world.start_gateway();
        world
    }
}

/// See the module.
pub(crate) struct World {
    // Before the directory: what runs ends before its files go.
    gateway: Option<Process>,
    directory: TempDir,
    port: u16,
    plan: Plan,
}

/// A client certificate.
pub(crate) struct Certified {
    pub(crate) id: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A finished run of a program.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// A gateway that serves, with default settings.
    pub(crate) fn start() -> Self {
        Plan::default().start()
    }

    /// A world that differs from the default.
    pub(crate) fn with() -> Plan {
        Plan::default()
    }

    fn prepare(plan: Plan) -> Self {
        let port = plan.port.unwrap_or_else(free_ports);
        let directory = tempfile::Builder::new().prefix("sallyport-e2e-").tempdir().unwrap();
        let world = Self { gateway: None, directory, port, plan };
        std::fs::create_dir_all(world.path("softhsm")).unwrap();
        let softhsm = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            world.path("softhsm").display()
        );
        std::fs::write(world.path("softhsm2.conf"), softhsm).unwrap();
        let made = world.init(&[]);
        assert_eq!(made.code, 0, "init: {}{}", made.out, made.err);
        let policy = world.state().join("policies/policy.csv");
        let rows = std::fs::read_to_string(&policy).unwrap();
        std::fs::write(&policy, format!("{rows}{POLICY}{}", world.plan.policy)).unwrap();
        world
    }

    /// Runs `sallyportd init` on this world's state directory.
    pub(crate) fn init(&self, arguments: &[&str]) -> Run {
        let mut command = self.command(GATEWAY);
        command.arg("init").arg("--state").arg(self.state());
        for person in PEOPLE {
            command.arg("--person").arg(format!("user:{person}"));
        }
        let (first, last) = self.tcp_ports();
        command.arg("--tcp-ports").arg(format!("{first}-{last}"));
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]).args(arguments);
        finish(&mut command)
    }

    /// Adds settings for the next start.
    pub(crate) fn set(&mut self, setting: &str) {
        self.plan.settings.push(setting.to_owned());
    }

    /// Adds to the configuration file.
    pub(crate) fn configure(&self, text: &str) {
        let file = self.state().join("sallyport.toml");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{before}\n{text}")).unwrap();
    }

    /// A path below this world's own directory.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Has every step of every workflow want approvals that are signed.
    pub(crate) fn demand_signatures(&self) {
        let file = self.state().join("policies/approvals.toml");
        let workflows = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, workflows.replace("people = 1", "people = 1\nsigned = \"webauthn\"")).unwrap();
    }

    /// The gateway's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// First and last port of TCP tunnels.
    pub(crate) fn tcp_ports(&self) -> (u16, u16) {
        (self.port + 1, self.port + BLOCK - 1)
    }

    /// Certificate of the private root.
    pub(crate) fn root(&self) -> PathBuf {
        self.state().join("tls/root.pem")
    }

    /// The file with a person's token.
    pub(crate) fn token_file(&self, person: &str) -> PathBuf {
        self.state().join(format!("tokens/{person}.token"))
    }

    /// A person's token.
    pub(crate) fn token(&self, person: &str) -> String {
        std::fs::read_to_string(self.token_file(person)).unwrap().trim().to_owned()
    }

    /// `program` with nothing of the tester's own settings in its environment, and with this world's token.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SALLYPORT_"))
        {
            command.env_remove(name);
        }
        // A proxy of the tester's own network leads to no gateway on loopback.
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    fn run_command(&self, settings: &[&str]) -> Command {
        let mut command = match &self.plan.before {
            None => self.command(GATEWAY),
            Some(script) => {
                let mut command = self.command("unshare");
                command.args([
                    "--map-root-user",
                    "--mount",
                    "sh",
                    "-euc",
                    &format!("{script}\nexec \"$@\""),
                    "sh",
                    GATEWAY,
                ]);
                command.env("STATE", self.state());
                command
            }
        };
        command.envs(self.plan.environment.iter().map(|(name, value)| (name, value)));
        command.arg("run").arg("--config").arg(self.state().join("sallyport.toml"));
        // Tests ask again and again; those of the limits set their own.
        command.args(["--set", "limits.api_per_user=0", "--set", "limits.api_per_address=0"]);
        for setting in self.plan.settings.iter().map(String::as_str).chain(settings.iter().copied()) {
            command.arg("--set").arg(setting);
        }
        command
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) fn start_gateway(&mut self) {
        let mut process = Process::start("gateway", self.directory.path(), &mut self.run_command(&[]));
        eventually("the gateway is ready", || {
            let ended = process.ended();
            assert!(ended.is_none(), "the gateway ended with {ended:?}:\n{}", process.err());
            let ready = Curl::to(self, &self.probe()).run();
            (ready.status == 200).then_some(())
        });
        self.gateway = Some(process);
    }

    /// Where readiness is told: beside TLS, if the gateway was told to do so.
    fn probe(&self) -> String {
        let plain = self.plan.settings.iter().find_map(|one| one.strip_prefix("gateway.health_listen="));
        plain.map_or_else(
            || format!("https://localhost:{}/readyz", self.port),
            |address| format!("http://{address}/readyz"),
        )
    }

    /// Runs the gateway with more settings, in the expectation that it refuses to start.
    pub(crate) fn refuses_to_start(&self, settings: &[&str]) -> Run {
        let mut process = Process::start(
            &format!("refused-{}", next()),
            self.directory.path(),
            &mut self.run_command(settings),
        );
        let status = process.wait();
        Run { code: status.code().unwrap_or(-1), out: process.out(), err: process.err() }
    }

    /// The running gateway.
    pub(crate) fn gateway(&mut self) -> &mut Process {
        self.gateway.as_mut().expect("the gateway was started")
    }

    /// What the gateway has logged so far.
    pub(crate) fn gateway_log(&self) -> String {
        self.gateway.as_ref().expect("the gateway was started").err()
    }

    /// The same world, whose gateway is to run with the plain settings and mounts of the machine.
    pub(crate) fn moved_to_plain_disk(mut self) -> Self {
        self.plan = Plan::default();
        self
    }

    /// SIGTERM; the gateway ends in order.
    pub(crate) fn stop_gateway(&mut self) {
        let mut process = self.gateway.take().expect("the gateway was started");
        let status = process.stop();
        assert!(status.success(), "the gateway ended with {status}:\n{}", process.err());
    }

    /// `kill -9`.
    pub(crate) fn kill_gateway(&mut self) {
        self.gateway.take().expect("the gateway was started").kill();
    }

    /// `sallyport` with a certificate and without a token.
    pub(crate) fn client_by_certificate(&self, certificate: &Certified) -> Command {
        let mut command = self.client("nobody");
        command
            .env_remove("SALLYPORT_TOKEN_FILE")
            .env("SALLYPORT_CERT_FILE", &certificate.certificate)
            .env("SALLYPORT_CERT_KEY_FILE", &certificate.key);
        command
    }

    /// Has the private root issue a certificate for a person.
    pub(crate) fn certify(&self, person: &str) -> Certified {
        let out = self.path(&format!("certified-{}", next()));
        std::fs::create_dir_all(&out).unwrap();
        let out = out.to_string_lossy().into_owned();
        let run = self.daemon(&["ca", "issue-client", &format!("user:{person}"), "--out", &out, "--json"]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        let told: Value = serde_json::from_str(&run.out).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Certified { id: text("id"), certificate: text("certificate"), key: text("key") }
    }

    /// `sallyport` with a person's token.
    pub(crate) fn client(&self, person: &str) -> Command {
        let mut command = self.command(CLIENT);
        command
            .env("SALLYPORT_GATEWAY", format!("https://localhost:{}", self.port))
            .env("SALLYPORT_CA_FILE", self.root())
            .env("SALLYPORT_TOKEN_FILE", self.token_file(person))
            .env("SALLYPORT_HOME", self.path(&format!("home-{person}")));
        command
    }

    /// Runs `sallyport` to its end.
    pub(crate) fn cli(&self, person: &str, arguments: &[&str]) -> Run {
        finish(self.client(person).args(arguments))
    }

    /// Runs `sallyport --json` and reads what it prints.
    pub(crate) fn ask(&self, person: &str, arguments: &[&str]) -> Value {
        let run = self.cli(person, &[arguments, &["--json"]].concat());
        assert_eq!(run.code, 0, "sallyport {arguments:?}: {}", run.err);
        serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", run.out))
    }

    /// Runs `sallyportd` with this world's configuration.
    pub(crate) fn daemon(&self, arguments: &[&str]) -> Run {
        finish(&mut self.daemon_command(arguments))
    }

    /// `sallyportd` with this world's configuration.
    pub(crate) fn daemon_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(GATEWAY);
        command.args(arguments).arg("--config").arg(self.state().join("sallyport.toml"));
        command
    }

    /// Runs `auditctl`, which no dependency of this test builds.
    pub(crate) fn auditctl(&self, arguments: &[&str]) -> Run {
        let program = Path::new(CLIENT).with_file_name("auditctl");
        assert!(
            program.exists(),
            "{} is not built: run `cargo build --workspace --bins` first",
            program.display()
        );
        finish(self.command(&program.to_string_lossy()).args(arguments))
    }

    /// Checks the ledger offline, with nothing but its files and the public key.
    pub(crate) fn verify(&self, ledger: &Path) -> Run {
        let key = self.state().join("ledger.vkey");
        self.auditctl(&["verify", &ledger.to_string_lossy(), "--key-file", &key.to_string_lossy()])
    }

    /// Starts a publisher and waits until its tunnel is open. `what` is what follows `sallyport publish`, without `--name`.
    pub(crate) fn publish_as(&self, person: &str, name: &str, what: &[&str]) -> Process {
        let mut process = self.try_to_publish(person, name, what);
        process.line("that its tunnel is open", |line| {
            (serde_json::from_str::<Value>(line).ok()?["event"] == "registered").then_some(())
        });
        process
    }

    /// Starts a publisher.
    pub(crate) fn try_to_publish(&self, person: &str, name: &str, what: &[&str]) -> Process {
        let mut command = self.client(person);
        command.arg("publish").args(what).args(["--name", name, "--give-up-after", "0", "--json"]);
        Process::start(&format!("publisher-{name}-{}", next()), self.directory.path(), &mut command)
    }

    /// Publishes an HTTP app as user:publisher.
    pub(crate) fn publish_http(&self, name: &str, app: std::net::SocketAddr) -> Process {
        self.publish_as("publisher", name, &["http", &app.to_string()])
    }

    /// Publishes the built-in demo app as user:publisher.
    pub(crate) fn publish_demo(&self, name: &str) -> Process {
        self.publish_as("publisher", name, &["demo"])
    }

    /// A request to a tunnel, by the real curl.
    pub(crate) fn visit(&self, name: &str, path: &str) -> Curl {
        Curl::to(self, &format!("https://{name}.localhost:{}{path}", self.port))
    }

    /// A request to the gateway itself.
    pub(crate) fn curl(&self, path: &str) -> Curl {
        Curl::to(self, &format!("https://localhost:{}{path}", self.port))
    }

    /// Asks for leave as `visitor`, approves as `admin`; the grant's id.
    pub(crate) fn grant(&self, tunnel: &str) -> String {
        let asked = self.ask("visitor", &["request", tunnel, "--reason", "to look at it", "--minutes", "30"]);
        let approved = self.ask("admin", &["requests", "approve", asked["id"].as_str().unwrap()]);
        approved["grant"].as_str().unwrap().to_owned()
    }

    /// All records, as the admin reads them.
    pub(crate) fn records(&self) -> Vec<Value> {
        let run = self.cli("admin", &["log", "--from", "0", "--json"]);
        assert_eq!(run.code, 0, "sallyport log: {}", run.err);
        run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All records of one kind.
    pub(crate) fn records_of(&self, kind: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["kind"] == kind).collect()
    }

    /// Waits for a record of `kind` that `wanted` takes.
    pub(crate) fn record(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("there is a record {kind}"), || self.records_of(kind).into_iter().find(&wanted))
    }

    /// Where a process started by this world may write.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("SALLYPORT_E2E_KEEP").is_some() {
            let kept = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap()).keep();
            eprintln!("kept {}", kept.display());
        }
    }
}

/// Runs a program to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}", command.get_program().display()));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// A number that no other caller in this process gets.
pub(crate) fn next() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Ports that a world has for itself: the gateway's, then three for TCP tunnels.
const BLOCK: u16 = 4;

/// The first of a block of ports below the range from which the system takes them for outgoing connections, so that a gateway
/// which stops and starts again finds its port free. Other runs of this program beside this one begin elsewhere.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const BLOCKS: u16 = 5_000;
    let offset = u16::try_from(std::process::id() % 199).unwrap() * 25;
    loop {
        let block = (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
        let first = FIRST + block * BLOCK;
        if (first..first + BLOCK).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}
