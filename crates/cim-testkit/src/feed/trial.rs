//! One run of a property: a source, its reader, and what was read.
//!
//! Owns waiting with a limit. Left out: what is right.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{EventReader, EventSource, FeedPosition, RecordPlace, Sift, SourceError};
use tokio::time::{Instant, sleep, timeout};

use super::harness::{FeedHarness, FeedRecord};

/// Keeps what `wanted` says, and remembers the headers of every record.
pub(super) struct Sieve {
    pub(super) wanted: fn(usize) -> bool,
    pub(super) shown: Vec<Vec<(String, Vec<u8>)>>,
}

impl Sift for Sieve {
    fn keeps<'h>(
        &mut self,
        _: RecordPlace,
        headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>,
        _: usize,
    ) -> bool {
        self.shown.push(headers.map(|(name, value)| (name.to_owned(), value.to_vec())).collect());
        (self.wanted)(self.shown.len() - 1)
    }
}

/// A run.
pub(super) struct Trial<'h> {
    pub(super) harness: &'h dyn FeedHarness,
    pub(super) source: Arc<dyn EventSource>,
    pub(super) sieve: Sieve,
    /// Values that were kept.
    pub(super) kept: Vec<Vec<u8>>,
    /// How far the lanes were read.
    pub(super) reached: Vec<FeedPosition>,
    added: usize,
}

impl<'h> Trial<'h> {
    pub(super) fn new(harness: &'h dyn FeedHarness) -> Self {
        let sieve = Sieve { wanted: |_| true, shown: Vec::new() };
        Self { harness, source: harness.build(), sieve, kept: Vec::new(), reached: Vec::new(), added: 0 }
    }

    /// A reader, within the patience of the harness.
    pub(super) async fn open(&self) -> Result<Box<dyn EventReader>, String> {
        let deadline = Instant::now() + self.harness.patience();
        loop {
            match timeout(self.harness.patience(), self.source.open()).await {
                Err(_) => return Err("opening took too long".to_owned()),
                Ok(Ok(reader)) => return Ok(reader),
                Ok(Err(error)) if Instant::now() > deadline => {
                    return Err(format!("cannot be opened: {error}"));
                }
                // A broker that just started may have to be asked again.
                Ok(Err(_)) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Adds so many records, numbered on, each with headers of its own.
    pub(super) async fn add(&mut self, records: usize) {
        let record = |number: usize| FeedRecord {
            headers: vec![("number".to_owned(), number.to_string().into_bytes())],
            value: number.to_string().into_bytes(),
        };
        let records: Vec<_> = (self.added..self.added + records).map(record).collect();
        self.added += records.len();
        self.harness.add(&records).await;
    }

    /// Reads once, and notes what came.
    pub(super) async fn read(&mut self, reader: &mut dyn EventReader) -> Result<(), String> {
        let batch = timeout(self.harness.patience(), reader.read(&mut self.sieve)).await;
        let batch = batch.map_err(|_| format!("nothing came; {} records before", self.kept.len()))?;
        self.note(batch)
    }

    pub(super) fn note(&mut self, batch: Result<cim_core::FeedBatch, SourceError>) -> Result<(), String> {
        let batch = batch.map_err(|error| format!("the reader ended: {error}"))?;
        self.kept.extend(batch.kept.iter().map(<[u8]>::to_vec));
        for position in batch.reached {
            match self.reached.iter_mut().find(|known| known.lane == position.lane) {
                Some(known) if known.next >= position.next => {
                    return Err(format!(
                        "lane {} went back from {} to {}",
                        position.lane, known.next, position.next
                    ));
                }
                Some(known) => *known = position,
                None => self.reached.push(position),
            }
        }
        Ok(())
    }

    /// Reads until so many records were kept.
    pub(super) async fn read_to(&mut self, reader: &mut dyn EventReader, kept: usize) -> Result<(), String> {
        while self.kept.len() < kept {
            self.read(reader).await?;
        }
        Ok(())
    }

    /// The numbers that were kept.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.kept.iter().filter_map(|value| std::str::from_utf8(value).ok()?.parse().ok()).collect()
    }

    /// Whether the numbers are these.
    pub(super) fn are(&self, expected: std::ops::Range<usize>) -> Result<(), String> {
        let numbers = self.numbers();
        if numbers == expected.clone().collect::<Vec<_>>() {
            Ok(())
        } else {
            Err(format!("{numbers:?} instead of {expected:?}"))
        }
    }
}
