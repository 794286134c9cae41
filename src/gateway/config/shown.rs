//! The settings as an admin may see them: what was set, and the default of what was not. Secrets come from files, so that none
//! is among them; what looks like one all the same, or stands in an address, is covered.

use toml::{Table, Value};

use super::keys::KEYS;

/// Every setting with its value, in the order of their names.
pub(super) fn of(table: &Table) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    flatten("", &Value::Table(table.clone()), &mut lines);
    for key in KEYS.iter() {
        if let Some(default) = key.default.filter(|_| !lines.iter().any(|(path, _)| path == key.path)) {
            lines.push((key.path.to_owned(), format!("{default} (default)")));
        }
    }
    lines.sort();
    lines
}

fn flatten(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Table(fields) => fields.iter().for_each(|(name, value)| flatten(&below(name), value, into)),
        Value::Array(all) if all.iter().any(Value::is_table) => {
            all.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, into));
        }
        other => into.push((path.to_owned(), covered(path, &other.to_string()))),
    }
}

/// The value, unless its name or its form says that it is nobody's business.
fn covered(path: &str, text: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or_default();
    let secret = ["secret", "password", "passphrase", "pin", "token", "credential"];
    let named = secret.iter().any(|word| name == *word || name.ends_with(&format!("_{word}")));
    let address = text.contains("://") && text.contains('@');
    if named || address { "(covered)".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_and_what_was_not_is_shown_and_no_secret() {
        let table: Table = toml::from_str(
            "[gateway]\ndomain = \"gate.example\"\n[keys]\npin_file = \"p\"\npin = \"1234\"\n[[sinks]]\naddress = \"https://me:pw@siem.example\"\n",
        )
        .unwrap();
        let lines = of(&table);
        let value = |path: &str| lines.iter().find(|(known, _)| known == path).unwrap().1.as_str();
        assert_eq!(value("gateway.domain"), "\"gate.example\"");
        assert_eq!((value("keys.pin"), value("keys.pin_file")), ("(covered)", "\"p\""));
        assert_eq!(value("sinks.0.address"), "(covered)");
        assert!(value("limits.sessions_per_user").ends_with("(default)"));
    }
}
