//! One document's changes, from the offer to the stored result: each rule by itself, then any order of inputs.

mod confirming;
mod leases;

use super::*;
use crate::configuration::change::{Undone, Verdict};
use crate::configuration::key::MapLevel;
use crate::configuration::news::LeaseQuestion;
use crate::contract::Lease;
use proptest::prelude::*;

fn at(ms: u64) -> Now {
    Now { mono: Duration::from_millis(ms), wall_ms: ms }
}

fn key(revision: i32) -> ChangeKey {
    let document = DocumentId { level: MapLevel::Ms, data_key: "app.json".to_owned() };
    ChangeKey { text: format!("change-set/ns/svc/v0/ms/app.json/{revision}"), document, revision }
}

fn patch() -> Arc<[u8]> {
    Arc::from(&b"[]"[..])
}

fn lane() -> Lane {
    known(Rules::default())
}

fn confirming() -> Lane {
    known(Rules { confirm: Some(Duration::from_secs(11)), ..Rules::default() })
}

fn known(rules: Rules) -> Lane {
    let mut lane = Lane::new(rules, 0, None, 0);
    lane.know(None);
    lane
}

/// Offers a change whose lease lasts for 180 s.
fn offer(lane: &mut Lane, revision: i32) -> bool {
    offer_for(lane, revision, Duration::from_secs(180), at(0))
}

fn offer_for(lane: &mut Lane, revision: i32, time: Duration, now: Now) -> bool {
    let is_news = lane.offer(key(revision), patch(), None, now);
    if let Some(question) = lane.lease(revision, Lease(i64::from(revision))) {
        lane.limit(&question, Some(time), now);
    }
    is_news
}

fn asked(step: Option<Step>) -> LeaseQuestion {
    match step {
        Some(Step::Ask(question)) => question,
        other => panic!("{other:?}"),
    }
}

/// The time at which the lane wants to be asked again, in milliseconds.
fn woken(lane: &Lane) -> u64 {
    u64::try_from(lane.wake().unwrap().as_millis()).unwrap()
}

/// The next step, which is a call; it begins at once.
fn pushed(lane: &mut Lane, now: Now) -> PushStep {
    match lane.poll(now, true) {
        Some(Step::Push(step)) => {
            assert!(lane.begin(step.key.revision, step.attempt, now));
            step
        }
        other => panic!("{other:?}"),
    }
}

fn settled(step: Option<Step>) -> Settled {
    match step {
        Some(Step::Settled(settled)) => settled,
        other => panic!("{other:?}"),
    }
}

fn refused(why: &str) -> Verdict {
    Verdict::Refused(why.to_owned())
}

#[test]
fn changes_are_pushed_in_the_order_of_their_revisions_one_after_the_other() {
    let mut lane = lane();
    for revision in [7, 5, 6] {
        assert!(offer(&mut lane, revision));
    }
    for revision in [5, 6, 7] {
        let step = pushed(&mut lane, at(1));
        assert_eq!(step.key.revision, revision);
        assert_eq!(lane.poll(at(1), true), None, "one at a time");
        let done = lane.result(revision, Word::Success, at(2)).unwrap();
        assert_eq!((done.key.revision, done.status.state), (revision, ChangeState::Applied));
        assert_eq!(lane.poll(at(2), true), None, "the call has not ended");
        lane.answered(step.attempt, Verdict::Accepted(200), at(3));
        assert_eq!(lane.poll(at(3), true), None, "the result is not stored");
        lane.stored();
    }
    assert_eq!((lane.settled(), lane.pending()), (7, 0));
}

#[test]
fn nothing_is_pushed_before_it_is_known_what_earlier_runs_settled() {
    let mut earlier = lane();
    offer(&mut earlier, 5);
    pushed(&mut earlier, at(0));
    let story = earlier.result(5, Word::Unused, at(1)).unwrap().status;
    let mut lane = Lane::new(Rules::default(), 0, None, 0);
    for revision in [4, 5, 6] {
        offer(&mut lane, revision);
    }
    assert_eq!(lane.poll(at(2), true), None);
    lane.know(Some(story));
    assert_eq!(pushed(&mut lane, at(2)).key.revision, 6);
}

