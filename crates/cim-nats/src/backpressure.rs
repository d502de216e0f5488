//! Publishers whose class is full: held back, kept alive by small reads, closed plainly when it lasts.
//!
//! Owns the ladder of the contract's policy `block`. Leaves out when a class is full, which the engine decides.
//! Invariants: other connections are not touched; a message found full has had no effect and is offered again first;
//! a configuration result never waits behind it.

use crate::client::{Client, Hold, Stage};
use crate::hub::Hub;
use crate::intake::{Intake, Target};
use crate::parser::{Op, Parser, Step};
use crate::reading::{Flow, SIP};
use cim_wire::Class;

impl<I: Intake> Hub<I> {
    /// Stops consuming the input of a publisher.
    pub(crate) fn hold(&mut self, client: &mut Client, class: Class) {
        if client.hold.is_none() {
            self.counts.holds += 1;
            client.hold =
                Some(Hold { class, since: self.now, next_sip: self.now + self.config.sip_interval });
        }
        self.wait(client);
        self.take_config_results(client);
    }

    /// Puts a connection on the list of those that try again when something moves.
    pub(crate) fn wait(&mut self, client: &mut Client) {
        if !client.waiting {
            client.waiting = true;
            self.waiting.push(client.key);
        }
    }

    /// Something moved: whoever waits for space or memory tries again.
    pub(crate) fn retry_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for key in waiting {
            if let Some(mut client) = self.clients.take(key) {
                client.waiting = false;
                self.retry(&mut client);
                let again = client.readable && client.may_read(self.closing);
                self.release(client);
                if again {
                    self.enqueue(key);
                }
            }
        }
    }

    fn retry(&mut self, client: &mut Client) {
        client.starving = false;
        let Some(hold) = client.hold else { return };
        if self.intake.is_full(hold.class) {
            return self.wait(client);
        }
        client.hold = None;
        let before = client.inbox.len();
        self.parse_inbox(client, usize::MAX, false);
        if let Some(again) = &mut client.hold
            && client.inbox.len() == before
        {
            *again = hold;
        }
        if client.stage == Stage::PeerDone {
            self.touch(client);
        }
    }

    /// The small read that keeps a held publisher alive.
    pub(crate) fn sip(&mut self, client: &mut Client) {
        self.drink(client);
        if client.hold.is_some()
            && client.readable
            && client.stage == Stage::Open
            && client.inbox.make_room(SIP, &mut self.memory, &self.intake)
        {
            let mut scratch = std::mem::take(&mut self.scratch);
            self.read_once(client, scratch.get_mut(..SIP).unwrap_or_default());
            self.scratch = scratch;
            if client.is_open() {
                self.drink(client);
            }
        }
        if let Some(hold) = &mut client.hold {
            hold.next_sip = self.now + self.config.sip_interval;
        }
    }

    /// Offers up to one sip of the inbox with the right to the reserve. Everything consumed: no longer held.
    fn drink(&mut self, client: &mut Client) {
        if self.parse_inbox(client, SIP, true) == Flow::Next {
            client.hold = None;
            self.touch(client);
        }
    }

    /// Ends a publisher that was held for too long, at a frame boundary.
    pub(crate) fn give_up(&mut self, client: &mut Client) {
        self.counts.backpressure_closes += 1;
        self.end(client);
    }

    /// Finds configuration results among the bytes that wait, and hands them on out of turn.
    fn take_config_results(&mut self, client: &mut Client) {
        let bytes = client.inbox.take();
        let mut parser = Parser::new(self.config.max_payload);
        let mut at = 0;
        let mut found = Vec::new();
        while let Step::Frame { op, used, .. } = parser.next(bytes.get(at..).unwrap_or_default()) {
            if let Op::Publish(publish) = op
                && Target::of(publish.subject) == Target::Config
            {
                self.publish(client, &publish, false, true);
                found.push((at, at + used));
            }
            at += used;
        }
        client.route.generation = 0;
        client.inbox.put_back(bytes, 0, &mut self.memory, &self.intake);
        for (from, to) in found.into_iter().rev() {
            client.inbox.cut(from, to);
        }
    }
}
