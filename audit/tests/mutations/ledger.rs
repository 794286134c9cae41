//! A ledger in pieces, as it lies before a forger who can write every file and sign with any key but one.

use sallyport_audit::chain::Chain;
use sallyport_audit::epoch::Epoch;
use sallyport_audit::journal::{Frame, FrameKind, Group, GroupWriter, SegmentHeader, frame, head};
use sallyport_audit::note::{PublicKey, SignedNote};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::{Overall, Segment, Trust, Unreadable, verify};
use sallyport_audit::{Checkpoint, Digest, Draft, Kind, Outcome, Seq};
use serde_json::{Value, json};

pub(crate) const ORIGIN: &str = "gateway.example.org/ledger";

/// The key of the ledger.
pub(crate) fn genuine() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

/// The key of the forger, under the same name.
pub(crate) fn stranger() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [8; 32])
}

/// One record and the sealed values beside it.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) record: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) note: String,
}

#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) groups: Vec<Part>,
}

/// All that an auditor is handed.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) files: Vec<File>,
    pub(crate) head: Option<Vec<u8>>,
}

/// Who signs the heads of a forged ledger.
#[derive(Clone, Copy)]
pub(crate) enum Hand {
    /// Nobody: the old signatures are put under new texts.
    Kept,
    /// The forger.
    Stranger,
    /// The ledger's own key: not a forgery, but a writer that breaks the rules.
    Own,
}

impl Sample {
    /// Twelve records of several shapes in five groups and three segments.
    pub(crate) fn genuine() -> Self {
        let mut journal = JournalBuilder::new(ORIGIN, genuine());
        let visit = |n: u64| {
            Draft::new(Kind::HttpRequest, Outcome::Success)
                .subject("user:alice")
                .source("203.0.113.7:443")
                .path(format!("/{n}"))
                .action("connect")
                .object("tunnel:demo")
                .session("sess-1")
                .grant("grant-1")
                .policy("sha256:00ff")
                .correlation("req-7")
                .detail("n", n)
        };
        journal
            .group([Draft::new(Kind::LedgerCreated, Outcome::Success)
                .detail("origin", ORIGIN)
                .detail("key", genuine().verifier().to_string())
                .detail("format", 1)])
            .group([
                visit(1),
                visit(2),
                Draft::new(Kind::SessionRefused, Outcome::Denied).subject("user:bob"),
            ])
            .rotate();
        let nested = json!({ "list": [1, -2, "drei ü \u{1f512}", null, true], "deep": { "x": 9_007_199_254_740_991_i64 } });
        journal.group([
            visit(4),
            Draft::new(Kind::ConfigLoaded, Outcome::Failure).detail("nested", nested),
            visit(6),
        ]);
        journal.group([Draft::new(Kind::GatewayHeartbeat, Outcome::Success)]).rotate();
        journal.group([visit(8), visit(9), visit(10), Draft::new(Kind::GatewayStopped, Outcome::Success)]);
        Self::of(&journal)
    }

    /// Takes a journal apart.
    pub(crate) fn of(journal: &JournalBuilder) -> Self {
        let file = |(name, bytes): &(String, Vec<u8>)| {
            let front = Frame::read(bytes, 0).unwrap().unwrap();
            let header = SegmentHeader::parse(front.bytes).unwrap();
            let (mut at, mut groups) = (front.bytes.len(), Vec::new());
            while let Some(frame) = Frame::read(bytes, at).unwrap() {
                let group = Group::parse(frame.bytes).unwrap();
                groups.push(Part {
                    first: group.first().get(),
                    pieces: group
                        .records()
                        .map(|(_, record, sealed)| Piece { record: record.to_vec(), sealed: sealed.to_vec() })
                        .collect(),
                    note: String::from_utf8(group.note().to_vec()).unwrap(),
                });
                at += frame.bytes.len();
            }
            File { name: name.clone(), header, groups }
        };
        Self { files: journal.segments.iter().map(file).collect(), head: Some(journal.head_file()) }
    }

