//! JSON strings as the original wrote them.
//!
//! Owns escaping for output; leaves out objects and reading, and which bytes need no escape (`plain`). Invariant: the output is the inside of a valid JSON
//! string for any bytes, equal to that of Go's `encoding/json` with HTML escaping on.

use crate::plain::{MAYBE_SEPARATOR, ascii_prefix, plain_prefix};

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
    // Most text is nothing but plain ASCII, and that needs one pass.
    let (plain, rest) = bytes.split_at_checked(ascii_prefix(bytes)).unwrap_or((bytes, &[]));
    out.extend_from_slice(plain);
    if !rest.is_empty() {
        push_mixed(rest, out);
    }
}

/// Escapes bytes of any kind.
fn push_mixed(bytes: &[u8], out: &mut Vec<u8>) {
    if std::str::from_utf8(bytes).is_ok() {
        return push_valid(bytes, out);
    }
    for chunk in bytes.utf8_chunks() {
        push_valid(chunk.valid().as_bytes(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Escapes bytes that are known to be UTF-8.
fn push_valid(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let (head, tail) = rest.split_at_checked(plain_prefix(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(head);
        let Some((byte, after)) = tail.split_first() else { return };
        rest = after;
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            MAYBE_SEPARATOR => {
                let (character, after) = tail.split_at_checked(3).unwrap_or((tail, &[]));
                match character {
                    [_, 0x80, 0xa8] => out.extend_from_slice(b"\\u2028"),
                    [_, 0x80, 0xa9] => out.extend_from_slice(b"\\u2029"),
                    other => out.extend_from_slice(other),
                }
                rest = after;
            }
            other => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex_digit(other >> 4), hex_digit(other & 0xf)]);
            }
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
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
