//! Every way to change one record: each field, at any depth, to other values, and each other spelling.

use sallyport_audit::{Kind, Personal};
use serde_json::{Map, Value, json};

use crate::ledger::canonical;

/// A record that says something else, or the same in another spelling.
pub(crate) struct Changed {
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether it is still the canonical form of an object with the right keys, which a signature could make good.
    pub(crate) wrong_in_itself: bool,
}

/// Every single-field change of a record.
pub(crate) fn fields(record: &[u8]) -> Vec<Changed> {
    let whole: Value = serde_json::from_slice(record).unwrap();
    let mut changed = Vec::new();
    let mut paths = Vec::new();
    collect(&whole, &mut Vec::new(), &mut paths);
    for path in &paths {
        let name = path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
        let old = at(&mut whole.clone(), path).clone();
        for new in others(&name, &old) {
            let mut value = whole.clone();
            *at(&mut value, path) = new.clone();
            changed.push(Changed {
                what: format!("{name} set to {new}"),
                bytes: canonical(&value),
                wrong_in_itself: false,
            });
        }
        changed.extend(without(&whole, path, &name));
    }
    for key in ["action", "correlation", "grant", "object", "policy", "session"] {
        changed.extend(with(&whole, key, json!("added")));
    }
    changed.extend(with(&whole, "details", json!({ "added": 1 })));
    changed.extend(with(&whole, "personal", json!({ "reason": "0".repeat(64) })));
    for mut extra in
        [with(&whole, "unknown", json!(1)), with(&whole, "", json!("")), with(&whole, "details", json!({}))]
    {
        for changed in &mut extra {
            changed.wrong_in_itself = true;
        }
        changed.extend(extra);
    }
    for (into, field) in [("details", "added"), ("personal", "reason")] {
        let mut value = whole.clone();
        if let Some(object) = value.get_mut(into).and_then(Value::as_object_mut) {
            object.insert(field.to_owned(), json!("f".repeat(64)));
            changed.push(Changed {
                what: format!("{into}.{field} added"),
                bytes: canonical(&value),
                wrong_in_itself: false,
            });
        }
    }
    changed.retain(|changed| changed.bytes != record);
    changed
}

/// The same content, spelled as nobody but a forger spells it.
pub(crate) fn spellings(record: &[u8]) -> Vec<Changed> {
    let text = std::str::from_utf8(record).unwrap();
    let value: Map<String, Value> = serde_json::from_slice(record).unwrap();
    let backwards: Vec<_> =
        value.iter().rev().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    let first = value.iter().next().map(|(key, value)| format!("{}:{value}", json!(key))).unwrap();
    let spelled = [
        ("a space before it", format!(" {text}")),
        ("a space behind it", format!("{text} ")),
        ("a line end behind it", format!("{text}\n")),
        ("a byte order mark before it", format!("\u{feff}{text}")),
        ("a space after a colon", text.replacen(':', ": ", 1)),
        ("a space after a comma", text.replacen(',', ", ", 1)),
        ("keys backwards", format!("{{{}}}", backwards.join(","))),
        ("a key twice, the same", text.replacen('{', &format!("{{{first},"), 1)),
        (
            "a key twice, another value behind",
            text.replacen("\"kind\":", "\"kind\":\"sink.failed\",\"kind\":", 1),
        ),
        ("a letter escaped", text.replacen("\"kind\"", "\"\\u006bind\"", 1)),
        ("a slash escaped", text.replacen('/', "\\/", 1)),
        ("a number with a fraction", text.replacen("\"v\":1", "\"v\":1.0", 1)),
        ("a number with an exponent", text.replacen("\"v\":1", "\"v\":1e0", 1)),
        ("a number with a plus sign", text.replacen("\"v\":1", "\"v\":+1", 1)),
        ("a number with a zero before it", text.replacen("\"v\":1", "\"v\":01", 1)),
        ("the digest in capitals", text.replacen(&prev(text), &prev(text).to_uppercase(), 1)),
        ("the time with fewer digits", text.replacen("00000Z\"", "Z\"", 1)),
        ("the time with an offset", text.replacen("Z\"", "+00:00\"", 1)),
        ("an array around it", format!("[{text}]")),
        ("its last brace missing", text[..text.len() - 1].to_owned()),
        ("something behind it", format!("{text}{{}}")),
        ("nothing at all", String::new()),
        ("an empty object", "{}".to_owned()),
        ("null", "null".to_owned()),
    ];
    let mut changed: Vec<_> = spelled
        .into_iter()
        .map(|(what, text)| Changed {
            what: what.to_owned(),
            bytes: text.into_bytes(),
            wrong_in_itself: true,
        })
        .collect();
    let broken = [record, b"\xff"].concat();
    changed.push(Changed {
        what: "bytes that are not UTF-8".to_owned(),
        bytes: broken,
        wrong_in_itself: true,
    });
    changed.retain(|changed| changed.bytes != record);
    changed
}

