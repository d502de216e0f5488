//! The phases as tables: what was recorded of the original, and what it got wrong.

use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rules(grace: u64) -> Rules {
    Rules {
        kind: Kind::Classic,
        grace: s(grace),
        call: ShutdownCall::Always,
        drain: s(5),
        keeping: Keeping::Always,
    }
}

/// When nobody is waited for any more: the call is answered at `answered`, the farewell comes at `farewell`.
fn closes_at(
    mut ending: Ending,
    verdict: Verdict,
    answered: Duration,
    farewell: Option<Duration>,
) -> Duration {
    let (mut now, mut is_answered) = (Duration::ZERO, false);
    loop {
        let until = match ending.step(now) {
            Step::Close => return now,
            Step::Learn(until) | Step::Call(until) | Step::Wait(until) => until,
        };
        let answer = Some(answered).filter(|_| !is_answered);
        let farewell = farewell.filter(|at| *at > now);
        now = [Some(until), answer, farewell].into_iter().flatten().min().unwrap();
        if answer == Some(now) {
            is_answered = true;
            ending.answered(verdict);
        }
        if farewell == Some(now) {
            ending.said_farewell(now);
        }
    }
}

#[test]
fn the_application_is_waited_for_as_it_was_recorded() {
    let leaving = |seconds| Some(Departure::Leaving(s(seconds)));
    let rows = [
        ("200, the pod is not deleted", Some(200), Some(Departure::Staying), None, s(0)),
        ("200, silent, 8 s", Some(200), leaving(8), None, s(5)),
        ("200, ShutdownSuccess after 2 s, 20 s", Some(200), leaving(20), Some(s(2)), s(2) + LAST_FLUSH),
        ("204", Some(204), leaving(20), None, s(0)),
        ("404", Some(404), leaving(20), None, s(0)),
        ("500", Some(500), leaving(20), None, s(0)),
        ("connection closed", None, leaving(20), None, s(0)),
    ];
    for (row, status, departure, farewell, expected) in rows {
        let mut ending = Ending::new(rules(30));
        ending.learned(departure);
        let closed = closes_at(ending, Verdict::of(status), Duration::ZERO, farewell);
        assert_eq!(closed, expected, "{row}");
    }
}

#[test]
fn where_nobody_can_be_asked_the_grace_is_that_of_the_settings() {
    for (grace, expected) in [(0, 0), (3, 0), (4, 1), (8, 5), (30, 27), (300, 297)] {
        let mut ending = Ending::new(rules(grace));
        ending.learned(None);
        let closed = closes_at(ending, Verdict::Accepted, Duration::ZERO, None);
        assert_eq!(closed, s(expected), "{grace}");
    }
}

#[test]
fn a_call_ends_after_ten_seconds_and_before_the_deadline() {
    for (grace, expected) in [(0, 1), (2, 1), (5, 3), (8, 6), (12, 10), (30, 10), (300, 10)] {
        let closed = closes_at(Ending::new(rules(grace)), Verdict::Accepted, s(1000), None);
        assert_eq!(closed, s(expected), "{grace}");
    }
}

#[test]
fn a_farewell_before_the_answer_counts() {
    let closed = closes_at(Ending::new(rules(30)), Verdict::Accepted, s(4), Some(s(1)));
    assert_eq!(closed, s(4));
}

#[test]
fn a_late_answer_shortens_the_wait_and_not_the_share_of_cim() {
    let closed = closes_at(Ending::new(rules(10)), Verdict::Accepted, s(6), None);
    assert_eq!(closed, s(7));
}

#[test]
fn a_native_sidecar_waits_for_nobody() {
    for rules in [Rules { kind: Kind::Native, ..rules(30) }, Rules { call: ShutdownCall::Never, ..rules(30) }]
    {
        let mut ending = Ending::new(rules);
        assert_eq!(ending.step(Duration::ZERO), Step::Learn(s(1)), "how much time there is");
        assert_eq!(ending.step(s(1)), Step::Close);
        ending.learned(Some(Departure::Leaving(s(4))));
        assert_eq!(ending.step(Duration::ZERO), Step::Close);
        assert!(ending.time_for(Phase::Close, Duration::ZERO) <= s(3));
    }
}

