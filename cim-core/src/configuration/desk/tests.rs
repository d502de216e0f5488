//! What the desk makes of keys, updates and results, and what the config server is told.

use super::super::change::Word;
use super::*;
use crate::contract::{ChangeState, Commit, Lease};
use std::sync::Arc;

fn at(ms: u64) -> Now {
    Now { mono: Duration::from_millis(ms), wall_ms: ms }
}

fn identity() -> Identity {
    Identity {
        namespace: "ns".to_owned(),
        pod: "p".to_owned(),
        microservice: "svc".to_owned(),
        version: "v0".to_owned(),
        ..Identity::default()
    }
}

fn desk() -> Desk {
    let mut desk = Desk::new(identity(), Rules::default(), OnFailure::Report, BTreeMap::new());
    desk.application_ready(false);
    desk
}

fn entry(key: &str, revision: u64) -> ConfigEntry {
    ConfigEntry {
        key: key.as_bytes().to_vec(),
        value: Arc::from(&b"[]"[..]),
        revision: crate::Revision(revision),
        lease: Some(Lease(7)),
    }
}

fn put(desk: &mut Desk, key: &str) -> News {
    update(desk, ConfigUpdate::Put(entry(key, 1)), at(0))
}

/// An update, and the answer that nothing is known of earlier runs.
fn update(desk: &mut Desk, update: ConfigUpdate, now: Now) -> News {
    let news = desk.update(update, now);
    for document in &news.documents {
        desk.know(document, None);
    }
    news
}