fn prev(text: &str) -> String {
    text.split_once("\"prev\":\"").map(|(_, rest)| rest[..64].to_owned()).unwrap()
}

#[derive(Clone)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

fn collect(value: &Value, path: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (Step::Key(key.clone()), value)).collect(),
        Value::Array(array) => array.iter().enumerate().map(|(at, value)| (Step::Index(at), value)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        path.push(step);
        paths.push(path.clone());
        collect(child, path, paths);
        path.pop();
    }
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

/// Other values for the field `name`.
fn others(name: &str, old: &Value) -> Vec<Value> {
    let mut new = vec![json!(null), json!(true), json!(0), json!(""), json!([]), json!({}), json!("other")];
    match old {
        Value::String(text) => {
            new.push(json!(format!("{text}x")));
            new.push(json!(text.to_uppercase()));
            let mut chars: Vec<char> = text.chars().collect();
            for at in [0, chars.len() / 2, chars.len().saturating_sub(1)] {
                if let Some(char) = chars.get_mut(at) {
                    *char = if *char == '0' { '1' } else { '0' };
                }
                new.push(json!(chars.iter().collect::<String>()));
            }
            if chars.pop().is_some() {
                new.push(json!(chars.into_iter().collect::<String>()));
            }
        }
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            new.extend([number + 1, number - 1, -number, number + 256, 1 << 53, i64::MIN].map(Value::from));
            new.extend([json!(0.5), json!(u64::MAX), json!(1e300)]);
        }
        Value::Bool(bool) => new.push(json!(!bool)),
        Value::Array(array) => new.push(json!(array.iter().rev().collect::<Vec<_>>())),
        Value::Null | Value::Object(_) => {}
    }
    match name {
        "kind" => new.extend(Kind::ALL.iter().map(|kind| json!(kind.as_str()))),
        "result" => new.extend(["success", "denied", "failure"].map(Value::from)),
        "time" => {
            new.extend(["2026-01-01T00:00:00.500000000Z", "1970-01-01T00:00:00.000000000Z"].map(Value::from));
        }
        "v" => new.extend([2, 3, 255].map(Value::from)),
        _ => {}
    }
    new.retain(|new| new != old);
    new
}

/// Without the field, and with its value under another key.
fn without(whole: &Value, path: &[Step], name: &str) -> Vec<Changed> {
    let (last, parents) = path.split_last().unwrap();
    let mut value = whole.clone();
    let mut changed = Vec::new();
    match (at(&mut value, parents), last) {
        (Value::Object(object), Step::Key(key)) => {
            let old = object.remove(key).unwrap();
            changed.push((format!("{name} removed"), canonical(&value)));
            let others = Personal::ALL.iter().map(|field| field.as_str().to_owned());
            for other in others.chain([format!("{key}x"), "object".to_owned(), "a".to_owned()]) {
                let Value::Object(object) = at(&mut value, parents) else { continue };
                if object.contains_key(&other) || other == *key {
                    continue;
                }
                object.insert(other.clone(), old.clone());
                let bytes = canonical(&value);
                changed.push((format!("{name} renamed to {other}"), bytes));
                let Value::Object(object) = at(&mut value, parents) else { continue };
                object.remove(&other);
            }
        }
        (Value::Array(array), Step::Index(index)) => {
            array.remove(*index);
            changed.push((format!("{name} removed"), canonical(&value)));
        }
        _ => {}
    }
    changed.into_iter().map(|(what, bytes)| Changed { what, bytes, wrong_in_itself: false }).collect()
}

/// With a key that it does not have.
fn with(whole: &Value, key: &str, new: Value) -> Vec<Changed> {
    let mut value = whole.clone();
    let Value::Object(object) = &mut value else { return Vec::new() };
    if object.contains_key(key) {
        return Vec::new();
    }
    object.insert(key.to_owned(), new);
    vec![Changed { what: format!("{key} added"), bytes: canonical(&value), wrong_in_itself: false }]
}
