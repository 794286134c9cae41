//! Receivers of notifications: an HTTP server that answers as it is told to, and a real mail server, aiosmtpd.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::AppendHeaders;
use serde_json::Value;

use super::app::App;
use super::patience::eventually;
use super::process::Process;
use super::world::World;

/// One call that came in.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// What it was answered.
    pub(crate) answered: u16,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An HTTP server. Ends with this value.
pub(crate) struct Receiver {
    app: App,
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    /// Answers with these, and then with 200.
    pub(crate) fn start(answers: &[u16]) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<u16>>()));
        let (kept, told) = (Arc::clone(&calls), Arc::clone(&answers));
        let take = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (kept, told) = (Arc::clone(&kept), Arc::clone(&told));
            async move {
                let answered = told.lock().unwrap().pop_front().unwrap_or(200);
                let call = Call { path: uri.path().to_owned(), headers, body: body.to_vec(), answered };
                kept.lock().unwrap().push(call);
                (StatusCode::from_u16(answered).unwrap(), AppendHeaders([("location", "/elsewhere")]))
            }
        };
        Self { app: App::web(Router::new().fallback(take)), calls, answers }
    }

    /// From now on these answers.
    pub(crate) fn answer(&self, answers: &[u16]) {
        *self.answers.lock().unwrap() = answers.iter().copied().collect();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address())
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits for a call that `wanted` takes.
    pub(crate) fn call(&self, what: &str, wanted: impl Fn(&Call) -> bool) -> Call {
        eventually(what, || self.calls().into_iter().find(&wanted))
    }
}

/// What the mail server does with letters: they are kept, but for one mailbox that is full for now.
const MAILBOXES: &str = "
from aiosmtpd.handlers import Mailbox

class Mailboxes(Mailbox):
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == 'full@example.com':
            return '450 4.2.2 the mailbox is full'
        envelope.rcpt_tos.append(address)
        return '250 OK'
";

/// A mail server that keeps letters in a folder. Ends with this value.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    letters: PathBuf,
    _process: Process,
}

impl MailServer {
    /// Over TLS from the first byte, or with STARTTLS demanded; its certificate is in `mail.pem`.
    pub(crate) fn start(world: &World, starttls: bool) -> Self {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (world.path("mail.pem"), world.path("mail.key"));
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        // The last of the world's own ports: no tunnel of these tests asks for it.
        let (port, letters) = (world.tcp_ports().1, world.path("letters"));
        let mut command = Command::new("/usr/bin/aiosmtpd");
        let (as_certificate, as_key) =
            if starttls { ("--tlscert", "--tlskey") } else { ("--smtpscert", "--smtpskey") };
        command
            .args(["-n", "-l", &format!("127.0.0.1:{port}")])
            .arg(as_certificate)
            .arg(&certificate)
            .arg(as_key)
            .arg(&key)
            .args(["-c", "mailboxes.Mailboxes"])
            .arg(&letters)
            .env("PYTHONPATH", world.directory());
        std::fs::write(world.path("mailboxes.py"), MAILBOXES).unwrap();
        let process = Process::start("mail", world.directory(), &mut command);
        eventually("the mail server listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
        });
        Self { port, letters, _process: process }
    }

    /// The letters that are there, with the long lines whole that quoted-printable breaks (RFC 2045 section 6.7).
    pub(crate) fn letters(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.letters.join("new")) else { return Vec::new() };
        let read = |path| std::fs::read_to_string(path).unwrap().replace("\r\n", "\n").replace("=\n", "");
        entries.map(|entry| read(entry.unwrap().path())).collect()
    }

    /// Waits for a letter that `wanted` takes.
    pub(crate) fn letter(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, || self.letters().into_iter().find(|letter| wanted(letter)))
    }
}

/// Writes a secret that nobody else may read.
pub(crate) fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
