//! Where a pack lies: a folder, or a zip file. Both hold the same files.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::sums::{MOST_FILES, Sums};
use super::unfinished::Unfinished;
use super::{HISTORY, RECORDS};

/// The longest document that is read into memory, in bytes; records are read one by one.
const MOST_BYTES: u64 = 512 << 20;

/// A pack cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the file.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What is wrong.
        source: io::Error,
    },
    /// Not a zip file, or a damaged one.
    #[error("{path} cannot be read as a zip file: {source}")]
    Zip {
        /// Which file.
        path: String,
        /// What is wrong.
        source: zip::result::ZipError,
    },
    /// Something is there already.
    #[error("{path} is there already, and is not overwritten")]
    Exists {
        /// Where.
        path: String,
    },
    /// Another process is at it.
    #[error("{path} is being written by another process")]
    Busy {
        /// Which pack.
        path: String,
    },
    /// A name that leads elsewhere, that is there twice, or too many of them.
    #[error("{path}: {what}")]
    Names {
        /// Which pack.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl StoreError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => {
                "give a folder or zip file that you may read, or a new one in a folder that you may write to"
            }
            Self::Zip { .. } => "get the pack again from whoever made it",
            Self::Exists { .. } => "give a new name, or remove what is there",
            Self::Busy { .. } => "wait for it, or give another name",
            Self::Names { .. } => "this is not a pack as `auditctl report --out` writes it: do not unpack it",
        }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }

    fn zip(path: &Path, source: zip::result::ZipError) -> Self {
        Self::Zip { path: path.display().to_string(), source }
    }
}

enum Place {
    Folder,
    Zip(Box<ZipWriter<BufWriter<File>>>),
}

/// Writes a pack under a name of its own, and gives it its right name when all is written. One that is not finished leaves
/// nothing behind.
pub struct PackWriter {
    path: PathBuf,
    // Dropped before the next: a file is closed, and then taken away.
    place: Place,
    unfinished: Unfinished,
    sums: Sums,
}

impl PackWriter {
    /// Begins a pack: a zip file if the name ends in `.zip`, else a folder.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        if path.symlink_metadata().is_ok() {
            return Err(StoreError::Exists { path: path.display().to_string() });
        }
        let (unfinished, place) = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
        {
            let (unfinished, file) = Unfinished::file(path)?;
            (unfinished, Place::Zip(Box::new(ZipWriter::new(BufWriter::new(file)))))
        } else {
            (Unfinished::folder(path)?, Place::Folder)
        };
        Ok(Self { path: path.to_owned(), place, unfinished, sums: Sums::default() })
    }

    /// Writes one file by `fill`, and notes its digest.
    pub(super) fn file<T, E: From<StoreError>>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.unfinished.path().join(name);
        let (filled, digest) = match &mut self.place {
            Place::Folder => {
                let create = || {
                    if let Some(folder) = path.parent() {
                        fs::create_dir_all(folder)?;
                    }
                    File::create(&path)
                };
                let place = create().map_err(|error| StoreError::io(&path, error))?;
                let mut out = Hashing::new(BufWriter::new(place));
                let filled = fill(&mut out)?;
                let (mut place, digest) = out.finish();
                place.flush().map_err(|error| StoreError::io(&path, error))?;
                (filled, digest)
            }
            Place::Zip(zip) => {
                // The same bytes each time: no hour, no owner; the least effort, for records hardly shrink by more.
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Deflated)
                    .compression_level(Some(3))
                    .last_modified_time(DateTime::default())
                    .unix_permissions(0o644)
                    .large_file(name == RECORDS || name == HISTORY);
                zip.start_file(name, options)
                    .map_err(|error| StoreError::zip(self.unfinished.path(), error))?;
                let mut out = Hashing::new(&mut **zip);
                let filled = fill(&mut out)?;
                (filled, out.finish().1)
            }
        };
        self.sums.0.insert(name.to_owned(), digest);
        Ok(filled)
    }

    /// The digests of all files so far, as the text of `SHA256SUMS`.
    pub(super) fn sums(&self) -> String {
        self.sums.text()
    }

    /// All is written: the pack gets its name.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        let Self { path, unfinished, place, .. } = self;
        let failed = |error| StoreError::io(unfinished.path(), error);
        if let Place::Zip(zip) = place {
            let file = zip.finish().map_err(|error| StoreError::zip(unfinished.path(), error))?;
            let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().map_err(failed)?;
        }
        unfinished.becomes(&path)
    }
}

