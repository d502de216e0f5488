//! Records that no attempt will deliver: kept with the reason, bounded, for people to look at and replay.
//!
//! One spool stream for all of them. When it is full, the oldest letters go, and are counted. A second stream holds the notifications
//! among them that were put back and are not settled yet.
//! Layout of a stored letter: origin (1 byte) · sequence (8, little endian) · three texts with a 2-byte length each (route,
//! reason, error) · the record as the queue stored it.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_spool::{AppendError, FrameBuf, OpenError, Read, Reader, Stream};
use cim_wire::{Class, Encoding};
use tokio::sync::Notify;

use crate::clock;
use crate::envelope::{Envelope, Prefix};

/// Name of the stream and of its one cursor.
pub(crate) const STREAM: &str = "dead-letters";
/// Name of the stream of notifications that were put back.
pub(crate) const AGAIN: &str = "notifications";
const CURSOR: &str = "kept";
const MAX_TEXT: usize = 1024;

/// Where a letter comes from, and is put back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The queue of a class.
    Queue(Class),
    /// A subscription of the application.
    Subscription,
}

impl Origin {
    const SUBSCRIPTION: u8 = 16;

    const fn number(self) -> u8 {
        match self {
            Self::Queue(class) => class as u8,
            Self::Subscription => Self::SUBSCRIPTION,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        if number == Self::SUBSCRIPTION {
            Some(Self::Subscription)
        } else {
            Class::from_u8(number).map(Self::Queue)
        }
    }
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it comes from.
    pub origin: Origin,
    /// Sequence in its class, or number of the record in its partition.
    pub seq: u64,
    /// Route it was refused on, or id of the subscription.
    pub route: String,
    /// Kind of refusal.
    pub reason: String,
    /// What the sink said.
    pub error: String,
    record: Vec<u8>,
}

impl Letter {
    pub(crate) fn new(
        origin: Origin,
        seq: u64,
        route: &str,
        reason: &str,
        error: &str,
        record: &[u8],
    ) -> Self {
        Self {
            origin,
            seq,
            route: clipped(route),
            reason: clipped(reason),
            error: clipped(error),
            record: record.to_vec(),
        }
    }

    /// A notification of that subscription that was given up.
    pub(crate) fn notification(
        subscription: &str,
        seq: u64,
        reason: &str,
        error: &str,
        value: &[u8],
    ) -> Self {
        let prefix = Prefix::new(Encoding::Text, clock::now_ms(), None, &[], false);
        let record = prefix.parts(value).concat();
        Self::new(Origin::Subscription, seq, subscription, reason, error, &record)
    }

    /// Payload as the publisher sent it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        Envelope::parse(&self.record).map_or(&self.record, |envelope| envelope.payload)
    }

    /// When CIM took the record, milliseconds since the Unix epoch.
    #[must_use]
    pub fn arrived_ms(&self) -> u64 {
        Envelope::parse(&self.record).map_or(0, |envelope| envelope.arrived_ms)
    }

    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.origin.number()];
        out.extend_from_slice(&self.seq.to_le_bytes());
        for text in [&self.route, &self.reason, &self.error] {
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.record);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&origin, rest) = bytes.split_first()?;
        let (seq, mut rest) = rest.split_first_chunk::<8>()?;
        let mut text = || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            rest = after;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let (route, reason, error) = (text()?, text()?, text()?);
        Some(Self {
            origin: Origin::from_number(origin)?,
            seq: u64::from_le_bytes(*seq),
            route,
            reason,
            error,
            record: rest.to_vec(),
        })
    }
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Both stores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Letters {
    /// Dead letters.
    pub(crate) dead: Arc<DeadLetters>,
    /// Notifications that were put back and are not settled yet.
    pub(crate) again: Arc<DeadLetters>,
}

/// A store.
pub struct DeadLetters {
    inner: Mutex<Inner>,
    news: Notify,
}

struct Inner {
    stream: Stream,
    evicted: u64,
}

impl Inner {
    /// Returns how many were forgotten.
    fn forget_before(&mut self, next: u64) -> io::Result<u64> {
        let first = self.stream.cursor(CURSOR).map_err(io::Error::other)?.max(self.stream.first_seq());
        self.stream.ack(CURSOR, next);
        self.stream.save_cursors(true)?;
        Ok(next.saturating_sub(first))
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
        Ok(Self { inner: Mutex::new(Inner { stream, evicted: 0 }), news: Notify::new() })
    }

    /// Goes on in another stream, when the spool directory was lost.
    pub(crate) fn replace(&self, mut stream: Stream) -> Result<(), OpenError> {
        stream.cursor(CURSOR)?;
        self.lock().stream = stream;
        Ok(())
    }

    /// Stores a letter; where there is no room, the oldest ones go.
    pub(crate) fn put(&self, letter: &Letter) -> io::Result<()> {
        self.append(letter, true)
    }

    /// Stores a letter, and fails where there is no room.
    pub(crate) fn put_beside(&self, letter: &Letter) -> io::Result<()> {
        self.append(letter, false)?;
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

    fn append(&self, letter: &Letter, may_shed: bool) -> io::Result<()> {
        let bytes = letter.encode();
        let mut inner = self.lock();
        let mut buf = FrameBuf::with_target(bytes.len());
        buf.push(&[&bytes]);
        loop {
            let (error, back) = match inner.stream.append(buf) {
                Ok(_) => break,
                Err(failed) => failed,
            };
            buf = back;
            let full = may_shed && matches!(error, AppendError::Full { .. } | AppendError::NoSpace(_));
            match full.then(|| inner.stream.shed_oldest()).flatten() {
                Some(shed) => inner.evicted += shed.records,
                None => return Err(io::Error::other(error)),
            }
        }
        match inner.stream.begin_sync() {
            Some(mut job) => {
                let result = job.run();
                let failed = result.as_ref().err().map(|error| io::Error::other(error.to_string()));
                inner.stream.finish_sync(job, result);
                failed.map_or(Ok(()), Err)
            }
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_letter_is_read_back(seq: u64, reason in "[a-z]{0,20}", error: String, record: Vec<u8>) {
            let letter = Letter::new(Origin::Queue(Class::Event), seq, "events", &reason, &error, &record);
            prop_assert_eq!(Letter::decode(&letter.encode()), Some(letter));
        }

        #[test]
        fn a_notification_is_read_back_with_its_value(seq: u64, value: Vec<u8>) {
            let letter = Letter::notification("123456", seq, "refused", "no", &value);
            let read = Letter::decode(&letter.encode()).unwrap();
            prop_assert_eq!((read.origin, read.payload()), (Origin::Subscription, &value[..]));
            prop_assert_eq!(read, letter);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Letter::decode(&bytes);
        }
    }
}
