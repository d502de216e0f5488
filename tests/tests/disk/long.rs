//! A disk that fails for longer than memory can hold what comes.

use cim_tests::invariants::first_copies;
use cim_tests::{Daemon, Injection, until};

use crate::{FILES, LOGS_WRITTEN, all_delivered, lines, publish};

/// A budget that a few thousand lines use up.
fn tight() -> String {
    format!(
        "[memory]\nbudget = \"4MiB\"\n[spool]\ndir = \"{{home}}/spool\"\n{}",
        FILES.split_once('\n').unwrap().1
    )
}

/// What the sink has got needs no memory any more, however long the disk fails; what comes afterwards has its number on the disk,
/// where the next process finds it.
#[test]
fn what_is_delivered_while_the_disk_fails_is_not_held_and_nothing_is_shed() {
    let mut daemon = Daemon::start(&tight());
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(fault) = Injection::start(&daemon, "pwrite64", "error=EROFS") else { return };
    for part in 0..20 {
        publish(&mut wire, 100 + part * 500, 100 + (part + 1) * 500);
        until("delivery", || daemon.metric("cim_records_held") < 0.5);
    }
    fault.end();
    publish(&mut wire, 10_100, 10_200);
    all_delivered(&daemon, 10_200);
    until("the level of logs", || daemon.metric(LOGS_WRITTEN) > 0.5);
    let logs = daemon.home().join("logs").display().to_string();
    daemon.edit(&logs, "/proc/stuck");
    daemon.signal("HUP");
    until("the reload", || daemon.stderr().contains("was read again"));
    publish(&mut wire, 10_200, 10_300);
    daemon.edit("/proc/stuck", &logs);
    daemon.kill_and_restart();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    assert_eq!(first_copies(lines(&daemon)), (0..10_300).collect::<Vec<_>>());
}

/// The sink is dead as well: the newest lines are kept, those on the disk too, and each keeps its place when the disk heals.
#[test]
fn records_keep_their_numbers_when_the_disk_heals_after_some_were_shed() {
    let settings = tight().replace("{home}/logs", "/proc/stuck");
    let mut daemon = Daemon::start(&settings);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 4_000);
    let Some(fault) = Injection::start(&daemon, "pwrite64", "error=EROFS") else { return };
    publish(&mut wire, 4_000, 14_000);
    fault.end();
    publish(&mut wire, 14_000, 14_100);
    until("the level of logs", || daemon.metric(LOGS_WRITTEN) > 0.5);
    assert!(daemon.books_balance());
    daemon.edit("/proc/stuck", &daemon.home().join("logs").display().to_string());
    daemon.signal("HUP");
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    let (got, shed) = (
        lines(&daemon),
        daemon.metric("cim_records_dropped_total{route=\"logs\",sink=\"files\",reason=\"shed_oldest\"}"),
    );
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice");
    assert_eq!((got.first(), got.last()), (Some(&0), Some(&14_099)));
    assert!((shed - (14_100 - got.len()) as f64).abs() < 0.5, "{shed} shed, {} arrived", got.len());
    assert!(shed > 1_000.0, "the memory held everything");
    publish(&mut wire, 14_100, 14_200);
    daemon.kill_and_restart();
    let mut wire = daemon.connect();
    publish(&mut wire, 14_200, 14_300);
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    assert_eq!(
        first_copies(lines(&daemon).into_iter().filter(|line| *line >= 14_000)),
        (14_000..14_300).collect::<Vec<_>>()
    );
}