/// Hashes what passes by.
struct Hashing<W> {
    out: W,
    hasher: Sha256,
}

impl<W: Write> Hashing<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Sha256::new() }
    }

    fn finish(self) -> (W, String) {
        (self.out, hex::encode(self.hasher.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

enum Held {
    Folder,
    Zip(Box<ZipArchive<BufReader<File>>>),
}

/// Reads a pack.
pub struct PackReader {
    path: PathBuf,
    held: Held,
    names: Vec<String>,
}

impl PackReader {
    /// Opens a folder or a zip file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut names = Vec::new();
        let held = if path.is_dir() {
            list(path, "", &mut names).map_err(|error| StoreError::io(path, error))?;
            Held::Folder
        } else {
            let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
            let mut zip =
                ZipArchive::new(BufReader::new(file)).map_err(|error| StoreError::zip(path, error))?;
            // Readers that take another one of two entries would see another pack.
            let overlapping = zip.has_overlapping_files().map_err(|error| StoreError::zip(path, error))?;
            if overlapping || zip.has_duplicate_names() {
                let what = "entries of the zip file overlap, or one name is there twice".to_owned();
                return Err(StoreError::Names { path: path.display().to_string(), what });
            }
            for name in zip.file_names() {
                names.push(name.map_err(|error| StoreError::zip(path, error))?.into_owned());
            }
            Held::Zip(Box::new(zip))
        };
        names.sort();
        let bad = |name: &&String| {
            name.is_empty()
                || name.starts_with('/')
                || name.contains(['\\', '\0', '\n'])
                || name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        };
        let what = if names.len() > MOST_FILES {
            Some(format!("it has more than {MOST_FILES} files"))
        } else {
            names.iter().find(bad).map(|name| format!("{name:?} is no name of a file in a pack"))
        };
        match what {
            Some(what) => Err(StoreError::Names { path: path.display().to_string(), what }),
            None => Ok(Self { path: path.to_owned(), held, names }),
        }
    }

    /// The names of its files, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads one file by `take`; `None` if it is not there.
    pub fn file<T>(
        &mut self,
        name: &str,
        take: impl FnOnce(&mut dyn BufRead) -> io::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        if !self.names.iter().any(|known| known == name) {
            return Ok(None);
        }
        let path = self.path.join(name);
        let taken = match &mut self.held {
            Held::Folder => {
                File::open(&path).and_then(|file| take(&mut BufReader::with_capacity(1 << 16, file)))
            }
            Held::Zip(zip) => {
                let file = zip.by_name(name).map_err(|error| StoreError::zip(&self.path, error))?;
                take(&mut BufReader::with_capacity(1 << 16, file))
            }
        };
        taken.map(Some).map_err(|error| StoreError::io(&path, error))
    }

    /// The whole of a document; `None` if it is not there.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.file(name, |input| {
            let mut bytes = Vec::new();
            input.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MOST_BYTES {
                return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
            }
            Ok(bytes)
        })
    }

    /// The SHA-256 of a file, in hexadecimal; `None` if it is not there.
    pub(super) fn digest(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        self.file(name, |input| {
            let mut hasher = Sha256::new();
            loop {
                let bytes = input.fill_buf()?;
                if bytes.is_empty() {
                    return Ok(hex::encode(hasher.finalize()));
                }
                hasher.update(bytes);
                let read = bytes.len();
                input.consume(read);
            }
        })
    }
}

/// The files below a folder, with the way to them. What is neither file nor folder is listed, too: it is in no pack.
fn list(folder: &Path, before: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() && names.len() <= MOST_FILES && before.len() < 256 {
            list(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}
