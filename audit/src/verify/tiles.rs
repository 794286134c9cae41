//! Checks a ledger in the form of a tile directory.
//!
//! Records are read from the bundles, every tile is made again from them and compared, and the root is
//! compared with the checkpoint. There is one signed head, over all.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::assess::Assessment;
use super::walk::{Origin, Start, Stop, Walk};
use super::{Break, Known, Progress, Statement, Trust, Unreadable, Verdict};
use crate::checkpoint::Checkpoint;
use crate::note::MAX_NOTE_BYTES;
use crate::record::Seq;
use crate::tiles::{MAX_BUNDLE_BYTES, Tile, Tiler, WIDTH, bundles, records};

/// Whether `directory` holds tiles and not a journal.
pub fn is_tiles(directory: &Path) -> bool {
    directory.join("checkpoint").is_file() && directory.join("tile").is_dir()
}

/// Checks the tile directory. Only reads.
///
/// An error means that there is no checkpoint that could be read, so that there was nothing to check.
pub fn tiles(directory: &Path, trust: &Trust, progress: &mut dyn FnMut(Progress)) -> io::Result<Verdict> {
    let text = read(&directory.join("checkpoint"), MAX_NOTE_BYTES)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let (checkpoint, note) = Checkpoint::from_note(&text).map_err(io::Error::other)?;
    let head = Statement::Read(checkpoint.clone(), note.clone());
    let known = Known::with(head, "the checkpoint of the tiles", trust);
    let start = Start { origin: Origin::loose(), ..Start::genesis() };
    let walk = Walk::new(&trust.keys, known.sizes(), start);
    let mut pass = Pass { directory, walk, tiler: Tiler::default(), checkpoint: &checkpoint };
    let stop = pass.run(progress).err();
    let mut walk = pass.walk;
    let signed = if trust.keys.is_empty() { Ok(()) } else { walk.hands.signers.head_over_all(&note) };
    let known = known.judged(&walk.hands.signers);
    match signed {
        Ok(()) => walk.tally.heads = 1,
        Err(error) => {
            walk.forged = Some(found(Seq::ZERO, format!("the checkpoint over it: {error}"), "checkpoint"));
        }
    }
    Ok(Assessment { walk: &walk, stop: stop.as_ref(), known: &known, trust, since: None }.verdict())
}

struct Pass<'a> {
    directory: &'a Path,
    walk: Walk,
    tiler: Tiler,
    checkpoint: &'a Checkpoint,
}

impl Pass<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), Stop> {
        let size = self.checkpoint.size;
        self.whole(size)?;
        for tile in bundles(size) {
            self.bundle(tile)?;
            progress(Progress { done: self.walk.chain.size(), total: size });
        }
        let mut made = Vec::new();
        // Putting into a vector cannot fail.
        let _ = self.tiler.partial(&mut |tile, bytes| {
            made.push((tile, bytes.to_vec()));
            Ok(())
        });
        self.compare(&made)?;
        let last = Seq::new(size.saturating_sub(1));
        if let Err(what) = self.walk.origin.head(&self.checkpoint.origin) {
            return Err(Stop::Broken(found(last, what, "checkpoint")));
        }
        if self.walk.chain.checkpoint(&self.checkpoint.origin) != *self.checkpoint {
            let what = "it or one before it is not the record that the checkpoint was signed for";
            return Err(Stop::Broken(found(last, what.to_owned(), "checkpoint")));
        }
        Ok(())
    }

    /// Tiles of a pruned ledger cannot be checked from record 0 on: that is no fault, and no proof.
    fn whole(&self, size: u64) -> Result<(), Stop> {
        // Where records were pruned, the hashes of the tile over them are gone, too.
        let hashes = |bundle: Tile| Tile { level: Some(0), ..bundle };
        let exists = |tile: Tile| self.directory.join(tile.path()).exists();
        let mut there = bundles(size).map(|tile| (tile, exists(tile) || exists(hashes(tile))));
        if let (Some((first, false)), Some((begin, _))) = (there.next(), there.find(|(_, there)| *there)) {
            let reason = format!(
                "the tiles begin at record {}, as those of a pruned ledger do; check the ledger itself, or tiles made \
                 of it together with its archive",
                begin.index * WIDTH as u64
            );
            return Err(Stop::Unreadable(Unreadable { name: first.path(), reason }));
        }
        Ok(())
    }

    fn bundle(&mut self, tile: Tile) -> Result<(), Stop> {
        let path = tile.path();
        let bytes = self.read(tile)?;
        let first = self.walk.chain.next();
        let records = records(&bytes).filter(|records| records.len() == tile.width).ok_or_else(|| {
            let what = format!("the bundle that begins with it does not hold {} records", tile.width);
            Stop::Broken(found(first, what, &path))
        })?;
        let mut made = Vec::new();
        for record in records {
            let leaf = self.walk.single(record, &path)?;
            let mut put = |tile: Tile, bytes: &[u8]| {
                made.push((tile, bytes.to_vec()));
                Ok(())
            };
            self.tiler
                .push(record, leaf, &mut put)
                .map_err(|error| Stop::Broken(found(first, error.to_string(), &path)))?;
        }
        self.walk.tally.segments += 1;
        self.compare(&made)
    }

    /// Compares tiles that were made from the records with those in the directory.
    fn compare(&self, made: &[(Tile, Vec<u8>)]) -> Result<(), Stop> {
        for (tile, bytes) in made.iter().filter(|(tile, _)| tile.level.is_some()) {
            let lies_there = self.read(*tile)?;
            if lies_there != *bytes {
                let wrong = bytes.chunks(32).zip(lies_there.chunks(32)).take_while(|(a, b)| a == b).count();
                let level = u32::from(tile.level.unwrap_or_default());
                let first =
                    (tile.index * WIDTH as u64 + wrong as u64).saturating_mul(256_u64.saturating_pow(level));
                let what = "its bundle and the tile over it do not fit together";
                return Err(Stop::Broken(found(Seq::new(first), what.to_owned(), &tile.path())));
            }
        }
        Ok(())
    }

    fn read(&self, tile: Tile) -> Result<Vec<u8>, Stop> {
        let path: PathBuf = self.directory.join(tile.path());
        read(&path, MAX_BUNDLE_BYTES).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                let first = Seq::new(self.walk.chain.size().min(self.checkpoint.size.saturating_sub(1)));
                return Stop::Broken(found(
                    first,
                    "a file that is needed for it is missing".into(),
                    &tile.path(),
                ));
            }
            Stop::Unreadable(Unreadable { name: tile.path(), reason: error.to_string() })
        })
    }
}

fn found(seq: Seq, what: String, path: &str) -> Break {
    Break { seq, what, segment: Some(path.to_owned()), offset: None }
}

fn read(path: &Path, bound: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bound as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bound {
        return Err(io::Error::other(format!("it has more than {bound} bytes")));
    }
    Ok(bytes)
}