#[test]
fn what_is_settled_or_passed_by_is_not_taken_again() {
    let mut lane = lane();
    offer(&mut lane, 5);
    pushed(&mut lane, at(0));
    assert!(!offer(&mut lane, 4), "a lower one after a higher was handed over");
    assert!(!offer(&mut lane, 5), "twice");
    lane.result(5, Word::Success, at(0)).unwrap();
    assert!(!offer(&mut lane, 5) && !offer(&mut lane, 3));
    assert!(offer(&mut lane, 6));
}

#[test]
fn a_call_that_waits_for_others_is_no_call_yet() {
    let mut lane = lane();
    offer(&mut lane, 5);
    offer(&mut lane, 6);
    let Some(Step::Push(step)) = lane.poll(at(0), true) else { panic!("nothing to call for") };
    // 45 s after its time is over, by what is known.
    assert_eq!((lane.poll(at(225_000), true), lane.wake()), (None, None));
    assert!(!lane.begin(5, step.attempt, at(225_000)), "the store is asked first");
    let question = asked(lane.poll(at(225_000), true));
    lane.limit(&question, None, at(225_001));
    let gone = settled(lane.poll(at(225_001), true));
    assert_eq!((gone.status.state, gone.status.attempts), (ChangeState::Expired, 0));
    lane.stored();
    let question = asked(lane.poll(at(225_002), true));
    lane.limit(&question, Some(Duration::from_secs(60)), at(225_002));
    let Some(Step::Push(step)) = lane.poll(at(225_002), true) else { panic!("nothing to call for") };
    lane.application_restarted();
    assert!(!lane.begin(6, step.attempt, at(225_003)), "the application registered again");
    assert_eq!(pushed(&mut lane, at(225_004)).key.revision, 6);
}

#[test]
fn a_change_that_is_written_again_before_its_turn_is_the_new_one() {
    let mut lane = lane();
    offer(&mut lane, 5);
    assert!(!lane.offer(key(5), Arc::from(&b"[7]"[..]), Some(9), at(1)));
    let step = pushed(&mut lane, at(2));
    assert_eq!(&*step.patch, b"[7]");
    assert!(!lane.offer(key(5), Arc::from(&b"[8]"[..]), Some(10), at(3)));
    lane.answered(step.attempt, refused("no"), at(4));
    assert_eq!(&*pushed(&mut lane, at(4_000)).patch, b"[7]", "one and the same change in every call");
}

#[test]
fn a_result_within_the_call_beats_its_late_failure() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    assert_eq!(lane.result(5, Word::Success, at(1)).unwrap().status.state, ChangeState::Applied);
    lane.answered(step.attempt, refused("timed out"), at(10_000));
    assert_eq!(lane.poll(at(10_000), true), None);
    assert_eq!(lane.status().unwrap().state, ChangeState::Applied);
}

#[test]
fn a_call_that_fails_is_repeated_until_the_time_is_up_and_only_then_is_it_a_failure() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let (mut now, mut calls) = (0, 0);
    let end = loop {
        match lane.poll(at(now), true) {
            Some(Step::Push(step)) => {
                assert!(lane.begin(5, step.attempt, at(now)));
                calls += 1;
                lane.answered(step.attempt, refused("the application answered 500"), at(now));
            }
            Some(Step::Settled(settled)) => break settled,
            Some(Step::Ask(question)) => {
                lane.limit(&question, Some(Duration::from_millis(180_000 - now)), at(now));
            }
            other => {
                assert_eq!(other, None);
                now = woken(&lane);
            }
        }
    };
    assert!((18..40).contains(&calls), "{calls} calls");
    assert_eq!(now, 175_000, "a part of the lease is kept for the commit");
    assert_eq!(end.status.state, ChangeState::Failed);
    assert_eq!(end.status.reason.as_deref(), Some("the application answered 500"));
    assert!(end.commit_by > Some(Duration::from_millis(now)));
}

