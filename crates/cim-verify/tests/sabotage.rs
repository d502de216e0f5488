//! Known damage to a clean capture: each kind is found, by its right name and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use cim_testkit::{Behaviour, ChaosProxy, Direction, Ending, Flow};
use cim_verify::stamp::{STAMP_LEN, Stamp, text_sum};
use cim_verify::{Checker, Class, Fault, Numbers, Received, Report, Tolerated};

const COUNT: u64 = 300;

fn payload(producer: u32, seq: u64) -> String {
    let text = format!("text of {producer}, number {seq}, with a {{brace}} and more");
    let stamp = Stamp { run: 1, producer, seq, intended_ns: 0, length: (STAMP_LEN + text.len()) as u32 };
    let mut head = [0; STAMP_LEN];
    stamp.write(text_sum(text.as_bytes()), &mut head);
    format!("{}{text}", std::str::from_utf8(&head).unwrap())
}

/// How a payload stands in a record.
type Form = fn(u32, &str) -> String;

fn text(_: u32, payload: &str) -> String {
    payload.to_owned()
}

fn log(producer: u32, payload: &str) -> String {
    format!(
        r#"{{"container_name":"bench-{producer}","log":"{payload}","kubernetes":{{"namespace_name":"n","pod_name":"p"}}}}"#
    )
}

fn event(producer: u32, payload: &str) -> String {
    format!(
        r#"{{"eventName":"E","eventTime":1,"managedObject":null,"additionalInfo":[{{"name":"x","value":"{payload}"}}],"sourceHeaders":{{}},"containerId":"bench-{producer}"}}"#
    )
}

const FORMS: [Form; 3] = [text, log, event];

/// One record of a topic.
#[derive(Clone)]
struct Kept {
    value: String,
    partition: i32,
    numbers: Option<Numbers>,
}

/// Two producers, taking turns, over three partitions.
fn topic(form: Form, headers: bool) -> Vec<Kept> {
    let numbers = |seq| headers.then_some(Numbers { epoch: 77, seq });
    let record = |at: u64| {
        let producer = (at % 2) as u32 + 1;
        let value = form(producer, &payload(producer, at / 2 + 1));
        Kept { value, partition: (at % 3) as i32, numbers: numbers(at + 1) }
    };
    (0..COUNT).map(record).collect()
}

fn check_topic(records: &[Kept]) -> Report {
    let mut checker = Checker::default();
    // As a reader gets them: one partition after the other.
    for partition in 0..3 {
        for kept in records.iter().filter(|kept| kept.partition == partition) {
            let bare = Received::bare(kept.value.as_bytes());
            checker.record(&Received { partition: Some(partition), numbers: kept.numbers, ..bare });
        }
    }
    checker.report()
}

/// The same damage to a topic with headers and without, in every form; the faults found must be these.
fn in_every_topic(damage: impl Fn(&mut Vec<Kept>), expected: impl Fn(bool) -> Vec<Fault>) -> Vec<Report> {
    let mut reports = Vec::new();
    for form in FORMS {
        for headers in [true, false] {
            let mut records = topic(form, headers);
            damage(&mut records);
            let report = check_topic(&records);
            assert_eq!(
                report.faults(Tolerated::Nothing),
                expected(headers),
                "headers {headers}\n{}",
                report.text()
            );
            assert_eq!(report.by_header, headers);
            reports.push(report);
        }
    }
    reports
}

fn sum(report: &Report, field: impl Fn(&cim_verify::SourceReport) -> u64) -> u64 {
    report.sources.iter().map(field).sum()
}

#[test]
fn a_clean_topic_is_clean_and_counted_by_source_and_partition() {
    for report in in_every_topic(|_| {}, |_| vec![]) {
        assert_eq!((report.records, sum(&report, |source| source.received)), (COUNT, COUNT));
        // Text does not name its container, so both producers are one source there.
        assert!([6, 3].contains(&report.sources.len()), "{}", report.text());
    }
}

