//! The documents stay true: their commands exist with the flags they name, their links lead somewhere, the tests they
//! cite are there, their configuration is accepted, and they keep to the words of the project.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what cannot be read must fail the test loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sallyport::gateway::config::{
    CERTIFICATE_KEYS, CHAT_KEYS, Config, ISSUER_KEYS, MAIL_KEYS, SINK_KEYS, TUNNEL_KEYS, WEBHOOK_KEYS,
    WITNESS_KEYS,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` that end in `ending`; build results, state and hidden folders are passed over.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "var" {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    /// Fenced blocks with their language.
    fn blocks(&self) -> Vec<(String, String)> {
        let mut blocks = Vec::new();
        let mut open: Option<(String, String)> = None;
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), open.take()) {
                (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
                (Some(_), Some(block)) => blocks.push(block),
                (None, Some((language, mut text))) => {
                    text.push_str(line);
                    text.push('\n');
                    open = Some((language, text));
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fenced block has no end", self.name());
        blocks
    }

    /// The text without its fenced blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let outside = self.text.lines().filter(|line| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            !inside && !fence
        });
        outside.collect::<Vec<_>>().join("\n")
    }

    /// Code spans of the prose.
    fn spans(&self) -> Vec<String> {
        self.prose()
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// The anchors that hosts make of headings.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose();
        let headings = headings.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| slug(line.trim_start_matches('#').trim())).collect()
    }
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    files(&root(), ".md", &mut found);
    found.sort();
    assert!(found.len() > 10, "where are the documents?");
    let read = |path: PathBuf| Page { text: fs::read_to_string(&path).unwrap(), path };
    found.into_iter().map(read).collect()
}

/// The simple commands of a shell line, each as its words. Knows quotes, comments, pipes, lists and redirections.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut begun) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                begun = true;
                while let Some(inner) = letters.next() {
                    match inner {
                        _ if inner == letter => break,
                        '\\' if letter == '"' => word.extend(letters.next()),
                        _ => word.push(inner),
                    }
                }
            }
            '#' if !begun => break,
            ' ' | '\t' | '|' | ';' | '&' | '<' | '>' | '(' | ')' => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
                if !letter.is_whitespace() {
                    all.push(std::mem::take(&mut words));
                }
            }
            _ => {
                begun = true;
                word.push(letter);
            }
        }
    }
    if begun {
        words.push(word);
    }
    all.push(words);
    all.retain(|words| !words.is_empty());
    all
}

/// Asks the real programs for their help, once for each command.
struct Programs {
    folder: PathBuf,
    help: BTreeMap<Vec<String>, String>,
}

impl Programs {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_BIN_EXE_sallyport")).parent().unwrap().to_owned();
        assert!(
            folder.join("auditctl").exists(),
            "auditctl is not built: cargo build -p auditctl (`make test` does)"
        );
        Self { folder, help: BTreeMap::new() }
    }

    fn help(&mut self, path: &[String]) -> &str {
        let folder = &self.folder;
        self.help.entry(path.to_vec()).or_insert_with(|| {
            let output = Command::new(folder.join(&path[0])).args(&path[1..]).arg("--help").output().unwrap();
            assert!(output.status.success(), "`{} --help` fails", path.join(" "));
            String::from_utf8(output.stdout).unwrap()
        })
    }

    /// What is wrong with a command line of ours, if anything.
    fn fault(&mut self, words: &[String]) -> Option<String> {
        let mut path = vec![words[0].clone()];
        let mut rest = words[1..].iter().peekable();
        while let Some(word) = rest.peek() {
            let subcommands = subcommands(self.help(&path));
            if subcommands.is_empty() || word.starts_with('-') || word.contains('…') {
                break;
            }
            if !subcommands.contains(*word) {
                // Some commands take an argument, or a command in its place.
                if self.help(&path).contains("\nArguments:\n") {
                    break;
                }
                return Some(format!("`{}` has no command `{word}`", path.join(" ")));
            }
            path.push((*word).clone());
            rest.next();
            if path == ["sallyport", "audit"] {
                path = vec!["auditctl".to_owned()];
            }
        }
        let help = self.help(&path).to_owned();
        let known: BTreeSet<&str> = help
            .split(|letter: char| letter.is_whitespace() || ",[]<>=|".contains(letter))
            .filter(|word| word.starts_with('-'))
            .collect();
        let flags = rest.filter(|word| word.starts_with('-') && word.len() > 1);
        let unknown = flags.map(|flag| flag.split('=').next().unwrap()).find(|flag| !known.contains(flag))?;
        Some(format!("`{}` has no flag `{unknown}`", path.join(" ")))
    }
}

fn subcommands(help: &str) -> BTreeSet<String> {
    let section = help.split_once("\nCommands:\n").map(|(_, section)| section).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.is_empty());
    let names = |line: &str| {
        let mut names: Vec<String> = line
            .strip_prefix("  ")
            .and_then(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .into_iter()
            .collect();
        let aliases = line.split_once("[alias: ").or_else(|| line.split_once("[aliases: "));
        let aliases = aliases.and_then(|(_, rest)| rest.split(']').next());
        names.extend(aliases.into_iter().flat_map(|all| all.split(", ")).map(str::to_owned));
        names
    };
    lines.flat_map(names).collect()
}

/// The part of a simple command that begins with a program of ours, if it is one: without variables set for it, and
/// without the `as PERSON` of the README.
fn ours(words: &[String]) -> Option<&[String]> {
    let mut words = words;
    loop {
        match words {
            [first, rest @ ..] if first.contains('=') && !first.starts_with('-') => words = rest,
            [first, _, rest @ ..] if first == "as" => words = rest,
            [first, ..] if ["sallyport", "sallyportd", "auditctl"].contains(&first.as_str()) => {
                return Some(words);
            }
            _ => return None,
        }
    }
}

#[test]
fn every_command_line_in_the_documents_is_one_that_the_programs_know() {
    let mut programs = Programs::new();
    let (mut faults, mut checked) = (Vec::new(), 0);
    for page in pages() {
        let mut lines: Vec<String> = page.spans();
        for (language, text) in page.blocks() {
            if ["console", "sh", "bash", "shell"].contains(&language.as_str()) {
                let text = text.replace("\\\n", " ");
                lines.extend(text.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line).to_owned()));
            }
        }
        for line in lines {
            for words in commands(&line) {
                let Some(words) = ours(&words).filter(|words| words.len() > 1) else { continue };
                checked += 1;
                faults.extend(programs.fault(words).map(|fault| format!("{}: {fault}: {line}", page.name())));
            }
        }
    }
    assert!(checked > 60, "only {checked} commands were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Calls that no command makes: for machines, before anybody is known; and for browsers, which alone have passkeys.
const WITHOUT_A_COMMAND: &[&str] = &[
    "GET /api/v1/requests/{id}/challenge",
    "POST /api/v1/passkeys",
    "POST /api/v1/passkeys/begin",
    "GET /.well-known/jwks.json",
    "GET /.well-known/sallyport/roots.pem",
    "GET /.well-known/sallyport/succession",
    "GET /api/v1/openapi.json",
    "GET /healthz",
    "GET /metrics",
    "GET /readyz",
    "GET /readyz.json",
];

#[test]
fn every_call_has_a_row_in_the_admin_guide_with_the_command_that_makes_it() {
    let document = fs::read_to_string(root().join("docs/openapi.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &serde_json::Value)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    let calls: BTreeSet<String> = paths.iter().flat_map(methods).collect();
    let guide = fs::read_to_string(root().join("docs/admin.md")).unwrap();
    let table = guide.split_once("| call | command |").unwrap().1;
    let mut programs = Programs::new();
    let mut rows = BTreeSet::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let mut columns = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`']));
        let (call, command) = (columns.next().unwrap().to_owned(), columns.next().unwrap());
        if command == "–" {
            assert!(WITHOUT_A_COMMAND.contains(&call.as_str()), "no command makes {call}");
        } else {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            assert!(words.len() > 1, "{call}: {command}");
            assert_eq!(programs.fault(&words), None, "{call}: {command}");
        }
        assert!(rows.insert(call.clone()), "docs/admin.md has {call} twice");
    }
    assert_eq!(rows, calls, "docs/admin.md lists other calls than docs/openapi.json");
}

