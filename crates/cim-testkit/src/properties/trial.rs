//! One run of a property: the sink, the target, and what was sent.
//!
//! Owns numbering and the question "has the reader seen everything by now". Invariant: a record is remembered as
//! sent before it is handed to the sink, so that nothing the reader sees can be unknown by accident.

use std::fmt;

use cim_core::{Class, DeliveryError};

use crate::reader::{self, Seen};
use crate::{CannotExpress, Fault, Harness, Sample, Subject};

/// The state of a run.
pub(crate) struct Trial<'h> {
    harness: &'h dyn Harness,
    class: Class,
    pub subject: Subject,
    pub sent: Vec<Sample>,
}

impl<'h> Trial<'h> {
    pub(crate) fn new(harness: &'h dyn Harness, class: Class, subject: Subject) -> Self {
        Self { harness, class, subject, sent: Vec::new() }
    }

    /// New records, from two sources in turns.
    pub(crate) fn samples(&mut self, count: usize) -> Vec<Sample> {
        let containers = ["alpha", "beta"];
        let new = containers.iter().cycle().take(count).map(|container| {
            let seq = self.sent.len() as u64 + 1;
            self.sent.push(Sample::numbered(seq, container));
        });
        new.for_each(drop);
        self.sent.get(self.sent.len() - count..).unwrap_or_default().to_vec()
    }

    /// New records of about so many bytes each, from two sources in turns.
    pub(crate) fn padded(&mut self, count: usize, bytes: usize) -> Vec<Sample> {
        let first = self.sent.len();
        self.samples(count);
        let new = self.sent.get_mut(first..).unwrap_or_default();
        for sample in new.iter_mut() {
            sample.body.resize(sample.body.len().max(bytes), b'.');
        }
        new.to_vec()
    }

    /// A new record with that body after its number, or exactly that body.
    pub(crate) fn sample(&mut self, body: &[u8], exactly: bool) -> Sample {
        let seq = self.sent.len() as u64 + 1;
        let mut sample = Sample::with_body(seq, "alpha", body);
        if exactly {
            sample.body = body.to_vec();
        }
        self.sent.push(sample.clone());
        sample
    }

    /// Delivers; an error of the sink is a finding.
    pub(crate) async fn deliver(&self, samples: &[Sample]) -> Result<(), String> {
        let outcome = self.subject.attempt(samples).await?;
        outcome.map_err(|error| format!("a healthy target got no delivery: {}", Chain(&error)))
    }

    /// Sends one more record and waits until the reader has seen it and all before it. With an ordered sink nothing
    /// that was sent before can still be on its way then.
    pub(crate) async fn settle(&mut self) -> Result<Seen, String> {
        let fence = self.samples(1);
        self.subject.insist(&fence).await?;
        Ok(reader::wait(self.harness, self.class, &self.sent).await)
    }

    /// What the reader sees this moment.
    pub(crate) async fn look(&self) -> Seen {
        reader::look(self.harness, self.class, &self.sent).await
    }

    pub(crate) async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        self.harness.fail(fault).await
    }

    pub(crate) async fn heal(&self) {
        self.harness.heal().await;
    }
}

/// Nothing unknown and nothing missing in what was seen.
pub(crate) fn complete(seen: &Seen, sent: &[Sample]) -> Result<(), String> {
    if let Some(garbage) = &seen.garbage {
        return Err(format!("the reader sees what nobody sent, {garbage}"));
    }
    match seen.missing(sent) {
        Some(seq) => Err(format!("record {seq} was delivered, but the reader never saw it")),
        None => Ok(()),
    }
}

/// An error with everything below it.
pub(crate) struct Chain<'e>(pub &'e DeliveryError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.0.kind().as_str())?;
        let mut next = std::error::Error::source(self.0);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}
