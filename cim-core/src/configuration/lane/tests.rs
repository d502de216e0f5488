//! One document's changes, from the offer to the stored result: each rule by itself, then any order of inputs.

mod leases;

use super::*;
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
    known(Rules { confirms: true, ..Rules::default() })
}

fn known(rules: Rules) -> Lane {
    let mut lane = Lane::new(rules, 0, None);
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

fn pushed(step: Option<Step>) -> PushStep {
    match step {
        Some(Step::Push(step)) => step,
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
        let step = pushed(lane.poll(at(1), true));
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
    pushed(earlier.poll(at(0), true));
    let story = earlier.result(5, Word::Unused, at(1)).unwrap().status;
    let mut lane = Lane::new(Rules::default(), 0, None);
    for revision in [4, 5, 6] {
        offer(&mut lane, revision);
    }
    assert_eq!(lane.poll(at(2), true), None);
    lane.know(Some(story));
    assert_eq!(pushed(lane.poll(at(2), true)).key.revision, 6);
}

#[test]
fn what_is_settled_or_passed_by_is_not_taken_again() {
    let mut lane = lane();
    offer(&mut lane, 5);
    pushed(lane.poll(at(0), true));
    assert!(!offer(&mut lane, 4), "a lower one after a higher was handed over");
    assert!(!offer(&mut lane, 5), "twice");
    lane.result(5, Word::Success, at(0)).unwrap();
    assert!(!offer(&mut lane, 5) && !offer(&mut lane, 3));
    assert!(offer(&mut lane, 6));
}

#[test]
fn what_the_application_never_saw_is_no_failure_of_it() {
    let mut lane = lane();
    offer(&mut lane, 5);
    for ms in [0, 175_000, 999_000] {
        assert_eq!((lane.poll(at(ms), false), lane.wake()), (None, None));
    }
    lane.withdraw(5);
    let step = settled(lane.poll(at(999_000), false));
    assert_eq!(step.status.state, ChangeState::Expired);
    assert_eq!(step.status.reason.as_deref(), Some("its lease ended before it could be handed over"));
}

#[test]
fn a_result_within_the_call_beats_its_late_failure() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(lane.poll(at(0), true));
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
    let step = pushed(lane.poll(at(0), true));
    lane.answered(step.attempt, refused("timed out"), at(10_000));
    assert_eq!(lane.result(5, Word::Unused, at(10_001)).unwrap().status.state, ChangeState::Unused);
    assert_eq!(lane.poll(at(60_000), true), None);
}

#[test]
fn an_answer_of_success_counts_when_no_word_follows_and_may_be_corrected_until_the_next_push() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(lane.poll(at(0), true));
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
    let step = pushed(lane.poll(at(0), true));
    lane.answered(step.attempt, Verdict::Deferred, at(5));
    assert_eq!(lane.poll(at(174_999), true), None);
    assert_eq!(lane.result(5, Word::Failure, at(174_999)).unwrap().status.state, ChangeState::Failed);
}

#[test]
fn an_application_that_restarts_gets_what_has_no_result() {
    let mut lane = lane();
    offer(&mut lane, 5);
    offer(&mut lane, 6);
    let first = pushed(lane.poll(at(0), true));
    lane.result(5, Word::Success, at(1)).unwrap();
    lane.stored();
    lane.answered(first.attempt, Verdict::Accepted(200), at(1));
    let second = pushed(lane.poll(at(2), true));
    lane.application_restarted();
    assert_eq!(lane.poll(at(3), true), None, "the call to the one before has not ended");
    lane.answered(second.attempt, refused("connection closed"), at(4));
    let again = pushed(lane.poll(at(4), true));
    assert_eq!((second.key.revision, again.key.revision), (6, 6));
    lane.answered(again.attempt, Verdict::Accepted(200), at(5));
    assert_eq!(lane.result(6, Word::Success, at(6)).unwrap().status.attempts, 2);
}

#[test]
fn a_change_whose_lease_ended_gets_no_late_success() {
    let mut lane = lane();
    offer(&mut lane, 5);
    pushed(lane.poll(at(0), true));
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
    pushed(lane.poll(at(0), true));
    assert_eq!(lane.result(4, Word::Success, at(1)), None);
    assert_eq!(lane.result(6, Word::Success, at(1)), None);
}