fn pushes(desk: &mut Desk) -> Vec<String> {
    std::iter::from_fn(|| desk.poll(at(0)))
        .map(|step| match step {
            Step::Push(step) => step.key.text,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn documents_do_not_wait_for_each_other() {
    let mut desk = desk();
    for key in [
        "change-set/ns/svc/v0/ms/a.json/7",
        "change-set/ns/svc/v0/ms/a.json/9",
        "change-set/ns/svc/v0/nf/a.json/7",
    ] {
        let news = put(&mut desk, key);
        assert_eq!(news.leases.len(), 1);
    }
    assert_eq!(pushes(&mut desk), ["change-set/ns/svc/v0/ms/a.json/7", "change-set/ns/svc/v0/nf/a.json/7"]);
}

#[test]
fn foreign_and_malformed_keys_are_counted_and_left_alone() {
    let mut desk = desk();
    for key in ["change-set/ns/svcgw/v0/ms/cim.json/7", "change-set/ns/svc/v9/ms/cim.json/7"] {
        put(&mut desk, key);
    }
    for key in ["change-set/ns/svc/v0/x", "change-set/ns/svc/v0/ms/a.json/r1", "change-set//"] {
        put(&mut desk, key);
    }
    desk.update(
        ConfigUpdate::Delete { key: b"change-set/ns/svc/x".to_vec(), revision: crate::Revision(2) },
        at(0),
    );
    assert_eq!((desk.counts().foreign_keys, desk.counts().malformed_keys), (2, 3));
    assert!(pushes(&mut desk).is_empty());
}

#[test]
fn a_relisted_store_brings_what_is_new_and_takes_what_is_gone() {
    let mut desk = desk();
    put(&mut desk, "change-set/ns/svc/v0/ms/a.json/7");
    put(&mut desk, "change-set/ns/svc/v0/ms/b.json/8");
    assert_eq!(pushes(&mut desk).len(), 2);
    let entries =
        vec![entry("change-set/ns/svc/v0/ms/b.json/8", 1), entry("change-set/ns/svc/v0/ms/c.json/9", 3)];
    update(&mut desk, ConfigUpdate::Reset { revision: crate::Revision(9), entries }, at(1));
    let mut steps: Vec<_> = std::iter::from_fn(|| desk.poll(at(1))).collect();
    steps.sort_by_key(|step| matches!(step, Step::Push(_)));
    assert!(matches!(&steps[0], Step::Settled(gone) if gone.status.state == ChangeState::Expired));
    assert!(matches!(&steps[1], Step::Push(step) if step.key.revision == 9));
    assert_eq!(steps.len(), 2);
}

#[test]
fn only_keys_that_were_handed_over_can_have_results() {
    let mut desk = desk();
    put(&mut desk, "change-set/ns/svc/v0/ms/a.json/7");
    pushes(&mut desk);
    for (key, revision) in [
        ("change-set/other/any/v7/ms/z.json/5", None),
        ("change-set/ns/svc/v9/ms/a.json/7", None),
        ("a/b/c/d/e", None),
        ("", None),
        ("change-set/ns/svc/v0/ms/z.json/5", None),
        ("change-set/ns/svc/v0/ms/a.json/7", Some(8)),
        ("config/ns/svc/0", None),
    ] {
        assert!(desk.result(key, revision, Word::Success, at(1)).is_err(), "{key}");
    }
    assert_eq!(desk.result("change-set/ns/svc/v0/ms/a.json/8", None, Word::Success, at(1)), Ok(None));
    let settled =
        desk.result("change-set/ns/svc/v0/ms/a.json/7", Some(7), Word::Success, at(1)).unwrap().unwrap();
    let commit = desk.outcome(&settled).commit.unwrap();
    assert_eq!((commit.key.as_str(), commit.value), ("commit-config/ns/svc/v0/ms/p", 7));
}

#[test]
fn the_config_server_is_told_what_the_contract_says() {
    for (word, on_failure, value) in [
        (Word::Success, OnFailure::Report, 7),
        (Word::Unused, OnFailure::Report, -2),
        (Word::Failure, OnFailure::Report, -1),
        (Word::Failure, OnFailure::Tolerate, -2),
    ] {
        let mut desk = Desk::new(identity(), Rules::default(), on_failure, BTreeMap::new());
        desk.application_ready(false);
        put(&mut desk, "change-set/ns/svc/v0/nf/a.json/7");
        pushes(&mut desk);
        let settled = desk.result("change-set/ns/svc/v0/nf/a.json/7", None, word, at(1)).unwrap().unwrap();
        let outcome = desk.outcome(&settled);
        assert_eq!(outcome.commit, Some(Commit { key: "commit-config/ns/svc/v0/nf/p".to_owned(), value }));
        assert_eq!(outcome.status.unwrap().0, "cim-status/ns/svc/p/a.json");
    }
}

#[test]
fn cims_own_document_has_its_own_key_where_it_has_its_own_map() {
    for (own_map, key) in
        [(false, "commit-config/ns/svc/v0/ms/p"), (true, "commit-config/ns/svc/v0/ms/cim/p")]
    {
        let mut desk = Desk::new(identity(), Rules::default(), OnFailure::Report, BTreeMap::new());
        desk.set_own_map(own_map);
        put(&mut desk, "change-set/ns/svc/v0/ms/cim.json/7");
        let Some(Step::Push(step)) = desk.poll(at(0)) else { panic!("CIM itself is always ready") };
        let settled = desk.own_changed(&step, Word::Success, at(1)).unwrap();
        assert_eq!(desk.outcome(&settled).commit.unwrap().key, key);
    }
}

#[test]
fn the_application_has_no_say_in_cims_own_document() {
    let mut desk = desk();
    put(&mut desk, "change-set/ns/svc/v0/ms/cim.json/7");
    assert_eq!(desk.poll(at(0)), None, "where its result goes is not known yet");
    desk.set_own_map(false);
    let Some(Step::Push(step)) = desk.poll(at(0)) else { panic!("a step") };
    assert!(desk.result(&step.key.text, None, Word::Failure, at(1)).is_err());
    assert!(desk.own_changed(&step, Word::Success, at(1)).is_some());
}

#[test]
fn what_earlier_runs_settled_is_not_handed_over_again() {
    let document = DocumentId { level: super::super::key::MapLevel::Ms, data_key: "a.json".to_owned() };
    let remembered = BTreeMap::from([(document, (7, None))]);
    let mut desk = Desk::new(identity(), Rules::default(), OnFailure::Report, remembered);
    desk.application_ready(false);
    desk.already_committed("commit-config/ns/svc/v0/ms/p".to_owned(), 9);
    for key in ["a.json/7", "a.json/8", "b.json/6", "b.json/9"] {
        put(&mut desk, &format!("change-set/ns/svc/v0/ms/{key}"));
    }
    assert_eq!(
        pushes(&mut desk),
        ["change-set/ns/svc/v0/ms/a.json/8"],
        "b.json/9 is committed, and 6 lies before it"
    );
}

#[test]
fn ten_thousand_documents_are_handed_over_without_looking_at_all_of_them_each_time() {
    let mut desk = desk();
    let entries = (0..10_000).map(|n| entry(&format!("change-set/ns/svc/v0/ms/d{n}.json/1"), n)).collect();
    update(&mut desk, ConfigUpdate::Reset { revision: crate::Revision(1), entries }, at(0));
    assert_eq!(pushes(&mut desk).len(), 10_000);
    for n in 0..10_000 {
        let key = format!("change-set/ns/svc/v0/ms/d{n}.json/1");
        assert!(desk.result(&key, None, Word::Success, at(1)).unwrap().is_some());
        assert_eq!(desk.poll(at(1)), None);
    }
}

#[test]
fn a_document_is_called_for_beside_its_lane_only_while_no_change_of_it_is_at_work() {
    let mut desk = desk();
    assert!(desk.hold("cim.json").is_err(), "it is not the application's");
    let unheard = desk.hold("app.json").unwrap();
    assert_eq!(unheard.level, MapLevel::Ms);
    put(&mut desk, "change-set/ns/svc/v0/nf/app.json/1");
    let document = desk.hold("app.json").unwrap();
    assert_eq!(document.level, MapLevel::Nf);
    assert!(pushes(&mut desk).is_empty(), "it is held");
    desk.stored(&document);
    assert_eq!(pushes(&mut desk).len(), 1);
    assert!(desk.hold("app.json").unwrap_err().contains("`nf/app.json` is at work"));
}
