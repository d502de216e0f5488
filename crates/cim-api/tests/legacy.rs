//! The text of the metrics with old names equals what was recorded, byte for byte.

use cim_api::{LegacyMetrics, SIZE_BOUNDS, SubjectMetrics};

const RECORDED: &str = include_str!("../../../tests/vectors/metrics.json");

#[test]
fn after_registration_case_is_equal_to_the_byte() {
    let recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
    let case = recorded["cases"]
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["name"].as_str().unwrap().starts_with("after registration"))
        .expect("the recorded case");
    let expected = case["expected"]["own_series_text"].as_str().unwrap().replace("<ms>", "41");

    let subject = |name: &str, messages, bytes, sizes: &[u64], latency_ms| {
        let mut all = [0; SIZE_BOUNDS.len()];
        all[..sizes.len()].copy_from_slice(sizes);
        SubjectMetrics { subject: name.into(), messages, bytes, sizes: all, latency_ms }
    };
    let page = LegacyMetrics {
        pod: "pod-m".into(),
        log_messages: 20,
        log_bytes: 2427,
        last_log_bytes: 83,
        subjects: vec![
            subject("TEST", 1, 2, &[0, 1], None),
            subject("LOG", 13, 2552, &[0, 12, 1], None),
            subject("EVENT", 1, 56, &[0, 1], Some(41)),
            subject("CONFIG", 0, 0, &[], None),
        ],
        ..LegacyMetrics::default()
    };
    // Never moved in the original, and so never seen.
    let total = "# HELP Total_msg_count Total no of log messages received\n# TYPE Total_msg_count counter\n\
                 Total_msg_count{pod=\"pod-m\"} 20\n";
    assert_eq!(page.render(), format!("{total}{expected}"));
}
