//! Sabotage: each kind of damage done to a clean capture must be found, and named as what it is.

use super::*;
use crate::deck::{Deck, Traffic};
use crate::ledger::Ledger;
use crate::stamp;

const COUNT: u64 = 500;

/// How a payload stands in a captured line.
type Form = fn(&[u8]) -> Vec<u8>;

/// Payloads 1 to [`COUNT`] of one producer, as raw lines.
fn payloads(producer: u32) -> Vec<Vec<u8>> {
    let mut deck = Deck::new(&Traffic::Other("x".into()), 9, producer, 128);
    (1..=COUNT)
        .map(|seq| {
            let frame = deck.deal(seq, 1, seq * 10);
            frame[frame.len() - 130..frame.len() - 2].to_vec()
        })
        .collect()
}

fn json(line: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(line).unwrap();
    format!(
        r#"{{"container_name":"bench","log":"{text}","kubernetes":{{"namespace_name":"n","pod_name":"p"}}}}"#
    )
    .into_bytes()
}

fn event_json(line: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(line).unwrap();
    format!(r#"{{"eventName":"E","eventTime":1,"managedObject":null,"additionalInfo":[{{"name":"bench","value":"{text}"}}],"containerId":"c"}}"#)
        .into_bytes()
}

fn ledger(producer: u32) -> Ledger {
    let mut ledger = Ledger::new(9, producer, 1);
    ledger.wrote(COUNT);
    ledger.accept(COUNT);
    ledger
}

fn check(lines: &[Vec<u8>]) -> Findings {
    let mut checker = Checker::new(9);
    for line in lines {
        checker.line(line);
    }
    checker.finish(&[ledger(1)])
}

/// The same damage to raw lines, JSON logs and JSON events.
fn in_every_form(damage: impl Fn(&mut Vec<Vec<u8>>), expect: impl Fn(&Findings)) {
    let forms: [Form; 3] = [<[u8]>::to_vec, json, event_json];
    for form in forms {
        let mut lines: Vec<_> = payloads(1).iter().map(|line| form(line)).collect();
        damage(&mut lines);
        expect(&check(&lines));
    }
}

#[test]
fn a_clean_capture_is_clean() {
    in_every_form(
        |_| {},
        |found| {
            found.verdict(Tolerance::default()).unwrap();
            assert_eq!((found.lines, found.sources[0].received), (COUNT, COUNT));
        },
    );
}

#[test]
fn a_dropped_line_is_lost() {
    in_every_form(
        |lines| drop(lines.remove(122)),
        |found| {
            assert_eq!((found.sources[0].lost, &found.sources[0].first_lost[..]), (1, &[123][..]));
            assert!(found.verdict(Tolerance { rewinds: 9, depth: 9, torn: 9 }).is_err());
        },
    );
}

#[test]
fn lost_first_and_last_lines_are_seen() {
    for at in [0, COUNT as usize - 1] {
        let mut lines = payloads(1);
        lines.remove(at);
        assert_eq!(check(&lines).sources[0].first_lost, [at as u64 + 1]);
    }
    assert_eq!(check(&[]).sources[0].lost, COUNT);
}

#[test]
fn a_doubled_line_is_a_duplicate() {
    in_every_form(
        |lines| lines.insert(200, lines[199].clone()),
        |found| {
            assert_eq!((found.sources[0].duplicates, found.sources[0].lost), (1, 0));
            assert!(found.verdict(Tolerance::default()).is_err());
            found.verdict(Tolerance { rewinds: 1, depth: 1, torn: 0 }).unwrap();
        },
    );
}

#[test]
fn swapped_lines_are_an_inversion() {
    in_every_form(
        |lines| lines.swap(300, 301),
        |found| {
            assert_eq!((found.sources[0].inversions, found.sources[0].lost), (1, 0));
            assert!(found.verdict(Tolerance { rewinds: 9, depth: 9, torn: 9 }).is_err());
        },
    );
}

#[test]
fn every_altered_byte_of_a_payload_is_found() {
    let clean = payloads(1);
    for at in 0..clean[0].len() {
        let mut lines = clean.clone();
        lines[7][at] ^= 1;
        let found = check(&lines);
        assert!(found.altered + found.foreign + found.torn >= 1, "byte {at}: {found:?}");
        assert_eq!(found.sources[0].lost, 1, "byte {at}");
        assert!(found.verdict(Tolerance { rewinds: 9, depth: 9, torn: 0 }).is_err(), "byte {at}");
    }
}

#[test]
fn a_line_that_grew_is_altered() {
    let mut lines = payloads(1);
    lines[5].extend_from_slice(b"xyz");
    assert_eq!(check(&lines).altered, 1);
}

#[test]
fn a_line_cut_before_its_stamp_is_torn_and_only_such_a_line() {
    let event = b"{\"eventName\":\"bench\",\"additionalInfo\":[{\"name\":\"text\",\"value\":\"ci";
    for cut in 1..=event.len() {
        let found = check(&[event[..cut].to_vec()]);
        assert_eq!((found.torn, found.foreign), (1, 0), "cut to {cut}");
    }
    for cut in 1..stamp::MAGIC.len() {
        assert_eq!(check(&[stamp::MAGIC[..cut].to_vec()]).torn, 1, "cut to {cut}");
    }
    for other in [&b""[..], b"{}", b"{\"log\":\"whole\"}", b"{nonsense", b"cimx", b"x"] {
        let found = check(&[other.to_vec()]);
        assert_eq!((found.torn, found.foreign), (0, 1), "{other:?}");
    }
}

#[test]
fn foreign_lines_other_runs_and_other_producers_are_foreign() {
    let mut lines = payloads(1);
    lines.push(b"panicked at".to_vec());
    lines.push(payloads(2).remove(0));
    let mut other_run = Deck::new(&Traffic::Other("x".into()), 8, 1, 128);
    let frame = other_run.deal(1, 1, 0);
    lines.push(frame[frame.len() - 130..frame.len() - 2].to_vec());
    let found = check(&lines);
    assert_eq!(found.foreign, 3);
    assert!(found.verdict(Tolerance::default()).is_err());
}

#[test]
fn numbers_beyond_the_last_sent_are_found() {
    let mut deck = Deck::new(&Traffic::Other("x".into()), 9, 1, 128);
    let frame = deck.deal(COUNT + 1, 1, 0);
    let mut lines = payloads(1);
    lines.push(frame[frame.len() - 130..frame.len() - 2].to_vec());
    assert!(check(&lines).verdict(Tolerance::default()).unwrap_err().contains("never sent"));
}

#[test]
fn a_replay_after_a_kill_is_one_rewind() {
    in_every_form(
        |lines| {
            let replay = lines[90..100].to_vec();
            lines.splice(100..100, replay);
        },
        |found| {
            let source = &found.sources[0];
            assert_eq!((source.duplicates, source.rewinds, source.deepest_rewind), (10, 1, 10));
            assert_eq!((source.inversions, source.lost), (0, 0));
            found.verdict(Tolerance { rewinds: 1, depth: 10, torn: 0 }).unwrap();
            assert!(found.verdict(Tolerance { rewinds: 1, depth: 9, torn: 0 }).is_err());
        },
    );
}

#[test]
fn a_replay_in_the_wrong_order_is_more_than_one_rewind() {
    let mut lines = payloads(1);
    let replay: Vec<_> = lines[90..100].iter().rev().cloned().collect();
    lines.splice(100..100, replay);
    assert!(check(&lines).verdict(Tolerance { rewinds: 1, depth: 10, torn: 0 }).is_err());
}

#[test]
fn a_write_cut_anywhere_by_a_kill_is_torn_and_its_neighbour_is_read() {
    in_every_form(|_| {}, |found| assert_eq!(found.torn, 0));
    for form in [<[u8]>::to_vec as Form, json] {
        let clean: Vec<_> = payloads(1).iter().map(|line| form(line)).collect();
        for cut in 1..clean[50].len() {
            let mut lines = clean.clone();
            // The rest of line 51 never came; after the restart line 51 was written again, glued to the fragment.
            let glued = [&clean[50][..cut], &clean[50][..]].concat();
            lines[50] = glued;
            let found = check(&lines);
            assert_eq!((found.sources[0].lost, found.altered, found.foreign), (0, 0, 0), "cut {cut}");
            found.verdict(Tolerance { rewinds: 1, depth: 1, torn: 1 }).unwrap();
        }
    }
}

#[test]
fn uncertain_messages_may_be_missing_and_resent_ones_may_come_twice() {
    let mut ledger = Ledger::new(9, 1, 1);
    ledger.wrote(COUNT);
    ledger.accept(400);
    ledger.broke(false);
    let mut checker = Checker::new(9);
    for line in payloads(1).iter().take(450) {
        checker.line(line);
    }
    checker.finish(&[ledger]).verdict(Tolerance::default()).unwrap();

    let mut ledger = Ledger::new(9, 1, 1);
    ledger.wrote(COUNT);
    ledger.accept(400);
    ledger.broke(true);
    ledger.accept(COUNT);
    let mut checker = Checker::new(9);
    for line in payloads(1).iter().chain(&payloads(1)[400..]) {
        checker.line(line);
    }
    let found = checker.finish(&[ledger]);
    assert_eq!((found.sources[0].duplicates, found.sources[0].resent_duplicates), (0, 100));
    found.verdict(Tolerance::default()).unwrap();
}
