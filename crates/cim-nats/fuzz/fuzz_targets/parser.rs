//! Any byte stream: no panic, the fast path equals the slow one, cuts change nothing, no byte is read twice.
#![no_main]

use cim_nats::parser::{Need, Parser, Step};
use libfuzzer_sys::fuzz_target;

/// Small enough that the fuzzer reaches the limit.
const MAX_PAYLOAD: usize = 2_000;

/// Everything the stream says, given in pieces of `piece` bytes.
fn story(mut parser: Parser, stream: &[u8], piece: usize, connect_only: bool) -> Vec<String> {
    parser.set_connect_only(connect_only);
    let mut said = Vec::new();
    let mut start = 0;
    let mut end = 0;
    while end < stream.len() {
        end = (end + piece).min(stream.len());
        loop {
            match parser.next(&stream[start..end]) {
                Step::Frame { op, used, .. } => {
                    assert!(used > 0 && start + used <= end);
                    said.push(format!("{op:?}"));
                    start += used;
                }
                Step::More(Need::Total(total)) => {
                    assert!(total > end - start && total <= MAX_PAYLOAD + 4_096 + 4);
                    break;
                }
                Step::More(Need::Line) => {
                    assert!(end - start <= 4_096 + 1);
                    break;
                }
                Step::Broken(fault) => {
                    said.push(format!("{fault:?}"));
                    return said;
                }
            }
        }
    }
    said.push(format!("{} left", stream.len() - start));
    said
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, stream)) = data.split_first() else { return };
    let connect_only = mode & 0x80 != 0;
    let piece = usize::from(mode & 0x7f) + 1;
    let whole = stream.len().max(1);
    let expected = story(Parser::slow_only(MAX_PAYLOAD), stream, whole, connect_only);
    assert_eq!(story(Parser::new(MAX_PAYLOAD), stream, whole, connect_only), expected);
    assert_eq!(story(Parser::new(MAX_PAYLOAD), stream, piece, connect_only), expected);
    assert_eq!(story(Parser::new(MAX_PAYLOAD), stream, 1, connect_only), expected);
});
