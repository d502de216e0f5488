//! The header every generated payload starts with, and its checksum.
//!
//! It is fixed-width lower-case hex text, so that it survives a file sink as a line and a stdout sink inside JSON:
//!
//! ```text
//! offset  0 "cimb1:"       magic
//!         6 run         8  one number per run of the generator
//!        14 producer    8
//!        22 seq        16  dense per producer, from 1
//!        38 intended   16  CLOCK_MONOTONIC nanoseconds at which the message was to be sent
//!        54 length      6  bytes of the whole payload, this header included
//!        60 checksum    8  CRC32C over the text behind the header, then over offsets 0..60
//!        68 pseudo-random printable text
//! ```
//!
//! The checksum takes the text first: its part is computed once per pre-built frame, the header's per message.
//! Invariant: whatever [`Stamp::write`] wrote, [`read`] gives back; any other bytes are foreign, torn or altered.

/// First bytes of every payload.
pub const MAGIC: &[u8; 6] = b"cimb1:";
/// Bytes of the header; also the smallest payload.
pub const STAMP_LEN: usize = 68;
/// Bytes of the header that the checksum covers.
const COVERED: usize = 60;

/// The fields of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// One number per run of the generator.
    pub run: u32,
    /// Which producer of the run.
    pub producer: u32,
    /// Dense per producer, from 1.
    pub seq: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at which the message was to be sent.
    pub intended_ns: u64,
    /// Bytes of the whole payload, header included; below 16 MiB.
    pub length: u32,
}

/// What stands at some place of a captured line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A whole payload, `stamp.length` bytes long.
    Whole(Stamp),
    /// A payload that ends too early, as a write cut by SIGKILL leaves it.
    Torn,
    /// The right length, the wrong bytes.
    Altered,
    /// Not a payload of this generator.
    Foreign,
}

/// The part of the checksum that belongs to the text behind the header.
#[must_use]
pub fn text_sum(text: &[u8]) -> u32 {
    crc32c::crc32c(text)
}

impl Stamp {
    /// Writes the header. `text_sum` is [`text_sum`] of what follows it in the payload.
    pub fn write(&self, text_sum: u32, out: &mut [u8; STAMP_LEN]) {
        put(out, 0, MAGIC);
        put(out, 6, &hex8(self.run));
        put(out, 14, &hex8(self.producer));
        put(out, 22, &hex8((self.seq >> 32) as u32));
        put(out, 30, &hex8(self.seq as u32));
        put(out, 38, &hex8((self.intended_ns >> 32) as u32));
        put(out, 46, &hex8(self.intended_ns as u32));
        let [_, _, length @ ..] = hex8(self.length & 0x00ff_ffff);
        put(out, 54, &length);
        let sum = crc32c::crc32c_append(text_sum, out.split_at(COVERED).0);
        put(out, COVERED, &hex8(sum));
    }
}

/// Reads the payload at the start of `bytes`; what stands behind it is the caller's business.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    let (Some(head), Some(rest)) = (bytes.get(..STAMP_LEN), bytes.get(STAMP_LEN..)) else {
        return read_short(bytes);
    };
    if !head.starts_with(MAGIC) {
        return Reading::Foreign;
    }
    let number = |from: usize, to: usize| head.get(from..to).and_then(unhex);
    let (Some(run), Some(producer), Some(seq), Some(intended_ns), Some(length), Some(sum)) =
        (number(6, 14), number(14, 22), number(22, 38), number(38, 54), number(54, 60), number(60, 68))
    else {
        return Reading::Altered;
    };
    let Some(text) = (length as usize).checked_sub(STAMP_LEN) else { return Reading::Altered };
    let Some(text) = rest.get(..text) else { return Reading::Torn };
    let covered = head.get(..COVERED).unwrap_or_default();
    if u64::from(crc32c::crc32c_append(text_sum(text), covered)) != sum {
        return Reading::Altered;
    }
    Reading::Whole(Stamp {
        run: run as u32,
        producer: producer as u32,
        seq,
        intended_ns,
        length: length as u32,
    })
}

/// Fewer bytes than a header.
fn read_short(bytes: &[u8]) -> Reading {
    match bytes.strip_prefix(MAGIC) {
        Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Reading::Torn,
        Some(_) => Reading::Altered,
        None => Reading::Foreign,
    }
}

fn put(out: &mut [u8; STAMP_LEN], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at.saturating_add(bytes.len())) {
        slot.copy_from_slice(bytes);
    }
}

/// Eight lower-case hex digits, without a branch per digit.
fn hex8(value: u32) -> [u8; 8] {
    let mut x = u64::from(value);
    x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
    x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
    x = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (x.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    x.wrapping_add(0x3030_3030_3030_3030).wrapping_add(letters.wrapping_mul(0x27)).to_be_bytes()
}

fn unhex(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
            _ => return None,
        };
        Some((value << 4) | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(stamp: Stamp, text: &[u8]) -> Vec<u8> {
        let mut head = [0u8; STAMP_LEN];
        stamp.write(text_sum(text), &mut head);
        [&head[..], text].concat()
    }

    #[test]
    fn layout_is_as_documented() {
        let stamp = Stamp { run: 0xab, producer: 2, seq: 0x1_0000_0003, intended_ns: 4, length: 70 };
        let bytes = payload(stamp, b"xy");
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(&text[..60], "cimb1:000000ab0000000200000001000000030000000000000004000046");
        assert_eq!(&text[68..], "xy");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(run: u32, producer: u32, seq: u64, intended_ns: u64, text in "[A-Za-z0-9._]{0,300}") {
            let stamp = Stamp { run, producer, seq, intended_ns, length: (STAMP_LEN + text.len()) as u32 };
            let bytes = payload(stamp, text.as_bytes());
            prop_assert_eq!(read(&bytes), Reading::Whole(stamp));
            let mut more = bytes.clone();
            more.extend_from_slice(b"\",\"kubernetes\":{}}");
            prop_assert_eq!(read(&more), Reading::Whole(stamp));
        }

        #[test]
        fn every_cut_and_every_changed_byte_is_seen(seq: u64, at in 0usize..200, flip in 1u8..=255) {
            let text = [b'q'; 132];
            let stamp = Stamp { run: 1, producer: 1, seq, intended_ns: 0, length: 200 };
            let bytes = payload(stamp, &text);
            let cut = read(&bytes[..at]);
            prop_assert!(matches!(cut, Reading::Torn) || (at < MAGIC.len() && cut == Reading::Foreign), "{:?}", cut);
            let mut changed = bytes;
            changed[at] ^= flip;
            prop_assert!(!matches!(read(&changed), Reading::Whole(_)));
        }
    }
}
