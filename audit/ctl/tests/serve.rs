//! A witness over HTTP, asked by hand.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use sallyport_audit::checkpoint::Checkpoint;
use sallyport_audit::note::{CosignerKey, SignedNote};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl};

/// A witness that listens, and the ledger it watches. Ended when dropped.
struct Serving {
    child: Child,
    address: String,
    keys: Vec<CosignerKey>,
    ledger: Ledger,
    folder: tempfile::TempDir,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn new() -> Self {
        let (ledger, folder) = (Ledger::new(), tempfile::tempdir().unwrap());
        let witness = folder.path().join("witness");
        let made =
            auditctl(&["witness", "init", witness.to_str().unwrap(), "--name", "witness.example.net/w1"]);
        let made = String::from_utf8(made.stdout).unwrap();
        let keys = made.lines().map(|line| CosignerKey::parse(line).unwrap()).collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_auditctl"))
            .args(["witness", "serve"])
            .arg(&witness)
            .args(["--listen", "127.0.0.1:0", "--key", &ledger.key()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { child, address, keys, ledger, folder }
    }

    /// The status, the head and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        // The witness may answer before it has read all, and then stop reading.
        let _ = write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        // A peer whose request was too long may find the connection reset and the answer gone.
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Default::default() };
        (head.get(9..12).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    fn request(&self, old: u64) -> String {
        let file = self.folder.path().join("request");
        let name = file.to_str().unwrap();
        let old = old.to_string();
        let ledger = self.ledger.path().to_str().unwrap();
        assert_code(&auditctl(&["witness", "request", ledger, "--old", &old, "--out", name]), 0);
        std::fs::read_to_string(file).unwrap()
    }

    fn add(&self, request: &str) -> (u16, String, String) {
        self.ask("POST", "/add-checkpoint", request)
    }
}

fn heartbeat() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

#[test]
fn a_witness_over_http_cosigns_what_grows_and_refuses_with_the_statuses_of_the_specification() {
    let mut serving = Serving::new();
    let (status, _, lines) = serving.add(&serving.request(0));
    assert_eq!(status, 200, "{lines}");
    // As the specification has it: the answer behind the checkpoint is a note.
    let note = SignedNote::parse(&format!("{}{lines}", serving.ledger.journal.note)).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    for key in &serving.keys {
        assert!(key.verify(&checkpoint, &note).unwrap().is_some());
    }

    serving.ledger.journal.group([heartbeat(), heartbeat()]);
    serving.ledger.write(&serving.ledger.journal);
    let (status, head, size) = serving.add(&serving.request(0));
    assert_eq!((status, size.as_str()), (409, "8\n"));
    assert!(head.contains("content-type: text/x.tlog.size"), "{head}");
    let good = serving.request(8);
    let without_proof = format!("old 8\n\n{}", good.split_once("\n\n").unwrap().1);
    assert_eq!(serving.add(&without_proof).0, 422);
    assert_eq!(serving.add(&good).0, 200);
    assert_eq!(serving.add(&good.replacen("old 8", "old 11", 1)).0, 400);

    let mut other = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [7; 32]));
    other.group((0..10).map(|_| heartbeat()));
    serving.ledger.write(&other);
    let (status, _, size) = serving.add(&serving.request(10));
    assert_eq!((status, size.as_str()), (409, "10\n"), "a second history of the same length");
    let mut stranger = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [9; 32]));
    stranger.group([heartbeat()]);
    serving.ledger.write(&stranger);
    assert_eq!(serving.add(&serving.request(0)).0, 403);
    let mut unknown = JournalBuilder::new("other", SoftwareSigner::new("other", [7; 32]));
    unknown.group([heartbeat()]);
    serving.ledger.write(&unknown);
    assert_eq!(serving.add(&serving.request(0)).0, 404);
}

#[test]
fn what_is_no_request_is_refused_and_the_witness_goes_on() {
    let serving = Serving::new();
    assert_eq!(serving.add("").0, 400);
    assert_eq!(serving.add("nonsense").0, 400);
    assert_eq!(serving.ask("GET", "/add-checkpoint", "").0, 405);
    assert_eq!(serving.ask("POST", "/other", "").0, 404);
    assert!(matches!(serving.add(&"x".repeat(140_000)).0, 0 | 400));
    assert_eq!(serving.add(&serving.request(0)).0, 200);
}
