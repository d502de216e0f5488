//! What the application answers to a notification that asks for an answer (wire contract §7.5).
//!
//! Owns the words, which are those of JetStream, the name by which an answer finds its notification, and the box they come in by.
//! Left out: what an answer leads to (`settling`). Invariants: the same notification has the same name in every life of the
//! process; the box is bounded, and an answer that found no room is as good as none.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;

/// Answers that wait to be looked at.
const ROOM: usize = 65_536;
/// Bytes of the reason that an application may give.
const MOST_REASON: usize = 256;
/// The longest pause that an application may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);

/// One word of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is done with.
    Done,
    /// Once more, after that pause or the usual one.
    Again(Option<Duration>),
    /// It needs more time.
    Working,
    /// It will never be done, for that reason.
    Never(String),
}

#[derive(Deserialize)]
struct Options {
    /// Nanoseconds.
    delay: Option<u64>,
}

impl Answer {
    /// Reads a body; `None` for what is no word.
    fn parse(body: &[u8]) -> Option<Self> {
        if body.is_empty() || body == b"+ACK" || body == b"+OK" || body.starts_with(b"+NXT") {
            Some(Self::Done)
        } else if body == b"+WPI" {
            Some(Self::Working)
        } else if let Some(options) = body.strip_prefix(b"-NAK") {
            let given = serde_json::from_slice(options).ok().and_then(|options: Options| options.delay);
            Some(Self::Again(given.map(|nanos| Duration::from_nanos(nanos).min(LONGEST_DELAY))))
        } else {
            let reason = body.strip_prefix(b"+TERM")?;
            let reason = String::from_utf8_lossy(reason.get(..MOST_REASON).unwrap_or(reason));
            Some(Self::Never(reason.trim().to_owned()))
        }
    }
}

/// One notification of one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Id of the subscription.
    pub(super) subscription: Arc<str>,
    /// Lane of its record.
    pub(super) lane: i32,
    /// Number of its record in the lane.
    pub(super) record: i64,
}

impl Key {
    /// The name of a delivery of it.
    pub(super) fn name(&self, delivery: u32) -> String {
        format!("{self}.{delivery}")
    }

    /// Reads a name.
    fn parse(name: &str) -> Option<(Self, u32)> {
        let mut parts = name.rsplitn(4, '.');
        let delivery = parts.next()?.parse().ok()?;
        let record = parts.next()?.parse().ok()?;
        let lane = parts.next()?.parse().ok()?;
        Some((Self { subscription: parts.next()?.into(), lane, record }, delivery))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.subscription, self.lane, self.record)
    }
}

/// An answer to one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) key: Key,
    pub(super) delivery: u32,
    pub(super) answer: Answer,
}

/// Answers on their way in.
#[derive(Debug, Default)]
pub struct Answers {
    waiting: Mutex<VecDeque<Heard>>,
    news: Notify,
}

impl Answers {
    /// Takes an answer to the delivery of that name; false when it means nothing, or there is no room.
    pub fn tell(&self, name: &[u8], body: &[u8]) -> bool {
        let named = std::str::from_utf8(name).ok().and_then(Key::parse);
        let (Some((key, delivery)), Some(answer)) = (named, Answer::parse(body)) else { return false };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ROOM {
            return false;
        }
        waiting.push_back(Heard { key, delivery, answer });
        self.news.notify_one();
        true
    }

    /// Waits for answers, and takes all that are there. For one caller at a time.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn heard(&self) -> VecDeque<Heard> {
        loop {
            let heard = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !heard.is_empty() {
                return heard;
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_jetstream() {
        for body in ["", "+ACK", "+OK", "+NXT", "+NXT 10"] {
            assert_eq!(Answer::parse(body.as_bytes()), Some(Answer::Done), "{body}");
        }
        let again = |millis| Some(Answer::Again(Some(Duration::from_millis(millis))));
        assert_eq!(Answer::parse(b"-NAK"), Some(Answer::Again(None)));
        assert_eq!(Answer::parse(br#"-NAK {"delay": 1500000000}"#), again(1_500));
        assert_eq!(Answer::parse(br#"-NAK {"delay": 18446744073709551615}"#), again(3_600_000));
        assert_eq!(Answer::parse(b"-NAK {"), Some(Answer::Again(None)));
        assert_eq!(Answer::parse(b"+WPI"), Some(Answer::Working));
        assert_eq!(Answer::parse(b"+TERM"), Some(Answer::Never(String::new())));
        assert_eq!(Answer::parse(b"+TERM no such pod"), Some(Answer::Never("no such pod".to_owned())));
        for body in ["ok", "+ack", "+ACK ", " ", "-", "{}"] {
            assert_eq!(Answer::parse(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_name_is_read_back_and_anything_else_is_no_name() {
        for (lane, record) in [(0, 0), (17, i64::MAX), (-1, 3)] {
            let key = Key { subscription: "123456".into(), lane, record };
            assert_eq!(Key::parse(&key.name(2)), Some((key, 2)));
        }
        for name in ["", "1", "1.2.3", "a.b.c.d", "1.2.3.-4", "1.2.3.99999999999"] {
            assert_eq!(Key::parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_finds_no_room_is_said_not_to_be_taken() {
        let answers = Answers::default();
        assert!(!answers.tell(b"nobody", b""));
        assert!(!answers.tell(b"1.2.3.4", b"what"));
        for _ in 0..ROOM {
            assert!(answers.tell(b"1.2.3.4", b""));
        }
        assert!(!answers.tell(b"1.2.3.4", b""));
    }
}
