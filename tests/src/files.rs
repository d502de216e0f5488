//! What of a load the files of a file sink hold, and what topics and files hold together.
//!
//! Judges by the numbers in the lines, as `check` does for topics; files have no other. Left out: what is tolerable when a
//! fault divides a load. Invariant: a line that nobody published fails, whatever the test asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::check::Findings;
use crate::load::Published;
use crate::rig::WINDOW;

/// Numbers of the lines in the files of each container, and of the events, in their order.
#[derive(Debug, Default)]
pub struct Shelf {
    /// By container.
    pub logs: BTreeMap<String, Vec<usize>>,
    /// Of all.
    pub events: Vec<usize>,
}

impl Shelf {
    /// Reads the files of a folder that were never rotated; none is an empty shelf.
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        let mut shelf = Self::default();
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let (name, text) = (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&path).unwrap(),
            );
            if name.ends_with(".jsonl") {
                shelf.events =
                    text.lines().map(|line| number(line.split_once("\"eventName\":\"E"), line)).collect();
            } else {
                assert!(name.ends_with(".log"), "{name} is no file of this load");
                let lines = text.lines().map(|line| number(Some(("", line)), line)).collect();
                shelf.logs.insert(name, lines);
            }
        }
        shelf
    }

    /// Lines of logs.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.logs.values().map(Vec::len).sum()
    }
}

/// The eight digits behind what stands before them.
fn number(behind: Option<(&str, &str)>, line: &str) -> usize {
    let digits = behind.and_then(|(_, rest)| rest.get(..8)).and_then(|digits| digits.parse().ok());
    digits.unwrap_or_else(|| panic!("a line that nobody published: {line}"))
}

/// A class of a load that a fault divided between a topic and files.
#[derive(Debug)]
pub struct Division {
    /// In the topic, first copies.
    pub in_topic: BTreeSet<usize>,
    /// In the files.
    pub in_files: BTreeSet<usize>,
    /// In both.
    pub in_both: usize,
    /// Lowest and highest of these.
    pub shared: Option<(usize, usize)>,
    /// The highest number that is missing in the midst of the files: the topic has it alone.
    pub last_hole: Option<usize>,
}

impl Division {
    /// Divides the lines.
    #[must_use]
    pub fn of_logs(topic: Findings, shelf: &Shelf, published: &Published) -> Self {
        let files: Vec<&[usize]> = shelf.logs.values().map(Vec::as_slice).collect();
        Self::of(topic, &files, published.plan.sources)
    }

    /// Divides the events.
    #[must_use]
    pub fn of_events(topic: Findings, shelf: &Shelf, published: &Published) -> Self {
        Self::of(topic, &[&shelf.events], published.plan.event_every)
    }

    /// Nothing is missing from both, the topic is in order, and the files of each source hold one run of it: it went to the
    /// files once and came back once. `step` lies between two numbers of a source.
    fn of(mut topic: Findings, files: &[&[usize]], step: usize) -> Self {
        let in_files: BTreeSet<usize> = files.iter().copied().flatten().copied().collect();
        topic.lost.retain(|number| !in_files.contains(number));
        assert_eq!(topic.faults(), None);
        let mut last_hole = None;
        for run in files.iter().filter(|run| !run.is_empty()) {
            assert!(
                run.is_sorted_by(|one, next| one < next),
                "the files are out of order, or have a line twice"
            );
            let whole = (run[run.len() - 1] - run[0]) / step + 1;
            let holes = whole - run.len();
            let behind_holes = run.windows(2).filter(|pair| pair[1] - pair[0] > step).map(|pair| pair[1]);
            last_hole = last_hole.max(behind_holes.map(|next| next - step).next_back());
            // What the broker had acknowledged of its window stays with it when the files take over.
            assert!(holes <= WINDOW, "{holes} of {whole} lines are missing in the midst of the files");
        }
        let both: Vec<usize> = topic.numbers.intersection(&in_files).copied().collect();
        let shared = both.first().copied().zip(both.last().copied());
        Self { in_topic: topic.numbers, in_files, in_both: both.len(), shared, last_hole }
    }

    /// The broker has answered nothing since the line of that number was published: while the files took over, all of it went there.
    pub fn assert_no_hole_from(&self, number: usize) {
        assert!(
            self.last_hole.is_none_or(|hole| hole < number),
            "line {:?} is missing in the midst of the files, and the broker was gone from {number} on",
            self.last_hole
        );
    }
}
