//! A real rsyslog daemon of the test's own: in a temporary folder, on a port the system chose, ended with the test.

use std::{
    fmt::Write as _,
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
    driver: String,
    port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// In the clear.
    pub(crate) fn tcp() -> Self {
        Self::launch(tempfile::tempdir().unwrap(), String::new())
    }

    /// TLS by the OpenSSL driver. With `peer`, clients must show a certificate with that name.
    pub(crate) fn tls(root: &str, certificate: &str, key: &str, peer: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        fs::write(at("root.pem"), root).unwrap();
        fs::write(at("server.pem"), certificate).unwrap();
        fs::write(at("server.key"), key).unwrap();
        let auth = peer.map_or_else(
            || "StreamDriver.AuthMode=\"anon\"".to_owned(),
            |name| format!("StreamDriver.AuthMode=\"x509/name\" PermittedPeer=[\"{name}\"]"),
        );
        let driver = format!(
            "global(defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" \
             defaultNetstreamDriverKeyFile=\"{}\")\n\
             module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" {auth})\n",
            at("root.pem"),
            at("server.pem"),
            at("server.key")
        );
        Self::launch(directory, driver)
    }

    fn launch(directory: TempDir, driver: String) -> Self {
        let driver = if driver.is_empty() { "module(load=\"imtcp\")\n".to_owned() } else { driver };
        let mut server = Self { directory, driver, port: 0, child: None };
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
        let at = |name: &str| self.path(name).display().to_string();
        let config = format!(
            "global(workDirectory=\"{work}\" maxMessageSize=\"512k\")\n{driver}\
             template(name=\"line\" type=\"list\" option.jsonf=\"on\") {{\n\
             {properties}}}\n\
             ruleset(name=\"siem\") {{ action(type=\"omfile\" file=\"{log}\" template=\"line\") }}\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" listenPortFileName=\"{port_file}\" ruleset=\"siem\")\n",
            work = self.directory.path().display(),
            driver = self.driver,
            properties = properties(),
            log = at("siem.log"),
            port = self.port,
            port_file = at("port"),
        );
        fs::write(self.path("rsyslog.conf"), config).unwrap();
        let _ = fs::remove_file(self.path("port"));
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
            let port_file = self.path("port");
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
        let text = fs::read_to_string(self.path("siem.log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until `done` holds of what was received.
    pub(crate) fn until(&self, what: &str, done: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let found =
            eventually(Duration::from_mins(1), || Some(self.received()).filter(|received| done(received)));
        found.unwrap_or_else(|| panic!("{what}; received {}", self.received().len()))
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The template's properties, each under the name of a field of [`Received`].
fn properties() -> String {
    let plain = [
        ("pri", "pri"),
        ("host", "hostname"),
        ("app", "app-name"),
        ("procid", "procid"),
        ("msgid", "msgid"),
        ("sd", "structured-data"),
        ("msg", "msg"),
        ("raw", "rawmsg"),
    ];
    let mut lines =
        "  property(outname=\"time\" name=\"timereported\" dateFormat=\"rfc3339\" format=\"jsonf\")\n"
            .to_owned();
    for (out, name) in plain {
        writeln!(lines, "  property(outname=\"{out}\" name=\"{name}\" format=\"jsonf\")").unwrap();
    }
    lines
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
