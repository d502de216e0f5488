//! The fast path: `PUB` without reply on the subject of the publish before it.
//!
//! Owns one comparison and one short loop over digits. Leaves out everything unusual: it answers `None` and the slow
//! path decides. Invariant: what it accepts, the slow path accepts with the same result.

use super::Publish;

/// `PUB <subject> ` as last seen, ready to be compared.
#[derive(Debug)]
pub(super) struct Prefix {
    bytes: Vec<u8>,
}

/// A size has at most this many digits here.
const MAX_DIGITS: usize = 9;
/// Subjects above this length stay on the slow path.
const MAX_SUBJECT: usize = 1024;
const VERB: &[u8] = b"PUB ";

impl Prefix {
    /// Remembers `subject`; reuses the memory of the one before. A long subject is not remembered: its control line
    /// could reach the limit, which only the slow path checks.
    pub(super) fn set(slot: &mut Option<Self>, subject: &[u8]) {
        if subject.len() > MAX_SUBJECT {
            *slot = None;
            return;
        }
        let mut bytes = slot.take().map_or_else(Vec::new, |old| old.bytes);
        bytes.clear();
        bytes.extend_from_slice(VERB);
        bytes.extend_from_slice(subject);
        bytes.push(b' ');
        *slot = Some(Self { bytes });
    }

    /// The remembered subject.
    pub(super) fn subject(&self) -> &[u8] {
        self.bytes.get(VERB.len()..self.bytes.len() - 1).unwrap_or_default()
    }

    /// The complete frame at the start of `input` and its length, if it is the expected kind.
    #[inline]
    pub(super) fn frame<'a>(&self, input: &'a [u8], max_payload: usize) -> Option<(Publish<'a>, usize)> {
        let rest = match (self.bytes.first_chunk::<8>(), input.first_chunk::<8>()) {
            (Some(expected), Some(found)) if self.bytes.len() == 8 => {
                if expected != found {
                    return None;
                }
                input.get(8..)?
            }
            _ => input.strip_prefix(self.bytes.as_slice())?,
        };
        let mut size = 0_usize;
        let mut digits = 0;
        for byte in rest.iter().take(MAX_DIGITS + 1) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            size = size * 10 + usize::from(digit);
            digits += 1;
        }
        if digits == 0 || digits > MAX_DIGITS || size > max_payload {
            return None;
        }
        let body = rest.get(digits..)?.strip_prefix(b"\r\n")?;
        let payload = body.get(..size)?;
        if body.get(size..size + 2)? != b"\r\n" {
            return None;
        }
        let subject = input.get(VERB.len()..self.bytes.len() - 1)?;
        let used = self.bytes.len() + digits + 2 + size + 2;
        Some((Publish { subject, reply: None, headers: None, payload }, used))
    }
}
