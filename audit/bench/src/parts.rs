//! What the single steps of a commit take, so that the whole can be understood.

use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use sallyport_audit::HeadSigner;
use sallyport_audit::note::PublicKey;
use serde_json::{Value, json};

use crate::subject::ORIGIN;
use crate::token::{self, TokenSigner};

const TURNS: usize = 500;

/// The middle of how many microseconds each takes.
pub fn measure(directory: &Path) -> Value {
    let mut signer = TokenSigner::new(token::open(directory), ORIGIN);
    let key = PublicKey::new(ORIGIN, &signer.public_key()).expect("a key");
    let message = b"gateway.example.org/ledger\n1000\nQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n";
    let signature = signer.sign(message).expect("it is signed");
    let (to, from) = mpsc::channel::<mpsc::Sender<()>>();
    std::thread::spawn(move || from.into_iter().for_each(|back| back.send(()).expect("it waits")));
    let mut file = std::fs::File::create(directory.join("parts")).expect("a file");
    let bytes = vec![b'x'; 1024];
    json!({
        "sign_in_token_us": middle(|| drop(signer.sign(message))),
        "check_signature_us": middle(|| assert!(key.verify(message, &signature))),
        "other_thread_and_back_us": middle(|| {
            let (back, answer) = mpsc::channel();
            to.send(back).expect("it runs");
            answer.recv().expect("it answers");
        }),
        "append_1_kib_and_sync_us": middle(|| {
            file.write_all(&bytes).expect("it is written");
            file.sync_data().expect("it is synced");
        }),
    })
}

fn middle(mut work: impl FnMut()) -> u64 {
    let mut times: Vec<_> = (0..TURNS)
        .map(|_| {
            let before = Instant::now();
            work();
            before.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(TURNS / 2).map_or(0, |time| time.as_micros() as u64)
}
