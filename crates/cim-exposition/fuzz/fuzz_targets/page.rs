//! Any text: reading never panics, and what was read is read again the same when it is written.
#![no_main]

use cim_exposition::{Family, Page, parse};
use libfuzzer_sys::fuzz_target;

fn written(families: &[Family<'_>]) -> String {
    let mut page = Page::new();
    for family in families {
        page.family(family.name, &family.help, family.kind);
        for sample in &family.samples {
            let labels = sample.labels.iter().map(|(name, value)| (*name, value.as_ref()));
            page.sample(sample.name, labels, sample.value, sample.timestamp_ms);
        }
    }
    page.into_text()
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(families) = parse(text) else { return };
    let once = written(&families);
    let again = parse(&once).expect("what was written can be read");
    assert_eq!(written(&again), once);
});
