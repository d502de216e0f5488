//! Configuration from a real etcd, of the current and of the oldest version, while everything around it fails: every change
//! arrives, in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "test code: a failed step is the failure"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use cim_testkit::{Behaviour, ChaosProxy, Ending, Flow, Ruling, Seeded};
use cim_tests::pod::Pod;
use cim_tests::{Daemon, has_time, until};

const DOCUMENTS: [&str; 4] = ["a.json", "b.json", "c.json", "d.json"];

/// Time the config server gives a change.
const LEASE: Duration = Duration::from_secs(60);

/// Does the same with a cluster of each version, one after the other.
fn with_each_version(members: usize, test: impl Fn(&Etcd)) {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).members(members).start() else { return };
        println!("etcd {}", version.number());
        test(&etcd);
    }
}

/// Writes the changes of these revisions under one lease, in one transaction.
fn change(etcd: &Etcd, revisions: std::ops::Range<i32>) {
    let lease = lease(etcd);
    let key = |revision: i32| {
        let document = DOCUMENTS[usize::try_from(revision).unwrap() % DOCUMENTS.len()];
        format!("change-set/ns1/svc/v1/ms/{document}/{revision}")
    };
    // Once, although it is tried again where nobody said what became of it.
    let is_new = format!("create(\"{}\") = \"0\"\n", key(revisions.start));
    let puts = revisions.map(|revision| format!("put --lease={lease} {} '[]'\n", key(revision)));
    transaction(etcd, &is_new, &puts.collect::<String>());
}

/// The number of a new lease. Just after a fault a call may fail, and `etcdctl` repeats none that writes.
fn lease(etcd: &Etcd) -> String {
    let mut lease = None;
    until("a lease", || {
        let granted = etcd.command().args(["lease", "grant", &LEASE.as_secs().to_string()]).output().unwrap();
        let text = String::from_utf8(granted.stdout).unwrap();
        lease = text.split(' ').nth(1).filter(|_| granted.status.success()).map(str::to_owned);
        lease.is_some()
    });
    lease.unwrap()
}

/// Does all of it if the condition holds; none of it otherwise. It is tried again where it fails, so the condition must not
/// hold any more once it is done, or doing it twice must be the same.
fn transaction(etcd: &Etcd, condition: &str, steps: &str) {
    until("the transaction", || {
        let mut child =
            etcd.command().arg("txn").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        write!(child.stdin.take().unwrap(), "{condition}\n{steps}\n\n").unwrap();
        child.wait().unwrap().success()
    });
}

/// Where the result of the pod is.
const RESULT: &str = "commit-config/ns1/svc/v1/ms/pod-1";

fn committed(etcd: &Etcd) -> Option<i32> {
    etcd.get(RESULT).map(|text| text.parse().unwrap())
}

/// A cluster of three, a proxy before each member, and the dice.
struct Trouble<'e> {
    etcd: &'e Etcd,
    proxies: Vec<ChaosProxy>,
    dice: Seeded,
}

impl<'e> Trouble<'e> {
    fn new(etcd: &'e Etcd, seed: u64) -> Self {
        let proxies = etcd.members().iter().map(|member| ChaosProxy::start(member.address(), seed).unwrap());
        Self { etcd, proxies: proxies.collect(), dice: Seeded::new(seed) }
    }

    fn endpoints(&self) -> Vec<String> {
        self.proxies.iter().map(|proxy| format!("http://{}", proxy.address())).collect()
    }

    /// The next fault.
    fn strike(&mut self, daemon: &mut Daemon) {
        let leader = self.etcd.leader();
        let follower = (leader + 1 + self.dice.below(2)) % 3;
        match self.dice.below(10) {
            0 => self.restart(leader),
            1 => self.restart(follower),
            2 => self.etcd.move_leader(follower),
            3 => self.etcd.compact(self.etcd.revision()),
            4 => daemon.kill_and_restart(),
            5 => {
                daemon.kill_and_restart();
                self.etcd.compact(self.etcd.revision());
            }
            6 => {
                let ending = [Ending::Reset, Ending::Close][self.dice.below(2)];
                self.proxies.iter().for_each(|proxy| proxy.end_all(ending));
            }
            7 => self.for_a_while(|_| Behaviour::blackhole()),
            8 => self.for_a_while(|dice| {
                let bytes = u64::try_from(dice.below(2_000)).unwrap();
                Behaviour::both(Flow::faithful().cut_after(bytes, Ending::Reset))
            }),
            _ => {
                self.etcd.member(leader).pause();
                self.wait();
                self.etcd.member(leader).resume();
                self.etcd.member(leader).wait_ready();
            }
        }
    }