#[test]
fn success_may_come_while_a_repetition_is_waited_for() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    lane.answered(step.attempt, refused("timed out"), at(10_000));
    assert_eq!(lane.result(5, Word::Unused, at(10_001)).unwrap().status.state, ChangeState::Unused);
    assert_eq!(lane.poll(at(60_000), true), None);
}

#[test]
fn an_answer_of_success_counts_when_no_word_follows_and_may_be_corrected_until_the_next_push() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    lane.answered(step.attempt, Verdict::Accepted(200), at(5));
    assert_eq!(lane.poll(at(6), true), None);
    let done = settled(lane.poll(at(20_005), true));
    assert_eq!(done.status.state, ChangeState::Applied);
    let corrected = lane.result(5, Word::Failure, at(30_000)).unwrap();
    assert_eq!(corrected.status.state, ChangeState::Failed);
    assert_eq!(lane.result(5, Word::Failure, at(30_000)), None, "once");
}

#[test]
fn an_application_that_answers_202_has_all_the_time_of_the_lease() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    lane.answered(step.attempt, Verdict::Deferred, at(5));
    assert_eq!(lane.poll(at(174_999), true), None);
    assert_eq!(lane.result(5, Word::Failure, at(174_999)).unwrap().status.state, ChangeState::Failed);
}

#[test]
fn an_application_that_restarts_gets_what_has_no_result() {
    let mut lane = lane();
    offer(&mut lane, 5);
    offer(&mut lane, 6);
    let first = pushed(&mut lane, at(0));
    lane.result(5, Word::Success, at(1)).unwrap();
    lane.stored();
    lane.answered(first.attempt, Verdict::Accepted(200), at(1));
    let second = pushed(&mut lane, at(2));
    lane.application_restarted();
    assert_eq!(lane.poll(at(3), true), None, "the call to the one before has not ended");
    lane.answered(second.attempt, refused("connection closed"), at(4));
    let again = pushed(&mut lane, at(4));
    assert_eq!((second.key.revision, again.key.revision), (6, 6));
    lane.answered(again.attempt, Verdict::Accepted(200), at(5));
    assert_eq!(lane.result(6, Word::Success, at(6)).unwrap().status.attempts, 2);
}

#[test]
fn a_change_whose_lease_ended_gets_no_late_success() {
    let mut lane = lane();
    offer(&mut lane, 5);
    pushed(&mut lane, at(0));
    lane.withdraw(5);
    let gone = settled(lane.poll(at(180_000), true));
    assert_eq!(gone.status.state, ChangeState::Expired);
    assert_eq!(lane.result(5, Word::Success, at(180_001)), None);
    assert_eq!(lane.settled(), 5);
}

#[test]
fn words_about_changes_that_nobody_knows_count_for_nothing() {
    let mut lane = lane();
    offer(&mut lane, 5);
    pushed(&mut lane, at(0));
    assert_eq!(lane.result(4, Word::Success, at(1)), None);
    assert_eq!(lane.result(6, Word::Success, at(1)), None);
}

#[derive(Debug, Clone)]
enum Input {
    Offer(i32),
    Withdraw(i32),
    /// The queue of calls moves.
    Begin,
    /// What is under way ends, well or not.
    End(bool),
    Word(i32, u8),
    Restart,
    Pass(u32),
    Stored,
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => (1..12i32).prop_map(Input::Offer),
        1 => (1..12i32).prop_map(Input::Withdraw),
        5 => Just(Input::Begin),
        5 => any::<bool>().prop_map(Input::End),
        4 => (1..12i32, 0..3u8).prop_map(|(revision, word)| Input::Word(revision, word)),
        1 => Just(Input::Restart),
        3 => (0..200_000u32).prop_map(Input::Pass),
        4 => Just(Input::Stored),
    ]
}

