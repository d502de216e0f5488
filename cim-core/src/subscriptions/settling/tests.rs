//! What becomes of notifications in time: walks by hand, and any walk by the dice.

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules { ack_wait: Duration::from_secs(30), max_deliver: 3, max_pending: 2 };

fn key(subscription: usize, record: i64) -> Key {
    Key { subscription: subscription.to_string().into(), lane: 0, record }
}

fn fresh() -> Settling {
    Settling::new(RULES, Arc::default())
}

fn names(due: &Due) -> Vec<String> {
    due.send.iter().map(|(_, request)| request.name.clone()).collect()
}

fn answer(key: &Key, delivery: u32, answer: Answer) -> Heard {
    Heard { key: key.clone(), delivery, answer }
}

#[test]
fn silence_leads_to_further_deliveries_after_doubled_pauses_and_then_to_the_dead() {
    let (mut settling, start) = (fresh(), Instant::now());
    let key = key(1, 7);
    assert!(settling.add(key.clone(), 7, Bytes::from_static(b"x")));
    assert!(!settling.add(key.clone(), 7, Bytes::from_static(b"x")), "its record was read again");
    let mut now = start;
    for (delivery, pause) in [(1, 1), (2, 2)] {
        assert_eq!(names(&settling.look(now)), [format!("1.0.7.{delivery}")]);
        // While nobody has it, no time runs.
        assert_eq!(settling.next_look(), None);
        settling.taken(&key, delivery, now);
        now += RULES.ack_wait;
        assert_eq!(settling.look(now - Duration::from_millis(1)), Due::default());
        assert_eq!(settling.look(now), Due::default());
        now += Duration::from_secs(pause);
    }
    assert_eq!(names(&settling.look(now)), ["1.0.7.3"]);
    settling.taken(&key, 3, now);
    let due = settling.look(now + RULES.ack_wait);
    let [dead] = due.dead.as_slice() else { panic!("{due:?}") };
    assert_eq!((dead.deliveries, &dead.why), (3, &Why::Unanswered));
    assert!(due.settled.is_empty(), "not before its letter is stored");
    settling.heard(answer(&key, 3, Answer::Done), now);
    assert!(settling.is_pending(&key), "too late: the letter is being written");
    settling.buried(key.clone());
    assert_eq!(settling.look(now).settled, [key]);
    assert_eq!(settling.bytes(), 0);
}

#[test]
fn every_word_has_its_effect() {
    let (mut settling, now) = (fresh(), Instant::now());
    let one = key(1, 1);
    settling.add(one.clone(), 1, Bytes::new());
    settling.look(now);
    settling.taken(&one, 1, now);
    // More time.
    settling.heard(answer(&one, 1, Answer::Working), now + Duration::from_secs(20));
    assert_eq!(settling.next_look(), Some(now + Duration::from_secs(50)));
    // Again, when the application says.
    settling.heard(answer(&one, 1, Answer::Again(Some(Duration::from_secs(5)))), now);
    assert_eq!(names(&settling.look(now + Duration::from_secs(5))), ["1.0.1.2"]);
    // An answer that comes before it was told that the delivery was taken.
    settling.heard(answer(&one, 2, Answer::Again(None)), now);
    assert_eq!(names(&settling.look(now + Duration::from_secs(2))), ["1.0.1.3"]);
    settling.taken(&one, 3, now);
    // What is no news of the last delivery changes nothing; that it is done does.
    settling.heard(answer(&one, 2, Answer::Again(None)), now);
    settling.heard(answer(&one, 1, Answer::Working), now + Duration::from_secs(20));
    assert_eq!(settling.next_look(), Some(now + RULES.ack_wait));
    settling.heard(answer(&one, 1, Answer::Done), now);
    assert_eq!(settling.look(now).settled, [one]);
    assert_eq!(settling.next_look(), None);

    let two = key(1, 2);
    settling.add(two.clone(), 2, Bytes::new());
    settling.look(now);
    settling.heard(answer(&two, 1, Answer::Never("bad".to_owned())), now);
    let due = settling.look(now);
    assert_eq!(due.dead[0].why, Why::Terminated("bad".to_owned()));
}

