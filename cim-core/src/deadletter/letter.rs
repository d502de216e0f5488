//! One refused record, and what is kept with it.
//!
//! Layout of a stored letter: origin (1 byte) · sequence (8, little endian) · three texts with a 2-byte length each (route,
//! reason, error) · the record as the queue stored it. Left out: where letters are kept. Invariant: what was encoded is read
//! back equal; any other bytes give a letter or `None`.

use cim_wire::{Class, Encoding};

use crate::clock;
use crate::envelope::{Envelope, Prefix};

/// Most bytes of a text; the rest of a longer one is cut.
const MAX_TEXT: usize = 1024;

/// Where a letter comes from, and is put back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The queue of a class.
    Queue(Class),
    /// A subscription of the application.
    Subscription,
}

impl Origin {
    const SUBSCRIPTION: u8 = 16;

    const fn number(self) -> u8 {
        match self {
            Self::Queue(class) => class as u8,
            Self::Subscription => Self::SUBSCRIPTION,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        if number == Self::SUBSCRIPTION {
            Some(Self::Subscription)
        } else {
            Class::from_u8(number).map(Self::Queue)
        }
    }
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it comes from.
    pub origin: Origin,
    /// Sequence in its class, or number of the record in its partition.
    pub seq: u64,
    /// Route it was refused on, or id of the subscription.
    pub route: String,
    /// Kind of refusal.
    pub reason: String,
    /// What the sink said.
    pub error: String,
    record: Vec<u8>,
}

impl Letter {
    pub(crate) fn new(
        origin: Origin,
        seq: u64,
        route: &str,
        reason: &str,
        error: &str,
        record: &[u8],
    ) -> Self {
        Self {
            origin,
            seq,
            route: clipped(route),
            reason: clipped(reason),
            error: clipped(error),
            record: record.to_vec(),
        }
    }

    /// A notification of that subscription that was given up.
    pub(crate) fn notification(
        subscription: &str,
        seq: u64,
        reason: &str,
        error: &str,
        value: &[u8],
    ) -> Self {
        let prefix = Prefix::new(Encoding::Text, clock::now_ms(), None, &[], false);
        let record = prefix.parts(value).concat();
        Self::new(Origin::Subscription, seq, subscription, reason, error, &record)
    }

    /// Payload as the publisher sent it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        Envelope::parse(&self.record).map_or(&self.record, |envelope| envelope.payload)
    }

    /// When CIM took the record, milliseconds since the Unix epoch.
    #[must_use]
    pub fn arrived_ms(&self) -> u64 {
        Envelope::parse(&self.record).map_or(0, |envelope| envelope.arrived_ms)
    }

    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Bytes of the stored letter.
    pub(super) fn encoded_len(&self) -> usize {
        let texts = [&self.route, &self.reason, &self.error].map(|text| size_of::<u16>() + text.len());
        1 + size_of::<u64>() + texts.iter().sum::<usize>() + self.record.len()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.origin.number()];
        out.extend_from_slice(&self.seq.to_le_bytes());
        for text in [&self.route, &self.reason, &self.error] {
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.record);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&origin, rest) = bytes.split_first()?;
        let (seq, mut rest) = rest.split_first_chunk::<8>()?;
        let mut text = || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            rest = after;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let (route, reason, error) = (text()?, text()?, text()?);
        Some(Self {
            origin: Origin::from_number(origin)?,
            seq: u64::from_le_bytes(*seq),
            route,
            reason,
            error,
            record: rest.to_vec(),
        })
    }
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_letter_is_read_back(seq: u64, reason in "[a-z]{0,20}", error: String, record: Vec<u8>) {
            let letter = Letter::new(Origin::Queue(Class::Event), seq, "events", &reason, &error, &record);
            let stored = letter.encode();
            prop_assert_eq!(stored.len(), letter.encoded_len());
            prop_assert_eq!(Letter::decode(&stored), Some(letter));
        }

        #[test]
        fn a_notification_is_read_back_with_its_value(seq: u64, value: Vec<u8>) {
            let letter = Letter::notification("123456", seq, "refused", "no", &value);
            let read = Letter::decode(&letter.encode()).unwrap();
            prop_assert_eq!((read.origin, read.payload()), (Origin::Subscription, &value[..]));
            prop_assert_eq!(read, letter);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Letter::decode(&bytes);
        }
    }
}
