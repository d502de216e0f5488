//! The record key of an application's events (wire contract §7.3).
//!
//! Owns the key rule; leaves out partitioning. Invariant: the key depends on the identity alone, so all events of
//! one network function keep their order.

use md5::{Digest as _, Md5};

/// The key of events that CIM raises itself.
pub const OWN_EVENT_KEY: &str = "EVENT";

/// Lower-case hexadecimal MD5 of `nf_type:xgvela_id:nf_id`.
#[must_use]
pub fn event_key(nf_type: &str, xgvela_id: &str, nf_id: &str) -> String {
    let mut hash = Md5::new();
    for part in [nf_type, ":", xgvela_id, ":", nf_id] {
        hash.update(part.as_bytes());
    }
    let mut key = String::with_capacity(32);
    for byte in hash.finalize() {
        key.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        key.push(char::from_digit(u32::from(byte & 0xf), 16).unwrap_or('0'));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::event_key;

    #[test]
    fn recorded_keys() {
        assert_eq!(event_key("xgvela", "xgvela1", "xgvela1"), "7fc42234253dc713734010915cfa3fe6");
        assert_eq!(event_key("amf", "xgvela1", "amf1"), "e5c437c4b15eb82bf5d21c2e4c53cdd2");
    }
}
