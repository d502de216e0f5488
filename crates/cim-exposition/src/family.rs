//! What a page consists of.
//!
//! Left out: text. Everything borrows from the page, unless an escape had to be undone.

use std::borrow::Cow;

/// Type of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
    /// No type is told, or one that the format does not know.
    #[default]
    Untyped,
}

impl Kind {
    /// The word of a `TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    pub(crate) fn of(word: &str) -> Self {
        let known = [Self::Counter, Self::Gauge, Self::Histogram, Self::Summary];
        known.into_iter().find(|kind| kind.as_str() == word).unwrap_or_default()
    }

    /// The label that tells the parts of one series apart: the bound of a bucket, the rank of a quantile.
    #[must_use]
    pub const fn part_label(self) -> Option<&'static str> {
        match self {
            Self::Histogram => Some("le"),
            Self::Summary => Some("quantile"),
            _ => None,
        }
    }

    /// Endings that samples of such a family may add to its name.
    pub(crate) const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Histogram => &["_bucket", "_sum", "_count"],
            Self::Summary => &["_sum", "_count"],
            _ => &[],
        }
    }
}

/// A label: its name and its value.
pub type Label<'t> = (&'t str, Cow<'t, str>);

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'t> {
    /// The name as it stands there: that of the family, or that with an ending such as `_bucket`.
    pub name: &'t str,
    /// Labels in the order of the line; no name twice.
    pub labels: Vec<Label<'t>>,
    /// The value.
    pub value: f64,
    /// Milliseconds since the Unix epoch, where the line tells them.
    pub timestamp_ms: Option<i64>,
}

/// Samples of one name, with what is told about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Family<'t> {
    /// The name.
    pub name: &'t str,
    /// What it is about; empty when nothing is said.
    pub help: Cow<'t, str>,
    /// The type.
    pub kind: Kind,
    /// Samples in the order of the page.
    pub samples: Vec<Sample<'t>>,
}
