//! Where copies of pruned segments go: a directory, or a bucket of an S3-compatible service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusty_s3::{Bucket, UrlStyle};

use super::reader::Reader;
use super::url::ServerUrl;

/// The place of `retention.archive`.
#[derive(Debug, Clone)]
pub enum ArchivePlace {
    /// A directory.
    Directory(PathBuf),
    /// A bucket.
    S3(Box<S3Place>),
}

/// A bucket, and how it is reached.
#[derive(Debug, Clone)]
pub struct S3Place {
    /// Name, region and address.
    pub bucket: Bucket,
    /// Where the bucket is asked.
    pub url: ServerUrl,
    /// Stands before the names of files, with a `/` between; may be empty.
    pub prefix: String,
    /// File with the credentials; the environment, if there is none.
    pub credentials_file: Option<PathBuf>,
    /// Roots that the server's certificate must lead to; the system's, if there are none.
    pub root_file: Option<PathBuf>,
    /// Longest silence of the server.
    pub timeout: Duration,
    /// Whether what is written there is locked.
    pub lock: Option<Lock>,
}

/// An object lock (Amazon's "S3 Object Lock", which others have, too).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Who may lift it.
    pub mode: LockMode,
    /// For how long.
    pub days: u32,
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

impl LockMode {
    /// As it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl S3Place {
    /// For people and records: `s3://bucket/prefix`.
    pub fn location(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket.name(), self.prefix)
    }

    /// The object that holds the file `name`.
    pub fn object(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }
}

/// A setting is wrong; the reader knows which.
pub(super) struct Faulty;

/// Reads `retention.archive` and the settings of S3. `None`: there is no archive.
pub(super) fn read_archive(reader: &mut Reader<'_>, state: &Path) -> Result<Option<ArchivePlace>, Faulty> {
    let before = reader.problems.len();
    let region = reader.parse("retention.s3_region", parse_region);
    let endpoint =
        reader.parse("retention.s3_endpoint", |text: String| ServerUrl::parse(&text).map(|_| text));
    let credentials_file = super::read::path(reader, "retention.s3_credentials_file", state);
    let root_file = super::read::path(reader, "retention.s3_root_file", state);
    let timeout = reader.number("retention.s3_timeout_secs", 1, 600).map(Duration::from_secs);
    let modes = [
        ("none", None),
        ("governance", Some(LockMode::Governance)),
        ("compliance", Some(LockMode::Compliance)),
    ];
    let mode = reader.word("retention.s3_lock", &modes);
    let days = reader.number("retention.s3_lock_days", 1, 36_525).and_then(|days| u32::try_from(days).ok());
    let place = reader.parse("retention.archive", |text: String| match text.strip_prefix("s3://") {
        Some(rest) => parse_bucket(rest).map(Place::S3),
        None if text.is_empty() => Err("must not be empty".to_owned()),
        None if text.contains("://") => {
            Err(format!("`{text}` is neither a directory nor s3://BUCKET/PREFIX"))
        }
        None => Ok(Place::Directory(state.join(text))),
    });
    if reader.problems.len() != before {
        return Err(Faulty);
    }
    let (name, prefix) = match place {
        None => return Ok(None),
        Some(Place::Directory(directory)) => return Ok(Some(ArchivePlace::Directory(directory))),
        Some(Place::S3(found)) => found,
    };
    // Each has a default, and no fault was found.
    let (Some(region), Some(timeout), Some(days), Some(mode)) = (region, timeout, days, mode) else {
        return Err(Faulty);
    };
    match address(endpoint, &name, region) {
        Ok((bucket, url)) => Ok(Some(ArchivePlace::S3(Box::new(S3Place {
            bucket,
            url,
            prefix,
            credentials_file,
            root_file,
            timeout,
            lock: mode.map(|mode| Lock { mode, days }),
        })))),
        Err(message) => {
            reader.fault("retention.s3_endpoint", message);
            Err(Faulty)
        }
    }
}

enum Place {
    Directory(PathBuf),
    S3((String, String)),
}

/// A service of one's own is asked by path; Amazon's by host name, but for a name with dots, which its certificates do
/// not cover.
fn address(endpoint: Option<String>, name: &str, region: String) -> Result<(Bucket, ServerUrl), String> {
    let style = if endpoint.is_some() || name.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
    let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let endpoint = endpoint.parse().map_err(|error| format!("`{endpoint}` is not an address: {error}"))?;
    let bucket = Bucket::new(endpoint, style, name.to_owned(), region)
        .map_err(|error| format!("no address can be made of it: {error}"))?;
    let url = ServerUrl::parse(bucket.base_url().as_str())?;
    Ok((bucket, url))
}

fn parse_region(text: String) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text)
    } else {
        Err(format!("`{text}` is not a region, such as eu-central-1"))
    }
}

fn parse_bucket(text: &str) -> Result<(String, String), String> {
    let form = || format!("`s3://{text}` is not s3://BUCKET/PREFIX");
    let (name, prefix) = text.split_once('/').unwrap_or((text, ""));
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let named = (3..=63).contains(&name.len())
        && name.bytes().all(|byte| letter(byte) || byte == b'.' || byte == b'-')
        && name.bytes().next().is_some_and(letter)
        && name.bytes().last().is_some_and(letter)
        && !name.contains("..");
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte))
    };
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let placed = prefix.len() <= 512 && (prefix.is_empty() || prefix.split('/').all(part));
    if named && placed { Ok((name.to_owned(), prefix.to_owned())) } else { Err(form()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_its_prefix_are_names_and_nothing_else() {
        let good = [("abc", "abc", ""), ("my.b-1/", "my.b-1", ""), ("abc/a/b=1/", "abc", "a/b=1")];
        for (text, name, prefix) in good {
            assert_eq!(parse_bucket(text), Ok((name.to_owned(), prefix.to_owned())));
        }
        for bad in [
            "", "/x", "ab", "-abc", "ABC", "a..b", "abc//x", "abc/../x", "abc/x?y", "abc/x//", "me@abc",
            "abc:1",
        ] {
            assert!(parse_bucket(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amazon_is_asked_by_host_name_and_a_service_of_ones_own_by_path() {
        let at = |endpoint: Option<&str>, name: &str| {
            let (bucket, url) = address(endpoint.map(str::to_owned), name, "eu-west-1".to_owned()).unwrap();
            (bucket.object_url("a/b.seg").to_string(), url.authority)
        };
        let (object, authority) = at(None, "logs");
        assert_eq!(object, "https://logs.s3.eu-west-1.amazonaws.com/a/b.seg");
        assert_eq!(authority, "logs.s3.eu-west-1.amazonaws.com");
        assert_eq!(at(None, "my.logs").0, "https://s3.eu-west-1.amazonaws.com/my.logs/a/b.seg");
        let (object, authority) = at(Some("http://127.0.0.1:9000"), "logs");
        assert_eq!(
            (object.as_str(), authority.as_str()),
            ("http://127.0.0.1:9000/logs/a/b.seg", "127.0.0.1:9000")
        );
    }
}
