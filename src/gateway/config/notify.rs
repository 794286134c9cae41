//! Who is told what, and by which way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::address::Address;
use lettre::message::Mailbox;
use sallyport_audit::detection::Grade;
use toml::{Table, Value};

use super::keys::{CHAT_KEYS, MAIL_KEYS, WEBHOOK_KEYS};
use super::read::{parse_domain, parse_word, path, required};
use super::reader::{Problems, Reader};
use super::url::ServerUrl;
use crate::access::Subject;
use crate::notify::{Event, Wants};

/// Most blocks of one sort.
const MOST_WAYS: usize = 16;

/// Notifications.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Each way; none: nobody is told.
    pub ways: Vec<NotifyWay>,
    /// What links begin with; the console of this gateway, if it isn't set.
    pub base_url: Option<String>,
    /// Where the operator's own texts are.
    pub templates: Option<PathBuf>,
    /// Until which age a message is tried again.
    pub retry: Duration,
    /// How long before an access review's end its reviewers are reminded.
    pub remind: Option<Duration>,
    /// How long before a grant's end its holder is reminded.
    pub remind_grant: Option<Duration>,
}

/// One way.
#[derive(Debug, Clone)]
pub struct NotifyWay {
    /// What the operator calls it.
    pub name: String,
    /// What goes this way.
    pub wants: Wants,
    /// Where to.
    pub told: Told,
}

/// Where a way leads.
#[derive(Debug, Clone)]
pub enum Told {
    /// A program.
    Webhook(WebhookSettings),
    /// A channel.
    Chat(ChatSettings),
    /// People's letter boxes.
    Mail(MailSettings),
}

/// A `[[notify.webhook]]` block.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Where to post.
    pub url: ServerUrl,
    /// File with the secret that signs.
    pub secret_file: PathBuf,
    /// Roots that its certificate must lead to.
    pub root_file: Option<PathBuf>,
}

/// A `[[notify.chat]]` block.
#[derive(Debug, Clone)]
pub struct ChatSettings {
    /// File with the address, which is the secret.
    pub url_file: PathBuf,
    /// Roots that its certificate must lead to.
    pub root_file: Option<PathBuf>,
}

/// How the way to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailProtection {
    /// TLS from the first byte.
    Tls,
    /// TLS after a greeting in clear; without it nothing is sent.
    StartTls,
    /// None: on this host alone.
    None,
}

/// A `[[notify.mail]]` block.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way is protected.
    pub protection: MailProtection,
    /// Roots that its certificate must lead to.
    pub root_file: Option<PathBuf>,
    /// User, and the file with the password.
    pub login: Option<(String, PathBuf)>,
    /// Whose letters they are.
    pub from: Mailbox,
    /// How the gateway greets.
    pub hello: String,
    /// Where people read mail.
    pub addresses: BTreeMap<Subject, Address>,
    /// A name that is an address in one of these is its own.
    pub domains: Vec<String>,
}

/// Reads the settings in `[notify]`.
pub(super) fn read_notify(reader: &mut Reader<'_>, state: &Path, ways: Vec<NotifyWay>) -> Option<Notify> {
    let base_url = reader.parse("notify.base_url", |text: String| {
        // The same rule: whoever follows a link in clear may end anywhere.
        ServerUrl::parse(&text).map(|_| text.trim_end_matches('/').to_owned())
    });
    let templates = path(reader, "notify.templates", state);
    let retry = reader.number("notify.retry_secs", 0, 604_800);
    let remind = reader.number("notify.remind_hours", 0, 720)?;
    let remind_grant = reader.number("notify.remind_grant_secs", 0, 2_592_000)?;
    Some(Notify {
        ways,
        base_url,
        templates,
        retry: Duration::from_secs(retry?),
        remind: (remind > 0).then(|| Duration::from_secs(remind * 3600)),
        remind_grant: (remind_grant > 0).then(|| Duration::from_secs(remind_grant)),
    })
}

