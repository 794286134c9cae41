//! `SHA256SUMS`, in the form that `sha256sum --check` reads, and the note that is signed over it.

use std::collections::BTreeMap;

use sallyport_audit::Digest;

/// The first line of what is signed: no checkpoint begins so, so a signature over one is none over the other.
const NOTE_HEADER: &str = "sallyport-pack/1";

/// More files than this are no pack.
pub(super) const MOST_FILES: usize = 1_000;

/// The digest of each file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums(pub(super) BTreeMap<String, String>);

impl Sums {
    pub(super) fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        lines.concat()
    }

    /// `None` if it is not spelled as [`Self::text`] spells it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut sums = BTreeMap::new();
        for line in text.lines() {
            let (digest, name) = line.split_once("  ")?;
            sums.insert(name.to_owned(), digest.to_owned());
        }
        let sums = Self(sums);
        (sums.0.len() <= MOST_FILES && sums.text() == text).then_some(sums)
    }
}

/// What is signed.
pub(super) fn note_text(origin: &str, sums: &str) -> String {
    format!("{NOTE_HEADER}\n{origin}\n{}\n", Digest::of(&[sums.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling() {
        let text = format!("{}  a\n{}  b/c\n", "0".repeat(64), "1".repeat(64));
        assert_eq!(Sums::parse(&text).unwrap().text(), text);
        for bad in [
            text.replace("  a", " a"),
            text.replace("  b/c", "  a"),
            format!("{text}\n"),
            text.replace('\n', "\r\n"),
        ] {
            assert_eq!(Sums::parse(&bad), None, "{bad:?}");
        }
    }
}
