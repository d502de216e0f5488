//! What was found, and whether that is clean.
//!
//! Invariant: [`Report::faults`] is empty only when every number between the first and the last is there, in order, at
//! most as often as the caller tolerates, and nothing else is.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// Which repetitions are no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tolerated {
    /// None.
    Nothing,
    /// Those with equal `cim-epoch` and `cim-seq` headers: a reader can remove them.
    #[default]
    Marked,
    /// All.
    Any,
}

/// A reason against a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// There are no records at all.
    Empty,
    /// Numbers are missing.
    Gaps,
    /// Records came again, with equal headers.
    MarkedDuplicates,
    /// Records came again, and nothing shows it to a reader.
    UnmarkedDuplicates,
    /// Records came for the first time after a newer one of their source.
    Inversions,
    /// Two different records have the same headers.
    ReusedNumbers,
    /// Records without any number.
    Foreign,
    /// Payloads with a wrong checksum.
    Altered,
    /// Payloads that end too early.
    Torn,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no records",
            Self::Gaps => "gaps",
            Self::MarkedDuplicates => "marked duplicates",
            Self::UnmarkedDuplicates => "unmarked duplicates",
            Self::Inversions => "inversions",
            Self::ReusedNumbers => "reused numbers",
            Self::Foreign => "foreign records",
            Self::Altered => "altered records",
            Self::Torn => "torn records",
        })
    }
}

/// Counts of one source: class, container and, in Kafka, pod and partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// `LOG` or `EVENT`.
    pub class: &'static str,
    /// The pod it came from, by the header `cim-id`; empty without it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Container name; in log files name and id; empty where nothing tells.
    pub container: String,
    /// Partition of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Different records.
    pub received: u64,
    /// Repetitions with equal `cim-epoch` and `cim-seq` headers.
    pub marked_duplicates: u64,
    /// Other repetitions.
    pub unmarked_duplicates: u64,
    /// Records that came for the first time after a newer one.
    pub inversions: u64,
}

/// Gaps of one numbering: the headers of one epoch and class, or one producer of the load generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NumberingReport {
    /// `LOG` or `EVENT`.
    pub class: &'static str,
    /// Epoch of the headers, as they write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Container of the producer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Run of the load generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// Producer of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<u32>,
    /// Lowest number received.
    pub first: u64,
    /// Highest number received.
    pub last: u64,
    /// Different numbers received.
    pub received: u64,
    /// Numbers missing between the first and the last.
    pub gaps: u64,
    /// The first of them, at most 8.
    pub first_missing: Vec<u64>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The headers `cim-epoch` and `cim-seq` were compared.
    pub by_header: bool,
    /// The headers of the load generator's payloads were compared.
    pub by_payload: bool,
    /// Records read.
    pub records: u64,
    /// Records without any number.
    pub foreign: u64,
    /// Generated payloads with a wrong checksum.
    pub altered: u64,
    /// Generated payloads that end too early.
    pub torn: u64,
    /// Records whose headers another record has.
    pub reused: u64,
    /// Per source.
    pub sources: Vec<SourceReport>,
    /// Per numbering.
    pub numberings: Vec<NumberingReport>,
}

impl Report {
    /// Every reason against it; none for a clean one.
    #[must_use]
    pub fn faults(&self, tolerated: Tolerated) -> Vec<Fault> {
        let none_of = |field: fn(&SourceReport) -> u64| self.sources.iter().all(|source| field(source) == 0);
        let marked = tolerated != Tolerated::Nothing;
        let unmarked = tolerated == Tolerated::Any;
        let checks = [
            (self.records > 0, Fault::Empty),
            (self.numberings.iter().all(|numbering| numbering.gaps == 0), Fault::Gaps),
            (marked || none_of(|source| source.marked_duplicates), Fault::MarkedDuplicates),
            (unmarked || none_of(|source| source.unmarked_duplicates), Fault::UnmarkedDuplicates),
            (none_of(|source| source.inversions), Fault::Inversions),
            (self.reused == 0, Fault::ReusedNumbers),
            (self.foreign == 0, Fault::Foreign),
            (self.altered == 0, Fault::Altered),
            (self.torn == 0, Fault::Torn),
        ];
        checks.into_iter().filter(|(good, _)| !good).map(|(_, fault)| fault).collect()
    }

    /// What the report is built on, for people.
    #[must_use]
    pub fn basis(&self) -> &'static str {
        match (self.by_header, self.by_payload) {
            (true, true) => "cim-epoch and cim-seq headers, and payload headers of the load generator",
            (true, false) => "cim-epoch and cim-seq headers",
            (false, true) => "payload headers of the load generator (no cim-epoch and cim-seq headers)",
            (false, false) => "nothing: no record carries a number",
        }
    }

    /// The report for people, one line per source and numbering.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} records, compared by {}\n", self.records, self.basis());
        for source in &self.sources {
            let _ = write!(text, "{} {}", source.class, shown(&source.container));
            if !source.id.is_empty() {
                let _ = write!(text, " of {}", source.id);
            }
            if let Some(partition) = source.partition {
                let _ = write!(text, ", partition {partition}");
            }
            let _ = writeln!(
                text,
                ": received {}, duplicates {} marked and {} unmarked, inversions {}",
                source.received, source.marked_duplicates, source.unmarked_duplicates, source.inversions
            );
        }
        for numbering in &self.numberings {
            let _ = writeln!(text, "{}", numbering.text());
        }
        let _ = writeln!(
            text,
            "foreign {}, altered {}, torn {}, reused numbers {}",
            self.foreign, self.altered, self.torn, self.reused
        );
        text
    }
}

impl NumberingReport {
    fn text(&self) -> String {
        let of = match (&self.epoch, &self.container, self.run, self.producer) {
            (Some(epoch), ..) => format!("epoch {epoch}"),
            (None, Some(container), Some(run), Some(producer)) => {
                format!("{} run {run} producer {producer}", shown(container))
            }
            _ => String::new(),
        };
        let mut text =
            format!("{} {of}: numbers {}..{}, gaps {}", self.class, self.first, self.last, self.gaps);
        if self.gaps > 0 {
            let _ = write!(text, ", first {:?}", self.first_missing);
        }
        text
    }
}

fn shown(container: &str) -> &str {
    if container.is_empty() { "(no container)" } else { container }
}
