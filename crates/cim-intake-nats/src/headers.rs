//! Headers of a message as the block of bytes that they were.
//!
//! Invariant: the block has the form that the listener hands over, so that both ways lead to the same records.

use async_nats::HeaderMap;

/// The block with its first line and the empty line at its end.
pub(crate) fn block(headers: &HeaderMap) -> Vec<u8> {
    let mut block = b"NATS/1.0\r\n".to_vec();
    for (name, values) in headers.iter() {
        for value in values {
            for part in [name.as_ref(), ": ", value.as_str(), "\r\n"] {
                block.extend_from_slice(part.as_bytes());
            }
        }
    }
    block.extend_from_slice(b"\r\n");
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_line() {
        let mut headers = HeaderMap::new();
        headers.append("Content-Type", "text/plain");
        headers.append("A", "1");
        headers.append("A", "2");
        let block = String::from_utf8(block(&headers)).unwrap();
        assert!(block.starts_with("NATS/1.0\r\n") && block.ends_with("\r\n\r\n"), "{block:?}");
        for line in ["Content-Type: text/plain\r\n", "A: 1\r\nA: 2\r\n"] {
            assert!(block.contains(line), "{block:?}");
        }
    }
}
