//! What happens to the topic while nobody reads it: its oldest records are removed, or all but the last of each key.

use std::time::Duration;

use cim_services::{Kafka, Outgoing};
use cim_tests::{has_time, until};

use crate::application::{Stage, event, events};

/// A program that has taken five events, and has ended; records are added meanwhile.
fn ended_after_five(kafka: &Kafka, configuration: &[(&str, &str)]) -> Stage {
    let mut stage = Stage::start_with(kafka, "", configuration);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    kafka.produce(&stage.topic, &keyed(0..5));
    for number in 0..5 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
    until("their place", || stage.group(kafka).committed == [Some(5)]);
    stage.daemon.signal("TERM");
    assert_eq!(stage.daemon.ended(), Some(0));
    stage
}

/// Events with one of three keys each.
fn keyed(numbers: std::ops::Range<usize>) -> Vec<Outgoing> {
    let with_key = |number: usize| Outgoing {
        key: Some(format!("key {}", number % 3)),
        ..event("A", &number.to_string())
    };
    numbers.map(with_key).collect()
}

/// K13: the place of the group is below the oldest record that is left.
#[test]
fn a_place_that_the_topic_does_not_keep_any_longer_goes_on_with_its_oldest_record() {
    let Some(kafka) = Kafka::shared() else { return };
    let mut stage = ended_after_five(kafka, &[]);
    kafka.produce(&stage.topic, &events("A", 5..15));
    kafka.truncate_topic(&stage.topic, 10);
    stage.daemon.start_again();
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    kafka.produce(&stage.topic, &events("A", 15..18));
    for number in 10..18 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
    until("their place", || stage.group(kafka).committed == [Some(18)]);
    assert!(!stage.daemon.stderr().contains("panicked"));
}

/// K13: offsets are missing between the records that are left.
#[test]
fn a_compacted_topic_is_read_over_its_gaps() {
    if !has_time("a topic is compacted") {
        return;
    }
    let Some(kafka) = Kafka::shared() else { return };
    let compacted =
        [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
    let mut stage = ended_after_five(kafka, &compacted);
    kafka.produce(&stage.topic, &keyed(5..65));
    let left = || kafka.records(&stage.topic).iter().map(|record| record.text()).collect::<Vec<_>>();
    // What is written last closes the segment of what was before; that one is compacted.
    let mut next = 65;
    cim_services::until("the topic to be compacted", Duration::from_secs(90), || {
        kafka.produce(&stage.topic, &keyed(next..next + 1));
        next += 1;
        left().len() < 30
    });
    stage.daemon.start_again();
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    kafka.produce(&stage.topic, &keyed(next..next + 3));
    let mut heard: Vec<usize> = Vec::new();
    while heard.last() != Some(&(next + 2)) {
        heard.push(String::from_utf8(wire.message()).unwrap().parse().unwrap());
    }
    // It may be compacted further at any moment: what is there now was there when it was read.
    let after: Vec<usize> =
        left().iter().map(|text| text.parse().unwrap()).filter(|number| *number >= 5).collect();
    assert!(
        after.iter().all(|number| heard.contains(number)),
        "{after:?} are in the topic, {heard:?} were heard"
    );
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice: {heard:?}");
    assert!(heard.len() < next + 3 - 5 - 20, "there was no gap to read over: {heard:?}");
    until("their place", || stage.group(kafka).committed == [Some(u64::try_from(next).unwrap() + 3)]);
    assert!(!stage.daemon.stderr().contains("panicked"));
}
