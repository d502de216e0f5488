//! A run of records handed to a sink in one call.

/// Records in order. Borrowed by the sink for the time of one call: it keeps nothing.
#[derive(Debug)]
pub struct Batch<R> {
    records: Vec<R>,
    bytes: usize,
}

impl<R> Batch<R> {
    /// A batch of these records, `bytes` long as received. Also for tests of sinks.
    #[must_use]
    pub fn new(records: Vec<R>, bytes: usize) -> Self {
        Self { records, bytes }
    }

    /// The records, in order.
    #[must_use]
    pub fn records(&self) -> &[R] {
        &self.records
    }

    /// The records, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, R> {
        self.records.iter()
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nothing in it. A sink answers `Ok` to that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes as received, envelope included: a good guess for the size of an output buffer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<'b, R> IntoIterator for &'b Batch<R> {
    type Item = &'b R;
    type IntoIter = std::slice::Iter<'b, R>;
    fn into_iter(self) -> Self::IntoIter {
        self.records.iter()
    }
}