#[test]
fn a_dropped_record_is_a_gap_and_is_named() {
    for report in in_every_topic(|records| drop(records.remove(120)), |_| vec![Fault::Gaps]) {
        let gaps: Vec<_> = report.numberings.iter().filter(|numbering| numbering.gaps > 0).collect();
        // By payload it is number 61 of producer 1, by header number 121.
        assert!(gaps.iter().any(|n| n.producer == Some(1) && n.first_missing == [61]), "{}", report.text());
        assert!(
            !report.by_header
                || gaps
                    .iter()
                    .any(|n| n.epoch.as_deref() == Some("000000000000004d") && n.first_missing == [121])
        );
    }
}

#[test]
fn a_doubled_record_is_marked_when_its_headers_are_equal_in_any_partition() {
    for to in [0, 2] {
        let double = |records: &mut Vec<Kept>| {
            let again = Kept { partition: to, ..records[120].clone() };
            records.insert(150, again);
        };
        let by_name =
            |headers| vec![if headers { Fault::MarkedDuplicates } else { Fault::UnmarkedDuplicates }];
        for report in in_every_topic(double, by_name) {
            let clean_when_marked = report.faults(Tolerated::Marked).is_empty();
            assert_eq!(clean_when_marked, report.by_header);
            assert!(report.faults(Tolerated::Any).is_empty());
        }
    }
}

#[test]
fn a_doubled_record_with_new_headers_is_unmarked() {
    let mut records = topic(log, true);
    let again = Numbers { epoch: 77, seq: COUNT + 1 };
    records.push(Kept { numbers: Some(again), ..records[120].clone() });
    let report = check_topic(&records);
    assert_eq!(report.faults(Tolerated::Marked), [Fault::UnmarkedDuplicates]);
    assert_eq!(sum(&report, |source| source.unmarked_duplicates), 1);
}

#[test]
fn two_records_under_one_number_are_found() {
    let mut records = topic(log, true);
    records[120].numbers = records[117].numbers;
    let report = check_topic(&records);
    assert!(report.faults(Tolerated::Marked).contains(&Fault::ReusedNumbers), "{}", report.text());
}

#[test]
fn swapped_records_are_an_inversion_of_their_source_and_partition_only() {
    // 6 further is the same producer in the same partition.
    for report in in_every_topic(|records| records.swap(120, 126), |_| vec![Fault::Inversions]) {
        let inverted: Vec<_> = report.sources.iter().filter(|source| source.inversions > 0).collect();
        assert!(inverted.len() == 1 && inverted[0].partition == Some(0), "{}", report.text());
    }
    // Over partitions there is no order to break.
    in_every_topic(|records| records.swap(120, 121), |_| vec![]);
}

/// The bytes alone do not tell a log as text from an event: numbered as the other class, it is missing in its own.
#[test]
fn a_log_that_begins_like_an_event_is_a_log_to_who_is_told_so() {
    let faults = |mut checker: Checker| {
        for (text, seq) in ["one", "{\"eventName\": two", "three"].iter().zip(1..) {
            let numbers = Some(Numbers { epoch: 77, seq });
            checker.record(&Received { numbers, ..Received::bare(text.as_bytes()) });
        }
        checker.report().faults(Tolerated::Nothing)
    };
    assert_eq!(faults(Checker::default()), [Fault::Gaps]);
    assert_eq!(faults(Checker::of(Class::Log)), []);
    assert_eq!(faults(Checker::of(Class::Event)), []);
}

#[test]
fn foreign_and_altered_records_have_their_names() {
    let stranger = Kept { value: "who is this".to_owned(), partition: 1, numbers: None };
    in_every_topic(|records| records.insert(9, stranger.clone()), |_| vec![Fault::Foreign]);
    let garble =
        |records: &mut Vec<Kept>| records[120].value = records[120].value.replace("number 61", "number 16");
    in_every_topic(garble, |_| vec![Fault::Gaps, Fault::Altered]);
    assert_eq!(Checker::default().report().faults(Tolerated::Any), [Fault::Empty]);
}

