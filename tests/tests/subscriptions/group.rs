//! The group in which the topic is read, as the broker knows it: its name, its place, and its other members.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cim_services::Kafka;
use cim_services::kafka::Member;
use cim_tests::{Wire, has_time, until};

use crate::application::{Stage, events};

/// A topic of three partitions, and an application that listens to the events of one name.
fn shared_out(kafka: &Kafka) -> (Stage, Listening) {
    let stage = Stage::start(kafka);
    kafka.grow_topic(&stage.topic, 3);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    (stage, Listening::start(wire))
}

/// Waits until the program is the only member of its group again.
fn alone_again(kafka: &Kafka, stage: &Stage, patience: Duration) {
    cim_services::until("the group to be one again", patience, || {
        let group = stage.group(kafka);
        group.members.len() == 1 && group.state == "STABLE"
    });
}

#[test]
fn the_group_is_called_after_the_pod_and_its_place_is_what_the_application_took() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    kafka.produce(&stage.topic, &events("A", 0..4));
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    let at_first = stage.group(kafka);
    assert_eq!((at_first.state.as_str(), at_first.strategy.as_str()), ("STABLE", "cooperative-sticky"));
    assert_eq!(
        at_first.members,
        std::slice::from_ref(&stage.topic),
        "one member, which keeps its place over a restart"
    );
    assert_eq!(at_first.committed, [Some(4)], "what was there before the first subscription is not for it");

    kafka.produce(&stage.topic, &events("A", 4..14));
    for number in 4..14 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
    until("the place of what was taken", || stage.group(kafka).committed == [Some(14)]);
    drop(wire);
    kafka.produce(&stage.topic, &events("A", 14..20));
    stage.wait_read(16);
    // What is read and not taken stays uncommitted; the last question comes after everything that could commit it was done.
    until("the events to wait", || stage.daemon.metric("cim_subscription_waiting_bytes") > 0.5);
    assert_eq!(stage.group(kafka).committed, [Some(14)]);
}

/// An application that listens for as long as the test lasts.
struct Listening {
    numbers: Arc<Mutex<Vec<usize>>>,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Listening {
    fn start(mut wire: Wire) -> Self {
        let (numbers, ended) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (heard, over): (Arc<Mutex<Vec<usize>>>, _) = (Arc::clone(&numbers), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok(value) = wire.try_message() else { return };
                heard.lock().unwrap().push(String::from_utf8(value).unwrap().parse().unwrap());
            }
        });
        Self { numbers, ended, thread }
    }

    fn heard(&self) -> Vec<usize> {
        self.numbers.lock().unwrap().clone()
    }

    /// `wake`: makes one more event come.
    fn end(self, wake: impl FnOnce()) -> Vec<usize> {
        self.ended.store(true, Ordering::Relaxed);
        wake();
        self.thread.join().unwrap();
        self.numbers.lock().unwrap().clone()
    }
}

fn numbers(member: &[String]) -> Vec<usize> {
    member.iter().map(|value| value.parse().unwrap()).collect()
}

/// Each number below that, however often.
fn is_complete(lists: &[&[usize]], below: usize) -> bool {
    let mut all = lists.concat();
    all.sort_unstable();
    all.dedup();
    all == (0..below).collect::<Vec<_>>()
}

#[test]
fn a_member_that_joins_and_leaves_costs_no_event_and_repeats_only_what_was_on_its_way() {
    if !has_time("a group of consumers is shared out twice") {
        return;
    }
    let Some(kafka) = Kafka::shared() else { return };
    let (stage, listening) = shared_out(kafka);
    // Each portion goes to a partition that the producer picks.
    let produce = |range: std::ops::Range<usize>| {
        for from in range.step_by(20) {
            kafka.produce(&stage.topic, &events("A", from..from + 20));
        }
    };
    produce(0..60);
    until("the events of the time alone", || is_complete(&[&listening.heard()], 60));
    assert_eq!(listening.heard().len(), 60, "alone each comes once");

    let member = Member::join(kafka, &stage.topic, &stage.topic, "cooperative-sticky");
    cim_services::until("the topic to be shared", Duration::from_secs(40), || {
        let group = stage.group(kafka);
        member.assigned() > 0 && group.members.len() == 2 && group.state == "STABLE"
    });
    produce(60..160);
    cim_services::until("the events of the time of two", Duration::from_secs(40), || {
        is_complete(&[&listening.heard(), &numbers(&member.values())], 160)
    });
    let read = numbers(&member.leave());
    assert!(!read.is_empty(), "the other member was given partitions without an event");
    alone_again(kafka, &stage, Duration::from_secs(40));
    produce(160..220);
    cim_services::until("the events after it", Duration::from_secs(40), || {
        is_complete(&[&listening.heard(), &read], 220)
    });
    until("the place of what was taken", || {
        stage.group(kafka).committed.iter().flatten().sum::<u64>() == 220
    });
    let heard = listening.end(|| kafka.produce(&stage.topic, &events("A", 220..221)));
    let twice = heard.len() + read.len() - 221;
    assert!(twice <= 20, "{twice} came twice: {heard:?} and {read:?}");
    assert!(!stage.daemon.stderr().contains("panicked"));
}

/// K13: members come and go before the group has settled.
#[test]
fn a_group_that_never_settles_costs_no_event() {
    if !has_time("a group of consumers is shared out eight times") {
        return;
    }
    let Some(kafka) = Kafka::shared() else { return };
    let (stage, listening) = shared_out(kafka);
    let mut read = Vec::new();
    for round in 0..8 {
        let member = Member::join(kafka, &stage.topic, &stage.topic, "cooperative-sticky");
        for part in 0..4 {
            let from = 40 * round + 10 * part;
            kafka.produce(&stage.topic, &events("A", from..from + 10));
        }
        // Every other one leaves without a word, and is missed when its session is over.
        let its = if round % 2 == 0 { member.leave() } else { member.kill() };
        read.extend(numbers(&its));
    }
    cim_services::until("every event", Duration::from_secs(90), || {
        is_complete(&[&listening.heard(), &read], 320)
    });
    alone_again(kafka, &stage, Duration::from_secs(60));
    assert!(!stage.daemon.stderr().contains("panicked"));
    assert!(stage.daemon.metric("cim_part_restarts_total") < 0.5, "the reader was started again");
    let _ = listening.end(|| kafka.produce(&stage.topic, &events("A", 320..321)));
}

/// The original shared partitions out by another protocol; its last member is missed by the broker only after its session.
#[test]
fn a_group_that_a_client_of_another_protocol_left_behind_is_gone_on_with() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    kafka.produce(&stage.topic, &events("A", 0..5));
    let old = Member::join(kafka, &stage.topic, &stage.topic, "range");
    cim_services::until("the old member to read", Duration::from_secs(40), || old.values().len() == 5);
    assert_eq!(stage.group(kafka).strategy, "range");
    assert_eq!(numbers(&old.kill()), [0, 1, 2, 3, 4]);
    kafka.produce(&stage.topic, &events("A", 5..10));
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    // Neither again nor passed over: the old member committed five.
    for number in 5..10 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
    assert_eq!(stage.group(kafka).strategy, "cooperative-sticky");
}
