//! What messages say: one template for each event, which the operator may replace.
//!
//! A template's first line is the title, all after it the text. The texts of this program are in `templates/`; a folder of the
//! operator's may hold files of the same names. They are tried out when the gateway starts, with every fact that an event has:
//! one that asks for something that doesn't exist is refused then, and not on the night when it is needed.
//!
//! Plain text: nothing is escaped here. A way that sends markup escapes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, Value};

use super::Event;

/// Longest template, title and text, in bytes: a screen of text, and what no mail server refuses.
const MOST_BYTES: usize = 16 << 10;
const MOST_TITLE: usize = 200;
/// What a template may cost, in steps of its evaluation.
const FUEL: u64 = 50_000;

/// Names of everything that a template may ask for. What an event doesn't have is empty.
pub const FACTS: &[&str] = &[
    "action",
    "by",
    "count",
    "event",
    "exceptions",
    "framework",
    "from",
    "gateway",
    "grant",
    "key",
    "link",
    "minutes",
    "object",
    "open",
    "reason",
    "records",
    "report",
    "request",
    "requester",
    "review",
    "role",
    "rule",
    "says",
    "severity",
    "source",
    "ticket",
    "time",
    "to",
    "until",
    "verdict",
    "waits_for",
    "whom",
];

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub title: String,
    /// The rest.
    pub body: String,
}

/// A template that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// A file of the operator's can't be read.
    #[error("the template {path} can't be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no template, or asks for what doesn't exist.
    #[error("the template {name} is faulty: {why}")]
    Faulty {
        /// Its name.
        name: String,
        /// Line and fault.
        why: String,
    },
    /// The folder holds a file that no event would use.
    #[error("{path} is no template of an event")]
    Unknown {
        /// The file.
        path: PathBuf,
    },
}

impl WordsError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the file and who may read it, or remove `notify.templates`",
            Self::Faulty { .. } => {
                "mend the line that is named; docs/notifications.md lists what a template may ask for"
            }
            Self::Unknown { .. } => {
                "name it after an event, such as request.txt; docs/notifications.md lists them"
            }
        }
    }
}

/// The templates in force.
#[derive(Debug)]
pub struct Words {
    templates: Environment<'static>,
}

fn built_in(event: Event) -> &'static str {
    match event {
        Event::Request => include_str!("templates/request.txt"),
        Event::Escalation => include_str!("templates/escalation.txt"),
        Event::Granted => include_str!("templates/granted.txt"),
        Event::Rejected => include_str!("templates/rejected.txt"),
        Event::Expired => include_str!("templates/expired.txt"),
        Event::Revoked => include_str!("templates/revoked.txt"),
        Event::Glass => include_str!("templates/glass.txt"),
        Event::GlassReviewed => include_str!("templates/glass-reviewed.txt"),
        Event::Review => include_str!("templates/review.txt"),
        Event::ReviewDue => include_str!("templates/review-due.txt"),
        Event::GrantDue => include_str!("templates/grant-due.txt"),
        Event::KeyDue => include_str!("templates/key-due.txt"),
        Event::Detection => include_str!("templates/detection.txt"),
        Event::Report => include_str!("templates/report.txt"),
    }
}

