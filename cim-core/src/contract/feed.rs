//! Where subscribed events come from: an endless sequence of records with headers, and a place to note how far it was read.
//!
//! Owns the contract between the subscription feed and a broker. Left out: which records an application wants, retries and
//! the pauses between them, which the engine does for every source.

use async_trait::async_trait;

use super::component::Component;
use super::source::SourceError;

/// How far one lane of a feed (a partition) was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition {
    /// Number of the lane.
    pub lane: i32,
    /// Number of the next record in it: everything before was read.
    pub next: i64,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPlace {
    /// Number of the lane, from 0.
    pub lane: i32,
    /// Number of the record in it.
    pub record: i64,
}

/// Values, one after the other in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Values {
    /// Adds a value.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Their bytes together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Value number `index`, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.bytes.get(start..end)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// Decides which records are kept.
pub trait Sift: Send {
    /// Whether a record with these headers is kept. A header without a value is not shown. `bytes`: size of its value. To be asked once
    /// for each record of a batch, in order, and of none that is in no batch.
    fn keeps<'h>(
        &mut self,
        at: RecordPlace,
        headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>,
        bytes: usize,
    ) -> bool;
}

/// What one reading brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedBatch {
    /// Values of the records that were kept, in order.
    pub kept: Values,
    /// How far each lane has come by it, at most once per lane; what was not kept counts, too.
    pub reached: Vec<FeedPosition>,
}

/// A feed of records.
///
/// Sources know no engine: they neither retry an opening nor decide what is wanted. At most one reader of a source is open.
#[async_trait]
pub trait EventSource: Component {
    /// Becomes a reader: behind what was committed last under the same name, else where the configuration says. That
    /// place is fixed when this returns: what is added to the feed afterwards will be read.
    ///
    /// # Errors
    /// [`SourceError`]; the call may be repeated.
    ///
    /// # Cancel safety
    /// May be dropped at any await point; then there is no reader.
    async fn open(&self) -> Result<Box<dyn EventReader>, SourceError>;
}

/// The reader of a feed.
///
/// A lost connection is no error: the reader waits until it is back. After an error the reader is of no use any more.
#[async_trait]
pub trait EventReader: Send {
    /// Waits for the next records and takes as many as are there, within bounds of its own (about 1 MiB kept). Records of
    /// one lane come in their order, each once.
    ///
    /// # Errors
    /// [`SourceError`] when this reader will read nothing more.
    ///
    /// # Cancel safety
    /// May be dropped and called again; no record is lost.
    async fn read(&mut self, sift: &mut dyn Sift) -> Result<FeedBatch, SourceError>;

    /// Reads nothing for as long as it is not dropped, and stays the reader nevertheless. Returns only with an error.
    ///
    /// # Cancel safety
    /// Made to be dropped; no record is lost.
    async fn rest(&mut self) -> SourceError {
        std::future::pending().await
    }

    /// Notes that everything before these positions is done with: the next reader goes on there. Does not wait for the note
    /// to be stored; a later one replaces it.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be noted now; a later call includes it.
    fn commit(&mut self, positions: &[FeedPosition]) -> Result<(), SourceError>;

    /// Ends the reader once what was committed is stored, as far as that is possible within about a second.
    ///
    /// # Cancel safety
    /// When dropped, the reader ends nevertheless.
    async fn close(self: Box<Self>);

    /// The same where the process ends: once what was committed is stored nothing more is waited for, in particular not until the
    /// source knows that the reader is gone.
    ///
    /// # Cancel safety
    /// When dropped, the reader ends nevertheless.
    async fn finish(self: Box<Self>) {
        self.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::Values;

    #[test]
    fn values_come_back_as_they_were_added() {
        let mut values = Values::default();
        for value in ["a", "", "ccc"] {
            values.push(value.as_bytes());
        }
        assert_eq!(values.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"ccc"]);
        assert_eq!((values.len(), values.bytes(), values.get(3)), (3, 4, None));
    }
}
