//! Visits by the real curl.

use std::process::Command;

use serde_json::Value;

use super::process::Process;
use super::world::{Certified, World, next};

/// A request that is being put together.
pub(crate) struct Curl {
    command: Command,
    files: std::path::PathBuf,
    directory: std::path::PathBuf,
}

/// What curl saw.
pub(crate) struct Answer {
    /// The status; 0 if there was no answer.
    pub(crate) status: u16,
    /// `1.1` or `2`.
    pub(crate) version: String,
    /// Heads of all answers, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// curl's own complaint.
    pub(crate) complaint: String,
}

impl Curl {
    pub(super) fn to(world: &World, url: &str) -> Self {
        let host = url.split_once("://").unwrap().1.split('/').next().unwrap();
        let files = world.path(&format!("visit-{}", next()));
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--no-buffer", "--max-time", "60"])
            .arg("--cacert")
            .arg(world.root())
            .args(["--resolve", &format!("{host}:127.0.0.1")])
            .arg("--dump-header")
            .arg(files.with_extension("head"))
            .args(["--write-out", "%{stderr}\n%{http_code} %{http_version}", url]);
        Self { command, files, directory: world.directory().to_owned() }
    }

    /// With a person's token in `Authorization`.
    pub(crate) fn by(self, world: &World, person: &str) -> Self {
        self.header(&format!("Authorization: Bearer {}", world.token(person)))
    }

    /// With a client certificate.
    pub(crate) fn shows(self, certificate: &Certified) -> Self {
        self.args(&["--cert", &certificate.certificate, "--key", &certificate.key])
    }

    /// As a browser would ask.
    pub(crate) fn page(self) -> Self {
        self.header("Accept: text/html")
    }

    /// With a header.
    pub(crate) fn header(self, header: &str) -> Self {
        self.args(&["--header", header])
    }

    /// With an argument of curl's own.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Answer {
        let output = self.command.output().expect("curl runs (Debian: apt-get install curl)");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut words = complaint.lines().next_back().unwrap_or_default().split(' ');
        Answer {
            status: words.next().and_then(|word| word.parse().ok()).unwrap_or(0),
            version: words.next().unwrap_or_default().to_owned(),
            head: std::fs::read_to_string(self.files.with_extension("head")).unwrap_or_default(),
            body: output.stdout,
            complaint,
        }
    }

    /// Starts it; the body comes out of [`Process::out`].
    pub(crate) fn start(mut self) -> Process {
        let name = self.files.file_name().unwrap().to_string_lossy().into_owned();
        Process::start(&name, &self.directory, &mut self.command)
    }
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} is not JSON ({error}): {}", self.status, self.text()))
    }

    /// The stable code of a problem document; the document must say what failed and what to do next.
    pub(crate) fn problem(&self) -> String {
        let problem = self.json();
        for part in ["detail", "hint", "correlation"] {
            let said = problem[part].as_str().unwrap_or_default();
            assert!(!said.is_empty(), "the problem has no {part}: {problem}");
        }
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }

    /// A header of the answer.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}
