//! Seeded pseudo-random numbers and printable text.
//!
//! Leaves out anything secret: the same seed gives the same bytes for ever, so that a failing run can be repeated.

use std::hash::{BuildHasher, Hasher};

/// The characters of generated text: 64 of them, none that JSON or a shell would change.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

/// A splitmix64 stream.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// The stream of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed nobody chose; print it, so that the run can be repeated.
    #[must_use]
    pub fn fresh_seed() -> u64 {
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..=high` (both included).
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1).max(1);
        low.saturating_add(self.number() % span)
    }

    /// `length` printable characters.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length.saturating_add(8));
        while out.len() < length {
            for byte in self.number().to_le_bytes() {
                out.push(ALPHABET.get(usize::from(byte & 63)).copied().unwrap_or(b'x'));
            }
        }
        out.truncate(length);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_text() {
        assert_eq!(Noise::new(7).text(1000), Noise::new(7).text(1000));
        assert_ne!(Noise::new(7).text(1000), Noise::new(8).text(1000));
        assert_eq!(Noise::new(7).text(13).len(), 13);
    }

    #[test]
    fn between_stays_inside() {
        let mut noise = Noise::new(1);
        assert!((0..1000).all(|_| (5..=500).contains(&noise.between(5, 500))));
    }
}