#[test]
fn a_command_that_the_programs_do_not_know_would_be_found() {
    let mut programs = Programs::new();
    let mut fault = |line: &str| {
        let commands = commands(line);
        programs.fault(ours(commands.last().unwrap()).unwrap())
    };
    assert_eq!(fault("sallyport requests list --pending"), None);
    assert_eq!(fault("curl x | SALLYPORT_HOME=a as admin sallyport audit verify x --key \"a b\""), None);
    assert!(fault("sallyport requests burn").unwrap().contains("no command `burn`"));
    assert!(fault("sallyportd run --confg x").unwrap().contains("no flag `--confg`"));
    assert!(fault("sallyport audit verify x --kay y").unwrap().contains("no flag `--kay`"));
}

/// What `make run` prints under a heading, such as `Approve`, as the README should have it.
fn printed_commands(script: &str) -> Vec<String> {
    let text = script.rsplit("cat <<TXT\n").next().unwrap().split("\nTXT").next().unwrap();
    let text = text.replace("\\$", "$").replace("\\`", "`").replace("$port", "8443").replace("$s", "var");
    let rows = text.lines().filter(|line| line.starts_with("  "));
    let commands = rows
        .filter_map(|row| row.trim_start().split_once("   ").map(|(_, command)| command.trim().to_owned()));
    let commands = commands.flat_map(|line| line.split(";  ").map(str::to_owned).collect::<Vec<_>>());
    commands.filter(|command| !command.starts_with('(') && !command.starts_with('#')).collect()
}

