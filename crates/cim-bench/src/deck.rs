//! Pre-built PUB frames, 64 KiB of them, of which only the stamps change.
//!
//! Leaves out the socket. Invariant: every frame handed out is complete and carries the next sequence number; the text
//! behind the stamp and its checksum are computed once, when the deck is built.

use crate::flatbuffer;
use crate::noise::Noise;
use crate::stamp::{self, STAMP_LEN, Stamp};

/// Bytes of one write in closed loop.
pub const WRITE_BYTES: usize = 64 * 1024;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traffic {
    /// FlatBuffers logs on subject `LOG`.
    Log,
    /// FlatBuffers events on subject `EVENT`.
    Event,
    /// The same with ten key-values, the payload in the first.
    EventOfTen,
    /// Bare payloads on any other subject.
    Other(String),
}

impl Traffic {
    /// The NATS subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Log => "LOG",
            Self::Event | Self::EventOfTen => "EVENT",
            Self::Other(subject) => subject,
        }
    }
}

/// 64 KiB of frames.
#[derive(Debug)]
pub struct Deck {
    frames: Vec<u8>,
    frame_bytes: usize,
    stamp_at: usize,
    text_sums: Vec<u32>,
    stamp: Stamp,
}

impl Deck {
    /// Frames of that traffic with payloads of `payload` bytes (at least [`STAMP_LEN`]; raised to it if less).
    #[must_use]
    pub fn new(traffic: &Traffic, run: u32, producer: u32, payload: usize) -> Self {
        let payload = payload.max(STAMP_LEN);
        let mut noise = Noise::new(u64::from(run) << 32 | u64::from(producer));
        let mut deck = Self {
            frames: Vec::new(),
            frame_bytes: 1,
            stamp_at: 0,
            text_sums: Vec::new(),
            stamp: Stamp { run, producer, seq: 0, intended_ns: 0, length: payload as u32 },
        };
        loop {
            let mut body = vec![b'0'; STAMP_LEN];
            body.extend(noise.text(payload.saturating_sub(STAMP_LEN)));
            deck.push(traffic, producer, &body);
            if deck.frames.len().saturating_add(deck.frame_bytes) > WRITE_BYTES {
                return deck;
            }
        }
    }

    fn push(&mut self, traffic: &Traffic, producer: u32, payload: &[u8]) {
        let container = format!("bench-{producer}");
        let message = match traffic {
            Traffic::Log => flatbuffer::log(&container, "bench", payload),
            Traffic::Event => flatbuffer::event("BenchEvent", 1_700_000_000_000, &container, payload, 1),
            Traffic::EventOfTen => {
                flatbuffer::event("BenchEvent", 1_700_000_000_000, &container, payload, 10)
            }
            Traffic::Other(_) => flatbuffer::Message { bytes: payload.to_vec(), payload_at: 0 },
        };
        let line = format!("PUB {} {}\r\n", traffic.subject(), message.bytes.len());
        self.stamp_at = line.len().saturating_add(message.payload_at);
        let before = self.frames.len();
        self.frames.extend_from_slice(line.as_bytes());
        self.frames.extend_from_slice(&message.bytes);
        self.frames.extend_from_slice(b"\r\n");
        self.frame_bytes = self.frames.len().saturating_sub(before);
        self.text_sums.push(stamp::text_sum(payload.get(STAMP_LEN..).unwrap_or_default()));
    }

    /// Frames of one [`Deck::deal`] at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.text_sums.len()
    }

    /// Bytes of one frame on the wire.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Bytes of one payload.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.stamp.length as usize
    }

    /// `count` frames (at most [`Deck::capacity`]) numbered from `first_seq`, ready to be written.
    pub fn deal(&mut self, first_seq: u64, count: usize, intended_ns: u64) -> &[u8] {
        let count = count.min(self.capacity());
        let mut stamp = Stamp { seq: first_seq, intended_ns, ..self.stamp };
        let from = self.stamp_at;
        let to = from.saturating_add(STAMP_LEN);
        for (frame, sum) in self.frames.chunks_exact_mut(self.frame_bytes).zip(&self.text_sums).take(count) {
            if let Some(head) =
                frame.get_mut(from..to).and_then(|head| <&mut [u8; STAMP_LEN]>::try_from(head).ok())
            {
                stamp.write(*sum, head);
            }
            stamp.seq = stamp.seq.wrapping_add(1);
        }
        self.frames.get(..count.saturating_mul(self.frame_bytes)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Reading;

    #[test]
    fn frames_are_whole_and_numbered() {
        for traffic in [Traffic::Log, Traffic::Event, Traffic::EventOfTen, Traffic::Other("a.b".into())] {
            for payload in [10, 128, 1024, 8192, 100_000] {
                let mut deck = Deck::new(&traffic, 3, 4, payload);
                let (capacity, size) = (deck.capacity(), deck.frame_bytes());
                let bytes = deck.deal(11, capacity, 77).to_vec();
                assert_eq!(bytes.len(), capacity * size);
                for (index, frame) in bytes.chunks_exact(size).enumerate() {
                    assert!(frame.starts_with(format!("PUB {} ", traffic.subject()).as_bytes()));
                    assert!(frame.ends_with(b"\r\n"));
                    let at = memchr::memmem::find(frame, stamp::MAGIC).unwrap();
                    let Reading::Whole(stamp) = stamp::read(&frame[at..]) else {
                        panic!("payload {payload}")
                    };
                    assert_eq!((stamp.seq, stamp.run, stamp.intended_ns), (11 + index as u64, 3, 77));
                    assert_eq!(stamp.length as usize, payload.max(STAMP_LEN));
                }
            }
        }
    }
}
