//! What the reader at the other end has seen, in terms of the samples that were sent.
//!
//! Owns the recognition of samples in streams of bytes and the wait for them. Left out: what ought to be there.
//! Invariant: bytes that belong to no sample are reported, never passed over.

use std::time::{Duration, Instant};

use cim_core::Class;

use crate::{Harness, Sample};

const PAUSE: Duration = Duration::from_millis(5);

/// The samples seen, per stream, by their position in the list of all samples sent.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    streams: Vec<Vec<usize>>,
    /// Bytes no sample explains.
    pub garbage: Option<String>,
}

impl Seen {
    /// How often a sample was seen.
    pub(crate) fn count(&self, position: usize) -> usize {
        self.streams.iter().flatten().filter(|seen| **seen == position).count()
    }

    /// How many samples were seen in all, repeats included.
    pub(crate) fn total(&self) -> usize {
        self.streams.iter().map(Vec::len).sum()
    }

    /// The first sample of which there is no trace.
    pub(crate) fn missing(&self, samples: &[Sample]) -> Option<u64> {
        let absent = samples.iter().enumerate().find(|(position, _)| self.count(*position) == 0);
        absent.map(|(_, sample)| sample.seq)
    }

    /// The first sample that was seen more than once.
    pub(crate) fn repeated(&self, samples: &[Sample]) -> Option<u64> {
        let twice = samples.iter().enumerate().find(|(position, _)| self.count(*position) > 1);
        twice.map(|(_, sample)| sample.seq)
    }

    /// Two samples of one source of which the later one was seen first; repeats do not count.
    pub(crate) fn out_of_order(&self, samples: &[Sample]) -> Option<(u64, u64)> {
        for stream in &self.streams {
            let mut highest: Vec<(&str, u64)> = Vec::new();
            let mut known = Vec::new();
            for position in stream {
                let Some(sample) = samples.get(*position) else { continue };
                if known.contains(position) {
                    continue;
                }
                known.push(*position);
                match highest.iter_mut().find(|(source, _)| *source == sample.container) {
                    Some((_, seq)) if *seq > sample.seq => return Some((*seq, sample.seq)),
                    Some((_, seq)) => *seq = sample.seq,
                    None => highest.push((&sample.container, sample.seq)),
                }
            }
        }
        None
    }
}

/// Reads once.
pub(crate) async fn look(harness: &dyn Harness, class: Class, samples: &[Sample]) -> Seen {
    let forms: Vec<_> = samples.iter().map(|sample| harness.shown(sample, class)).collect();
    let mut seen = Seen::default();
    for stream in harness.read(class).await {
        let (positions, garbage) = recognise(&stream, &forms);
        seen.streams.push(positions);
        seen.garbage = seen.garbage.or(garbage);
    }
    seen
}

/// Reads until every sample was seen, or patience ends.
pub(crate) async fn wait(harness: &dyn Harness, class: Class, samples: &[Sample]) -> Seen {
    let started = Instant::now();
    loop {
        let seen = look(harness, class, samples).await;
        if (seen.missing(samples).is_none() && seen.garbage.is_none())
            || started.elapsed() > harness.patience()
        {
            return seen;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Cuts a stream into the forms it is made of; at each place the longest one that fits.
fn recognise(stream: &[u8], forms: &[Vec<u8>]) -> (Vec<usize>, Option<String>) {
    let mut positions = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let fitting = forms.iter().enumerate().filter(|(_, form)| !form.is_empty() && rest.starts_with(form));
        match fitting.max_by_key(|(_, form)| form.len()) {
            Some((position, form)) => {
                positions.push(position);
                rest = rest.get(form.len()..).unwrap_or_default();
            }
            None => {
                let place = stream.len() - rest.len();
                let excerpt = rest.get(..rest.len().min(80)).unwrap_or_default();
                let finding = format!("at byte {place}: `{}`", excerpt.escape_ascii());
                return (positions, Some(finding));
            }
        }
    }
    (positions, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_cut_at_the_longest_form() {
        let forms = [b"a\n".to_vec(), b"a\nb\n".to_vec(), b"\n".to_vec()];
        assert_eq!(recognise(b"a\nb\n\na\n", &forms), (vec![1, 2, 0], None));
        let (positions, garbage) = recognise(b"a\nx", &forms);
        assert_eq!(positions, [0]);
        assert_eq!(garbage.as_deref(), Some("at byte 2: `x`"));
    }
}
