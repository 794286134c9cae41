//! Printing to standard output. `println!` panics when the reader is gone (`sallyport log | head`); this does not.

use std::fmt::Display;
use std::io::Write as _;

/// Prints one line. A reader that has left wants no more, which is no failure of the command.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