impl Words {
    /// The built-in texts, with those of `folder` in their place.
    pub fn load(folder: Option<&Path>) -> Result<Self, WordsError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        templates.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        templates.set_fuel(Some(FUEL));
        let mut own = folder.map(own_templates).transpose()?.unwrap_or_default();
        for event in Event::ALL {
            let text = own.remove(event.as_str()).unwrap_or_else(|| built_in(*event).to_owned());
            let added = templates.add_template_owned(event.as_str(), text);
            added.map_err(|error| faulty(*event, &error))?;
        }
        let words = Self { templates };
        for event in Event::ALL {
            // Once with everything, once with nothing: either branch of an `if` must do.
            let all: BTreeMap<&'static str, String> =
                FACTS.iter().map(|name| (*name, (*name).to_owned())).collect();
            for facts in [all, BTreeMap::new()] {
                words.text(*event, &facts)?;
            }
        }
        Ok(words)
    }

    /// What is said of an event with these facts.
    pub fn text(&self, event: Event, facts: &BTreeMap<&'static str, String>) -> Result<Text, WordsError> {
        let values = FACTS.iter().map(|name| (*name, facts.get(name).cloned().unwrap_or_default()));
        let template = self.templates.get_template(event.as_str()).map_err(|error| faulty(event, &error))?;
        let rendered = template.render(Value::from_pairs(values)).map_err(|error| faulty(event, &error))?;
        let (title, body) = rendered.trim().split_once('\n').unwrap_or((rendered.trim(), ""));
        Ok(Text {
            title: title.trim().chars().filter(|c| !c.is_control()).take(MOST_TITLE).collect(),
            body: body.trim().chars().take(MOST_BYTES).collect(),
        })
    }
}

fn faulty(event: Event, error: &minijinja::Error) -> WordsError {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    WordsError::Faulty { name: format!("{event}.txt"), why: format!("{error}{line}") }
}

/// The operator's own, by the names of their events.
fn own_templates(folder: &Path) -> Result<BTreeMap<String, String>, WordsError> {
    let unreadable = |path: &Path, source| WordsError::Unreadable { path: path.to_owned(), source };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // What an editor leaves behind isn't meant.
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let event = name.strip_suffix(".txt").and_then(|name| name.parse::<Event>().ok());
        let Some(event) = event else { return Err(WordsError::Unknown { path }) };
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        if text.len() > MOST_BYTES {
            let why = format!("it has {} bytes; {MOST_BYTES} is the most", text.len());
            return Err(WordsError::Faulty { name: path.display().to_string(), why });
        }
        found.insert(event.as_str().to_owned(), text);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
        pairs.iter().map(|(name, text)| (*name, (*text).to_owned())).collect()
    }

    #[test]
    fn every_event_has_a_text_with_a_title_and_the_link() {
        let words = Words::load(None).unwrap();
        for event in Event::ALL {
            let text = words.text(*event, &facts(&[("link", "https://gateway.example/x")])).unwrap();
            assert!(!text.title.is_empty(), "{event}");
            assert!(text.body.contains("https://gateway.example/x"), "{event}: {}", text.body);
        }
    }

    #[test]
    fn the_operators_template_takes_the_place_of_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("request.txt"), "Hark, {{ requester }}\nGo to {{ link }}\n")
            .unwrap();
        let words = Words::load(Some(folder.path())).unwrap();
        let text =
            words.text(Event::Request, &facts(&[("requester", "user:visitor"), ("link", "L")])).unwrap();
        assert_eq!(text, Text { title: "Hark, user:visitor".to_owned(), body: "Go to L".to_owned() });
    }

    #[test]
    fn a_template_that_asks_for_what_there_is_not_or_never_ends_is_refused_at_the_start() {
        for (name, text) in [
            ("request.txt", "{{ requestor }}"),
            ("request.txt", "{% if %}"),
            ("request.txt", "{% if requester %}{% else %}{{ nobody }}{% endif %}"),
            ("request.txt", "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"),
            ("requests.txt", "x"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            let refused = Words::load(Some(folder.path())).unwrap_err();
            assert!(refused.to_string().contains("request"), "{refused}");
            assert!(refused.hint().contains("docs/notifications.md"));
        }
    }

    #[test]
    fn a_reason_can_neither_be_a_template_nor_a_second_title() {
        let words = Words::load(None).unwrap();
        let text = words
            .text(Event::Rejected, &facts(&[("reason", "{{ link }} {% if %}"), ("object", "a\nb")]))
            .unwrap();
        assert!(text.body.contains("{{ link }} {% if %}"));
        assert!(!text.title.contains('\n'));
    }
}
