//! What a worker reads next: frames from memory while the sink keeps up, from the spool when it does not.
//!
//! Owns the read position, which runs ahead of the settled one. Blocking reads happen off the runtime.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cim_spool::{Frame, Read, Reader};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::span::Span;
use crate::contract::SinkProfile;
use crate::queue::{ClassQueue, Taken};

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Records.
    Span(Span),
    /// Records before this sequence are lost.
    Lost(u64),
    /// Nothing yet.
    Empty,
}

/// The read position of one route member.
pub(crate) struct Feed {
    queue: Arc<ClassQueue>,
    at: u64,
    /// Its position is right behind what was read. It counts how often a place could not be read, so it outlives failures.
    reader: Option<Reader>,
    /// The read under way; it goes on when nobody waits for it.
    reading: Option<JoinHandle<(Reader, VecDeque<Step>, ReadEnd)>>,
    /// Nothing is read from disk before, because something could not be.
    paused_until: Option<Instant>,
    read: VecDeque<Step>,
    /// Bytes of a record in the span handed out last.
    record_bytes: u64,
}

enum Step {
    Frame(Frame),
    Lost(u64),
}

const UNREADABLE_PAUSE: Duration = Duration::from_millis(100);

impl Feed {
    pub(crate) fn new(queue: Arc<ClassQueue>, at: u64) -> Self {
        let read = VecDeque::new();
        Self { queue, at, reader: None, reading: None, paused_until: None, read, record_bytes: 0 }
    }

    /// The next records for a sink with that profile.
    ///
    /// # Cancel safety
    /// May be dropped at any await point: the next call waits for the read that is under way, or for the end of the pause.
    pub(crate) async fn next(&mut self, profile: &SinkProfile) -> Next {
        loop {
            if let Some(next) = self.read_already(profile) {
                return next;
            }
            match self.queue.take(self.at, profile.max_records, profile.max_bytes) {
                Taken::Empty => return Next::Empty,
                Taken::Skip(to) => {
                    self.at = to;
                    return Next::Lost(to);
                }
                Taken::Frames(frames) => {
                    // The sink keeps up: no file is held open for a time when it does not.
                    self.forget_reads();
                    return self.span(frames, profile);
                }
                Taken::OnDisk => self.read_ahead(profile.max_bytes).await,
            }
        }
    }

    fn span(&mut self, frames: Vec<Frame>, profile: &SinkProfile) -> Next {
        let span = Span::new(frames, self.at, profile.max_records);
        self.at = span.end();
        self.record_bytes = span.record_bytes();
        Next::Span(span)
    }

    /// What was read from disk and not handed out yet.
    fn read_already(&mut self, profile: &SinkProfile) -> Option<Next> {
        let mut frames = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        loop {
            match self.read.front() {
                Some(Step::Frame(frame)) if frame.last_seq() < self.at => {
                    self.read.pop_front();
                }
                Some(Step::Frame(frame)) => {
                    let gap = frame.first_seq() > self.at && frames.is_empty();
                    records += frame.count();
                    bytes += frame.bytes_len();
                    let over = records > profile.max_records || bytes > profile.max_bytes;
                    if gap || (over && !frames.is_empty()) {
                        break;
                    }
                    frames.push(frame.clone());
                    if over {
                        break;
                    }
                    self.read.pop_front();
                }
                Some(Step::Lost(through)) if frames.is_empty() => {
                    let through = *through;
                    self.read.pop_front();
                    if through > self.at {
                        self.at = through;
                        return Some(Next::Lost(through));
                    }
                }
                _ => break,
            }
        }
        if !frames.is_empty() {
            return Some(self.span(frames, profile));
        }
        if !self.read.is_empty() {
            // The frames read are ahead of the position: the part between was shed meanwhile.
            self.forget_reads();
        }
        None
    }

    fn forget_reads(&mut self) {
        self.reader = None;
        self.reading = None;
        self.read.clear();
    }

    async fn read_ahead(&mut self, max_bytes: usize) {
        if let Some(until) = self.paused_until {
            tokio::time::sleep_until(until).await;
            self.paused_until = None;
        }
        if self.reading.is_none() {
            let Some(mut reader) = self.reader.take().or_else(|| self.queue.reader(self.at)) else { return };
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let (steps, end) = read_some(&mut reader, max_bytes);
                (reader, steps, end)
            }));
        }
        let Some(reading) = &mut self.reading else { return };
        let read = reading.await;
        self.reading = None;
        let Ok((reader, steps, end)) = read else { return self.pause() };
        self.read = steps;
        match end {
            ReadEnd::More => self.reader = Some(reader),
            // Nothing readable where something must be: the writer is about to make it visible.
            ReadEnd::Nothing if self.read.is_empty() => self.pause(),
            ReadEnd::Nothing => {}
            ReadEnd::Failed(error) => {
                tracing::warn!(%error, "cannot read the spool; trying again");
                self.reader = Some(reader);
                self.pause();
            }
        }
    }

    fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + UNREADABLE_PAUSE);
    }

    /// Whether at least one whole batch waits: by number, or by bytes if records are as large as the last ones were.
    pub(crate) fn has_batch(&self, profile: &SinkProfile, next: u64) -> bool {
        let waiting = next.saturating_sub(self.at);
        waiting >= profile.max_records as u64
            || waiting.saturating_mul(self.record_bytes) >= profile.max_bytes as u64
    }

    /// Goes back to a position, after a failure.
    pub(crate) fn rewind(&mut self, to: u64) {
        self.at = to;
        self.forget_reads();
    }
}

enum ReadEnd {
    More,
    Nothing,
    Failed(std::io::Error),
}

fn read_some(reader: &mut Reader, max_bytes: usize) -> (VecDeque<Step>, ReadEnd) {
    let mut steps = VecDeque::new();
    let mut bytes = 0;
    while bytes < max_bytes {
        match reader.next() {
            Ok(Read::Frame(frame)) => {
                bytes += frame.bytes_len();
                steps.push_back(Step::Frame(frame));
            }
            Ok(Read::Lost { last_seq, .. }) => steps.push_back(Step::Lost(last_seq + 1)),
            Ok(Read::CaughtUp) => return (steps, ReadEnd::Nothing),
            Err(error) => return (steps, ReadEnd::Failed(error)),
        }
    }
    (steps, ReadEnd::More)
}
