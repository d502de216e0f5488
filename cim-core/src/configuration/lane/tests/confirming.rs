//! Whether the application is well with a change, and what else happens meanwhile.

use super::*;

/// The next step, which is a look at the application.
fn confirms(lane: &mut Lane, now: Now) -> PushStep {
    match lane.poll(now, true) {
        Some(Step::Confirm(step)) => step,
        other => panic!("{other:?}"),
    }
}

/// The next step, which undoes a change.
fn undoes(lane: &mut Lane, now: Now) -> (PushStep, String) {
    match lane.poll(now, true) {
        Some(Step::Undo(step, why)) => (step, why),
        other => panic!("{other:?}"),
    }
}

/// A change that the application took in silence, and at which is being looked.
fn in_silence(lane: &mut Lane, revision: i32) -> PushStep {
    offer(lane, revision);
    let step = pushed(lane, at(0));
    lane.answered(step.attempt, Verdict::Accepted(200), at(0));
    confirms(lane, at(20_000))
}

fn told(settled: &Settled) -> (ChangeState, Option<&str>) {
    (settled.status.state, settled.status.reason.as_deref())
}

#[test]
fn a_confirmed_change_is_applied_and_a_refuted_one_is_undone() {
    let mut lane = confirming();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    assert_eq!(lane.result(5, Word::Success, at(1)), None, "not settled yet");
    assert_eq!(lane.poll(at(1), true), None, "the call has not ended");
    lane.answered(step.attempt, Verdict::Accepted(200), at(1));
    let step = confirms(&mut lane, at(1));
    assert_eq!(lane.poll(at(2), true), None);
    let applied = lane.confirmed(5, step.attempt, Ok(()), at(3)).unwrap();
    assert_eq!(told(&applied), (ChangeState::Applied, None));
    lane.stored();

    let step = in_silence(&mut lane, 6);
    assert_eq!(lane.confirmed(6, step.attempt, Err("probe".to_owned()), at(30_001)), None);
    let (step, why) = undoes(&mut lane, at(30_001));
    assert_eq!(why, "probe");
    assert_eq!(lane.result(6, Word::Success, at(30_002)), None, "a word about the undoing");
    let undone = lane.undone(6, step.attempt, Ok(Undone::Back), at(30_003)).unwrap();
    assert_eq!(told(&undone), (ChangeState::RolledBack, Some("probe")));
}

#[test]
fn what_was_under_way_with_the_application_as_it_was_decides_nothing_about_it_as_it_is() {
    let mut lane = confirming();
    let before = in_silence(&mut lane, 5);
    lane.application_restarted();
    assert_eq!(lane.poll(at(20_001), true), None, "somebody still looks at the one before");
    assert_eq!(lane.confirmed(5, before.attempt, Err("probe".to_owned()), at(20_002)), None);
    let step = pushed(&mut lane, at(20_002));
    lane.answered(step.attempt, Verdict::Accepted(200), at(20_002));
    lane.result(5, Word::Success, at(20_002));
    let step = confirms(&mut lane, at(20_002));
    assert_eq!(lane.confirmed(5, before.attempt, Ok(()), at(20_003)), None, "twice");
    assert_eq!(
        lane.confirmed(5, step.attempt, Ok(()), at(20_004)).unwrap().status.state,
        ChangeState::Applied
    );
}

#[test]
fn an_application_that_begins_anew_while_a_change_is_undone_does_not_get_it_again() {
    let mut lane = confirming();
    let step = in_silence(&mut lane, 5);
    offer(&mut lane, 6);
    lane.confirmed(5, step.attempt, Err("probe".to_owned()), at(20_000));
    let (step, _) = undoes(&mut lane, at(20_000));
    lane.application_restarted();
    let undone = settled(lane.poll(at(20_001), true));
    assert_eq!(
        told(&undone),
        (ChangeState::RolledBack, Some("probe; the application began anew without it"))
    );
    lane.stored();
    assert_eq!(lane.poll(at(20_002), true), None, "the way back is still being handed over");
    assert_eq!(lane.undone(5, step.attempt, Err("refused".to_owned()), at(20_003)), None);
    assert_eq!(pushed(&mut lane, at(20_003)).key.revision, 6);
}