/// Takes the `[[notify.…]]` blocks out of the table and reads them.
pub(super) fn read_ways(
    table: &mut Table,
    state: &Path,
    domain: &str,
    problems: &mut Problems,
) -> Vec<NotifyWay> {
    let Some(notify) = table.get_mut("notify").and_then(Value::as_table_mut) else { return Vec::new() };
    let mut ways: Vec<NotifyWay> = Vec::new();
    for (sort, keys) in [("webhook", WEBHOOK_KEYS), ("chat", CHAT_KEYS), ("mail", MAIL_KEYS)] {
        let entries = match notify.remove(sort) {
            None => continue,
            Some(Value::Array(entries)) if entries.len() <= MOST_WAYS => entries,
            Some(_) => {
                let block = format!("notify.{sort}");
                problems
                    .add(&block, format!("write each as a block [[{block}]], at most {MOST_WAYS} of them"));
                continue;
            }
        };
        for (index, entry) in entries.into_iter().enumerate() {
            let prefix = format!("notify.{sort}[{index}].");
            let Value::Table(entry) = entry else {
                problems.add(&prefix, format!("write each as a block [[notify.{sort}]]"));
                continue;
            };
            let mut reader = Reader::new(entry, keys, &prefix, problems);
            let Some(way) = read_way(&mut reader, sort, state, domain) else { continue };
            if ways.iter().any(|other| other.name == way.name) {
                reader.fault("name", format!("two ways are called `{}`", way.name));
            }
            ways.push(way);
        }
    }
    ways
}

fn read_way(reader: &mut Reader<'_>, sort: &str, state: &Path, domain: &str) -> Option<NotifyWay> {
    let name = required(reader, "name", |text| parse_word(text, 32));
    let events = reader.parse("events", |list: Vec<String>| {
        if list.is_empty() {
            return Ok(Event::ALL.iter().copied().collect());
        }
        list.iter().map(|word| word.parse::<Event>()).collect::<Result<BTreeSet<_>, _>>()
    });
    let grades = Grade::ALL.map(|grade| (grade.as_str(), grade));
    let detections_from = reader.word("detections_from", &grades);
    let root_file = path(reader, "root_file", state);
    let told = match sort {
        "webhook" => {
            let url = required(reader, "url", |text| ServerUrl::parse(&text));
            let secret_file = required_path(reader, "secret_file", state);
            Told::Webhook(WebhookSettings { url: url?, secret_file: secret_file?, root_file })
        }
        "chat" => Told::Chat(ChatSettings { url_file: required_path(reader, "url_file", state)?, root_file }),
        _ => Told::Mail(read_mail(reader, state, domain, root_file)?),
    };
    let wants = Wants { events: events?, detections_from: detections_from? };
    Some(NotifyWay { name: name?, wants, told })
}

fn required_path(reader: &mut Reader<'_>, key: &str, state: &Path) -> Option<PathBuf> {
    required(reader, key, |text| {
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(state.join(text)) }
    })
}

fn read_mail(
    reader: &mut Reader<'_>,
    state: &Path,
    domain: &str,
    root_file: Option<PathBuf>,
) -> Option<MailSettings> {
    let host = required(reader, "host", |text| match text.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(text),
        Err(_) => parse_domain(text),
    });
    let words = [
        ("tls", MailProtection::Tls),
        ("starttls", MailProtection::StartTls),
        ("none", MailProtection::None),
    ];
    let protection = reader.word("protection", &words);
    let port = reader.number("port", 1, 65_535).and_then(|port| u16::try_from(port).ok());
    let user = reader.take::<String>("user");
    let password_file = path(reader, "password_file", state);
    let from = required(reader, "from", |text| {
        text.parse::<Mailbox>().map_err(|error| format!("`{text}`: {error}"))
    });
    let addresses =
        reader.parse("addresses", |list: Vec<String>| list.iter().map(|line| address_of(line)).collect());
    let domains = reader.parse("domains", |list: Vec<String>| {
        list.into_iter().map(parse_domain).collect::<Result<Vec<_>, _>>()
    });
    let login = match (user, password_file) {
        (Some(user), Some(file)) => Some((user, file)),
        (None, None) => None,
        _ => {
            reader.fault("user", "needs password_file beside it, and the other way round");
            None
        }
    };
    let (host, protection) = (host?, protection?);
    if protection == MailProtection::None {
        let here = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !here {
            reader.fault("protection", "`none` is for a server on this host alone; write tls or starttls");
        }
        if login.is_some() {
            reader.fault("user", "a password is sent over TLS alone");
        }
    }
    let usual = match protection {
        MailProtection::Tls => 465,
        MailProtection::StartTls => 587,
        MailProtection::None => 25,
    };
    Some(MailSettings {
        host,
        port: port.unwrap_or(usual),
        protection,
        root_file,
        login,
        from: from?,
        hello: domain.to_owned(),
        addresses: addresses?,
        domains: domains?,
    })
}

fn address_of(line: &str) -> Result<(Subject, Address), String> {
    let (person, address) =
        line.split_once('=').ok_or_else(|| format!("`{line}` is not user:NAME=ADDRESS"))?;
    let person: Subject = person.trim().parse().map_err(|error| format!("{error}"))?;
    let address =
        address.trim().parse().map_err(|_| format!("`{}` is not a mail address", address.trim()))?;
    Ok((person, address))
}
