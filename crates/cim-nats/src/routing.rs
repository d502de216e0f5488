//! Delivery of a message to the subscribers of its subject.
//!
//! Owns the choice within queue groups, the MSG and HMSG lines, and the limits of a subscriber that does not read.
//! Leaves out who publishes. Invariants: a publisher never waits for a subscriber, it rests a few milliseconds at
//! most; headers go only to clients that asked for them; a message lies whole in the output or not at all.

use crate::client::{Client, Key, Stage};
use crate::hub::{Hub, Subscription};
use crate::intake::Intake;
use crate::interest::{Matches, SubscriptionId};
use std::time::Duration;

/// Output that is written before the turn ends.
const WRITE_AT: usize = 256 << 10;
/// Output waiting for all subscribers, or half of it for one, above which its publishers rest between two reads.
const REST_ABOVE: usize = 8 << 20;
/// Longest rest; a subscriber that reads nothing is cut after a few of them.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// How long a publisher rests: a millisecond, and one more for each MiB above the limit.
fn rest(one: usize, all: usize) -> Option<Duration> {
    let above = all.max(2 * one).checked_sub(REST_ABOVE)?;
    let millis = u64::try_from(above >> 20).unwrap_or(u64::MAX).saturating_add(1);
    Some(Duration::from_millis(millis).min(LONGEST_REST))
}

/// A message on its way to subscribers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub subject: &'a [u8],
    pub reply: Option<&'a [u8]>,
    pub headers: Option<&'a [u8]>,
    pub payload: &'a [u8],
}

/// Who has a message, and the mark in its output behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub client: Key,
    pub mark: u64,
}

impl<I: Intake> Hub<I> {
    /// Delivers to everybody concerned; says how many got it. `publisher` is the connection being served.
    pub(crate) fn route(
        &mut self,
        publisher: Option<&mut Client>,
        message: &Message<'_>,
        matches: &Matches,
    ) -> usize {
        let mut delivered = 0;
        self.route_telling(publisher, message, matches, |_| delivered += 1);
        delivered
    }

    /// The same, telling of each who got it.
    #[inline]
    pub(crate) fn route_telling(
        &mut self,
        mut publisher: Option<&mut Client>,
        message: &Message<'_>,
        matches: &Matches,
        mut told: impl FnMut(Receipt),
    ) {
        for id in &matches.every {
            self.deliver(publisher.as_deref_mut(), message, *id, false).into_iter().for_each(&mut told);
        }
        for (_, members) in &matches.groups {
            let start = self.pick(members.len());
            let (before, after) = members.split_at_checked(start).unwrap_or((members, &[]));
            for id in after.iter().chain(before) {
                if let Some(receipt) = self.deliver(publisher.as_deref_mut(), message, *id, false) {
                    told(receipt);
                    break;
                }
            }
        }
    }

    /// Delivers to the matching subscriptions of one client only, the one being served.
    pub(crate) fn route_to_self(&mut self, client: &mut Client, message: &Message<'_>, matches: &Matches) {
        let groups = matches.groups.iter().flat_map(|(_, members)| members);
        for id in matches.every.iter().chain(groups) {
            let own = self.subscriptions.get(*id as usize).and_then(Option::as_ref);
            if own.is_some_and(|subscription| subscription.client == client.key) {
                self.deliver(Some(client), message, *id, true);
                return;
            }
        }
    }

    fn pick(&mut self, members: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        (self.random as usize).checked_rem(members).unwrap_or(0)
    }

    fn deliver(
        &mut self,
        publisher: Option<&mut Client>,
        message: &Message<'_>,
        id: SubscriptionId,
        from_server: bool,
    ) -> Option<Receipt> {
        let Self { subscriptions, clients, pool, memory, intake, counts, config, dirty, now, .. } = self;
        let subscription = subscriptions.get_mut(id as usize)?.as_mut()?;
        let mut own = None;
        let mut stall = None;
        let receiver = match publisher {
            Some(client) if client.key == subscription.client => {
                if !client.options.echo && !from_server {
                    return None;
                }
                own.insert(client)
            }
            other => {
                stall = other.map(|client| &mut client.stalled);
                clients.get_mut(subscription.client)?
            }
        };
        if !matches!(receiver.stage, Stage::Open | Stage::PeerDone) {
            return None;
        }
        let line = Line::new(message, subscription, receiver.options.headers);
        if receiver.outbox.len() >= WRITE_AT && receiver.outbox.blocked().is_none() {
            let Client { outbox, stream, .. } = &mut *receiver;
            if outbox.write(stream, *now, pool, memory, intake).is_err() {
                receiver.stage = Stage::Gone;
            }
        }
        if !receiver.dirty {
            receiver.dirty = true;
            dirty.push(receiver.key);
        }
        let fits = receiver.outbox.len() + line.length <= config.max_pending;
        let room = fits.then(|| receiver.outbox.room(line.length, pool, memory, intake)).flatten();
        let Some(block) = room else {
            if receiver.stage != Stage::Gone {
                counts.slow_consumers += 1;
                receiver.stage = Stage::Gone;
            }
            return None;
        };
        line.append(block);
        let receipt = Receipt { client: receiver.key, mark: receiver.outbox.mark() };
        counts.sent_messages += 1;
        counts.sent_bytes += message.payload.len() as u64;
        subscription.delivered += 1;
        if let Some(stalled) = stall
            && let Some(rest) = rest(receiver.outbox.len(), pool.pending())
        {
            *stalled = Some(*now + rest).max(*stalled);
        }
        if subscription.max.is_some_and(|max| subscription.delivered >= max) {
            receiver.subscriptions.remove(&subscription.sid);
            receiver.subscribed_bytes -= subscription.cost().min(receiver.subscribed_bytes);
            self.forget(id);
        }
        Some(receipt)
    }
}

