//! Control lines: where they end, which verb they carry, how their arguments are split.
//!
//! Owns the table of verbs. Leaves out what each verb's arguments mean. Invariant: an incomplete line is refused as
//! soon as no completion could make it valid, with the fault that the complete line would get.

use super::Fault;
use memchr::memchr;

/// Longest control line in bytes, without its CR LF.
pub const MAX_CONTROL_LINE: usize = 4096;

/// What a client may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Connect,
    Ping,
    Pong,
    Publish,
    PublishWithHeaders,
    Subscribe,
    Unsubscribe,
    Info,
    Okay,
    Error,
}

/// What must follow a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// A blank, then arguments.
    Arguments,
    /// A blank or the end of the line; the rest is ignored.
    Anything,
}

const VERBS: [(&[u8], Verb, Tail); 10] = [
    (b"PUB", Verb::Publish, Tail::Arguments),
    (b"HPUB", Verb::PublishWithHeaders, Tail::Arguments),
    (b"PING", Verb::Ping, Tail::Anything),
    (b"PONG", Verb::Pong, Tail::Anything),
    (b"SUB", Verb::Subscribe, Tail::Arguments),
    (b"UNSUB", Verb::Unsubscribe, Tail::Arguments),
    (b"CONNECT", Verb::Connect, Tail::Arguments),
    (b"+OK", Verb::Okay, Tail::Anything),
    (b"-ERR", Verb::Error, Tail::Anything),
    (b"INFO", Verb::Info, Tail::Anything),
];

/// A control line found in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Complete: verb, everything after it (without the line end), bytes up to and including LF.
    Complete(Verb, &'a [u8], usize),
    /// Not complete, and nothing wrong with it so far; the verb once it can be told.
    Partial(Option<Verb>),
}

/// Finds the control line at the start of `input`.
pub(super) fn find(input: &[u8]) -> Result<Line<'_>, Fault> {
    let verb = verb(input)?;
    let window = input.get(..MAX_CONTROL_LINE + 2).unwrap_or(input);
    let Some(end) = memchr(b'\n', window) else {
        return if input.len() > MAX_CONTROL_LINE + 1 {
            Err(Fault::LineTooLong)
        } else {
            Ok(Line::Partial(verb.map(|(verb, _)| verb)))
        };
    };
    let line = input.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_CONTROL_LINE {
        return Err(Fault::LineTooLong);
    }
    match verb {
        Some((verb, length)) => Ok(Line::Complete(verb, line.get(length..).unwrap_or_default(), end + 1)),
        None => Err(Fault::UnknownVerb),
    }
}

/// The verb at the start of `input` and its length, `None` while more bytes could still make one.
fn verb(input: &[u8]) -> Result<Option<(Verb, usize)>, Fault> {
    let mut possible = false;
    for (name, verb, tail) in VERBS {
        let shared = name.len().min(input.len());
        let matches = input.iter().zip(name).all(|(byte, letter)| byte.to_ascii_uppercase() == *letter);
        if !matches {
            continue;
        }
        match input.get(shared) {
            Some(next) if shared == name.len() => {
                let ends = match tail {
                    Tail::Arguments => is_blank(*next),
                    Tail::Anything => is_blank(*next) || matches!(*next, b'\r' | b'\n'),
                };
                if ends {
                    return Ok(Some((verb, name.len())));
                }
            }
            _ => possible = true,
        }
    }
    if possible { Ok(None) } else { Err(Fault::UnknownVerb) }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// At most `N` arguments; blanks, tabs and stray CRs separate.
///
/// # Errors
/// [`Fault::Arguments`] for more than `N`.
pub(super) fn arguments<const N: usize>(rest: &[u8]) -> Result<([&[u8]; N], usize), Fault> {
    let mut found: [&[u8]; N] = [&[]; N];
    let mut count = 0;
    for argument in rest.split(|byte| is_blank(*byte) || *byte == b'\r').filter(|part| !part.is_empty()) {
        let slot = found.get_mut(count).ok_or(Fault::Arguments)?;
        *slot = argument;
        count += 1;
    }
    Ok((found, count))
}

/// A decimal number of digits only; numbers above `u64` saturate (they are above every limit anyway).
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |value, digit| {
        value.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
    }))
}
