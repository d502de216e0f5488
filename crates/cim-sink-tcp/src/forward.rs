//! Framing `forward`: the Fluentd Forward protocol, version 1, in Forward mode with acknowledgement.
//!
//! Owns the message around the entries and the wait for the answer. Left out: the entries themselves. Invariant: a
//! batch counts as delivered only when the receiver has named its chunk; else the whole chunk is sent again, under the
//! same name as long as the engine repeats the same batch.

use std::fmt;
use std::io;
use std::time::Duration;

use cim_core::{Batch, Class, DeliveryError, DeliveryErrorKind, Record};
use serde::Deserialize;
use thiserror::Error;

use crate::connection::{Connection, is_full};
use crate::entry::{push_map, push_text};
use crate::lane::Lane;
use crate::receivers::Receivers;

/// An answer longer than this is none.
const LONGEST_ANSWER: usize = 4096;

/// How chunks are labelled and how long an answer may take.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// `cim` makes `cim.logs` and `cim.events`.
    pub tag: String,
    pub ack_timeout: Duration,
}

/// What the receiver answers.
#[derive(Debug, Deserialize)]
struct Answer {
    ack: String,
}

/// Why a chunk counts as not delivered.
#[derive(Debug, Error)]
enum Unacknowledged {
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error("no acknowledgement within {0:?}; is the receiver a Forward input that answers chunks?")]
    Silent(Duration),
    #[error("the receiver answered what is no acknowledgement: {0}")]
    Garbled(String),
    #[error("the receiver acknowledged another chunk")]
    Other,
}

/// Sends the batch as one chunk; `entry` appends one `[time, record]`.
///
/// # Errors
/// No receiver, or no acknowledgement: then nothing of the batch counts as delivered.
pub(crate) async fn send<R: Record>(
    lane: &Lane,
    receivers: &Receivers,
    chunks: &Chunks,
    batch: &Batch<R>,
    entry: impl Fn(&R, &mut Vec<u8>),
) -> Result<(), DeliveryError> {
    let (flight, mut desk) = lane.begin().await?;
    let mut connection = lane.connection(&flight, &mut desk, receivers).await?;
    let chunk = Chunk::of(batch);
    let exchange = async {
        chunks.write(&mut connection, &mut desk.page, &chunk, batch, entry).await?;
        chunks.acknowledged_in_time(&mut connection, &chunk.to_string()).await
    };
    match exchange.await {
        Ok(()) => {
            connection.wire().settle(connection.wire().written());
            Lane::keep(&mut desk, connection);
            flight.landed();
            lane.delivered();
            Ok(())
        }
        Err(reason) => {
            let what = format!("chunk {chunk} is not acknowledged by {}", connection.peer());
            Err(lane.broken(DeliveryError::new(DeliveryErrorKind::Unavailable, what).with_source(reason)))
        }
    }
}

impl Chunks {
    async fn write<R: Record>(
        &self,
        connection: &mut Connection,
        page: &mut Vec<u8>,
        chunk: &Chunk,
        batch: &Batch<R>,
        entry: impl Fn(&R, &mut Vec<u8>),
    ) -> io::Result<()> {
        let entries = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        page.clear();
        rmp::encode::write_array_len(page, 3)?;
        push_text(format!("{}.{}", self.tag, chunk.class()).as_bytes(), page);
        rmp::encode::write_array_len(page, entries)?;
        for record in batch {
            entry(record, page);
            if is_full(page) {
                connection.write_page(page).await?;
            }
        }
        push_map(2, page);
        push_text(b"size", page);
        rmp::encode::write_uint(page, entries.into())?;
        push_text(b"chunk", page);
        push_text(chunk.to_string().as_bytes(), page);
        connection.write(page).await?;
        connection.flush().await
    }

    /// The time is that of the whole answer: one that comes byte by byte has no more of it.
    async fn acknowledged_in_time(
        &self,
        connection: &mut Connection,
        chunk: &str,
    ) -> Result<(), Unacknowledged> {
        let answer = tokio::time::timeout(self.ack_timeout, acknowledged(connection, chunk)).await;
        answer.unwrap_or(Err(Unacknowledged::Silent(self.ack_timeout)))
    }
}

async fn acknowledged(connection: &mut Connection, chunk: &str) -> Result<(), Unacknowledged> {
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let count = connection.read(&mut buffer).await?;
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        match rmp_serde::from_slice::<Answer>(&answer) {
            Ok(answer) if answer.ack == chunk => return Ok(()),
            Ok(_) => return Err(Unacknowledged::Other),
            Err(error) if answer.len() > LONGEST_ANSWER || !is_unfinished(&error) => {
                return Err(Unacknowledged::Garbled(error.to_string()));
            }
            Err(_) => {}
        }
    }
}

/// Whether more bytes may make sense of it.
fn is_unfinished(error: &rmp_serde::decode::Error) -> bool {
    use rmp_serde::decode::Error;
    match error {
        Error::InvalidMarkerRead(cause) | Error::InvalidDataRead(cause) => {
            cause.kind() == io::ErrorKind::UnexpectedEof
        }
        _ => false,
    }
}

/// The name of a chunk: what is in it, so that a repeated one can be told.
#[derive(Debug, PartialEq, Eq)]
struct Chunk {
    class: Class,
    epoch: u64,
    first: u64,
    last: u64,
}

impl Chunk {
    fn of<R: Record>(batch: &Batch<R>) -> Self {
        let seq = |record: Option<&R>| record.map_or(0, |record| record.meta().seq);
        Self {
            class: R::CLASS,
            epoch: batch.records().first().map_or(0, |record| record.meta().epoch),
            first: seq(batch.records().first()),
            last: seq(batch.records().last()),
        }
    }

    fn class(&self) -> &'static str {
        match self.class {
            Class::Log => "logs",
            Class::Event => "events",
        }
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{}-{}", self.epoch, self.class(), self.first, self.last)
    }
}
