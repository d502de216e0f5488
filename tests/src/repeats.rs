//! What a kill of the program may repeat in Kafka: what it had not settled then, a window of each class at most.
//!
//! Owns the kill, what the spool says between two lives, and the judgement by number. Left out: whether a repeat carries the mark
//! of its first copy (`check`). Invariant: the program is not asked; its spool is read while nobody runs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use cim_services::Record;
use serde_json::Value;

use crate::rig::WINDOW;
use crate::{Daemon, binary};

/// The streams of the spool whose records go to Kafka.
pub const STREAMS: [&str; 2] = ["logs", "events"];

/// Kills the program, and leaves the next life to the test. Of each of [`STREAMS`] the numbers that it had not settled, as its
/// spool has it before the next life begins.
pub fn kill(daemon: &mut Daemon, spool: &Path) -> [Range<usize>; 2] {
    daemon.signal("KILL");
    assert_eq!(daemon.ended(), None, "it ended by itself");
    let mut command = Command::new(binary());
    let output =
        command.args(["spool", "check", "--output", "json"]).arg(spool).env_clear().output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(document["clean"], true, "{document:#}");
    STREAMS.map(|name| unsettled(&document, name))
}

/// The numbers of a stream from its position to its end.
fn unsettled(document: &Value, name: &str) -> Range<usize> {
    let mut streams = document["streams"].as_array().unwrap().iter();
    let stream = streams.find(|stream| stream["name"] == name).unwrap();
    assert_eq!(stream["cursors"].as_array().unwrap().len(), 1, "{document:#}");
    let next = stream["cursors"][0]["next_seq"].as_u64().unwrap();
    let segments = stream["segments"].as_array().unwrap().iter();
    // Without a segment everything is settled.
    let end = segments.map(|segment| segment["end_seq"].as_u64().unwrap()).max().unwrap_or(next);
    next as usize..end as usize
}

/// The number of each copy that no kill explains. A number may come again once for every kill that may have found it on its way:
/// one that was not settled then, within a window behind what was.
#[must_use]
pub fn unexplained(records: &[Record], kills: &[Range<usize>]) -> Vec<usize> {
    let mut copies = BTreeMap::<usize, usize>::new();
    for record in records {
        *copies.entry(record.header("cim-seq").unwrap().parse().unwrap()).or_default() += 1;
    }
    let on_its_way =
        |number: usize, kill: &&Range<usize>| kill.contains(&number) && number - kill.start < WINDOW;
    let beyond = copies.into_iter().flat_map(|(number, copies)| {
        let explained = kills.iter().filter(|kill| on_its_way(number, kill)).count();
        std::iter::repeat_n(number, copies.saturating_sub(1 + explained))
    });
    beyond.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(numbers: &[usize], kills: &[Range<usize>]) -> Vec<usize> {
        let record = |number: &usize| Record {
            partition: 0,
            offset: 0,
            time: 0,
            key: None,
            value: None,
            headers: vec![("cim-seq".to_owned(), number.to_string())],
        };
        unexplained(&numbers.iter().map(record).collect::<Vec<_>>(), kills)
    }

    #[test]
    fn a_kill_explains_one_copy_of_what_was_not_settled_and_nothing_else() {
        assert!(found(&[1, 2, 3, 2, 3, 4], std::slice::from_ref(&(2..4))).is_empty());
        assert_eq!(found(&[1, 2, 3, 1, 2, 3, 4, 3, 4], std::slice::from_ref(&(2..4))), [1, 3, 4]);
        assert_eq!(found(&[3, 3, 3, 3], &[2..4, 3..9]), [3]);
    }

    #[test]
    fn what_lies_a_window_behind_the_settled_was_not_on_its_way() {
        let (last, beyond) = (WINDOW + 1, WINDOW + 2);
        assert_eq!(found(&[last, last, beyond, beyond], std::slice::from_ref(&(2..3 * WINDOW))), [beyond]);
    }
}
