//! The ledger by itself: what is known of a record from its hand-over to the settlement of its delivery.

use super::*;

fn handed_over(seqs: std::ops::Range<u64>) -> (Ledger, u64) {
    let mut ledger = Ledger::default();
    let (call, _) = ledger.enter(7, seqs.start);
    for seq in seqs {
        assert!(!ledger.claim(call, seq));
        ledger.add(call, seq);
    }
    (ledger, call)
}

#[test]
fn a_record_offered_again_is_recognised_until_its_delivery_was_told() {
    let (mut ledger, call) = handed_over(1..4);
    ledger.report(2, None);
    ledger.desert(call);
    let (again, _) = ledger.enter(7, 1);
    assert_eq!((1..5).map(|seq| ledger.claim(again, seq)).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(ledger.open(again), 2);
    ledger.report(1, None);
    ledger.report(3, None);
    assert_eq!(ledger.open(again), 0);
    ledger.leave(again, true);
    assert_eq!((ledger.fate(1), ledger.held()), (None, 0));
}

#[test]
fn what_a_repeated_delivery_does_not_ask_for_is_held_for_nobody() {
    let (mut ledger, call) = handed_over(1..4);
    assert!(!ledger.holds_for_nobody());
    ledger.leave(call, false);
    for (seqs, expected) in [(1..4, false), (1..3, true)] {
        let (again, _) = ledger.enter(7, 1);
        seqs.for_each(|seq| assert!(ledger.claim(again, seq)));
        assert_eq!(ledger.holds_for_nobody(), expected);
        ledger.leave(again, false);
    }
}

#[test]
fn what_was_acknowledged_of_a_delivery_that_was_given_up_is_known() {
    let (mut ledger, call) = handed_over(1..4);
    ledger.report(1, None);
    ledger.report(3, None);
    assert_eq!(ledger.unsettled(), 0, "somebody waits");
    ledger.desert(call);
    assert_eq!(ledger.unsettled(), 2);
    let (again, _) = ledger.enter(7, 1);
    assert!((1..4).all(|seq| ledger.claim(again, seq)));
    ledger.report(2, None);
    ledger.leave(again, true);
    assert_eq!(ledger.unsettled(), 0, "it was told");
}

#[test]
fn what_is_acknowledged_after_its_delivery_was_given_up_is_forgotten_with_the_rest() {
    let (mut ledger, call) = handed_over(1..4);
    ledger.leave(call, false);
    ledger.report(1, None);
    ledger.report(2, Some(RDKafkaErrorCode::PurgeQueue));
    assert_eq!((ledger.forget_untold(), ledger.forget_untold()), (1, 0));
    assert_eq!((ledger.fate(1), ledger.held()), (None, 1));
}

#[test]
fn what_was_told_beside_a_failure_is_settled_with_the_failed_record() {
    let (mut ledger, call) = handed_over(1..4);
    ledger.report(1, Some(RDKafkaErrorCode::InvalidRecord));
    ledger.report(2, None);
    ledger.report(3, None);
    ledger.leave(call, false);
    assert_eq!(ledger.unsettled(), 2, "an end now leaves the engine with all three");
    let (again, _) = ledger.enter(7, 1);
    assert!(!ledger.claim(again, 1));
    ledger.add(again, 1);
    ledger.report(1, None);
    ledger.leave(again, true);
    assert_eq!((ledger.unsettled(), ledger.fate(3)), (0, None));
}

#[test]
fn what_was_told_out_of_turn_is_settled_as_far_as_the_next_delivery() {
    let (mut ledger, first) = handed_over(1..3);
    let calls: Vec<u64> = (3..6)
        .map(|seq| {
            let (call, _) = ledger.enter(7, seq);
            ledger.add(call, seq);
            call
        })
        .collect();
    for seq in [1, 2, 3, 5] {
        ledger.report(seq, None);
    }
    ledger.leave(calls[2], true);
    ledger.leave(calls[0], true);
    assert_eq!(ledger.unsettled(), 2, "those before are still waited for");
    ledger.leave(first, true);
    assert_eq!((ledger.unsettled(), ledger.fate(3)), (1, None), "up to the one that is still waited for");
    ledger.report(4, None);
    ledger.leave(calls[1], true);
    assert_eq!(ledger.unsettled(), 0);
}

#[test]
fn a_failed_record_is_offered_to_the_client_again() {
    let (mut ledger, call) = handed_over(1..3);
    ledger.report(1, Some(RDKafkaErrorCode::PurgeQueue));
    assert_eq!(ledger.fate(1), Some(Fate::Failed(RDKafkaErrorCode::PurgeQueue)));
    assert!(ledger.broken());
    ledger.leave(call, false);
    let (again, _) = ledger.enter(7, 1);
    assert!(!ledger.broken());
    assert!(!ledger.claim(again, 1), "given back");
    ledger.add(again, 1);
    assert!(ledger.claim(again, 2), "still held");
    assert_eq!(ledger.open(again), 2);
}

#[test]
fn the_loss_of_the_client_wakes_everybody() {
    let (mut ledger, first) = handed_over(1..3);
    let (second, _) = ledger.enter(7, 3);
    ledger.add(second, 3);
    assert_eq!(ledger.lose_all(RDKafkaErrorCode::PurgeQueue), 3);
    assert_eq!((ledger.open(first), ledger.open(second), ledger.held()), (0, 0, 0));
}

#[test]
fn what_the_engine_has_gone_past_is_forgotten() {
    let (mut ledger, call) = handed_over(1..3);
    ledger.report(1, None);
    ledger.report(2, None);
    ledger.desert(call);
    let _ = ledger.enter(7, 3);
    assert_eq!(ledger.fate(1), None);
}

#[test]
fn gaps_in_the_numbers_are_no_obstacle() {
    let mut ledger = Ledger::default();
    let (call, _) = ledger.enter(7, 10);
    for seq in [10, 20, 15, 12, 30] {
        ledger.add(call, seq);
    }
    assert!([10, 12, 15, 20, 30].into_iter().all(|seq| ledger.fate(seq) == Some(Fate::Held)));
    assert_eq!(ledger.fate(11), None);
    ledger.retract(15);
    assert_eq!((ledger.fate(15), ledger.open(call)), (None, 4));
}
