//! Reading JSON payloads within limits.
//!
//! Owns size and depth limits, and lists of pairs; leaves out the members of each message. Invariant: nothing is
//! parsed before its size and depth are known to be within [`MAX_JSON_BYTES`] and [`MAX_JSON_DEPTH`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::{DecodeError, MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_PAIRS, Pair};

/// Parses the whole of `payload`.
pub(crate) fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, DecodeError> {
    if payload.len() > MAX_JSON_BYTES {
        return Err(DecodeError::TooLarge);
    }
    if too_deep(payload) {
        return Err(DecodeError::TooDeep);
    }
    Ok(serde_json::from_slice(payload)?)
}

/// The error for a member that must be there.
pub(crate) fn missing(member: &'static str) -> DecodeError {
    DecodeError::from(<serde_json::Error as serde::de::Error>::missing_field(member))
}

/// Counts brackets outside strings. On text that is no JSON the count means nothing, and the parser refuses it.
fn too_deep(payload: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = payload.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// An owned text as the bytes of a field; absent is empty.
pub(crate) fn bytes<'a>(text: Option<String>) -> Cow<'a, [u8]> {
    Cow::Owned(text.unwrap_or_default().into_bytes())
}

/// A list of pairs, no more than [`MAX_PAIRS`] of them kept.
#[derive(Debug, Default)]
pub(crate) struct PairList {
    pairs: Vec<Pair<'static>>,
    overflow: bool,
}

impl PairList {
    /// Adds a pair, or notes that there were too many.
    pub(crate) fn push(&mut self, name: String, value: Option<String>) {
        if self.pairs.len() >= MAX_PAIRS {
            self.overflow = true;
            return;
        }
        let value = value.map(|value| Cow::Owned(value.into_bytes()));
        self.pairs.push(Pair { name: Cow::Owned(name.into_bytes()), value });
    }

    /// The pairs, taken out of what `left` still allows.
    pub(crate) fn into_pairs(self, left: &mut usize) -> Result<Vec<Pair<'static>>, DecodeError> {
        if self.overflow {
            return Err(DecodeError::TooLarge);
        }
        *left = left.checked_sub(self.pairs.len()).ok_or(DecodeError::TooLarge)?;
        Ok(self.pairs)
    }
}

#[derive(serde::Deserialize)]
struct PairDocument {
    name: String,
    value: Option<String>,
}

impl<'de> Deserialize<'de> for PairList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PairListVisitor)
    }
}

struct PairListVisitor;

impl<'de> Visitor<'de> for PairListVisitor {
    type Value = PairList;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects with `name` and `value`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<PairList, A::Error> {
        let mut list = PairList::default();
        while !list.overflow {
            let Some(PairDocument { name, value }) = sequence.next_element()? else { return Ok(list) };
            list.push(name, value);
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(!too_deep(nested(MAX_JSON_DEPTH).as_bytes()));
        assert!(too_deep(nested(MAX_JSON_DEPTH + 1).as_bytes()));
        assert!(!too_deep(format!(r#"{{"a":"\"{}"}}"#, "[".repeat(10_000)).as_bytes()));
        assert!(!too_deep("[]".repeat(1_000).as_bytes()));
    }
}
