//! Notifications from inside the process that must reach the application, and are known to have done so.
//!
//! Owns their order, their form, and who got what. Leaves out where they come from. Invariants: the next values are given out only after those
//! before are taken; a value is taken when its bytes are in the socket of one connection at least; what was given
//! only to connections that ended before is given out again, and while nobody listens everything waits.

use crate::control::ListenerControl;
use crate::hub::Hub;
use crate::intake::Intake;
use crate::routing::{Message, Receipt};
use cim_core::Values;
use cim_core::subscriptions::{Answers, Outlet, Request, Taken};
use std::collections::VecDeque;
use std::sync::Arc;

/// The subject of notifications (wire contract §3.1).
const SUBJECT: &[u8] = b"EVENT-NOTIFICATION";
/// How subjects begin on which answers are awaited; the name of the delivery follows.
pub(crate) const ANSWERS: &str = "_CIM.ACK.";

/// Bytes that are given out before it is waited until they are taken: what a connection that does not read may hold.
const AT_ONCE: usize = 128 << 10;

/// A notification that asks for an answer, as it goes out.
#[derive(Debug)]
struct Asking {
    reply: String,
    headers: String,
    request: Request,
}

impl Asking {
    fn of(request: Request) -> Self {
        let Request { name, subscription, delivery, .. } = &request;
        let headers =
            format!("NATS/1.0\r\nCim-Subscription: {subscription}\r\nCim-Delivery: {delivery}\r\n\r\n");
        Self { reply: format!("{ANSWERS}{name}"), headers, request }
    }
}

/// What a parcel holds.
#[derive(Debug)]
enum Content {
    Plain(Values),
    Asking(Vec<Asking>),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Self::Plain(values) => values.len(),
            Self::Asking(each) => each.len(),
        }
    }

    fn message(&self, index: usize) -> Option<Message<'_>> {
        match self {
            Self::Plain(values) => {
                let payload = values.get(index)?;
                Some(Message { subject: SUBJECT, reply: None, headers: None, payload })
            }
            Self::Asking(each) => {
                let Asking { reply, headers, request } = each.get(index)?;
                Some(Message {
                    subject: SUBJECT,
                    reply: Some(reply.as_bytes()),
                    headers: Some(headers.as_bytes()),
                    payload: &request.value,
                })
            }
        }
    }
}

/// Notifications that are taken together.
#[derive(Debug)]
pub(crate) struct Parcel {
    content: Content,
    taken: Taken,
}

/// Notifications on their way.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    parcels: VecDeque<Parcel>,
    /// Values of the first parcel that were given to somebody, and of these, that are taken.
    given: usize,
    settled: usize,
    /// Who has which of those in between: number of the value, and how to know that it is out.
    receipts: VecDeque<(usize, Receipt)>,
    /// Generation of the subscriptions when nobody listened.
    nobody_at: Option<u64>,
}

impl Notices {
    pub(crate) fn extend(&mut self, parcels: VecDeque<Parcel>) {
        self.parcels.extend(parcels);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Finishes with the first parcel.
    fn next(&mut self) -> Option<Parcel> {
        (self.given, self.settled) = (0, 0);
        self.receipts.clear();
        self.parcels.pop_front()
    }

    /// Notes what is out, by what `state` says of each connection that has it: `None`, it has ended; else whether it is out.
    fn settle(&mut self, mut state: impl FnMut(&Receipt) -> Option<bool>) {
        while self.settled < self.given {
            let (mut is_out, mut is_alive) = (false, false);
            for (_, receipt) in self.receipts.iter().take_while(|(value, _)| *value == self.settled) {
                let state = state(receipt);
                is_out |= state == Some(true);
                is_alive |= state.is_some();
            }
            if is_out {
                let is_of = |value: &(usize, Receipt)| value.0 == self.settled;
                while self.receipts.front().is_some_and(is_of) {
                    self.receipts.pop_front();
                }
                self.settled += 1;
            } else if is_alive {
                return;
            } else {
                // Everything from here on is given out again, so that the order stays.
                self.given = self.settled;
                self.receipts.clear();
            }
        }
    }
}

impl<I: Intake> Hub<I> {
    /// Gives out what may be given out now; true: something was, and is to be written.
    pub(crate) fn notify(&mut self) -> bool {
        loop {
            let Self { notices, clients, .. } = self;
            notices.settle(|Receipt { client, mark }| Some(clients.get_mut(*client)?.outbox.is_out(*mark)));
            let Some(parcel) = notices.parcels.front() else { return false };
            if !parcel.taken.is_awaited() {
                notices.next();
            } else if notices.settled == parcel.content.len() {
                if let Some(parcel) = notices.next() {
                    parcel.taken.tell();
                }
            } else {
                return notices.given == notices.settled && self.give_out();
            }
        }
    }

    /// Gives out the next values of the first parcel; false: nobody listens.
    fn give_out(&mut self) -> bool {
        let generation = self.interest.generation();
        if self.notices.nobody_at == Some(generation) {
            return false;
        }
        let matches = self.interest.matches(SUBJECT);
        let Some(parcel) = self.notices.parcels.pop_front() else { return false };
        let mut receipts = std::mem::take(&mut self.notices.receipts);
        let (mut given, mut bytes) = (self.notices.given, 0);
        while let Some(message) = parcel.content.message(given).filter(|_| bytes < AT_ONCE) {
            let before = receipts.len();
            self.route_telling(None, &message, &matches, |receipt| receipts.push_back((given, receipt)));
            if receipts.len() == before {
                break;
            }
            given += 1;
            bytes += message.payload.len();
        }
        let is_any = given > self.notices.given;
        self.notices.parcels.push_front(parcel);
        self.notices.receipts = receipts;
        self.notices.given = given;
        // A connection that was cut meanwhile is taken out first; then it shows who is left.
        let may_go_on = is_any || !self.dirty.is_empty();
        self.notices.nobody_at = (!may_go_on).then_some(generation);
        may_go_on
    }
}

impl Outlet for ListenerControl {
    fn most(&self) -> usize {
        self.shared.max_payload
    }

    fn hand_over(&self, values: Values, taken: Taken) {
        self.shared.notify(Parcel { content: Content::Plain(values), taken });
    }

    fn request(&self, requests: Vec<Request>, taken: Taken) {
        let asking = requests.into_iter().map(Asking::of).collect();
        self.shared.notify(Parcel { content: Content::Asking(asking), taken });
    }

    fn answers_go_to(&self, answers: Arc<Answers>) {
        let _ = self.shared.answers.set(answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Key;

    fn receipt(client: u64) -> Receipt {
        Receipt { client: Key { slot: 0, id: client }, mark: 0 }
    }

    #[test]
    fn one_connection_of_several_is_enough_and_what_all_lost_is_given_out_again() {
        let receipts = [(0, receipt(1)), (0, receipt(2)), (1, receipt(1)), (2, receipt(1))];
        let mut notices = Notices { given: 3, receipts: receipts.into(), ..Notices::default() };
        let waits = |receipt: &Receipt| Some(receipt.client.id == 2);
        notices.settle(waits);
        assert_eq!((notices.settled, notices.given, notices.receipts.len()), (1, 3, 2));
        notices.settle(|_| None);
        assert_eq!((notices.settled, notices.given, notices.receipts.len()), (1, 1, 0));
    }
}
