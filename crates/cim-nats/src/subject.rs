//! Subjects: which are valid to publish on, which to subscribe to, and how they split into tokens.
//!
//! Owns the rules of dots and wildcards. Leaves out matching: see `interest`. Invariant: a valid subject has no empty
//! token and no byte that could end a control line.

/// `a.b`: tokens without wildcards, as a message needs.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    tokens_are_clean(subject) && tokens(subject).all(|token| token != b"*" && token != b">")
}

/// `a.*.>`: what a subscription may ask for; `>` only as the last token.
#[must_use]
pub fn is_pattern(subject: &[u8]) -> bool {
    let mut ended = false;
    tokens_are_clean(subject)
        && tokens(subject).all(|token| {
            let after_end = ended;
            ended = token == b">";
            !after_end
        })
}

/// The parts between the dots.
pub(crate) fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|byte| *byte == b'.')
}

fn tokens_are_clean(subject: &[u8]) -> bool {
    tokens(subject).all(|token| !token.is_empty())
        && !subject.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\0' | 0x0c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_patterns() {
        for (subject, literal, pattern) in [
            ("a", true, true),
            ("a.b", true, true),
            ("a..b", false, false),
            (".a", false, false),
            ("a.", false, false),
            ("", false, false),
            (">", false, true),
            ("*", false, true),
            ("a.*", false, true),
            ("a.>", false, true),
            ("a.>.b", false, false),
            ("a*", true, true),
            ("a.b>", true, true),
            ("_INBOX.>", false, true),
            ("$SYS.REQ.SERVER.PING", true, true),
            ("größe.ü", true, true),
            ("a\0b", false, false),
            ("a b", false, false),
        ] {
            assert_eq!(is_literal(subject.as_bytes()), literal, "{subject:?}");
            assert_eq!(is_pattern(subject.as_bytes()), pattern, "{subject:?}");
        }
        assert!(is_literal(&[0x80, 0xff]), "bytes above ASCII are allowed");
    }
}
