//! Of which frameworks a pack is made when a month is over: those of the configuration, until somebody decides otherwise while the
//! gateway runs. What was decided then stands in a file beside the packs, in the same words as in the configuration, and counts from
//! then on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use sallyport_compliance::Builtin;
use tokio::sync::Notify;

use crate::gateway::config::Reports;
use crate::secret_file;

/// The name of the file.
const FILE: &str = "monthly";

pub(super) struct Schedule {
    path: PathBuf,
    configured: Vec<Builtin>,
    /// Where months begin, with its name.
    pub(super) zone: (TimeZone, String),
    /// Told when it has changed.
    pub(super) changed: Notify,
}

impl Schedule {
    pub(super) fn new(config: &Reports) -> Self {
        let (path, configured) = (config.directory.join(FILE), config.monthly.clone());
        Self { path, configured, zone: config.zone.clone(), changed: Notify::new() }
    }

    /// The frameworks, and whether somebody decided on them while the gateway ran. Blocks.
    ///
    /// # Errors
    ///
    /// A file that can't be read, or that says something else.
    pub(super) fn frameworks(&self) -> Result<(Vec<Builtin>, bool), String> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok((Reports::frameworks(text.trim()).map_err(|why| self.faulty(&why))?, true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((self.configured.clone(), false)),
            Err(error) => Err(self.faulty(&error)),
        }
    }

    /// Decides on them. Blocks.
    ///
    /// # Errors
    ///
    /// The disk doesn't take it: then nothing has changed.
    pub(super) fn decide(&self, frameworks: &[Builtin]) -> Result<(), String> {
        let words: Vec<String> = frameworks.iter().map(ToString::to_string).collect();
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))
            .and_then(|()| secret_file::write(&self.path, format!("{}\n", words.join(",")).as_bytes()))
            .map_err(|error| self.faulty(&error))?;
        self.changed.notify_one();
        Ok(())
    }

    /// When the month is over that is now.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let (zone, _) = &self.zone;
        let first = now.to_zoned(zone.clone()).date().first_of_month();
        first.checked_add(1.month()).ok()?.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    }

    fn faulty(&self, why: &dyn std::fmt::Display) -> String {
        format!("{}: {why}; remove the file to go by reports.monthly again", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(directory: &Path, monthly: &str) -> Schedule {
        Schedule::new(&Reports {
            directory: directory.to_owned(),
            monthly: Reports::frameworks(monthly).unwrap(),
            zone: (TimeZone::get("Europe/Berlin").unwrap(), "Europe/Berlin".to_owned()),
            most: 1,
            most_bytes: 1,
        })
    }

    #[test]
    fn what_was_decided_while_it_ran_counts_from_then_on_and_the_configuration_until_then() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().join("reports");
        let (soc2, pci): (Builtin, Builtin) = ("soc2".parse().unwrap(), "pci".parse().unwrap());
        assert_eq!(schedule(&here, "soc2, pci").frameworks(), Ok((vec![soc2, pci], false)));
        schedule(&here, "soc2").decide(&[pci]).unwrap();
        assert_eq!(schedule(&here, "soc2").frameworks(), Ok((vec![pci], true)));
        schedule(&here, "soc2").decide(&[]).unwrap();
        assert_eq!(schedule(&here, "soc2").frameworks(), Ok((Vec::new(), true)), "none is a decision too");
    }

    #[test]
    fn a_file_that_says_something_else_is_told_and_names_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "cobit").unwrap();
        let told = schedule(directory.path(), "soc2").frameworks().unwrap_err();
        assert!(told.contains("cobit") && told.contains("remove the file"), "{told}");
    }

    #[test]
    fn the_next_pack_is_of_the_month_of_the_time_zone() {
        let directory = tempfile::tempdir().unwrap();
        let now = "2026-10-31T23:30:00Z".parse().unwrap();
        let next = schedule(directory.path(), "").next(now).unwrap();
        assert_eq!(next.to_string(), "2026-11-30T23:00:00Z", "it is November there");
    }
}
