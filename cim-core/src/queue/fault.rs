//! A disk that fails: what is noted, what is written again, and how the queue lives without it.
//!
//! A failed fdatasync is never repeated on the same file: the records in doubt go to a new segment from memory. Frames the
//! disk refuses stay in memory (the overlay) and follow once it takes them. A directory that vanished is replaced.

use std::io;

use cim_spool::{AppendError, BeforeShedding, Frame, FrameBuf, OpenError, Stream, SyncJob, SyncOutcome};

use super::state::State;
use crate::books::DropReason;
use crate::settings::{OnFault, WhenFull};

impl State {
    pub(super) fn note_fault(&mut self, error: &AppendError) {
        let text = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        if self.fault.as_deref() != Some(text.as_str()) {
            tracing::error!(fault = %text, "the spool does not take records");
        }
        self.fault = Some(text);
    }

    /// Hands the disk what only the memory holds, once it takes frames again. What memory held and let go meanwhile, because
    /// it was delivered or shed, is passed over: each record keeps its number.
    pub(super) fn write_overlay(&mut self) {
        if !self.overlay() {
            return;
        }
        if let Err(error) = self.skip_what_is_gone().and_then(|()| self.append_tail()) {
            self.note_fault(&error);
            return;
        }
        self.fault = None;
        tracing::info!("the spool takes records again; what was in memory only is stored");
    }

    fn skip_what_is_gone(&mut self) -> Result<(), AppendError> {
        let first_kept = self.tail.first_seq().unwrap_or(self.next_seq);
        while let Some(stream) = self.stream.as_mut().filter(|stream| stream.next_seq() < first_kept) {
            match stream.skip_to(first_kept) {
                Ok(()) => self.save_positions(),
                Err(error) if self.makes_room(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The stream could not follow positions beyond its end. The next process must not miss what was delivered.
    fn save_positions(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        for member in &self.members {
            stream.advance(&member.name, member.next);
        }
        if let Err(error) = stream.save_cursors(false) {
            tracing::warn!(%error, "cannot save positions in the spool; a restart may report delivered records as lost");
        }
    }

    fn append_tail(&mut self) -> Result<(), AppendError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let frames: Vec<Frame> = self.tail.from(stream.next_seq()).cloned().collect();
        for frame in frames {
            let mut buf = self.buffer_of(frame.bytes_len());
            for (_, record) in frame.records() {
                buf.push(&[record]);
            }
            self.append(buf, 0).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Appends to the spool, making room where the policy says so.
    #[allow(clippy::result_large_err, reason = "the refused records travel back with the reason")]
    pub(super) fn append(&mut self, mut buf: FrameBuf, extra: u64) -> Result<Frame, (AppendError, FrameBuf)> {
        loop {
            let Some(stream) = &mut self.stream else { return Err((AppendError::NotDue, buf)) };
            match stream.append_over(buf, extra) {
                Err((error, back)) if self.makes_room(&error) => buf = back,
                result => return result,
            }
        }
    }

    fn makes_room(&mut self, error: &AppendError) -> bool {
        matches!(error, AppendError::Full { .. } | AppendError::NoSpace(_))
            && self.rules.when_full == WhenFull::ShedOldest
            && self.shed_segment()
    }

    /// Whether the disk takes what is accepted, so that it outlives the process.
    pub(crate) fn is_storing(&self) -> bool {
        self.stream.is_some() && self.fault.is_none() && self.suspect.is_none() && !self.overlay()
    }

    /// The first sequence that would be lost with the process, because the disk does not take it even now or may have lost it.
    pub(crate) fn first_unstored(&mut self) -> Option<u64> {
        self.write_overlay();
        let stored = self.stream.as_ref().map_or(self.first_open(), Stream::next_seq);
        let sure = self.suspect.map_or(stored, |suspect| suspect.min(stored)).max(self.first_open());
        (sure < self.next_seq).then_some(sure)
    }

    pub(crate) fn begin_sync(&mut self) -> Option<SyncJob> {
        self.rewrite_suspect();
        self.stream.as_mut().and_then(Stream::begin_sync)
    }

    /// Ends a sync; returns the first sequence that is not accepted by it.
    pub(crate) fn finish_sync(&mut self, job: SyncJob, result: io::Result<()>) -> u64 {
        let Some(stream) = &mut self.stream else { return 0 };
        match stream.finish_sync(job, result) {
            SyncOutcome::Synced { .. } if self.suspect.is_none() => self.fault = None,
            SyncOutcome::Synced { .. } => {}
            SyncOutcome::Failed { first_seq, error, .. } => {
                let text = format!("fdatasync failed: {error}");
                if self.fault.as_deref() != Some(text.as_str()) {
                    tracing::error!(fault = %text, "the spool cannot be synced; records go to a new segment");
                }
                self.fault = Some(text);
                self.suspect = Some(self.suspect.map_or(first_seq, |suspect| suspect.min(first_seq)));
                self.rewrite_suspect();
            }
        }
        let safe = self.safe_seq();
        self.trim_tail();
        if self.fault.is_some() && self.rules.on_fault == OnFault::Degrade { self.next_seq } else { safe }
    }

    /// Writes what a failed sync may have lost to a new segment, as far as memory still has it.
    fn rewrite_suspect(&mut self) {
        let (Some(stream), Some(first_seq)) = (&mut self.stream, self.suspect) else { return };
        // What left the spool meanwhile was delivered, and is in doubt no more.
        let (first_seq, end) = (first_seq.max(stream.first_seq()), stream.next_seq());
        let frames: Vec<Frame> =
            self.tail.from(first_seq).filter(|frame| frame.last_seq() < end).cloned().collect();
        if frames.is_empty() {
            // Everything in doubt has been delivered, or is on the disk alone: memory had no room for it.
            self.suspect = None;
            return;
        }
        match stream.reappend(&frames) {
            Ok(()) => self.suspect = None,
            Err(error) => self.note_fault(&error),
        }
    }

    /// The spool directory is gone: what was only on disk is lost, and memory is all there is.
    pub(crate) fn detach(&mut self, fault: &str) {
        let first_kept = self.tail.first_seq().unwrap_or(self.next_seq);
        let gone = first_kept.saturating_sub(self.first_open());
        self.give_up(first_kept, DropReason::Damaged);
        self.note_lost("missing", gone);
        self.stream = None;
        self.suspect = None;
        self.fault = Some(fault.to_owned());
    }

    /// A new, empty spool: memory's records go there, and positions with them.
    pub(crate) fn attach(&mut self, mut stream: Stream) -> Result<(), OpenError> {
        stream.start_at(self.tail.first_seq().unwrap_or(self.next_seq));
        for member in &self.members {
            stream.cursor(&member.name)?;
            stream.ack(&member.name, member.next);
        }
        if let Some(witness) = &self.witness {
            stream.before_shedding(BeforeShedding::clone(witness));
        }
        self.stream = Some(stream);
        self.fault = None;
        self.write_overlay();
        Ok(())
    }
}
