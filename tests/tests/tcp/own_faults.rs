//! What happens to the program itself, or is decided by it, in front of receivers that are well: kills, a new address, a fallback.

use cim_bench::server::free_port;
use cim_tests::invariants::first_copies;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, Mount, PATIENCE, until};

use crate::peers::sockets::{Manner, Sockets};
use crate::{EVENT, LOG, RECORD, assert_repeats, drained, publish, publish_both, status_says, tcp, vigil};

/// Most records that may be on their way to a receiver of lines: four batches, by their bytes (`WINDOW` and `BATCH` of the sink).
const WINDOW: usize = 4 * (512 << 10) / RECORD;

/// What the kernel has of a killed process it still sends, so that a kill costs nothing; the last batches come again.
#[test]
fn kills_of_the_program_under_load_cost_no_record() {
    const KILLS: usize = 5;
    // More than a window: what should not come again is there to come again.
    const STEP: usize = WINDOW + 2_000;
    let sockets = Sockets::listen(free_port().unwrap(), Manner::Reads);
    let mut daemon = Daemon::start(&tcp(&format!("address = \"{}\"", sockets.address)));
    let vigil = vigil(&daemon);
    for number in 0..KILLS {
        publish_both(&mut daemon.connect(), number * STEP..(number + 1) * STEP);
        vigil.kill_and_restart(&mut daemon);
    }
    publish_both(&mut daemon.connect(), KILLS * STEP..(KILLS + 1) * STEP);
    drained(&daemon);
    let lines = (KILLS + 1) * STEP;
    sockets.await_both(lines);
    Capture::of(&sockets.captures(daemon.home())).assert_both(&["unmarked_duplicates", "torn"], lines);
    for kind in [LOG, EVENT] {
        assert_repeats(&sockets.numbers(kind), KILLS, WINDOW);
    }
    vigil.assert_held(&daemon, PATIENCE);
}

/// The receiver is gone for good, and the settings name another one: the backlog goes there, in order, once.
#[test]
fn the_backlog_of_a_dead_receiver_goes_to_the_one_that_a_reload_names() {
    let (dead, sockets) = (free_port().unwrap(), Sockets::listen(free_port().unwrap(), Manner::Reads));
    let daemon = Daemon::start(&tcp(&format!("address = \"{dead}\"")));
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    publish_both(&mut wire, 0..3_000);
    status_says(&daemon, "Connection refused");
    daemon.edit(&dead.to_string(), &sockets.address.to_string());
    daemon.signal("HUP");
    publish_both(&mut wire, 3_000..4_000);
    drained(&daemon);
    sockets.await_both(4_000);
    assert_eq!(sockets.lines(), (0..4_000).collect::<Vec<_>>());
    Capture::of(&sockets.captures(daemon.home())).assert_both(&[], 4_000);
    vigil.assert_held(&daemon, PATIENCE);
}

/// Files take over after a time and give back: each line is at one place, and each place has its lines in order.
#[test]
fn a_fallback_takes_what_a_dead_receiver_does_not_and_gives_back() {
    let address = free_port().unwrap();
    let route =
        "sink = \"agent\"\nfallback = \"disk\"\nfallback_after = \"300ms\"\nfallback_mode = \"final\"\n";
    let daemon = Daemon::start(&format!(
        "spool.dir = \"{{home}}/spool\"\n[routes.logs]\n{route}[routes.events]\nsink = \"disk\"\n\
         [sinks.agent]\ntype = \"tcp\"\naddress = \"{address}\"\n[sinks.disk]\ntype = \"file\"\ndir = \"{{home}}/logs\"\n"
    ));
    let in_files = || {
        daemon.metric("cim_records_delivered_fallback_total{route=\"logs\",sink=\"agent\",fallback=\"disk\"}")
    };
    let vigil = vigil(&daemon).with(2, 0);
    let mut wire = daemon.connect();
    publish(&mut wire, 0..1_000);
    until("the files", || in_files() > 999.5);
    status_says(&daemon, "\"state\": \"fallback\"");
    let sockets = Sockets::listen(address, Manner::Reads);
    // Without probes it is a record that finds out.
    let mut lines = 1_000;
    until("the return", || {
        publish(&mut wire, lines..lines + 10);
        lines += 10;
        !sockets.lines().is_empty()
    });
    publish(&mut wire, lines..lines + 1_000);
    drained(&daemon);
    until("the last line", || sockets.lines().last() == Some(&(lines + 999)));
    let first = in_files() as usize;
    assert_eq!(sockets.lines(), (first..lines + 1_000).collect::<Vec<_>>(), "{first} are in the files");
    vigil.assert_held(&daemon, PATIENCE);
}

