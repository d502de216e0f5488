//! Configuration from a real etcd of three members while everything around it fails: every change arrives, in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use cim_services::Etcd;
use cim_tests::application::{Application, Manners};
use cim_tests::{Daemon, has_time, until};

const DOCUMENTS: [&str; 4] = ["a.json", "b.json", "c.json", "d.json"];

fn settings(etcd: &Etcd, app: &Application) -> String {
    let endpoints: Vec<_> = etcd.endpoints().iter().map(|endpoint| format!("{endpoint:?}")).collect();
    format!(
        "{}[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"etcd\"\netcd.endpoints = [{}]\n\
         [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n",
        app.setting(),
        endpoints.join(", ")
    )
}

/// Writes the changes of these revisions under one lease, in one transaction.
fn change(etcd: &Etcd, revisions: std::ops::Range<i32>) {
    let lease = etcd.etcdctl(&["lease", "grant", "180"]);
    let lease = lease.split(' ').nth(1).unwrap().to_owned();
    let mut text = String::from("\n");
    for revision in revisions {
        let document = DOCUMENTS[usize::try_from(revision).unwrap() % DOCUMENTS.len()];
        text.push_str(&format!("put --lease={lease} change-set/ns1/svc/v1/ms/{document}/{revision} '[]'\n"));
    }
    text.push_str("\n\n");
    let mut child = etcd.command().arg("txn").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What a seed does next.
fn fault(etcd: &Etcd, daemon: &mut Daemon, number: usize) {
    let follower = (etcd.leader() + 1) % 3;
    match number % 6 {
        0 => {
            etcd.member(etcd.leader()).kill();
            until("another leader", || etcd.members().iter().any(cim_services::etcd::Member::is_leader));
            etcd.members()
                .iter()
                .filter(|member| !member.serves())
                .for_each(cim_services::etcd::Member::restart);
        }
        1 => etcd.move_leader(follower),
        2 => etcd.compact(etcd.revision()),
        3 => daemon.kill_and_restart(),
        4 => {
            etcd.member(follower).kill();
            etcd.member(follower).restart();
        }
        _ => {
            daemon.kill_and_restart();
            etcd.compact(etcd.revision());
        }
    }
}

#[test]
fn every_change_is_handed_over_in_order_through_cuts_compactions_dead_members_and_kills() {
    let (batches, size) = if has_time("10,000 changes") { (200, 50) } else { (8, 20) };
    let Some(etcd) = Etcd::cluster(3) else { return };
    let app = Application::start(Manners::default());
    let mut daemon = Daemon::start(&settings(&etcd, &app));
    app.connect(daemon.nats());
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    for batch in 0..batches {
        change(&etcd, batch * size + 1..(batch + 1) * size + 1);
        if batch % 2 == 1 {
            fault(&etcd, &mut daemon, usize::try_from(batch / 2).unwrap());
        }
    }
    let last = batches * size;
    let all = || app.calls().iter().any(|call| call.member("revision") == last.to_string());
    until("the last change", all);
    until("the last commit", || {
        etcd.get("commit-config/ns1/svc/v1/ms/pod-1").and_then(|text| text.parse::<i32>().ok()) == Some(last)
    });
    let mut by_document = BTreeMap::<String, Vec<i32>>::new();
    for call in app.calls() {
        by_document
            .entry(call.member("data-key"))
            .or_default()
            .push(call.member("revision").parse().unwrap());
    }
    for (document, revisions) in &by_document {
        assert!(revisions.is_sorted(), "{document}: {revisions:?}");
    }
    let mut handed_over: Vec<i32> = by_document.into_values().flatten().collect();
    handed_over.sort_unstable();
    handed_over.dedup();
    assert_eq!(handed_over, (1..=last).collect::<Vec<_>>(), "each of them, and no other");
    assert!(daemon.books_balance());
}

#[test]
fn etcd_may_be_away_at_the_start_and_registration_does_not_wait_for_it() {
    let Some(etcd) = Etcd::single() else { return };
    let app = Application::start(Manners::default());
    etcd.member(0).kill();
    let daemon = Daemon::start(&settings(&etcd, &app));
    app.connect(daemon.nats());
    let asked = std::time::Instant::now();
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    assert!(asked.elapsed() < std::time::Duration::from_secs(2), "{:?}", asked.elapsed());
    until("degraded", || daemon.get("/readyz").unwrap().contains("configuration: degraded: not watching"));
    etcd.member(0).restart();
    change(&etcd, 1..2);
    until("commit", || etcd.get("commit-config/ns1/svc/v1/ms/pod-1").as_deref() == Some("1"));
    until("watching", || daemon.metric("cim_config_watching") > 0.5);
}

#[test]
fn a_store_that_was_set_back_takes_nothing_back_from_the_application() {
    let Some(etcd) = Etcd::single() else { return };
    let app = Application::start(Manners::default());
    let daemon = Daemon::start(&settings(&etcd, &app));
    app.connect(daemon.nats());
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    change(&etcd, 1..5);
    let snapshot = etcd.home().join("snapshot");
    etcd.save(&snapshot);
    change(&etcd, 5..9);
    until("commit", || etcd.get("commit-config/ns1/svc/v1/ms/pod-1").as_deref() == Some("8"));
    etcd.restore(&snapshot, &[]);
    etcd.launch_all();
    change(&etcd, 9..13);
    until("commit after the restore", || {
        etcd.get("commit-config/ns1/svc/v1/ms/pod-1").as_deref() == Some("12")
    });
    let revisions = app.revisions();
    for document in 0..4 {
        let own: Vec<_> = revisions.iter().filter(|revision| **revision % 4 == document).collect();
        assert!(own.is_sorted() && own.len() == 3, "{revisions:?}");
    }
}
