//! Everything the thread of the listener shares between connections, and the turn of its loop.
//!
//! Owns clients, subscriptions, the lane into the engine and the answers that wait for it. Leaves out sockets that
//! listen and the poller. Invariant: within one turn all ready input is parsed first, then the lane is flushed once,
//! then answers are given, then every dirty client is written once.

use crate::allowance::Allowance;
use crate::barrier::{Answer, Barriers, Scope};
use crate::client::{Client, Clients, Key, Stage};
use crate::config::NatsConfig;
use crate::intake::Intake;
use crate::interest::{Interest, SubscriptionId};
use crate::notice::Notices;
use crate::outbox::Pool;
use crate::publish::Ledger;
use crate::stats::ListenerCounts;
use crate::timers::Timers;
use cim_core::subscriptions::Answers;
use cim_wire::Class;
use std::net::Shutdown;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Bytes of one read.
pub(crate) const SCRATCH: usize = 256 << 10;
/// How long the input of a connection that we ended is thrown away, so that the peer can read our last words.
const LINGER: Duration = Duration::from_secs(1);

/// One subscription of one client.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub client: Key,
    pub sid: Box<[u8]>,
    pub subject: Box<[u8]>,
    pub queue: Option<Box<[u8]>>,
    pub delivered: u64,
    pub max: Option<u64>,
}

impl Subscription {
    /// Memory it takes in all tables, in bytes, roughly.
    pub(crate) fn cost(&self) -> usize {
        const TABLES: usize = 256;
        TABLES
            + 2 * (self.sid.len() + self.subject.len())
            + self.queue.as_ref().map_or(0, |queue| queue.len())
    }
}

/// The shared state.
pub(crate) struct Hub<I: Intake> {
    pub config: NatsConfig,
    pub intake: I,
    pub clients: Clients,
    pub subscriptions: Vec<Option<Subscription>>,
    pub free_subscriptions: Vec<SubscriptionId>,
    pub interest: Interest,
    pub barriers: Barriers<I::Mark>,
    pub counts: ListenerCounts,
    pub timers: Timers,
    pub pool: Pool,
    pub memory: Allowance,
    pub scratch: Vec<u8>,
    /// Connections with input to read in this turn.
    pub ready: Vec<Key>,
    /// Connections with output or an end to settle in this turn.
    pub dirty: Vec<Key>,
    /// Connections that wait for space or memory.
    pub waiting: Vec<Key>,
    /// Number of the current turn.
    pub turn: u64,
    /// Last turn all of whose logs are accepted.
    pub accepted_logs: u64,
    /// Last turn all of whose messages are accepted.
    pub accepted_turn: u64,
    /// Something was offered since the last flush.
    pub offered: bool,
    /// The last flush left something that is not accepted, perhaps not even written: flush again.
    pub unsettled: bool,
    pub ledger: Ledger,
    pub notices: Notices,
    /// Where answers to them go.
    pub answers: Arc<OnceLock<Arc<Answers>>>,
    pub now: Instant,
    pub random: u32,
    /// The listener ends: nothing more is read.
    pub closing: bool,
}

/// Whether everything of the scope up to the mark is accepted.
fn accepted<I: Intake>(intake: &I, mark: &I::Mark, scope: Scope) -> bool {
    intake.is_accepted(mark, Class::Log) && (scope == Scope::Logs || intake.is_accepted(mark, Class::Event))
}

impl<I: Intake> Hub<I> {
    pub(crate) fn new(
        config: NatsConfig,
        intake: I,
        answers: Arc<OnceLock<Arc<Answers>>>,
        now: Instant,
    ) -> Self {
        let memory = Allowance::new(&intake);
        Self {
            config,
            intake,
            clients: Clients::default(),
            subscriptions: Vec::new(),
            free_subscriptions: Vec::new(),
            interest: Interest::default(),
            barriers: Barriers::new(),
            counts: ListenerCounts::default(),
            timers: Timers::default(),
            pool: Pool::default(),
            memory,
            scratch: vec![0; SCRATCH],
            ready: Vec::new(),
            dirty: Vec::new(),
            waiting: Vec::new(),
            turn: 1,
            accepted_logs: 0,
            accepted_turn: 0,
            offered: false,
            unsettled: false,
            ledger: Ledger::default(),
            notices: Notices::default(),
            answers,
            now,
            random: 0x9e37_79b9,
            closing: false,
        }
    }

    /// Everything after the reads of a turn: flush, answers, writes, delivery of a few records.
    pub(crate) fn end_turn(&mut self) {
        if self.offered || self.unsettled || self.barriers.has_fresh() {
            // Who waits for an answer sends more as soon as it is there: then this thread has better to do than to deliver.
            let hand_on = if self.barriers.is_empty() { I::flush_held } else { I::flush };
            let mark = self.flush(hand_on);
            self.offered = false;
            self.barriers.mark(mark);
            if self.is_accepted(&mark, Scope::Logs) {
                self.accepted_logs = self.turn;
            }
            self.unsettled = !self.is_accepted(&mark, Scope::All);
            if !self.unsettled {
                self.accepted_turn = self.turn;
            }
        }
        self.answer();
        self.write_dirty();
        while !self.notices.is_empty() && self.notify() {
            self.write_dirty();
        }
        self.intake.deliver_here();
        self.counts.connections = self.clients.len() as u64;
        self.counts.subscriptions = self.interest.len() as u64;
        self.turn += 1;
    }

