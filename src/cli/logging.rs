//! The log of `sallyportd` on standard error, and the filter before it, which can be changed while it runs.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::console::LogDesk;

/// The filter in force.
pub(super) struct Filter(Handle<EnvFilter, Registry>);

impl LogDesk for Filter {
    fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = EnvFilter::try_new(filter)
            .map_err(|error| format!("`{filter}` is not a log level or filter: {error}"))?;
        self.0.reload(parsed).map_err(|error| error.to_string())
    }
}

/// Starts the log. The configuration has checked `level`; what cannot be parsed falls back to the default.
pub(super) fn start(level: &str, json: bool) -> Filter {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(level).unwrap_or_default());
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer().with_ansi(colour).with_writer(std::io::stderr);
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    // A second call (in a test) finds a log already there, which is as good.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Filter(handle)
}
