//! Work that may wait steps behind work that somebody waits for.
//!
//! The query store and the search index are copies that trail the journal. In a burst every moment that they take
//! from the processors would be taken from callers; they catch up behind it, and what may wait for the store is
//! bounded in any case.

/// How much further back than the rest: about a tenth of its share while everybody wants to work.
const NICE: i32 = 10;

/// Has the calling thread, and threads that it starts, work in the background. Best effort.
pub(super) fn step_back() {
    // Of this thread alone: Linux keeps the value per thread, and "no process" means the caller.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread of the ledger works at the priority of the others");
    }
}
