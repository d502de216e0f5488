//! The parser as a table of pinned answers, and its two properties: the fast path equals the slow one, and cuts in
//! the stream change nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_nats::parser::{Fault, MAX_CONTROL_LINE, Need, Op, Parser, Step};
use proptest::prelude::*;

const MAX: usize = 1_048_576;

/// Everything a stream says, as text: one entry per frame, then how it ends.
fn story(parser: &mut Parser, chunks: &[&[u8]]) -> Vec<String> {
    let mut out = Vec::new();
    let mut kept: Vec<u8> = Vec::new();
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        loop {
            match parser.next(&kept) {
                Step::Frame { op, used, .. } => {
                    out.push(format!("{op:?}"));
                    kept.drain(..used);
                }
                Step::More(need) => {
                    if let Need::Total(total) = need {
                        assert!(total > kept.len(), "asks for bytes it has");
                    }
                    break;
                }
                Step::Broken(fault) => {
                    out.push(format!("{fault:?}"));
                    return out;
                }
            }
        }
    }
    out.push(format!("+{}", kept.len()));
    out
}

fn whole(input: &[u8]) -> Vec<String> {
    story(&mut Parser::new(MAX), &[input])
}

fn fault(input: &[u8]) -> Option<Fault> {
    let mut parser = Parser::new(MAX);
    let mut rest = input;
    loop {
        match parser.next(rest) {
            Step::Frame { used, .. } => rest = &rest[used..],
            Step::More(_) => return None,
            Step::Broken(fault) => return Some(fault),
        }
    }
}

/// `Ok(n)`: n frames and nothing left. `Err(fault)`: broken. Every line of the table is one conversation.
fn check(input: &[u8], expected: Result<usize, Fault>) {
    let shown = String::from_utf8_lossy(&input[..input.len().min(80)]).into_owned();
    let got = whole(input);
    match expected {
        Ok(frames) => {
            assert_eq!(got.last().map(String::as_str), Some("+0"), "{shown}: {got:?}");
            assert_eq!(got.len() - 1, frames, "{shown}: {got:?}");
        }
        Err(expected) => assert_eq!(fault(input), Some(expected), "{shown}"),
    }
}

#[test]
fn verbs() {
    for (input, expected) in [
        (&b"pub a 1\r\nx\r\n"[..], Ok(1)),
        (b"PuB a 1\r\nx\r\n", Ok(1)),
        (b"PUBX a 1\r\n", Err(Fault::UnknownVerb)),
        (b"PU\r\n", Err(Fault::UnknownVerb)),
        (b"PUB\r\n", Err(Fault::UnknownVerb)),
        (b"\r\n", Err(Fault::UnknownVerb)),
        (b"\n", Err(Fault::UnknownVerb)),
        (b"\r", Err(Fault::UnknownVerb)),
        (b"\0", Err(Fault::UnknownVerb)),
        (b"\xff", Err(Fault::UnknownVerb)),
        (b" PING\r\n", Err(Fault::UnknownVerb)),
        (b"GET / HTTP/1.1\r\n", Err(Fault::UnknownVerb)),
        (b"\x16\x03\x01\x02\x00\x01", Err(Fault::UnknownVerb)),
        (b"MSG a 1 1\r\nx\r\n", Err(Fault::UnknownVerb)),
        (b"HMSG a 1 12 13\r\n", Err(Fault::UnknownVerb)),
        (b"RMSG a\r\n", Err(Fault::UnknownVerb)),
        (b"LS+ a\r\n", Err(Fault::UnknownVerb)),
        (b"RS+ a\r\n", Err(Fault::UnknownVerb)),
        (b"A+ a\r\n", Err(Fault::UnknownVerb)),
        (b"+X\r\n", Err(Fault::UnknownVerb)),
        (b"PINGX\r\n", Err(Fault::UnknownVerb)),
        (b"INFO {}\r\n", Ok(1)),
        (b"+OK\r\n", Ok(1)),
        (b"-ERR 'x'\r\n", Err(Fault::ClientError)),
        (b"PING\r\n", Ok(1)),
        (b"PING\n", Ok(1)),
        (b"PING x\r\n", Ok(1)),
        (b"ping  \r\nPONG\r\n", Ok(2)),
        (b"CONNECT\t{}\r\n", Ok(1)),
    ] {
        check(input, expected);
    }
    assert_eq!(fault(&vec![0xff; 1 << 20]), Some(Fault::UnknownVerb));
}

