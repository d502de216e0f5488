//! Documents, patches and files in any order: which document counts, as a rule over all of them.

use super::*;
use cim_core::configuration::patch_between;
use proptest::prelude::*;
use serde_json::json;

/// Documents as the config server has them: objects in objects, and values.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0..4i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!("FILE")),
        Just(json!("")),
    ];
    let leaf = leaf.boxed();
    table(prop_oneof![leaf.clone(), table(leaf)].boxed())
}

fn table(inner: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|table| json!(table)).boxed()
}

fn after(lineage: &Lineage, documents: &[Value]) -> Lineage {
    documents.iter().fold(lineage.clone(), |lineage, document| {
        lineage.patched(&patch_between(lineage.current(), document)).unwrap()
    })
}

proptest! {
    #[test]
    fn a_file_that_has_not_changed_undoes_no_patch(file in document(), documents in prop::collection::vec(document(), 0..5)) {
        let lineage = after(&Lineage::new(file.clone()), &documents);
        prop_assert_eq!(lineage.current(), documents.last().unwrap_or(&file));
        prop_assert_eq!(lineage.seen(file), lineage);
    }

    #[test]
    fn a_file_that_comes_as_far_as_any_document_passed_changes_nothing_in_force(
        file in document(), documents in prop::collection::vec(document(), 1..9), at in any::<prop::sample::Index>(),
    ) {
        let lineage = after(&Lineage::new(file), &documents);
        let caught_up = lineage.seen(at.get(&documents).clone());
        prop_assert_eq!(caught_up.current(), lineage.current());
        // And goes on catching up.
        let whole = caught_up.seen(documents.last().unwrap().clone());
        prop_assert_eq!(whole.current(), lineage.current());
        prop_assert!(!whole.is_patched());
    }

    #[test]
    fn any_other_file_wins(file in document(), documents in prop::collection::vec(document(), 0..5), new in document()) {
        let lineage = after(&Lineage::new(file.clone()), &documents);
        prop_assume!(new != file && !documents.contains(&new));
        let won = lineage.seen(new.clone());
        prop_assert_eq!(won.current(), &new);
        prop_assert!(!won.is_patched());
    }

    #[test]
    fn a_patch_that_arrives_after_the_file_that_holds_it_is_in_force(file in document(), new in document()) {
        let patch = patch_between(&file, &new);
        let lineage = Lineage::new(file).seen(new.clone());
        let patched = lineage.patched(&patch);
        prop_assert_eq!(patched.as_ref().map(Lineage::current), Ok(&new));
    }

    #[test]
    fn a_patch_that_comes_again_after_a_kill_is_in_force_once(file in document(), new in document()) {
        let patch = patch_between(&file, &new);
        let lineage = Lineage::new(file).patched(&patch).unwrap();
        prop_assert_eq!(lineage.patched(&patch), Ok(lineage));
    }

    #[test]
    fn however_many_patches_come_the_file_is_remembered_and_memory_is_bounded(file in document(), count in 20..60i64) {
        let documents: Vec<_> = (10..10 + count).map(|number| json!({ "a": number })).collect();
        let lineage = after(&Lineage::new(file.clone()), &documents);
        prop_assert!(lineage.passed.len() <= PASSED);
        prop_assert_eq!(lineage.seen(file), lineage);
    }
}

#[test]
fn a_patch_that_fits_neither_document_fails_and_says_why() {
    let lineage = Lineage::new(json!({"a": 1})).seen(json!({"a": 2}));
    let failed = lineage.patched(br#"[{"op":"remove","path":"/b"}]"#).unwrap_err();
    assert!(failed.starts_with("operation 0 of the patch, at `/b`, cannot be applied"), "{failed}");
    assert!(lineage.patched(b"nope").is_err());
}

#[test]
fn a_patch_that_changes_nothing_is_in_force() {
    let lineage = Lineage::new(json!({"a": 1}));
    assert_eq!(lineage.patched(b"[]"), Ok(lineage));
}