/// What is under way with the application ends like that.
fn end(lane: &mut Lane, step: Step, well: bool, now: Now) -> Option<Settled> {
    let outcome = if well { Ok(()) } else { Err("x".to_owned()) };
    match step {
        Step::Push(step) => {
            let verdict = if well { Verdict::Accepted(200) } else { refused("x") };
            lane.answered(step.attempt, verdict, now);
            None
        }
        Step::Confirm(step) => lane.confirmed(step.key.revision, step.attempt, outcome, now),
        Step::Undo(step, _) => {
            lane.undone(step.key.revision, step.attempt, outcome.map(|()| Undone::Back), now)
        }
        Step::Ask(_) | Step::Settled(_) => None,
    }
}

proptest! {
    #[test]
    fn whatever_happens_nothing_goes_back_and_everything_is_settled_once(
        confirms: bool, steps in proptest::collection::vec(inputs(), 1..200)
    ) {
        let mut lane = if confirms { confirming() } else { lane() };
        let (mut now, mut pushed_max, mut finals) = (0u64, 0, Vec::new());
        // What the lane asked for, and whether it is at the application.
        let (mut under_way, mut is_begun) = (None, false);
        let mut offered = std::collections::BTreeSet::new();
        for input in steps {
            let outcome = match input {
                Input::Offer(revision) => {
                    if offer_for(&mut lane, revision, Duration::from_secs(60), at(now)) {
                        offered.insert(revision);
                    }
                    None
                }
                Input::Withdraw(revision) => { lane.withdraw(revision); None }
                Input::Begin => {
                    if let Some(Step::Push(step)) = under_way.as_ref().filter(|_| !is_begun) {
                        is_begun = lane.begin(step.key.revision, step.attempt, at(now));
                        if is_begun {
                            prop_assert!(step.key.revision >= pushed_max, "{} after {pushed_max}", step.key.revision);
                            pushed_max = step.key.revision;
                        } else {
                            under_way = None;
                        }
                    }
                    None
                }
                Input::End(well) => match under_way.take_if(|_| is_begun) {
                    Some(step) => {
                        is_begun = false;
                        end(&mut lane, step, well, at(now))
                    }
                    None => None,
                },
                Input::Word(revision, word) => {
                    let word = [Word::Success, Word::Unused, Word::Failure][usize::from(word)];
                    let corrects = lane.correctable.as_ref().is_some_and(|last| last.key.revision == revision);
                    let outcome = lane.result(revision, word, at(now));
                    if corrects { None } else { outcome }
                }
                Input::Stored => { lane.stored(); None }
                Input::Restart => { lane.application_restarted(); None }
                Input::Pass(ms) => { now += u64::from(ms); None }
            };
            finals.extend(outcome.map(|settled| settled.key.revision));
            while let Some(step) = lane.poll(at(now), true) {
                match step {
                    Step::Push(_) | Step::Confirm(_) | Step::Undo(..) => {
                        prop_assert!(under_way.is_none(), "two at a time: {:?}", under_way);
                        is_begun = !matches!(step, Step::Push(_));
                        under_way = Some(step);
                    }
                    Step::Ask(question) => {
                        let left = [None, Some(1), Some(60)][usize::try_from(now % 3).unwrap()];
                        lane.limit(&question, left.map(Duration::from_secs), at(now));
                    }
                    Step::Settled(settled) => finals.push(settled.key.revision),
                }
            }
        }
        let mut once = finals.clone();
        once.dedup();
        prop_assert_eq!(&once, &finals, "settled twice");
        prop_assert!(finals.is_sorted(), "settled out of order: {finals:?}");
        prop_assert!(finals.iter().all(|revision| offered.contains(revision)));
        prop_assert_eq!(finals.last().copied().unwrap_or(0), lane.settled());
        prop_assert!(lane.wake().is_none_or(|at_least| at_least > at(now).mono), "no rest");
    }
}