#[test]
fn the_readme_shows_the_commands_that_make_run_prints() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let commands = printed_commands(&fs::read_to_string(root().join("scripts/run")).unwrap());
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        assert!(readme.contains(&format!("$ {command}\n")), "README.md does not show: {command}");
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let mut faults = Vec::new();
    for page in &pages {
        let prose = page.prose();
        // Code spans may hold brackets that are no links.
        let plain: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for target in plain.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") || target.starts_with("http://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            let Ok(path) = path.canonicalize() else {
                faults.push(format!("{}: {target} does not exist", page.name()));
                continue;
            };
            if !anchor.is_empty() {
                let there = pages.iter().find(|other| other.path.canonicalize().unwrap() == path);
                if !there.is_some_and(|there| there.anchors().contains(anchor)) {
                    faults.push(format!("{}: {target} has no such heading", page.name()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_documents_keep_to_the_words_of_the_project() {
    // What the project must not claim, and what was left unfinished.
    let words = [
        ["tamper", "proof"].join("-"),
        ["quantum", "safe"].join("-"),
        ["fully", "compliant"].join(" "),
        ["un", "hackable"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
    ];
    let mut faults = Vec::new();
    for page in pages() {
        for (number, line) in (1..).zip(page.text.lines()) {
            for word in &words {
                let upper = word.chars().all(char::is_uppercase);
                if if upper { line.contains(word) } else { line.to_lowercase().contains(word) } {
                    faults.push(format!("{}:{number}: says {word:?}", page.name()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// First folders that a path in a document may have: those of every Linux, and those of our own URLs.
const PATHS: &[&str] = &[
    "api", "bin", "connect", "dev", "etc", "healthz", "lib", "mnt", "opt", "proc", "readyz", "run", "sbin",
    "services", "srv", "usr", "var", "visit",
];

#[test]
fn no_document_speaks_of_somebodys_machine() {
    let mut faults = Vec::new();
    for page in pages() {
        for (number, line) in (1..).zip(page.text.lines()) {
            let before = |at: usize| line[..at].chars().next_back();
            for (at, _) in line.match_indices('/') {
                let begins =
                    before(at).is_none_or(|letter| letter.is_whitespace() || "\"'`(=".contains(letter));
                let rest = &line[at + 1..];
                let folder = rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
                let is_path = begins && !folder.is_empty() && rest[folder.len()..].starts_with('/');
                if is_path && !PATHS.contains(&folder) {
                    faults.push(format!("{}:{number}: /{folder}/…", page.name()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_test_that_is_cited_exists() {
    let mut sources = Vec::new();
    files(&root(), ".rs", &mut sources);
    let functions: BTreeSet<String> = sources
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let name = |rest: &str| rest.split(['(', '<']).next().unwrap_or_default().to_owned();
            text.split("fn ").skip(1).map(name).collect::<Vec<_>>()
        })
        .collect();
    let is_test_name = |span: &&String| {
        span.matches('_').count() >= 3
            && span.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let (mut missing, mut cited) = (Vec::new(), 0);
    for page in pages()
        .iter()
        .filter(|page| ["docs/architecture.md", "docs/requirements.md"].contains(&page.name().as_str()))
    {
        for span in page.spans().iter().filter(is_test_name) {
            cited += 1;
            if !functions.contains(span) {
                missing.push(format!("{}: there is no test {span}", page.name()));
            }
        }
    }
    assert!(cited > 40, "only {cited} tests are cited");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_setting_of_each_kind_of_block_is_listed_with_its_default() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let blocks = [
        CERTIFICATE_KEYS,
        SINK_KEYS,
        TUNNEL_KEYS,
        WITNESS_KEYS,
        ISSUER_KEYS,
        WEBHOOK_KEYS,
        CHAT_KEYS,
        MAIL_KEYS,
    ];
    for key in blocks.into_iter().flatten() {
        let row = format!("| `{}` | `{}` | {} |", key.path, key.default.unwrap_or("–"), key.about);
        assert!(page.lines().any(|line| line == row), "docs/configuration.md lacks the row: {row}");
    }
}

#[test]
fn every_piece_of_configuration_in_the_documents_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sallyport.toml");
    for page in pages() {
        for (_, text) in page.blocks().into_iter().filter(|(language, _)| language == "toml") {
            let table: toml::Table =
                toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", page.name()));
            // Workflows, conditions and tests of policies, and control frameworks, have readers and tests of their own.
            let others = ["workflow", "condition", "defaults", "reports", "control", "id"];
            if others.iter().any(|key| table.contains_key(*key)) {
                continue;
            }
            fs::write(&file, &text).unwrap();
            if let Err(error) = Config::load(&file, std::iter::empty(), &[]) {
                panic!("{}: the gateway refuses this configuration: {error}\n{text}", page.name());
            }
        }
    }
}

#[test]
fn every_document_stands_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let mut found = Vec::new();
    files(&root().join("docs"), ".md", &mut found);
    for path in found {
        let name = path.strip_prefix(root().join("docs")).unwrap().display().to_string();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "docs/README.md does not list {name}"
        );
    }
}
