//! Records inside the text formats: syslog, CEF, LEEF.

/// What was found in a line of text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Names and values beside the record: `origin`, `seq`, `leaf`, `sink`, `sinkseq`.
    pub(super) places: Vec<(String, String)>,
    /// The text in which the record stands.
    pub(super) inner: Option<String>,
}

/// Takes a line apart; `None` when it is of none of the formats.
pub(super) fn read(line: &str) -> Option<Found> {
    // The first marker counts: what stands in a value comes behind it.
    type Reading = fn(&str) -> Found;
    let markers: [(&str, Reading); 3] = [("[sallyport@", syslog), ("CEF:0|", cef), ("LEEF:2.0|", leef)];
    let found = markers.into_iter().filter_map(|(marker, reading)| Some((line.find(marker)?, reading)));
    let (at, reading) = found.min_by_key(|(at, _)| *at)?;
    Some(reading(line.get(at..)?))
}

/// Structured data (RFC 5424 section 6.3), and behind it the message.
fn syslog(text: &str) -> Found {
    let mut found = Found::default();
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix('[') {
        let Some(after) = element(inside, &mut found.places) else { break };
        rest = after;
    }
    let message = rest.strip_prefix(' ').unwrap_or(rest);
    found.inner = (!message.trim().is_empty()).then(|| message.trim_end_matches(['\n', '\r']).to_owned());
    found
}

/// One element without its first bracket; what comes behind it.
fn element<'t>(text: &'t str, places: &mut Vec<(String, String)>) -> Option<&'t str> {
    let id_ends = text.find([' ', ']'])?;
    let ours = text.get(..id_ends)?.starts_with("sallyport@");
    let mut rest = text.get(id_ends..)?;
    while let Some(param) = rest.strip_prefix(' ') {
        let (name, after) = param.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            let (at, character) = characters.next()?;
            match character {
                '"' => break at + 1,
                '\\' => {
                    let (_, escaped) = characters.next()?;
                    if !matches!(escaped, '"' | '\\' | ']') {
                        value.push('\\');
                    }
                    value.push(escaped);
                }
                other => value.push(other),
            }
        };
        if ours {
            places.push((name.to_owned(), value));
        }
        rest = after.get(end..)?;
    }
    rest.strip_prefix(']')
}

/// The record comes last, as `sallyportRecord`.
fn cef(text: &str) -> Found {
    const RECORD: &str = " sallyportRecord=";
    let mut found = Found::default();
    let (front, record) = match text.split_once(RECORD) {
        Some((front, record)) => (front, Some(record)),
        None => (text, None),
    };
    for (key, label) in
        [("cs1", "origin"), ("cs2", "leaf"), ("cs4", "sink"), ("cn1", "sinkseq"), ("cn2", "oversize")]
    {
        let value = front
            .split_once(&format!(" {key}="))
            .and_then(|(_, rest)| rest.split_once(&format!(" {key}Label={label}")));
        if let Some((value, _)) = value {
            found.places.push((label.to_owned(), unescaped(value)));
        }
    }
    let seq = front.split_once("externalId=").and_then(|(_, rest)| rest.split(' ').next());
    found.places.extend(seq.map(|seq| ("seq".to_owned(), seq.to_owned())));
    found.inner = record.map(|record| unescaped(record.trim_end_matches(['\n', '\r'])));
    found
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

/// The record comes last, as `record`; values are parted by tabs.
fn leef(text: &str) -> Found {
    let mut found = Found::default();
    for pair in text.trim_end_matches(['\n', '\r']).split('\t') {
        // The first pair stands behind the header's last pipe.
        let pair = if pair.starts_with("LEEF:") { pair.rsplit('|').next().unwrap_or(pair) } else { pair };
        match pair.split_once('=') {
            Some(("record", record)) => found.inner = Some(record.to_owned()),
            Some((name, value)) => found.places.push((name.to_owned(), value.to_owned())),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syslog_line_is_taken_apart_whatever_its_values_hold() {
        let line = "<110>1 2026 gw sallyport 1 x [sallyport@32473 origin=\"a \\\"]\\] b\" seq=\"7\"][who@32473 seq=\"8\"] {\"a\":\"[sallyport@\"}\n";
        let found = read(line).unwrap();
        assert_eq!(
            found.places,
            [("origin".to_owned(), "a \"".to_owned() + "]] b"), ("seq".to_owned(), "7".to_owned())]
        );
        assert_eq!(found.inner.unwrap(), "{\"a\":\"[sallyport@\"}");
    }

    #[test]
    fn what_is_cut_off_is_no_crash() {
        let line = "[sallyport@1 seq=\"7\"][who@1 a=\"b\\\"\"] {\"a\":1}";
        for end in 0..line.len() {
            let _ = read(line.get(..end).unwrap());
        }
        for line in
            ["CEF:0|", "CEF:0|a cs1= cs1Label=origin sallyportRecord=\\", "LEEF:2.0|", "LEEF:2.0|\t=\t"]
        {
            let _ = read(line);
        }
    }
}
