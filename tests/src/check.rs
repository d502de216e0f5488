//! What of a load a topic holds: the books of a reader that believes nobody.
//!
//! Judges by the numbers in the payloads; `cim-epoch` and `cim-seq` must agree with them. Left out: what is tolerable.
//! Invariant: order is asked for per source and partition, as it is promised, in the order of first copies; a further copy is
//! a duplicate, and marked only if it carries the same epoch and number as the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cim_services::Record;

use crate::load::Published;

/// Findings to print at most, of each sort.
const SHOWN: usize = 10;

/// What was found in a topic.
#[derive(Debug, Default)]
pub struct Findings {
    /// Different records of the load that are there.
    pub found: usize,
    /// Their numbers.
    pub numbers: BTreeSet<usize>,
    /// Accepted, but not there.
    pub lost: Vec<usize>,
    /// There a second time, with the same `cim-epoch` and `cim-seq`.
    pub marked_duplicates: usize,
    /// There a second time, with another number: no reader can tell.
    pub unmarked_duplicates: Vec<usize>,
    /// Behind a later record of the same source and partition.
    pub inversions: Vec<String>,
    /// Anything else that must not be.
    pub oddities: Vec<String>,
    /// Lowest and highest line that is there twice.
    pub duplicated: Option<(usize, usize)>,
}

/// Number in the payload and source of a record.
type Reading = fn(&Record) -> Option<(usize, String)>;

impl Findings {
    /// Looks for the lines of a load.
    #[must_use]
    pub fn logs(records: &[Record], published: &Published) -> Self {
        Self::new(records, published, (0..published.lines).collect(), log)
    }

    /// Looks for the events of a load.
    #[must_use]
    pub fn events(records: &[Record], published: &Published) -> Self {
        Self::new(records, published, published.events().collect(), event)
    }

    fn new(records: &[Record], published: &Published, expected: BTreeSet<usize>, read: Reading) -> Self {
        let mut findings = Self::default();
        let mut marks: HashMap<usize, (String, u64)> = HashMap::new();
        let mut last: BTreeMap<(usize, String), (usize, u64)> = BTreeMap::new();
        for record in records {
            let place = format!("{}/{}", record.partition, record.offset);
            let Some((number, source)) = read(record).filter(|(number, _)| expected.contains(number)) else {
                findings.oddities.push(format!("{place} is no record of the load: {}", record.text()));
                continue;
            };
            let Some(mark) = mark(record) else {
                findings.oddities.push(format!("{place} has no cim-epoch and cim-seq: {:?}", record.headers));
                continue;
            };
            if let Some(first) = marks.get(&number) {
                let (low, high) = findings.duplicated.unwrap_or((number, number));
                findings.duplicated = Some((low.min(number), high.max(number)));
                if *first == mark {
                    findings.marked_duplicates += 1;
                } else {
                    findings.unmarked_duplicates.push(number);
                }
                continue;
            }
            let before = last.insert((record.partition, source), (number, mark.1));
            if let Some((earlier, seq)) = before.filter(|(earlier, seq)| *earlier >= number || *seq >= mark.1)
            {
                findings
                    .inversions
                    .push(format!("{place}: {number} (seq {}) behind {earlier} (seq {seq})", mark.1));
            }
            marks.insert(number, mark);
        }
        findings.found = marks.len();
        findings.numbers = marks.keys().copied().collect();
        findings.lost = expected
            .into_iter()
            .filter(|number| published.is_accepted(*number) && !marks.contains_key(number))
            .collect();
        findings.oddities.extend(shared_marks(&marks));
        findings
    }

    /// What is never tolerable, in words; `None` when there is nothing of it.
    #[must_use]
    pub fn faults(&self) -> Option<String> {
        let sorts = [
            ("lost", shown(&self.lost)),
            ("duplicates without mark", shown(&self.unmarked_duplicates)),
            ("out of order", shown(&self.inversions)),
            ("odd", shown(&self.oddities)),
        ];
        let faults: Vec<String> =
            sorts.into_iter().filter_map(|(sort, list)| Some(format!("{sort}: {}", list?))).collect();
        (!faults.is_empty()).then(|| faults.join("\n"))
    }
}

/// A number of CIM belongs to one message.
fn shared_marks(marks: &HashMap<usize, (String, u64)>) -> Option<String> {
    let different: BTreeSet<_> = marks.values().collect();
    let shared = marks.len() - different.len();
    (shared > 0).then(|| format!("{shared} messages share their cim-epoch and cim-seq with another"))
}

fn mark(record: &Record) -> Option<(String, u64)> {
    Some((record.header("cim-epoch")?.to_owned(), record.header("cim-seq")?.parse().ok()?))
}

fn log(record: &Record) -> Option<(usize, String)> {
    let text = record.text();
    let source = text.split_once("\"container_name\":\"")?.1.split_once('"')?.0.to_owned();
    let number = text.split_once("\"log\":\"")?.1.get(..8)?.parse().ok()?;
    Some((number, source))
}

fn event(record: &Record) -> Option<(usize, String)> {
    let text = record.text();
    let number = text.split_once("\"eventName\":\"E")?.1.get(..8)?.parse().ok()?;
    Some((number, "events".to_owned()))
}

fn shown<T: std::fmt::Debug>(list: &[T]) -> Option<String> {
    let first = list.get(..list.len().min(SHOWN))?;
    (!list.is_empty()).then(|| format!("{} ({first:?} …)", list.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Plan;

    fn record(offset: u64, number: usize, seq: u64) -> Record {
        let value = format!("{{\"container_name\":\"app-0\",\"log\":\"{number:08} x\"}}");
        let headers = [("cim-epoch", "1".to_owned()), ("cim-seq", seq.to_string())];
        Record {
            partition: 0,
            offset,
            time: 0,
            key: None,
            value: Some(value.into_bytes()),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    fn findings(numbers: &[(usize, u64)], lines: usize, uncertain: Option<usize>) -> Findings {
        let records: Vec<_> =
            (0..).zip(numbers).map(|(at, (number, seq))| record(at, *number, *seq)).collect();
        let published = Published {
            plan: Plan::default(),
            lines,
            uncertain: uncertain.map(|n| n..n + 1).into_iter().collect(),
        };
        Findings::logs(&records, &published)
    }

    #[test]
    fn a_clean_topic_has_no_faults() {
        let clean = findings(&[(0, 1), (1, 2), (2, 3)], 3, None);
        assert_eq!((clean.faults(), clean.found, clean.marked_duplicates), (None, 3, 0));
    }

    #[test]
    fn what_is_planted_is_found() {
        assert_eq!(findings(&[(0, 1), (2, 3)], 3, None).lost, [1]);
        assert!(findings(&[(0, 1), (2, 3)], 3, Some(1)).faults().is_none(), "its acceptance was not known");
        assert_eq!(findings(&[(0, 1), (2, 3), (1, 2)], 3, None).inversions.len(), 1);
        assert_eq!(findings(&[(0, 1), (1, 2), (0, 1), (1, 2)], 2, None).marked_duplicates, 2);
        assert_eq!(findings(&[(0, 1), (0, 2)], 1, None).unmarked_duplicates, [0]);
        assert_eq!(findings(&[(0, 1), (1, 1)], 2, None).oddities.len(), 1, "two messages with one number");
        assert_eq!(findings(&[(0, 1), (7, 2)], 1, None).oddities.len(), 1, "a record nobody published");
    }
}
