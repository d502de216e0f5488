//! The headers of a record: its number, who numbered it, and the trace it belongs to.
//!
//! Owns names and forms. Left out: when headers are off. Invariant: nothing of a message's own headers but its trace
//! reaches the topic, so an application cannot forge `cim-…`.
//!
//! | header | value |
//! |---|---|
//! | `cim-epoch` | identifies the spool that numbered the record: 16 hexadecimal digits |
//! | `cim-seq` | number of the record, decimal; dense per epoch and class |
//! | `cim-id` | who delivers: `namespace/pod` |

use std::sync::OnceLock;

use cim_core::{Identity, Meta};

use crate::header_list::HeaderList;

/// Headers that carry a trace: W3C trace context and baggage, and both forms of B3.
const TRACE: [&str; 9] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Makes the headers of records of one pod.
#[derive(Debug)]
pub(crate) struct Headers {
    id: String,
    /// The first epoch that was asked for, and its digits: nearly always the only one.
    epoch: OnceLock<(u64, [u8; 16])>,
}

impl Headers {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self { id: format!("{}/{}", identity.namespace, identity.pod), epoch: OnceLock::new() }
    }

    /// The headers of a record that came with that header block.
    pub(crate) fn of(&self, meta: &Meta, received: Option<&[u8]>) -> HeaderList {
        let mut digits = [0; 20];
        let first = self.epoch.get_or_init(|| (meta.epoch, hex(meta.epoch)));
        let epoch = if first.0 == meta.epoch { first.1 } else { hex(meta.epoch) };
        let headers = HeaderList::new(3)
            .with("cim-epoch", &epoch)
            .with("cim-seq", decimal(meta.seq, &mut digits))
            .with("cim-id", self.id.as_bytes());
        let Some(block) = received else { return headers };
        trace(block).fold(headers, |headers, (name, value)| headers.with(name, value))
    }
}

/// The sixteen digits of an epoch, without allocation.
fn hex(epoch: u64) -> [u8; 16] {
    let mut rest = epoch;
    let mut digits = [0; 16];
    for digit in digits.iter_mut().rev() {
        let nibble = u8::try_from(rest & 0xf).unwrap_or(0);
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        rest >>= 4;
    }
    digits
}

/// The digits of a number, without allocation.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// The trace headers of a NATS header block, under their lower-case names.
fn trace(block: &[u8]) -> impl Iterator<Item = (&'static str, &[u8])> {
    block.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
        let name = TRACE.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(seq: u64) -> Meta {
        Meta { seq, epoch: 0xabc, arrived_ms: 0, redelivered: false }
    }

    #[test]
    fn number_epoch_and_pod() {
        let identity =
            Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() };
        let headers = Headers::new(&identity);
        let own = ["cim-epoch=0000000000000abc", "cim-seq=18446744073709551615", "cim-id=ns1/pod-1"];
        assert_eq!(headers.of(&meta(u64::MAX), None).shown(), own);
        assert_eq!(headers.of(&meta(0), None).shown()[1], "cim-seq=0");
        assert_eq!(headers.of(&meta(100), None).shown()[1], "cim-seq=100");
        let other = Meta { epoch: u64::MAX - 5, ..meta(1) };
        assert_eq!(headers.of(&other, None).shown()[0], "cim-epoch=fffffffffffffffa");
    }

    #[test]
    fn the_trace_is_carried_over_and_nothing_else() {
        let block =
            b"NATS/1.0 100 status\r\nTraceParent: 00-ab-cd-01\r\ncim-seq: 5\r\nContent-Type:text/plain\r\n\
                      b3:1\r\nbaggage:  a=b, c=\xff \r\nno colon\r\n:\r\n\r\n";
        let headers = Headers::new(&Identity::default());
        let all = headers.of(&meta(1), Some(block)).shown();
        assert_eq!(all[3..], ["traceparent=00-ab-cd-01", "b3=1", "baggage=a=b, c=\\xff"]);
    }
}
