//! What the spool stores for one message: the received bytes, and what else delivery needs to know.
//!
//! Layout: flags (1 byte: encoding in the low 4 bits, 0x10 headers, 0x20 source, 0x40 raised by CIM itself) · arrival, milliseconds (8 bytes, little
//! endian) · headers (4-byte length, bytes) if flagged · source (1-byte length, bytes) if flagged · payload to the end.
//! Invariant: [`Envelope::parse`] of what [`Prefix::parts`] made gives the same values; any other bytes give `None`.

use cim_wire::Encoding;

const HEADERS: u8 = 0x10;
const SOURCE: u8 = 0x20;
const OWN: u8 = 0x40;
const ENCODING: u8 = 0x0f;
const FIXED: usize = 9;
/// Longest source name kept; the rest of a longer one is cut.
const MAX_SOURCE: usize = 255;

/// One stored message, borrowed from its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    /// How the payload is to be read.
    pub encoding: Encoding,
    /// Milliseconds since the Unix epoch.
    pub arrived_ms: u64,
    /// Header block as received.
    pub headers: Option<&'a [u8]>,
    /// Container a text log belongs to.
    pub source: &'a [u8],
    /// Payload as received.
    pub payload: &'a [u8],
    /// CIM raised it itself.
    pub own: bool,
}

/// The parts that stand before the payload, without allocation.
#[derive(Debug)]
pub(crate) struct Prefix<'a> {
    fixed: [u8; FIXED],
    headers_len: [u8; 4],
    source_len: [u8; 1],
    headers: Option<&'a [u8]>,
    source: &'a [u8],
}

impl<'a> Prefix<'a> {
    /// Prepares the prefix of one message. The source is kept only where the payload does not name its container.
    pub(crate) fn new(
        encoding: Encoding,
        arrived_ms: u64,
        headers: Option<&'a [u8]>,
        source: &'a [u8],
        own: bool,
    ) -> Self {
        let source = match encoding {
            Encoding::FlatBuffer => &[],
            _ => source.get(..MAX_SOURCE).unwrap_or(source),
        };
        let mut flags = encoding as u8;
        if headers.is_some() {
            flags |= HEADERS;
        }
        if !source.is_empty() {
            flags |= SOURCE;
        }
        if own {
            flags |= OWN;
        }
        let mut fixed = [flags; FIXED];
        if let Some(arrival) = fixed.get_mut(1..) {
            arrival.copy_from_slice(&arrived_ms.to_le_bytes());
        }
        let headers_len = u32::try_from(headers.map_or(0, <[u8]>::len)).unwrap_or(u32::MAX);
        let source_len = u8::try_from(source.len()).unwrap_or(u8::MAX);
        Self { fixed, headers_len: headers_len.to_le_bytes(), source_len: [source_len], headers, source }
    }

    /// The pieces to be stored one after the other, with the payload last. Absent ones are empty.
    pub(crate) fn parts<'p>(&'p self, payload: &'p [u8]) -> [&'p [u8]; 6] {
        let (headers_len, headers): (&[u8], &[u8]) = match self.headers {
            Some(headers) => (&self.headers_len, headers),
            None => (&[], &[]),
        };
        let source_len: &[u8] = if self.source.is_empty() { &[] } else { &self.source_len };
        [&self.fixed, headers_len, headers, source_len, self.source, payload]
    }
}

impl<'a> Envelope<'a> {
    /// Reads a stored message; `None` when the bytes are not one.
    pub(crate) fn parse(record: &'a [u8]) -> Option<Self> {
        let (&flags, rest) = record.split_first()?;
        let (arrival, mut rest) = rest.split_first_chunk::<8>()?;
        let encoding = Encoding::from_u8(flags & ENCODING)?;
        let mut headers = None;
        if flags & HEADERS != 0 {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (block, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
            headers = Some(block);
            rest = after;
        }
        let mut source: &[u8] = &[];
        if flags & SOURCE != 0 {
            let (&len, after) = rest.split_first()?;
            (source, rest) = after.split_at_checked(usize::from(len))?;
        }
        let own = flags & OWN != 0;
        Some(Self { encoding, arrived_ms: u64::from_le_bytes(*arrival), headers, source, payload: rest, own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encodings() -> impl Strategy<Value = Encoding> {
        prop_oneof![
            Just(Encoding::FlatBuffer),
            Just(Encoding::Json),
            Just(Encoding::CloudEvent),
            Just(Encoding::Text)
        ]
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_back(
            encoding in encodings(), arrived_ms: u64, headers: Option<Vec<u8>>, own: bool,
            source in proptest::collection::vec(any::<u8>(), 0..300), payload: Vec<u8>,
        ) {
            let prefix = Prefix::new(encoding, arrived_ms, headers.as_deref(), &source, own);
            let stored = prefix.parts(&payload).concat();
            let read = Envelope::parse(&stored).unwrap();
            prop_assert_eq!(read.encoding, encoding);
            prop_assert_eq!(read.arrived_ms, arrived_ms);
            prop_assert_eq!(read.headers, headers.as_deref());
            prop_assert_eq!(read.payload, &payload[..]);
            let kept: &[u8] = if encoding == Encoding::FlatBuffer { &[] } else { &source[..source.len().min(255)] };
            prop_assert_eq!(read.source, kept);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Envelope::parse(&bytes);
        }
    }
}
