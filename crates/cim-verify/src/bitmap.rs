//! One bit per sequence number, in pages.
//!
//! Leaves out what a number means. Invariant: memory follows how many numbers were added, never how high they are.

use std::collections::BTreeMap;

/// Words of a page, 512 bytes: what a number that stands alone takes, and so the most that a record with a forged number
/// can cost, about as much as one with an epoch of its own. Larger pages would let foreign records cost many times what
/// was read of them; smaller ones would make the map weigh as much as the bits of a dense sequence (here a tenth).
const WORDS: usize = 64;
/// Numbers of a page.
const NUMBERS: u64 = WORDS as u64 * 64;

/// A growing set of numbers.
#[derive(Debug, Clone, Default)]
pub struct Bitmap {
    pages: BTreeMap<u64, Box<[u64; WORDS]>>,
}

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was not in the set.
    New,
    /// It was.
    Again,
}

impl Bitmap {
    /// Adds a number.
    pub fn add(&mut self, number: u64) -> Added {
        let (page, word, bit) = place(number);
        let page = self.pages.entry(page).or_insert_with(|| Box::new([0; WORDS]));
        match page.get_mut(word) {
            Some(slot) if *slot & bit == 0 => {
                *slot |= bit;
                Added::New
            }
            _ => Added::Again,
        }
    }

    /// Whether the number is in the set.
    #[must_use]
    pub fn holds(&self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        self.pages.get(&page).and_then(|page| page.get(word)).is_some_and(|slot| slot & bit != 0)
    }

    /// The lowest number from this one on that is not in the set; none when all of them are. Passes over what is in it
    /// word by word, and looks no further than that.
    #[must_use]
    pub fn next_missing(&self, from: u64) -> Option<u64> {
        let (mut page, mut first, bit) = place(from);
        // Numbers below the first one do not count.
        let mut passed = bit.wrapping_sub(1);
        loop {
            let Some(words) = self.pages.get(&page) else {
                return page.checked_mul(NUMBERS).map(|start| start.max(from));
            };
            for (at, word) in words.iter().enumerate().skip(first) {
                let missing = u64::from((word | passed).trailing_ones());
                passed = 0;
                if missing < 64 {
                    return Some(
                        page.wrapping_mul(NUMBERS).wrapping_add(at as u64 * 64).wrapping_add(missing),
                    );
                }
            }
            (page, first) = (page.saturating_add(1), 0);
        }
    }
}

/// Page, word in it and bit in that.
fn place(number: u64) -> (u64, usize, u64) {
    let word = number % NUMBERS / 64;
    (number / NUMBERS, word as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Bitmap {
        let mut bitmap = Bitmap::default();
        for number in numbers {
            assert_eq!(bitmap.add(number), Added::New);
        }
        bitmap
    }

    #[test]
    fn holds_what_was_added() {
        let mut bitmap = of([1_000_000]);
        assert_eq!(bitmap.add(1_000_000), Added::Again);
        assert!(bitmap.holds(1_000_000) && !bitmap.holds(999_999) && !bitmap.holds(u64::MAX));
    }

    #[test]
    fn high_numbers_are_numbers_and_take_the_memory_of_low_ones() {
        let highest = [1 << 33, 1 << 34, 1 << 63, u64::MAX - 1, u64::MAX];
        let mut bitmap = of(highest);
        assert!(highest.iter().all(|number| bitmap.holds(*number) && bitmap.add(*number) == Added::Again));
        assert_eq!(bitmap.pages.len(), 4, "the two highest share a page");
    }

    #[test]
    fn what_is_missing_is_found_across_pages_that_are_full_and_pages_that_are_not_there() {
        let bitmap = of((0..3 * NUMBERS).filter(|number| *number != 5 && *number != 2 * NUMBERS));
        let missing = [0, 5, 6, 2 * NUMBERS, 2 * NUMBERS + 1].map(|from| bitmap.next_missing(from).unwrap());
        assert_eq!(missing, [5, 5, 2 * NUMBERS, 2 * NUMBERS, 3 * NUMBERS]);
        let last_page = of(u64::MAX - NUMBERS + 1..=u64::MAX);
        assert_eq!(last_page.next_missing(u64::MAX - 70), None);
        assert_eq!(last_page.next_missing(u64::MAX - NUMBERS - 70), Some(u64::MAX - NUMBERS - 70));
    }

    /// Runs of numbers across the ends of pages and words, and at both ends of what there is.
    fn run() -> impl Strategy<Value = std::ops::RangeInclusive<u64>> {
        let ends =
            prop_oneof![Just(0), Just(NUMBERS - 200), Just(7 * NUMBERS), Just(1 << 40), Just(u64::MAX - 400)];
        (ends, 0..400u64, 0..300u64).prop_map(|(end, more, length)| {
            let first = end + more;
            first..=first.saturating_add(length)
        })
    }

    proptest! {
        #[test]
        fn it_is_a_set(runs in proptest::collection::vec(run(), 0..20), asked in run()) {
            let (mut bitmap, mut set) = (Bitmap::default(), BTreeSet::new());
            for number in runs.into_iter().flatten() {
                let expected = if set.insert(number) { Added::New } else { Added::Again };
                prop_assert_eq!(bitmap.add(number), expected);
            }
            for from in asked {
                prop_assert_eq!(bitmap.holds(from), set.contains(&from));
                let missing = (from..=u64::MAX).find(|number| !set.contains(number));
                prop_assert_eq!(bitmap.next_missing(from), missing);
            }
        }
    }
}