/// Log files of the original reach a receiver that comes late, through a kill, and are removed only then.
#[test]
fn log_files_of_an_earlier_sidecar_reach_a_receiver_that_comes_late() {
    const LINES: usize = 3_000;
    let home = tempfile::tempdir().unwrap();
    let left = home.path().join("left");
    std::fs::create_dir(&left).unwrap();
    let line = |number: usize| format!("cimb1:{:016x}{:016x} left behind\n", 1, number + 1);
    let older = left.join("pod-1_ns1_app-cid1-2023-11-14T22-13-20.000.log_bkp");
    let newer = left.join("pod-1_ns1_app-cid1.log");
    std::fs::write(&older, (0..LINES / 2).map(line).collect::<String>()).unwrap();
    std::fs::write(&newer, (LINES / 2..LINES).map(line).collect::<String>()).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options().append(true).open(&older).unwrap().set_modified(long_ago).unwrap();
    let address = free_port().unwrap();
    let settings = format!("leftovers.dir = \"{{home}}/left\"\n{}", tcp(&format!("address = \"{address}\"")));
    let mut daemon = Daemon::start_in(home, &settings, Daemon::spawn);
    let vigil = vigil(&daemon);
    until("the lines", || daemon.metric("cim_records_held{route=\"logs\"") > LINES as f64 - 0.5);
    vigil.kill_and_restart(&mut daemon);
    publish(&mut daemon.connect(), LINES..LINES + 100);
    status_says(&daemon, "Connection refused");
    let waiting = || daemon.metric("cim_leftover_files");
    assert!(waiting() > 1.5, "{} files wait", waiting());
    let sockets = Sockets::listen(address, Manner::Reads);
    drained(&daemon);
    until("the last line", || sockets.lines().last() == Some(&(LINES + 99)));
    assert_eq!(first_copies(sockets.lines()), (0..LINES + 100).collect::<Vec<_>>());
    until("the files to be removed", || waiting() < 0.5);
    // But the mark that they were taken.
    assert_eq!(walk(&left), [left.join(".cim-leftovers/ns1_pod-1/.taken")]);
    vigil.assert_held(&daemon, PATIENCE);
}

/// Every file below a folder.
fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The disk fills while the receiver is dead: the oldest lines are shed and counted, and the rest arrives in order.
#[test]
fn a_disk_that_fills_while_the_receiver_is_dead_sheds_and_counts() {
    const LINES: usize = 60_000;
    const BATCH: usize = 8_192;
    let home = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(&home.path().join("spool"), "size=8m") else { return };
    let address = free_port().unwrap();
    let daemon = Daemon::start_in(home, &tcp(&format!("address = \"{address}\"")), Daemon::spawn);
    let vigil = vigil(&daemon);
    publish(&mut daemon.connect(), 0..LINES);
    let dropped = || daemon.metric("cim_records_dropped_total{route=\"logs\"") as usize;
    assert!(dropped() > 10_000, "the disk was not full: {} lines shed", dropped());
    let sockets = Sockets::listen(address, Manner::Reads);
    until("the last line", || sockets.lines().last() == Some(&(LINES - 1)));
    until("the books", || daemon.metric("cim_records_held{route=\"logs\"") < 0.5);
    let arrived = sockets.lines();
    assert!(arrived.is_sorted_by(|one, next| one < next), "out of order, or twice");
    // A batch was with the sink when its lines were given up: it may have arrived all the same.
    let all_the_same =
        dropped().checked_sub(LINES - arrived.len()).expect("more are missing than were counted");
    assert!(all_the_same <= BATCH, "{all_the_same} lines arrived that were counted as shed");
    vigil.assert_held(&daemon, PATIENCE);
}
