//! `completions`: what a shell has to know to complete command lines.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::out::say;

/// Print what a shell reads to complete command lines: `source <(sallyport completions bash)`
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Prints it for the program `C`.
    pub(super) fn show<C: CommandFactory>(&self) {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        say(format_args!("{}", String::from_utf8_lossy(&script).trim_end()));
    }
}
