//! Properties of the text format: what is written is read again, and nothing that is read breaks anything.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use cim_exposition::{Family, Kind, Page, Sample, parse};
use proptest::prelude::*;

/// Ending of the name, labels, value, timestamp.
type Line = (String, BTreeMap<String, String>, f64, Option<i64>);

/// A family that owns its texts.
#[derive(Debug, Clone)]
struct Owned {
    help: String,
    kind: Kind,
    samples: Vec<Line>,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary, Kind::Untyped])
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        any::<u32>().prop_map(f64::from)
    ]
}

/// Help loses blanks at its ends, as in every reader of the format.
fn help() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.trim_matches([' ', '\t']).to_owned())
}

fn family() -> impl Strategy<Value = Owned> {
    let labels = prop::collection::btree_map("[a-z][a-z0-9_]{0,6}", any::<String>(), 0..4);
    let sample = ("(|_bucket|_sum|_count)", labels, value(), any::<Option<i64>>());
    (help(), kind(), prop::collection::vec(sample, 1..6)).prop_map(|(help, kind, samples)| Owned {
        help,
        kind,
        samples,
    })
}

/// Names of families end in a digit, so that none is a part of another.
fn page() -> impl Strategy<Value = BTreeMap<String, Owned>> {
    prop::collection::btree_map("[a-zA-Z_:][a-z:_]{0,6}[0-9]", family(), 0..5)
}

/// The endings that such a family may have.
fn ending(kind: Kind, ending: &str) -> &str {
    match kind {
        Kind::Histogram => ending,
        Kind::Summary if ending != "_bucket" => ending,
        _ => "",
    }
}

fn same(read: &Family<'_>, name: &str, written: &Owned) -> bool {
    let sample = |(read, (end, labels, value, timestamp)): (&Sample<'_>, &Line)| {
        let read_labels: BTreeMap<String, String> =
            read.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        read.name == format!("{name}{}", ending(written.kind, end))
            && read_labels == *labels
            && (read.value == *value || (read.value.is_nan() && value.is_nan()))
            && read.timestamp_ms == *timestamp
    };
    read.name == name
        && read.help == written.help
        && read.kind == written.kind
        && read.samples.len() == written.samples.len()
        && read.samples.iter().zip(&written.samples).all(sample)
}

proptest! {
    #[test]
    fn a_page_that_was_written_is_read_as_what_was_written(families in page()) {
        let mut text = Page::new();
        for (name, family) in &families {
            text.family(name, &family.help, family.kind);
            for (end, labels, value, timestamp) in &family.samples {
                let name = format!("{name}{}", ending(family.kind, end));
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                text.sample(&name, labels, *value, *timestamp);
            }
        }
        let text = text.into_text();
        let read = parse(&text).unwrap();
        prop_assert_eq!(read.len(), families.len());
        for (read, (name, family)) in read.iter().zip(&families) {
            prop_assert!(same(read, name, family), "{:?} is not {:?}: {}", read, family, text);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn a_page_with_a_changed_byte_is_read_or_refused(at in 0usize..120, byte in any::<u8>()) {
        let mut page = b"# HELP a_b \\\\x\n# TYPE a_b histogram\na_b_bucket{le=\"1\",p=\"q\\\"\"} 1 5\na_b_sum 1e5\nx{y=\"z\"} +Inf\n".to_vec();
        if let Some(place) = page.get_mut(at) {
            *place = byte;
        }
        let _ = parse(&String::from_utf8_lossy(&page));
    }
}

#[test]
fn parts_of_histograms_and_summaries_belong_to_their_family() {
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 3\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 2\n\
                s_bucket 1\n# TYPE c counter\nc_count 1\n";
    let families: Vec<_> =
        parse(page).unwrap().iter().map(|family| (family.name.to_owned(), family.samples.len())).collect();
    let expected = [("h", 3), ("s", 2), ("s_bucket", 1), ("c", 0), ("c_count", 1)];
    assert_eq!(families, expected.map(|(name, samples)| (name.to_owned(), samples)));
}

#[test]
fn blanks_comments_and_forms_of_numbers_are_as_the_format_allows() {
    let page = "\n# a comment\n#TYPE x counter\n#\n# TYPE\n\t x { a = \"b\" , c=\"d\", } \t 1e3 -5 \ny NaN\nz{} -inf\nw{a=\"\"} .5";
    let families = parse(page).unwrap();
    let all: Vec<_> = families.iter().flat_map(|family| &family.samples).collect();
    assert_eq!(
        (all[0].name, all[0].labels.len(), all[0].value, all[0].timestamp_ms),
        ("x", 2, 1000.0, Some(-5))
    );
    assert_eq!(families[0].kind, Kind::Untyped, "a comment without a blank is for people");
    assert!(all[1].value.is_nan());
    assert_eq!((all[2].value, all[3].value), (f64::NEG_INFINITY, 0.5));
    assert_eq!(all[3].labels, [("a", Cow::Borrowed(""))]);
}

#[test]
fn escapes_are_undone_and_unknown_ones_stay() {
    let families = parse("# HELP x a\\nb\\\\c\\d\nx{a=\"1\\n2\\\\3\\\"4\\t\"} 1\n").unwrap();
    assert_eq!(families[0].help, "a\nb\\c\\d");
    assert_eq!(families[0].samples[0].labels[0].1, "1\n2\\3\"4\\t");
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    for (page, fault) in [
        ("x", "a name ends with a blank"),
        ("x\"1\" 2", "a name ends with a blank"),
        ("1x 1", "a line begins with the name"),
        ("{a=\"b\"} 1", "a line begins with the name"),
        ("x ", "a name ends with a blank"),
        ("x one", "the value is not a number"),
        ("x{a=\"b\"}", "the value is not a number"),
        ("x 1 2.5", "the timestamp is not"),
        ("x 1 2 3", "something follows"),
        ("x{a=\"b} 1", "a quote is not closed"),
        ("x{a=\"b\\\"} 1", "a quote is not closed"),
        ("x{a=b} 1", "stands in quotes"),
        ("x{a} 1", "needs `=`"),
        ("x{\"a\"} 1", "needs a name"),
        ("x{a=\"b\" c=\"d\"} 1", "are separated by"),
        ("x{a=\"b\",a=\"c\"} 1", "stands there twice"),
        ("x{__name__=\"y\"} 1", "stands there twice"),
        ("x 1 # {a=\"b\"} 2", "the timestamp is not"),
    ] {
        let error = parse(&format!("ok 1\n{page}\n")).unwrap_err();
        assert_eq!(error.line, 2, "{page}");
        assert!(error.fault.contains(fault), "{page}: {error}");
    }
}
