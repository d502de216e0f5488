//! What each frame does to its connection: handshake, PING, subscriptions.
//!
//! Owns the protocol rules apart from publishing. Leaves out routing (`routing`) and the way into the engine
//! (`publish`). Invariants: one function decides about credentials; an `-ERR` is sent only with a text that clients
//! know, everything else that ends a connection is a plain close.

use crate::barrier::Scope;
use crate::client::Client;
use crate::connect::ConnectOptions;
use crate::hub::{Hub, Subscription};
use crate::intake::Intake;
use crate::parser::{Fault, Op};
use crate::reading::Flow;
use crate::subject;

/// Bytes of subscriptions a connection may hold without asking the budget.
const FREE_SUBSCRIPTIONS: usize = 4 << 10;

impl<I: Intake> Hub<I> {
    /// Carries out one frame.
    #[inline]
    pub(crate) fn handle(&mut self, client: &mut Client, op: Op<'_>, same_subject: bool, sip: bool) -> Flow {
        match op {
            Op::Publish(publish) => return self.publish(client, &publish, same_subject, sip),
            Op::Ping => self.ping(client),
            Op::Pong => client.pings_out = 0,
            Op::Connect(json) => self.connect(client, json),
            Op::Subscribe { subject, queue, sid } => self.subscribe(client, subject, queue, sid),
            Op::Unsubscribe { sid, max } => self.unsubscribe(client, sid, max),
            Op::Ignored => {}
        }
        if client.is_open() { Flow::Next } else { Flow::End }
    }

    /// Ends a connection whose stream is broken.
    pub(crate) fn fail(&mut self, client: &mut Client, fault: Fault) {
        self.counts.fault(fault);
        match fault {
            Fault::PayloadTooLarge => self.say(client, b"-ERR 'Maximum Payload Violation'\r\n"),
            Fault::Unauthenticated => return self.deny(client),
            _ => {}
        }
        self.end(client);
    }

    pub(crate) fn okay(&mut self, client: &mut Client) {
        if client.options.verbose {
            self.say(client, b"+OK\r\n");
        }
    }

    fn deny(&mut self, client: &mut Client) {
        self.counts.auth_failures += 1;
        self.say(client, b"-ERR 'Authorization Violation'\r\n");
        self.end(client);
    }

    fn connect(&mut self, client: &mut Client, json: &[u8]) {
        let Ok(mut options) = ConnectOptions::parse(json, &client.options) else {
            return self.fail(client, Fault::Arguments);
        };
        if let Some(auth) = &self.config.auth
            && !auth.admits(&options)
        {
            return self.deny(client);
        }
        options.forget_credentials();
        options.headers &= self.config.headers;
        if !(0..=1).contains(&options.protocol) {
            return self.fail(client, Fault::Arguments);
        }
        client.authenticated = true;
        client.auth_deadline = None;
        client.parser.set_connect_only(false);
        client.options = options;
        self.okay(client);
    }

    fn ping(&mut self, client: &mut Client) {
        self.counts.pings += 1;
        let accepted = match client.scope {
            Scope::Logs => self.accepted_logs,
            Scope::All => self.accepted_turn,
        };
        if client.barriers == 0 && client.offered_turn <= accepted {
            self.say(client, b"PONG\r\n");
        } else {
            client.barriers += 1;
            self.barriers.push(client.scope, crate::barrier::Answer::Pong(client.key, 1));
        }
    }

    fn subscribe(&mut self, client: &mut Client, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        if !subject::is_pattern(subject) {
            self.counts.invalid_subjects += 1;
            return self.say(client, b"-ERR 'Invalid Subject'\r\n");
        }
        if !client.subscriptions.contains_key(sid) && !self.add(client, subject, queue, sid) {
            return self.say(client, b"-ERR 'maximum subscriptions exceeded'\r\n");
        }
        self.okay(client);
    }

    /// Adds a subscription; false: too many, or no memory for it.
    fn add(&mut self, client: &mut Client, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> bool {
        let subscription = Subscription {
            client: client.key,
            sid: sid.into(),
            subject: subject.into(),
            queue: queue.map(Into::into),
            delivered: 0,
            max: None,
        };
        let bytes = client.subscribed_bytes + subscription.cost();
        let grant = &mut client.subscribed_grant;
        let paid = bytes <= FREE_SUBSCRIPTIONS || self.memory.raise(grant, bytes, false, &self.intake);
        if client.subscriptions.len() >= self.config.max_subscriptions || !paid {
            return false;
        }
        client.subscribed_bytes = bytes;
        let id = match self.free_subscriptions.pop() {
            Some(id) => id,
            None => {
                self.subscriptions.push(None);
                u32::try_from(self.subscriptions.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(slot) = self.subscriptions.get_mut(id as usize) {
            *slot = Some(subscription);
        }
        client.subscriptions.insert(sid.into(), id);
        self.interest.insert(subject, queue, id);
        true
    }

    fn unsubscribe(&mut self, client: &mut Client, sid: &[u8], max: Option<u64>) {
        if let Some(id) = client.subscriptions.get(sid).copied()
            && let Some(Some(subscription)) = self.subscriptions.get_mut(id as usize)
        {
            match max {
                Some(max) if max > subscription.delivered => subscription.max = Some(max),
                _ => {
                    client.subscriptions.remove(sid);
                    client.subscribed_bytes -= subscription.cost().min(client.subscribed_bytes);
                    self.forget(id);
                }
            }
        }
        self.okay(client);
    }

    /// Takes a subscription out of the tables of the hub.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Some(subscription) = self.subscriptions.get_mut(id as usize).and_then(Option::take) {
            self.interest.remove(&subscription.subject, subscription.queue.as_deref(), id);
            self.free_subscriptions.push(id);
        }
    }

    pub(crate) fn unsubscribe_all(&mut self, client: &mut Client) {
        for (_, id) in std::mem::take(&mut client.subscriptions) {
            self.forget(id);
        }
        client.subscribed_bytes = 0;
        self.memory.settle(&mut client.subscribed_grant, &self.intake);
    }
}