#[test]
fn a_confirmed_change_is_applied_and_a_refuted_one_is_undone() {
    let mut lane = confirming();
    offer(&mut lane, 5);
    let step = pushed(lane.poll(at(0), true));
    lane.answered(step.attempt, Verdict::Accepted(200), at(1));
    assert_eq!(lane.result(5, Word::Success, at(1)), None, "not settled yet");
    assert!(matches!(lane.poll(at(1), true), Some(Step::Confirm(_))));
    assert_eq!(lane.poll(at(2), true), None);
    assert_eq!(lane.confirmed(5, Ok(()), at(3)).unwrap().status.state, ChangeState::Applied);
    lane.stored();

    offer(&mut lane, 6);
    let step = pushed(lane.poll(at(4), true));
    lane.answered(step.attempt, Verdict::Accepted(200), at(4));
    assert!(matches!(lane.poll(at(30_000), true), Some(Step::Confirm(_))), "also without a word");
    assert_eq!(lane.confirmed(6, Err("probe".to_owned()), at(30_001)), None);
    assert!(matches!(lane.poll(at(30_001), true), Some(Step::Undo(_, why)) if why == "probe"));
    assert_eq!(lane.result(6, Word::Success, at(30_002)), None, "a word about the undoing");
    let undone = lane.undone(6, Ok(()), at(30_003)).unwrap();
    assert_eq!(
        (undone.status.state, undone.status.reason.as_deref()),
        (ChangeState::RolledBack, Some("probe"))
    );
}

#[derive(Debug, Clone)]
enum Input {
    Offer(i32),
    Withdraw(i32),
    Answer(bool),
    Word(i32, u8),
    Restart,
    Pass(u32),
    Confirmed(bool),
    Undone(bool),
    Stored,
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => (1..12i32).prop_map(Input::Offer),
        1 => (1..12i32).prop_map(Input::Withdraw),
        4 => any::<bool>().prop_map(Input::Answer),
        4 => (1..12i32, 0..3u8).prop_map(|(revision, word)| Input::Word(revision, word)),
        1 => Just(Input::Restart),
        3 => (0..200_000u32).prop_map(Input::Pass),
        2 => any::<bool>().prop_map(Input::Confirmed),
        2 => any::<bool>().prop_map(Input::Undone),
        4 => Just(Input::Stored),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_nothing_goes_back_and_everything_is_settled_once(
        confirms: bool, steps in proptest::collection::vec(inputs(), 1..200)
    ) {
        let mut lane = known(Rules { confirms, ..Rules::default() });
        let (mut now, mut call, mut pushed_max, mut finals) = (0u64, None, 0, Vec::new());
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
                Input::Answer(well) => {
                    if let Some(attempt) = call.take() {
                        let verdict = if well { Verdict::Accepted(200) } else { refused("x") };
                        lane.answered(attempt, verdict, at(now));
                    }
                    None
                }
                Input::Word(revision, word) => {
                    let word = [Word::Success, Word::Unused, Word::Failure][usize::from(word)];
                    let corrects = lane.correctable.as_ref().is_some_and(|last| last.key.revision == revision);
                    let outcome = lane.result(revision, word, at(now));
                    if corrects { None } else { outcome }
                }
                Input::Stored => { lane.stored(); None }
                Input::Restart => { lane.application_restarted(); None }
                Input::Pass(ms) => { now += u64::from(ms); None }
                Input::Confirmed(well) => {
                    let head = lane.revisions().next().unwrap_or(0);
                    lane.confirmed(head, if well { Ok(()) } else { Err("x".to_owned()) }, at(now))
                }
                Input::Undone(well) => {
                    let head = lane.revisions().next().unwrap_or(0);
                    lane.undone(head, if well { Ok(()) } else { Err("x".to_owned()) }, at(now))
                }
            };
            finals.extend(outcome.map(|settled| settled.key.revision));
            while let Some(step) = lane.poll(at(now), true) {
                match step {
                    Step::Push(step) => {
                        prop_assert!(call.is_none(), "two calls at a time");
                        prop_assert!(step.key.revision >= pushed_max, "{} after {pushed_max}", step.key.revision);
                        pushed_max = step.key.revision;
                        call = Some(step.attempt);
                    }
                    Step::Ask(question) => {
                        let left = [None, Some(1), Some(60)][usize::try_from(now % 3).unwrap()];
                        lane.limit(&question, left.map(Duration::from_secs), at(now));
                    }
                    Step::Settled(settled) => finals.push(settled.key.revision),
                    Step::Confirm(_) | Step::Undo(..) => {}
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
