//! Others' programs check what ours makes, and ours checks what theirs make.
//!
//! `tlog_tiles` and `signed_note` are Cloudflare's, written after the Go module proxy's code; they share no
//! code with ours.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

use std::collections::BTreeMap;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::tiles::{self, Tiler};
use sallyport_audit::tree::{consistency_proof, inclusion_proof, root, verify_consistency, verify_inclusion};
use sallyport_audit::{Digest, Draft, Kind, Outcome};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Hash, Tile, TileHashReader, TileReader};

const ORIGIN: &str = "gateway.example.org/ledger";

fn theirs(digest: &Digest) -> Hash {
    Hash(*digest.as_bytes())
}

fn ours(hash: &Hash) -> Digest {
    Digest::from_bytes(hash.0)
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|n| Digest::leaf(&n.to_be_bytes())).collect()
}

#[test]
fn a_foreign_program_accepts_our_inclusion_and_consistency_proofs_of_every_size() {
    for size in 1..=140 {
        let all = leaves(size);
        let head = root(&all);
        for (at, leaf) in all.iter().enumerate() {
            let path = inclusion_proof(&all, at).unwrap().iter().map(theirs).collect();
            tlog_tiles::check_record(&path, size as u64, theirs(&head), at as u64, theirs(leaf)).unwrap();
        }
        for old in 1..=size {
            let path = consistency_proof(&all, old).unwrap().iter().map(theirs).collect();
            let before = theirs(&root(&all[..old]));
            tlog_tiles::check_tree(&path, size as u64, theirs(&head), old as u64, before).unwrap();
        }
    }
}

#[test]
fn a_foreign_program_verifies_our_signed_heads() {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    journal.group((0..5).map(|_| Draft::new(Kind::GatewayHeartbeat, Outcome::Success)));
    let key = StandardVerifier::new(&signer.verifier().to_string()).unwrap();
    let note = Note::from_bytes(journal.note.as_bytes()).unwrap();
    let (good, unknown) = note.verify(&VerifierList::new(vec![Box::new(key)])).unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 0));
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.size()), (ORIGIN, 5));
    assert_eq!(ours(checkpoint.hash()), journal.chain.frontier().root());
}

/// Our tile tree, as a foreign reader asks for it.
struct Tree(BTreeMap<String, Vec<u8>>);

impl TileReader for Tree {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, wanted: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let path = |tile: &Tile| {
            let (index, width) = (tile.level_index(), usize::try_from(tile.width()).unwrap());
            tiles::Tile { level: Some(tile.level()), index, width }.path()
        };
        Ok(wanted.iter().map(|tile| self.0[&path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_foreign_program_makes_proofs_from_our_tiles_and_ours_accepts_them() {
    for size in [1_usize, 2, 255, 256, 257, 1000, 66_000] {
        let all = leaves(size);
        let head = root(&all);
        let (mut files, mut tiler) = (BTreeMap::new(), Tiler::default());
        let mut put = |tile: tiles::Tile, bytes: &[u8]| {
            files.insert(tile.path(), bytes.to_vec());
            Ok(())
        };
        for (n, leaf) in all.iter().enumerate() {
            tiler.push(&n.to_be_bytes(), *leaf, &mut put).unwrap();
        }
        tiler.partial(&mut put).unwrap();
        let tree = Tree(files);
        let reader = TileHashReader::new(size as u64, theirs(&head), &tree);
        for at in [0, size / 3, size / 2, size - 1] {
            let path = tlog_tiles::prove_record(size as u64, at as u64, &reader).unwrap();
            let path: Vec<_> = path.iter().map(ours).collect();
            assert!(verify_inclusion(&all[at], at as u64, size as u64, &path, &head), "{at} of {size}");
        }
        for old in [1, size.div_ceil(3), size] {
            let path = tlog_tiles::prove_tree(size as u64, old as u64, &reader).unwrap();
            let path: Vec<_> = path.iter().map(ours).collect();
            let before = root(&all[..old]);
            assert!(
                verify_consistency((old as u64, &before), (size as u64, &head), &path),
                "{old} to {size}"
            );
        }
    }
}