/// Records of one epoch with these numbers.
fn numbered(numbers: impl IntoIterator<Item = u64>) -> Report {
    let mut checker = Checker::of(Class::Log);
    for seq in numbers {
        checker.record(&Received { numbers: Some(Numbers { epoch: 77, seq }), ..Received::bare(b"a line") });
    }
    checker.report()
}

#[test]
fn an_epoch_that_has_lived_long_is_judged_as_a_young_one() {
    for beyond in [1 << 33, 1 << 34, 1 << 62, u64::MAX - 20_000] {
        let clean = numbered(beyond..beyond + 20_000);
        assert_eq!(clean.faults(Tolerated::Nothing), [], "{}", clean.text());
        let numbering = &clean.numberings[0];
        assert_eq!((numbering.first, numbering.last, numbering.received), (beyond, beyond + 19_999, 20_000));
        let dropped = numbered((beyond..beyond + 20_000).filter(|seq| seq - beyond != 12_345));
        assert_eq!(dropped.faults(Tolerated::Nothing), [Fault::Gaps], "{}", dropped.text());
        assert_eq!(dropped.numberings[0].first_missing, [beyond + 12_345]);
        let doubled = numbered((beyond..beyond + 20_000).chain([beyond]));
        assert_eq!(doubled.faults(Tolerated::Nothing), [Fault::MarkedDuplicates], "{}", doubled.text());
    }
}

/// Whoever can write to the topic can write any number.
#[test]
fn a_forged_number_is_a_gap_of_its_width_and_takes_neither_time_nor_memory() {
    for forged in [1 << 33, u64::MAX] {
        let report = numbered((1..=100).chain([forged]));
        assert_eq!(report.faults(Tolerated::Nothing), [Fault::Gaps], "{}", report.text());
        let numbering = &report.numberings[0];
        assert_eq!((numbering.last, numbering.gaps), (forged, forged - 101));
        assert_eq!(numbering.first_missing, (101..=108).collect::<Vec<_>>());
    }
    let widest = numbered([0, u64::MAX]);
    let widest = &widest.numberings[0];
    assert_eq!((widest.first, widest.last, widest.gaps), (0, u64::MAX, u64::MAX - 1));
    // Each alone in its page.
    let spread = numbered((0..50_000).map(|at| at << 40));
    assert_eq!((spread.numberings[0].received, spread.numberings[0].first_missing[7]), (50_000, 8));
}

/// What a receiver behind a proxy got, as a capture on disk.
fn captured(proxy: impl Fn(&ChaosProxy), separator: &str, form: Form) -> Report {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let chaos = ChaosProxy::start(receiver.local_addr().unwrap(), 7).unwrap();
    proxy(&chaos);
    let stream: String = (1..=COUNT).map(|seq| format!("{}{separator}", form(1, &payload(1, seq)))).collect();
    let mut sender = TcpStream::connect(chaos.address()).unwrap();
    let _ = sender.write_all(stream.as_bytes()).and_then(|()| sender.shutdown(Shutdown::Write));
    let mut received = Vec::new();
    let _ = receiver.accept().unwrap().0.read_to_end(&mut received);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture");
    std::fs::write(&path, received).unwrap();
    let mut checker = Checker::default();
    cim_verify::for_each_document(&path, |record| checker.record(&Received::bare(record))).unwrap();
    checker.report()
}

/// Changes one record of the stream; records end with `}}`, `}` or a line end.
fn tamper(end: &'static str, change: fn(u64, Vec<u8>) -> Vec<u8>) -> impl Fn(&ChaosProxy) {
    move |proxy| {
        proxy.rewrite(Direction::ToTarget, move || {
            let (mut number, mut pending) = (0, Vec::new());
            move |piece: Vec<u8>| {
                let mut out = Vec::new();
                for byte in piece {
                    pending.push(byte);
                    if pending.ends_with(end.as_bytes()) {
                        number += 1;
                        out.extend(change(number, std::mem::take(&mut pending)));
                    }
                }
                out
            }
        });
    }
}

