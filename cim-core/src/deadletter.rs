//! Records that no attempt will deliver: kept with the reason, bounded, for people to look at and replay.
//!
//! One spool stream for all of them. When it is full, the oldest letters go, and are counted. A second stream holds the notifications
//! among them that were put back and are not settled yet. Left out: what a letter is made of (`letter`).
//! Invariants: a letter that is put is on the device before its record leaves its queue, and however often the disk fails to take
//! it for sure, it is there once; one that there can be no room for costs no other one.

mod letter;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_spool::{AppendError, Frame, FrameBuf, OpenError, Read, Reader, Stream, SyncOutcome};
use tokio::sync::Notify;

pub use letter::{Letter, Origin};

/// Name of the stream and of its one cursor.
pub(crate) const STREAM: &str = "dead-letters";
/// Name of the stream of notifications that were put back.
pub(crate) const AGAIN: &str = "notifications";
const CURSOR: &str = "kept";

/// Both stores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Letters {
    /// Dead letters.
    pub(crate) dead: Arc<DeadLetters>,
    /// Notifications that were put back and are not settled yet.
    pub(crate) again: Arc<DeadLetters>,
}

/// Where a letter is that the disk has not taken for sure. With it the letter is put on, not stored a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the stream among those of the store.
    life: u64,
    number: u64,
}

/// A letter that is not on the device.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NotPut {
    /// Where it is nevertheless; to be handed in with the next attempt.
    pub place: Option<Place>,
    why: io::Error,
}

impl From<io::Error> for NotPut {
    fn from(why: io::Error) -> Self {
        Self { place: None, why }
    }
}

/// A store.
pub struct DeadLetters {
    inner: Mutex<Inner>,
    news: Notify,
    /// Most bytes of a letter that there can be room for.
    largest: u64,
}

struct Inner {
    stream: Stream,
    life: u64,
    evicted: u64,
    /// The letters at the end of the stream that no sync has covered, one to a frame.
    in_doubt: Vec<Frame>,
    /// The last one put beside the others, while it is in doubt.
    beside: Option<(Letter, Place)>,
}

impl Inner {
    /// Returns how many were forgotten.
    fn forget_before(&mut self, next: u64) -> io::Result<u64> {
        let first = self.stream.cursor(CURSOR).map_err(io::Error::other)?.max(self.stream.first_seq());
        self.stream.ack(CURSOR, next);
        self.stream.save_cursors(true)?;
        Ok(next.saturating_sub(first))
    }

    fn put(&mut self, letter: &Letter, known: Option<Place>, may_shed: bool) -> Result<(), NotPut> {
        let known = known.filter(|place| place.life == self.life);
        self.rewrite_doubtful().map_err(|why| NotPut { place: known, why })?;
        let place = match known {
            Some(place) if self.in_doubt.iter().all(|frame| frame.first_seq() != place.number) => {
                // Another letter's sync has covered it, or it has left the store since, as any letter may.
                return Ok(());
            }
            Some(place) => place,
            None => self.append(letter, may_shed)?,
        };
        self.sync().map_err(|why| NotPut { place: Some(place), why })
    }

    /// What a failed sync left in doubt goes to a new segment before anything else: its file is never synced again, because
    /// the kernel may have dropped what it could not write.
    fn rewrite_doubtful(&mut self) -> io::Result<()> {
        let first = self.stream.first_seq();
        self.in_doubt.retain(|frame| frame.first_seq() >= first);
        if self.in_doubt.is_empty() {
            return Ok(());
        }
        self.stream.reappend(&self.in_doubt).map_err(io::Error::other)
    }

    fn append(&mut self, letter: &Letter, may_shed: bool) -> io::Result<Place> {
        let bytes = letter.encode();
        let may_shed = may_shed && bytes.len() as u64 <= self.stream.largest_record();
        let mut buf = FrameBuf::with_target(bytes.len());
        buf.push(&[&bytes]);
        let frame = loop {
            let (error, back) = match self.stream.append(buf) {
                Ok(frame) => break frame,
                Err(failed) => failed,
            };
            buf = back;
            let full = may_shed && matches!(error, AppendError::Full { .. } | AppendError::NoSpace(_));
            match full.then(|| self.stream.shed_oldest()).flatten() {
                Some(shed) => self.evicted += shed.records,
                None => return Err(io::Error::other(error)),
            }
        };
        let place = Place { life: self.life, number: frame.first_seq() };
        self.in_doubt.push(frame);
        Ok(place)
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(mut job) = self.stream.begin_sync() {
            let result = job.run();
            if let SyncOutcome::Failed { error, .. } = self.stream.finish_sync(job, result) {
                return Err(error);
            }
        }
        self.in_doubt.clear();
        Ok(())
    }
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}

