//! A run of stored records on its way to a sink, and the part of it that is still open.

use cim_spool::Frame;

use crate::envelope::Envelope;

/// Consecutive records `[first, end)` and the frames that hold them.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    frames: Vec<Frame>,
    first: u64,
    end: u64,
}

impl Span {
    /// The records of these frames from `first` on, at most `max_records`.
    pub(crate) fn new(frames: Vec<Frame>, first: u64, max_records: usize) -> Self {
        let last = frames.last().map_or(first, |frame| frame.last_seq() + 1);
        let end = last.min(first.saturating_add(max_records.max(1) as u64));
        Self { frames, first, end }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// First sequence after the span.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// When its first record came in, milliseconds since the Unix epoch.
    pub(crate) fn arrived_ms(&self) -> u64 {
        let first = self.records().next();
        first.and_then(|(_, bytes)| Envelope::parse(bytes)).map_or(0, |envelope| envelope.arrived_ms)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.frames.iter().map(Frame::bytes_len).sum()
    }

    /// Bytes of a record on average, with what the frames add.
    pub(crate) fn record_bytes(&self) -> u64 {
        let records: usize = self.frames.iter().map(Frame::count).sum();
        (self.bytes() / records.max(1)) as u64
    }

    /// The records with their sequences, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let (first, end) = (self.first, self.end);
        self.frames.iter().flat_map(Frame::records).filter(move |(seq, _)| *seq >= first && *seq < end)
    }
}

/// Which records of a span are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them.
    All,
    /// These sequences, ascending.
    Only(Vec<u64>),
}

impl Selection {
    pub(crate) fn contains(&self, seq: u64) -> bool {
        match self {
            Self::All => true,
            Self::Only(seqs) => seqs.binary_search(&seq).is_ok(),
        }
    }

    /// The sequences meant, for a span.
    pub(crate) fn of(&self, span: &Span) -> Vec<u64> {
        match self {
            Self::All => (span.first()..span.end()).collect(),
            Self::Only(seqs) => seqs.clone(),
        }
    }
}
