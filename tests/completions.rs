//! Shells complete the command lines of the three programs: a real bash reads what they print, and offers what they have.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken fixture must fail its test loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_sallyport")).with_file_name(name);
    assert!(
        path.exists(),
        "{name} is not built: cargo build --bins -p sallyport -p auditctl (`make test` does)"
    );
    path
}

fn script(name: &str, shell: &str) -> String {
    let output = Command::new(program(name)).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{name} completions {shell} fails");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let ask = r#"
        set -euo pipefail
        source "$SCRIPT"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        complete -p "$1" >/dev/null
        function=$(complete -p "$1" | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" "$1" "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$((COMP_CWORD - 1))]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    // In a file: it is longer than a variable may be.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script(words[0], "bash")).unwrap();
    let bash = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", ask, "bash"])
        .args(words)
        .env("SCRIPT", file.path())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&bash.stderr).into_owned();
    assert!(bash.status.success() && complaint.is_empty(), "bash does not load it: {complaint}");
    String::from_utf8(bash.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_loads_the_completions_of_each_program_and_offers_what_it_has() {
    assert_eq!(offered(&["sallyport", "requests", "ap"]), ["approve"]);
    assert_eq!(offered(&["sallyport", "completions", "f"]), ["fish"]);
    assert_eq!(offered(&["sallyportd", "check"]), ["check-config"]);
    assert_eq!(offered(&["auditctl", "verify-e"]), ["verify-export"]);
    assert!(offered(&["sallyport", "requests", "approve", "--only"]).contains(&"--only-if".to_owned()));
}

#[test]
fn every_shell_has_a_script_that_names_the_program() {
    for name in ["sallyport", "sallyportd", "auditctl"] {
        assert!(script(name, "zsh").starts_with(&format!("#compdef {name}")), "{name}");
        assert!(script(name, "fish").contains(&format!("complete -c {name}")), "{name}");
    }
}
