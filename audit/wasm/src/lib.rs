//! The verifier of a record's proof, for a browser.
//!
//! The console shows records, and an auditor should not have to believe it. So the page that shows one asks this module, which is
//! the auditor's own code (`sallyport-audit`, the half that trusts nothing but keys) built for WebAssembly, whether
//! the record stands in the ledger under a head signed by the key that the auditor holds.
//!
//! Promised: a proof is called good only if [`Proof::check`] says so. Trusted: the key that is put in. Not trusted: the
//! proof, and whoever served it. What this can't promise: the page that calls it comes from the gateway, too. Whoever
//! doesn't trust the gateway to serve an honest page checks the same proof with `auditctl check-proof`.
//!
//! No memory is shared: the page puts bytes in and takes bytes out one by one, so that nothing here points anywhere.

use std::cell::RefCell;

use sallyport_audit::note::PublicKey;
use sallyport_audit::proof::{MAX_PROOF_BYTES, Proof};
use serde_json::{Value, json};

/// A list of keys is shorter than this.
const MAX_KEYS_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Bench {
    keys: Vec<u8>,
    proof: Vec<u8>,
    verdict: Vec<u8>,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// Begins anew.
#[unsafe(no_mangle)]
pub extern "C" fn clear() {
    BENCH.with_borrow_mut(|bench| *bench = Bench::default());
}

/// Puts in one more byte of the keys, each on a line of its own as `name+hash+key`.
#[unsafe(no_mangle)]
pub extern "C" fn put_key(byte: u32) {
    BENCH.with_borrow_mut(|bench| put(&mut bench.keys, byte, MAX_KEYS_BYTES));
}

/// Puts in one more byte of the proof (c2sp.org/tlog-proof).
#[unsafe(no_mangle)]
pub extern "C" fn put_proof(byte: u32) {
    BENCH.with_borrow_mut(|bench| put(&mut bench.proof, byte, MAX_PROOF_BYTES));
}

/// Checks what was put in. 1 if the proof is good, 0 if it isn't; why, [`verdict`] tells.
#[unsafe(no_mangle)]
pub extern "C" fn check() -> u32 {
    BENCH.with_borrow_mut(|bench| {
        let checked = judge(&bench.keys, &bench.proof);
        let good = checked.is_ok();
        let told = checked.unwrap_or_else(|why| json!({ "good": false, "why": why }));
        bench.verdict = told.to_string().into_bytes();
        u32::from(good)
    })
}

/// One byte of the verdict, which is JSON; -1 beyond its end.
#[unsafe(no_mangle)]
pub extern "C" fn verdict(at: u32) -> i32 {
    let byte = |bench: &Bench| usize::try_from(at).ok().and_then(|at| bench.verdict.get(at).copied());
    BENCH.with_borrow(byte).map_or(-1, i32::from)
}

/// One byte more than is allowed is kept, so that the check sees that it was too much.
fn put(into: &mut Vec<u8>, byte: u32, most: usize) {
    if into.len() <= most {
        into.push(byte.to_le_bytes()[0]);
    }
}

fn judge(keys: &[u8], proof: &[u8]) -> Result<Value, String> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "it isn't text".to_owned());
    if keys.len() > MAX_KEYS_BYTES {
        return Err("that is too long for a list of keys".to_owned());
    }
    let lines = text(keys)?.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.map(PublicKey::parse).collect::<Result<Vec<_>, _>>();
    let keys = keys.map_err(|error| format!("the key can't be used: {error}"))?;
    let proof = Proof::parse(text(proof)?).map_err(|error| error.to_string())?;
    let shown = proof.check(None, &keys).map_err(|error| error.to_string())?;
    let record: Value = serde_json::from_slice(&shown.bytes).map_err(|error| error.to_string())?;
    Ok(json!({
        "good": true,
        "seq": shown.record.seq.get(),
        "record": record,
        "size": shown.checkpoint.size,
        "root": shown.checkpoint.root.to_string(),
        "origin": shown.checkpoint.origin,
    }))
}