    fn write_dirty(&mut self) {
        while let Some(key) = self.dirty.pop() {
            if let Some(mut client) = self.clients.take(key) {
                client.dirty = false;
                self.write(&mut client);
                self.release(client);
            }
        }
    }

    fn is_accepted(&self, mark: &I::Mark, scope: Scope) -> bool {
        accepted(&self.intake, mark, scope)
    }

    /// Gives every answer whose mark is accepted.
    fn answer(&mut self) {
        for scope in Scope::EACH {
            while let Some(answers) = self.barriers.pop(scope, |mark| accepted(&self.intake, mark, scope)) {
                self.give(answers);
            }
        }
    }

    fn give(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            match answer {
                Answer::Pong(key, count) => {
                    if let Some(mut client) = self.clients.take(key) {
                        client.barriers -= count.min(client.barriers);
                        for _ in 0..count {
                            self.say(&mut client, b"PONG\r\n");
                        }
                        self.release(client);
                    }
                }
                Answer::Ack { reply, class, number } => self.acknowledge(&reply, class, number),
                Answer::Refusal { reply, body } => self.answer_on(&reply, &body),
            }
        }
    }

    /// True while someone must be woken when acceptance or space advances.
    pub(crate) fn awaits_progress(&self) -> bool {
        self.unsettled || !self.barriers.is_empty() || !self.waiting.is_empty()
    }

    /// Puts a client on the list of those to write to, or to remove, at the end of the turn.
    pub(crate) fn touch(&mut self, client: &mut Client) {
        if !client.dirty {
            client.dirty = true;
            self.dirty.push(client.key);
        }
    }

    /// Appends a protocol line to the output of `client`.
    pub(crate) fn say(&mut self, client: &mut Client, line: &[u8]) {
        self.touch(client);
        let Self { pool, memory, intake, .. } = self;
        if client.outbox.len() + line.len() > self.config.max_pending {
            return self.cut(client);
        }
        match client.outbox.room(line.len(), pool, memory, intake) {
            Some(block) => block.extend_from_slice(line),
            None => self.cut(client),
        }
    }

    /// Ends a client that does not read.
    pub(crate) fn cut(&mut self, client: &mut Client) {
        if client.stage != Stage::Gone {
            self.counts.slow_consumers += 1;
            client.stage = Stage::Gone;
            self.touch(client);
        }
    }

    /// Ends a connection from our side: what is queued goes out, then FIN; input is thrown away for a moment.
    pub(crate) fn end(&mut self, client: &mut Client) {
        if client.is_open() {
            client.stage = Stage::Lingering(self.now + LINGER);
            client.hold = None;
            client.starved = None;
            client.starving = false;
            client.stalled = None;
            client.inbox.clear(&mut self.memory, &self.intake);
            self.unsubscribe_all(client);
            self.touch(client);
        }
    }

    /// Writes what is queued; when all of it is out, carries out what waited for that.
    pub(crate) fn write(&mut self, client: &mut Client) {
        let Self { pool, memory, intake, .. } = self;
        let Client { outbox, stream, .. } = client;
        if client.stage != Stage::Gone && outbox.write(stream, self.now, pool, memory, intake).is_err() {
            client.stage = Stage::Gone;
        }
        if !client.outbox.is_empty() {
            return;
        }
        match client.stage {
            Stage::Lingering(_) if client.eof || client.stream.shutdown(Shutdown::Write).is_err() => {
                client.stage = Stage::Gone;
            }
            Stage::PeerDone if client.barriers == 0 && client.hold.is_none() => client.stage = Stage::Gone,
            _ => {}
        }
    }

    /// Gives a client back after it was served: into the table and the timers, or out of existence.
    pub(crate) fn release(&mut self, mut client: Box<Client>) {
        if client.stage == Stage::Gone {
            return self.drop_client(client);
        }
        if let Some(at) = self.deadline(&client)
            && client.wake.is_none_or(|wake| at < wake)
        {
            self.timers.set(client.key, client.wake, Some(at));
            client.wake = Some(at);
        }
        self.clients.put_back(client);
    }

    fn drop_client(&mut self, mut client: Box<Client>) {
        if !client.inbox.is_empty() {
            self.counts.broken_frames += 1;
        }
        client.inbox.clear(&mut self.memory, &self.intake);
        client.outbox.clear(&mut self.pool, &mut self.memory, &self.intake);
        self.unsubscribe_all(&mut client);
        self.timers.set(client.key, client.wake, None);
        self.clients.remove(client.key);
    }
}