    fn restart(&self, member: usize) {
        self.etcd.member(member).kill();
        until("another leader", || {
            self.etcd.members().iter().enumerate().any(|(index, other)| index != member && other.is_leader())
        });
        self.etcd.member(member).restart();
    }

    fn for_a_while(&mut self, how: impl Fn(&mut Seeded) -> Behaviour) {
        for proxy in &self.proxies {
            proxy.behave(how(&mut self.dice));
        }
        self.wait();
        self.proxies.iter().for_each(|proxy| proxy.behave(Behaviour::faithful()));
    }

    /// The length of a fault.
    fn wait(&mut self) {
        std::thread::sleep(self.dice.up_to(Duration::from_secs(2)));
    }
}

/// What the config server finds: never a lower result, each one while its change is alive, and one that lets the pod live
/// when the lease has ended (wire contract §4.6).
struct Auditor<'e> {
    etcd: &'e Etcd,
    /// The changes with a lease, the earliest first.
    written: VecDeque<(i32, Instant)>,
    seen: i32,
    audits: usize,
    /// What the store forgot when it was set back: handed over before, or never.
    gone: BTreeSet<i32>,
}

impl<'e> Auditor<'e> {
    fn of(etcd: &'e Etcd) -> Self {
        Self { etcd, written: VecDeque::new(), seen: 0, audits: 0, gone: BTreeSet::new() }
    }

    fn expects(&mut self, revision: i32) {
        self.written.push_back((revision, Instant::now()));
    }

    /// The store is what it was: it knows no change after `last`, its leases begin anew, and it may hold a lower result than
    /// before.
    fn set_back(&mut self, last: i32, written: i32) {
        self.gone.extend(last + 1..=written);
        self.written.retain(|(revision, _)| *revision <= last);
        self.written.iter_mut().for_each(|(_, since)| *since = Instant::now());
        self.seen = 0;
    }

    fn looks(&mut self) {
        let committed = committed(self.etcd);
        if let Some(committed) = committed {
            assert!(committed >= self.seen, "{committed} behind {}", self.seen);
            self.seen = committed;
        }
        while let Some(&(revision, since)) = self.written.front()
            && since.elapsed() >= LEASE
        {
            self.written.pop_front();
            self.audits += 1;
            let text = committed.map(|value| value.to_string());
            match Ruling::at_the_end_of(revision, text.as_deref().map(str::as_bytes)) {
                Ruling::Deleted(death) => panic!("the pod is deleted for {revision}: {death:?}"),
                // Unless a later result is there by now.
                Ruling::Removed => {
                    let is_that = format!("value(\"{RESULT}\") = \"{revision}\"\n");
                    transaction(self.etcd, &is_that, &format!("del {RESULT}\n"));
                }
                Ruling::Nothing | Ruling::Satisfied => {}
            }
        }
    }
}

#[test]
fn every_change_is_handed_over_in_order_through_cuts_compactions_kills_and_a_restored_snapshot() {
    let (batches, size) = if has_time("10,000 changes") { (200, 50) } else { (8, 20) };
    // `CIM_SEED` plays the faults of an earlier run again.
    let seed = std::env::var("CIM_SEED")
        .map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    with_each_version(3, |etcd| {
        let mut auditor = through_everything(etcd, seed, batches, size);
        if batches > 8 {
            cim_services::until("the end of every lease", LEASE * 2, || {
                auditor.looks();
                auditor.written.is_empty()
            });
            println!("{} audits", auditor.audits);
        }
    });
}

