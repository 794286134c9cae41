//! A real rsyslog daemon of the test's own: configured as `docs/siem.md` shows, in a temporary folder, on a port that
//! the system chose, ended with the test.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tempfile::TempDir;

/// One received message as rsyslog parsed it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Received {
    pub(crate) pri: String,
    pub(crate) time: String,
    pub(crate) host: String,
    pub(crate) app: String,
    pub(crate) procid: String,
    pub(crate) msgid: String,
    pub(crate) sd: String,
    pub(crate) msg: String,
    pub(crate) raw: String,
}

impl Received {
    /// A structured-data parameter that holds no escaped character.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let start = self.sd.find(&format!(" {name}=\""))? + name.len() + 3;
        self.sd[start..].split('"').next()
    }

    pub(crate) fn seq(&self) -> u64 {
        self.param("seq").unwrap().parse().unwrap()
    }
}

pub(crate) struct Rsyslog {
    directory: TempDir,
    config: String,
    port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// In the clear.
    pub(crate) fn tcp() -> Self {
        let mut config = guide();
        cut(&mut config, "global(\n", ")\n");
        cut(&mut config, "module(", ")\n");
        Self::launch(tempfile::tempdir().unwrap(), &format!("module(load=\"imtcp\")\n{config}"))
    }

    /// TLS by the OpenSSL driver. With `peer`, clients must show a certificate with that name.
    pub(crate) fn tls(root: &str, certificate: &str, key: &str, peer: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(directory.path().join(name), content).unwrap();
        write("root.pem", root);
        write("server.pem", certificate);
        write("server.key", key);
        let mut config = guide();
        match peer {
            Some(name) => config = config.replace("gateway.example", name),
            None => config = config.replace("x509/name\" PermittedPeer=[\"gateway.example\"]", "anon\""),
        }
        config = config.replace("/etc/rsyslog.d/sallyport", &directory.path().display().to_string());
        Self::launch(directory, &config)
    }

    fn launch(directory: TempDir, config: &str) -> Self {
        let config = config.replace("/var/log/sallyport", &directory.path().display().to_string());
        let mut server = Self { directory, config, port: 0, child: None };
        server.start();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Starts on the port of the time before; the first time on a free one.
    pub(crate) fn start(&mut self) {
        let port_file = self.path("port");
        let listen = format!(
            "address=\"127.0.0.1\" port=\"{}\" listenPortFileName=\"{}\"",
            self.port,
            port_file.display()
        );
        let config = self.config.replace("port=\"6514\"", &listen);
        assert!(config.contains(&listen), "the guide's configuration listens on 6514");
        let work = format!("global(workDirectory=\"{}\")\n", self.directory.path().display());
        fs::write(self.path("rsyslog.conf"), work + &config).unwrap();
        let _ = fs::remove_file(&port_file);
        let _ = fs::remove_file(self.path("pid"));
        let child = Command::new(program())
            .arg("-n")
            .arg("-f")
            .arg(self.path("rsyslog.conf"))
            .arg("-i")
            .arg(self.path("pid"))
            .stdout(Stdio::null())
            .stderr(File::create(self.path("stderr")).unwrap())
            .spawn()
            .expect("rsyslogd starts (Debian packages rsyslog and rsyslog-openssl)");
        self.child = Some(child);
        if self.port == 0 {
            // Only a port of the system's choosing is written to the file; on later starts the sink tries until it is open.
            let listening = eventually(Duration::from_secs(30), || {
                fs::read_to_string(&port_file).ok()?.trim().parse().ok()
            });
            self.port = listening.expect("rsyslogd listens");
        }
    }

    /// SIGKILL: what it had in memory is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Everything it has written so far, in its order. A last line cut off by a kill is left out.
    pub(crate) fn received(&self) -> Vec<Received> {
        let text = fs::read_to_string(self.path("audit.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until `done` holds of what was received.
    pub(crate) fn until(&self, what: &str, done: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let found =
            eventually(Duration::from_mins(1), || Some(self.received()).filter(|received| done(received)));
        found.unwrap_or_else(|| {
            let received = self.received();
            let numbers: BTreeSet<u64> = received.iter().map(Received::seq).collect();
            let missing = (0..=numbers.len() as u64).find(|number| !numbers.contains(number));
            let last = numbers.last();
            panic!(
                "{what}; received {} lines of {} records, the last is {last:?}, the first that is missing {missing:?}",
                received.len(),
                numbers.len()
            )
        })
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The configuration that the guide shows, so that what it shows is what was tried.
fn guide() -> String {
    fenced("rainerscript")
}

/// The first block of this language in the guide.
pub(crate) fn fenced(language: &str) -> String {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/siem.md")).unwrap();
    let (_, after) = guide.split_once(&format!("```{language}\n")).unwrap();
    after.split_once("```").unwrap().0.to_owned()
}

/// Takes out what begins with `from` and ends with `to`.
fn cut(text: &mut String, from: &str, to: &str) {
    let start = text.find(from).unwrap();
    let end = start + text[start..].find(to).unwrap() + to.len();
    text.replace_range(start..end, "");
}

fn program() -> &'static str {
    if Path::new("/usr/sbin/rsyslogd").exists() { "/usr/sbin/rsyslogd" } else { "rsyslogd" }
}

/// Asks again and again until there is an answer; `None` when there was none in time.
fn eventually<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > within {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