#[test]
fn an_application_whose_pod_lives_on_is_left_in_peace_where_that_is_wanted() {
    let mut ending = Ending::new(Rules { call: ShutdownCall::Deleted, ..rules(30) });
    assert_eq!(ending.step(Duration::ZERO), Step::Learn(s(1)));
    let unknown = ending;
    assert_eq!(unknown.step(s(1)), Step::Call(s(10)), "nobody said otherwise");
    ending.learned(Some(Departure::Staying));
    assert_eq!(ending.step(Duration::ZERO), Step::Close);
    ending.learned(Some(Departure::Leaving(s(30))));
    assert_eq!(ending.step(Duration::ZERO), Step::Call(s(10)));
}

#[test]
fn a_second_signal_ends_every_wait() {
    let mut ending = Ending::new(rules(30));
    ending.answered(Verdict::Accepted);
    assert_eq!(ending.step(s(1)), Step::Wait(s(27)));
    ending.hurry(s(1));
    assert_eq!(ending.step(s(1)), Step::Close);
    assert_eq!(ending.time_for(Phase::Drain, s(1)), Duration::ZERO);
    assert_eq!(ending.time_for(Phase::Close, s(1)), MARGIN);
}

#[test]
fn phases_that_use_all_their_time_end_before_the_kill() {
    const ORDER: [Phase; 5] = [Phase::Listener, Phase::Commits, Phase::Drain, Phase::Spill, Phase::Close];
    const KINDS: [(Keeping, u64); 3] = [(Keeping::Nothing, 5), (Keeping::Always, 5), (Keeping::Always, 60)];
    for (grace, (keeping, drain)) in (0..100).flat_map(|grace| KINDS.map(|kind| (grace, kind))) {
        let ending = Ending::new(Rules { drain: s(drain), keeping, ..rules(grace) });
        for wait in 0..=grace.saturating_sub(3) {
            let gone = ORDER.into_iter().fold(s(wait), |now, phase| {
                let time = ending.time_for(phase, now);
                assert!(time > Duration::ZERO, "{phase:?} at {now:?} of {grace}");
                now + time
            });
            assert!(gone <= s(grace.max(3)) - MARGIN, "{grace} {keeping:?} {drain} {wait}: {gone:?}");
        }
    }
}

#[test]
fn without_a_spool_delivery_gets_what_is_left() {
    let whole = s(30 - 1 - 3 - 2);
    let leaving = Some(Departure::Leaving(s(30)));
    let rows = [
        (Keeping::Always, leaving, s(5)),
        (Keeping::Nothing, Some(Departure::Staying), whole),
        (Keeping::WithPod, leaving, whole),
        (Keeping::WithPod, None, whole),
        (Keeping::WithPod, Some(Departure::Staying), s(5)),
    ];
    for (keeping, departure, expected) in rows {
        let mut ending = Ending::new(Rules { keeping, ..rules(30) });
        ending.learned(departure);
        assert_eq!(ending.time_for(Phase::Drain, Duration::ZERO), expected, "{keeping:?} {departure:?}");
        assert_eq!(ending.keeps(), expected != whole, "{keeping:?} {departure:?}");
        ending.stores_nothing();
        assert_eq!(ending.time_for(Phase::Drain, Duration::ZERO), whole, "the disk fails");
    }
}

#[test]
fn the_grace_is_that_of_the_pod_unless_it_is_given() {
    let end = PodEnd { grace: Some(s(45)), sidecars: Vec::new() };
    let grace = |given: Option<u64>, end: Option<&PodEnd>| {
        let grace = given.map(cim_core::settings::Period::seconds);
        Rules::of(&LifecycleSettings { grace, ..LifecycleSettings::default() }, end, Keeping::Always).grace
    };
    assert_eq!(grace(None, None), s(30));
    assert_eq!(grace(None, Some(&end)), s(45));
    assert_eq!(grace(Some(7), Some(&end)), s(7));
}