#[test]
fn a_change_whose_lease_ends_while_it_is_undone_is_undone_before_the_next_is_handed_over() {
    let mut lane = confirming();
    let step = in_silence(&mut lane, 5);
    offer(&mut lane, 6);
    lane.withdraw(5);
    assert_eq!(lane.poll(at(20_000), true), None);
    lane.confirmed(5, step.attempt, Err("probe".to_owned()), at(20_000));
    let (step, _) = undoes(&mut lane, at(20_000));
    assert_eq!(lane.poll(at(20_001), true), None);
    assert_eq!(
        lane.undone(5, step.attempt, Ok(Undone::Back), at(20_002)).unwrap().status.state,
        ChangeState::RolledBack
    );
    lane.stored();
    assert_eq!(pushed(&mut lane, at(20_003)).key.revision, 6);
}

#[test]
fn undoing_is_repeated_until_the_lease_is_over_and_only_then_is_the_change_a_failure() {
    let mut lane = confirming();
    let step = in_silence(&mut lane, 5);
    lane.confirmed(5, step.attempt, Err("probe".to_owned()), at(20_000));
    let (mut now, mut tries, mut asked) = (20_000, 0, 0);
    let end = loop {
        match lane.poll(at(now), true) {
            Some(Step::Undo(step, _)) => {
                tries += 1;
                assert_eq!(lane.undone(5, step.attempt, Err("refused".to_owned()), at(now)), None);
            }
            // The store was down, and its leases began anew.
            Some(Step::Ask(question)) => {
                asked += 1;
                let left = if asked == 1 { 60 } else { 1 };
                lane.limit(&question, Some(Duration::from_secs(left)), at(now));
            }
            Some(Step::Settled(settled)) => break settled,
            other => {
                assert_eq!(other, None);
                now = woken(&lane);
            }
        }
    };
    assert!((15..40).contains(&tries) && now > 200_000, "{tries} times until {now}");
    assert_eq!(told(&end), (ChangeState::Failed, Some("probe; and it could not be undone: refused")));
    assert!(end.in_doubt);
}

#[test]
fn an_application_that_is_well_before_anything_led_back_keeps_the_change() {
    let mut lane = confirming();
    let step = in_silence(&mut lane, 5);
    lane.confirmed(5, step.attempt, Err("probe".to_owned()), at(20_000));
    let (step, _) = undoes(&mut lane, at(20_000));
    let applied = lane.undone(5, step.attempt, Ok(Undone::Well), at(60_000)).unwrap();
    let why = "probe; and nothing led back, but it is well by now";
    assert_eq!(told(&applied), (ChangeState::Applied, Some(why)));
}

#[test]
fn there_is_time_to_look_at_an_application_that_keeps_silent_until_the_lease_is_over() {
    let mut lane = confirming();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    lane.answered(step.attempt, Verdict::Deferred, at(5));
    assert_eq!(lane.poll(at(163_999), true), None);
    assert_eq!(confirms(&mut lane, at(164_000)).deadline, Duration::from_secs(175), "11 s before");
}

#[test]
fn a_word_that_comes_after_silence_was_taken_for_success_still_counts() {
    let mut lane = confirming();
    let step = in_silence(&mut lane, 5);
    offer(&mut lane, 6);
    let failed = lane.result(5, Word::Failure, at(21_000)).unwrap();
    assert_eq!(failed.status.state, ChangeState::Failed);
    lane.stored();
    assert_eq!(lane.poll(at(21_001), true), None, "somebody still looks");
    assert_eq!(lane.confirmed(5, step.attempt, Ok(()), at(22_000)), None);

    let step = pushed(&mut lane, at(22_000));
    lane.answered(step.attempt, Verdict::Accepted(200), at(22_000));
    let step = confirms(&mut lane, at(42_000));
    lane.confirmed(6, step.attempt, Ok(()), at(42_001)).unwrap();
    let corrected = lane.result(6, Word::Failure, at(42_002)).unwrap();
    assert!(corrected.corrects && corrected.status.state == ChangeState::Failed);
}

#[test]
fn a_word_of_success_during_the_look_makes_the_silence_none() {
    let mut lane = confirming();
    let step = in_silence(&mut lane, 5);
    assert_eq!(lane.result(5, Word::Success, at(21_000)), None);
    assert_eq!(lane.result(5, Word::Failure, at(21_001)), None, "the first word is the last one");
    assert_eq!(
        told(&lane.confirmed(5, step.attempt, Ok(()), at(22_000)).unwrap()),
        (ChangeState::Applied, None)
    );
}