#[test]
fn arguments() {
    for (input, expected) in [
        (&b"SUB a 1\r\n"[..], Ok(1)),
        (b"SUB\ta\t1\r\n", Ok(1)),
        (b"SUB a  1\r\n", Ok(1)),
        (b"SUB a q 1\r\n", Ok(1)),
        (b"SUB a q r 1\r\n", Err(Fault::Arguments)),
        (b"SUB a\r\n", Err(Fault::Arguments)),
        (b"SUB \r\n", Err(Fault::Arguments)),
        (b"UNSUB\r\n", Err(Fault::UnknownVerb)),
        (b"UNSUB \r\n", Err(Fault::Arguments)),
        (b"UNSUB 1\r\n", Ok(1)),
        (b"UNSUB 1 -1\r\n", Ok(1)),
        (b"UNSUB 1 99999999999999999999999\r\n", Ok(1)),
        (b"UNSUB 1 2 3\r\n", Err(Fault::Arguments)),
        (b"PUB a\r\n", Err(Fault::Arguments)),
        (b"PUB a b c 1\r\n", Err(Fault::Arguments)),
        (b"PUB LOG  1 \r\nx\r\n", Ok(1)),
        (b"PUB a 1\r\r\nx\r\n", Ok(1)),
    ] {
        check(input, expected);
    }
}

#[test]
fn sizes() {
    for (input, expected) in [
        (&b"PUB a -1\r\n"[..], Err(Fault::Arguments)),
        (b"PUB a +1\r\n", Err(Fault::Arguments)),
        (b"PUB a 0x10\r\n", Err(Fault::Arguments)),
        (b"PUB a 1e3\r\n", Err(Fault::Arguments)),
        (b"PUB a 00000005\r\nhello\r\n", Ok(1)),
        (b"PUB a 0000000005\r\nhello\r\n", Ok(1)),
        (b"PUB a 999999999\r\n", Err(Fault::PayloadTooLarge)),
        (b"PUB a 9999999999\r\n", Err(Fault::PayloadTooLarge)),
        (b"PUB a 4294967296\r\n", Err(Fault::PayloadTooLarge)),
        (b"PUB a 18446744073709551616\r\n", Err(Fault::PayloadTooLarge)),
        (b"PUB a 1048577\r\n", Err(Fault::PayloadTooLarge)),
        (b"PUB a 2\r\nabc\r\n", Err(Fault::PayloadEnd)),
        (b"PUB a 4\r\nabc\r\nPING\r\n", Err(Fault::PayloadEnd)),
        (b"PUB a 3\r\nabc\n", Err(Fault::PayloadEnd)),
        (b"PUB a 3\r\nabc\r\r\n", Err(Fault::PayloadEnd)),
        (b"PUB a 3\nabc\r\n", Ok(1)),
        (b"PUB a 0\r\n\r\n", Ok(1)),
        (b"PUB a 0\r\nPING\r\n", Err(Fault::PayloadEnd)),
    ] {
        check(input, expected);
    }
    let mut full = format!("PUB a {MAX}\r\n").into_bytes();
    full.extend(std::iter::repeat_n(b'x', MAX));
    full.extend_from_slice(b"\r\n");
    check(&full, Ok(1));
}

