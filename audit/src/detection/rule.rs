//! Rules as they are read, and as they are once they cannot be wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{
    Timestamp,
    civil::{Time, Weekday},
    tz::TimeZone,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{kind::Kind, record::Outcome};

/// More rules are refused.
const MOST_RULES: usize = 200;
/// A rule that counts further is refused: each count is kept in memory for each person.
const MOST_COUNT: u32 = 1000;

/// Rules that passed every check.
#[derive(Clone, Debug)]
pub struct Rules(pub(super) Vec<Rule>);

/// Why rules were refused. Nothing of them is used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// It is not TOML, or has other keys.
    #[error("the detection rules are not in their form: {0}")]
    Form(String),
    /// A rule makes no sense.
    #[error("detection rule {rule:?}: {what}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong.
        what: String,
    },
    /// There are too many.
    #[error("there are {0} detection rules; at most 200 are allowed")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    says: String,
    severity: Grade,
    kinds: Vec<String>,
    #[serde(default)]
    results: Vec<Outcome>,
    #[serde(default)]
    details: BTreeMap<String, Value>,
    #[serde(default)]
    except: BTreeMap<String, Value>,
    above: Option<Above>,
    grew: Option<String>,
    outside: Option<RawHours>,
    dormant_days: Option<u32>,
    by: Option<By>,
    #[serde(default = "one")]
    count: u32,
    distinct: Option<By>,
    #[serde(default = "five_minutes")]
    within_secs: u32,
    #[serde(default = "an_hour")]
    quiet_secs: u32,
}

fn one() -> u32 {
    1
}

fn five_minutes() -> u32 {
    300
}

fn an_hour() -> u32 {
    3600
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHours {
    from: String,
    to: String,
    #[serde(default)]
    days: Vec<String>,
    #[serde(default)]
    timezone: Option<String>,
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// Look today.
    High,
    /// Look now.
    Critical,
}

impl Grade {
    /// Every one, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What records are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// Who did it.
    Subject,
    /// To whom it was done.
    Target,
    /// The network address, without its port; of IPv6, the /64.
    Source,
    /// To what it was done.
    Object,
    /// The session.
    Session,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Above {
    pub(super) detail: String,
    pub(super) value: i64,
}

/// Hours of some days in a time zone.
#[derive(Clone, Debug)]
pub(super) struct Hours {
    from: Time,
    to: Time,
    days: Vec<Weekday>,
    zone: TimeZone,
}

impl Hours {
    pub(super) fn holds(&self, time: Timestamp) -> bool {
        let local = time.to_zoned(self.zone.clone());
        let (day, time) = (local.weekday(), local.time());
        self.days.contains(&day)
            && if self.from <= self.to {
                self.from <= time && time < self.to
            } else {
                time >= self.from || time < self.to
            }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) says: String,
    pub(super) grade: Grade,
    pub(super) kinds: BTreeSet<Kind>,
    pub(super) results: Vec<Outcome>,
    pub(super) details: BTreeMap<String, Value>,
    pub(super) except: BTreeMap<String, Value>,
    pub(super) above: Option<Above>,
    pub(super) grew: Option<String>,
    pub(super) outside: Option<Hours>,
    pub(super) dormant_secs: Option<i64>,
    pub(super) by: Option<By>,
    pub(super) count: usize,
    pub(super) distinct: Option<By>,
    pub(super) within_secs: i64,
    pub(super) quiet_secs: i64,
}

impl Rules {
    /// Reads rules.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text).map_err(|error| RulesError::Form(error.to_string()))?;
        if file.rule.len() > MOST_RULES {
            return Err(RulesError::TooMany(file.rule.len()));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(file.rule.len());
        for raw in file.rule {
            let name = raw.name.clone();
            let refused = |what: String| RulesError::Rule { rule: name.clone(), what };
            if rules.iter().any(|other| other.name == raw.name) {
                return Err(refused("two rules have this name".to_owned()));
            }
            rules.push(rule(raw).map_err(refused)?);
        }
        Ok(Self(rules))
    }

    /// Their names, in order, and how grave what they find is.
    pub fn names(&self) -> impl Iterator<Item = (&str, Grade)> {
        self.0.iter().map(|rule| (rule.name.as_str(), rule.grade))
    }
}

fn rule(raw: Raw) -> Result<Rule, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if raw.name.is_empty() || raw.name.len() > 64 || !raw.name.chars().all(fits) {
        return Err("a name has 1 to 64 lower-case letters, digits and dashes".to_owned());
    }
    if raw.says.is_empty() || raw.says.len() > 512 || raw.says.chars().any(char::is_control) {
        return Err("`says` is a sentence of at most 512 bytes".to_owned());
    }
    let mut kinds = BTreeSet::new();
    for word in &raw.kinds {
        let named = Kind::named(word);
        if named.is_empty() {
            return Err(format!("there is no kind {word:?}"));
        }
        kinds.extend(named);
    }
    // What it raises must not make it raise again.
    kinds.remove(&Kind::DetectionRaised);
    if kinds.is_empty() {
        return Err("`kinds` names none that can be looked at".to_owned());
    }
    if raw.count == 0 || raw.count > MOST_COUNT || raw.within_secs == 0 {
        return Err("`count` is 1 to 1000, and `within_secs` at least 1".to_owned());
    }
    if (raw.count > 1 || raw.distinct.is_some() || raw.dormant_days.is_some()) && raw.by.is_none() {
        return Err("`count`, `distinct` and `dormant_days` need `by`".to_owned());
    }
    if raw.dormant_days == Some(0) {
        return Err("`dormant_days` is at least 1".to_owned());
    }
    Ok(Rule {
        outside: raw.outside.as_ref().map(hours).transpose()?,
        name: raw.name,
        says: raw.says,
        grade: raw.severity,
        kinds,
        results: raw.results,
        details: raw.details,
        except: raw.except,
        above: raw.above,
        grew: raw.grew,
        dormant_secs: raw.dormant_days.map(|days| i64::from(days) * 86_400),
        by: raw.by,
        count: usize::try_from(raw.count).unwrap_or(usize::MAX),
        distinct: raw.distinct,
        within_secs: i64::from(raw.within_secs),
        quiet_secs: i64::from(raw.quiet_secs),
    })
}

fn hours(raw: &RawHours) -> Result<Hours, String> {
    let time =
        |text: &str| text.parse::<Time>().map_err(|_| format!("{text:?} is not a time of day such as 06:00"));
    let mut days = Vec::new();
    for day in &raw.days {
        days.push(match day.as_str() {
            "mon" => Weekday::Monday,
            "tue" => Weekday::Tuesday,
            "wed" => Weekday::Wednesday,
            "thu" => Weekday::Thursday,
            "fri" => Weekday::Friday,
            "sat" => Weekday::Saturday,
            "sun" => Weekday::Sunday,
            _ => return Err(format!("{day:?} is not a day: mon, tue, wed, thu, fri, sat, sun")),
        });
    }
    if days.is_empty() {
        days.extend([
            Weekday::Monday,
            Weekday::Tuesday,
            Weekday::Wednesday,
            Weekday::Thursday,
            Weekday::Friday,
            Weekday::Saturday,
            Weekday::Sunday,
        ]);
    }
    let zone = match raw.timezone.as_deref() {
        None | Some("UTC") => TimeZone::UTC,
        Some(name) => TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}"))?,
    };
    Ok(Hours { from: time(&raw.from)?, to: time(&raw.to)?, days, zone })
}
