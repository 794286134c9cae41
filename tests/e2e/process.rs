//! Processes that a test started, and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::patience::eventually;

/// After SIGTERM: how long a process may take before it is killed, when a test is over and nobody asks how it ends.
const GRACE: Duration = Duration::from_secs(5);

/// A running program. What it prints goes into two files, so that it never waits for a reader.
pub(crate) struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    err: PathBuf,
    done: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; output goes to `NAME.out` and `NAME.err` in `directory`.
    pub(crate) fn start(name: &str, directory: &Path, command: &mut Command) -> Self {
        let (out, err) = (directory.join(format!("{name}.out")), directory.join(format!("{name}.err")));
        let file = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).spawn().unwrap_or_else(
                |error| panic!("{} cannot be started: {error}", command.get_program().display()),
            );
        Self { child, name: name.to_owned(), out, err, done: None }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap()).into_owned()
    }

    /// What it has printed to standard error so far.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap()).into_owned()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.done.is_none() {
            self.done = self.child.try_wait().unwrap();
        }
        self.done
    }

    /// Waits for a line of standard output that `wanted` takes. Fails at once if the process ends without it.
    pub(crate) fn line<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name.clone();
        eventually(&format!("{name} says {what}"), || {
            let ended = self.ended();
            let found = self.out().lines().find_map(&wanted);
            assert!(
                found.is_some() || ended.is_none(),
                "{name} ended ({ended:?}) before it said {what}:\n{}{}",
                self.out(),
                self.err()
            );
            found
        })
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&mut self, signal: &str) {
        if self.ended().is_some() {
            return;
        }
        // The shell's own `kill`: the program of that name is not everywhere.
        let sent =
            Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.pid())).status().unwrap();
        assert!(sent.success(), "{} (process {}) cannot be sent {signal}", self.name, self.pid());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("{name} ends"), || self.ended())
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// `kill -9`: no chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // A process that was stopped must go on to hear the end.
        self.signal("CONT");
        self.signal("TERM");
        let deadline = Instant::now() + GRACE;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                let _already_gone = self.child.kill();
                let _reaped = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if std::thread::panicking() {
            let (out, err) = (self.out(), self.err());
            let tail = |text: &str| {
                text.lines()
                    .rev()
                    .take(25)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            eprintln!("--- {} printed last ---\n{}\n{}", self.name, tail(&out), tail(&err));
        }
    }
}