fn through_everything(etcd: &Etcd, seed: u64, batches: i32, size: i32) -> Auditor<'_> {
    let mut trouble = Trouble::new(etcd, seed);
    let Pod { mut daemon, app } = Pod::of_etcd(&trouble.endpoints(), "");
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    let mut auditor = Auditor::of(etcd);
    let (saved, snapshot) = (batches / 2, etcd.home().join("snapshot"));
    for batch in 0..batches {
        if batch == saved {
            etcd.save(&snapshot);
        }
        change(etcd, batch * size + 1..(batch + 1) * size + 1);
        auditor.expects((batch + 1) * size);
        if batch == saved + 1 {
            etcd.restore(&snapshot, &[]);
            auditor.set_back(saved * size, (batch + 1) * size);
        }
        if batch % 2 == 1 {
            trouble.strike(&mut daemon);
        }
        auditor.looks();
    }
    let last = batches * size;
    let (written, behind) = (Instant::now(), last - auditor.seen);
    cim_services::until("the last commit", LEASE, || {
        auditor.looks();
        auditor.seen == last
    });
    println!("{last} changes; {behind} were waiting after the last one, for {:?}", written.elapsed());
    // The documents do not wait for each other: that of the last result may be ahead.
    let live: BTreeSet<i32> = (1..=last).filter(|revision| !auditor.gone.contains(revision)).collect();
    cim_services::until("every change", LEASE, || {
        let handed_over: BTreeSet<i32> = app.revisions().into_iter().collect();
        live.is_subset(&handed_over)
    });
    let mut by_document = BTreeMap::<String, Vec<i32>>::new();
    for call in app.calls() {
        by_document
            .entry(call.member("data-key"))
            .or_default()
            .push(call.member("revision").parse().unwrap());
    }
    for (document, revisions) in &by_document {
        assert!(revisions.is_sorted(), "{document}: {revisions:?}\n{}", daemon.stderr());
    }
    assert!(daemon.books_balance());
    auditor
}

#[test]
fn etcd_may_be_away_at_the_start_and_registration_does_not_wait_for_it() {
    with_each_version(1, |etcd| {
        etcd.member(0).kill();
        let pod = Pod::of_etcd(&etcd.endpoints(), "");
        let daemon = &pod.daemon;
        let asked = Instant::now();
        assert!(daemon.register().starts_with("HTTP/1.1 200"));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        until("degraded", || {
            daemon.get("/readyz").unwrap().contains("configuration: degraded: not watching")
        });
        etcd.member(0).restart();
        change(etcd, 1..2);
        until("commit", || committed(etcd) == Some(1));
        until("watching", || daemon.metric("cim_config_watching") > 0.5);
    });
}

#[test]
fn a_store_that_was_set_back_takes_nothing_back_from_the_application() {
    with_each_version(1, |etcd| {
        let pod = Pod::of_etcd(&etcd.endpoints(), "");
        pod.register();
        change(etcd, 1..5);
        let snapshot = etcd.home().join("snapshot");
        etcd.save(&snapshot);
        change(etcd, 5..9);
        until("commit", || committed(etcd) == Some(8));
        etcd.restore(&snapshot, &[]);
        // The config server may wait for the result of a change that the snapshot still has.
        until("the last commit again", || committed(etcd) == Some(8));
        change(etcd, 9..13);
        until("commit after the restore", || committed(etcd) == Some(12));
        // The documents do not wait for each other: that of the last result may be ahead.
        let mut revisions = Vec::new();
        until("every change", || {
            revisions = pod.app.revisions();
            (1..13).all(|revision| revisions.contains(&revision))
        });
        for document in 0..4 {
            let own: Vec<_> = revisions.iter().filter(|revision| **revision % 4 == document).collect();
            assert!(own.is_sorted() && own.len() == 3, "{revisions:?}");
        }
    });
}

#[test]
fn an_etcd_that_answers_slowly_costs_time_and_no_change() {
    with_each_version(1, |etcd| {
        let proxy = ChaosProxy::start(etcd.member(0).address(), 1).unwrap();
        let (delay, jitter) = (Duration::from_millis(300), Duration::from_millis(200));
        proxy.behave(Behaviour::both(Flow::faithful().delay(delay).jitter(jitter)));
        let pod = Pod::of_etcd(&[format!("http://{}", proxy.address())], "");
        let daemon = &pod.daemon;
        let asked = Instant::now();
        assert!(daemon.register().starts_with("HTTP/1.1 200"));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        change(etcd, 1..9);
        until("the last commit", || committed(etcd) == Some(8));
        // The documents do not wait for each other: that of the last result may be ahead.
        let handed_over = || pod.app.revisions().into_iter().collect::<BTreeSet<_>>();
        until("every change", || handed_over().len() >= 8);
        assert_eq!(handed_over(), (1..9).collect());
        assert!(daemon.metric("cim_config_watching") > 0.5);
    });
}
