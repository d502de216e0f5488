//! JSON strings as the original wrote them.
//!
//! Owns escaping for output; leaves out objects and reading. Invariant: the output is the inside of a valid JSON
//! string for any bytes, equal to that of Go's `encoding/json` with HTML escaping on.

/// Appends `bytes` as a JSON string, with its quotes.
#[inline]
pub fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(bytes, out);
    out.push(b'"');
}

/// Appends `bytes` as the inside of a JSON string.
///
/// `"` and `\` get a backslash; newline, carriage return and tab their short forms; other control characters,
/// `<`, `>`, `&`, U+2028 and U+2029 become `\u00xx` and `\u202x` in lower case; each byte that is not part of
/// valid UTF-8 becomes `\ufffd`. All else is copied.
pub fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    let mut rest = bytes;
    loop {
        let clean = copied_prefix(rest);
        let Some((head, tail)) = rest.split_at_checked(clean) else { return };
        out.extend_from_slice(head);
        let Some((byte, after)) = tail.split_first() else { return };
        rest = after;
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => match tail.first_chunk::<3>() {
                Some(separator @ ([_, 0x80, 0xa8] | [_, 0x80, 0xa9])) => {
                    let [_, _, last] = separator;
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    rest = tail.get(3..).unwrap_or_default();
                }
                _ => out.extend_from_slice(b"\\ufffd"),
            },
            ascii @ 0..0x80 => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                hex_digit(ascii >> 4),
                hex_digit(ascii & 0xf),
            ]),
            _ => out.extend_from_slice(b"\\ufffd"),
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// How many bytes from the start are copied as they are: up to the first that must be escaped.
fn copied_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(rest) = bytes.get(at..) else { return at };
        let plain = plain_prefix(rest);
        at += plain;
        match rest.get(plain..) {
            Some(tail) if tail.first().is_some_and(|byte| *byte >= 0x80) => match whole_character(tail) {
                0 => return at,
                length => at += length,
            },
            _ => return at,
        }
    }
}

/// Length of the valid character at the start, 0 when it is invalid or a line separator.
fn whole_character(bytes: &[u8]) -> usize {
    let length = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return 0,
    };
    match bytes.get(..length) {
        Some([0xe2, 0x80, 0xa8 | 0xa9]) => 0,
        Some(character) if std::str::from_utf8(character).is_ok() => length,
        _ => 0,
    }
}

/// Bytes looked at in one step: wide enough for the vector unit.
const STEP: usize = 32;

/// How many bytes from the start are ASCII that needs no escape.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (steps, tail) = bytes.as_chunks::<STEP>();
    let mut at = 0;
    for step in steps {
        // Without a branch inside, so that the compiler makes vector code of it.
        if step.iter().fold(false, |found, byte| found | !is_plain(*byte)) {
            return at + step.iter().take_while(|byte| is_plain(**byte)).count();
        }
        at += STEP;
    }
    at + tail.iter().take_while(|byte| is_plain(**byte)).count()
}

#[inline]
const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20)
        & (byte < 0x80)
        & (byte != b'"')
        & (byte != b'\\')
        & (byte != b'<')
        & (byte != b'>')
        & (byte != b'&')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One character at a time, the way the Go encoder is described.
    fn reference(bytes: &[u8]) -> String {
        let mut out = String::new();
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                        out.push_str(&format!("\\u{:04x}", u32::from(character)));
                    }
                    other => out.push(other),
                }
            }
            for _ in chunk.invalid() {
                out.push_str("\\ufffd");
            }
        }
        out
    }

    fn escaped(bytes: &[u8]) -> String {
        let mut out = b"x".to_vec();
        push_escaped(bytes, &mut out);
        assert_eq!(out.remove(0), b'x');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_byte_alone_and_at_every_place_of_a_step() {
        for byte in 0..=u8::MAX {
            for before in [0, 1, 31, 32, 33, 63, 64] {
                let mut bytes = vec![b'a'; before];
                bytes.push(byte);
                bytes.extend_from_slice(&[b'b'; 40]);
                assert_eq!(escaped(&bytes), reference(&bytes), "{byte:#x} after {before}");
            }
        }
    }

    #[test]
    fn known_forms() {
        assert_eq!(escaped(b"\x08\x0c\x00\x7f/"), "\\u0008\\u000c\\u0000\x7f/");
        assert_eq!(
            escaped("\u{2027}\u{2028}\u{2029}\u{202a}\u{fffd}".as_bytes()),
            "\u{2027}\\u2028\\u2029\u{202a}\u{fffd}"
        );
        assert_eq!(escaped(b"\xe2\x80"), "\\ufffd\\ufffd", "one per byte");
        assert_eq!(escaped(b"\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd", "a surrogate");
    }

    proptest! {
        #[test]
        fn equals_the_slow_way(bytes in proptest::collection::vec(
            prop_oneof![4 => 0x20_u8..0x80, 1 => any::<u8>(), 1 => proptest::sample::select(b"\"\\<>&\n\xe2\x80\xa8\xa9\xc3\xf0\x9f\x98".to_vec())], 0..200)) {
            prop_assert_eq!(escaped(&bytes), reference(&bytes));
        }

        #[test]
        fn a_reader_gets_the_text_back(text in any::<String>()) {
            let mut out = Vec::new();
            push_string(text.as_bytes(), &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
