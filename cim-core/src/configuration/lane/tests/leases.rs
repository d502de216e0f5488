//! How long a change has: by its lease, by the store's word about it, or by patience.

use super::*;

#[test]
fn what_seems_to_be_over_is_begun_when_the_store_says_that_it_lasts() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let question = asked(lane.poll(at(400_000), true));
    assert_eq!((lane.poll(at(400_001), true), lane.wake()), (None, None), "asked once");
    lane.limit(&question, Some(Duration::from_secs(100)), at(400_001));
    pushed(&mut lane, at(400_001));
    assert_eq!(lane.deadline(), Some(Duration::from_millis(495_001)));
}

#[test]
fn a_change_behind_a_failing_one_has_a_time_of_its_own() {
    let mut lane = lane();
    for revision in [5, 6] {
        assert!(lane.offer(key(revision), patch(), None, at(0)), "without a lease");
    }
    let step = pushed(&mut lane, at(0));
    lane.answered(step.attempt, refused("the application answered 500"), at(0));
    let first = settled(lane.poll(at(175_000), true));
    assert_eq!((first.key.revision, first.status.state), (5, ChangeState::Failed));
    lane.stored();
    pushed(&mut lane, at(175_001));
    assert_eq!(lane.deadline(), Some(Duration::from_millis(350_001)));
}

#[test]
fn an_application_is_called_on_while_nobody_knows_whether_the_lease_lasts() {
    let mut lane = lane();
    offer(&mut lane, 5);
    let step = pushed(&mut lane, at(0));
    lane.answered(step.attempt, refused("the application answered 500"), at(0));
    let question = asked(lane.poll(at(175_000), true));
    let step = pushed(&mut lane, at(175_000));
    lane.answered(step.attempt, refused("the application answered 500"), at(175_001));
    assert_eq!(pushed(&mut lane, at(190_000)).attempt, step.attempt + 1, "the store does not answer");
    // It was down, and its leases began anew.
    lane.limit(&question, Some(Duration::from_secs(180)), at(190_001));
    assert_eq!(lane.result(5, Word::Success, at(190_002)).unwrap().status.state, ChangeState::Applied);
}

#[test]
fn another_lease_is_asked_for_and_the_answer_about_the_first_counts_for_nothing() {
    let mut lane = lane();
    lane.offer(key(5), patch(), None, at(0));
    let first = lane.lease(5, Lease(1)).unwrap();
    assert_eq!(lane.lease(5, Lease(1)), None);
    let second = lane.lease(5, Lease(2)).unwrap();
    lane.limit(&second, Some(Duration::from_secs(60)), at(0));
    lane.limit(&first, None, at(0));
    pushed(&mut lane, at(0));
    assert_eq!(lane.deadline(), Some(Duration::from_secs(55)));
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
