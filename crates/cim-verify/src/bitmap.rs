//! One bit per sequence number.
//!
//! Leaves out what a number means. Invariant: grows only as far as the highest number set.

/// Highest number a bitmap takes: 2^34, which is 2 GiB of bits. Beyond it a number is refused, not stored.
const LIMIT: u64 = 1 << 34;

/// A growing set of numbers.
#[derive(Debug, Clone, Default)]
pub struct Bitmap {
    words: Vec<u64>,
}

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was not in the set.
    New,
    /// It was.
    Again,
    /// It is beyond what a run can have sent.
    Refused,
}

impl Bitmap {
    /// Adds a number.
    pub fn add(&mut self, number: u64) -> Added {
        if number >= LIMIT {
            return Added::Refused;
        }
        let (word, bit) = place(number);
        if word >= self.words.len() {
            self.words.resize(word.saturating_add(1).next_power_of_two(), 0);
        }
        match self.words.get_mut(word) {
            Some(slot) if *slot & bit == 0 => {
                *slot |= bit;
                Added::New
            }
            Some(_) => Added::Again,
            None => Added::Refused,
        }
    }

    /// Whether the number is in the set.
    #[must_use]
    pub fn holds(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|slot| slot & bit != 0)
    }
}

fn place(number: u64) -> (usize, u64) {
    (usize::try_from(number / 64).unwrap_or(usize::MAX), 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_added() {
        let mut bitmap = Bitmap::default();
        assert_eq!(bitmap.add(1_000_000), Added::New);
        assert_eq!(bitmap.add(1_000_000), Added::Again);
        assert!(bitmap.holds(1_000_000) && !bitmap.holds(999_999) && !bitmap.holds(u64::MAX));
        assert_eq!(bitmap.add(u64::MAX), Added::Refused);
    }
}