impl DeadLetters {
    pub(crate) fn open(mut stream: Stream) -> Result<Self, OpenError> {
        stream.cursor(CURSOR)?;
        let largest = stream.largest_record();
        let inner = Inner { stream, life: 0, evicted: 0, in_doubt: Vec::new(), beside: None };
        Ok(Self { inner: Mutex::new(inner), news: Notify::new(), largest })
    }

    /// Goes on in another stream of the same size, when the spool directory was lost.
    pub(crate) fn replace(&self, mut stream: Stream) -> Result<(), OpenError> {
        stream.cursor(CURSOR)?;
        let mut inner = self.lock();
        inner.stream = stream;
        // Places in the old one say nothing here.
        inner.life += 1;
        inner.in_doubt.clear();
        Ok(())
    }

    /// Whether there can be room for the letter, when all others have gone.
    pub(crate) fn can_hold(&self, letter: &Letter) -> bool {
        letter.encoded_len() as u64 <= self.largest
    }

    /// Stores a letter; where there is no room, the oldest ones go. `place`: where an earlier attempt left it.
    pub(crate) fn put(&self, letter: &Letter, place: Option<Place>) -> Result<(), NotPut> {
        self.lock().put(letter, place, true)
    }

    /// Stores a letter, and fails where there is no room. One that was left in doubt is recognised when it comes next.
    pub(crate) fn put_beside(&self, letter: &Letter) -> Result<(), NotPut> {
        let mut inner = self.lock();
        let place = inner.beside.take().filter(|(last, _)| last == letter).map(|(_, place)| place);
        let put = inner.put(letter, place, false);
        inner.beside =
            put.as_ref().err().and_then(|failed| failed.place).map(|place| (letter.clone(), place));
        drop(inner);
        put?;
        self.news.notify_one();
        Ok(())
    }

    /// Waits until a letter was put beside the others since the last call. For one caller at a time.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn is_new(&self) {
        self.news.notified().await;
    }

    /// The letters kept, oldest first.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn list(&self) -> io::Result<Vec<Letter>> {
        Ok(self.numbered()?.into_iter().map(|(_, letter)| letter).collect())
    }

    /// The letters kept, oldest first, with their numbers in the store.
    pub(crate) fn numbered(&self) -> io::Result<Vec<(u64, Letter)>> {
        self.some_from(0, usize::MAX)
    }

    /// The letters kept from that number on, oldest first, until so many bytes are together.
    pub(crate) fn some_from(&self, from: u64, bytes: usize) -> io::Result<Vec<(u64, Letter)>> {
        let (reader, first) = {
            let mut inner = self.lock();
            let first = inner.stream.cursor(CURSOR).map_err(io::Error::other)?.max(from);
            (inner.stream.reader(first), first)
        };
        letters_from(reader, first, bytes)
    }

    /// Forgets every letter kept now; returns how many.
    ///
    /// # Errors
    /// When the position cannot be saved.
    pub fn purge(&self) -> io::Result<u64> {
        let mut inner = self.lock();
        let next = inner.stream.next_seq();
        inner.forget_before(next)
    }

    /// Forgets the letters up to that number.
    pub(crate) fn forget_through(&self, number: u64) -> io::Result<u64> {
        self.lock().forget_before(number + 1)
    }

    /// Letters kept now.
    #[must_use]
    pub fn len(&self) -> u64 {
        let mut inner = self.lock();
        let first = inner.stream.first_seq();
        let kept = inner.stream.cursor(CURSOR).unwrap_or(first).max(first);
        inner.stream.next_seq().saturating_sub(kept)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Letters that made room for newer ones since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The letters in a spool directory, oldest first, read from its files: no lock is taken and nobody is asked, so it also
/// works beside a CIM that writes meanwhile, or hangs. A letter that is being written is not seen yet.
///
/// # Errors
/// A directory or file that cannot be read, or that a newer program wrote.
pub fn read(dir: &Path) -> Result<Vec<Letter>, OpenError> {
    let mut letters = Vec::new();
    let first = cim_spool::position(dir, STREAM, CURSOR)?.unwrap_or(0);
    let read = cim_spool::dump(dir, STREAM, first, |_, bytes| {
        letters.extend(Letter::decode(bytes));
        ControlFlow::Continue(())
    });
    match read {
        // A spool whose first letter is still to come.
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && dir.is_dir() => {
            Ok(letters)
        }
        other => other.map(|_| letters),
    }
}

fn letters_from(mut reader: Reader, first: u64, bytes: usize) -> io::Result<Vec<(u64, Letter)>> {
    let (mut letters, mut read) = (Vec::new(), 0);
    while read < bytes {
        match reader.next()? {
            Read::CaughtUp => break,
            Read::Lost { .. } => {}
            Read::Frame(frame) => {
                for (seq, stored) in frame.records().filter(|(seq, _)| *seq >= first) {
                    read += stored.len();
                    letters.extend(Letter::decode(stored).map(|letter| (seq, letter)));
                }
            }
        }
    }
    Ok(letters)
}
