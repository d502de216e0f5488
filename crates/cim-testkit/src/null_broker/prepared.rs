//! A broker that does not listen yet.
//!
//! Owns what it is told before its first request, because a client that waits for it sends that at once.

use std::io;
use std::net::SocketAddr;

use super::NullBroker;
use super::topics::Topics;

/// What a broker does from its first request on.
#[derive(Debug)]
#[must_use = "nobody listens yet"]
pub struct Prepared {
    topics: Topics,
}

impl Prepared {
    pub(super) fn new(topics: &[(&str, usize)]) -> Self {
        let mut prepared = Self { topics: Topics::default() };
        for (name, partitions) in topics {
            prepared.topics.create(name, *partitions);
        }
        prepared
    }

    /// As [`NullBroker::keep_records`].
    pub fn keep_records(mut self) -> Self {
        self.topics.keeps_records = true;
        self
    }

    /// As [`NullBroker::refuse_values_with`].
    pub fn refuse_values_with(mut self, text: &[u8], error: i16) -> Self {
        self.topics.poison(text, error);
        self
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// The address is not free, or the system gives no thread.
    pub fn start_at(self, listen: SocketAddr) -> io::Result<NullBroker> {
        NullBroker::listen(listen, self.topics)
    }
}
