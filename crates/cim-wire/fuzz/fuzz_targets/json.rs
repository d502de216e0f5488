//! The string escaper: a JSON reader gets the text back, invalid bytes replaced one by one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut out = Vec::new();
    cim_wire::json::push_string(bytes, &mut out);
    let mut expected = String::new();
    for chunk in bytes.utf8_chunks() {
        expected.push_str(chunk.valid());
        expected.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    let read: String = serde_json::from_slice(&out).expect("a JSON string");
    assert_eq!(read, expected);
    assert!(!out.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0..0x20)));
});
