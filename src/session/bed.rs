//! An open session for tests, on a ledger of its own whose signer can be taken away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::{Ledger, LedgerOptions};

use super::backlog::Backlog;
use super::live::{Facts, Live, Protocol, SessionId};
use super::readers::Readers;
use crate::clock;
use crate::tunnel::TunnelName;

/// A session of somebody without a token, who comes from `source`; and the switch that takes the signer away. The ledger's queue is
/// the smallest that there is.
pub(super) fn open(folder: &Path, source: &str) -> (Arc<Live>, Arc<AtomicBool>) {
    let signer = SoftwareSigner::new("example.org/ledger", [1; 32]);
    let down = signer.down();
    let mut options = LedgerOptions::new(folder, "example.org/ledger", "gw-1");
    options.queue_bytes = 0;
    options.retry_interval = Duration::from_millis(5);
    let (ledger, _) = Ledger::open(options, Box::new(signer), Arc::new(PlainVault)).unwrap();
    let facts = Facts {
        subject: "user:anonymous".to_owned(),
        tunnel: TunnelName::parse("db").unwrap(),
        tunnel_id: "tun-1".to_owned(),
        protocol: Protocol::Tcp,
        grant: None,
        source: source.parse().unwrap(),
        opened: clock::now(),
    };
    let beside = (Backlog::start(ledger.clone()), Readers::start());
    (Live::new(SessionId::new(), facts, ledger, beside), down)
}
