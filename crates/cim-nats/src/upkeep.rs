//! What time brings: PINGs, deadlines, sips.
//!
//! Owns which deadlines a connection has and what is done when one passes. Leaves out the poller's timeout (`timers`).
//! Invariant: without traffic a connection wakes the thread only for PINGs.

use crate::client::{Client, Stage};
use crate::hub::Hub;
use crate::intake::Intake;
use crate::reading::RETRY;
use std::time::Instant;

impl<I: Intake> Hub<I> {
    /// The earliest deadline of a connection.
    pub(crate) fn deadline(&self, client: &Client) -> Option<Instant> {
        let write = client.outbox.blocked().map(|since| since + self.config.write_deadline);
        let all = match client.stage {
            Stage::Gone => return None,
            Stage::Lingering(until) => [Some(until), write, None, None, None, None],
            Stage::Open | Stage::PeerDone => [
                (client.stage == Stage::Open).then_some(client.next_ping),
                write,
                client.auth_deadline,
                client.stalled,
                client.hold.map(|hold| hold.next_sip.min(hold.since + self.config.hold_limit)),
                client.starved.map(|since| (self.now + RETRY).min(since + self.config.hold_limit)),
            ],
        };
        all.into_iter().flatten().min()
    }

    /// Carries out everything that is due now.
    pub(crate) fn run_timers(&mut self) {
        while let Some((at, key)) = self.timers.due(self.now) {
            let Some(mut client) = self.clients.take(key) else { continue };
            if client.wake == Some(at) {
                client.wake = None;
                self.due(&mut client);
            }
            let again = client.readable && client.may_read(self.closing);
            self.release(client);
            if again {
                self.enqueue(key);
            }
        }
    }

    fn due(&mut self, client: &mut Client) {
        let now = self.now;
        if client.outbox.blocked().is_some_and(|since| since + self.config.write_deadline <= now) {
            return self.cut(client);
        }
        match client.stage {
            Stage::Gone => return,
            Stage::Lingering(until) => {
                if until <= now {
                    client.stage = Stage::Gone;
                }
                return;
            }
            Stage::Open => self.keep_alive(client),
            Stage::PeerDone => {}
        }
        if client.stalled.is_some_and(|until| until <= now) {
            client.stalled = None;
        }
        if let Some(hold) = client.hold {
            if hold.since + self.config.hold_limit <= now {
                return self.give_up(client);
            }
            if hold.next_sip <= now {
                self.sip(client);
            }
        }
        if let Some(since) = client.starved {
            if since + self.config.hold_limit <= now {
                return self.give_up(client);
            }
            client.starving = false;
        }
    }

    fn keep_alive(&mut self, client: &mut Client) {
        if client.auth_deadline.is_some_and(|at| at <= self.now) {
            self.counts.auth_failures += 1;
            return self.end(client);
        }
        if client.next_ping > self.now {
            return;
        }
        if client.pings_out >= self.config.max_pings_out {
            self.counts.stale += 1;
            return self.end(client);
        }
        self.pool.trim();
        client.next_ping = self.now + self.config.ping_interval;
        if client.authenticated {
            client.pings_out += 1;
            self.say(client, b"PING\r\n");
        }
    }
}