#[test]
fn a_subscription_has_only_so_many_out_and_hinders_no_other() {
    let (mut settling, now) = (fresh(), Instant::now());
    for record in 0..4 {
        settling.add(key(1, record), 0, Bytes::new());
    }
    settling.add(key(2, 9), 0, Bytes::new());
    assert_eq!(names(&settling.look(now)), ["1.0.0.1", "1.0.1.1", "2.0.9.1"]);
    assert!(settling.is_backed_up());
    settling.heard(answer(&key(1, 1), 1, Answer::Done), now);
    assert_eq!(names(&settling.look(now)), ["1.0.2.1"]);
    // One that pauses is still one of them.
    settling.heard(answer(&key(1, 0), 1, Answer::Again(None)), now);
    assert_eq!(names(&settling.look(now)), [""; 0]);
    settling.retain(|key| *key.subscription == *"2");
    assert_eq!(settling.look(now).settled.len(), 3);
    assert!(!settling.is_backed_up());
}

#[derive(Debug, Clone)]
enum Step {
    Add(usize),
    Taken(usize),
    Answer(usize, Answer),
    Wait(u64),
    Bury,
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let word = prop_oneof![
        3 => Just(Answer::Done),
        2 => Just(Answer::Again(None)),
        1 => Just(Answer::Working),
        1 => Just(Answer::Never(String::new())),
    ];
    prop_oneof![
        6 => (0_usize..3).prop_map(Step::Add),
        6 => any::<usize>().prop_map(Step::Taken),
        4 => (any::<usize>(), word).prop_map(|(at, word)| Step::Answer(at, word)),
        3 => (0_u64..40).prop_map(Step::Wait),
        2 => Just(Step::Bury),
        1 => (0_usize..3).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn each_notification_ends_once_after_at_most_so_many_deliveries(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let (mut settling, mut now, mut record) = (fresh(), Instant::now(), 0);
        let mut open: Vec<Key> = Vec::new();
        let mut out: Vec<(Key, u32)> = Vec::new();
        let mut graves: VecDeque<Key> = VecDeque::new();
        // After the steps everything is answered, so that all come to their end.
        let rest = std::iter::repeat_n([Step::Wait(100), Step::Taken(0), Step::Answer(0, Answer::Done), Step::Bury], 600);
        for step in steps.into_iter().chain(rest.flatten()) {
            match step {
                Step::Add(subscription) => {
                    prop_assert!(settling.add(key(subscription, record), 0, Bytes::from_static(b"abc")));
                    open.push(key(subscription, record));
                    record += 1;
                }
                Step::Taken(at) => if let Some((key, delivery)) = out.get(at % out.len().max(1)) {
                    settling.taken(key, *delivery, now);
                },
                Step::Answer(at, answer) => if !out.is_empty() {
                    let (key, delivery) = out.swap_remove(at % out.len());
                    settling.heard(Heard { key, delivery, answer }, now);
                },
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Bury => if let Some(key) = graves.pop_front() {
                    settling.buried(key);
                },
                Step::Remove(subscription) => {
                    settling.retain(|key| *key.subscription != *subscription.to_string());
                }
            }
            let due = settling.look(now);
            for (key, request) in due.send {
                prop_assert!(open.contains(&key), "sent after its end");
                prop_assert!(request.delivery <= RULES.max_deliver);
                out.push((key, request.delivery));
            }
            for dead in due.dead {
                prop_assert!(open.contains(&dead.key));
                prop_assert!(!graves.contains(&dead.key), "dead twice");
                graves.push_back(dead.key);
            }
            for key in due.settled {
                let at = open.iter().position(|other| *other == key);
                prop_assert!(at.is_some(), "settled twice: {}", key);
                open.remove(at.unwrap());
            }
            prop_assert!(open.iter().all(|key| settling.is_pending(key)), "lost");
            prop_assert_eq!(settling.bytes(), 3 * open.len());
        }
        prop_assert!(open.is_empty(), "never settled: {:?}", open);
        prop_assert!(!settling.is_backed_up());
    }
}
