//! How long a run of bytes is that a JSON string copies as they are.
//!
//! Owns the search, which most of the work of a line in JSON is, and its form for the vector unit at hand. Left out: what
//! becomes of the bytes that are found (`json`). The invariant: every form finds the same byte.

/// First byte of U+2028 and U+2029, and of other characters of three bytes.
pub(crate) const MAYBE_SEPARATOR: u8 = 0xe2;

/// Bytes looked at in one step of a long plain run: wide enough for the vector unit.
const STEP: usize = 32;

/// How many bytes from the start are ASCII that is copied as it is.
pub(crate) fn ascii_prefix(bytes: &[u8]) -> usize {
    prefix::<true>(bytes)
}

/// How many bytes from the start are copied as they are. A short look comes first, since escapes come close
/// together where they come at all.
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    let (near, far) = bytes.split_at_checked(STEP).unwrap_or((bytes, &[]));
    let at = plain_words::<false>(near);
    if at < near.len() { at } else { at + prefix::<false>(far) }
}

#[inline]
fn prefix<const ASCII: bool>(bytes: &[u8]) -> usize {
    let clean = clean_steps::<ASCII>(bytes);
    clean + plain_words::<ASCII>(bytes.get(clean..).unwrap_or_default())
}

/// How many bytes from the start are plain throughout as far as whole steps tell.
#[inline]
#[allow(
    unsafe_code,
    reason = "functions for one vector unit are called no other way; see the comment at the call"
)]
fn clean_steps<const ASCII: bool>(bytes: &[u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the function asks for nothing but that the processor has AVX2, and it was just asked.
        return unsafe { clean_steps_avx2::<ASCII>(bytes) };
    }
    clean_steps_any::<ASCII>(bytes)
}

/// A step at once instead of in halves, and without copies of registers: twice as fast.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn clean_steps_avx2<const ASCII: bool>(bytes: &[u8]) -> usize {
    clean_steps_any::<ASCII>(bytes)
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "what is compiled for one vector unit is what is inlined there")]
fn clean_steps_any<const ASCII: bool>(bytes: &[u8]) -> usize {
    // Without a branch inside, so that the compiler makes vector code of it.
    let is_clean =
        |step: &&[u8; STEP]| !step.iter().fold(false, |found, byte| found | !is_plain::<ASCII>(*byte));
    let (steps, _) = bytes.as_chunks::<STEP>();
    let clean = steps.iter().take_while(is_clean).count();
    // The last step may lie over the one before: cheaper than what is left word by word.
    match bytes.last_chunk::<STEP>() {
        Some(last) if clean == steps.len() && is_clean(&last) => bytes.len(),
        _ => clean * STEP,
    }
}

/// How many bytes from the start are plain, eight at a time.
#[inline]
fn plain_words<const ASCII: bool>(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = escapes_in::<ASCII>(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + plain_tail::<ASCII>(tail)
}

/// How many of fewer than eight bytes are plain, which whole names of containers are.
#[inline]
fn plain_tail<const ASCII: bool>(bytes: &[u8]) -> usize {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let both = u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
        if escapes_in::<ASCII>(both) == 0 {
            return bytes.len();
        }
    }
    bytes.iter().take_while(|byte| is_plain::<ASCII>(**byte)).count()
}

/// Marks bytes that are not plain by their highest bit. The lowest mark is exact; a mark above it may be false.
#[inline]
const fn escapes_in<const ASCII: bool>(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    // Pairs that differ in one bit: `"` and `&` in 4, `<` and `>` in 2.
    let quote_or_and = zeros((word | (4 * ONES)) ^ (0x26 * ONES));
    let angle = zeros((word | (2 * ONES)) ^ (0x3e * ONES));
    let backslash = zeros(word ^ (0x5c * ONES));
    let separator = if ASCII { word } else { zeros(word ^ (0xe2 * ONES)) };
    (control | quote_or_and | angle | backslash | separator) & HIGH
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "see above")]
const fn is_plain<const ASCII: bool>(byte: u8) -> bool {
    // With a sign, bytes beyond ASCII are below the space, too. Pairs that differ in one bit: `"` and `&`, `<` and `>`.
    let is_low = if ASCII { byte.cast_signed() < 0x20 } else { (byte < 0x20) | (byte == MAYBE_SEPARATOR) };
    !(is_low | ((byte & !4) == b'"') | ((byte & !2) == b'<') | (byte == b'\\'))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_finds_the_same(bytes in proptest::collection::vec(
            prop_oneof![60 => 0x20_u8..0x80, 1 => any::<u8>()], 0..200)) {
            let at = |ascii: bool| bytes.iter().take_while(|byte| {
                if ascii { is_plain::<true>(**byte) } else { is_plain::<false>(**byte) }
            }).count();
            // `clean_steps` is the form of this machine; the other one runs where there is no AVX2.
            prop_assert_eq!(clean_steps::<true>(&bytes), clean_steps_any::<true>(&bytes));
            prop_assert_eq!(clean_steps::<false>(&bytes), clean_steps_any::<false>(&bytes));
            prop_assert_eq!((ascii_prefix(&bytes), plain_prefix(&bytes)), (at(true), at(false)));
        }
    }
}
