//! Section `[reports]`: packs that the gateway makes by itself.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sallyport_compliance::Builtin;

use super::read::path;
use super::reader::Reader;

/// Section `[reports]`.
#[derive(Debug, Clone)]
pub struct Reports {
    /// Where packs are kept.
    pub directory: PathBuf,
    /// Frameworks of which a pack is made when a month is over.
    pub monthly: Vec<Builtin>,
    /// Where months begin, with its name.
    pub zone: (TimeZone, String),
    /// So many packs are kept that somebody asked for.
    pub most: u64,
    /// So many bytes of them, before no more is begun.
    pub most_bytes: u64,
}

impl Reports {
    /// Reads names of frameworks with commas between them; none, if there is nothing.
    ///
    /// # Errors
    ///
    /// A name that is none.
    pub fn frameworks(text: &str) -> Result<Vec<Builtin>, String> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

pub(super) fn read_reports(reader: &mut Reader<'_>, state: &Path) -> Option<Reports> {
    let directory = path(reader, "reports.directory", state);
    let monthly = reader.parse("reports.monthly", |text: String| Reports::frameworks(&text));
    let zone = reader.parse("reports.timezone", |name: String| match TimeZone::get(&name) {
        Ok(zone) => Ok((zone, name)),
        Err(_) => Err(format!("`{name}` is no time zone; give a name such as Europe/Berlin")),
    });
    let most = reader.number("reports.most", 1, 10_000);
    let megabytes = reader.number("reports.most_mb", 1, 1 << 20);
    Some(Reports {
        directory: directory?,
        monthly: monthly?,
        zone: zone?,
        most: most?,
        most_bytes: megabytes?.saturating_mul(1 << 20),
    })
}