#[test]
fn header_blocks() {
    let many: Vec<u8> = {
        let headers = format!("NATS/1.0\r\n{}\r\n", "a: b\r\n".repeat(10_000));
        format!("HPUB a {0} {0}\r\n{headers}\r\n", headers.len()).into_bytes()
    };
    check(&many, Ok(1));
    for (input, expected) in [
        (&b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n"[..], Ok(1)),
        (b"HPUB a r 12 12\r\nNATS/1.0\r\n\r\n\r\n", Ok(1)),
        (b"HPUB a 22 22\r\nNATS/1.0\r\nA: b\r\n  c\r\n\r\n\r\n", Err(Fault::PayloadEnd)),
        (b"HPUB a 23 23\r\nNATS/1.0\r\nA: b\r\n  c\r\n\r\n\r\n", Ok(1)),
        (b"HPUB a 19 19\r\nNATS/1.0\r\nA: \0\r\n\r\n\r\n", Err(Fault::PayloadEnd)),
        (b"HPUB a 18 18\r\nNATS/1.0\r\nA: \0\r\n\r\n\r\n", Ok(1)),
        (b"HPUB a 13 12\r\n", Err(Fault::Arguments)),
        (b"HPUB a 0 1\r\nx\r\n", Err(Fault::Headers)),
        (b"HPUB a 4 5\r\n\r\n\r\nx\r\n", Err(Fault::Headers)),
        (b"HPUB a 10 11\r\nNATS/1.0\r\nx\r\n", Err(Fault::Headers)),
        (b"HPUB a x 13\r\n", Err(Fault::Arguments)),
        (b"HPUB a 12\r\n", Err(Fault::Arguments)),
        (b"HPUB a 1048577 1048578\r\n", Err(Fault::PayloadTooLarge)),
    ] {
        check(input, expected);
    }
}

#[test]
fn control_line_limit() {
    for (length, expected) in [(4095, Ok(1)), (MAX_CONTROL_LINE, Ok(1)), (4097, Err(Fault::LineTooLong))] {
        let mut line = b"SUB ".to_vec();
        line.resize(length - 2, b'a');
        line.extend_from_slice(b" 1\r\n");
        check(&line, expected);
        let bytes: Vec<&[u8]> = line.chunks(1).collect();
        assert_eq!(story(&mut Parser::new(MAX), &bytes), whole(&line), "{length} byte by byte");
    }
    let mut endless = b"PUB ".to_vec();
    endless.resize(1 << 20, b'a');
    check(&endless, Err(Fault::LineTooLong));
    let blanks = [&b"PUB a"[..], &b" \t".repeat(5_000), b"1\r\nx\r\n"].concat();
    check(&blanks, Err(Fault::LineTooLong));
    let fits = [&b"PUB a"[..], &b" \t".repeat(2_000), b"1\r\nx\r\n"].concat();
    check(&fits, Ok(1));
}

#[test]
fn only_connect_before_credentials() {
    for (input, expected) in [
        (&b"PING\r\n"[..], Some(Fault::Unauthenticated)),
        (b"PUB a 1000000\r\n", Some(Fault::Unauthenticated)),
        (b"-ERR x\r\n", Some(Fault::Unauthenticated)),
        (b"PUB a", Some(Fault::Unauthenticated)),
        (b"GET /", Some(Fault::UnknownVerb)),
        (b"CONNECT {}", None),
    ] {
        let mut parser = Parser::new(MAX);
        parser.set_connect_only(true);
        let got = match parser.next(input) {
            Step::Broken(fault) => Some(fault),
            _ => None,
        };
        assert_eq!(got, expected, "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn the_same_subject_is_recognised() {
    let mut parser = Parser::new(MAX);
    let mut seen = Vec::new();
    let mut rest =
        &b"PUB LOG 1\r\nx\r\nPUB LOG 1\r\ny\r\nPUB LOG r 1\r\nz\r\nPUB b 0\r\n\r\nPUB LOG 0\r\n\r\n"[..];
    while let Step::Frame { op: Op::Publish(publish), used, same_subject } = parser.next(rest) {
        seen.push((publish.payload.len(), same_subject));
        rest = &rest[used..];
    }
    assert_eq!(seen, [(1, false), (1, true), (1, true), (0, false), (0, false)]);
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let subject = prop_oneof![Just("LOG"), Just("LOGS"), Just("a"), Just("a.b"), Just("pub")];
    let valid = (subject, 0..40_usize, any::<bool>()).prop_map(|(subject, size, reply)| {
        let mut frame = format!("PUB {subject} {}{size}\r\n", if reply { "r " } else { "" }).into_bytes();
        frame.extend((0..size).map(|i| b"\r\nPUB LOG 1"[i % 11]));
        frame.extend_from_slice(b"\r\n");
        frame
    });
    prop_oneof![
        8 => valid,
        1 => Just(b"PING\r\n".to_vec()),
        1 => Just(b"SUB a.> q 1\r\n".to_vec()),
        1 => Just(b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n".to_vec()),
        1 => "[PUBLOG 0-9\r\n]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    #[test]
    fn fast_equals_slow_at_every_split(
        frames in prop::collection::vec(frame(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let stream = frames.concat();
        let expected = story(&mut Parser::slow_only(MAX), &[&stream]);
        prop_assert_eq!(&story(&mut Parser::new(MAX), &[&stream]), &expected);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.push(0);
        at.push(stream.len());
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&story(&mut Parser::new(MAX), &pieces), &expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&story(&mut Parser::new(MAX), &bytes), &expected);
    }
}
