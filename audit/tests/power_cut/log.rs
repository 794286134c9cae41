//! What the preloaded shim wrote down.

use std::path::PathBuf;

/// One change, in the order in which they happened.
#[derive(Debug)]
pub(crate) enum Change {
    Create {
        path: PathBuf,
        inode: u64,
    },
    Write {
        inode: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: u64,
        length: u64,
    },
    /// `fsync` or `fdatasync`, of a file or a directory.
    Sync {
        inode: u64,
    },
    /// `sync_file_range`: a promise of nothing.
    SyncRange,
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
        inode: u64,
    },
}

/// Reads a log; an entry cut off at the end belongs to a process that was killed.
pub(crate) fn read(bytes: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut at = 0;
    let number = |at: usize, length: usize| {
        let mut raw = [0; 8];
        raw[..length].copy_from_slice(bytes.get(at..at + length)?);
        Some(u64::from_le_bytes(raw))
    };
    while let Some(change) = (|| {
        let (what, path) = (number(at, 4)?, usize::try_from(number(at + 4, 4)?).unwrap());
        let (inode, offset, length) = (number(at + 8, 8)?, number(at + 16, 8)?, number(at + 24, 8)?);
        let names = bytes.get(at + 32..at + 32 + path)?;
        let start = at + 32 + path;
        let data = if what == 2 { usize::try_from(length).unwrap() } else { 0 };
        let bytes = bytes.get(start..start + data)?.to_vec();
        at = start + data;
        let mut names =
            names.split(|byte| *byte == 0).map(|name| PathBuf::from(std::str::from_utf8(name).unwrap()));
        let mut name = || names.next().unwrap();
        Some(match what {
            1 => Change::Create { path: name(), inode },
            2 => Change::Write { inode, offset, bytes },
            3 => Change::Truncate { inode, length: offset },
            4 => Change::Sync { inode },
            5 => Change::Rename { from: name(), to: name() },
            6 | 9 => Change::Unlink { path: name() },
            7 => Change::MakeDirectory { path: name(), inode },
            8 => Change::SyncRange,
            other => panic!("the log has an entry of kind {other}"),
        })
    })() {
        changes.push(change);
    }
    changes
}
