//! Messages on their way into the engine, and the answers that follow their acceptance.
//!
//! Owns one lane. Left out: where messages come from. Invariants: messages are offered in the order in which they came;
//! what is read is bounded by one turn, so a full engine holds the server back where the server can wait.

use std::sync::Arc;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use async_nats::{Client, Message, Subject};
use cim_core::Class;
use cim_core::intake::{Lane, Offer, Offered, RefusedReason};
use cim_core::publish_answer;
use tokio::sync::Notify;

use crate::headers;

/// Most messages of a turn.
pub(crate) const TURN: usize = 512;

/// How the publisher or the server learns what became of a message.
pub(crate) enum Answer {
    /// Nobody asked.
    None,
    /// The publisher listens there.
    Reply(Subject),
    /// The server keeps the message until then.
    Ack(Box<Acker>),
}

/// A message and whom to answer.
pub(crate) struct Received {
    pub message: Message,
    pub answer: Answer,
}

impl Received {
    /// A message that the server does not keep.
    pub fn plain(mut message: Message) -> Self {
        let answer = message.reply.take().map_or(Answer::None, Answer::Reply);
        Self { message, answer }
    }
}

/// What is done with the messages of one class.
pub(crate) struct Taking {
    class: Class,
    lane: Lane,
    client: Client,
    progress: Arc<Notify>,
}

impl Taking {
    pub fn new(class: Class, mut lane: Lane, client: Client) -> Self {
        let progress = Arc::new(Notify::new());
        let notify = Arc::clone(&progress);
        lane.on_progress(Arc::new(move || notify.notify_waiters()));
        Self { class, lane, client, progress }
    }

    /// Takes a turn of messages and answers them once they are accepted. `false`: the engine is stopping, and what was not
    /// answered will come again or is lost with its publisher's knowledge.
    ///
    /// # Cancel safety
    /// When dropped, messages may be accepted without an answer.
    pub async fn take(&mut self, turn: Vec<Received>) -> bool {
        let mut taken = Vec::with_capacity(turn.len());
        let mut refused = self.lane.refused(self.class);
        for Received { message, answer } in turn {
            let offered = self.offer(&message).await;
            self.refuse_newest(&mut taken, &mut refused).await;
            match offered {
                Offered::Taken => {
                    let seq = self.number(&answer);
                    taken.push((answer, seq));
                    self.refuse_newest(&mut taken, &mut refused).await;
                }
                // The server keeps it for the next process.
                Offered::Refused(RefusedReason::Closed) if matches!(answer, Answer::Ack(_)) => break,
                Offered::Refused(reason) => self.refuse(answer, &reason.to_string()).await,
                Offered::Full => break,
            }
        }
        if !self.settle().await {
            return false;
        }
        self.refuse_newest(&mut taken, &mut refused).await;
        self.confirm(taken).await;
        !self.lane.is_closed()
    }

    /// Answers what was taken, and refused when it was written: `refused` of them were known before.
    async fn refuse_newest(&self, taken: &mut Vec<(Answer, u64)>, refused: &mut u64) {
        let now = self.lane.refused(self.class);
        let newest = usize::try_from(now - *refused).unwrap_or(usize::MAX);
        *refused = now;
        for (answer, _) in taken.split_off(taken.len().saturating_sub(newest)) {
            self.refuse(answer, &RefusedReason::DropNewest.to_string()).await;
        }
    }

    /// Answers what is accepted.
    async fn confirm(&self, accepted: Vec<(Answer, u64)>) {
        let level = self.lane.level(self.class).as_str();
        for (answer, seq) in accepted {
            match answer {
                Answer::None => {}
                Answer::Reply(subject) => {
                    let text = publish_answer::accepted(self.class, seq, level);
                    let _ = self.client.publish(subject, text.into()).await;
                }
                // Lost with the connection: it comes again, and is a duplicate then.
                Answer::Ack(acker) => {
                    let _ = acker.ack().await;
                }
            }
        }
    }

    /// Offers a message until there is room. [`Offered::Full`]: there will be none any more.
    async fn offer(&mut self, message: &Message) -> Offered {
        let headers = message.headers.as_ref().map(headers::block);
        loop {
            let progress = Arc::clone(&self.progress);
            let progress = progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            let offer = Offer {
                class: self.class,
                headers: headers.as_deref(),
                source: b"",
                payload: &message.payload,
                own: false,
            };
            match self.lane.offer(&offer, false) {
                Offered::Full if self.lane.is_closed() => return Offered::Full,
                Offered::Full => {
                    self.lane.flush();
                    progress.await;
                }
                done => return done,
            }
        }
    }

    /// The number of the message that was just taken; only one that is asked for costs a write of its own.
    fn number(&mut self, answer: &Answer) -> u64 {
        if matches!(answer, Answer::Reply(_)) {
            self.lane.flush();
        }
        self.lane.last_seq(self.class)
    }

    /// Waits until everything offered is accepted.
    async fn settle(&mut self) -> bool {
        let mark = self.lane.flush();
        loop {
            let progress = Arc::clone(&self.progress);
            let progress = progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            self.lane.flush();
            if self.lane.is_accepted(&mark) {
                return true;
            }
            if self.lane.is_closed() {
                return false;
            }
            progress.await;
        }
    }

    async fn refuse(&self, answer: Answer, reason: &str) {
        match answer {
            Answer::None => {}
            Answer::Reply(subject) => {
                let text = publish_answer::refused(self.class, reason);
                let _ = self.client.publish(subject, text.into()).await;
            }
            // It would be refused again.
            Answer::Ack(acker) => {
                let _ = acker.ack_with(AckKind::Term).await;
            }
        }
    }
}