    /// The groups of all files.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Part> {
        self.files.iter().flat_map(|file| &file.groups)
    }

    pub(crate) fn groups_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.files.iter_mut().flat_map(|file| &mut file.groups)
    }

    /// How many records there are.
    pub(crate) fn records(&self) -> usize {
        self.groups().map(|group| group.pieces.len()).sum()
    }

    /// The group and the place in it of record `index`.
    pub(crate) fn piece_mut(&mut self, index: usize) -> &mut Piece {
        let mut all = self.groups_mut().flat_map(|group| &mut group.pieces);
        all.nth(index).unwrap()
    }

    pub(crate) fn piece(&self, index: usize) -> &Piece {
        self.groups().flat_map(|group| &group.pieces).nth(index).unwrap()
    }

    /// The group that holds record `index`, and its place there.
    pub(crate) fn locate(&mut self, index: usize) -> (&mut Part, usize) {
        let mut left = index;
        for group in self.groups_mut() {
            if left < group.pieces.len() {
                return (group, left);
            }
            left -= group.pieces.len();
        }
        panic!("there is no record {index}");
    }

    /// Makes everything that follows from the records follow from them again: numbers and `prev` of the records
    /// from `from` on, sizes and roots of the heads, segment names and headers, the head file.
    pub(crate) fn relink(&mut self, from: usize, hand: Hand) {
        let (mut chain, mut note, mut index) = (Chain::genesis(), String::new(), 0);
        for file in &mut self.files {
            let origin = file.header.origin.clone();
            file.header = SegmentHeader::new(&origin, &chain, &note);
            file.name = format!("{:020}.seg", chain.size());
            for group in &mut file.groups {
                group.first = chain.size();
                for piece in &mut group.pieces {
                    if index >= from
                        && let Ok(mut value) = serde_json::from_slice::<Value>(&piece.record)
                        && value.is_object()
                    {
                        value["seq"] = chain.size().into();
                        value["prev"] = chain.prev().to_string().into();
                        piece.record = canonical(&value);
                    }
                    chain.extend(Digest::leaf(&piece.record));
                    index += 1;
                }
                let head = chain.checkpoint(&origin);
                if Checkpoint::from_note(&group.note).ok().is_none_or(|(old, _)| old != head)
                    || !matches!(hand, Hand::Kept)
                {
                    group.note = sign(&head, &group.note, hand);
                }
                note.clone_from(&group.note);
            }
        }
        if !matches!(hand, Hand::Kept) && !note.is_empty() {
            self.head = Some(head_file(&note));
        }
    }

    /// Writes it all with right lengths and checksums.
    pub(crate) fn bind(&self) -> Vec<(String, Vec<u8>)> {
        self.files.iter().map(|file| (file.name.clone(), file.bytes())).collect()
    }
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_frame().unwrap();
        self.groups.iter().for_each(|group| bytes.extend(group.bytes()));
        bytes
    }
}

impl Part {
    /// The group's frame; also of a group without records, which no writer makes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut group = GroupWriter::new(Seq::new(self.first), 0);
        for piece in &self.pieces {
            group.record(|out| out.extend_from_slice(&piece.record)).unwrap();
            group.seal(&piece.sealed);
        }
        if let Some(group) = group.finish(&self.note) {
            return group.frame().to_vec();
        }
        let mut bytes = Vec::new();
        frame::open(&mut bytes);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.note.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(self.note.as_bytes());
        frame::close(FrameKind::Group, &mut bytes).unwrap();
        bytes
    }
}

/// A head file with one head.
pub(crate) fn head_file(note: &str) -> Vec<u8> {
    let mut file = head::slot(note).unwrap();
    file.resize(head::FILE_BYTES, 0);
    file
}

/// A head over a new text.
pub(crate) fn sign(head: &Checkpoint, old: &str, hand: Hand) -> String {
    match hand {
        Hand::Own => genuine().sign_checkpoint(head).to_string(),
        Hand::Stranger => stranger().sign_checkpoint(head).to_string(),
        Hand::Kept => {
            let signatures = old.split_once("\n\n").map_or("", |(_, signatures)| signatures);
            let note = format!("{}\n{signatures}", head.text());
            SignedNote::parse(&note).map_or(note, |note| note.to_string())
        }
    }
}

pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).unwrap()
}

/// Stands for whatever the ledger at hand declares: the forgeries must be found even if it is accepted.
pub(crate) const ANY: &str = "any";

/// What the auditor brings along: the ledger's key, and leave for what it declares.
pub(crate) fn trust() -> Trust {
    Trust { keys: vec![genuine().verifier()], accept_epoch: Some(ANY.to_owned()), ..Trust::default() }
}

/// What the verifier says of it.
pub(crate) fn overall(segments: &[(String, Vec<u8>)], head: Option<&[u8]>, trust: &Trust) -> Overall {
    let accept_epoch = match trust.accept_epoch.as_deref() {
        Some(ANY) => declared(segments, &trust.keys),
        _ => trust.accept_epoch.clone(),
    };
    verify(read(segments), head, &Trust { accept_epoch, ..trust.clone() }).overall()
}

/// The last declaration in it, as an auditor would accept it.
pub(crate) fn declared(segments: &[(String, Vec<u8>)], keys: &[PublicKey]) -> Option<String> {
    let renamed = |(_, bytes): &(String, Vec<u8>)| bytes.windows(RESUMED.len()).any(|bytes| bytes == RESUMED);
    if !segments.iter().any(renamed) {
        return None; // Most have none, and need not be read twice.
    }
    let trust = Trust { keys: keys.to_vec(), ..Trust::default() };
    verify(read(segments), None, &trust).ledger.epochs.last().and_then(Epoch::declaration)
}

const RESUMED: &[u8] = b"ledger.resumed";

fn read(segments: &[(String, Vec<u8>)]) -> impl Iterator<Item = Result<Segment, Unreadable>> {
    segments.iter().map(|(name, bytes)| Ok(Segment { name: name.clone(), bytes: bytes.clone() }))
}
