//! A progress bar, where somebody looks at it.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sallyport_audit::verify::Progress;

/// Shown on a terminal only, and taken away at the end.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Says what is done: one word.
    pub(crate) fn of(doing: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = format!("{doing} {{bar:40}} {{percent:>3}} %, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    pub(crate) fn show(&self, progress: Progress) {
        if self.0.length() != Some(progress.total) {
            self.0.set_length(progress.total);
        }
        self.0.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
