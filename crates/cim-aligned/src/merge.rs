//! Samples of many pages under one name.
//!
//! Owns the order of samples, the common set of labels, and that none stands there twice. Left out: where samples come from. The
//! invariant: within one family no name with the same labels and timestamp is written a second time.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use cim_exposition::{Kind, Page};

/// A label whose name may have been made here.
pub(crate) type Label<'r> = (Cow<'r, str>, &'r str);

/// One line with a value, ready to be written.
#[derive(Debug)]
pub(crate) struct Entry<'r> {
    pub name: &'r str,
    /// Every label but the part.
    pub labels: Vec<Label<'r>>,
    /// Which part of a histogram or summary it is: `le` or `quantile`.
    pub part: Option<(&'static str, &'r str)>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

/// Samples of one name.
#[derive(Debug, Default)]
pub(crate) struct Merged<'r> {
    pub help: &'r str,
    pub kind: Kind,
    pub entries: Vec<Entry<'r>>,
}

/// Place of a line among those of one series: parts, then sum, then count.
fn rank(family: &str, name: &str) -> u8 {
    match name.strip_prefix(family) {
        Some("_sum") => 1,
        Some("_count") => 2,
        _ => 0,
    }
}

impl<'r> Merged<'r> {
    /// Writes the family, if it has a sample.
    pub(crate) fn write(&self, name: &str, page: &mut Page) {
        if self.entries.is_empty() {
            return;
        }
        page.family(name, self.help, self.kind);
        let names: BTreeSet<&str> =
            self.entries.iter().flat_map(|entry| &entry.labels).map(|(name, _)| name.as_ref()).collect();
        // A label that a sample does not have is an empty one, as the library of the original wants it.
        let padded = |entry: &Entry<'r>| -> Vec<&'r str> {
            let of =
                |name: &&str| entry.labels.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
            names.iter().map(|name| of(name).unwrap_or_default()).collect()
        };
        let mut lines: Vec<_> = self
            .entries
            .iter()
            .map(|entry| (padded(entry), entry.timestamp_ms, rank(name, entry.name), entry))
            .collect();
        // Stable: the parts of a series stay in the order of their page.
        lines.sort_by(|a, b| (&a.0, a.1, a.2).cmp(&(&b.0, b.1, b.2)));
        for series in lines.chunk_by(|a, b| (&a.0, a.1) == (&b.0, b.1)) {
            let mut written = HashSet::new();
            for (values, timestamp, _, entry) in series {
                if series.len() > 1 && !written.insert((entry.name, entry.part)) {
                    continue;
                }
                let labels = names.iter().copied().zip(values.iter().copied()).chain(entry.part);
                page.sample(entry.name, labels, entry.value, *timestamp);
            }
        }
    }
}