/// The bytes of one delivery.
struct Line<'a> {
    message: &'a Message<'a>,
    sid: &'a [u8],
    headers: Option<&'a [u8]>,
    header_digits: Digits,
    total_digits: Digits,
    length: usize,
}

impl<'a> Line<'a> {
    #[inline]
    fn new(message: &'a Message<'a>, subscription: &'a Subscription, with_headers: bool) -> Self {
        let headers = message.headers.filter(|_| with_headers);
        let header_length = headers.map_or(0, <[u8]>::len);
        let header_digits = Digits::of(header_length);
        let total_digits = Digits::of(header_length + message.payload.len());
        let mut length = b"MSG ".len() + message.subject.len() + 1 + subscription.sid.len() + 1;
        length += message.reply.map_or(0, |reply| reply.len() + 1);
        length += headers.map_or(0, |_| b"H".len() + header_digits.text().len() + 1);
        length += total_digits.text().len() + 2 + header_length + message.payload.len() + 2;
        Self { message, sid: &subscription.sid, headers, header_digits, total_digits, length }
    }

    #[inline]
    fn append(&self, block: &mut Vec<u8>) {
        block.extend_from_slice(if self.headers.is_some() { b"HMSG " } else { b"MSG " });
        block.extend_from_slice(self.message.subject);
        block.push(b' ');
        block.extend_from_slice(self.sid);
        block.push(b' ');
        if let Some(reply) = self.message.reply {
            block.extend_from_slice(reply);
            block.push(b' ');
        }
        if self.headers.is_some() {
            block.extend_from_slice(self.header_digits.text());
            block.push(b' ');
        }
        block.extend_from_slice(self.total_digits.text());
        block.extend_from_slice(b"\r\n");
        block.extend_from_slice(self.headers.unwrap_or_default());
        block.extend_from_slice(self.message.payload);
        block.extend_from_slice(b"\r\n");
    }
}

/// A decimal number without allocation.
struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    #[inline]
    fn of(mut number: usize) -> Self {
        let mut bytes = [b'0'; 20];
        let mut start = bytes.len();
        for byte in bytes.iter_mut().rev() {
            *byte = b'0' + u8::try_from(number % 10).unwrap_or(0);
            start -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self { bytes, start }
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_rest_the_longer_the_more_waits() {
        const MIB: usize = 1 << 20;
        assert_eq!(rest(3 * MIB, 7 * MIB), None);
        assert_eq!(rest(5 * MIB, 5 * MIB), Some(Duration::from_millis(3)));
        assert_eq!(rest(MIB, 20 * MIB), Some(Duration::from_millis(13)));
        assert_eq!(rest(64 * MIB, 64 * MIB), Some(LONGEST_REST));
    }

    #[test]
    fn lines_have_the_announced_length() {
        let subscription = Subscription {
            client: crate::client::Key { slot: 0, id: 1 },
            sid: b"12"[..].into(),
            subject: b"a"[..].into(),
            queue: None,
            delivered: 0,
            max: None,
        };
        let headers = Some(&b"NATS/1.0\r\n\r\n"[..]);
        for (reply, headers, asked, expected) in [
            (None, None, true, "MSG a 12 2\r\nhi\r\n"),
            (Some(&b"r"[..]), None, true, "MSG a 12 r 2\r\nhi\r\n"),
            (None, headers, false, "MSG a 12 2\r\nhi\r\n"),
            (Some(b"r"), headers, true, "HMSG a 12 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        ] {
            let message = Message { subject: b"a", reply, headers, payload: b"hi" };
            let line = Line::new(&message, &subscription, asked);
            let mut block = Vec::new();
            line.append(&mut block);
            assert_eq!(String::from_utf8(block).unwrap(), expected);
            assert_eq!(line.length, expected.len());
        }
        for number in [0, 9, 10, 1_048_576, usize::MAX] {
            assert_eq!(Digits::of(number).text(), number.to_string().as_bytes());
        }
    }
}