#[test]
fn a_proxy_that_drops_and_doubles_tcp_records_is_caught_by_name() {
    let drop_one: fn(u64, Vec<u8>) -> Vec<u8> =
        |number, record| if number == 50 { Vec::new() } else { record };
    let double_one: fn(u64, Vec<u8>) -> Vec<u8> =
        |number, record| if number == 50 { record.repeat(2) } else { record };
    for (form, separator, end) in [(log as Form, "", "}}"), (log, "\n", "\n"), (text, "\n", "\n")] {
        let clean = captured(|_| {}, separator, form);
        assert_eq!((clean.faults(Tolerated::Nothing), clean.records), (vec![], COUNT), "{}", clean.text());
        let dropped = captured(tamper(end, drop_one), separator, form);
        assert_eq!(dropped.faults(Tolerated::Nothing), [Fault::Gaps]);
        assert_eq!(dropped.numberings[0].first_missing, [50]);
        let doubled = captured(tamper(end, double_one), separator, form);
        assert_eq!(doubled.faults(Tolerated::Marked), [Fault::UnmarkedDuplicates]);
    }
}

#[test]
fn a_proxy_that_swaps_tcp_records_is_caught_by_name() {
    let swap = |proxy: &ChaosProxy| {
        proxy.rewrite(Direction::ToTarget, || {
            let (mut number, mut pending, mut held) = (0, Vec::new(), Vec::new());
            move |piece: Vec<u8>| {
                let mut out = Vec::new();
                for byte in piece {
                    pending.push(byte);
                    if byte == b'\n' {
                        number += 1;
                        let line = std::mem::take(&mut pending);
                        match number {
                            50 => held = line,
                            _ => out.extend([line, std::mem::take(&mut held)].concat()),
                        }
                    }
                }
                out
            }
        });
    };
    let swapped = captured(swap, "\n", log);
    assert_eq!(swapped.faults(Tolerated::Nothing), [Fault::Inversions], "{}", swapped.text());
}

#[test]
fn a_proxy_that_garbles_or_cuts_is_caught_by_name() {
    let record = log(1, &payload(1, 1)).len() as u64 + 1;
    let garble = |proxy: &ChaosProxy| {
        proxy.behave(Behaviour::both(Flow::faithful().garble(record * 20 + 120)));
    };
    let garbled = captured(garble, "\n", log);
    assert_eq!(garbled.faults(Tolerated::Nothing), [Fault::Gaps, Fault::Altered], "{}", garbled.text());
    // In the payload, and behind it, where the rest would have named the container of an event.
    for (form, into) in [(log as Form, Some(120)), (log, None), (event, Some(120)), (event, None)] {
        let all: String = (1..=21).map(|seq| form(1, &payload(1, seq)) + "\n").collect();
        let last = form(1, &payload(1, 21)).len() + 1;
        let end = into.map_or(all.len() - 8, |into| all.len() - last + into) as u64;
        let cut = |proxy: &ChaosProxy| {
            proxy.behave(Behaviour::both(Flow::faithful().cut_after(end, Ending::Close)));
        };
        let torn = captured(cut, "\n", form);
        assert_eq!(torn.faults(Tolerated::Nothing), [Fault::Torn], "{}", torn.text());
        assert_eq!(sum(&torn, |source| source.received), 20, "{}", torn.text());
    }
}

#[test]
fn a_numbered_record_may_hold_anything() {
    let values = ["", "{", "cim", "plain text", "{\"a\":1}"];
    let kept = |(at, value): (usize, &&str)| {
        let numbers = Some(Numbers { epoch: 77, seq: at as u64 + 1 });
        Kept { value: (*value).to_owned(), partition: 0, numbers }
    };
    let records: Vec<_> = values.iter().enumerate().map(kept).collect();
    let report = check_topic(&records);
    assert_eq!(report.faults(Tolerated::Nothing), [], "{}", report.text());
    assert_eq!((report.records, report.by_payload), (5, false));
}
