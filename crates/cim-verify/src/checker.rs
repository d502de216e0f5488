//! Compares the numbers of the records that a sink received.
//!
//! Left out: where records come from. Invariant: every record is counted once in its source, or is foreign; a repetition
//! is found wherever the first copy stands, also in another partition.

use std::collections::BTreeMap;

use crate::bitmap::Added;
use crate::origin::Class;
use crate::payload::{Found, scan};
use crate::report::{NumberingReport, Report, SourceReport};
use crate::sequence::Sequence;
use crate::stamp::Stamp;

/// Missing numbers that a report names.
const NAMED: usize = 8;

/// The headers `cim-epoch` and `cim-seq` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numbers {
    /// Who numbered.
    pub epoch: u64,
    /// Dense per epoch and class, from 1.
    pub seq: u64,
}

/// One record as a sink received it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Its bytes.
    pub value: &'a [u8],
    /// Partition of a Kafka topic.
    pub partition: Option<i32>,
    /// Its headers.
    pub numbers: Option<Numbers>,
    /// Header `cim-id`: the pod it came from.
    pub id: &'a str,
    /// Container, where the bytes do not name it.
    pub container: &'a str,
}

impl<'a> Received<'a> {
    /// A record of which nothing but the bytes is known.
    #[must_use]
    pub fn bare(value: &'a [u8]) -> Self {
        Self { value, partition: None, numbers: None, id: "", container: "" }
    }
}

/// Class, pod, container, partition.
type Source = (&'static str, String, String, Option<i32>);

/// Which numbers are compared with each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Numbering {
    /// By header: class and epoch.
    Header(&'static str, u64),
    /// By payload: class, container, run and producer of the load generator.
    Payload(&'static str, String, u32, u32),
}

/// Counts of one source.
#[derive(Debug, Default)]
struct Counts {
    received: u64,
    marked: u64,
    unmarked: u64,
    inversions: u64,
    /// Highest number of each numbering, to see what comes late.
    highest: BTreeMap<Numbering, u64>,
}

/// Reads records one by one, in the order in which they were received.
#[derive(Debug, Default)]
pub struct Checker {
    class: Option<Class>,
    sources: BTreeMap<Source, Counts>,
    numberings: BTreeMap<Numbering, Sequence>,
    records: u64,
    foreign: u64,
    altered: u64,
    torn: u64,
    reused: u64,
}

/// What the payloads of one record say.
#[derive(Debug, Default)]
struct Payloads {
    stamps: Vec<Stamp>,
    altered: u64,
    torn: u64,
}

impl Payloads {
    fn of(received: &Received<'_>) -> Self {
        let mut payloads = Self::default();
        // A record that is numbered may hold anything; without a number it should have been a payload.
        let unnumbered = u64::from(received.numbers.is_none());
        scan(received.value, |found| match found {
            Found::Beginning => payloads.torn = payloads.torn.saturating_add(unnumbered),
            Found::Payload(stamp) => payloads.stamps.push(stamp),
            Found::Altered => payloads.altered = payloads.altered.saturating_add(1),
            Found::Torn => payloads.torn = payloads.torn.saturating_add(1),
            Found::Foreign => {}
        });
        payloads
    }

    fn is_nothing(&self) -> bool {
        self.stamps.is_empty() && self.altered == 0 && self.torn == 0
    }
}

impl Checker {
    /// For records that are all of this class. By default, the first bytes of each tell, which mistakes a log as text that begins
    /// like an event for one.
    #[must_use]
    pub fn of(class: Class) -> Self {
        Self { class: Some(class), ..Self::default() }
    }

    /// One record.
    pub fn record(&mut self, received: &Received<'_>) {
        self.records = self.records.saturating_add(1);
        let payloads = Payloads::of(received);
        self.altered = self.altered.saturating_add(payloads.altered);
        self.torn = self.torn.saturating_add(payloads.torn);
        if received.numbers.is_none() && payloads.stamps.is_empty() {
            self.foreign = self.foreign.saturating_add(u64::from(payloads.is_nothing()));
            return;
        }
        let class = self.class.unwrap_or_else(|| Class::of_record(received.value));
        let named = class.container(received.value);
        let class = class.as_str();
        let container = if named.is_empty() {
            received.container.to_owned()
        } else {
            String::from_utf8_lossy(named).into_owned()
        };
        let header = received.numbers.map(|numbers| (Numbering::Header(class, numbers.epoch), numbers.seq));
        let by_header = header.clone().map(|(numbering, number)| self.arrived(numbering, number));
        let mut by_payload = None;
        let mut ordered_by = header;
        for stamp in payloads.stamps {
            let numbering = Numbering::Payload(class, container.clone(), stamp.run, stamp.producer);
            ordered_by.get_or_insert((numbering.clone(), stamp.seq));
            by_payload = Some(self.arrived(numbering, stamp.seq));
        }
        if by_header == Some(Added::Again) && by_payload == Some(Added::New) {
            self.reused = self.reused.saturating_add(1);
        }
        let counts =
            self.sources.entry((class, received.id.to_owned(), container, received.partition)).or_default();
        counts.count(by_header, by_payload, ordered_by);
    }

    fn arrived(&mut self, numbering: Numbering, number: u64) -> Added {
        self.numberings.entry(numbering).or_default().arrived(number)
    }

    /// What was found.
    #[must_use]
    pub fn report(self) -> Report {
        let by_header = self.numberings.keys().any(|numbering| matches!(numbering, Numbering::Header(..)));
        let by_payload = self.numberings.keys().any(|numbering| matches!(numbering, Numbering::Payload(..)));
        Report {
            by_header,
            by_payload,
            records: self.records,
            foreign: self.foreign,
            altered: self.altered,
            torn: self.torn,
            reused: self.reused,
            sources: self.sources.into_iter().map(source_report).collect(),
            numberings: self.numberings.into_iter().map(numbering_report).collect(),
        }
    }
}

impl Counts {
    fn count(
        &mut self,
        by_header: Option<Added>,
        by_payload: Option<Added>,
        ordered_by: Option<(Numbering, u64)>,
    ) {
        match (by_header, by_payload) {
            (Some(Added::Again), _) => self.marked = self.marked.saturating_add(1),
            (_, Some(Added::Again)) => self.unmarked = self.unmarked.saturating_add(1),
            _ => {
                self.received = self.received.saturating_add(1);
                let Some((numbering, number)) = ordered_by else { return };
                let highest = self.highest.entry(numbering).or_default();
                self.inversions = self.inversions.saturating_add(u64::from(number < *highest));
                *highest = number.max(*highest);
            }
        }
    }
}

fn source_report(((class, id, container, partition), counts): (Source, Counts)) -> SourceReport {
    SourceReport {
        class,
        id,
        container,
        partition,
        received: counts.received,
        marked_duplicates: counts.marked,
        unmarked_duplicates: counts.unmarked,
        inversions: counts.inversions,
    }
}

fn numbering_report((numbering, sequence): (Numbering, Sequence)) -> NumberingReport {
    let (class, container, epoch, run, producer) = match numbering {
        Numbering::Header(class, epoch) => (class, None, Some(format!("{epoch:016x}")), None, None),
        Numbering::Payload(class, container, run, producer) => {
            (class, Some(container), None, Some(run), Some(producer))
        }
    };
    NumberingReport {
        class,
        container,
        epoch,
        run,
        producer,
        first: sequence.first(),
        last: sequence.highest(),
        received: sequence.received(),
        gaps: sequence.gaps(),
        first_missing: sequence.missing(NAMED),
    }
}
